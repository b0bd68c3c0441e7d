//! From the door into a room, and out of it.
//!
//! A connection that has passed the handshake is placed by its room's home, which chooses the shard it is to live on
//! ([`Hub::place`]), and adopted there ([`Hub::adopt`]). Frames of the room go to that shard from its placement on, so a
//! joiner misses nothing however long the way takes.
//!
//! Invariant: what a home has counted, by shard and by user, are the connections that have been placed and whose
//! [`Message::Left`] has not come. The counts cannot drift: only [`Hub::place`] adds to them; every placement ends in
//! one `Left` that gives back the very same entry, since adopting seats the connection, the seat is taken from it once
//! (`leave`), and shards never lose a `Left`; [`Hub::place_at_home`] moves a count and makes none. A home with a count
//! above nothing is never forgotten, so none comes back without its counts.
//!
//! A kick that is published while a connection is on its way to its shard would pass it by there. So a shard notes how
//! far kicks that came by reach, and asks the home about a connection that one of them may have ended: an extra message
//! for those, none for all others, and nothing to be kept for long.

use std::net::{IpAddr, Ipv6Addr};

use protocol::limit::edge::RENEWAL_HOLD_MS;

use crate::audience::{Audience, Encoding};
use crate::message::{ConnectionId, Disconnect, Effect, Join, Message, Now, Placement, RoomKey, ShardIndex};
use crate::roll::Entry;
use crate::room::Home;
use crate::session::{Grant, Seat, Session};
use crate::{Hub, SECOND_NANOS, slot};

impl Hub {
    /// On the home shard of the room: chooses the shard that is to [`Hub::adopt`] the connection, and counts it there.
    /// From now on that shard gets the room's frames.
    pub fn place(&mut self, now: Now, join: &Join) -> Placement {
        let user = self.roll.user(&join.room, &join.user_id);
        let (entry, others) = self.roll.enter(user);
        let renewal_hold_ms = if others > 0 { RENEWAL_HOLD_MS } else { 0 };
        let pace_hold_ms =
            if self.settings.rates_lifted { 0 } else { self.join_paces.delay_ms(now.nanos, user) };
        let shards = self.settings.shards;
        let effects = &mut self.effects;
        let home = self.homes.entry(join.room.clone()).or_insert_with(|| {
            effects.push_back(Effect::LoadRoom(join.room.clone()));
            Home::new(join.settings.clone(), join.account.clone(), shards)
        });
        Placement {
            shard: home.place(self.settings.shard),
            entry,
            hold_ms: renewal_hold_ms.max(pace_hold_ms),
        }
    }

    /// On the home shard, right after [`Hub::place`]: the shard that was chosen takes nobody just now, so the connection
    /// is counted here instead, and is to be adopted here.
    pub fn place_at_home(&mut self, room: &RoomKey, placement: Placement) -> Placement {
        let shard = self.settings.shard;
        if let Some(home) = self.homes.get_mut(room) {
            home.leave(placement.shard);
            home.enter(shard);
        }
        Placement { shard, ..placement }
    }

    /// On the shard that was chosen: makes the connection a member of its room. Its index is the one by which sockets
    /// and effects name it; since an index is used again, all effects must have been carried out before. The greeting
    /// goes out with the next [`Hub::flush`], or when it has been held long enough.
    pub fn adopt(&mut self, now: Now, join: Join, placement: Placement) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        let Placement { entry, hold_ms, .. } = placement;
        let sender = self.texts.add(&join.sender);
        let grant = Grant {
            sender,
            client: mapped(join.client),
            capabilities: join.capabilities,
            session_end: join.session_end,
            deflates: join.deflates,
        };
        let home = join.room.home(self.settings.shards);
        let session = Session::new(self.generation, entry, grant, now.nanos / SECOND_NANOS);
        let slot = self.sessions.insert(session);
        let connection = u32::try_from(slot).unwrap_or(u32::MAX);
        let encoding = if join.deflates { Encoding::Deflated } else { Encoding::Plain };
        let audiences = &mut self.audiences;
        let audience = *self.audiences_by_room.entry(join.room.clone()).or_default()[encoding as usize]
            .get_or_insert_with(|| audiences.insert(Audience::new(join.room, encoding)));
        let member = self.audiences[audience].add(connection);
        let start = self.audiences[audience].members[member].cursor;
        let session = &mut self.sessions[slot];
        session.seat = Some(Seat { audience, member });
        session.push_private(start, join.greeting);
        if hold_ms > 0 {
            self.hold(now, connection, hold_ms);
        } else {
            self.urgent.push(connection);
        }
        if entry.number <= self.kicked_up_to[usize::from(home)] {
            let generation = self.generation;
            let connection = ConnectionId { shard: self.settings.shard, index: connection, generation };
            self.effects.push_back(Effect::Send(home, Message::Adopted { connection, entry }));
        }
        connection
    }

    /// Notes how far a kick reaches that comes by.
    pub(crate) fn note_kick(&mut self, room: &RoomKey, disconnect: &Disconnect) {
        let home = room.home(self.settings.shards);
        let kicked_up_to = &mut self.kicked_up_to[usize::from(home)];
        *kicked_up_to = disconnect.number_max.max(*kicked_up_to);
    }

    /// On the home shard: has a connection closed that a kick has passed by. Through the inbox even when it lives here:
    /// should there be a later kick whose event is on its way to it, that comes first.
    pub(crate) fn adopted(&mut self, connection: ConnectionId, entry: Entry) {
        if let Some(frame) = self.roll.close_frame(entry).map(<[u8]>::to_vec) {
            self.effects.push_back(Effect::Send(connection.shard, Message::Close { connection, frame }));
        }
    }

    /// Takes a session out of its room.
    pub(crate) fn leave(&mut self, connection: u32) {
        let Some(session) = self.sessions.get_mut(slot(connection)) else { return };
        let Some(seat) = session.seat.take() else { return };
        let entry = session.entry;
        let audience = &mut self.audiences[seat.audience];
        for (moved, member) in audience.remove(seat.member).into_iter().flatten() {
            if let Some(session) = self.sessions.get_mut(slot(moved)) {
                session.seat = Some(Seat { audience: seat.audience, member });
            }
        }
        let room = audience.key.clone();
        self.forget_if_empty(seat.audience);
        let shard = self.settings.shard;
        let home = room.home(self.settings.shards);
        if home == shard {
            self.left(&room, shard, entry);
        } else {
            self.effects.push_back(Effect::Send(home, Message::Left { room, shard, entry }));
        }
    }

    /// On the home shard: a connection that was placed is no more.
    pub(crate) fn left(&mut self, room: &RoomKey, shard: ShardIndex, entry: Entry) {
        if let Some(home) = self.homes.get_mut(room) {
            home.leave(shard);
        }
        self.roll.strike_off(entry);
    }
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}
