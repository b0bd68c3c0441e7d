//! How a connection that has passed the handshake gets to its shard.
//!
//! First to the home shard of its room, which chooses the shard that is to own it and counts it there; then to that
//! shard. The client sees the answer to its upgrade only after both, so whatever the room publishes from then on
//! reaches it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use hub::message::{Join, Placement};
use protocol::limit::edge::ARRIVALS_MAX;

use crate::bus::Inbox;
use crate::edge::transport::Transport;
use crate::quota::ConnectionPlace;

/// How long the acceptor waits before it looks again for room in the queue.
const RETRY: Duration = Duration::from_millis(1);

/// A user at the door.
pub(super) struct Arrival {
    /// What the room must know.
    pub(super) join: Join,
    /// Counts towards the quota of the connection's account, if there is one.
    pub(super) place: Option<ConnectionPlace>,
    /// The socket, and its TLS state if there is one.
    pub(super) transport: Transport,
    /// What the client sent right behind its upgrade request.
    pub(super) early: Vec<u8>,
    /// What the room's home has decided; `None` on the way to the home.
    pub(super) placement: Option<Placement>,
}

/// The sending side of a shard's arrivals.
#[derive(Clone)]
pub(super) struct ArrivalSender {
    sender: SyncSender<Box<Arrival>>,
    waiting: Arc<AtomicUsize>,
    inbox: Inbox,
}

/// The shard's side.
pub(super) struct ArrivalReader {
    receiver: Receiver<Box<Arrival>>,
    waiting: Arc<AtomicUsize>,
}

/// The queue of one shard; `inbox` wakes it.
pub(super) fn arrivals(inbox: Inbox) -> (ArrivalSender, ArrivalReader) {
    let (sender, receiver) = sync_channel(ARRIVALS_MAX);
    let waiting = Arc::new(AtomicUsize::new(0));
    (ArrivalSender { sender, waiting: Arc::clone(&waiting), inbox }, ArrivalReader { receiver, waiting })
}

impl ArrivalSender {
    /// Hands over, or gives back when the queue is full. A stopped shard takes everything: the socket is closed.
    pub(super) fn try_send(&self, arrival: Box<Arrival>) -> Result<(), Box<Arrival>> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        match self.sender.try_send(arrival) {
            Ok(()) => {
                self.inbox.wake();
                Ok(())
            }
            Err(TrySendError::Full(arrival)) => {
                self.waiting.fetch_sub(1, Ordering::SeqCst);
                Err(arrival)
            }
            Err(TrySendError::Disconnected(_)) => Ok(()),
        }
    }

    /// Hands over as soon as there is room.
    pub(super) async fn send(&self, arrival: Box<Arrival>) {
        let mut arrival = arrival;
        while let Err(back) = self.try_send(arrival) {
            arrival = back;
            tokio::time::sleep(RETRY).await;
        }
    }
}

impl ArrivalReader {
    pub(super) fn next(&self) -> Option<Box<Arrival>> {
        let arrival = self.receiver.try_recv().ok()?;
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        Some(arrival)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) == 0
    }
}
