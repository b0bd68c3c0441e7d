//! The renewal of a connection: the same user opens a new one, and gives up the old one once the new one is open.
//!
//! Promises: whatever was published before the new connection joined has had [`RENEWAL_HOLD_MS`] to arrive on the old
//! one when the client hears that the new one is open; from its joining on the new one gets every frame. So a client that listens to the old one until then, and drops duplicates by their
//! Id as the official SDKs do, misses nothing. Without the hold it does: two sockets are not read in the order in which
//! they were written to.

use protocol::limit::edge::RENEWAL_HOLD_MS;

use crate::audience::blocked_since;
use crate::message::{ConnectionId, Now};
use crate::{Hub, slot};

const MILLISECOND_NANOS: u64 = 1_000_000;

impl Hub {
    /// Whether the user has a connection to the room of `audience` on this shard already.
    pub(crate) fn is_renewal(&self, audience: usize, user_id: &str) -> bool {
        let members = &self.audiences[audience].members;
        members.iter().any(|member| *self.sessions[slot(member.connection)].user_id == *user_id)
    }

    /// Whether the room is so big that the user's other connection, if there is one, can be on any shard, each with a
    /// window of its own. Then every joiner is held: nobody notices a quarter of a second, and a search would cost more.
    pub(crate) fn is_spread(&self, audience: usize) -> bool {
        match self.homes.get(&self.audiences[audience].key) {
            Some(home) => home.is_spread(),
            None => true,
        }
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
