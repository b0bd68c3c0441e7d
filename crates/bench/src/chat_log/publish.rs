//! What it costs a room that its messages are logged: processor time of the server for each, and how long they take.
//!
//! Each room has one member, who publishes, and gets what it has published. Nothing is shipped meanwhile: the records are for
//! S3, and their window is long. A spool is read when the last message has arrived.

use std::time::Duration;

use super::delivered::{Tally, sequence_of};
use super::{LogService, Plan, command, id_of, now, per, spool, wrong};
use crate::client::{Clock, Crowd, Ticket};
use crate::control::{ControlPlane, Role};
use crate::failure::Failure;
use crate::peers::Peer;
use crate::play::{Pace, Play, SECOND_NANOS};
use crate::process::{ProcessorTime, run_nanos_of_threads};
use crate::report::{Figures, Report, Run, value};
use crate::server::{Addresses, Grandstand, Server};
use crate::verify::Script;

/// Longest window of an object of S3, in seconds.
const WINDOW_S_MAX: u64 = 86_400;
/// What a spool may get without being shipped before its window has ended, in bytes: less than an object may have.
const SPOOL_BYTES_MAX: u64 = 12 << 20;
/// What a record has in the spool beside its message's content, in bytes, generously.
const RECORD_BYTES: u64 = 350;
/// What the server calls its shards' threads.
const SHARDS: &str = "shard-";

/// How rooms are logged.
#[derive(Clone, Copy, Debug)]
struct Variant {
    name: &'static str,
    /// How many logging configurations each room has.
    configurations: usize,
    /// Whether each record is synced before its message is published.
    syncs_always: bool,
    /// The variant without logging that it is compared with; its own name if it is that.
    beyond: &'static str,
}

impl Variant {
    const fn new(
        name: &'static str,
        configurations: usize,
        syncs_always: bool,
        beyond: &'static str,
    ) -> Self {
        Self { name, configurations, syncs_always, beyond }
    }
}

/// The second three have a lower rate: who waits for each sync does not publish more.
const VARIANTS: [Variant; 6] = [
    Variant::new("unlogged", 0, false, "unlogged"),
    Variant::new("interval, 1", 1, false, "unlogged"),
    Variant::new("interval, 3", 3, false, "unlogged"),
    Variant::new("unlogged, slow", 0, true, "unlogged, slow"),
    Variant::new("always, 1", 1, true, "unlogged, slow"),
    Variant::new("always, 3", 3, true, "unlogged, slow"),
];

/// Measures all rounds, in each of them all variants in turn.
pub(super) fn run(plan: &Plan) -> Result<(), Failure> {
    let messages = plan.rate.max(plan.synced_rate) * (plan.warm_up_seconds + plan.seconds);
    let records_max = SPOOL_BYTES_MAX / (RECORD_BYTES + plan.content_length as u64);
    if messages > records_max {
        return Err(Failure::Arguments(format!("no more than {records_max} messages can be published")));
    }
    println!("== messages into {} rooms", plan.rooms);
    let mut report = Report::default();
    for round in 1..=plan.rounds {
        let mut runs: Vec<Run> = Vec::new();
        for variant in VARIANTS {
            let mut figures = measure(plan, variant)?;
            let base = runs.iter().find(|run| run.peer == variant.beyond);
            for (name, of) in [("log_cpu_us", "cpu_us_per_message"), ("log_shard_us", "shard_us_per_message")]
            {
                let own = figures.iter().find(|(other, _)| *other == of).map_or(0.0, |(_, own)| *own);
                figures.push((name, own - base.and_then(|base| value(base, of)).unwrap_or(own)));
            }
            runs.push(Run { round, peer: variant.name, figures });
        }
        runs.into_iter().for_each(|run| report.add(run));
    }
    report.publish("", &[], &plan.report_file)
}

/// Rooms, and who publishes in them.
struct Rooms {
    /// The ids of their logging configurations.
    configurations: Vec<String>,
    tickets: Vec<Ticket>,
}

fn make_rooms(plan: &Plan, variant: Variant, server: &Server) -> Result<Rooms, Failure> {
    let mut control = ControlPlane::connect(server.api()?, None)?;
    let make = |_| control.create_logging_configuration(&LogService::S3.destination());
    let configurations = (0..variant.configurations).map(make).collect::<Result<Vec<_>, _>>()?;
    let mut tickets = Vec::new();
    for number in 0..plan.rooms {
        let room = control.create_logged_room(&configurations)?;
        let user_id = Script::publisher_user_id(number);
        let token = control.create_chat_token(&room, &user_id, Role::Publisher)?;
        tickets.push(Ticket::with_token(server.edge, &token));
    }
    Ok(Rooms { configurations: configurations.iter().map(|arn| id_of(arn)).collect(), tickets })
}

/// What counters show at one instant.
struct Reading {
    server_nanos: u64,
    shard_nanos: u64,
    received_bytes: u64,
    received: u64,
}

impl Reading {
    fn take(play: &Play, server: &Server) -> Result<Self, Failure> {
        Ok(Self {
            server_nanos: ProcessorTime::read(server.pid())?.run_nanos,
            shard_nanos: run_nanos_of_threads(server.pid(), SHARDS)?,
            received_bytes: play.crowd().traffic().bytes,
            received: play.verifier().received(),
        })
    }
}

fn measure(plan: &Plan, variant: Variant) -> Result<Figures, Failure> {
    let folder = Grandstand::data_folder()?;
    let mut command = command(plan, &folder);
    command
        .env("GRANDSTAND_CHATLOG_FSYNC", if variant.syncs_always { "always" } else { "interval" })
        .env("GRANDSTAND_CHATLOG_S3_INTERVAL_S", window_s(plan).to_string());
    let server = Server::start(command, &plan.setup.cores, Addresses::read)?;
    let rooms = make_rooms(plan, variant, &server)?;
    let rate = if variant.syncs_always { plan.synced_rate } else { plan.rate };
    let clock = Clock::start();
    let mut crowd = Crowd::new(clock)?;
    crowd.join(server.edge, &rooms.tickets)?;
    let script = Script { rooms: plan.rooms, publishers: plan.rooms, content_length: plan.content_length };
    let pace = Pace::Steady { start_nanos: clock.nanos() + SECOND_NANOS / 10, rate };
    let phases = [plan.warm_up_seconds, plan.seconds];
    let mut play = Play::new(Peer::Grandstand, script, (clock, crowd), pace, &phases);
    let mut readings = Vec::new();
    play.perform(|_, play| {
        readings.push(Reading::take(play, &server)?);
        Ok(())
    })?;
    let [_, begin, end] = readings.as_slice() else {
        return Err(Failure::Arguments("nothing is measured".to_owned()));
    };
    let messages = rate * (plan.warm_up_seconds + plan.seconds);
    let mut spool_bytes = 0;
    for configuration in &rooms.configurations {
        spool_bytes = judge_spool(&spool::folder(folder.path(), configuration), script, messages)?;
    }
    let (measured, received) = (rate * plan.seconds, end.received - begin.received);
    let latency = play.latency(1);
    let millis = |per_mille| latency.percentile(per_mille) as f64 / 1e6;
    let figures = vec![
        ("cpu_us_per_message", per(end.server_nanos - begin.server_nanos, measured)),
        ("shard_us_per_message", per(end.shard_nanos - begin.shard_nanos, measured)),
        ("latency_p50_ms", millis(500)),
        ("latency_p99_ms", millis(990)),
        ("frame_bytes", (end.received_bytes - begin.received_bytes) as f64 / received.max(1) as f64),
        ("spool_bytes_per_record", spool_bytes as f64 / messages.max(1) as f64),
    ];
    drop(play);
    server.stop()?;
    Ok(figures)
}

/// The window that ends latest, of those that may be: what is logged is not to be shipped while it is measured.
fn window_s(plan: &Plan) -> u64 {
    let now_s = now().as_secs();
    let left = |window_s: &u64| window_s - now_s % window_s;
    let needed = Duration::from_secs(60 + plan.seconds + plan.warm_up_seconds);
    let windows = (WINDOW_S_MAX / 2..=WINDOW_S_MAX).step_by(1_000);
    windows.filter(|window_s| left(window_s) > needed.as_secs()).max_by_key(left).unwrap_or(WINDOW_S_MAX)
}

/// Everything that was published must be in the spool, once, in the order of each room; its bytes there.
fn judge_spool(folder: &std::path::Path, script: Script, messages: u64) -> Result<u64, Failure> {
    let mut tally = Tally::new(script.rooms);
    let bytes = spool::read(folder, |record| {
        let sequence = sequence_of(&record.json)?;
        if !record.json.contains(&script.content(sequence)) {
            return Err(wrong(format!("record {sequence} was altered: {}", record.json)));
        }
        tally.take(sequence)
    })?;
    tally.judge(messages)?;
    Ok(bytes)
}
