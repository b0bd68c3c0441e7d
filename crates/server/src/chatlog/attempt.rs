//! How far the records came that a destination has not taken as a whole: what it has, it does not get again, however small the
//! next batch is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::lock;
use super::progress::Position;
use crate::store::Destination;

/// A batch of a lane that was begun.
pub(super) struct Attempt {
    /// Where its first record is.
    pub(super) from: Position,
    /// Where it ends.
    pub(super) end: Position,
    /// Where it goes.
    pub(super) destination: Destination,
    /// What need not be sent again.
    pub(super) taken: Arc<Taken>,
    /// Its last try got nowhere: the next one is small.
    pub(super) is_stuck: bool,
}

/// Which records of a batch its destination has taken, or will never take. Several calls tell at a time.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// By place; those behind the last one are left.
    places: Mutex<Vec<bool>>,
    /// Those of them that will never be taken, and were not yet told of.
    rejected: AtomicU64,
}

impl Taken {
    /// The places of those that are left, of so many records.
    #[must_use]
    pub(super) fn left(&self, records: usize) -> Vec<usize> {
        let places = lock(&self.places);
        (0..records).filter(|place| !places.get(*place).copied().unwrap_or(false)).collect()
    }

    /// These were taken.
    pub(super) fn add(&self, taken: impl IntoIterator<Item = usize>) {
        let mut places = lock(&self.places);
        for place in taken {
            if places.len() <= place {
                places.resize(place + 1, false);
            }
            places[place] = true;
        }
    }

    /// So many of the taken ones are lost.
    pub(super) fn reject(&self, records: u64) {
        self.rejected.fetch_add(records, Ordering::Relaxed);
    }

    /// How many were lost since this was asked last.
    #[must_use]
    pub(super) fn newly_rejected(&self) -> u64 {
        self.rejected.swap(0, Ordering::Relaxed)
    }

    /// The first of the records do not belong to it any more.
    pub(super) fn drop_first(&self, records: usize) {
        let mut places = lock(&self.places);
        let known = places.len();
        places.drain(..records.min(known));
    }
}

#[cfg(test)]
mod tests {
    use super::Taken;

    #[test]
    fn what_is_taken_is_not_left_though_the_batch_becomes_smaller_or_begins_later() {
        let taken = Taken::default();
        assert_eq!(taken.left(2), [0, 1]);
        taken.add([4, 0, 2]);
        taken.add([2]);
        assert_eq!(taken.left(7), [1, 3, 5, 6]);
        assert_eq!(taken.left(3), [1]);
        taken.drop_first(3);
        assert_eq!(taken.left(3), [0, 2]);
        taken.drop_first(9);
        assert_eq!(taken.left(2), [0, 1]);
        taken.reject(2);
        assert_eq!((taken.newly_rejected(), taken.newly_rejected()), (2, 0));
    }
}
