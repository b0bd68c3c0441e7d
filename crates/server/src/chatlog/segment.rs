//! One file of a spool: its name, and while a shard writes to it, how far.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::record::MARK;

const SUFFIX: &str = ".records";

/// The name of a segment. Records of a room are in one lane of a generation, so they are in order when generations follow
/// each other, and in a lane the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SegmentName {
    /// Which process wrote it; a later one has a higher number.
    pub(super) generation: u64,
    /// Which shard of that process.
    pub(super) lane: u8,
    /// Counts what that shard began.
    pub(super) number: u64,
}

impl SegmentName {
    /// Reads the name of a file; `None` when it is none of a segment.
    #[must_use]
    pub(super) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(SUFFIX)?.split('-');
        let (generation, lane, number) = (parts.next()?, parts.next()?, parts.next()?);
        let parsed = Self {
            generation: generation.parse().ok()?,
            lane: lane.parse().ok()?,
            number: number.parse().ok()?,
        };
        (parts.next().is_none() && parsed.to_string() == name).then_some(parsed)
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { generation, lane, number } = self;
        write!(formatter, "{generation:010}-{lane:03}-{number:010}{SUFFIX}")
    }
}

/// Nothing more will be committed.
const SEALED: u64 = 1 << 63;
/// The shard is writing: nobody else may seal the segment.
const BUSY: u64 = 1 << 62;
/// What the shard is writing is the last: then the segment is sealed.
const ENDING: u64 = 1 << 61;
const FLAGS: u64 = SEALED | BUSY | ENDING;

/// A segment of this process, as its shard, the syncer and the reader share it. It keeps no descriptor: who needs the file
/// opens it. Only the shard writes, and others read what is committed.
#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    /// [`SEALED`], [`BUSY`], [`ENDING`], and how many bytes may be read.
    state: AtomicU64,
    /// Whether the syncer was asked to sync it, and has not begun.
    pub(super) awaits_sync: AtomicBool,
}

impl Segment {
    /// Makes the file. The shard is writing to it from the beginning on: nobody else seals what has no record yet.
    pub(super) fn create(folder: &Path, name: SegmentName) -> io::Result<(Self, File)> {
        let path = folder.join(name.to_string());
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        if let Err(error) = file.write_all_at(MARK, 0) {
            // Nothing is lost with it: a file without a record is no more than a name.
            let _ = std::fs::remove_file(path);
            return Err(error);
        }
        let state = AtomicU64::new(MARK.len() as u64 | BUSY);
        Ok((Self { path, state, awaits_sync: AtomicBool::new(false) }, file))
    }

    /// The file, for the shard that writes to it.
    pub(super) fn open(&self) -> io::Result<File> {
        OpenOptions::new().write(true).open(&self.path)
    }

    /// How many bytes may be read.
    #[must_use]
    pub(super) fn committed_bytes(&self) -> u64 {
        self.state.load(Ordering::Acquire) & !FLAGS
    }

    /// The shard is about to write behind what is committed; false when the segment is sealed. To be followed by [`Segment::end`].
    pub(super) fn begin(&self) -> bool {
        self.state.fetch_or(BUSY, Ordering::AcqRel) & SEALED == 0
    }

    /// The shard has written; `bytes` more may be read. None: it has taken back what it wrote.
    pub(super) fn end(&self, bytes: u64) {
        // The segment is busy, so the number is the shard's own, and so is the flag.
        self.state.fetch_add(bytes, Ordering::AcqRel);
        if self.state.fetch_and(!BUSY, Ordering::AcqRel) & ENDING != 0 {
            self.seal();
        }
    }

    /// Nothing more will be committed. Only the shard says so of a segment that may have unread records.
    pub(super) fn seal(&self) {
        self.state.fetch_or(SEALED, Ordering::AcqRel);
    }

    /// Seals it, if exactly `bytes` are committed and the shard is not writing; it begins another one for its next record.
    pub(super) fn seal_at(&self, bytes: u64) -> bool {
        self.state.compare_exchange(bytes, bytes | SEALED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Nothing more will be committed, but what the shard is just writing; whether it is sealed already. It may have unread
    /// records.
    pub(super) fn seal_soon(&self) -> bool {
        let mut state = self.state.load(Ordering::Acquire);
        while state & SEALED == 0 {
            let flag = if state & BUSY == 0 { SEALED } else { ENDING };
            match self.state.compare_exchange(state, state | flag, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return flag == SEALED,
                Err(changed) => state = changed,
            }
        }
        true
    }

    /// Whether nothing more will be committed; to be asked before how much is.
    #[must_use]
    pub(super) fn is_sealed(&self) -> bool {
        self.state.load(Ordering::Acquire) & SEALED != 0
    }

    /// Brings what was written to the disk. Another descriptor of the file does as well as the shard's.
    pub(super) fn sync(&self) -> io::Result<()> {
        match File::open(&self.path) {
            // All of it is shipped.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            file => file?.sync_data(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Segment, SegmentName};

    #[test]
    fn a_segment_that_is_to_be_sealed_soon_takes_what_is_being_written_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let begin = |number| {
            let name = SegmentName { generation: 1, lane: 0, number };
            Segment::create(folder.path(), name).unwrap().0
        };
        for bytes in [0, 100] {
            let segment = begin(bytes);
            for _ in 0..2 {
                assert!(!segment.seal_soon() && !segment.is_sealed(), "its shard is writing");
                assert!(!segment.seal_at(8));
            }
            segment.end(bytes);
            assert!(segment.is_sealed() && segment.committed_bytes() == 8 + bytes);
            assert!(!segment.begin() && segment.seal_soon(), "nor is it taken for one that is written to");
        }
        let segment = begin(1);
        segment.end(50);
        assert!(segment.begin());
        segment.end(50);
        assert!(segment.seal_soon() && segment.is_sealed() && segment.committed_bytes() == 108);
    }

    #[test]
    fn names_sort_as_they_are_read_and_nothing_else_is_one() {
        let name = SegmentName { generation: 12, lane: 3, number: 7 };
        assert_eq!(name.to_string(), "0000000012-003-0000000007.records");
        assert_eq!(SegmentName::parse(&name.to_string()), Some(name));
        for other in
            ["", "progress.json", "12-3-7.records", "0000000012-003-0000000007.records~", "1-2-3-4.records"]
        {
            assert_eq!(SegmentName::parse(other), None, "{other}");
        }
        let [earlier, later] =
            [(1, 9, 9), (2, 0, 0)].map(|(generation, lane, number)| SegmentName { generation, lane, number });
        assert!(earlier < later && earlier.to_string() < later.to_string());
    }
}
