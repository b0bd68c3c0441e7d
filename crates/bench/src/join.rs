//! How many can join in a second: clients that take a chat token over HTTP (CreateChatToken), connect with it and, as soon as
//! they are let in, leave and make room for another user who does the same (a closed loop). A join is done when the handshake
//! was answered as it must be; a run in which anybody was not let in is void.

use std::path::PathBuf;
use std::time::Duration;

use crate::client::Clock;
use crate::failure::Failure;
use crate::histogram::Histogram;
use crate::newcomers::{Happening, Newcomers};
use crate::peers::{self, RunningPeer, Setup};
use crate::process::{CoreTime, ProcessorTime};
use crate::report::Figures;

const SECOND_NANOS: u64 = 1_000_000_000;

/// What `join` does.
pub struct Plan {
    /// How often it is measured, each time with a new server.
    pub rounds: u64,
    /// How the server is started.
    pub setup: Setup,
    /// Clients that join at the same time, each with a connection of its own to the control plane.
    pub clients: usize,
    /// How long is measured.
    pub seconds: u64,
    /// How long the same load runs before.
    pub warm_up_seconds: u64,
    /// Where the lines of JSON go.
    pub report_file: PathBuf,
}

/// Measures all rounds and reports.
///
/// # Errors
/// Somebody was not let in, and the system's.
pub fn run(plan: &Plan) -> Result<(), Failure> {
    let measure = |running: &RunningPeer| measure(running, plan);
    peers::measure_grandstand(&plan.setup, plan.rounds, &plan.report_file, measure)
}

/// What has been counted of joins.
#[derive(Default)]
struct Joins {
    whole: Histogram,
    token: Histogram,
    handshake: Histogram,
}

fn measure(running: &RunningPeer, plan: &Plan) -> Result<Figures, Failure> {
    let (pid, clock) = (running.server.pid(), Clock::start());
    let (api, edge) = (running.server.api()?, running.server.edge);
    let mut newcomers = Newcomers::new(clock, api, edge, plan.clients, plan.clients)?;
    for newcomer in 0..plan.clients {
        newcomers.want_in(newcomer);
    }
    join_until(&mut newcomers, clock, clock.nanos() + plan.warm_up_seconds * SECOND_NANOS)?;
    let read = |pid| -> Result<(ProcessorTime, ProcessorTime), Failure> {
        Ok((ProcessorTime::read(pid)?, ProcessorTime::read(std::process::id())?))
    };
    let (began_at, (server, client), cores) = (clock.nanos(), read(pid)?, CoreTime::read()?);
    let joins = join_until(&mut newcomers, clock, began_at + plan.seconds * SECOND_NANOS)?;
    let (elapsed, now, cores) =
        (clock.nanos() - began_at, read(pid)?, CoreTime::read()?.busy_since(&cores, &[]));
    let (server, client) = (now.0.since(server), now.1.since(client));
    let count = joins.whole.count() as f64;
    let cpu_us = server.run_nanos as f64 / 1e3 / count;
    let share_percent = |nanos: u64| nanos as f64 * 100.0 / elapsed as f64;
    let millis = |nanos: u64| nanos as f64 / 1e6;
    Ok(vec![
        ("joins_per_s", count * 1e9 / elapsed as f64),
        ("cpu_us_per_join", cpu_us),
        ("user_us_per_join", cpu_us * server.user_share()),
        ("join_p50_ms", millis(joins.whole.percentile(500))),
        ("join_p99_ms", millis(joins.whole.percentile(990))),
        ("token_p50_ms", millis(joins.token.percentile(500))),
        ("token_p99_ms", millis(joins.token.percentile(990))),
        ("handshake_p50_ms", millis(joins.handshake.percentile(500))),
        ("handshake_p99_ms", millis(joins.handshake.percentile(990))),
        ("server_core_percent", share_percent(server.run_nanos)),
        ("client_core_percent", share_percent(client.run_nanos)),
        ("others_core_percent", share_percent(cores.saturating_sub(server.run_nanos + client.run_nanos))),
    ])
}

/// Has everybody who has joined leave and join again.
fn join_until(newcomers: &mut Newcomers, clock: Clock, until_nanos: u64) -> Result<Joins, Failure> {
    let mut joins = Joins::default();
    while let left @ 1.. = until_nanos.saturating_sub(clock.nanos()) {
        for happening in newcomers.turn(Duration::from_nanos(left))? {
            match happening {
                Happening::Joined { newcomer, token_nanos, handshake_nanos } => {
                    joins.whole.add(token_nanos + handshake_nanos);
                    joins.token.add(token_nanos);
                    joins.handshake.add(handshake_nanos);
                    newcomers.replace(newcomer);
                    newcomers.want_in(newcomer);
                }
                Happening::Refused { newcomer, reason } => {
                    return Err(Failure::Closed { connection: newcomer, reason });
                }
                Happening::Dropped { newcomer } | Happening::Dismissed { newcomer } => {
                    return Err(Failure::Closed { connection: newcomer, reason: String::new() });
                }
            }
        }
    }
    Ok(joins)
}
