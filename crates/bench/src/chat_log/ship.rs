//! How fast a spool is shipped that a server finds when it starts, to each service and to the folder that stands for it.
//!
//! A spool counts as shipped when it has no file any more: then its destination has acknowledged everything, and the server has
//! noted that on disk. What was delivered is compared afterwards.

use std::time::{Duration, Instant};

use super::receiver::Receiver;
use super::spool::{Content, fill, folder, segments};
use super::{LogService, Plan, Site, command, delivered, mebibytes, per, wrong};
use crate::failure::Failure;
use crate::os;
use crate::process::{Memory, ProcessorTime};
use crate::report::{Figures, Report, Run};
use crate::server::{ACCESS_KEY_ID, Addresses, SECRET_ACCESS_KEY, Server};

/// Between two looks at the spool. Nothing tells of its end.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// Between two looks at the memory of the server, in looks at the spool.
const MEMORY_EVERY: u64 = 10;
const TIME_MAX: Duration = Duration::from_secs(300);

const VARIANTS: [(&str, LogService, bool); 6] = [
    ("S3 folder", LogService::S3, false),
    ("Logs folder", LogService::CloudWatchLogs, false),
    ("Firehose folder", LogService::Firehose, false),
    ("S3", LogService::S3, true),
    ("CloudWatch Logs", LogService::CloudWatchLogs, true),
    ("Firehose", LogService::Firehose, true),
];

/// Measures all rounds, in each of them all destinations in turn.
pub(super) fn run(plan: &Plan) -> Result<(), Failure> {
    println!("== a spool of {} records of {} rooms is shipped", plan.shipped_records, plan.rooms);
    let mut report = Report::default();
    for round in 1..=plan.rounds {
        for (peer, service, is_remote) in VARIANTS {
            report.add(Run { round, peer, figures: measure(plan, service, is_remote)? });
        }
    }
    report.publish("", &[], &plan.report_file)
}

fn measure(plan: &Plan, service: LogService, is_remote: bool) -> Result<Figures, Failure> {
    let site = Site::make(plan, service)?;
    let content = Content::new(plan, plan.shipped_records);
    let filled = fill(&site, &content)?;
    let receiver = Receiver::start(service).map_err(Failure::io("listen"))?;
    let mut command = command(plan, &site.folder);
    if is_remote {
        command
            .env("AWS_ENDPOINT_URL", format!("http://{}", receiver.address))
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
    }
    let own_nanos = os::process_processor_nanos().map_err(Failure::io("read the processor time"))?;
    let began = Instant::now();
    let server = Server::start(command, &plan.setup.cores, Addresses::read)?;
    let spool = folder(site.folder.path(), &site.configuration);
    let mut anonymous_bytes = 0;
    for look in 0.. {
        if segments(&spool).map_err(Failure::io("list a spool"))?.is_empty() {
            break;
        }
        if began.elapsed() > TIME_MAX {
            return Err(wrong(format!("the spool is not shipped after {TIME_MAX:?}: {}", server.log_tail())));
        }
        if look % MEMORY_EVERY == 0 {
            anonymous_bytes = anonymous_bytes.max(Memory::read(server.pid())?.anonymous_bytes);
        }
        server.leave_alone(LOOK_INTERVAL)?;
    }
    let elapsed = began.elapsed();
    let server_nanos = ProcessorTime::read(server.pid())?.run_nanos;
    let own_nanos =
        os::process_processor_nanos().map_err(Failure::io("read the processor time"))? - own_nanos;
    server.stop()?;
    let deliveries = receiver.take_deliveries();
    if is_remote {
        delivered::judge(&content, service, &deliveries)?;
    } else {
        delivered::judge_folder(&content, service, site.folder.path())?;
    }
    let sent_bytes: usize = deliveries.iter().map(|delivery| delivery.body.len()).sum();
    let records = content.records as f64;
    let cpu_s = server_nanos as f64 / 1e9;
    let megabytes = filled.json_bytes as f64 / 1e6;
    Ok(vec![
        ("cpu_us_per_record", per(server_nanos, content.records)),
        ("records_per_core_s", records / cpu_s),
        ("megabytes_per_core_s", megabytes / cpu_s),
        ("records_per_s", records / elapsed.as_secs_f64()),
        ("receiver_us_per_record", per(own_nanos, content.records)),
        ("calls", deliveries.len() as f64),
        ("sent_bytes_per_record", sent_bytes as f64 / records),
        ("record_bytes", filled.json_bytes as f64 / records),
        ("spool_bytes_per_record", filled.spool_bytes as f64 / records),
        ("anonymous_most_mib", mebibytes(anonymous_bytes)),
    ])
}
