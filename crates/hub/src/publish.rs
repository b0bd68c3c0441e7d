//! At the room's home shard: may this be published, and as which frame.

use std::sync::Arc;

use protocol::close::CloseCode;
use protocol::id::Id;
use protocol::messaging::{
    Action, CHAT_LOG_UNAVAILABLE, MESSAGE_TOO_LONG, Moderation, RATE_EXCEEDED, ROOM_NOT_FOUND, Refusal,
    Request, encode_delete_event, encode_disconnect_event, encode_error, encode_event, encode_message,
};
use protocol::time::Timestamp;

use crate::Hub;
use crate::chat_log::{Entry, LoggingConfigurations, Unlogged};
use crate::frame::{encode_close, encode_text};
use crate::message::{
    Act, Cause, ConnectionId, Delivery, Disconnect, Effect, Message, Moderated, Now, Publication, RoomKey,
    RoomSettings, Unpublished,
};
use crate::room::Home;

/// The reason of a Close frame when the moderator gave none.
const DISCONNECTED: &str = "Disconnected by a moderator";

/// What a room is about to publish: its text is in the chat log and in the frame.
pub(crate) struct Frame {
    /// What it is published for.
    pub(crate) cause: Cause,
    /// Its `SendTime`.
    pub(crate) time: Timestamp,
    pub(crate) json: String,
}

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
        let configurations = settings.logging_configurations;
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
                let frame = Frame { cause: Cause::SendMessage, time: act.received, json };
                self.note(&act.room, configurations, &frame).map_err(|Unlogged| CHAT_LOG_UNAVAILABLE)?;
                self.send_out(now, &act.room, &frame, None);
            }
            Action::Moderate(moderation) => {
                // Before anybody can see it, so that what follows from it is behind it in a record, too.
                self.effects.push_back(Effect::Moderated(Box::new(Moderated {
                    room: act.room.clone(),
                    sender: act.sender.clone(),
                    client: act.client,
                    request_id: request_id.clone(),
                    moderation: moderation.clone(),
                })));
                if let Err(Unlogged) = self.moderate(now, &act.room, configurations, request_id, moderation) {
                    // It has come to nothing, and has had no other effect.
                    self.effects.pop_back();
                    return Err(CHAT_LOG_UNAVAILABLE);
                }
            }
        }
        Ok(())
    }

    /// Publishes what the control plane asked for. The room is known to exist, and to have these settings unless its home
    /// knows newer ones.
    pub(crate) fn publish(
        &mut self,
        now: Now,
        room: &RoomKey,
        settings: &RoomSettings,
        publication: &Publication,
    ) -> Result<Id, Unpublished> {
        self.counters.count_publication(publication);
        let home = self.homes.get(room);
        if home.is_some_and(|home| home.audience().intersects(self.pressed)) {
            return Err(Unpublished::Busy);
        }
        let known = home.and_then(Home::settings).filter(|known| known.version > settings.version);
        let configurations = known.unwrap_or(settings).logging_configurations;
        let published = match publication {
            Publication::Event { name, attributes } => {
                let id = self.next_id();
                let json = encode_event(id, "", name, attributes.as_ref(), now.wall);
                let frame = Frame { cause: Cause::SendEvent, time: now.wall, json };
                self.note(room, configurations, &frame).map(|()| {
                    self.send_out(now, room, &frame, None);
                    id
                })
            }
            Publication::Moderation(moderation) => self.moderate(now, room, configurations, "", moderation),
        };
        published.map_err(|Unlogged| Unpublished::Unlogged)
    }

    /// Publishes what a moderator wants, and ends the connections that it ends.
    fn moderate(
        &mut self,
        now: Now,
        room: &RoomKey,
        configurations: LoggingConfigurations,
        request_id: &str,
        moderation: &Moderation,
    ) -> Result<Id, Unlogged> {
        let id = self.next_id();
        let json = match moderation {
            Moderation::DeleteMessage { message_id, reason } => {
                encode_delete_event(id, request_id, *message_id, reason.as_deref(), now.wall)
            }
            Moderation::DisconnectUser { user_id, reason } => {
                encode_disconnect_event(id, request_id, user_id, reason.as_deref(), now.wall)
            }
        };
        let frame = Frame { cause: Cause::of(moderation), time: now.wall, json };
        self.note(room, configurations, &frame)?;
        let disconnect = match moderation {
            Moderation::DeleteMessage { .. } => None,
            Moderation::DisconnectUser { user_id, reason } => {
                let reason = reason.as_deref().unwrap_or(DISCONNECTED);
                let close_frame = encode_close(CloseCode::Normal.as_u16(), reason);
                let user = self.roll.user(room, user_id);
                let number_max = self.roll.kick(user, &close_frame);
                if let Some(home) = self.homes.get_mut(room) {
                    home.reviews.end(user);
                }
                Some(Disconnect { user, number_max, close_frame })
            }
        };
        self.send_out(now, room, &frame, disconnect);
        Ok(id)
    }

    /// Notes a frame in the chat log, if the room has one. What follows is the frame's way to its receivers.
    pub(crate) fn note(
        &mut self,
        room: &RoomKey,
        configurations: LoggingConfigurations,
        frame: &Frame,
    ) -> Result<(), Unlogged> {
        if configurations.is_empty() {
            return Ok(());
        }
        let Frame { cause, time, json } = frame;
        self.chat_log.note(&Entry {
            room,
            configurations: &configurations,
            kind: cause.record_kind(),
            time: *time,
            payload: json,
        })
    }

    /// Encodes the frame, once for all receivers, and hands it to the bus.
    pub(crate) fn send_out(
        &mut self,
        now: Now,
        room: &RoomKey,
        frame: &Frame,
        disconnect: Option<Disconnect>,
    ) {
        let Some(home) = self.homes.get_mut(room) else { return };
        home.traffic.note(now.nanos);
        let bytes = encode_text(&frame.json);
        let delivery = Delivery::new(room.clone(), frame.cause, now.nanos, bytes, disconnect);
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
