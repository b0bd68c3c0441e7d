//! The sockets between clients and shards: delays, partial writes, full buffers, clients that stop reading, hang up or
//! vanish. All by chance, from the seed.

use std::collections::{BTreeMap, VecDeque};

use hub::message::Written;

use crate::ClientKey;
use crate::clock::MILLISECOND;
use crate::dice::Dice;

/// Longest way of a piece of bytes from one end of a socket to the other.
const DELAY_MS_MAX: u64 = 20;

/// Something reaches one end of a socket.
#[derive(Debug)]
pub enum Arrival {
    /// Bytes of the client reach its shard.
    ToShard(Vec<u8>),
    /// Bytes of the shard are read by the client.
    ToClient(Vec<u8>),
    /// The shard may write again.
    Writable,
    /// The shard sees that the client has hung up.
    HungUp,
}

/// One direction of a socket: pieces that arrive in order, each after a while.
#[derive(Debug, Default)]
struct Direction {
    pieces: VecDeque<(u64, Vec<u8>)>,
}

impl Direction {
    fn push(&mut self, due: u64, bytes: Vec<u8>) {
        let last = self.pieces.back().map_or(0, |(due, _)| *due);
        self.pieces.push_back((due.max(last), bytes));
    }

    fn pop(&mut self, now: u64) -> Option<Vec<u8>> {
        let due = self.pieces.front().is_some_and(|(due, _)| *due <= now);
        if due { self.pieces.pop_front().map(|(_, bytes)| bytes) } else { None }
    }
}

#[derive(Debug)]
struct Socket {
    shard: usize,
    connection: u32,
    /// Most bytes that are written and not read.
    capacity_bytes: usize,
    buffered_bytes: usize,
    to_client: Direction,
    to_shard: Direction,
    /// The client does not read before this instant.
    stalled_until: u64,
    hangs_up_at: Option<u64>,
    /// The last write found the buffer full, and the shard has not been told since that it may write.
    waits: bool,
    /// Since when the shard could not write all that it wanted to.
    blocked_since: Option<u64>,
    last_was_blocked: bool,
    /// The shard has closed it.
    closed: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Network {
    sockets: BTreeMap<ClientKey, Socket>,
    by_connection: BTreeMap<(usize, u32), ClientKey>,
    dice: Dice,
    /// Sockets written to since [`Network::settle_writes`].
    touched: Vec<ClientKey>,
    /// A planted bug: writes sometimes claim a byte too much.
    pub loses_bytes: bool,
}

impl Network {
    /// No sockets yet.
    #[must_use]
    pub fn new(dice: Dice) -> Self {
        Self {
            sockets: BTreeMap::new(),
            by_connection: BTreeMap::new(),
            dice,
            touched: Vec::new(),
            loses_bytes: false,
        }
    }

    /// Connects a client with its connection on a shard.
    pub fn open(&mut self, client: ClientKey, shard: usize, connection: u32, capacity_bytes: usize) {
        let socket = Socket {
            shard,
            connection,
            capacity_bytes,
            buffered_bytes: 0,
            to_client: Direction::default(),
            to_shard: Direction::default(),
            stalled_until: 0,
            hangs_up_at: None,
            waits: false,
            blocked_since: None,
            last_was_blocked: false,
            closed: false,
        };
        self.sockets.insert(client, socket);
        self.by_connection.insert((shard, connection), client);
    }

    /// Whose connection this is.
    #[must_use]
    pub fn client(&self, shard: usize, connection: u32) -> Option<ClientKey> {
        self.by_connection.get(&(shard, connection)).copied()
    }

    /// Where a client's connection is, as long as the shard has it open.
    #[must_use]
    pub fn connection(&self, client: ClientKey) -> Option<(usize, u32)> {
        self.sockets
            .get(&client)
            .filter(|socket| !socket.closed)
            .map(|socket| (socket.shard, socket.connection))
    }

    /// A shard writes.
    pub fn write(&mut self, now: u64, shard: usize, connection: u32, bytes: &[u8]) -> Written {
        assert!(!bytes.is_empty(), "a hub writes nothing to connection {connection} of shard {shard}");
        let Some(client) = self.client(shard, connection) else { return Written::Failed };
        let Some(socket) = self.sockets.get_mut(&client) else { return Written::Failed };
        self.touched.push(client);
        let space = socket.capacity_bytes.saturating_sub(socket.buffered_bytes);
        socket.last_was_blocked = space == 0;
        if space == 0 {
            socket.waits = true;
            return Written::Blocked;
        }
        let mut count = bytes.len().min(space);
        if self.dice.chance(50) {
            count = usize::try_from(self.dice.between(1, count as u64)).unwrap_or(count);
        }
        let mut piece = bytes[..count].to_vec();
        socket.buffered_bytes += count;
        if self.loses_bytes && count > 1 && self.dice.chance(5) {
            piece.pop();
        }
        let due = now + self.dice.below(DELAY_MS_MAX) * MILLISECOND;
        socket.to_client.push(due, piece);
        Written::Bytes(count)
    }

    /// After a flush: who could not be written all to.
    pub fn settle_writes(&mut self, now: u64) {
        for client in std::mem::take(&mut self.touched) {
            if let Some(socket) = self.sockets.get_mut(&client) {
                socket.blocked_since = socket.last_was_blocked.then(|| socket.blocked_since.unwrap_or(now));
            }
        }
    }

    /// Since when a client's socket has not taken all that the shard has for it.
    #[must_use]
    pub fn blocked_since(&self, client: ClientKey) -> Option<u64> {
        self.sockets.get(&client).and_then(|socket| socket.blocked_since)
    }

    /// A client sends; the bytes may arrive in pieces.
    pub fn send(&mut self, now: u64, client: ClientKey, bytes: &[u8]) {
        let Some(socket) = self.sockets.get_mut(&client) else { return };
        let cut = if self.dice.chance(100) {
            usize::try_from(self.dice.below(bytes.len() as u64)).unwrap_or(0)
        } else {
            0
        };
        let (head, tail) = bytes.split_at(cut);
        for piece in [head, tail].into_iter().filter(|piece| !piece.is_empty()) {
            socket.to_shard.push(now + self.dice.below(DELAY_MS_MAX) * MILLISECOND, piece.to_vec());
        }
    }

    /// Bytes that no hub wrote reach a client: a planted bug.
    pub fn inject(&mut self, now: u64, client: ClientKey, bytes: &[u8]) {
        if let Some(socket) = self.sockets.get_mut(&client) {
            socket.buffered_bytes += bytes.len();
            socket.to_client.push(now, bytes.to_vec());
        }
    }

    /// A client stops reading until then.
    pub fn stall(&mut self, client: ClientKey, until: u64) {
        if let Some(socket) = self.sockets.get_mut(&client) {
            socket.stalled_until = until;
        }
    }

    /// When a client reads, or began to read, again.
    #[must_use]
    pub fn stalled_until(&self, client: ClientKey) -> u64 {
        self.sockets.get(&client).map_or(0, |socket| socket.stalled_until)
    }

    /// A client hangs up; its shard sees it a little later.
    pub fn hang_up(&mut self, now: u64, client: ClientKey) {
        let delay = self.dice.below(DELAY_MS_MAX) * MILLISECOND;
        if let Some(socket) = self.sockets.get_mut(&client) {
            socket.hangs_up_at.get_or_insert(now + delay);
        }
    }

    /// A shard has closed a connection; what is written already still arrives.
    pub fn close(&mut self, shard: usize, connection: u32) {
        if let Some(client) = self.by_connection.remove(&(shard, connection))
            && let Some(socket) = self.sockets.get_mut(&client)
        {
            socket.closed = true;
        }
    }

    /// The node was killed: all connections are gone, and what was on its way with them.
    pub fn lose_all(&mut self) {
        self.sockets.clear();
        self.by_connection.clear();
        self.touched.clear();
    }

    /// What arrives at this instant.
    pub fn tick(&mut self, now: u64) -> Vec<(ClientKey, Arrival)> {
        let mut arrivals = Vec::new();
        for (client, socket) in &mut self.sockets {
            while let Some(bytes) = socket.to_shard.pop(now) {
                arrivals.push((*client, Arrival::ToShard(bytes)));
            }
            if now >= socket.stalled_until {
                while let Some(bytes) = socket.to_client.pop(now) {
                    socket.buffered_bytes = socket.buffered_bytes.saturating_sub(bytes.len());
                    arrivals.push((*client, Arrival::ToClient(bytes)));
                }
            }
            if socket.waits && !socket.closed && socket.buffered_bytes < socket.capacity_bytes {
                socket.waits = false;
                arrivals.push((*client, Arrival::Writable));
            }
            if socket.hangs_up_at.is_some_and(|at| at <= now) && !socket.closed {
                arrivals.push((*client, Arrival::HungUp));
            }
        }
        let over = |socket: &Socket| socket.closed && socket.to_client.pieces.is_empty();
        self.sockets.retain(|_, socket| !over(socket));
        arrivals
    }
}
