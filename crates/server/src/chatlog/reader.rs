//! Reads the records of one spool in order, and removes what has been shipped.
//!
//! Promises:
//! - Records of a room come in the order in which it published them: lane by lane, and no generation before all of the one
//!   before it has been read and nobody writes to that any more.
//! - Of what another process still writes, only what it has published is read.
//! - What a crash has torn, and what is damaged, is counted and logged, and never served; whole records behind it are.
//! - From one position to another the same records are read, however often.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use protocol::limit::chat_log::RECORD_BYTES_MAX;

use super::progress::{LaneName, Position, Progress};
use super::record::{Found, MARK, Record, decode};
use super::segment::SegmentName;
use super::spool::{Spool, Spools};

/// Read at once; a record that is longer is read in a longer piece.
const PIECE_BYTES: usize = 256 * 1_024;
/// No record is longer, its head included.
const RECORD_PIECE_BYTES: usize = 2 * RECORD_BYTES_MAX;

/// See the module. It blocks on the disk.
pub(super) struct Reader {
    spool: Arc<Spool>,
    spools: Arc<Spools>,
    progress: Progress,
    /// By lane, the end of the last damage that was told of: what is read again is not counted again.
    damage_told: BTreeMap<LaneName, Position>,
    /// The lock of the process that ships: it is not given back while anything is done here.
    _turn: Option<Arc<File>>,
}

/// What there is to read in a lane.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    /// The lane.
    pub(super) lane: LaneName,
    /// Where it begins.
    pub(super) from: Position,
    /// How many bytes there are, marks of segments and damage included.
    pub(super) bytes: u64,
    segments: Vec<Part>,
}

/// A segment of a stretch.
#[derive(Clone, Copy, Debug)]
struct Part {
    name: SegmentName,
    /// How much of it can be read.
    bytes: u64,
    /// Nobody writes to it any more.
    is_final: bool,
    /// This process writes to it: all of `bytes` are whole records.
    is_own: bool,
}

/// Records of one lane that belong together.
#[derive(Debug)]
pub(super) struct Batch {
    /// Their lane.
    pub(super) lane: LaneName,
    /// Where they begin.
    pub(super) from: Position,
    /// Where the next ones begin.
    pub(super) end: Position,
    /// In order; there may be none, when nothing but damage was there.
    pub(super) records: Vec<Record>,
}

/// How far a batch goes.
pub(super) struct Bounds<'a> {
    /// Bytes of records; there is always one record, if there is any.
    pub(super) bytes_max: usize,
    /// Records.
    pub(super) records_max: usize,
    /// Not beyond this.
    pub(super) end: Option<Position>,
    /// Whether a record still belongs to it, given the first one.
    pub(super) goes_on: &'a dyn Fn(&Record, &Record) -> bool,
}

impl Reader {
    /// The reader of a spool, in the turn of whoever may ship.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn open(spools: Arc<Spools>, spool: Arc<Spool>, turn: Option<Arc<File>>) -> io::Result<Self> {
        let progress = Progress::load(&spool.folder)?.unwrap_or_else(|| {
            let configuration = spool.key.arn();
            tracing::error!(%configuration, "how far a chat log was shipped cannot be read: what is there is shipped again");
            Progress::default()
        });
        Ok(Self { spool, spools, progress, damage_told: BTreeMap::new(), _turn: turn })
    }

    /// What is to be shipped next: a stretch for each lane of the earliest generation that has any. Removes what has been
    /// shipped already.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn look(&mut self) -> io::Result<Vec<Stretch>> {
        loop {
            let segments = self.spool.segments()?;
            let first = segments.first().map(|(name, _)| name.generation);
            self.progress.shipped.retain(|(generation, _), _| Some(*generation) >= first && first.is_some());
            let Some(generation) = first else { return Ok(Vec::new()) };
            // After its segments: whoever wrote them held its lock before. And before their lengths: what is not written any
            // more has all of them.
            let written = self.spools.generations.first_written()?;
            if written.is_some_and(|written| written < generation) {
                // The process before may still publish something for this spool.
                return Ok(Vec::new());
            }
            let is_written = written == Some(generation);
            let segments = self.spool.segments()?;
            if segments.first().is_none_or(|(name, _)| name.generation != generation) {
                // The process before has begun to write here a moment before it ended.
                continue;
            }
            let names = segments.into_iter().map(|(name, _)| name);
            let own: Vec<SegmentName> = names.filter(|name| name.generation == generation).collect();
            let stretches = self.stretches(&own, is_written)?;
            if !stretches.is_empty() || is_written {
                return Ok(stretches);
            }
            // All is shipped, and nothing is to come.
            for name in own {
                self.remove(name)?;
            }
        }
    }

    /// The stretches of one generation. Removes segments that have nothing more to be shipped, but for those that are still
    /// written to.
    fn stretches(&self, names: &[SegmentName], is_written: bool) -> io::Result<Vec<Stretch>> {
        let mut stretches = Vec::new();
        for lane in names.chunk_by(|one, other| one.lane == other.lane) {
            let Some(first) = lane.first() else { continue };
            let lane_name = (first.generation, first.lane);
            let start = Position { segment: first.number, offset: 0 };
            let from = self.progress.shipped.get(&lane_name).copied().unwrap_or_default().max(start);
            let mut stretch = Stretch { lane: lane_name, from, bytes: 0, segments: Vec::new() };
            for (index, name) in lane.iter().enumerate() {
                if name.number < from.segment {
                    self.remove(*name)?;
                    continue;
                }
                let part = self.part(*name, index + 1 < lane.len() || !is_written)?;
                let read = if name.number == from.segment { from.offset } else { 0 };
                if part.is_own && part.is_final && part.bytes <= read.max(MARK.len() as u64) {
                    self.remove(*name)?;
                    continue;
                }
                stretch.bytes += part.bytes.saturating_sub(read.max(MARK.len() as u64));
                stretch.segments.push(part);
            }
            if stretch.bytes > 0 {
                stretches.push(stretch);
            }
        }
        Ok(stretches)
    }

    fn part(&self, name: SegmentName, is_final: bool) -> io::Result<Part> {
        if let Some(live) = self.spool.live_segment(name) {
            let is_final = live.is_sealed();
            return Ok(Part { name, bytes: live.committed_bytes(), is_final, is_own: true });
        }
        let bytes = match std::fs::metadata(self.spool.folder.join(name.to_string())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            metadata => metadata?.len(),
        };
        Ok(Part { name, bytes, is_final, is_own: false })
    }

    /// The first record of a stretch; `None` when there is no whole one.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn first(&mut self, stretch: &Stretch) -> io::Result<Option<Record>> {
        let bounds = Bounds { bytes_max: 0, records_max: 1, end: None, goes_on: &|_, _| true };
        Ok(self.read(stretch, &bounds)?.records.pop())
    }

    /// Reads a batch from the beginning of a stretch. Passes over what is damaged, and cuts off what is torn.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn read(&mut self, stretch: &Stretch, bounds: &Bounds<'_>) -> io::Result<Batch> {
        let mut batch =
            Batch { lane: stretch.lane, from: stretch.from, end: stretch.from, records: Vec::new() };
        let mut bytes_left = bounds.bytes_max;
        for part in &stretch.segments {
            if batch.end.segment < part.name.number {
                batch.end = Position { segment: part.name.number, offset: 0 };
            }
            batch.end.offset = batch.end.offset.max(MARK.len() as u64);
            if !self.read_part(part, bounds, &mut bytes_left, &mut batch)? || !part.is_final {
                break;
            }
        }
        Ok(batch)
    }

    /// Reads a segment from the batch's end on; false when the batch is full.
    fn read_part(
        &mut self,
        part: &Part,
        bounds: &Bounds<'_>,
        bytes_left: &mut usize,
        batch: &mut Batch,
    ) -> io::Result<bool> {
        if batch.end.offset >= part.bytes {
            return Ok(true);
        }
        let file = match File::open(self.spool.folder.join(part.name.to_string())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            file => file?,
        };
        // Of what others still write, what is not whole or not published yet may become so.
        let is_settled = part.is_final || part.is_own;
        let mut piece = Vec::new();
        let mut at = 0;
        loop {
            if bounds.end.is_some_and(|end| batch.end >= end) {
                return Ok(false);
            }
            let found = match decode(&piece[at..]) {
                Found::Withheld(record, length) if is_settled => Found::Record(record, length),
                found => found,
            };
            match found {
                Found::Record(record, length) => {
                    let is_first = batch.records.is_empty();
                    let fits = length <= *bytes_left && batch.records.len() < bounds.records_max;
                    let goes_on = batch.records.first().is_none_or(|first| (bounds.goes_on)(first, &record));
                    if !(is_first || fits && goes_on) {
                        return Ok(false);
                    }
                    *bytes_left = bytes_left.saturating_sub(length);
                    at += length;
                    batch.end.offset += length as u64;
                    batch.records.push(record);
                    continue;
                }
                Found::Part => {
                    piece.drain(..at);
                    at = 0;
                    if read_more(&file, batch.end.offset, part.bytes, &mut piece)? {
                        continue;
                    }
                }
                Found::Withheld(..) | Found::Damage => {}
            }
            if batch.end.offset >= part.bytes || !is_settled {
                return Ok(true);
            }
            let next = next_record(&file, batch.end.offset + 1, part.bytes)?;
            self.pass_over(part, batch.end, next);
            batch.end.offset = next;
            piece.clear();
            at = 0;
        }
    }

    /// What is from a position up to an offset of the same segment is no record. At the end of a segment it is cut off.
    fn pass_over(&mut self, part: &Part, from: Position, to: u64) {
        let lane = (part.name.generation, part.name.lane);
        let (to, is_end) = (Position { segment: from.segment, offset: to }, to == part.bytes);
        if self.damage_told.get(&lane).is_some_and(|told| *told >= to) {
            return;
        }
        self.damage_told.insert(lane, to);
        let (offset, bytes) = (from.offset, to.offset - from.offset);
        self.spools.metrics.chat_log.damaged_bytes.inc_by(bytes);
        let file = self.spool.folder.join(part.name.to_string()).display().to_string();
        tracing::error!(%file, offset, bytes, "a chat log's spool file is torn or damaged here; this is passed over");
        if is_end && part.is_final && !part.is_own {
            let cut = OpenOptions::new().write(true).open(&file).and_then(|file| file.set_len(offset));
            if let Err(error) = cut {
                tracing::warn!(%error, %file, "a spool file could not be cut");
            }
        }
    }

    /// Notes that a batch has been shipped, and removes the segments before its end.
    ///
    /// # Errors
    /// Those of the file system; the batch may be shipped again after a restart then.
    pub(super) fn acknowledge(&mut self, lane: LaneName, end: Position) -> io::Result<()> {
        self.progress.shipped.insert(lane, end);
        self.progress.save(&self.spool.folder)?;
        let (generation, lane_index) = lane;
        let last = SegmentName { generation, lane: lane_index, number: end.segment };
        self.spool.seal_if_shipped(last, end.offset);
        for (name, _) in self.spool.segments()? {
            if (name.generation, name.lane) == lane && name.number < end.segment {
                self.remove(name)?;
            }
        }
        Ok(())
    }

    /// Nothing was written for a while: segments that are written to and have nothing left to be shipped are removed.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn retire(&mut self) -> io::Result<()> {
        for (name, _) in self.spool.segments()? {
            let Some(segment) = self.spool.live_segment(name) else { continue };
            let shipped =
                self.progress.shipped.get(&(name.generation, name.lane)).copied().unwrap_or_default();
            let bytes = if shipped.segment == name.number { shipped.offset } else { 0 };
            if segment.seal_at(bytes.max(MARK.len() as u64)) {
                self.remove(name)?;
            }
        }
        Ok(())
    }

    fn remove(&self, name: SegmentName) -> io::Result<()> {
        let path = self.spool.folder.join(name.to_string());
        let bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        let is_kept = self.spools.tails.show(&self.spool.key, name, &path);
        self.spool.remove(name, bytes, is_kept)
    }
}

/// Reads what follows `piece` up to `end`; false when there is no more.
fn read_more(file: &File, at: u64, end: u64, piece: &mut Vec<u8>) -> io::Result<bool> {
    let known = piece.len();
    let left = usize::try_from(end.saturating_sub(at + known as u64)).unwrap_or(usize::MAX);
    let wanted = left.min(PIECE_BYTES.max(known));
    if wanted == 0 {
        return Ok(false);
    }
    piece.resize(known + wanted, 0);
    let read = file.read_at(&mut piece[known..], at + known as u64)?;
    piece.truncate(known + read);
    Ok(read > 0)
}

/// Where the next whole record begins, from `at` on; `end` when there is none.
pub(super) fn next_record(file: &File, mut at: u64, end: u64) -> io::Result<u64> {
    let mut piece = Vec::new();
    while at < end {
        piece.clear();
        // A record that begins in the first half ends in the piece.
        while piece.len() < 2 * RECORD_PIECE_BYTES && read_more(file, at, end, &mut piece)? {}
        let starts = piece.len().min(RECORD_PIECE_BYTES);
        let is_one =
            |start: &usize| matches!(decode(&piece[*start..]), Found::Record(..) | Found::Withheld(..));
        if let Some(start) = (0..starts).find(is_one) {
            return Ok(at + start as u64);
        }
        if starts == 0 {
            break;
        }
        at += starts as u64;
    }
    Ok(end)
}
