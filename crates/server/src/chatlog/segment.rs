//! One file of a spool: its name, and while a shard writes to it, how far.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::record::MARK;

const ENDING: &str = ".records";

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
        let mut parts = name.strip_suffix(ENDING)?.split('-');
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
        write!(formatter, "{generation:010}-{lane:03}-{number:010}{ENDING}")
    }
}

/// A segment that a shard of this process writes to. Only that shard does; others read what is committed.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    /// How many bytes may be read.
    committed_bytes: AtomicU64,
    is_sealed: AtomicBool,
    /// Whether the syncer was asked to sync it, and has not begun.
    pub(super) awaits_sync: AtomicBool,
}

impl Segment {
    /// Makes the file.
    pub(super) fn create(folder: &Path, name: SegmentName) -> io::Result<Self> {
        let path = folder.join(name.to_string());
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        if let Err(error) = file.write_all_at(MARK, 0) {
            // Nothing is lost with it: a file without a record is no more than a name.
            let _ = std::fs::remove_file(path);
            return Err(error);
        }
        let committed_bytes = AtomicU64::new(MARK.len() as u64);
        Ok(Self {
            file,
            committed_bytes,
            is_sealed: AtomicBool::new(false),
            awaits_sync: AtomicBool::new(false),
        })
    }

    /// How many bytes may be read.
    #[must_use]
    pub(super) fn committed_bytes(&self) -> u64 {
        self.committed_bytes.load(Ordering::Acquire)
    }

    /// Writes behind what is committed; nobody reads it yet. What a failed write has left there is written over by the next
    /// one, and cut off if there is none.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.committed_bytes())
    }

    /// Lets `bytes` more be read.
    pub(super) fn commit(&self, bytes: u64) {
        self.committed_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Takes back what was written and not committed.
    pub(super) fn roll_back(&self) {
        // If it fails, what is left is no harm while this process lives, and is one record too many after it.
        let _ = self.file.set_len(self.committed_bytes());
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Nothing more will be committed.
    pub(super) fn seal(&self) {
        self.is_sealed.store(true, Ordering::Release);
    }

    /// Whether nothing more will be committed; to be asked before how much is.
    #[must_use]
    pub(super) fn is_sealed(&self) -> bool {
        self.is_sealed.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::SegmentName;

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
