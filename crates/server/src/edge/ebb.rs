//! How the shards come to an end together, without losing what rooms have published.
//!
//! What a client says on one shard becomes a request to the room's home on another, and that a delivery to a third.
//! So no shard closes its connections before each of them has reached these stages in turn: then nothing is on its way
//! any more.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What a shard has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It listens to no client any more, and all requests that were made are in the inboxes of the homes.
    Deaf,
    /// It has carried out the requests in its inbox, nothing is under review, and all deliveries are in the inboxes of the members' shards.
    Published,
}

impl Stage {
    /// In their order.
    pub(super) const ALL: [Self; 2] = [Self::Deaf, Self::Published];
}

/// How far the shards are.
pub(super) struct Ebb {
    shards: usize,
    has_begun: AtomicBool,
    has_reviews: AtomicBool,
    reached: [AtomicUsize; Stage::ALL.len()],
}

impl Ebb {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            shards,
            has_begun: AtomicBool::new(false),
            has_reviews: AtomicBool::new(false),
            reached: Default::default(),
        }
    }

    /// Shards must be woken to notice.
    pub(super) fn begin(&self) {
        self.has_begun.store(true, Ordering::Release);
    }

    pub(super) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Acquire)
    }

    /// A shard has messages under review: all may take longer.
    pub(super) fn wait_for_reviews(&self) {
        self.has_reviews.store(true, Ordering::Release);
    }

    pub(super) fn waits_for_reviews(&self) -> bool {
        self.has_reviews.load(Ordering::Acquire)
    }

    /// One more shard has come to a stage. Each says it once.
    pub(super) fn reach(&self, stage: Stage) {
        self.reached[stage as usize].fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn is_reached_by_all(&self, stage: Stage) -> bool {
        self.reached[stage as usize].load(Ordering::Acquire) >= self.shards
    }
}

#[cfg(test)]
mod tests {
    use super::{Ebb, Stage};

    #[test]
    fn a_stage_is_reached_when_the_last_shard_has_come_to_it() {
        let ebb = Ebb::new(2);
        assert!(!ebb.has_begun());
        ebb.begin();
        assert!(ebb.has_begun());
        ebb.reach(Stage::Deaf);
        assert!(!ebb.is_reached_by_all(Stage::Deaf));
        ebb.reach(Stage::Deaf);
        assert!(ebb.is_reached_by_all(Stage::Deaf) && !ebb.is_reached_by_all(Stage::Published));
    }
}
