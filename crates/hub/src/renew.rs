//! The renewal of a connection: the same user opens a new one, and gives up the old one once the new one is open.
//!
//! Promises, in rooms that are small enough to live on one shard: whatever was written to the old connection before the
//! new one joined has had [`RENEWAL_HOLD_MS`] to arrive when the client hears that the new one is open; from its joining
//! on the new one gets every frame. So a client that listens to the old one until then, and drops duplicates by their
//! Id as the official SDKs do, misses nothing. Without the hold it does: two sockets are not read in the order in which
//! they were written to.
//!
//! It does not promise that in bigger rooms: there the old connection can be on another shard, where a frame may still
//! be gathering that the new one's shard has written already.

use protocol::limit::edge::{HOME_SHARD_MEMBERS_MAX, RENEWAL_HOLD_MS};

use crate::audience::blocked_since;
use crate::message::{ConnectionId, Now};
use crate::{Hub, slot};

const MILLISECOND_NANOS: u64 = 1_000_000;

impl Hub {
    /// Whether the user has a connection to the room of `audience` already. That is looked up in small rooms only: in
    /// those that are spread over shards it could be anywhere, and to hold all joiners would slow down big joins.
    pub(crate) fn is_renewal(&self, audience: usize, user_id: &str) -> bool {
        let members = &self.audiences[audience].members;
        members.len() < HOME_SHARD_MEMBERS_MAX as usize
            && members.iter().any(|member| *self.sessions[slot(member.connection)].user_id == *user_id)
    }

    /// Holds the greeting of a connection, and with it all that its room sends: until then it counts as blocked.
    pub(crate) fn hold(&mut self, now: Now, connection: u32) {
        let Some(session) = self.sessions.get_mut(slot(connection)) else { return };
        session.held = true;
        let id =
            ConnectionId { shard: self.settings.shard, index: connection, generation: session.generation };
        if let Some(seat) = session.seat {
            let audience = &mut self.audiences[seat.audience];
            audience.members[seat.member].blocked_since_ms = blocked_since(now.nanos);
            audience.blocked += 1;
        }
        self.held.push_back((now.nanos + RENEWAL_HOLD_MS * MILLISECOND_NANOS, id));
    }

    /// Greets those who have been held long enough.
    pub(crate) fn let_go(&mut self, now_nanos: u64) {
        while let Some((until, id)) = self.held.front().copied()
            && until <= now_nanos
        {
            self.held.pop_front();
            let session = self.sessions.get_mut(slot(id.index));
            if let Some(session) =
                session.filter(|session| session.generation == id.generation && session.held)
            {
                session.held = false;
                self.urgent.push(id.index);
            }
        }
    }
}
