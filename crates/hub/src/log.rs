//! The room log: the frames of one room on one shard, one after the other, ready to be written.
//!
//! Positions count bytes since the log began and never go back. Every member has a cursor into the log; what is pending
//! for a member is always one contiguous slice, so one write serves it however many frames have gathered.
//!
//! Invariants: `base <= flushed <= head`; a cursor lies between `base` and `head`; bytes below every cursor and below
//! `flushed` may be freed.

/// A byte position in a room log.
pub type Position = u64;

/// An empty log keeps at most this much memory, so that a quiet room is small.
const IDLE_BYTES_MAX: usize = 4 * 1_024;

/// The log of one room.
#[derive(Debug, Default)]
pub struct RoomLog {
    /// The position of the first byte in `bytes`.
    base: Position,
    bytes: Vec<u8>,
    /// All that lies before has been offered to every member. A joiner starts here, so it misses nothing that is
    /// still on its way to others.
    flushed: Position,
}

impl RoomLog {
    /// Where the next frame will begin.
    #[must_use]
    pub fn head(&self) -> Position {
        self.base + self.bytes.len() as u64
    }

    /// Where a joiner's cursor starts.
    #[must_use]
    pub fn flushed(&self) -> Position {
        self.flushed
    }

    /// Appends a whole frame.
    pub fn append(&mut self, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
    }

    /// The bytes from `cursor` up to `end`.
    #[must_use]
    pub fn pending(&self, cursor: Position, end: Position) -> &[u8] {
        let offset =
            |position: Position| usize::try_from(position.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.bytes.get(offset(cursor)..offset(end)).unwrap_or_default()
    }

    /// Notes that all before `flushed` has been offered to every member and that no cursor is below `slowest`, and
    /// frees what nobody needs.
    pub fn release(&mut self, flushed: Position, slowest: Position) {
        self.flushed = flushed;
        let free = usize::try_from(flushed.min(slowest).saturating_sub(self.base)).unwrap_or(usize::MAX);
        if free >= self.bytes.len() {
            self.base = self.head();
            self.bytes.clear();
            self.bytes.shrink_to(IDLE_BYTES_MAX);
        } else if free > self.bytes.len() / 2 {
            // Moving the rest costs less than what was freed: constant work per byte that ever went through.
            self.bytes.drain(..free);
            self.base += free as u64;
        }
    }

    /// Bytes of memory the log holds.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::RoomLog;

    #[test]
    fn pending_is_one_slice_and_what_all_have_is_freed() {
        let mut log = RoomLog::default();
        log.append(b"aaaa");
        log.append(b"bbbb");
        assert_eq!(log.pending(0, log.head()), b"aaaabbbb");
        assert_eq!(log.pending(4, 8), b"bbbb");
        log.release(8, 2);
        assert_eq!(log.pending(2, log.head()), b"aabbbb");
        log.release(8, 6);
        assert_eq!(log.pending(6, log.head()), b"bb");
        log.append(b"cc");
        assert_eq!(log.pending(6, log.head()), b"bbcc");
        log.release(10, 10);
        assert_eq!((log.head(), log.flushed()), (10, 10));
        assert_eq!(log.pending(10, 10), b"");
    }

    #[test]
    fn an_empty_log_gives_its_memory_back() {
        let mut log = RoomLog::default();
        log.append(&vec![b'x'; 1 << 20]);
        log.release(log.head(), log.head());
        assert!(log.capacity_bytes() <= 4_096);
    }
}
