//! Reads the records of one spool in order, and removes what has been shipped.
//!
//! Promises:
//! - Records of a room come in the order in which it published them: lane by lane, and no generation before all of the one
//!   before it has been read and its process has ended.
//! - What a crash has torn, and what is damaged, is cut off, counted and logged, and never served; what is behind it in the
//!   same segment goes with it.
//! - From one position to another the same records are read, however often.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::progress::{LaneName, Position, Progress};
use super::record::{Found, MARK, Record, decode};
use super::segment::SegmentName;
use super::spool::{Spool, Spools};

/// Read at once; a record that is longer is read in a longer piece.
const PIECE_BYTES: usize = 256 * 1_024;

/// See the module. It blocks on the disk.
pub(super) struct Reader {
    spool: Arc<Spool>,
    spools: Arc<Spools>,
    progress: Progress,
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
    /// The reader of a spool.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn open(spools: Arc<Spools>, spool: Arc<Spool>) -> io::Result<Self> {
        let progress = Progress::load(&spool.folder)?.unwrap_or_else(|| {
            let configuration = spool.key.arn();
            tracing::error!(%configuration, "how far a chat log was shipped cannot be read: what is there is shipped again");
            Progress::default()
        });
        Ok(Self { spool, spools, progress })
    }

    /// How far it is.
    #[must_use]
    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// What is to be shipped next: a stretch for each lane of the earliest generation that has any. Removes what has been
    /// shipped already.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn look(&mut self) -> io::Result<Vec<Stretch>> {
        let mut segments = self.spool.segments()?.into_iter().peekable();
        self.progress.shipped.retain(|_, _| segments.peek().is_some());
        while let Some(&(SegmentName { generation, .. }, _)) = segments.peek() {
            // Before lengths are looked at: what is not written any more has its length.
            let is_written = self.spools.is_written(generation)?;
            let mut own = Vec::new();
            while let Some((name, _)) = segments.next_if(|(name, _)| name.generation == generation) {
                own.push(name);
            }
            let stretches = self.stretches(&own, is_written)?;
            if !stretches.is_empty() || is_written {
                return Ok(stretches);
            }
            // All is shipped, and nothing is to come.
            for name in own {
                self.remove(name)?;
            }
            self.progress.shipped.retain(|(other, _), _| *other != generation);
        }
        Ok(Vec::new())
    }

    /// The stretches of one generation.
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
    pub(super) fn first(&self, stretch: &Stretch) -> io::Result<Option<Record>> {
        let bounds = Bounds { bytes_max: 0, records_max: 1, end: None, goes_on: &|_, _| true };
        Ok(self.read(stretch, &bounds)?.records.pop())
    }

    /// Reads a batch from the beginning of a stretch. Cuts off what is torn or damaged.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn read(&self, stretch: &Stretch, bounds: &Bounds<'_>) -> io::Result<Batch> {
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
        &self,
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
        let mut piece = Vec::new();
        let mut at = 0;
        loop {
            if bounds.end.is_some_and(|end| batch.end >= end) {
                return Ok(false);
            }
            match decode(&piece[at..]) {
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
                }
                Found::Part => {
                    piece.drain(..at);
                    at = 0;
                    if !read_more(&file, batch.end.offset, part.bytes, &mut piece)? {
                        break;
                    }
                }
                Found::Damage => break,
            }
        }
        if batch.end.offset < part.bytes && (part.is_final || part.is_own) {
            self.cut(part, batch.end.offset);
            batch.end.offset = part.bytes;
        }
        Ok(true)
    }

    /// What is behind `offset` is no record. This is called again for the same bytes only when they are read again.
    fn cut(&self, part: &Part, offset: u64) {
        let bytes = part.bytes - offset;
        self.spools.metrics.chat_log.damaged_bytes.inc_by(bytes);
        let file = self.spool.folder.join(part.name.to_string()).display().to_string();
        tracing::error!(%file, offset, bytes, "the end of a chat log's spool file is torn or damaged, and is cut off");
        if part.is_final && !part.is_own {
            // What cannot be cut off is passed over.
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
        for (name, _) in self.spool.segments()? {
            if (name.generation, name.lane) == lane && name.number < end.segment {
                self.remove(name)?;
            }
        }
        Ok(())
    }

    /// Remembers where records go, in case that the logging configuration is deleted before all have gone there.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn remember(&mut self, destination: &crate::store::Destination) -> io::Result<()> {
        if self.progress.destination.as_ref() == Some(destination) {
            return Ok(());
        }
        self.progress.destination = Some(destination.clone());
        self.progress.save(&self.spool.folder)
    }

    fn remove(&self, name: SegmentName) -> io::Result<()> {
        let path = self.spool.folder.join(name.to_string());
        let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        self.spool.remove(name, bytes)
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
