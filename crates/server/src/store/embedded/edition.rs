//! Whether anything has been written since: a number that a commit changes before it begins to be seen.
//!
//! Odd while a commit is under way, or after one of which it is not known what became of it; even, and another number
//! than ever before, once all readers see it and before anybody is told that it was acknowledged. Whoever finds the same
//! even number before and after a read knows that what was read is all that there was in between.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst, fence};

/// The number of what readers see.
#[derive(Debug, Default)]
pub(super) struct Edition(AtomicU64);

impl Edition {
    /// The number, unless a commit is under way.
    pub(super) fn settled(&self) -> Option<u64> {
        // What the caller has read before must have been read before this.
        fence(SeqCst);
        Some(self.0.load(SeqCst)).filter(|number| number % 2 == 0)
    }

    /// A commit begins; none other is under way. Also after one that never ended.
    pub(super) fn unsettle(&self) {
        self.0.fetch_or(1, SeqCst);
    }

    /// All readers see what the commit has written.
    pub(super) fn settle(&self) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::Edition;

    #[test]
    fn each_commit_makes_another_number_and_there_is_none_meanwhile() {
        let edition = Edition::default();
        let before = edition.settled();
        edition.unsettle();
        assert_eq!(edition.settled(), None);
        // The commit failed; the next one goes well.
        edition.unsettle();
        assert_eq!(edition.settled(), None);
        edition.settle();
        assert!(edition.settled() > before);
    }
}
