//! What a full spool takes while its destination is away: memory of the server, and time when it starts.

use std::net::TcpListener;
use std::time::Duration;

use super::delivered::{Tally, sequence_of};
use super::spool::{Content, fill, folder, read};
use super::{LogService, Plan, Site, command, mebibytes, wrong};
use crate::failure::Failure;
use crate::process::{Memory, ProcessorTime};
use crate::report::{Figures, Report, Run};
use crate::server::{ACCESS_KEY_ID, Addresses, SECRET_ACCESS_KEY, Server};

/// Measures all rounds: in each of them the same server with an empty spool and then with a full one.
pub(super) fn run(plan: &Plan) -> Result<(), Failure> {
    println!("== a spool of {} records waits for a destination that is away", plan.waiting_records);
    let mut report = Report::default();
    for round in 1..=plan.rounds {
        let site = Site::make(plan, LogService::Firehose)?;
        report.add(Run { round, peer: "empty", figures: measure(plan, &site, 0)? });
        let content = Content::new(plan, plan.waiting_records);
        let filled = fill(&site, &content)?;
        let figures = measure(plan, &site, filled.spool_bytes)?;
        let mut tally = Tally::new(content.rooms());
        read(&folder(site.folder.path(), &site.configuration), |record| {
            let sequence = sequence_of(&record.json)?;
            if *record.json != *content.json(sequence) {
                return Err(wrong(format!("record {sequence} was altered")));
            }
            tally.take(sequence)
        })?;
        tally.judge(content.records)?;
        report.add(Run { round, peer: "full", figures });
    }
    report.publish("full", &["start_to_ready_ms", "anonymous_mib"], &plan.report_file)
}

fn measure(plan: &Plan, site: &Site, spool_bytes: u64) -> Result<Figures, Failure> {
    // Nobody listens there any more.
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let mut command = command(plan, &site.folder);
    command
        .env("AWS_ENDPOINT_URL", format!("http://{}", nobody.map_err(Failure::io("listen"))?))
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
    let server = Server::start(command, &plan.setup.cores, Addresses::read)?;
    let at_start = Memory::read(server.pid())?;
    server.leave_alone(Duration::from_secs(plan.wait_seconds))?;
    let memory = Memory::read(server.pid())?;
    let figures = vec![
        ("start_to_ready_ms", server.start_to_ready.as_secs_f64() * 1e3),
        ("anonymous_at_start_mib", mebibytes(at_start.anonymous_bytes)),
        ("anonymous_mib", mebibytes(memory.anonymous_bytes)),
        ("cpu_ms", ProcessorTime::read(server.pid())?.run_nanos as f64 / 1e6),
        ("spool_mib", mebibytes(spool_bytes)),
    ];
    server.stop()?;
    Ok(figures)
}
