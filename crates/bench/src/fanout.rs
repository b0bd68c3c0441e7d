//! A room or many, each with its viewers and a stream of messages: what a delivery costs and how long it takes.
//!
//! The stream is steady ([`Pace::Steady`]), or as much as the server can do ([`Pace::Saturated`]). The first seconds are not
//! measured. See [`crate::play`] for what is verified.

use std::path::PathBuf;

use protocol::limit::edge::REQUESTS_PER_SECOND;

use crate::client::{Clock, Crowd};
use crate::failure::Failure;
use crate::peers::{Members, Peer, RunningPeer, Setup};
use crate::picture;
use crate::play::{Pace, Play, SECOND_NANOS};
use crate::reading::Reading;
use crate::report::{Figures, Report};
use crate::verify::Script;

/// In a room that is to be saturated: as many as its highest legal rate takes.
const SATURATING_PUBLISHERS: u64 = 10;

/// The load of a run.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many rooms there are.
    pub rooms: u64,
    /// Connections that only watch, in each room.
    pub viewers: u64,
    /// Messages per second in each room, unless it is saturated.
    pub rate: u64,
    /// If a room is to be saturated: how many messages are kept in flight.
    pub messages_in_flight: Option<u64>,
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
        let publishers = match self.messages_in_flight {
            Some(_) => SATURATING_PUBLISHERS,
            None => self.rate.div_ceil(u64::from(REQUESTS_PER_SECOND)).max(1),
        };
        Members { rooms: self.rooms, publishers: self.rooms * publishers, viewers: self.rooms * self.viewers }
    }

    /// What is published.
    #[must_use]
    pub fn script(&self) -> Script {
        let Members { rooms, publishers, .. } = self.members();
        Script { rooms, publishers, content_length: self.content_length }
    }

    /// When it is published, beginning at this instant.
    #[must_use]
    pub fn pace(&self, start_nanos: u64) -> Pace {
        match self.messages_in_flight {
            Some(each_room) => Pace::Saturated { messages_in_flight: self.rooms * each_room },
            None => Pace::Steady { start_nanos, rate: self.rooms * self.rate },
        }
    }

    /// In a few words.
    fn to_text(self) -> String {
        let Self { rooms, viewers, rate, .. } = self;
        match self.messages_in_flight {
            Some(messages) => {
                format!("{rooms} room(s) of {viewers} viewers, {messages} messages in flight in each")
            }
            None => format!("{rooms} room(s) of {viewers} viewers, {rate} messages/s in each"),
        }
    }
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
    crowd.join(running.server.edge, &running.tickets(&load.members())?)?;
    let pace = load.pace(clock.nanos() + SECOND_NANOS / 10);
    let phases = [load.warm_up_seconds, load.seconds];
    let mut play = Play::new(peer, load.script(), (clock, crowd), pace, &phases);
    let mut readings = Vec::new();
    play.perform(|_, play| {
        readings.push(Reading::take(play, running)?);
        Ok(())
    })?;
    match readings.as_slice() {
        [_, begin, end] => Ok(figures(&play, begin, end, setup)),
        _ => Err(Failure::Arguments("nothing is measured".to_owned())),
    }
}

fn figures(play: &Play, begin: &Reading, end: &Reading, setup: &Setup) -> Figures {
    let deliveries = (end.received - begin.received) as f64;
    let per_delivery_us = |nanos: f64| nanos / 1_000.0 / deliveries;
    let server = end.server.since(begin.server);
    let client = end.client.since(begin.client);
    let run_us = per_delivery_us(server.run_nanos as f64);
    let server_core_nanos = end.cores.busy_since(&begin.cores, &setup.cores.server);
    let sampled = (end.sampled_received - begin.sampled_received) as f64;
    let millis = |nanos: u64| nanos as f64 / 1e6;
    let latency = play.latency(1);
    let mut figures = vec![
        ("cpu_us_per_delivery", run_us),
        ("user_us_per_delivery", run_us * server.user_share()),
        ("system_us_per_delivery", run_us * (1.0 - server.user_share())),
        ("server_core_us_per_delivery", per_delivery_us(server_core_nanos as f64)),
        ("deliveries_per_s", end.deliveries_per_s(begin)),
        ("writes_per_delivery", (end.sampled_segments - begin.sampled_segments) as f64 / sampled),
        ("bytes_per_delivery", (end.traffic.bytes - begin.traffic.bytes) as f64 / deliveries),
        ("latency_p50_ms", millis(latency.percentile(500))),
        ("latency_p99_ms", millis(latency.percentile(990))),
        ("latency_p999_ms", millis(latency.percentile(999))),
        ("latency_max_ms", millis(latency.longest())),
        ("deliveries_per_client_read", deliveries / (end.traffic.reads - begin.traffic.reads) as f64),
        ("client_us_per_delivery", per_delivery_us(client.run_nanos as f64)),
        ("client_late_p99_ms", millis(play.lateness(1).percentile(990))),
    ];
    figures.extend(end.shares(begin));
    figures
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
    let cost = ["cpu_us_per_delivery", "server_core_us_per_delivery"];
    let worth = if plan.load.messages_in_flight.is_some() { "deliveries_per_s" } else { "latency_p99_ms" };
    let ratios = [cost.as_slice(), &[worth]].concat();
    report.publish(Peer::Grandstand.name(), &ratios, &plan.report_file)?;
    if let Some(file) = &plan.plot_file {
        let window_ms = plan.setup.grandstand.window_ms;
        let title = format!("{}, Grandstand's window {window_ms} ms", plan.load.to_text());
        let panels = report.panels(&["cpu_us_per_delivery", "latency_p50_ms", "latency_p99_ms"]);
        picture::write(file, &picture::of_rounds(&title, &panels))?;
    }
    report.verdict()
}

#[cfg(test)]
mod tests {
    use super::{Load, Members, Pace};

    #[test]
    fn a_room_has_as_many_publishers_as_its_messages_take() {
        let load = Load {
            rooms: 4,
            viewers: 1,
            rate: 30,
            messages_in_flight: None,
            seconds: 10,
            warm_up_seconds: 2,
            content_length: 30,
        };
        assert_eq!(load.members(), Members { rooms: 4, publishers: 12, viewers: 4 });
        assert_eq!(load.pace(5), Pace::Steady { start_nanos: 5, rate: 120 });
        let saturated = Load { messages_in_flight: Some(8), ..load };
        assert_eq!(saturated.members(), Members { rooms: 4, publishers: 40, viewers: 4 });
        assert_eq!(saturated.pace(5), Pace::Saturated { messages_in_flight: 32 });
    }
}
