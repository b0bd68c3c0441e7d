//! A room or many, each with its viewers and a steady stream of messages: what a delivery costs and how long it takes.
//!
//! Messages are due at fixed instants, whatever the server does (an open loop), and a delivery's latency counts from
//! the instant its message was due, so that a server which stalls is charged for all that had to wait. Publishers are
//! members of their room too: what they receive is counted and verified like any delivery. The first seconds are not
//! measured. A run in which a connection is closed, or a receiver lacks, doubles, reorders or alters anything, is void.

use std::path::PathBuf;
use std::time::Duration;

use protocol::limit::edge::REQUESTS_PER_SECOND;

use crate::client::{Clock, Crowd, Received, Traffic, events};
use crate::failure::Failure;
use crate::histogram::Histogram;
use crate::peers::{Members, Peer, RunningPeer, Setup};
use crate::picture;
use crate::process::{CoreTime, ProcessorTime};
use crate::report::{Figures, Report};
use crate::verify::{Script, Verifier};

const SECOND_NANOS: u64 = 1_000_000_000;
/// After the last message is due, stragglers get this long; then they count as lost.
const STRAGGLERS_NANOS: u64 = 10 * SECOND_NANOS;
/// After everything has arrived, the crowd listens this much longer for what should not come.
const ENCORE: Duration = Duration::from_millis(200);
/// The load generator looks at its schedule without sleeping when a message is due this soon. Its own processor time
/// therefore says what it costs only where messages are far apart; above a few hundred per second it mostly spins.
const SPIN_NANOS: u64 = 1_000_000;
/// Of so many receivers the kernel is asked how many segments they got.
const SEGMENT_SAMPLE: usize = 500;

/// The load of a run.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many rooms there are.
    pub rooms: u64,
    /// Connections that only watch, in each room.
    pub viewers: u64,
    /// Messages per second in each room.
    pub rate: u64,
    /// How long is measured.
    pub seconds: u64,
    /// How long the same load runs before.
    pub warm_up_seconds: u64,
    /// Characters of each message's content.
    pub content_length: usize,
}

impl Load {
    /// All connections: in each room as few publishers as can keep up the rate, since one may send so much per second.
    #[must_use]
    pub fn members(&self) -> Members {
        let publishers = self.rate.div_ceil(u64::from(REQUESTS_PER_SECOND)).max(1);
        Members { rooms: self.rooms, publishers: self.rooms * publishers, viewers: self.rooms * self.viewers }
    }
}

/// When each message is due.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    start_nanos: u64,
    /// Messages per second in all rooms together.
    rate: u64,
    /// Messages before this one are not measured.
    first_measured: u64,
    messages: u64,
}

impl Schedule {
    fn new(start_nanos: u64, load: &Load) -> Self {
        let rate = load.rooms * load.rate;
        let first_measured = load.warm_up_seconds * rate;
        let messages = first_measured + load.seconds * rate;
        Self { start_nanos, rate, first_measured, messages }
    }

    fn due_nanos(&self, sequence: u64) -> u64 {
        let offset = u128::from(sequence) * u128::from(SECOND_NANOS) / u128::from(self.rate);
        self.start_nanos + u64::try_from(offset).unwrap_or(u64::MAX)
    }
}

/// Everything that counters show at one instant.
struct Reading {
    at_nanos: u64,
    server: ProcessorTime,
    client: ProcessorTime,
    cores: CoreTime,
    traffic: Traffic,
    received: u64,
    sampled_segments: u64,
    sampled_received: u64,
}

/// What listens to the crowd.
struct Listener {
    schedule: Schedule,
    verifier: Verifier,
    latency: Histogram,
}

impl Listener {
    fn take(&mut self, received: &Received<'_>) -> Result<(), Failure> {
        let sequence = self.verifier.take(received.connection, received.payload).map_err(Failure::Void)?;
        if sequence >= self.schedule.first_measured {
            self.latency.add(received.at_nanos.saturating_sub(self.schedule.due_nanos(sequence)));
        }
        Ok(())
    }
}

/// One run against one peer.
struct FanOut<'a> {
    peer: Peer,
    running: &'a RunningPeer,
    script: Script,
    clock: Clock,
    crowd: Crowd,
    listener: Listener,
    /// By how much messages were sent after they were due: the load generator's own delay.
    lateness: Histogram,
}

/// Measures one run.
///
/// # Errors
/// The run is void, or the machine does not let it be measured.
pub fn measure(peer: Peer, setup: &Setup, load: &Load) -> Result<Figures, Failure> {
    let running = peer.start(setup)?;
    let result = measure_running(peer, &running, setup, load);
    match result {
        Ok(figures) => running.stop().map(|()| figures),
        Err(failure) => {
            eprintln!("{} said: {}", peer.name(), running.server.log_tail());
            Err(failure)
        }
    }
}

fn measure_running(
    peer: Peer,
    running: &RunningPeer,
    setup: &Setup,
    load: &Load,
) -> Result<Figures, Failure> {
    let clock = Clock::start();
    let mut crowd = Crowd::new(clock)?;
    let members = load.members();
    let tickets = running.tickets(&members)?;
    crowd.join(running.server.edge, &tickets)?;
    let script =
        Script { rooms: members.rooms, publishers: members.publishers, content_length: load.content_length };
    let schedule = Schedule::new(clock.nanos() + SECOND_NANOS / 10, load);
    let verifier = Verifier::new(script, crowd.len());
    let listener = Listener { schedule, verifier, latency: Histogram::default() };
    let mut fan_out =
        FanOut { peer, running, script, clock, crowd, listener, lateness: Histogram::default() };
    let (begin, end) = fan_out.play()?;
    fan_out.listener.verifier.judge(schedule.messages).map_err(Failure::Void)?;
    Ok(fan_out.figures(&begin, &end, setup))
}

impl FanOut<'_> {
    /// Publishes everything on time and listens until all has arrived.
    fn play(&mut self) -> Result<(Reading, Reading), Failure> {
        let schedule = self.listener.schedule;
        let mut begin = None;
        for sequence in 0..schedule.messages {
            let due = schedule.due_nanos(sequence);
            self.listen_until(due)?;
            if sequence == schedule.first_measured {
                begin = Some(self.read_counters()?);
            }
            self.lateness.add(self.clock.nanos().saturating_sub(due));
            let publisher = self.peer.publisher(&self.script, sequence);
            self.crowd.send(publisher, &self.peer.publication(&self.script, sequence))?;
        }
        self.listen_until(schedule.due_nanos(schedule.messages))?;
        let end = self.read_counters()?;
        self.listen_for_stragglers()?;
        let begin = begin.ok_or_else(|| Failure::Arguments("nothing is measured".to_owned()))?;
        Ok((begin, end))
    }

    fn listen_until(&mut self, until_nanos: u64) -> Result<(), Failure> {
        let mut events = events();
        loop {
            let left = until_nanos.saturating_sub(self.clock.nanos());
            if left == 0 {
                return Ok(());
            }
            // The poller counts in milliseconds and rounds up: so it sleeps short of the instant and spins the rest.
            let timeout = Duration::from_millis(left.saturating_sub(SPIN_NANOS) / 1_000_000);
            let listener = &mut self.listener;
            self.crowd.turn(&mut events, timeout, &mut |received| listener.take(&received))?;
        }
    }

    fn listen_for_stragglers(&mut self) -> Result<(), Failure> {
        let wanted = self.listener.schedule.messages * (self.crowd.len() as u64 / self.script.rooms);
        let give_up_at = self.clock.nanos() + STRAGGLERS_NANOS;
        while self.listener.verifier.received() < wanted && self.clock.nanos() < give_up_at {
            let soon = self.clock.nanos() + SECOND_NANOS / 100;
            self.listen_until(soon)?;
        }
        let encore = u64::try_from(ENCORE.as_nanos()).unwrap_or(0);
        self.listen_until(self.clock.nanos() + encore)
    }

    fn read_counters(&self) -> Result<Reading, Failure> {
        let verifier = &self.listener.verifier;
        let receivers = self.crowd.len();
        let sample = (0..receivers).step_by((receivers / SEGMENT_SAMPLE).max(1));
        Ok(Reading {
            at_nanos: self.clock.nanos(),
            server: ProcessorTime::read(self.running.server.pid())?,
            client: ProcessorTime::read(std::process::id())?,
            cores: CoreTime::read()?,
            traffic: self.crowd.traffic(),
            received: verifier.received(),
            sampled_segments: sample.clone().map(|index| self.crowd.data_segments_received(index)).sum(),
            sampled_received: sample.map(|index| verifier.received_by(index)).sum(),
        })
    }

    fn figures(&self, begin: &Reading, end: &Reading, setup: &Setup) -> Figures {
        let deliveries = (end.received - begin.received) as f64;
        let elapsed_nanos = end.at_nanos - begin.at_nanos;
        let per_delivery_us = |nanos: f64| nanos / 1_000.0 / deliveries;
        let server = end.server.since(begin.server);
        let client = end.client.since(begin.client);
        let run_us = per_delivery_us(server.run_nanos as f64);
        let server_core_nanos = end.cores.busy_since(&begin.cores, &setup.cores.server);
        let machine_nanos = end.cores.busy_since(&begin.cores, &[]);
        let others_nanos = machine_nanos.saturating_sub(server.run_nanos + client.run_nanos);
        let share_percent = |nanos: u64| 100.0 * nanos as f64 / elapsed_nanos as f64;
        let sampled = (end.sampled_received - begin.sampled_received) as f64;
        let millis = |nanos: u64| nanos as f64 / 1e6;
        let latency = &self.listener.latency;
        vec![
            ("cpu_us_per_delivery", run_us),
            ("user_us_per_delivery", run_us * server.user_share()),
            ("system_us_per_delivery", run_us * (1.0 - server.user_share())),
            ("server_core_us_per_delivery", per_delivery_us(server_core_nanos as f64)),
            ("deliveries_per_s", deliveries * 1e9 / elapsed_nanos as f64),
            ("writes_per_delivery", (end.sampled_segments - begin.sampled_segments) as f64 / sampled),
            ("bytes_per_delivery", (end.traffic.bytes - begin.traffic.bytes) as f64 / deliveries),
            ("latency_p50_ms", millis(latency.percentile(500))),
            ("latency_p99_ms", millis(latency.percentile(990))),
            ("latency_p999_ms", millis(latency.percentile(999))),
            ("latency_max_ms", millis(latency.longest())),
            ("deliveries_per_client_read", deliveries / (end.traffic.reads - begin.traffic.reads) as f64),
            ("client_us_per_delivery", per_delivery_us(client.run_nanos as f64)),
            ("client_late_p99_ms", millis(self.lateness.percentile(990))),
            ("server_core_percent", share_percent(server.run_nanos)),
            ("client_core_percent", share_percent(client.run_nanos)),
            ("others_core_percent", share_percent(others_nanos)),
        ]
    }
}

/// What `fanout` does.
pub struct Plan {
    /// Interleaved round by round, each round beginning with another one.
    pub peers: Vec<Peer>,
    /// How often each is measured.
    pub rounds: u64,
    /// How they are started.
    pub setup: Setup,
    /// What they are given to do.
    pub load: Load,
    /// Where a picture of all rounds goes; none is drawn when `None`.
    pub plot_file: Option<PathBuf>,
    /// Where the lines of JSON go.
    pub report_file: PathBuf,
}

/// Measures all peers in all rounds and reports.
///
/// # Errors
/// See [`measure`]; and a run of Grandstand was void.
pub fn run(plan: &Plan) -> Result<(), Failure> {
    let mut report = Report::default();
    for round in 1..=plan.rounds {
        let mut peers = plan.peers.clone();
        let first = usize::try_from(round).unwrap_or(0) % peers.len().max(1);
        peers.rotate_left(first);
        for peer in peers {
            report.add_outcome(round, peer.name(), measure(peer, &plan.setup, &plan.load))?;
        }
    }
    let ratios = ["cpu_us_per_delivery", "server_core_us_per_delivery", "latency_p99_ms"];
    report.publish(Peer::Grandstand.name(), &ratios, &plan.report_file)?;
    if let Some(file) = &plan.plot_file {
        let Load { rooms, viewers, rate, .. } = plan.load;
        let window_ms = plan.setup.grandstand.window_ms;
        let title = format!(
            "{rooms} room(s) of {viewers} viewers, {rate} messages/s in each, Grandstand's window {window_ms} ms"
        );
        let panels = report.panels(&["cpu_us_per_delivery", "latency_p50_ms", "latency_p99_ms"]);
        picture::write(file, &picture::of_rounds(&title, &panels))?;
    }
    report.verdict()
}

#[cfg(test)]
mod tests {
    use super::{Load, Members, Schedule};

    #[test]
    fn messages_are_due_evenly_and_without_drift() {
        let load =
            Load { rooms: 1, viewers: 1, rate: 30, seconds: 10, warm_up_seconds: 2, content_length: 10 };
        let schedule = Schedule::new(1_000, &load);
        assert_eq!((schedule.first_measured, schedule.messages), (60, 360));
        assert_eq!(schedule.due_nanos(0), 1_000);
        assert_eq!(schedule.due_nanos(60), 2_000_001_000);
        assert_eq!(schedule.due_nanos(360), 12_000_001_000);
        assert_eq!(load.members(), Members { rooms: 1, publishers: 3, viewers: 1 });
        let load = Load { rooms: 4, ..load };
        assert_eq!(Schedule::new(1_000, &load).due_nanos(60), 500_001_000);
        assert_eq!(load.members(), Members { rooms: 4, publishers: 12, viewers: 4 });
    }
}
