//! Every peer, Grandstand with its variants among them, lets small crowds in, a room each, and delivers every message to all of its room.

use std::process::Command;

use bench::peers::{ALL, Peer};
use serde_json::Value;

use crate::{allowed_core, grandstand};

#[test]
fn small_crowds_get_every_message_of_their_room_from_every_peer() {
    let folder = tempfile::tempdir().expect("a folder");
    let (core, report) = (allowed_core(), folder.path().join("report.jsonl"));
    // There is no library of uWebSockets for other processors where it comes from.
    let has_library = |peer: Peer| peer != Peer::Uwebsockets || cfg!(target_arch = "x86_64");
    let peers: Vec<&str> = ALL.into_iter().filter(|peer| has_library(*peer)).map(Peer::name).collect();
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["fanout", "--peers", &peers.join(","), "--content", "100"])
        .arg("--server")
        .arg(grandstand())
        .args(["--rooms", "2", "--viewers", "10", "--rate", "25", "--seconds", "1", "--warm-up", "0"])
        .args(["--rounds", "1"])
        .args(["--server-cores", &core, "--client-cores", &core, "--report"])
        .arg(&report)
        .output()
        .expect("the benchmark runs");
    assert!(output.status.success(), "{output:?}");
    let lines = std::fs::read_to_string(&report).expect("a report");
    let runs: Vec<Value> =
        lines.lines().skip(1).map(|line| serde_json::from_str(line).expect("a run")).collect();
    for peer in peers {
        let run = runs.iter().find(|run| run["peer"] == peer).expect("a run of each peer");
        // A void run has no figures.
        assert!(run["figures"]["deliveries_per_s"].as_f64() > Some(0.0), "{output:?}");
    }
    let bytes_of = |peer: Peer| {
        let run = runs.iter().find(|run| run["peer"] == peer.name()).expect("a run of each peer");
        run["figures"]["bytes_per_delivery"].as_f64().expect("a figure")
    };
    let plain = bytes_of(Peer::Grandstand);
    assert!(bytes_of(Peer::GrandstandDeflate) < 0.9 * plain, "{output:?}");
}
