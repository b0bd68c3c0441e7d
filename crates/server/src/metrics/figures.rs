//! What a shard tells the rest of the process about itself: plain numbers, written by its thread once per turn, read
//! when metrics are asked for. Nothing is counted per delivery.

use std::sync::atomic::{AtomicU64, Ordering};

use hub::{Counters, Hub};

/// The numbers of one shard.
#[derive(Debug, Default)]
pub struct Figures {
    connections: AtomicU64,
    send_message_requests: AtomicU64,
    delete_message_requests: AtomicU64,
    disconnect_user_requests: AtomicU64,
    invalid_requests: AtomicU64,
    deliveries: AtomicU64,
    slow_readers_dropped: AtomicU64,
    dead_peers_dropped: AtomicU64,
    pauses: AtomicU64,
    review_fallbacks: AtomicU64,
    reviews_refused: AtomicU64,
    reviews_waiting: AtomicU64,
}

impl Figures {
    /// Writes down how the hub stands.
    pub fn publish(&self, hub: &Hub) {
        let counters = hub.counters();
        let values = [
            (&self.connections, hub.connections() as u64),
            (&self.send_message_requests, counters.send_message_requests),
            (&self.delete_message_requests, counters.delete_message_requests),
            (&self.disconnect_user_requests, counters.disconnect_user_requests),
            (&self.invalid_requests, counters.invalid_requests),
            (&self.deliveries, counters.deliveries),
            (&self.slow_readers_dropped, counters.slow_readers_dropped),
            (&self.dead_peers_dropped, counters.dead_peers_dropped),
            (&self.pauses, counters.pauses),
            (&self.review_fallbacks, counters.review_fallbacks),
            (&self.reviews_refused, counters.reviews_refused),
            (&self.reviews_waiting, hub.reviews_waiting() as u64),
        ];
        for (figure, value) in values {
            figure.store(value, Ordering::Relaxed);
        }
    }

    /// Open connections.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Messages under review.
    #[must_use]
    pub fn reviews_waiting(&self) -> u64 {
        self.reviews_waiting.load(Ordering::Relaxed)
    }

    /// What the shard has done since it began.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        Counters {
            send_message_requests: read(&self.send_message_requests),
            delete_message_requests: read(&self.delete_message_requests),
            disconnect_user_requests: read(&self.disconnect_user_requests),
            invalid_requests: read(&self.invalid_requests),
            deliveries: read(&self.deliveries),
            slow_readers_dropped: read(&self.slow_readers_dropped),
            dead_peers_dropped: read(&self.dead_peers_dropped),
            pauses: read(&self.pauses),
            review_fallbacks: read(&self.review_fallbacks),
            reviews_refused: read(&self.reviews_refused),
        }
    }
}
