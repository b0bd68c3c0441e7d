//! Chat logs: what a record costs whoever publishes, how fast a full spool is shipped, and what it takes while it waits.
//!
//! The server is the real one. Every record is verified, wherever it has come to: each of what was published, or was in the
//! spool, is there once and in its room's order; anything else ends the benchmark. What has come to a destination is compared
//! byte for byte, and of what is in a spool the content.

mod delivered;
mod publish;
mod receiver;
mod ship;
mod spool;
mod wait;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::control::ControlPlane;
use crate::failure::Failure;
use crate::peers::Setup;
use crate::server::{Addresses, Grandstand, Server};

/// Where the chat logs of a benchmark go, whatever the service: the name of a bucket, a group or a stream.
const DESTINATION_NAME: &str = "bench";

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Rooms with and without logging configurations publish.
    Publish,
    /// A full spool is shipped.
    Ship,
    /// A full spool waits for a destination that is away.
    Wait,
}

impl Part {
    /// All, in the order in which they are measured.
    pub const ALL: [Self; 3] = [Self::Publish, Self::Ship, Self::Wait];

    /// On the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Ship => "ship",
            Self::Wait => "wait",
        }
    }
}

/// What `chatlog` does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What of it.
    pub parts: Vec<Part>,
    /// How often each part is measured.
    pub rounds: u64,
    /// How the server is started.
    pub setup: Setup,
    /// How many rooms there are, in all parts.
    pub rooms: u64,
    /// Characters of each message's content.
    pub content_length: usize,
    /// Messages per second of all rooms together.
    pub rate: u64,
    /// … where each record is synced before its message is published.
    pub synced_rate: u64,
    /// How long publishing is measured.
    pub seconds: u64,
    /// How long the same load runs before.
    pub warm_up_seconds: u64,
    /// Records in the spool that is shipped.
    pub shipped_records: u64,
    /// Records in the spool that waits.
    pub waiting_records: u64,
    /// How long they wait, in seconds.
    pub wait_seconds: u64,
    /// Where the lines of JSON go.
    pub report_file: PathBuf,
}

/// Measures all parts in all rounds and reports.
///
/// # Errors
/// A record that is missing, doubled, out of order or altered; and the system's.
pub fn run(plan: &Plan) -> Result<(), Failure> {
    for part in &plan.parts {
        match part {
            Part::Publish => publish::run(plan)?,
            Part::Ship => ship::run(plan)?,
            Part::Wait => wait::run(plan)?,
        }
    }
    Ok(())
}

fn wrong(what: impl Into<String>) -> Failure {
    Failure::ChatLog(what.into())
}

/// A service that chat logs are delivered to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum LogService {
    S3,
    CloudWatchLogs,
    Firehose,
}

impl LogService {
    /// CreateLoggingConfiguration's `destinationConfiguration`.
    fn destination(self) -> serde_json::Value {
        match self {
            Self::S3 => serde_json::json!({ "s3": { "bucketName": DESTINATION_NAME } }),
            Self::CloudWatchLogs => {
                serde_json::json!({ "cloudWatchLogs": { "logGroupName": DESTINATION_NAME } })
            }
            Self::Firehose => serde_json::json!({ "firehose": { "deliveryStreamName": DESTINATION_NAME } }),
        }
    }
}

/// A data folder whose store has rooms with a logging configuration.
struct Site {
    folder: tempfile::TempDir,
    /// The ids of the rooms.
    rooms: Vec<String>,
    /// The id of the logging configuration.
    configuration: String,
}

impl Site {
    /// Has a server make one.
    fn make(plan: &Plan, service: LogService) -> Result<Self, Failure> {
        let folder = Grandstand::data_folder()?;
        let server = Server::start(command(plan, &folder), &plan.setup.cores, Addresses::read)?;
        let mut control = ControlPlane::connect(server.api()?, None)?;
        let configuration = control.create_logging_configuration(&service.destination())?;
        let rooms = (0..plan.rooms).map(|_| control.create_logged_room(std::slice::from_ref(&configuration)));
        let rooms = rooms.collect::<Result<Vec<_>, _>>()?;
        drop(control);
        server.stop()?;
        Ok(Self {
            folder,
            rooms: rooms.iter().map(|arn| id_of(arn)).collect(),
            configuration: id_of(&configuration),
        })
    }
}

/// The server on a data folder; nothing that this process was told of AWS is for it.
fn command(plan: &Plan, folder: &tempfile::TempDir) -> Command {
    let mut command = plan.setup.grandstand.command(folder.path());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command
}

/// The last part of an ARN.
fn id_of(arn: &str) -> String {
    arn.rsplit('/').next().unwrap_or_default().to_owned()
}

/// The time of day, since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// The share of something in each of so many.
fn per(nanos: u64, count: u64) -> f64 {
    nanos as f64 / 1e3 / count.max(1) as f64
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
