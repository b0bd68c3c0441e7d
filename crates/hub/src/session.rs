//! One user's connection: what it may do, how fast, until when, and what waits to be written to it alone.

use std::collections::VecDeque;
use std::net::Ipv6Addr;

use protocol::capability::Capabilities;
use protocol::limit::edge::{FRAMES_PER_SECOND, REQUESTS_PER_SECOND};
use protocol::time::Timestamp;

use crate::inbound::Inbound;
use crate::log::Position;
use crate::rate::Rate;
use crate::roll::Entry;
use crate::text::Text;

/// Where a session stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Receives and may publish.
    Open,
    /// ERROR 401 was sent; receives until this second, then Close.
    Ended {
        /// Seconds of the monotonic clock.
        close_at: u64,
    },
    /// The last bytes are queued; what the peer still says is ignored.
    Closing {
        /// When the socket is closed even if the peer has not closed its side, in seconds of the monotonic clock.
        drop_at: u64,
        /// Whether the writing side has been shut down.
        shut_down: bool,
    },
}

/// A connection's seat in its room on this shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The slot of the room's audience.
    pub audience: usize,
    /// The place among its members.
    pub member: usize,
}

/// Everything a shard's hub knows of one connection.
#[derive(Debug)]
pub struct Session {
    /// See [`crate::message::ConnectionId`].
    pub generation: u32,
    /// `None` once the session has left its room and only its last bytes are to be written.
    pub seat: Option<Seat>,
    /// In the roll of the room's home.
    pub entry: Entry,
    /// The `Sender` of its messages, as JSON.
    pub sender: Text,
    /// Where the client is; an IPv4 address is mapped, which is smaller.
    pub client: Ipv6Addr,
    /// From the chat token.
    pub capabilities: Capabilities,
    /// From the chat token.
    pub session_end: Timestamp,
    /// See [`Phase`].
    pub phase: Phase,
    /// When the peer was last heard of, in seconds of the monotonic clock.
    pub heard_at: u64,
    /// Its messages may be compressed, both ways.
    pub deflates: bool,
    /// The answer to the handshake is held back; see `hold.rs`.
    pub held: bool,
    /// A ping was sent since the peer was last heard of.
    pub pinged: bool,
    /// It has sent too many frames and is not read for a while.
    pub paused: bool,
    /// An unfinished message of the peer.
    pub inbound: Option<Box<Inbound>>,
    /// Frames for this connection alone that have not been written yet.
    pub private: Option<Box<Private>>,
    rate: Rate,
    frame_rate: Rate,
}

/// What a chat token, and the handshake, say of a session.
pub struct Grant {
    /// See [`Session`].
    pub sender: Text,
    /// See [`Session`].
    pub client: Ipv6Addr,
    /// See [`Session`].
    pub capabilities: Capabilities,
    /// See [`Session`].
    pub session_end: Timestamp,
    /// See [`Session`].
    pub deflates: bool,
}

impl Session {
    /// A fresh session, heard of at `now_seconds`.
    #[must_use]
    pub fn new(generation: u32, entry: Entry, grant: Grant, now_seconds: u64) -> Self {
        Self {
            generation,
            seat: None,
            entry,
            sender: grant.sender,
            client: grant.client,
            capabilities: grant.capabilities,
            session_end: grant.session_end,
            phase: Phase::Open,
            heard_at: now_seconds,
            deflates: grant.deflates,
            held: false,
            pinged: false,
            paused: false,
            inbound: None,
            private: None,
            rate: Rate::default(),
            frame_rate: Rate::default(),
        }
    }

    /// Admits a request of any kind under the connection's own rate, or not.
    pub fn admit(&mut self, now_nanos: u64) -> bool {
        self.rate.admit(now_nanos, REQUESTS_PER_SECOND)
    }

    /// Admits one more frame of any kind, or not yet.
    pub fn admit_frame(&mut self, now_nanos: u64) -> bool {
        self.frame_rate.admit(now_nanos, FRAMES_PER_SECOND)
    }

    /// Counts frames that were admitted as one, and cost as much as so many more.
    pub fn charge_frames(&mut self, now_nanos: u64, count: u64) {
        self.frame_rate.charge(now_nanos, FRAMES_PER_SECOND, count);
    }

    /// Queues bytes for this connection alone, to be written once its cursor has reached `at`.
    pub fn push_private(&mut self, at: Position, bytes: Vec<u8>) {
        let private = self.private.get_or_insert_default();
        private.bytes += bytes.len() as u64;
        match private.frames.back_mut() {
            Some((last_at, last)) if *last_at == at => last.extend_from_slice(&bytes),
            _ => private.frames.push_back((at, bytes)),
        }
    }

    /// Bytes that wait for this connection alone.
    #[must_use]
    pub fn private_bytes(&self) -> u64 {
        self.private.as_ref().map_or(0, |private| private.bytes)
    }

    /// Whether the last bytes have been written and the writing side is to be shut down now; true only once.
    pub fn take_shut_down(&mut self) -> bool {
        match &mut self.phase {
            Phase::Closing { shut_down, .. } if !*shut_down && self.private.is_none() => {
                *shut_down = true;
                true
            }
            _ => false,
        }
    }
}

/// Bytes for one connection alone, each at its place between the frames of the room log.
#[derive(Debug, Default)]
pub struct Private {
    /// Log position at which to write, and what; positions ascend, frames with the same one are joined.
    pub frames: VecDeque<(Position, Vec<u8>)>,
    /// How many bytes that is altogether, the written part of the first one included.
    pub bytes: u64,
    /// How much of the first one has been written.
    pub offset: usize,
}
