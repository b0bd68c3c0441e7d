//! What a shard tells the rest of the process about itself: plain numbers, written by its thread once per turn, read
//! when metrics are asked for. Nothing is counted per delivery.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use hub::{Counters, Hub};

/// The numbers of one shard.
#[derive(Debug, Default)]
pub struct Figures {
    latest: Mutex<Latest>,
}

/// How a shard stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latest {
    /// Open connections.
    pub connections: u64,
    /// Messages under review.
    pub reviews_waiting: u64,
    /// What it has done since it began.
    pub counters: Counters,
}

impl Figures {
    /// Writes down how the hub stands. Never waits: while somebody reads, the next turn will do.
    pub fn publish(&self, hub: &Hub) {
        let latest = match self.latest.try_lock() {
            Ok(latest) => latest,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        Self::put(latest, hub);
    }

    /// The same for the last time, for which nothing may be missing.
    pub fn publish_last(&self, hub: &Hub) {
        Self::put(self.latest.lock().unwrap_or_else(PoisonError::into_inner), hub);
    }

    fn put(mut latest: MutexGuard<'_, Latest>, hub: &Hub) {
        *latest = Latest {
            connections: hub.connections() as u64,
            reviews_waiting: hub.reviews_waiting() as u64,
            counters: hub.counters(),
        };
    }

    /// How the shard stood at the end of its latest turn, or one before.
    #[must_use]
    pub fn latest(&self) -> Latest {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
