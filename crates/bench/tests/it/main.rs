//! Whole benchmarks, small: that they run, not what they measure.

#![allow(clippy::expect_used, reason = "tests")]

mod chat_log;
mod load;
mod newcomers;
mod peers;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A core that this process may run on.
fn allowed_core() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let first = allowed.and_then(|list| list.trim().split(['-', ',']).next());
    first.unwrap_or("0").to_owned()
}

/// The server: the one that is to be tested, or the one that was built into the folder of this benchmark.
fn grandstand() -> PathBuf {
    let beside = || Path::new(env!("CARGO_BIN_EXE_bench")).with_file_name("grandstand");
    let binary = std::env::var_os("GRANDSTAND_BIN").map_or_else(beside, PathBuf::from);
    assert!(binary.exists(), "no server yet: cargo build -p server");
    binary
}

/// What a benchmark of one round reports, peer by peer. A void run has no figures.
fn figures(arguments: &[&str]) -> Vec<(String, Value)> {
    let folder = tempfile::tempdir().expect("a folder");
    let (core, report) = (allowed_core(), folder.path().join("report.jsonl"));
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(arguments)
        .args(["--rounds", "1", "--server-cores", &core, "--client-cores", &core, "--server"])
        .arg(grandstand())
        .arg("--report")
        .arg(&report)
        .output()
        .expect("the benchmark runs");
    assert!(output.status.success(), "{output:?}");
    let lines = std::fs::read_to_string(&report).expect("a report");
    let runs = lines.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).expect("a run"));
    runs.map(|run| (run["peer"].as_str().unwrap_or_default().to_owned(), run["figures"].clone())).collect()
}
