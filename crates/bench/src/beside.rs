//! Small rooms while nothing else happens, and the same ones while a large room beside them is busy.
//!
//! Both halves of a run are one play of the small rooms, with the same connections, at a steady rate without a pause; the
//! large room's crowd is there all the time too, and says nothing in the first half. Each crowd has a thread of its own,
//! and that of the small rooms goes first, so that reading what the large room gets is not measured as the server's delay.

use std::path::PathBuf;
use std::{io, thread};

use crate::client::{Clock, Crowd};
use crate::failure::Failure;
use crate::fanout::Load;
use crate::histogram::Histogram;
use crate::os;
use crate::peers::{self, Peer, RunningPeer, Setup};
use crate::play::{Play, SECOND_NANOS};
use crate::reading::Reading;
use crate::report::Figures;

/// The phases of the small rooms: warm-up, quiet, the large room's warm-up, beside it.
const QUIET: usize = 1;
const BESIDE: usize = 3;

/// What `beside` does.
pub struct Plan {
    /// How often everything is measured.
    pub rounds: u64,
    /// How the server is started.
    pub setup: Setup,
    /// The small rooms. Each half is as long as this says.
    pub small: Load,
    /// The large room, as long as the small ones.
    pub large: Load,
    /// Files that a process may open.
    pub descriptors: u64,
    /// Where the lines of JSON go.
    pub report_file: PathBuf,
}

/// Measures all rounds and reports.
///
/// # Errors
/// More connections than descriptors, a void run, and the system's.
pub fn run(plan: &Plan) -> Result<(), Failure> {
    let connections = [plan.small, plan.large].map(|load| load.members().connections());
    os::allow_connections(connections.iter().sum(), plan.descriptors)?;
    let measure = |running: &RunningPeer| measure(running, plan);
    peers::measure_grandstand(&plan.setup, plan.rounds, &plan.report_file, measure)
}

fn measure(running: &RunningPeer, plan: &Plan) -> Result<Figures, Failure> {
    let clock = Clock::start();
    let (small, large) = (assemble(running, &plan.small, clock)?, assemble(running, &plan.large, clock)?);
    let halves =
        [plan.small.warm_up_seconds, plan.small.seconds, plan.large.warm_up_seconds, plan.small.seconds];
    let start = clock.nanos() + SECOND_NANOS / 10;
    let large_start = start + (halves[0] + halves[1]) * SECOND_NANOS;
    let new_play = |load: &Load, crowd, start, phases: &[u64]| {
        Play::new(Peer::Grandstand, load.script(), (clock, crowd), load.pace(start), phases)
    };
    let mut small = new_play(&plan.small, small, start, &halves);
    let mut large = new_play(&plan.large, large, large_start, &halves[2..]);
    let mut readings = Vec::new();
    thread::scope(|scope| {
        let beside = scope.spawn(|| {
            os::go_last().map_err(Failure::io("let the small rooms go first"))?;
            large.perform(|_, play| {
                readings.push(Reading::take(play, running)?);
                Ok(())
            })
        });
        let alone = small.perform(|_, _| Ok(()));
        let ended = |_| Failure::io("play in the large room")(io::Error::other("its thread has ended"));
        beside.join().map_err(ended).flatten().and(alone)
    })?;
    match readings.as_slice() {
        [_, begin, end] => Ok(figures(&small, &large, begin, end)),
        _ => Err(Failure::Arguments("nothing is measured".to_owned())),
    }
}

fn assemble(running: &RunningPeer, load: &Load, clock: Clock) -> Result<Crowd, Failure> {
    let mut crowd = Crowd::new(clock)?;
    crowd.join(running.server.edge, &running.tickets(&load.members())?)?;
    Ok(crowd)
}

fn figures(small: &Play, large: &Play, begin: &Reading, end: &Reading) -> Figures {
    let millis = |latency: &Histogram, per_mille| latency.percentile(per_mille) as f64 / 1e6;
    let (quiet, beside, of_large) = (small.latency(QUIET), small.latency(BESIDE), large.latency(1));
    let mut figures = vec![
        ("beyond_quiet_p99_ms", millis(beside, 990) - millis(quiet, 990)),
        ("quiet_p99_ms", millis(quiet, 990)),
        ("beside_p99_ms", millis(beside, 990)),
        ("large_deliveries_per_s", end.deliveries_per_s(begin)),
        ("quiet_p50_ms", millis(quiet, 500)),
        ("beside_p50_ms", millis(beside, 500)),
        ("quiet_max_ms", quiet.longest() as f64 / 1e6),
        ("beside_max_ms", beside.longest() as f64 / 1e6),
        ("large_p99_ms", millis(of_large, 990)),
        ("quiet_late_p99_ms", millis(small.lateness(QUIET), 990)),
        ("beside_late_p99_ms", millis(small.lateness(BESIDE), 990)),
        ("large_late_p99_ms", millis(large.lateness(1), 990)),
    ];
    figures.extend(end.shares(begin));
    figures
}
