//! Greetings that are held: the answer to a handshake, and with it all that the room sends, leaves a little later.
//!
//! For one of two reasons, which the room's home finds when it places the connection (`join.rs`):
//!
//! **A renewal**: the user has a connection to the room already, and will give up the old one once the new one is open.
//! Whatever the room had published when the new connection joined has [`RENEWAL_HOLD_MS`] to arrive through the old one
//! before the client hears that the new one is open, wherever the two live; from its joining on the new one gets every
//! frame. So a client that listens to the old one until then, and drops duplicates by their Id as the official SDKs do,
//! misses nothing. Without the hold it would: two sockets are not read in the order in which they were written to, and
//! of two shards one may still gather what the other has written. Exactly renewals are held, whatever the size of the
//! room; who has just left may be taken for still there until the home has heard of it.
//!
//! **A hot loop**: the user joins the room again and again ([`crate::pace`]).
//!
//! A held connection is a member like any other whose socket is full. But it is not its client that is slow: when it
//! lags as far as a member may, it is greeted at once instead of dropped. (For a renewal that takes a room that sends
//! 256 KiB in a quarter of a second; what was under way then may come too late.)
//!
//! [`RENEWAL_HOLD_MS`]: protocol::limit::edge::RENEWAL_HOLD_MS

use std::cmp::Reverse;

use crate::audience::blocked_since;
use crate::message::Now;
use crate::{Hub, MILLISECOND_NANOS, slot};

impl Hub {
    /// Holds the greeting of a connection: until then it counts as blocked.
    pub(crate) fn hold(&mut self, now: Now, connection: u32, hold_ms: u64) {
        let Some(session) = self.sessions.get_mut(slot(connection)) else { return };
        session.held = true;
        if let Some(seat) = session.seat {
            let audience = &mut self.audiences[seat.audience];
            audience.members[seat.member].blocked_since_ms = blocked_since(now.nanos);
            audience.blocked += 1;
        }
        let until = now.nanos + hold_ms * MILLISECOND_NANOS;
        self.held.push(Reverse((until, connection, session.generation)));
    }

    /// Greets those who have been held long enough.
    pub(crate) fn let_go(&mut self, now_nanos: u64) {
        while let Some(Reverse((until, connection, generation))) = self.held.peek().copied()
            && until <= now_nanos
        {
            self.held.pop();
            let session = self.sessions.get(slot(connection));
            if session.is_some_and(|session| session.generation == generation) {
                self.greet(now_nanos, connection);
            }
        }
    }

    /// Greets a connection now if it is held, and answers whether it was.
    pub(crate) fn greet(&mut self, now_nanos: u64, connection: u32) -> bool {
        let Some(session) = self.sessions.get_mut(slot(connection)).filter(|session| session.held) else {
            return false;
        };
        session.held = false;
        if let Some(seat) = session.seat {
            // Only from now on can its client be slow.
            self.audiences[seat.audience].members[seat.member].blocked_since_ms = blocked_since(now_nanos);
        }
        self.urgent.push(connection);
        true
    }
}
