//! How long Grandstand takes from the start of its process to its ready line, and what memory it then holds.

use std::path::Path;

use crate::failure::Failure;
use crate::peers::{Peer, Setup};
use crate::process::Memory;
use crate::report::{Report, Run};

/// Measures `rounds` starts, each with an empty store, and reports.
///
/// # Errors
/// See [`Peer::start`].
pub fn run(setup: &Setup, rounds: u64, report_file: &Path) -> Result<(), Failure> {
    let mut report = Report::default();
    for round in 1..=rounds {
        let running = Peer::Grandstand.start(setup)?;
        let memory = Memory::read(running.server.pid())?;
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let figures = vec![
            ("start_to_ready_ms", running.server.start_to_ready.as_secs_f64() * 1e3),
            ("resident_mib", mebibytes(memory.resident_bytes)),
            ("anonymous_mib", mebibytes(memory.anonymous_bytes)),
        ];
        running.stop()?;
        report.add(Run { round, peer: Peer::Grandstand.name(), figures });
    }
    report.publish("", &[], report_file)
}
