//! A shard: one thread, one poll, one hub, and the sockets of its connections. All socket I/O of the edge is here.
//!
//! A turn of its loop: look at the sockets, take what other threads have sent, let the hub write what is due, carry
//! out what the hub wants done. It blocks in the poll and nowhere else.
//!
//! Invariants: a connection's index is its token in the poll, its slot in `sockets` and its name in the hub; a socket
//! is registered once, edge-triggered, for reading and writing, so that a full socket costs no further system call.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hub::chat_log::ChatLog;
use hub::inbound::Messages;
use hub::message::{Effect, Message, Now, Placement, RoomKey, ShardIndex, ShardSet, Written};
use hub::{Hub, Settings};
use mio::event::Event;
use mio::{Events, Interest, Poll, Token};
use protocol::limit::edge::PASS_QUANTUM_MICROS;
use protocol::limit::review::DRAIN_MS_MAX;
use protocol::messaging::RATE_EXCEEDED;
use tokio::sync::mpsc;

use super::arrival::{Arrival, ArrivalReader, ArrivalSender};
use super::ebb::{Ebb, Stage};
use super::moderation;
use super::transport::{Received, Scratch, Transport};
use crate::audit::Audit;
use crate::bus::{Bus, InboxReader};
use crate::clock;
use crate::metrics::Figures;
use crate::quota::ConnectionPlace;
use crate::review::Reviewer;

/// The poll's token for "somebody has put something into the inbox".
pub(super) const WAKE: Token = Token(usize::MAX);

const EVENTS_MAX: usize = 1_024;
/// Messages and arrivals taken per turn, so that sockets are looked at in between.
const MESSAGES_PER_TURN: usize = 1_024;
const ARRIVALS_PER_TURN: usize = 64;
const SWEEP_INTERVAL_NANOS: u64 = 1_000_000_000;
const QUANTUM_NANOS: u64 = PASS_QUANTUM_MICROS * 1_000;
/// While draining: how many turns it takes to close all connections, and how long a turn may wait.
const DRAIN_TURNS: usize = 50;
const DRAIN_TURN: Duration = Duration::from_millis(10);
/// Before that, what rooms have published already is written, for at most this long.
const DRAIN_FLUSH_NANOS_MAX: u64 = 500_000_000;

/// What a shard is made of.
pub(super) struct Parts {
    pub(super) settings: Settings,
    pub(super) messages: Messages,
    pub(super) poll: Poll,
    pub(super) inbox: InboxReader,
    pub(super) arrivals: ArrivalReader,
    /// The arrivals of all shards, by index.
    pub(super) others: Arc<[ArrivalSender]>,
    pub(super) bus: Bus,
    pub(super) reviewer: Reviewer,
    pub(super) review_timeout_ms: u64,
    /// Rooms whose settings are to be read again.
    pub(super) room_loads: mpsc::Sender<RoomKey>,
    pub(super) figures: Arc<Figures>,
    pub(super) audit: Option<Arc<Audit>>,
    pub(super) ebb: Arc<Ebb>,
    pub(super) chat_log: ChatLog,
}

/// See the module.
pub(super) struct Shard {
    index: ShardIndex,
    hub: Hub,
    poll: Poll,
    sockets: Vec<Option<Socket>>,
    inbox: InboxReader,
    arrivals: ArrivalReader,
    others: Arc<[ArrivalSender]>,
    bus: Bus,
    reviewer: Reviewer,
    review_timeout_ms: u64,
    room_loads: mpsc::Sender<RoomKey>,
    figures: Arc<Figures>,
    audit: Option<Arc<Audit>>,
    ebb: Arc<Ebb>,
    /// What clients say is not heard any more.
    is_deaf: bool,
    /// Sockets that had more to read than one turn takes.
    unread: Vec<u32>,
    scratch: Scratch,
    /// Messages for shards whose inbox is full, by shard and in order. A queue grows only by what one turn makes: rooms
    /// with members on that shard publish nothing meanwhile.
    unsent: Vec<VecDeque<Message>>,
    swept_at: u64,
}

/// A connection's socket, and what its hub has left of what was read.
struct Socket {
    transport: Transport,
    partial: Option<Box<[u8]>>,
    /// The peer has closed its side; what it sent before may not have been read yet.
    peer_finished: bool,
    /// Counts towards the quota of the connection's account.
    _place: Option<ConnectionPlace>,
}

impl Socket {
    fn keep(&mut self, partial: &[u8]) {
        self.partial = (!partial.is_empty()).then(|| partial.into());
    }
}

impl Shard {
    pub(super) fn new(parts: Parts) -> Self {
        let unsent = parts.others.iter().map(|_| VecDeque::new()).collect();
        Self {
            index: parts.settings.shard,
            hub: Hub::new(parts.settings).with_messages(parts.messages).with_chat_log(parts.chat_log),
            poll: parts.poll,
            sockets: Vec::new(),
            inbox: parts.inbox,
            arrivals: parts.arrivals,
            others: parts.others,
            bus: parts.bus,
            reviewer: parts.reviewer,
            review_timeout_ms: parts.review_timeout_ms,
            room_loads: parts.room_loads,
            figures: parts.figures,
            audit: parts.audit,
            ebb: parts.ebb,
            is_deaf: false,
            unread: Vec::new(),
            scratch: Scratch::new(),
            unsent,
            swept_at: 0,
        }
    }

    /// Runs until told to drain, then closes all connections, a few at a time, and ends.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        while !self.ebb.has_begun() {
            let timeout = self.sleep_time();
            self.turn(&mut events, timeout)?;
        }
        self.finish_publishing(&mut events)?;
        let mut connections: Vec<u32> = self.hub.connection_indices().collect();
        let batch = connections.len().div_ceil(DRAIN_TURNS).max(1);
        while !connections.is_empty() {
            self.turn(&mut events, DRAIN_TURN)?;
            for connection in connections.drain(connections.len().saturating_sub(batch)..) {
                self.hub.disconnected(connection);
            }
            self.carry_out_effects();
        }
        self.figures.publish_last(&self.hub);
        Ok(())
    }

    /// Listens to no client any more, settles what is under review, and writes what rooms have published: what a sender
    /// has seen come back reaches everybody who keeps up. Gives up on that when [`Self::may_finish`] says so.
    fn finish_publishing(&mut self, events: &mut Events) -> io::Result<()> {
        self.is_deaf = true;
        let began_at = clock::monotonic_nanos();
        for stage in Stage::ALL {
            self.turn(events, Duration::ZERO)?;
            while self.is_behind(stage) && self.may_finish(began_at) {
                self.drain_turn(events)?;
            }
            self.ebb.reach(stage);
            while !self.ebb.is_reached_by_all(stage) && self.may_finish(began_at) {
                self.drain_turn(events)?;
            }
        }
        while (self.has_messages() || self.hub.next_due().is_some()) && self.may_finish(began_at) {
            self.drain_turn(events)?;
        }
        Ok(())
    }

    /// Whether there is something to be done before the stage is reached.
    fn is_behind(&self, stage: Stage) -> bool {
        self.has_messages() || stage == Stage::Published && self.hub.reviews_waiting() > 0
    }

    /// Whether there is time left to finish in: [`DRAIN_FLUSH_NANOS_MAX`], and the time limit of a review (within
    /// [`DRAIN_MS_MAX`]) if any shard has messages under review.
    fn may_finish(&self, began_at: u64) -> bool {
        if self.hub.reviews_waiting() > 0 {
            self.ebb.wait_for_reviews();
        }
        let review_ms =
            if self.ebb.waits_for_reviews() { self.review_timeout_ms.min(DRAIN_MS_MAX) } else { 0 };
        clock::monotonic_nanos() < began_at + DRAIN_FLUSH_NANOS_MAX + review_ms * 1_000_000
    }

    /// A turn that sleeps only when nothing is due: each writes for one quantum, and all of the time is needed for that.
    fn drain_turn(&mut self, events: &mut Events) -> io::Result<()> {
        let timeout = self.sleep_time().min(DRAIN_TURN);
        self.turn(events, timeout)
    }

    /// Whether messages wait here, from other shards or for them, or new connections.
    fn has_messages(&self) -> bool {
        !self.inbox.is_empty()
            || !self.arrivals.is_empty()
            || self.unsent.iter().any(|queue| !queue.is_empty())
    }

    fn turn(&mut self, events: &mut Events, timeout: Duration) -> io::Result<()> {
        if let Err(error) = self.poll.poll(events, Some(timeout))
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(error);
        }
        self.inbox.announce_wake();
        let now = now();
        // Before the sockets: a client that has seen UpdateRoom or DeleteRoom answered must find them in force, and
        // what such an answer promised is in the inbox before the client's next request can be readable.
        self.take_messages(now);
        for event in events.iter() {
            self.socket_event(now, event);
        }
        for connection in std::mem::take(&mut self.unread) {
            self.read(now, connection);
        }
        self.take_arrivals();
        self.carry_out_effects();
        self.flush();
        if now.nanos - self.swept_at >= SWEEP_INTERVAL_NANOS {
            self.swept_at = now.nanos;
            self.hub.sweep(now);
        }
        self.carry_out_effects();
        self.figures.publish(&self.hub);
        Ok(())
    }

    /// How long nothing needs to be done unless a socket or another thread says so.
    fn sleep_time(&self) -> Duration {
        let now = clock::monotonic_nanos();
        let busy = !self.unread.is_empty() || self.unsent.iter().any(|queue| !queue.is_empty());
        let sweep = self.swept_at + SWEEP_INTERVAL_NANOS;
        let due = if busy { 0 } else { self.hub.next_due().unwrap_or(sweep).min(sweep) };
        if due <= now {
            return Duration::ZERO;
        }
        self.inbox.announce_sleep();
        if !self.inbox.is_empty() || !self.arrivals.is_empty() {
            return Duration::ZERO;
        }
        // The poll counts in milliseconds and rounds up; a window may be late by that much, never early.
        Duration::from_nanos(due - now)
    }

    fn socket_event(&mut self, now: Now, event: &Event) {
        if event.token() == WAKE {
            return;
        }
        let Ok(connection) = u32::try_from(event.token().0) else { return };
        if event.is_writable() {
            self.writable(connection);
        }
        if event.is_read_closed()
            && let Some(socket) = self.socket_mut(connection)
        {
            socket.peer_finished = true;
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(now, connection);
        }
    }

    fn writable(&mut self, connection: u32) {
        let Some(socket) = self.socket_mut(connection) else { return };
        if socket.transport.flush().is_err() {
            self.hub.disconnected(connection);
        } else if self.hub.lag_bytes(connection).is_some_and(|lag| lag > 0) {
            self.hub.writable(connection);
        }
    }

    /// Reads once, and gives the hub what is there, behind what was left of the last time.
    fn read(&mut self, now: Now, connection: u32) {
        if self.is_deaf {
            self.pass_over(connection);
            return;
        }
        if self.hub.is_paused(connection) {
            return;
        }
        let Some(socket) = self.sockets.get_mut(connection as usize).and_then(Option::as_mut) else { return };
        let partial = socket.partial.take().unwrap_or_default();
        let start = partial.len();
        self.scratch.plain[..start].copy_from_slice(&partial);
        match socket.transport.receive(&mut self.scratch, start) {
            Received::Bytes { count, more } => {
                // The end may have come with the data, in one event: it is only found by reading on.
                if more || socket.peer_finished {
                    self.unread.push(connection);
                }
                let buffer = &mut self.scratch.plain[..start + count];
                let taken = self.hub.received(now, connection, buffer);
                socket.keep(&buffer[taken..]);
            }
            Received::Nothing => socket.keep(&partial),
            Received::End => self.hub.disconnected(connection),
        }
    }

    /// Reads what nobody hears any more: a socket that is closed with something left to read is reset, and what is still
    /// on its way to the client may be lost with it.
    fn pass_over(&mut self, connection: u32) {
        let Some(socket) = self.sockets.get_mut(connection as usize).and_then(Option::as_mut) else { return };
        match socket.transport.receive(&mut self.scratch, 0) {
            Received::Bytes { more, .. } if more || socket.peer_finished => self.unread.push(connection),
            Received::Bytes { .. } | Received::Nothing => {}
            Received::End => self.hub.disconnected(connection),
        }
    }

    /// After a pause: gives the hub what it has not taken before. The socket's turn comes next, whether or not the poll
    /// says so, since that may have been while the connection was paused.
    fn resume(&mut self, now: Now, connection: u32) {
        if self.is_deaf {
            self.unread.push(connection);
            return;
        }
        let Some(socket) = self.sockets.get_mut(connection as usize).and_then(Option::as_mut) else { return };
        let mut rest = socket.partial.take().unwrap_or_default();
        let taken = self.hub.received(now, connection, &mut rest);
        socket.keep(&rest[taken..]);
        self.unread.push(connection);
    }

    fn take_messages(&mut self, now: Now) {
        self.hub.set_pressed(self.pressed());
        for _ in 0..MESSAGES_PER_TURN {
            let Some(message) = self.inbox.next() else { break };
            self.hub.handle(now, message);
        }
    }

    fn take_arrivals(&mut self) {
        for _ in 0..ARRIVALS_PER_TURN {
            let Some(mut arrival) = self.arrivals.next() else { break };
            // Not the time at which the turn began: holds are promised from a connection's arrival on.
            let now = now();
            let placement = arrival.placement.unwrap_or_else(|| self.hub.place(now, &arrival.join));
            if placement.shard == self.index {
                self.adopt(now, *arrival, placement);
                continue;
            }
            arrival.placement = Some(placement);
            if let Err(arrival) = self.others[usize::from(placement.shard)].try_send(arrival) {
                // Waiting for room there could go on for ever, should that shard wait for room here.
                let placement = self.hub.place_at_home(&arrival.join.room, placement);
                self.adopt(now, *arrival, placement);
            }
        }
    }

    fn adopt(&mut self, now: Now, arrival: Arrival, placement: Placement) {
        let Arrival { join, place, mut transport, mut early, .. } = arrival;
        // The hub may give this connection the index of one that it has just ended: that socket must be closed first.
        self.carry_out_effects();
        if let Some(review) = &join.settings.review {
            self.reviewer.prepare(&review.handler);
        }
        let connection = self.hub.adopt(now, join, placement);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(connection as usize);
        if self.poll.registry().register(transport.stream_mut(), token, interest).is_err() {
            self.hub.disconnected(connection);
            return;
        }
        let slot = connection as usize;
        if self.sockets.len() <= slot {
            self.sockets.resize_with(slot + 1, || None);
        }
        let mut socket = Socket { transport, partial: None, peer_finished: false, _place: place };
        if !self.is_deaf {
            let taken = self.hub.received(now, connection, &mut early);
            socket.keep(&early[taken..]);
        }
        self.sockets[slot] = Some(socket);
    }

    fn flush(&mut self) {
        let sockets = &mut self.sockets;
        let mut write = |connection: u32, bytes: &[u8]| match &mut sockets[connection as usize] {
            Some(socket) => socket.transport.write(bytes),
            None => Written::Failed,
        };
        self.hub.flush(QUANTUM_NANOS, &clock::monotonic_nanos, &mut write);
    }

    fn carry_out_effects(&mut self) {
        self.send_unsent();
        while let Some(effect) = self.hub.next_effect() {
            match effect {
                Effect::Send(shard, message) => self.send(shard, message),
                Effect::Publish(shards, delivery) => {
                    let bus = self.bus.clone();
                    bus.deliver(shards, &delivery, |shard, message| self.send(shard, message));
                }
                Effect::Review(request) => self.reviewer.begin(*request),
                Effect::LoadRoom(room) => {
                    // When the queue is full the hub asks again with its next sweep.
                    let _ = self.room_loads.try_send(room);
                }
                Effect::Moderated(moderated) => {
                    if let Some(audit) = &self.audit {
                        moderation::note(audit, &moderated);
                    }
                }
                Effect::Resume(connection) => {
                    let now = now();
                    self.resume(now, connection);
                }
                Effect::ShutDown(connection) => {
                    if let Some(socket) = self.socket_mut(connection) {
                        socket.transport.shut_down();
                    }
                }
                Effect::Close(connection) => {
                    if let Some(socket) = self.sockets.get_mut(connection as usize) {
                        // Closing a socket takes it out of the poll.
                        *socket = None;
                    }
                }
            }
        }
    }

    fn send(&mut self, shard: ShardIndex, message: Message) {
        if shard == self.index {
            let now = now();
            self.hub.handle(now, message);
            return;
        }
        let refused = match message {
            Message::Act(_) => self.bus.inbox(shard).push_request(message).err(),
            message => {
                self.send_surely(shard, message);
                None
            }
        };
        if let Some(Message::Act(act)) = refused {
            self.hub.refuse(act.connection, &act.request.request_id, &RATE_EXCEEDED);
        }
    }

    fn send_surely(&mut self, shard: ShardIndex, message: Message) {
        let unsent = &mut self.unsent[usize::from(shard)];
        if !unsent.is_empty() {
            unsent.push_back(message);
        } else if let Err(message) = self.bus.inbox(shard).try_push(message) {
            unsent.push_back(message);
        }
    }

    fn send_unsent(&mut self) {
        for (shard, unsent) in (0..).zip(&mut self.unsent) {
            while let Some(message) = unsent.pop_front() {
                if let Err(message) = self.bus.inbox(shard).try_push(message) {
                    unsent.push_front(message);
                    break;
                }
            }
        }
    }

    /// The shards that take no more deliveries, or for which some wait here.
    fn pressed(&self) -> ShardSet {
        let mut pressed = self.bus.pressed();
        for (shard, unsent) in (0..).zip(&self.unsent) {
            if !unsent.is_empty() {
                pressed.insert(shard);
            }
        }
        pressed
    }

    fn socket_mut(&mut self, connection: u32) -> Option<&mut Socket> {
        self.sockets.get_mut(connection as usize)?.as_mut()
    }
}

fn now() -> Now {
    Now { nanos: clock::monotonic_nanos(), wall: clock::now() }
}

#[cfg(test)]
mod tests;
