//! Whole benchmarks, small: that they run, not what they measure.

#![allow(clippy::expect_used, reason = "tests")]

mod newcomers;
mod peers;

use std::path::{Path, PathBuf};

/// The server: the one that is to be tested, or the one that was built into the folder of this benchmark.
fn grandstand() -> PathBuf {
    let beside = || Path::new(env!("CARGO_BIN_EXE_bench")).with_file_name("grandstand");
    let binary = std::env::var_os("GRANDSTAND_BIN").map_or_else(beside, PathBuf::from);
    assert!(binary.exists(), "no server yet: cargo build -p server");
    binary
}

/// A core that this process may run on.
fn allowed_core() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let first = allowed.and_then(|list| list.trim().split(['-', ',']).next());
    first.unwrap_or("0").to_owned()
}
