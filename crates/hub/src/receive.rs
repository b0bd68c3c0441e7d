//! Bytes from a client, up to what goes to the room's home shard.

use protocol::messaging::{
    Action, Moderation, RATE_EXCEEDED, Refusal, SESSION_EXPIRED, forbidden, parse_request,
};

use crate::deflate::Inflater;
use crate::frame::{Opcode, encode, encode_close, encode_text};
use crate::inbound::{Inbound, Incoming, Messages};
use crate::message::{Act, ConnectionId, Effect, Message, Now};
use crate::session::Phase;
use crate::{Hub, SECOND_NANOS, slot};

impl Hub {
    /// Takes what a client has sent, and answers how many bytes that was: all, but for the beginning of a header or of a
    /// control frame. The caller keeps the rest and gives it again, in front of what comes next; if the connection
    /// [`Hub::is_paused`] now, not before [`Effect::Resume`]. Bytes are unmasked in place.
    pub fn received(&mut self, now: Now, connection: u32, buffer: &mut [u8]) -> usize {
        let Some(session) = self.sessions.get_mut(slot(connection)) else { return buffer.len() };
        session.heard_at = now.nanos / SECOND_NANOS;
        session.pinged = false;
        let mut inbound = session.inbound.take().unwrap_or_default();
        let mut inflater = session.deflates.then(|| self.inflater.take().unwrap_or_default());
        let taken = self.take_frames(now, connection, buffer, &mut inbound, inflater.as_deref_mut());
        if inflater.is_some() {
            self.inflater = inflater;
        }
        if !inbound.is_idle()
            && self.listens_to(connection)
            && let Some(session) = self.sessions.get_mut(slot(connection))
        {
            session.inbound = Some(inbound);
        }
        taken
    }

    fn take_frames(
        &mut self,
        now: Now,
        connection: u32,
        buffer: &mut [u8],
        inbound: &mut Inbound,
        mut inflater: Option<&mut Inflater>,
    ) -> usize {
        let messages = self.messages;
        let mut taken = 0;
        while taken < buffer.len() {
            if !self.listens_to(connection) {
                return buffer.len();
            }
            if !self.admit_frame(now, connection) {
                break;
            }
            let rest = &mut buffer[taken..];
            let take = |incoming: Incoming<'_>| self.take(now, connection, &incoming);
            match inbound.read(messages, inflater.as_deref_mut(), rest, take) {
                Ok(0) => break,
                Ok(bytes) => {
                    taken += bytes;
                    if let Some(inflater) = &mut inflater {
                        let (read, said) = inflater.take_work();
                        self.charge_for_inflating(now, connection, read, said);
                    }
                }
                Err(code) => {
                    self.close_with(now, connection, code);
                    return buffer.len();
                }
            }
        }
        taken
    }

    fn listens_to(&self, connection: u32) -> bool {
        let session = self.sessions.get(slot(connection));
        session.is_some_and(|session| !matches!(session.phase, Phase::Closing { .. }))
    }

    fn take(&mut self, now: Now, connection: u32, incoming: &Incoming<'_>) {
        match incoming {
            Incoming::Text(text) if self.messages == Messages::Actions => self.request(now, connection, text),
            Incoming::Text(text) => self.send_private(connection, encode_text(text)),
            Incoming::Binary(bytes) => self.send_private(connection, encode(Opcode::Binary, bytes)),
            Incoming::Ping(payload) => self.send_private(connection, encode(Opcode::Pong, payload)),
            Incoming::Pong => {}
            Incoming::Close(code) => {
                let reply = code.map_or_else(|| encode(Opcode::Close, &[]), |code| encode_close(code, ""));
                self.close(now, connection, reply);
            }
        }
    }

    fn request(&mut self, now: Now, connection: u32, text: &str) {
        let rates_lifted = self.settings.rates_lifted;
        let shard = self.settings.shard;
        let Some(session) = self.sessions.get_mut(slot(connection)) else { return };
        let admitted = rates_lifted || session.admit(now.nanos);
        let parsed = parse_request(text);
        self.counters.count(parsed.as_ref().ok().map(|request| &request.action));
        let id = ConnectionId { shard, index: connection, generation: session.generation };
        let (refusal, request_id) = match parsed {
            _ if session.phase != Phase::Open => (SESSION_EXPIRED, request_id_of(&parsed)),
            _ if !admitted => (RATE_EXCEEDED, request_id_of(&parsed)),
            Err((refusal, request_id)) => (refusal, request_id),
            Ok(request) => {
                let capability = request.action.capability();
                if session.capabilities.contains(capability) {
                    let sender = self.texts.get(&session.sender);
                    let Some(seat) = session.seat else { return };
                    let room = self.audiences[seat.audience].key.clone();
                    let (entry, client) = (session.entry, session.client.to_canonical());
                    self.send_home(
                        now,
                        Act { room, connection: id, entry, sender, client, request, received: now.wall },
                    );
                    return;
                }
                (forbidden(capability), request.request_id)
            }
        };
        self.refuse(id, &request_id, &refusal);
    }

    fn send_home(&mut self, now: Now, act: Act) {
        let home = act.room.home(self.settings.shards);
        if home == self.settings.shard {
            self.act(now, &act);
        } else {
            self.effects.push_back(Effect::Send(home, Message::Act(Box::new(act))));
        }
    }
}

type Parsed = Result<protocol::messaging::Request, (Refusal, String)>;

fn request_id_of(parsed: &Parsed) -> String {
    match parsed {
        Ok(request) => request.request_id.clone(),
        Err((_, request_id)) => request_id.clone(),
    }
}

impl crate::Counters {
    fn count(&mut self, action: Option<&Action>) {
        let counter = match action {
            Some(Action::SendMessage { .. }) => &mut self.send_message_requests,
            Some(Action::Moderate(Moderation::DeleteMessage { .. })) => &mut self.delete_message_requests,
            Some(Action::Moderate(Moderation::DisconnectUser { .. })) => &mut self.disconnect_user_requests,
            None => &mut self.invalid_requests,
        };
        *counter += 1;
    }
}
