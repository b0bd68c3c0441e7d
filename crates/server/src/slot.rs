//! A part of the server that is not there yet, or not just now: whoever needs it waits.
//!
//! It can be taken away again once all who are using it have finished.

use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// A place for one part; clones share it. Empty at first.
pub struct Slot<T> {
    part: watch::Sender<Option<Arc<T>>>,
    users: TaskTracker,
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self { part: self.part.clone(), users: self.users.clone() }
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { part: watch::Sender::new(None), users: TaskTracker::new() }
    }
}

/// The part, in use until this is dropped.
pub struct InUse<T> {
    part: Arc<T>,
    _user: TaskTrackerToken,
}

impl<T> Deref for InUse<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.part
    }
}

impl<T> Slot<T> {
    /// Puts the part there; whoever waits for it goes on.
    pub fn fill(&self, part: T) {
        self.part.send_replace(Some(Arc::new(part)));
    }

    /// The part, as soon as it is there. Cancel-safe.
    pub async fn use_it(&self) -> InUse<T> {
        let mut part = self.part.subscribe();
        loop {
            // Before the look: `empty` waits for all who may have found the part.
            let user = self.users.token();
            if let Some(part) = part.borrow_and_update().clone() {
                return InUse { part, _user: user };
            }
            drop(user);
            // It fails only without a sender, of which this is one.
            let _ = part.changed().await;
        }
    }

    /// Takes the part away, and returns when nobody uses it any more. It is away at once, also when this is dropped.
    pub async fn empty(&self) {
        self.part.send_replace(None);
        self.users.close();
        self.users.wait().await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use futures_util::FutureExt;

    use super::Slot;

    #[tokio::test]
    async fn whoever_comes_while_it_is_empty_waits() {
        let slot = Slot::default();
        let mut waiting = Box::pin(slot.use_it());
        assert!(waiting.as_mut().now_or_never().is_none());
        slot.fill("first");
        assert_eq!(*waiting.await, "first");
        slot.empty().await;
        let mut waiting = Box::pin(slot.use_it());
        assert!(waiting.as_mut().now_or_never().is_none());
        slot.clone().fill("second");
        assert_eq!(*waiting.await, "second");
    }

    #[tokio::test]
    async fn it_is_taken_away_when_its_users_have_finished() {
        let slot = Slot::default();
        slot.fill(7);
        let user = slot.use_it().await;
        let mut emptied = Box::pin(slot.empty());
        assert!(emptied.as_mut().now_or_never().is_none());
        assert!(slot.use_it().now_or_never().is_none(), "nobody new gets it");
        assert_eq!(*user, 7);
        drop(user);
        assert!(emptied.now_or_never().is_some());
    }
}
