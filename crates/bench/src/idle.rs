//! Many connections that say nothing: what each costs in memory and processor time, and how fast they join.
//!
//! Memory is the server process's own; the kernel keeps about 10 KB more for both ends of a loopback connection, the
//! same for every server. The clients answer the server's pings.

use std::path::PathBuf;

use crate::client::{Clock, Crowd, Received, events};
use crate::failure::Failure;
use crate::os;
use crate::peers::{Members, Peer, RunningPeer, Setup};
use crate::process::{Memory, ProcessorTime};
use crate::report::{Figures, Report};

const SECOND_NANOS: u64 = 1_000_000_000;

/// What `idle` does.
pub struct Plan {
    /// Interleaved round by round.
    pub peers: Vec<Peer>,
    /// How often each is measured.
    pub rounds: u64,
    /// How they are started.
    pub setup: Setup,
    /// How many connections.
    pub connections: u64,
    /// How long they are watched.
    pub seconds: u64,
    /// Files that a process may open.
    pub descriptors: u64,
    /// Where the lines of JSON go.
    pub report_file: PathBuf,
}

/// Measures all peers in all rounds and reports.
///
/// # Errors
/// More connections than descriptors, a refused or closed connection.
pub fn run(plan: &Plan) -> Result<(), Failure> {
    os::allow_connections(plan.connections, plan.descriptors)?;
    let mut report = Report::default();
    for round in 1..=plan.rounds {
        for peer in plan.peers.iter().copied() {
            let running = peer.start(&plan.setup)?;
            let figures = measure(&running, plan);
            if figures.is_err() {
                eprintln!("{} said: {}", peer.name(), running.server.log_tail());
            }
            report.add_outcome(round, peer.name(), figures)?;
            running.stop()?;
        }
    }
    report.publish(Peer::Grandstand.name(), &[], &plan.report_file)?;
    report.verdict()
}

fn measure(running: &RunningPeer, plan: &Plan) -> Result<Figures, Failure> {
    let pid = running.server.pid();
    let clock = Clock::start();
    let tickets = running.tickets(&Members { rooms: 1, publishers: 0, viewers: plan.connections })?;
    let tickets_seconds = clock.nanos() as f64 / 1e9;
    let before = Memory::read(pid)?;
    let mut crowd = Crowd::new(clock)?;
    let joining_at = clock.nanos();
    crowd.join(running.server.edge, &tickets)?;
    let join_seconds = (clock.nanos() - joining_at) as f64 / 1e9;
    // What the joins left to do is done when the watch begins.
    watch(&mut crowd, clock, 2)?;
    let (joined, time) = (Memory::read(pid)?, ProcessorTime::read(pid)?);
    watch(&mut crowd, clock, plan.seconds)?;
    let (after, time) = (Memory::read(pid)?, ProcessorTime::read(pid)?.since(time));
    let connections = plan.connections as f64;
    let each = |now: u64, then: u64| (now as f64 - then as f64) / connections;
    Ok(vec![
        ("resident_bytes_each", each(joined.resident_bytes, before.resident_bytes)),
        ("anonymous_bytes_each", each(joined.anonymous_bytes, before.anonymous_bytes)),
        ("growth_bytes_each", each(after.resident_bytes, joined.resident_bytes)),
        ("cpu_us_each_per_s", time.run_nanos as f64 / 1e3 / connections / plan.seconds as f64),
        ("joins_per_s", connections / join_seconds),
        ("tokens_per_s", connections / tickets_seconds),
    ])
}

/// Keeps the connections alive for some seconds.
fn watch(crowd: &mut Crowd, clock: Clock, seconds: u64) -> Result<(), Failure> {
    let until = clock.nanos() + seconds * SECOND_NANOS;
    let mut unexpected = |received: Received<'_>| {
        let reason = String::from_utf8_lossy(received.payload).into_owned();
        Err(Failure::Closed { connection: received.connection, reason })
    };
    let mut events = events();
    while let left @ 1.. = until.saturating_sub(clock.nanos()) {
        crowd.turn(&mut events, std::time::Duration::from_nanos(left), &mut unexpected)?;
    }
    Ok(())
}
