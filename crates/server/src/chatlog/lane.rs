//! A shard's way into the spools: what its rooms publish is written here, by the shard's own thread and without a lock.
//!
//! Promises:
//! - When a record was noted, the kernel has it for each of the room's logging configurations: it survives the process.
//! - What one spool cannot take keeps it from no other, and chat goes on; with `chatlog.on_failure = "refuse"` it is in none,
//!   and is not published. Either is counted, and logged.
//! - A shard waits for no sync, but with `chatlog.fsync = "always"`; a record is on disk then before it is published.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::fmt;
use std::io;
use std::sync::Arc;

use hub::chat_log::{Entry, Unlogged};
use protocol::chat_log::encode_record;
use protocol::id::Id;
use protocol::limit::chat_log::{SEGMENT_BYTES_MAX, SEGMENTS_OPEN_MAX};
use protocol::limit::member::LOGGING_CONFIGURATIONS_PER_ROOM_MAX;

use super::record;
use super::segment::{Segment, SegmentName};
use super::spool::{Spool, SpoolKey, Spools};
use super::sync::{Syncer, sync_folder};

/// What is done when, as the settings say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Each record is synced before it is published.
    pub(super) syncs_always: bool,
    /// A room whose log cannot be written publishes nothing.
    pub(super) refuses: bool,
    /// What one spool may have on disk.
    pub(super) spool_bytes_max: u64,
}

/// See the module.
pub(super) struct Lane {
    index: u8,
    rules: Rules,
    spools: Arc<Spools>,
    syncer: Arc<Syncer>,
    open: HashMap<SpoolKey, Open>,
    /// Segments begun so far, and records.
    segments: u64,
    records: u64,
    /// The record that is being noted.
    bytes: Vec<u8>,
}

/// A spool that the lane writes to.
struct Open {
    spool: Arc<Spool>,
    segment: Arc<Segment>,
    /// The lane's last record in it.
    used: u64,
}

/// Why a spool has not taken a record.
#[derive(Debug)]
enum Unwritten {
    /// It has as much as it may have.
    Full,
    /// The file system says no.
    Failed(io::Error),
}

impl fmt::Display for Unwritten {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => formatter.write_str("its spool is full (`chatlog.spool_mib_max`)"),
            Self::Failed(error) => write!(formatter, "its spool cannot be written: {error}"),
        }
    }
}

impl From<io::Error> for Unwritten {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl Lane {
    /// The lane of a shard.
    pub(super) fn new(index: u8, rules: Rules, spools: Arc<Spools>, syncer: Arc<Syncer>) -> Self {
        Self {
            index,
            rules,
            spools,
            syncer,
            open: HashMap::new(),
            segments: 0,
            records: 0,
            bytes: Vec::new(),
        }
    }

    /// Writes what a room is about to publish to the spool of each of its logging configurations.
    ///
    /// # Errors
    /// [`Unlogged`] when one of them cannot take it and the room may not go on without.
    pub(super) fn note(&mut self, entry: &Entry<'_>) -> Result<(), Unlogged> {
        self.records += 1;
        self.bytes.clear();
        let json = encode_record(entry.kind, entry.time, entry.payload);
        let time_ms = entry.time.as_nanos() / 1_000_000;
        record::encode(entry.room.id, time_ms, self.records, &json, &mut self.bytes);
        let mut are_written = [false; LOGGING_CONFIGURATIONS_PER_ROOM_MAX];
        for (is_written, id) in are_written.iter_mut().zip(entry.configurations.iter()) {
            let key = key(entry, id);
            let written = self.write(&key);
            *is_written = written.is_ok();
            if let Err(why) = written {
                self.complain(&key, &why);
            }
        }
        let count = entry.configurations.iter().count();
        let is_refused = self.rules.refuses && !are_written[..count].iter().all(|is_written| *is_written);
        for (_, id) in
            are_written.iter().zip(entry.configurations.iter()).filter(|(is_written, _)| **is_written)
        {
            if is_refused {
                self.roll_back(&key(entry, id));
            } else {
                self.commit(&key(entry, id));
            }
        }
        if is_refused { Err(Unlogged) } else { Ok(()) }
    }

    /// Writes the record behind what a spool has; nobody reads it yet.
    fn write(&mut self, key: &SpoolKey) -> Result<(), Unwritten> {
        let bytes = self.bytes.len() as u64;
        let spool = match self.open.get(key) {
            Some(open) => Arc::clone(&open.spool),
            None => self.spools.spool(key),
        };
        if spool.bytes() + bytes > self.rules.spool_bytes_max {
            return Err(Unwritten::Full);
        }
        let segment = self.segment(key, &spool)?;
        let written = segment.write(&self.bytes);
        let kept = written.and_then(|()| if self.rules.syncs_always { segment.sync() } else { Ok(()) });
        if kept.is_err() {
            segment.roll_back();
        }
        Ok(kept?)
    }

    /// The segment that the next record of a spool goes to.
    fn segment(&mut self, key: &SpoolKey, spool: &Arc<Spool>) -> io::Result<Arc<Segment>> {
        let used = self.records;
        if !self.open.contains_key(key) && self.open.len() >= SEGMENTS_OPEN_MAX {
            self.close_one();
        }
        match self.open.entry(key.clone()) {
            Slot::Occupied(mut open) => {
                open.get_mut().used = used;
                Ok(Arc::clone(&open.get().segment))
            }
            Slot::Vacant(vacant) => {
                let generation = self.spools.generation()?;
                self.segments += 1;
                let name = SegmentName { generation, lane: self.index, number: self.segments };
                let segment = spool.begin_segment(name)?;
                if self.rules.syncs_always
                    && let Err(error) = sync_folder(&spool.folder)
                {
                    // Nothing is ever written to it: whoever reads goes on.
                    segment.seal();
                    return Err(error);
                }
                vacant.insert(Open { spool: Arc::clone(spool), segment: Arc::clone(&segment), used });
                Ok(segment)
            }
        }
    }

    /// Lets what was written be read and shipped.
    fn commit(&mut self, key: &SpoolKey) {
        let Some(Open { spool, segment, .. }) = self.open.get(key) else { return };
        let bytes = self.bytes.len() as u64;
        segment.commit(bytes);
        spool.grow(bytes);
        self.syncer.sync_soon(spool, segment);
        self.spools.metrics.chat_log.records.inc();
        if segment.committed_bytes() >= SEGMENT_BYTES_MAX {
            segment.seal();
            self.open.remove(key);
        }
    }

    fn roll_back(&self, key: &SpoolKey) {
        if let Some(open) = self.open.get(key) {
            open.segment.roll_back();
        }
    }

    /// Closes the segment that has not been written to for longest.
    fn close_one(&mut self) {
        let oldest = self.open.iter().min_by_key(|(_, open)| open.used).map(|(key, _)| key.clone());
        if let Some(closed) = oldest.and_then(|key| self.open.remove(&key)) {
            closed.segment.seal();
        }
    }

    /// Counts what was not written, and says so now and then.
    fn complain(&self, key: &SpoolKey, why: &Unwritten) {
        let metrics = &self.spools.metrics.chat_log;
        if matches!(why, Unwritten::Failed(_)) {
            metrics.write_failures.inc();
        }
        if !self.rules.refuses {
            metrics.lose(key.configuration.as_str(), 1);
        }
        if self.spools.spool(key).may_complain() {
            let configuration = key.arn();
            let outcome = if self.rules.refuses { "nothing is published" } else { "records are lost" };
            tracing::error!(%configuration, "{outcome} in rooms with this logging configuration: {why}");
        }
    }
}

/// Whoever reads goes on to the next segment, if there is one.
impl Drop for Lane {
    fn drop(&mut self) {
        self.open.values().for_each(|open| open.segment.seal());
    }
}

fn key(entry: &Entry<'_>, configuration: Id) -> SpoolKey {
    SpoolKey { scope: Arc::clone(&entry.room.scope), configuration }
}
