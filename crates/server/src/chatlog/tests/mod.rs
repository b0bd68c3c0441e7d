//! The spool and its shipping, against a model and against files that crashes have left.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod destinations;
mod fake;
mod limits;
mod model;
mod shipping;
mod succession;
mod tail;

use std::path::Path;
use std::sync::Arc;

use hub::chat_log::{Entry, LoggingConfigurations, Unlogged};
use hub::message::RoomKey;
use protocol::arn::Scope;
use protocol::chat_log::RecordKind;
use protocol::id::Id;
use protocol::time::Timestamp;

use super::lane::{Lane, Rules};
use super::reader::{Bounds, Reader};
use super::record::Record;
use super::spool::{SpoolKey, Spools};
use super::sync::Syncer;
use crate::metrics::Metrics;

const RULES: Rules = Rules { syncs_always: false, refuses: false };

/// All of a reader's records, whatever their sizes.
const EVERYTHING: Bounds<'static> =
    Bounds { bytes_max: usize::MAX, records_max: usize::MAX, end: None, goes_on: &|_, _| true };

/// One process of the server, as far as chat logs go.
struct Process {
    spools: Arc<Spools>,
    syncer: Arc<Syncer>,
}

impl Process {
    fn start(data_dir: &Path) -> Self {
        Self::with_spools_of(data_dir, u64::MAX)
    }

    /// One whose spools may have so many bytes each.
    fn with_spools_of(data_dir: &Path, bytes_max: u64) -> Self {
        let spools = Arc::new(Spools::new(data_dir, bytes_max, Arc::new(Metrics::new(1))));
        spools.prepare().unwrap();
        let syncer = Arc::new(Syncer::start(Arc::clone(&spools)).unwrap());
        Self { spools, syncer }
    }

    fn lane(&self, index: u8, rules: Rules) -> Lane {
        Lane::new(index, rules, Arc::clone(&self.spools), Arc::clone(&self.syncer))
    }

    fn reader(&self, configuration: Id) -> Reader {
        Reader::open(Arc::clone(&self.spools), self.spools.spool(&key(configuration)), None).unwrap()
    }

    /// A metric without labels.
    fn metric(&self, name: &str) -> u64 {
        let text = self.spools.metrics.encode().unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("grandstand_chatlog_{name} ")));
        line.unwrap_or("0").parse().unwrap()
    }

    /// Failed tries of a destination.
    fn failures(&self, configuration: Id) -> u64 {
        let text = self.spools.metrics.encode().unwrap();
        let name =
            format!("grandstand_log_destination_errors_total{{logging_configuration=\"{configuration}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or("0").parse().unwrap()
    }

    fn lost(&self, configuration: Id) -> u64 {
        self.metric(&format!("records_lost_total{{logging_configuration=\"{configuration}\"}}"))
    }
}

fn scope() -> Scope {
    Scope { account_id: "123456789012".into(), region: "us-west-2".into() }
}

fn id(number: u128) -> Id {
    Id::from_random(number)
}

fn key(configuration: Id) -> SpoolKey {
    SpoolKey { scope: Arc::new(scope()), configuration }
}

/// A room notes a text for its logging configurations.
fn note(lane: &mut Lane, room: u128, configurations: &[Id], text: &str) -> Result<(), Unlogged> {
    note_at(lane, room, configurations, text, Timestamp::from_seconds(1_700_000_000))
}

fn note_at(
    lane: &mut Lane,
    room: u128,
    configurations: &[Id],
    text: &str,
    time: Timestamp,
) -> Result<(), Unlogged> {
    let room = RoomKey { scope: Arc::new(scope()), id: id(room) };
    let configurations = LoggingConfigurations::new(configurations);
    let payload = format!("\"{text}\"");
    let entry = Entry {
        room: &room,
        configurations: &configurations,
        kind: RecordKind::Message,
        time,
        payload: &payload,
    };
    lane.note(&entry)
}

/// What a record says: the room, and the text that it noted.
fn said(record: &Record) -> (Id, String) {
    let json: serde_json::Value = serde_json::from_str(&record.json).unwrap();
    (record.room, json["payload"].as_str().unwrap().to_owned())
}

/// Ships all that a reader has, in as many batches as it takes.
fn ship_all(reader: &mut Reader) -> Vec<(Id, String)> {
    let mut shipped = Vec::new();
    loop {
        let stretches = reader.look().unwrap();
        let mut has_moved = false;
        for stretch in stretches {
            let batch = reader.read(&stretch, &EVERYTHING).unwrap();
            shipped.extend(batch.records.iter().map(said));
            has_moved |= batch.end > batch.from;
            if batch.end > batch.from {
                reader.acknowledge(batch.lane, batch.end).unwrap();
            }
        }
        if !has_moved {
            return shipped;
        }
    }
}
