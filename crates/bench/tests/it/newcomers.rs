//! Clients that come in with tokens: they join one after the other, and a small storm loses nobody.

use std::process::Command;

use serde_json::Value;

use crate::{allowed_core, grandstand};

/// What a benchmark of one round reports, peer by peer.
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

#[test]
fn clients_join_again_and_again() {
    let runs = figures(&["join", "--clients", "4", "--seconds", "1", "--warm-up", "0"]);
    let (peer, figures) = runs.first().expect("a run");
    assert_eq!(peer, "grandstand");
    assert!(figures["joins_per_s"].as_f64() > Some(0.0), "{figures}");
}

#[test]
fn a_storm_loses_nobody_however_it_comes() {
    let runs = figures(&["storm", "--clients", "60", "--desks", "8"]);
    let names: Vec<&str> = runs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["kill", "network"]);
    for (name, figures) in &runs {
        assert_eq!((&figures["back"], &figures["lost"]), (&60.0.into(), &0.0.into()), "{name}: {figures}");
        assert_eq!(figures["unheard"], 0.0, "{name}: {figures}");
    }
}
