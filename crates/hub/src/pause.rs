//! A client that sends far more frames than anybody needs is read more slowly.
//!
//! Every frame costs its shard something, also one that asks for nothing: an empty fragment, a pong, a ping with its
//! answer, a request that is refused for its rate. A client that sends such without end would take time from all the
//! rooms of the shard.
//!
//! Promises: a connection has at most [`FRAMES_PER_SECOND`](protocol::limit::edge::FRAMES_PER_SECOND) frames read, and as
//! many once at its beginning; a compressed message counts as many, by its length before and after. What it sends beyond that is neither lost nor refused: it waits in the kernel, and then
//! with the client, as TCP slows down whoever sends to a peer that does not read. So no close code is needed, and
//! whoever is wronged by the limit only waits.
//!
//! With rates lifted there is no limit.

use protocol::limit::edge::{DEFLATED_BYTES_PER_FRAME, FRAME_PAUSE_MS, INFLATED_BYTES_PER_FRAME};

use crate::message::{ConnectionId, Effect, Now};
use crate::{Hub, MILLISECOND_NANOS, slot};

impl Hub {
    /// Whether nothing more of the connection is to be read until [`Effect::Resume`] says so.
    #[must_use]
    pub fn is_paused(&self, connection: u32) -> bool {
        self.sessions.get(slot(connection)).is_some_and(|session| session.paused)
    }

    /// Whether the connection may have one more frame read; if not, its pause begins.
    pub(crate) fn admit_frame(&mut self, now: Now, connection: u32) -> bool {
        let Some(session) = self.sessions.get_mut(slot(connection)) else { return false };
        if self.settings.rates_lifted || session.admit_frame(now.nanos) {
            return true;
        }
        if !session.paused {
            session.paused = true;
            self.counters.pauses += 1;
            let generation = session.generation;
            let id = ConnectionId { shard: self.settings.shard, index: connection, generation };
            self.paused.push_back((now.nanos + FRAME_PAUSE_MS * MILLISECOND_NANOS, id));
        }
        false
    }

    /// Counts what a compressed message has cost, by what was read and what it says: a few bytes can be much work.
    pub(crate) fn charge_for_inflating(&mut self, now: Now, connection: u32, read: usize, said: usize) {
        let frames = (read / DEFLATED_BYTES_PER_FRAME + said / INFLATED_BYTES_PER_FRAME) as u64;
        if frames > 0
            && let Some(session) = self.sessions.get_mut(slot(connection))
        {
            session.charge_frames(now.nanos, frames);
        }
    }

    /// Ends the pauses that have been long enough.
    pub(crate) fn end_pauses(&mut self, now_nanos: u64) {
        while let Some((until, id)) = self.paused.front().copied()
            && until <= now_nanos
        {
            self.paused.pop_front();
            let session = self.sessions.get_mut(slot(id.index));
            if let Some(session) = session.filter(|session| session.generation == id.generation) {
                session.paused = false;
                self.effects.push_back(Effect::Resume(id.index));
            }
        }
    }
}
