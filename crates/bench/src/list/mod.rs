//! ListRooms over HTTP: pages per second and processor time per page, beside a server that gives a fixed answer.
//!
//! Grandstand serves a store that was filled before it started. Both servers verify each request's signature and send
//! bodies of the same size; they run on the same cores, in turns. The pages are the first ones of the list without
//! conditions, one after the other; how a page's cost depends on depth and conditions is `store`'s to say. Nobody writes
//! meanwhile, so a page that a server has kept from the last time is still true; with more pages in turn than it
//! keeps, each is read and written anew.

mod asker;
mod profile;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use self::asker::{Page, ask};
use self::profile::Recording;
use crate::control::ControlPlane;
use crate::failure::Failure;
use crate::peers::{Setup, signed_answer};
use crate::process::{CoreTime, Memory, ProcessorTime};
use crate::report::{Figures, Report, Run};
use crate::server::{Addresses, Server};
use crate::store::{self, Site, Sites};

/// The peer's name in reports.
const SIGNED_ANSWER: &str = "signed-answer";

/// What `list` does.
pub struct Plan {
    /// How many rooms; each size is a store of its own.
    pub sizes: Vec<u64>,
    /// Where the stores are, or are made.
    pub sites: Sites,
    /// How often each server is measured.
    pub rounds: u64,
    /// How long, each time.
    pub seconds: u64,
    /// Connections that ask, each for one page at a time.
    pub connections: usize,
    /// How many pages are asked for in turn, if there are so many. A server keeps some 200 answers until the store changes.
    pub pages: usize,
    /// How the servers are started.
    pub setup: Setup,
    /// Where a picture goes of what the server's time is spent on; none is made when `None`.
    pub profile_file: Option<PathBuf>,
    /// Where the lines of JSON go.
    pub report_file: PathBuf,
}

/// Measures both servers in all rounds and reports.
///
/// # Errors
/// An answer that is not the expected one, and the system's.
pub fn run(plan: &Plan) -> Result<(), Failure> {
    for &rooms in &plan.sizes {
        let site = plan.sites.of(rooms)?;
        store::fill_once(&site, rooms)?;
        measure_size(plan, &site, rooms)?;
    }
    Ok(())
}

fn measure_size(plan: &Plan, site: &Site, rooms: u64) -> Result<(), Failure> {
    let grandstand = Server::start(site.command(&plan.setup.grandstand), &plan.setup.cores, Addresses::read)?;
    let pages = walk(&grandstand, plan.pages)?;
    let first = pages.first().ok_or_else(|| Failure::Arguments("there are no rooms".to_owned()))?;
    let answer_file = tempfile::NamedTempFile::new().map_err(Failure::io("make a file for the answer"))?;
    std::fs::write(&answer_file, &first.1).map_err(Failure::io("write the answer"))?;
    let this = std::env::current_exe().map_err(Failure::io("find this binary"))?;
    let mut command = Command::new(this);
    command.arg(signed_answer::SUBCOMMAND).arg(answer_file.path());
    let peer = Server::start(command, &plan.setup.cores, Addresses::read)?;

    let mut report = Report::default();
    println!("== {rooms} rooms, {} pages of {} bytes in turn", pages.len(), first.1.len());
    for round in 1..=plan.rounds {
        // Signatures are valid for five minutes, so each round has its own.
        let asked = signed(&grandstand, &pages, |(_, body)| body)?;
        report.add(Run { round, peer: "grandstand", figures: measure(plan, &grandstand, &asked)? });
        let asked = signed(&peer, &pages, |_| &first.1)?;
        report.add(Run { round, peer: SIGNED_ANSWER, figures: measure(plan, &peer, &asked)? });
    }
    report.publish("grandstand", &["pages_per_s", "cpu_us_per_page"], &plan.report_file)?;
    if let Some(file) = &plan.profile_file {
        let asked = signed(&grandstand, &pages, |(_, body)| body)?;
        draw(plan, &grandstand, &asked, file, rooms)?;
    }
    grandstand.stop()
}

/// Asks once more, with a profiler at work.
fn draw(plan: &Plan, server: &Server, pages: &[Page], file: &Path, rooms: u64) -> Result<(), Failure> {
    let recording = Recording::start(server.pid(), plan.seconds)?;
    ask(server.api()?, plan.connections, pages, Duration::from_secs(plan.seconds + 1))?;
    let profile = recording.finish()?;
    println!("{}", profile.to_text());
    profile.write(file, &format!("Processor time of a page of ListRooms over HTTP, {rooms} rooms"))
}

/// The `nextToken` that a page is asked for with, and its body.
type Walked = (Option<String>, Vec<u8>);

/// The first `count` pages of the list.
fn walk(server: &Server, count: usize) -> Result<Vec<Walked>, Failure> {
    let mut control = ControlPlane::connect(server.api()?, None)?;
    let mut pages = Vec::new();
    let mut token: Option<String> = None;
    while pages.len() < count {
        let body = control.list_rooms(token.as_deref())?;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        let next = answer["nextToken"].as_str().map(str::to_owned);
        pages.push((token, body));
        if next.is_none() {
            break;
        }
        token = next;
    }
    Ok(pages)
}

/// The requests for the pages, signed for `server`, which answers each with `body` of it.
fn signed<'a>(
    server: &Server,
    pages: &'a [Walked],
    body: impl Fn(&'a Walked) -> &'a Vec<u8>,
) -> Result<Vec<Page>, Failure> {
    let control = ControlPlane::connect(server.api()?, None)?;
    let page = |walked: &'a Walked| {
        let body = body(walked);
        let is_token = |window: &[u8]| window == b"\"nextToken\"";
        let beginning = body.windows(11).rposition(is_token).unwrap_or(body.len());
        Page {
            request: control.list_rooms_request(walked.0.as_deref()),
            beginning: body[..beginning].to_vec(),
            body_bytes: body.len(),
        }
    };
    Ok(pages.iter().map(page).collect())
}

fn measure(plan: &Plan, server: &Server, pages: &[Page]) -> Result<Figures, Failure> {
    let (pid, address) = (server.pid(), server.api()?);
    // What is read for the first time is read now.
    ask(address, plan.connections, pages, Duration::from_millis(500))?;
    let (time, cores) = (ProcessorTime::read(pid)?, CoreTime::read()?);
    let asked = ask(address, plan.connections, pages, Duration::from_secs(plan.seconds))?;
    let (time, now) = (ProcessorTime::read(pid)?.since(time), CoreTime::read()?);
    let busy = now.busy_since(&cores, &plan.setup.cores.server) as f64;
    let (count, nanos) = (asked.pages as f64, asked.elapsed.as_nanos() as f64);
    let cpu_us = time.run_nanos as f64 / 1e3 / count;
    Ok(vec![
        ("pages_per_s", count * 1e9 / nanos),
        ("cpu_us_per_page", cpu_us),
        ("user_us_per_page", cpu_us * time.user_share()),
        ("latency_p50_ms", asked.latency.percentile(500) as f64 / 1e6),
        ("latency_p99_ms", asked.latency.percentile(990) as f64 / 1e6),
        ("server_core_percent", busy * 100.0 / nanos),
        ("others_core_percent", (busy - time.run_nanos as f64).max(0.0) * 100.0 / nanos),
        ("anonymous_mib", Memory::read(pid)?.anonymous_bytes as f64 / f64::from(1 << 20)),
    ])
}
