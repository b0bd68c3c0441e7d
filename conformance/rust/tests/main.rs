//! The `aws-sdk-ivschat` crate, unmodified, and two plain Rust WebSocket clients against the built server.
//!
//! Every case runs against one server on free ports and shares nothing else; those about quotas start one of their own.
//! The outcome of each is printed and appended to `.test-results/rust-sdk.jsonl` at the repository root. The process
//! fails if a case fails, or if the server does not end with status 0 after SIGTERM.

mod chat;
mod control;
mod errors;
mod quotas;
mod server;
mod stage;
mod strict_chat;

use std::fs::{OpenOptions, create_dir_all};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use server::Server;
use stage::{Case, Stage};

/// The longest that one case may take.
const CASE_SECONDS_MAX: u64 = 60;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let server = Server::start(&[]).await;
    let stage = Arc::new(Stage::new(&server));
    let mut failed = 0;
    let cases = [control::cases(), errors::cases(), quotas::cases(), chat::cases(), strict_chat::cases()];
    let cases: Vec<Case> = cases.into_iter().flatten().collect();
    for case in &cases {
        // A task of its own turns a panic into an error, and so does the deadline.
        let run = tokio::spawn(tokio::time::timeout(
            Duration::from_secs(CASE_SECONDS_MAX),
            (case.run)(Arc::clone(&stage)),
        ));
        let passed = matches!(run.await, Ok(Ok(())));
        println!("{} {}", if passed { "ok  " } else { "FAIL" }, case.name);
        record(case, passed);
        failed += usize::from(!passed);
    }
    println!("{} passed, {failed} failed", cases.len() - failed);
    let stopped = server.stop().await;
    if !stopped {
        println!("the server did not end with status 0 after SIGTERM");
    }
    if failed == 0 && stopped { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Writes one line of the results that the matrix of clients and operations is made from.
fn record(case: &Case, passed: bool) {
    let folder = server::repository_root().join(".test-results");
    create_dir_all(&folder).expect("a folder for the results");
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("rust-sdk.jsonl"))
        .expect("a file for the results");
    let line = json!({
        "suite": "rust-sdk",
        "test": format!("{}::{}", case.file, case.name),
        "outcome": if passed { "passed" } else { "failed" },
        "client": case.client,
        "covers": case.covers,
    });
    writeln!(file, "{line}").expect("a line of the results");
}
