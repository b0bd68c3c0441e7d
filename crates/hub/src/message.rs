//! What goes into a hub and what comes out: closed enums, so that a test, the simulator and the server drive it alike.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use protocol::arn::Scope;
use protocol::capability::Capabilities;
use protocol::chat_log::RecordKind;
use protocol::id::Id;
use protocol::messaging::{Attributes, Moderation, Request};
use protocol::time::{Timestamp, UnixMicros};

use crate::account::AccountRates;
use crate::chat_log::LoggingConfigurations;
use crate::deflate::Deflater;
use crate::inspect::Inspection;
use crate::review::{Outcome, ReviewRequest, ReviewSettings, Ticket};
use crate::roll::{Entry, UserKey};

/// The time as a shard read it once for what it is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic nanoseconds from an origin of the process's own; for rates, windows and ages.
    pub nanos: u64,
    /// The wall clock; for `SendTime` and the end of sessions.
    pub wall: Timestamp,
}

/// The number of a shard on its node, from 0.
pub type ShardIndex = u8;

/// Most shards of a node: a [`ShardSet`] has a bit for each.
pub const SHARDS_MAX: usize = 64;

/// Some of the shards of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardSet(u64);

impl ShardSet {
    /// Adds a shard.
    pub fn insert(&mut self, shard: ShardIndex) {
        self.0 |= 1 << shard;
    }

    /// Whether `shard` is in the set.
    #[must_use]
    pub fn contains(self, shard: ShardIndex) -> bool {
        self.0 & 1 << shard != 0
    }

    /// Whether the two sets have a shard in common.
    #[must_use]
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// The name of a room, cheap to clone and to compare.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RoomKey {
    /// Owner.
    pub scope: Arc<Scope>,
    /// Unique within its scope.
    pub id: Id,
}

impl RoomKey {
    /// The room's home shard: its sequencer on a node of `shards` shards.
    #[must_use]
    pub fn home(&self, shards: ShardIndex) -> ShardIndex {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        ShardIndex::try_from(hasher.finish() % u64::from(shards.max(1))).unwrap_or(0)
    }
}

/// What a room's sequencer must know of its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomSettings {
    /// Grows with every update: of two settings the one with the higher version is in force.
    pub version: UnixMicros,
    /// Code points.
    pub message_length_max: u32,
    /// Messages per second over all senders.
    pub message_rate_max: u32,
    /// `None` when the room has no message review handler.
    pub review: Option<ReviewSettings>,
    /// Who logs what the room publishes.
    pub logging_configurations: LoggingConfigurations,
}

/// The outcome of a message review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Deliver.
    Allow,
    /// Refuse with ERROR 406.
    Deny,
}

/// One connection of one shard. The generation tells it from earlier ones with the same index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionId {
    /// Where its socket is.
    pub shard: ShardIndex,
    /// Its slot there.
    pub index: u32,
    /// Never the same twice for one index.
    pub generation: u32,
}

/// A user who has passed the handshake and is to become a member of a room.
pub struct Join {
    /// The room named in the chat token.
    pub room: RoomKey,
    /// The room's settings as read during the handshake.
    pub settings: RoomSettings,
    /// What the room shares with the others of its account; `None` when accounts have no rates.
    pub account: Option<Arc<AccountRates>>,
    /// From the token.
    pub user_id: Box<str>,
    /// [`protocol::messaging::encode_sender`] of the token's user.
    pub sender: String,
    /// Where the client is: for message review.
    pub client: IpAddr,
    /// From the token.
    pub capabilities: Capabilities,
    /// From the token.
    pub session_end: Timestamp,
    /// The greeting says that messages may be compressed, both ways.
    pub deflates: bool,
    /// Sent before any frame: the answer to the upgrade request.
    pub greeting: Vec<u8>,
}

/// What the home of a room decides about a connection. Each ends in one [`Message::Left`]: the hub that adopts the
/// connection sends it; whoever gives the connection up instead must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Placement {
    /// The shard that is to adopt the connection.
    pub shard: ShardIndex,
    /// Its entry in the home's roll.
    pub entry: Entry,
    /// How long its greeting is to be held, in milliseconds: see [`protocol::limit::edge::RENEWAL_HOLD_MS`] and
    /// [`protocol::limit::edge::JOIN_HOLD_MS_MAX`].
    pub hold_ms: u64,
}

/// What a connection asks its room to do.
#[derive(Clone, Debug)]
pub struct Act {
    /// The connection's room.
    pub room: RoomKey,
    /// Who gets the ERROR, if any.
    pub connection: ConnectionId,
    /// The connection's: whether a kick has ended it is decided where the room's order is.
    pub entry: Entry,
    /// The `Sender` of a MESSAGE frame.
    pub sender: String,
    /// Where the client is.
    pub client: IpAddr,
    /// Parsed, and allowed by the connection's capabilities and rate.
    pub request: Request,
    /// When it came in: the `SendTime` of a MESSAGE frame.
    pub received: Timestamp,
}

/// What the control plane asks a room to publish.
#[derive(Clone, Debug)]
pub enum Publication {
    /// SendEvent.
    Event {
        /// The caller's event name.
        name: String,
        /// `None` when there were none.
        attributes: Option<Attributes>,
    },
    /// DeleteMessage or DisconnectUser.
    Moderation(Moderation),
}

/// Why a room did not publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpublished {
    /// A shard with members of the room has too much under way to take another frame.
    Busy,
    /// The chat log could not note it, and the room may not go on without.
    Unlogged,
}

/// Where the answer to a [`Publication`] goes. Called once, on the home shard's thread: it must not block.
pub struct Reply(Box<dyn FnOnce(Result<Id, Unpublished>) + Send>);

impl Reply {
    /// An answer goes to `deliver`.
    pub fn new(deliver: impl FnOnce(Result<Id, Unpublished>) + Send + 'static) -> Self {
        Self(Box::new(deliver))
    }

    /// Answers.
    pub fn send(self, result: Result<Id, Unpublished>) {
        (self.0)(result);
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Reply")
    }
}

/// What a frame is published for: the action of the request, from whichever plane it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A message.
    SendMessage,
    /// A message is to be deleted.
    DeleteMessage,
    /// A user is disconnected.
    DisconnectUser,
    /// An event of the application's own.
    SendEvent,
}

impl Cause {
    /// Every one, in the order of their numbers.
    pub const ALL: [Self; 4] =
        [Self::SendMessage, Self::DeleteMessage, Self::DisconnectUser, Self::SendEvent];

    /// What a moderator's wish is published for.
    #[must_use]
    pub const fn of(moderation: &Moderation) -> Self {
        match moderation {
            Moderation::DeleteMessage { .. } => Self::DeleteMessage,
            Moderation::DisconnectUser { .. } => Self::DisconnectUser,
        }
    }

    /// What a chat log calls the frame.
    #[must_use]
    pub const fn record_kind(self) -> RecordKind {
        match self {
            Self::SendMessage => RecordKind::Message,
            Self::DeleteMessage | Self::DisconnectUser | Self::SendEvent => RecordKind::Event,
        }
    }

    /// The service's word for it.
    #[must_use]
    pub const fn action(self) -> &'static str {
        match self {
            Self::SendMessage => "SEND_MESSAGE",
            Self::DeleteMessage => "DELETE_MESSAGE",
            Self::DisconnectUser => "DISCONNECT_USER",
            Self::SendEvent => "SEND_EVENT",
        }
    }
}

/// A frame on its way from a room's home shard to its members.
#[derive(Debug)]
pub struct Delivery {
    /// Whose members get it.
    pub room: RoomKey,
    /// What it was published for.
    pub cause: Cause,
    /// When that was, in monotonic nanoseconds.
    pub published_nanos: u64,
    /// A whole WebSocket frame, encoded once for all receivers.
    pub frame: Vec<u8>,
    /// After this frame, these connections are closed.
    pub disconnect: Option<Disconnect>,
    /// The same frame compressed, once somebody has needed it; nothing in it if that is no shorter.
    deflated: OnceLock<Option<Box<[u8]>>>,
}

impl Delivery {
    /// A delivery of a whole text frame.
    #[must_use]
    pub fn new(
        room: RoomKey,
        cause: Cause,
        published_nanos: u64,
        frame: Vec<u8>,
        disconnect: Option<Disconnect>,
    ) -> Self {
        Self { room, cause, published_nanos, frame, disconnect, deflated: OnceLock::new() }
    }

    /// The frame for those who take it compressed. Whichever shard needs it first compresses it, for all.
    pub(crate) fn deflated(&self, deflater: &mut Deflater) -> &[u8] {
        let deflated = self.deflated.get_or_init(|| deflater.deflate(&self.frame).map(Vec::into_boxed_slice));
        deflated.as_deref().unwrap_or(&self.frame)
    }
}

/// What a member did as a moderator.
#[derive(Debug)]
pub struct Moderated {
    /// Where.
    pub room: RoomKey,
    /// Who: the `Sender` of a MESSAGE frame.
    pub sender: String,
    /// From where.
    pub client: IpAddr,
    /// What the client calls its request; empty when it has given it no name.
    pub request_id: String,
    /// What.
    pub moderation: Moderation,
}

/// The end of a user's connections to a room.
#[derive(Debug)]
pub struct Disconnect {
    /// The user.
    pub user: UserKey,
    /// Connections with entries up to this number; later ones came after the kick, and stay.
    pub number_max: u64,
    /// The Close frame with the moderator's reason.
    pub close_frame: Vec<u8>,
}

impl Disconnect {
    /// Whether it ends the connection with this entry.
    #[must_use]
    pub fn ends(&self, entry: Entry) -> bool {
        entry.user == self.user && entry.number <= self.number_max
    }
}

/// What shards, and the control plane, send to a shard.
#[derive(Debug)]
pub enum Message {
    /// To the home shard: a member wants something.
    Act(Box<Act>),
    /// To the home shard: the control plane wants something published.
    Publish {
        /// The room, which exists.
        room: RoomKey,
        /// Its settings, as the control plane has just read them: the room may have no home here.
        settings: Box<RoomSettings>,
        /// What.
        publication: Box<Publication>,
        /// Told the id of the event.
        reply: Reply,
    },
    /// To the home shard: the room has these settings.
    RoomChanged {
        /// The room.
        room: RoomKey,
        /// Its settings.
        settings: RoomSettings,
    },
    /// Somebody wants to know how rooms stand.
    Inspect(Inspection),
    /// To the home shard: the room does not exist any more.
    RoomDeleted {
        /// The room.
        room: RoomKey,
    },
    /// To all shards: rooms may have changed, or be gone, without a word of it. Each home asks for its room.
    RoomsInDoubt,
    /// To the home shard: a connection is not, or will never be, a member of its room any more.
    Left {
        /// The room.
        room: RoomKey,
        /// The shard with one member less.
        shard: ShardIndex,
        /// The connection's.
        entry: Entry,
    },
    /// To the home shard: a connection was adopted after a kick had come by that might have been for it. If one was,
    /// [`Message::Close`] is the answer.
    Adopted {
        /// The connection.
        connection: ConnectionId,
        /// The connection's.
        entry: Entry,
    },
    /// To the home shard: what has come of a review that [`Effect::Review`] asked for. Each is answered once.
    Reviewed {
        /// The room.
        room: RoomKey,
        /// The review's.
        ticket: Ticket,
        /// What became of it.
        outcome: Outcome,
    },
    /// To shards with members: a frame.
    Deliver(Arc<Delivery>),
    /// To the shard of a connection: an ERROR frame for it alone.
    Refuse {
        /// The connection, if it is still there.
        connection: ConnectionId,
        /// A whole WebSocket frame.
        frame: Vec<u8>,
    },
    /// To the shard of a connection: the last frame for it.
    Close {
        /// The connection, if it is still there.
        connection: ConnectionId,
        /// The Close frame.
        frame: Vec<u8>,
    },
}

/// What a hub wants done by the shard that drives it.
#[derive(Debug)]
pub enum Effect {
    /// Put a message into a shard's inbox; now and then that is this one.
    Send(ShardIndex, Message),
    /// Hand a frame to the bus, for the shards that have members of its room (maybe this one too).
    Publish(ShardSet, Arc<Delivery>),
    /// Read the room's settings, and send [`Message::RoomChanged`] or [`Message::RoomDeleted`] to its home shard.
    LoadRoom(RoomKey),
    /// A member has moderated the room: for whoever keeps a record of that.
    Moderated(Box<Moderated>),
    /// Have a message reviewed, and send [`Message::Reviewed`] to its room's home, whatever happens.
    Review(Box<ReviewRequest>),
    /// The connection may be read again after a pause: first what of it was not taken, then its socket.
    Resume(u32),
    /// All that was to be written has been: close the writing side and wait for the peer to do the same.
    ShutDown(u32),
    /// The connection is no more: close its socket.
    Close(u32),
}

/// What became of an attempt to write to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// So many bytes were taken, at least one.
    Bytes(usize),
    /// The socket takes no more now; the hub is told when it does.
    Blocked,
    /// The socket is broken.
    Failed,
}
