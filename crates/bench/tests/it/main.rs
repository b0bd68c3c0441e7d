//! Whole benchmarks, small: that they run, not what they measure.

#![allow(clippy::expect_used, reason = "tests")]

mod newcomers;
mod peers;

/// A core that this process may run on.
fn allowed_core() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let first = allowed.and_then(|list| list.trim().split(['-', ',']).next());
    first.unwrap_or("0").to_owned()
}
