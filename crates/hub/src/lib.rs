//! The pure core of a shard: rooms, members, room logs, sessions, rates and frames. No I/O, no clock, no locks, no async.
//!
//! A shard of the server is one thread that owns a [`Hub`] and its sockets. It reads bytes and gives them to
//! [`Hub::received`], gives what other shards send to [`Hub::handle`], lets [`Hub::flush`] write, and carries out the
//! [`Effect`]s that come out. The simulator and the benchmarks drive the very same hub.
//!
//! # The path of a message
//! 1. [`Hub::received`] on the sender's shard: frame, UTF-8 ([`inbound`]), JSON ([`protocol::messaging`]), the
//!    connection's rate and capability ([`session`]).
//! 2. [`Effect::Send`] takes it to the room's home shard (nothing to do when that is this one).
//! 3. `publish.rs` with [`room`], there: the room exists, length, the room's rate; id and time; in a room with a message review
//!    handler, its verdict ([`review`]); the frame is encoded once, and noted in the chat log if the
//!    room has one ([`chat_log`]).
//! 4. [`Effect::Publish`] takes it over the bus to every shard with members.
//! 5. [`Message::Deliver`] there: appended to the room log ([`log`]), and compressed to a second one if members take that
//!    ([`deflate`]); a pass is scheduled.
//! 6. [`Hub::flush`]: the pass ([`audience`]) makes one write per member.
//!
//! # Invariants
//! - All members of a room see its frames in one order, each at most once; exactly once while they stay connected and
//!   within their lag limit.
//! - Nothing is written to a session after its Close frame.
//! - A kick ends exactly the connections that its room's home had placed before it, wherever they are by then: they are
//!   closed, and nothing they asked for is published behind the kick ([`roll`]).
//! - A connection that is slow or stuck costs others nothing: it is skipped, and dropped at its limit.
//! - What is kept per connection and per room is bounded by the limits in [`protocol::limit::edge`].

pub mod account;
pub mod audience;
pub mod chat_log;
pub mod deflate;
pub mod frame;
pub mod histogram;
pub mod inbound;
pub mod inspect;
pub mod log;
pub mod message;
pub mod pace;
pub mod random;
pub mod rate;
pub mod review;
pub mod roll;
pub mod room;
pub mod session;
pub mod text;
pub mod traffic;

mod deliver;
mod hold;
mod join;
mod pause;
mod publish;
mod receive;
mod sweep;

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher};

use protocol::close::CloseCode;
use protocol::id::Id;
use protocol::limit::edge::{LAG_BYTES_MAX, SESSION_END_GRACE_SECONDS};
use protocol::messaging::{Refusal, encode_error};
use slab::Slab;

use crate::audience::{Audience, Encoding};
use crate::chat_log::ChatLog;
use crate::deflate::{Deflater, Inflater};
use crate::frame::{encode_close, encode_text};
use crate::histogram::Histogram;
use crate::inbound::Messages;
use crate::inspect::Inspection;
use crate::log::Position;
use crate::message::{Cause, ConnectionId, Effect, Message, Now, RoomKey, ShardIndex, ShardSet};
use crate::pace::JoinPaces;
use crate::random::Random;
use crate::review::ReviewLimits;
use crate::roll::Roll;
use crate::room::Home;
use crate::session::{Phase, Session};
use crate::text::Texts;

const SECOND_NANOS: u64 = 1_000_000_000;
const MILLISECOND_NANOS: u64 = 1_000_000;

/// How a hub behaves; fixed for its life.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which shard this is.
    pub shard: ShardIndex,
    /// How many there are on this node.
    pub shards: ShardIndex,
    /// After a frame has left at once, a room's frames gather this long. 0: no gathering.
    pub coalescing_window_nanos: u64,
    /// The rates of connections and rooms are lifted.
    pub rates_lifted: bool,
    /// How many messages may be under review.
    pub reviews: ReviewLimits,
    /// For ids.
    pub seed: [u8; 32],
}

/// Buckets of [`Counters::pass_micros`]: up to 1 us, 2 us, …, 16.8 s, and more.
pub const LATENCY_BUCKETS: usize = 26;
/// Buckets of [`Counters::pass_frames`]: 1, 2, up to 4, …, up to 256, and more.
pub const FRAMES_BUCKETS: usize = 10;

/// What a hub has done since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// What clients and the control plane asked for, also in vain, by [`Cause`].
    pub requests: [u64; Cause::ALL.len()],
    /// Requests that were no action at all.
    pub invalid_requests: u64,
    /// Frames times members that they went to, by the [`Cause`] of the frame.
    pub deliveries: [u64; Cause::ALL.len()],
    /// Microseconds from publishing, on the room's home shard, to the end of the pass that offered it to the members here:
    /// once for each pass, of the oldest frame in it. [`LATENCY_BUCKETS`] reach to 16.8 s.
    pub pass_micros: Histogram<LATENCY_BUCKETS>,
    /// Frames that a pass offered to each member in one write.
    pub pass_frames: Histogram<FRAMES_BUCKETS>,
    /// Connections dropped because they were too far behind.
    pub slow_readers_dropped: u64,
    /// Connections dropped because nothing was heard of them.
    pub dead_peers_dropped: u64,
    /// Times a connection was not read for a while because it had sent too many frames.
    pub pauses: u64,
    /// Messages that took their room's fallback result because no handler reviewed them.
    pub review_fallbacks: u64,
    /// Messages that were refused because too many were under review.
    pub reviews_refused: u64,
}

/// See the crate documentation.
pub struct Hub {
    settings: Settings,
    messages: Messages,
    chat_log: ChatLog,
    random: Random,
    /// Rooms whose home is this shard. They are walked through, so the order must be the same in every run of a
    /// simulation. Fixed keys of the hash are no risk: room ids are random and the server's own.
    homes: HashMap<RoomKey, Home, BuildHasherDefault<DefaultHasher>>,
    /// Rooms with members on this shard.
    audiences: Slab<Audience>,
    /// By [`Encoding`].
    audiences_by_room: HashMap<RoomKey, [Option<usize>; Encoding::ALL.len()]>,
    sessions: Slab<Session>,
    /// The senders of the sessions, as their messages show them.
    texts: Texts,
    generation: u32,
    /// Rooms whose pass is not due yet.
    waiting: BinaryHeap<Reverse<(u64, usize)>>,
    /// Rooms whose pass is due or under way, served in turn.
    ready: VecDeque<usize>,
    /// Connections to be written to now, on their own.
    urgent: Vec<u32>,
    /// Connections whose greeting is held: until when, index, generation.
    held: BinaryHeap<Reverse<(u64, u32, u32)>>,
    /// Who has connections to the rooms of `homes`.
    roll: Roll,
    /// How often users join those rooms.
    join_paces: JoinPaces,
    /// By home shard, the highest number of an entry that a kick which came by here may have ended.
    kicked_up_to: Box<[u64]>,
    /// Connections that are not read, and until when. All pauses are equally long, so the first is over first.
    paused: VecDeque<(u64, ConnectionId)>,
    /// Shards whose inbox takes no more deliveries.
    pressed: ShardSet,
    effects: VecDeque<Effect>,
    counters: Counters,
    /// Messages under review in all `homes`.
    reviews_waiting: usize,
    /// Made for the first who needs them.
    deflater: Option<Box<Deflater>>,
    inflater: Option<Box<Inflater>>,
}

impl Hub {
    /// An empty hub.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            random: Random::from_seed(settings.seed),
            roll: Roll::new(settings.seed),
            join_paces: JoinPaces::default(),
            kicked_up_to: vec![0; usize::from(settings.shards)].into(),
            settings,
            messages: Messages::Actions,
            chat_log: ChatLog::default(),
            homes: HashMap::default(),
            audiences: Slab::new(),
            audiences_by_room: HashMap::new(),
            sessions: Slab::new(),
            texts: Texts::default(),
            generation: 0,
            waiting: BinaryHeap::new(),
            ready: VecDeque::new(),
            urgent: Vec::new(),
            held: BinaryHeap::new(),
            paused: VecDeque::new(),
            pressed: ShardSet::default(),
            effects: VecDeque::new(),
            counters: Counters::default(),
            reviews_waiting: 0,
            deflater: None,
            inflater: None,
        }
    }

    /// This hub, but for what becomes of clients' messages.
    #[must_use]
    pub fn with_messages(self, messages: Messages) -> Self {
        Self { messages, ..self }
    }

    /// This hub, with a log of what its rooms publish.
    #[must_use]
    pub fn with_chat_log(self, chat_log: ChatLog) -> Self {
        Self { chat_log, ..self }
    }

    /// Takes a message from another shard or from the control plane.
    pub fn handle(&mut self, now: Now, message: Message) {
        match message {
            Message::Act(act) => self.act(now, &act),
            Message::Publish { room, settings, publication, reply } => {
                reply.send(self.publish(now, &room, &settings, &publication));
            }
            Message::RoomChanged { room, settings } => {
                if let Some(home) = self.homes.get_mut(&room) {
                    home.change(settings);
                }
            }
            Message::RoomDeleted { room } => {
                if let Some(home) = self.homes.get_mut(&room) {
                    home.delete();
                }
            }
            Message::Inspect(Inspection { asked, answer }) => answer(self.inspect(now, asked)),
            Message::RoomsInDoubt => self.homes.values_mut().for_each(Home::doubt),
            Message::Left { room, shard, entry } => self.left(&room, shard, entry),
            Message::Adopted { connection, entry } => self.adopted(connection, entry),
            Message::Reviewed { room, ticket, outcome } => self.reviewed(now, &room, ticket, outcome),
            Message::Deliver(delivery) => self.deliver(now, &delivery),
            Message::Refuse { connection, frame } => self.refuse_with(connection, frame),
            Message::Close { connection, frame } => {
                if self.is_open(connection) {
                    self.close(now, connection.index, frame);
                }
            }
        }
    }

    /// The socket of `connection` takes bytes again.
    pub fn writable(&mut self, connection: u32) {
        if self.sessions.get(slot(connection)).is_some_and(|session| !session.held) {
            self.urgent.push(connection);
        }
    }

    /// The socket of `connection` has been closed by its peer, or is broken.
    pub fn disconnected(&mut self, connection: u32) {
        self.remove(connection);
    }

    /// Notes which shards take no more deliveries: rooms with members there refuse to publish meanwhile.
    pub fn set_pressed(&mut self, pressed: ShardSet) {
        self.pressed = pressed;
    }

    /// The next thing to be done outside, in order.
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.sessions.len()
    }

    /// The indices of all connections, in no order.
    pub fn connection_indices(&self) -> impl Iterator<Item = u32> + '_ {
        self.sessions.iter().map(|(slot, _)| u32::try_from(slot).unwrap_or(u32::MAX))
    }

    /// What has been done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// A refusal that could not be decided here after all, since the home shard's inbox is full.
    pub fn refuse(&mut self, connection: ConnectionId, request_id: &str, refusal: &Refusal) {
        let frame = self.error_frame(request_id, refusal);
        self.refuse_with(connection, frame);
    }

    fn refuse_with(&mut self, connection: ConnectionId, frame: Vec<u8>) {
        if self.is_open(connection) {
            self.send_private(connection.index, frame);
        }
    }

    /// Whether it is still the same connection.
    fn is_open(&self, connection: ConnectionId) -> bool {
        let session = self.sessions.get(slot(connection.index));
        session.is_some_and(|session| session.generation == connection.generation)
    }

    fn error_frame(&mut self, request_id: &str, refusal: &Refusal) -> Vec<u8> {
        let id = self.next_id();
        encode_text(&encode_error(id, request_id, refusal))
    }

    fn next_id(&mut self) -> Id {
        Id::from_random(self.random.next_u128())
    }

    /// Queues a frame for one connection alone: after all frames of the room that came before it, and at once. A peer
    /// that makes the server answer and does not read the answers is dropped before they pile up.
    fn send_private(&mut self, connection: u32, frame: Vec<u8>) {
        let Some(session) = self.sessions.get_mut(slot(connection)) else { return };
        if matches!(session.phase, Phase::Closing { .. }) {
            return;
        }
        // Where messages come back, one may be longer than any frame of ours.
        let bytes_max = LAG_BYTES_MAX.max(2 * self.messages.bytes_max() as u64);
        if session.private_bytes() + frame.len() as u64 > bytes_max {
            self.drop_slow(connection);
            return;
        }
        // If something waits already, a write is due or the socket is full: no need to try once more for each frame.
        if session.private.is_none() {
            self.urgent.push(connection);
        }
        let at = session.seat.map_or(0, |seat| self.audiences[seat.audience].log.head());
        session.push_private(at, frame);
    }

    /// Ends a session with a Close frame: what its room has sent so far is still written, then the Close, then nothing.
    fn close(&mut self, now: Now, connection: u32, close_frame: Vec<u8>) {
        let Some(session) = self.sessions.get_mut(slot(connection)) else { return };
        if matches!(session.phase, Phase::Closing { .. }) {
            return;
        }
        if let Some(seat) = session.seat {
            // The session leaves the room now; what it has not got yet goes with it.
            let audience = &self.audiences[seat.audience];
            let mut cursor = audience.members[seat.member].cursor;
            let mut rest = Vec::new();
            let private = session.private.take().unwrap_or_default();
            let mut offset = private.offset;
            for (at, bytes) in &private.frames {
                rest.extend_from_slice(audience.log.pending(cursor, *at));
                rest.extend_from_slice(&bytes[offset..]);
                cursor = *at;
                offset = 0;
            }
            rest.extend_from_slice(audience.log.pending(cursor, audience.log.head()));
            if !rest.is_empty() {
                session.push_private(0, rest);
            }
        }
        session.push_private(0, close_frame);
        let drop_at = now.nanos / SECOND_NANOS + SESSION_END_GRACE_SECONDS;
        session.phase = Phase::Closing { drop_at, shut_down: false };
        session.inbound = None;
        session.held = false;
        self.urgent.push(connection);
        self.leave(connection);
    }

    fn close_with(&mut self, now: Now, connection: u32, code: CloseCode) {
        self.close(now, connection, encode_close(code.as_u16(), ""));
    }

    /// Forgets the audience of a room that everybody has left. While a pass is due it stays: the pass is noted by its
    /// slot, which another room would get.
    fn forget_if_empty(&mut self, index: usize) {
        let audience = &self.audiences[index];
        if audience.members.is_empty() && !audience.scheduled {
            if let Entry::Occupied(mut found) = self.audiences_by_room.entry(audience.key.clone()) {
                found.get_mut()[audience.encoding as usize] = None;
                if found.get().iter().all(Option::is_none) {
                    found.remove();
                }
            }
            self.audiences.remove(index);
        }
    }

    /// Forgets a connection and has its socket closed.
    fn remove(&mut self, connection: u32) {
        self.leave(connection);
        if let Some(session) = self.sessions.try_remove(slot(connection)) {
            self.texts.remove(session.sender);
            self.effects.push_back(Effect::Close(connection));
        }
    }
}

/// A connection's index as the slab counts.
const fn slot(connection: u32) -> usize {
    connection as usize
}

impl Hub {
    /// How much memory the log of each room holds here, in bytes, in no order.
    pub fn room_log_bytes(&self) -> impl Iterator<Item = (&RoomKey, usize)> {
        self.audiences.iter().map(|(_, audience)| (&audience.key, audience.log.capacity_bytes()))
    }

    /// Who has connections to the rooms whose home is here.
    #[must_use]
    pub fn roll(&self) -> &Roll {
        &self.roll
    }

    /// How many bytes wait to be written to a connection; `None` when there is no such connection.
    #[must_use]
    pub fn lag_bytes(&self, connection: u32) -> Option<u64> {
        let session = self.sessions.get(slot(connection))?;
        let log: Position = session.seat.map_or(0, |seat| {
            let audience = &self.audiences[seat.audience];
            audience.log.head() - audience.members[seat.member].cursor
        });
        Some(log + session.private_bytes())
    }
}
