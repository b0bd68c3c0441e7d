//! A shard's way into the spools: what its rooms publish is written here, by the shard's own thread and without a lock.
//!
//! Promises:
//! - When a record was noted, the kernel has it for each of the room's logging configurations: it survives the process.
//! - What one spool cannot take keeps it from no other, and chat goes on; with `chatlog.on_failure = "refuse"` it is in none,
//!   and is not published. Either is counted, and logged.
//! - A shard waits for no sync, but with `chatlog.fsync = "always"`; a record is on disk then before it is published.
//! - What was written and not published after all is read by nobody.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hub::chat_log::{Entry, Unlogged};
use protocol::chat_log::encode_record;
use protocol::id::Id;
use protocol::limit::chat_log::SEGMENTS_OPEN_MAX;
use protocol::limit::member::LOGGING_CONFIGURATIONS_PER_ROOM_MAX;

use super::record::{self, LENGTH_BYTES, withheld_length};
use super::segment::Segment;
use super::spool::{BegunSegment, Spool, SpoolKey, Spools};
use super::sync::Syncer;

/// What is done when, as the settings say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Each record is synced before it is published.
    pub(super) syncs_always: bool,
    /// A room whose log cannot be written publishes nothing.
    pub(super) refuses: bool,
}

impl Rules {
    /// Whether a record that was written as a whole may be taken back: others are not to see it before it is published.
    fn may_take_back(self) -> bool {
        self.refuses || self.syncs_always
    }
}

/// See the module.
pub(super) struct Lane {
    index: u8,
    rules: Rules,
    spools: Arc<Spools>,
    syncer: Arc<Syncer>,
    places: HashMap<SpoolKey, Place>,
    /// Those with an open file, in the order in which they are looked at when one has to be closed.
    open: VecDeque<SpoolKey>,
    /// Spools that were retired when the places were last looked through.
    retired: u64,
    /// Segments begun so far, and records.
    segments: u64,
    records: u64,
    /// The record that is being noted.
    bytes: Vec<u8>,
}

/// Where the lane writes in a spool.
struct Place {
    spool: Arc<Spool>,
    /// `None`: the next record begins one.
    segment: Option<Arc<Segment>>,
    /// The segment's. A place with a file is in the lane's list of those.
    file: Option<File>,
    /// It was written to since it was last looked at as one to be closed.
    is_in_use: bool,
    /// The record that was last written to it, by number.
    record: u64,
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
            places: HashMap::new(),
            open: VecDeque::new(),
            retired: 0,
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
        self.drop_retired();
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
                self.take_back(&key(entry, id));
            } else {
                self.commit(&key(entry, id));
            }
        }
        if is_refused { Err(Unlogged) } else { Ok(()) }
    }

    /// Writes the record behind what a spool has; nobody reads it yet.
    fn write(&mut self, key: &SpoolKey) -> Result<(), Unwritten> {
        let bytes = self.bytes.len() as u64;
        if !self.place(key).spool.has_place_for(bytes) {
            return Err(Unwritten::Full);
        }
        self.make_ready(key)?;
        let Some(Place { segment: Some(segment), file: Some(file), .. }) = self.places.get(key) else {
            return Err(io::Error::other("it is not open").into());
        };
        let published_length: Option<[u8; LENGTH_BYTES]> = self.bytes.first_chunk().copied();
        if self.rules.may_take_back() {
            let withheld_length = withheld_length(&self.bytes);
            self.bytes[..LENGTH_BYTES].copy_from_slice(&withheld_length);
        }
        let written = file.write_all_at(&self.bytes, segment.committed_bytes());
        if let Some(length) = published_length {
            self.bytes[..LENGTH_BYTES].copy_from_slice(&length);
        }
        let kept = written.and_then(|()| if self.rules.syncs_always { file.sync_data() } else { Ok(()) });
        if kept.is_err() {
            self.take_back(key);
        }
        Ok(kept?)
    }

    /// Forgets the spools that there are no more.
    fn drop_retired(&mut self) {
        let retired = self.spools.retired.load(Ordering::Acquire);
        if retired == self.retired {
            return;
        }
        self.retired = retired;
        self.places.retain(|_, place| !place.spool.is_retired());
        let listed = self.open.len();
        self.open.retain(|key| self.places.contains_key(key));
        self.spools.open_segments.fetch_sub(listed - self.open.len(), Ordering::Relaxed);
    }

    fn place(&mut self, key: &SpoolKey) -> &mut Place {
        let spools = &self.spools;
        self.places.entry(key.clone()).or_insert_with(|| Place {
            spool: spools.spool(key),
            segment: None,
            file: None,
            is_in_use: false,
            record: 0,
        })
    }

    /// Sees to it that a spool's place has a segment that can be written to, and its file; the shard is writing then.
    fn make_ready(&mut self, key: &SpoolKey) -> io::Result<()> {
        let record = self.records;
        let place = self.place(key);
        (place.is_in_use, place.record) = (true, record);
        if place.segment.as_ref().is_some_and(|segment| segment.begin()) && place.file.is_some() {
            return Ok(());
        }
        let is_listed = place.file.take().is_some();
        let opened = self.open_segment(key);
        let place = self.place(key);
        match opened {
            Ok((segment, file)) => {
                (place.segment, place.file) = (Some(segment), Some(file));
                if !is_listed {
                    self.spools.open_segments.fetch_add(1, Ordering::Relaxed);
                    self.open.push_back(key.clone());
                }
                Ok(())
            }
            Err(error) => {
                if let Some(segment) = &place.segment {
                    segment.end(0);
                }
                if is_listed {
                    self.open.retain(|other| other != key);
                    self.spools.open_segments.fetch_sub(1, Ordering::Relaxed);
                }
                Err(error)
            }
        }
    }

    /// The file of the segment that a spool's place has, or a new one, if it has none or that is sealed.
    fn open_segment(&mut self, key: &SpoolKey) -> io::Result<(Arc<Segment>, File)> {
        self.close_one();
        let Place { spool, segment, .. } = self.place(key);
        let spool = Arc::clone(spool);
        if let Some(segment) = segment.clone().filter(|segment| !segment.is_sealed()) {
            match segment.open() {
                // Somebody has removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => segment.seal(),
                opened => return Ok((segment, opened?)),
            }
        }
        self.segments += 1;
        let BegunSegment { name, segment, file } =
            self.spools.begin_segment(&spool, self.index, self.segments)?;
        if self.rules.syncs_always
            && let Err(error) = spool.sync_names()
        {
            // Nothing is ever written to it: it is not there for the next record. If it cannot be removed, whoever reads goes on.
            segment.seal();
            let _ = spool.remove(name, segment.committed_bytes(), true);
            return Err(error);
        }
        Ok((segment, file))
    }

    /// Lets what was written be read and shipped.
    fn commit(&mut self, key: &SpoolKey) {
        let bytes = self.bytes.len() as u64;
        let Some(place) = self.places.get_mut(key) else { return };
        let (Some(segment), Some(file)) = (&place.segment, &place.file) else { return };
        if self.rules.may_take_back()
            && file.write_all_at(&self.bytes[..LENGTH_BYTES], segment.committed_bytes()).is_err()
        {
            // Nothing is lost: others see it, and what follows, only when this process has ended.
            self.spools.metrics.chat_log.write_failures.inc();
        }
        segment.end(bytes);
        place.spool.grow(bytes);
        self.syncer.sync_soon(&place.spool, segment);
        self.spools.metrics.chat_log.records.inc();
        if segment.committed_bytes() >= place.spool.segment_bytes_max() {
            segment.seal();
        }
    }

    /// Takes back what was written and not committed.
    fn take_back(&self, key: &SpoolKey) {
        let Some(Place { segment: Some(segment), file: Some(file), .. }) = self.places.get(key) else {
            return;
        };
        // If it fails, what is left is written over by the next record, or is torn or a withheld one at the end.
        let _ = file.set_len(segment.committed_bytes());
        segment.end(0);
    }

    /// Closes the file of a segment that has not been written to for long, if as many are open as may be. Each shard has as
    /// many as one record needs, whatever the others have.
    fn close_one(&mut self) {
        let is_too_many = self.spools.open_segments.load(Ordering::Relaxed) >= SEGMENTS_OPEN_MAX;
        if !is_too_many || self.open.len() < LOGGING_CONFIGURATIONS_PER_ROOM_MAX {
            return;
        }
        // Each is passed over once at most.
        for _ in 0..2 * self.open.len() {
            let Some(key) = self.open.pop_front() else { return };
            match self.places.get_mut(&key) {
                // What this very record was written to stays open until it is committed.
                Some(place) if place.is_in_use || place.record == self.records => {
                    place.is_in_use = false;
                    self.open.push_back(key);
                }
                place => {
                    if let Some(place) = place {
                        place.file = None;
                    }
                    self.spools.open_segments.fetch_sub(1, Ordering::Relaxed);
                    return;
                }
            }
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
        self.places.values().filter_map(|place| place.segment.as_ref()).for_each(|segment| segment.seal());
        self.spools.open_segments.fetch_sub(self.open.len(), Ordering::Relaxed);
    }
}

fn key(entry: &Entry<'_>, configuration: Id) -> SpoolKey {
    SpoolKey { scope: Arc::clone(&entry.room.scope), configuration }
}
