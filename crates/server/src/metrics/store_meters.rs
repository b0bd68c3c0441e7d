//! What the writers of a store count.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hub::histogram::Histogram;

use super::Catalogue;
use super::sizes::{MICROS, NUMBERS, Sizes};

/// Up to 1 us, 2 us, …, 16.8 s, and more.
const TIME_BUCKETS: usize = 26;
/// 1, 2, up to 4, …, up to 512, and more.
const GROUP_BUCKETS: usize = 11;

/// The commits of a store.
#[derive(Debug, Default)]
pub struct StoreMeters {
    commits: Mutex<Commits>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Commits {
    micros: Histogram<TIME_BUCKETS>,
    writes: Histogram<GROUP_BUCKETS>,
}

impl StoreMeters {
    pub(super) fn add_to(list: &mut Catalogue) -> Arc<Self> {
        let meters = Arc::<Self>::default();
        let (of_times, of_groups) = (Arc::clone(&meters), Arc::clone(&meters));
        Sizes::add(
            list,
            "store_commit_seconds",
            "What a group of writes to the store took, from its beginning until it was on the disk",
            MICROS,
            move || of_times.commits().micros,
        );
        Sizes::add(list, "store_group_writes", "Writes to the store in one group", NUMBERS, move || {
            of_groups.commits().writes
        });
        meters
    }

    /// A group of so many writes was committed.
    pub fn committed(&self, writes: usize, took: Duration) {
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        commits.micros.observe(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        commits.writes.observe(writes as u64);
    }

    fn commits(&self) -> Commits {
        *self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
