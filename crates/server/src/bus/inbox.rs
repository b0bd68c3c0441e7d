//! The one inbox of a shard: bounded, and refilled from any thread.
//!
//! Who may still put something in when it fills up is graded, so that nothing can lock up: requests are refused first
//! (their sender is told), then rooms stop publishing to the shard (see [`Bus::pressed`](super::Bus::pressed)); what is
//! left is for messages that must not be lost and that cause no further ones, or one in answer at most.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use hub::message::Message;
use mio::Waker;
use protocol::limit::edge::{INBOX_DELIVERIES_MAX, INBOX_MAX, INBOX_REQUESTS_MAX};

/// How long a sender that may wait does so before it looks again.
const RETRY: Duration = Duration::from_millis(1);

/// The sending side; clones share the inbox.
#[derive(Clone)]
pub struct Inbox {
    sender: SyncSender<Message>,
    state: Arc<State>,
}

/// The shard's side.
pub struct InboxReader {
    receiver: Receiver<Message>,
    state: Arc<State>,
}

struct State {
    /// Entries that have not been taken out yet.
    length: AtomicUsize,
    /// The shard is about to sleep, or sleeps, and must be woken.
    sleeping: AtomicBool,
    waker: Waker,
}

/// Makes the inbox of a shard that sleeps on the poll of `waker`.
#[must_use]
pub fn inbox(waker: Waker) -> (Inbox, InboxReader) {
    let (sender, receiver) = sync_channel(INBOX_MAX);
    let state = Arc::new(State { length: AtomicUsize::new(0), sleeping: AtomicBool::new(false), waker });
    (Inbox { sender, state: Arc::clone(&state) }, InboxReader { receiver, state })
}

impl Inbox {
    /// Puts a request in, unless there are too many.
    ///
    /// # Errors
    /// The message, which was not taken.
    pub fn push_request(&self, message: Message) -> Result<(), Message> {
        if self.state.length.load(Ordering::Relaxed) >= INBOX_REQUESTS_MAX {
            return Err(message);
        }
        self.try_push(message)
    }

    /// Puts in what must not be lost, and waits for room if need be.
    pub async fn push(&self, message: Message) {
        let mut message = message;
        while let Err(back) = self.try_push(message) {
            message = back;
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Puts in what must not be lost.
    ///
    /// # Errors
    /// The message, when there is no room: try again later.
    pub fn try_push(&self, message: Message) -> Result<(), Message> {
        // In one order with `sleeping`: the shard that goes to sleep sees this, or we see that it sleeps.
        self.state.length.fetch_add(1, Ordering::SeqCst);
        match self.sender.try_send(message) {
            Ok(()) => {
                self.wake();
                Ok(())
            }
            Err(TrySendError::Full(message)) => {
                self.state.length.fetch_sub(1, Ordering::Relaxed);
                Err(message)
            }
            // The shard has stopped: nobody will ever read this, and dropping a reply tells its waiter.
            Err(TrySendError::Disconnected(_)) => Ok(()),
        }
    }

    /// Whether rooms should not publish to this shard for now.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.state.length.load(Ordering::Relaxed) >= INBOX_DELIVERIES_MAX
    }

    /// Wakes the shard if it sleeps: one system call, and none while it is busy.
    pub fn wake(&self) {
        if self.state.sleeping.swap(false, Ordering::SeqCst) {
            // It fails only when the poll is gone, and then nobody sleeps on it.
            let _ = self.state.waker.wake();
        }
    }
}

impl InboxReader {
    /// The next message, if there is one.
    #[must_use]
    pub fn next(&self) -> Option<Message> {
        let message = self.receiver.try_recv().ok()?;
        self.state.length.fetch_sub(1, Ordering::Relaxed);
        Some(message)
    }

    /// Whether there is nothing to read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state.length.load(Ordering::SeqCst) == 0
    }

    /// To be called before the shard sleeps: from now on senders wake it. The shard must look at
    /// [`InboxReader::is_empty`] once more after this, and sleep only if it is.
    pub fn announce_sleep(&self) {
        self.state.sleeping.store(true, Ordering::SeqCst);
    }

    /// To be called when the shard is up again: senders need not wake it.
    pub fn announce_wake(&self) {
        self.state.sleeping.store(false, Ordering::SeqCst);
    }
}
