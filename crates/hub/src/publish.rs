//! At the room's home shard: may this be published, and as which frame.

use std::sync::Arc;

use protocol::close::CloseCode;
use protocol::id::Id;
use protocol::messaging::{
    Action, MESSAGE_TOO_LONG, Moderation, RATE_EXCEEDED, ROOM_NOT_FOUND, Refusal, Request,
    encode_delete_event, encode_disconnect_event, encode_error, encode_event, encode_message,
};

use crate::Hub;
use crate::frame::{encode_close, encode_text};
use crate::message::{
    Act, Busy, Cause, ConnectionId, Delivery, Disconnect, Effect, Message, Moderated, Now, Publication,
    Reply, RoomKey,
};

/// The reason of a Close frame when the moderator gave none.
const DISCONNECTED: &str = "Disconnected by a moderator";

impl Hub {
    /// Carries out what a member asked for, or tells it why not. What a connection asked for that a kick has ended comes
    /// to nothing without a word: the Close frame on its way to it is the answer.
    pub(crate) fn act(&mut self, now: Now, act: &Act) {
        if self.roll.close_frame(act.entry).is_some() {
            return;
        }
        if let Err(refusal) = self.try_act(now, act) {
            self.refuse_at(act.connection, &act.request.request_id, &refusal);
        }
    }

    fn try_act(&mut self, now: Now, act: &Act) -> Result<(), Refusal> {
        let Request { request_id, action } = &act.request;
        let rates_lifted = self.settings.rates_lifted;
        let pressed = self.pressed;
        let home = self.homes.get_mut(&act.room).ok_or(ROOM_NOT_FOUND)?;
        let settings = home.settings().ok_or(ROOM_NOT_FOUND)?;
        if home.audience().intersects(pressed) {
            return Err(RATE_EXCEEDED);
        }
        if let Action::SendMessage { content, .. } = action
            && is_longer(content, settings.message_length_max)
        {
            return Err(MESSAGE_TOO_LONG);
        }
        let review = settings.review.clone();
        if !rates_lifted && !home.admit(now.nanos, action) {
            return Err(RATE_EXCEEDED);
        }
        match action {
            Action::SendMessage { content, attributes } => {
                if review.is_some() || home.reviews.has(act.entry.user) {
                    return self.review(act, review);
                }
                let id = self.next_id();
                let attributes = attributes.as_ref();
                let json = encode_message(id, request_id, attributes, content, act.received, &act.sender);
                self.send_out(now, &act.room, Cause::SendMessage, &json, None);
            }
            Action::Moderate(moderation) => {
                self.moderate(now, &act.room, request_id, moderation);
                self.effects.push_back(Effect::Moderated(Box::new(Moderated {
                    room: act.room.clone(),
                    sender: act.sender.clone(),
                    moderation: moderation.clone(),
                })));
            }
        }
        Ok(())
    }

    /// Publishes what the control plane asked for. The room is known to exist.
    pub(crate) fn publish(&mut self, now: Now, room: &RoomKey, publication: &Publication, reply: Reply) {
        self.counters.count_publication(publication);
        let audience = self.homes.get(room).map(crate::room::Home::audience).unwrap_or_default();
        if audience.intersects(self.pressed) {
            reply.send(Err(Busy));
            return;
        }
        let id = match publication {
            Publication::Event { name, attributes } => {
                let id = self.next_id();
                let json = encode_event(id, "", name, attributes.as_ref(), now.wall);
                self.send_out(now, room, Cause::SendEvent, &json, None);
                id
            }
            Publication::Moderation(moderation) => self.moderate(now, room, "", moderation),
        };
        reply.send(Ok(id));
    }

    /// Publishes what a moderator wants, and ends the connections that it ends.
    fn moderate(&mut self, now: Now, room: &RoomKey, request_id: &str, moderation: &Moderation) -> Id {
        let id = self.next_id();
        let (json, disconnect) = match moderation {
            Moderation::DeleteMessage { message_id, reason } => {
                (encode_delete_event(id, request_id, *message_id, reason.as_deref(), now.wall), None)
            }
            Moderation::DisconnectUser { user_id, reason } => {
                let reason = reason.as_deref();
                let close_frame = encode_close(CloseCode::Normal.as_u16(), reason.unwrap_or(DISCONNECTED));
                let user = self.roll.user(room, user_id);
                let number_max = self.roll.kick(user, &close_frame);
                if let Some(home) = self.homes.get_mut(room) {
                    home.reviews.end(user);
                }
                let json = encode_disconnect_event(id, request_id, user_id, reason, now.wall);
                (json, Some(Disconnect { user, number_max, close_frame }))
            }
        };
        self.send_out(now, room, Cause::of(moderation), &json, disconnect);
        id
    }

    /// Encodes the frame, once for all receivers, and hands it to the bus.
    pub(crate) fn send_out(
        &mut self,
        now: Now,
        room: &RoomKey,
        cause: Cause,
        json: &str,
        disconnect: Option<Disconnect>,
    ) {
        let Some(home) = self.homes.get_mut(room) else { return };
        home.traffic.note(now.nanos);
        let delivery = Delivery::new(room.clone(), cause, now.nanos, encode_text(json), disconnect);
        self.effects.push_back(Effect::Publish(home.audience(), Arc::new(delivery)));
    }

    /// Sends an ERROR to a connection of any shard.
    fn refuse_at(&mut self, connection: ConnectionId, request_id: &str, refusal: &Refusal) {
        let id = self.next_id();
        self.refuse_under(id, connection, request_id, refusal);
    }

    /// The same, for a message that has an id already.
    pub(crate) fn refuse_under(
        &mut self,
        id: Id,
        connection: ConnectionId,
        request_id: &str,
        refusal: &Refusal,
    ) {
        let frame = encode_text(&encode_error(id, request_id, refusal));
        if connection.shard == self.settings.shard {
            self.refuse_with(connection, frame);
        } else {
            self.effects.push_back(Effect::Send(connection.shard, Message::Refuse { connection, frame }));
        }
    }
}

/// Whether `content` has more than `length_max` code points. Counts only when the number of bytes leaves a doubt.
fn is_longer(content: &str, length_max: u32) -> bool {
    let length_max = usize::try_from(length_max).unwrap_or(usize::MAX);
    content.len() > length_max && content.chars().count() > length_max
}
