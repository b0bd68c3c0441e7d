//! Clients that renew their connections: the new one is opened before the old one is hung up.

use super::{Guest, Simulation};
use crate::ClientKey;
use crate::clock::{MILLISECOND, SECOND};

impl Simulation {
    /// A client that reads opens a second connection, and hangs up the first one when it has the second.
    pub(super) fn rotate(&mut self, client: ClientKey) {
        let now = self.node.clock().nanos();
        let Some(book) = self.auditor.clients.get(&client).filter(|book| !book.may_be_closed) else { return };
        // What replaced another one just now has still to hear what that one heard.
        let is_greeted = self.peers.get(&client).is_some_and(|peer| peer.greeted);
        if !is_greeted || self.network.stalled_until(client) + SECOND > now {
            return;
        }
        let guest = Guest {
            room: book.room,
            user_id: book.user_id.clone(),
            capabilities: book.capabilities,
            session_end: book.session_end,
        };
        self.place(now + 3 * MILLISECOND, guest, false, Some(client));
    }

    /// Clients that have the new connection hang up the old one.
    pub(super) fn hang_up_replaced(&mut self) {
        let now = self.node.clock().nanos();
        for (old, new) in std::mem::take(&mut self.replaced) {
            let awake = self.network.stalled_until(old) + SECOND < now;
            if awake && self.network.blocked_since(old).is_none() {
                self.auditor.book_replaced(old, new);
            }
            self.hang_up(old);
        }
    }
}
