//! A node in memory: real hubs, a clock that stands until a test moves it, sockets that take as much as a test allows.
//!
//! Whatever a test does to the node is followed by [`Node::settle`]: effects are carried out, inboxes emptied and
//! passes run until nothing is left to do at this instant.

mod heard;

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, mpsc};

use hub::account::AccountRates;
use hub::chat_log::LoggingConfigurations;
use hub::frame::{Opcode, encode_masked};
use hub::message::{
    Effect, Join, Message, Now, Placement, Publication, Reply, RoomKey, RoomSettings, ShardIndex, ShardSet,
    Unpublished, Written,
};
use hub::review::{Outcome, ReviewLimits, ReviewRequest};
use hub::{Hub, Settings};
use protocol::arn::Scope;
use protocol::capability::{Capabilities, Capability};
use protocol::id::Id;
use protocol::limit::edge::{COALESCING_WINDOW_MS, PASS_QUANTUM_MICROS};
use protocol::messaging::{Attributes, encode_sender};
use protocol::time::Timestamp;

pub(crate) use self::heard::{Heard, decode};

pub(crate) const MILLISECOND: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000_000_000;
/// The clock begins here, so that nothing relies on it beginning at 0.
const START: u64 = 1_000 * SECOND;
/// 2022-12-02T08:25:51Z at [`START`].
const WALL_AT_START: u64 = 1_669_969_551 * SECOND;
/// What a handshake is answered with, as far as a hub knows.
pub(crate) const GREETING: &[u8] = b"101\n";

/// Who joins, and what the token says.
#[derive(Clone)]
pub(crate) struct Guest {
    pub(crate) room: RoomKey,
    pub(crate) user_id: String,
    pub(crate) attributes: Attributes,
    pub(crate) capabilities: Capabilities,
    pub(crate) session_seconds: u64,
    pub(crate) account: Option<Arc<AccountRates>>,
    pub(crate) deflates: bool,
}

impl Guest {
    /// A user of `room` who may do everything for an hour.
    pub(crate) fn new(room: &RoomKey, user_id: &str) -> Self {
        Self {
            room: room.clone(),
            user_id: user_id.to_owned(),
            attributes: Attributes::new(),
            capabilities: Capability::ALL.into_iter().collect(),
            session_seconds: 3_600,
            account: None,
            deflates: false,
        }
    }
}

/// One socket, seen from both ends.
struct Client {
    shard: usize,
    connection: u32,
    /// Bytes the socket still takes.
    room_bytes: usize,
    /// Most bytes of one write.
    write_bytes_max: usize,
    broken: bool,
    /// What it has sent and its shard has not taken yet.
    untaken: Vec<u8>,
    received: Vec<u8>,
    writes: Vec<usize>,
    refused_writes: usize,
    shut_down: bool,
    closed: bool,
}

/// A test's name for a client.
pub(crate) type ClientKey = usize;

/// See the module's documentation.
pub(crate) struct Node {
    hubs: Vec<Hub>,
    inboxes: Vec<VecDeque<Message>>,
    clock: Cell<u64>,
    /// How long one write takes.
    pub(crate) write_nanos: u64,
    clients: Vec<Client>,
    by_connection: BTreeMap<(usize, u32), ClientKey>,
    /// Rooms whose settings were asked for.
    pub(crate) loads: Vec<RoomKey>,
    /// Messages whose review was asked for.
    pub(crate) reviews: VecDeque<ReviewRequest>,
    /// The shards each published frame went to.
    pub(crate) published: Vec<ShardSet>,
    /// Members that shards said to have left.
    pub(crate) left: usize,
}

impl Node {
    pub(crate) fn new(shards: ShardIndex) -> Self {
        Self::with(shards, |_| {})
    }

    pub(crate) fn with(shards: ShardIndex, change: impl Fn(&mut Settings)) -> Self {
        let hubs: Vec<Hub> =
            (0..shards).map(|shard| Hub::new(hub_settings(shard, shards, &change))).collect();
        Self {
            inboxes: hubs.iter().map(|_| VecDeque::new()).collect(),
            hubs,
            clock: Cell::new(START),
            write_nanos: 0,
            clients: Vec::new(),
            by_connection: BTreeMap::new(),
            loads: Vec::new(),
            reviews: VecDeque::new(),
            published: Vec::new(),
            left: 0,
        }
    }

    pub(crate) fn now(&self) -> Now {
        let nanos = self.clock.get();
        Now { nanos, wall: Timestamp::from_nanos(WALL_AT_START + nanos - START) }
    }

    pub(crate) fn hub(&mut self, shard: usize) -> &mut Hub {
        &mut self.hubs[shard]
    }

    pub(crate) fn home(&self, room: &RoomKey) -> usize {
        usize::from(room.home(self.shards()))
    }

    fn shards(&self) -> ShardIndex {
        ShardIndex::try_from(self.hubs.len()).expect("few shards")
    }

    /// The room's home chooses a shard for a connection.
    pub(crate) fn place(&mut self, guest: &Guest) -> Placement {
        let (home, now) = (self.home(&guest.room), self.now());
        self.hubs[home].place(now, &join_of(guest, now))
    }

    /// A connection that was placed is given up.
    pub(crate) fn give_up(&mut self, room: &RoomKey, placement: Placement) {
        let Placement { shard, entry, .. } = placement;
        let (home, now) = (self.home(room), self.now());
        self.hubs[home].handle(now, Message::Left { room: room.clone(), shard, entry });
    }

    /// A connection is placed on a given shard: the home is made to believe that its own is full.
    pub(crate) fn place_on(&mut self, shard: usize, guest: &Guest) -> Placement {
        let mut strangers = Vec::new();
        loop {
            let user_id = format!("stranger {}", strangers.len());
            let placement = self.place(&Guest { user_id, ..guest.clone() });
            if usize::from(placement.shard) == shard {
                self.give_up(&guest.room, placement);
                break;
            }
            strangers.push(placement);
        }
        // The home stands where it stood before the last stranger, and chooses as it did then.
        let placement = self.place(guest);
        assert_eq!(usize::from(placement.shard), shard);
        strangers.into_iter().for_each(|stranger| self.give_up(&guest.room, stranger));
        placement
    }

    /// Joins on the shard the room's home chooses.
    pub(crate) fn join(&mut self, guest: &Guest) -> ClientKey {
        let placement = self.place(guest);
        self.adopt(guest, placement)
    }

    /// Joins on a given shard.
    pub(crate) fn join_on(&mut self, shard: usize, guest: &Guest) -> ClientKey {
        let placement = self.place_on(shard, guest);
        self.adopt(guest, placement)
    }

    /// Joins on the shard the room's home chooses, and does not wait for the greeting.
    pub(crate) fn join_without_waiting(&mut self, guest: &Guest) -> ClientKey {
        let placement = self.place(guest);
        let key = self.adopt_without_settling(guest, placement);
        self.settle();
        key
    }

    /// The shard that was chosen takes over, and the client waits until it is greeted.
    pub(crate) fn adopt(&mut self, guest: &Guest, placement: Placement) -> ClientKey {
        let key = self.adopt_without_settling(guest, placement);
        self.settle();
        if !self.is_greeted(key) {
            self.advance_ms(placement.hold_ms);
        }
        key
    }

    /// Whether anything at all has been written to the client.
    pub(crate) fn is_greeted(&self, client: ClientKey) -> bool {
        !self.clients[client].writes.is_empty()
    }

    /// The same, and nothing else happens yet.
    pub(crate) fn adopt_without_settling(&mut self, guest: &Guest, placement: Placement) -> ClientKey {
        let (shard, now) = (usize::from(placement.shard), self.now());
        let connection = self.hubs[shard].adopt(now, join_of(guest, now), placement);
        let key = self.clients.len();
        self.clients.push(Client {
            shard,
            connection,
            room_bytes: usize::MAX,
            write_bytes_max: usize::MAX,
            broken: false,
            untaken: Vec::new(),
            received: Vec::new(),
            writes: Vec::new(),
            refused_writes: 0,
            shut_down: false,
            closed: false,
        });
        self.by_connection.insert((shard, connection), key);
        key
    }

    /// The client sends a text message.
    pub(crate) fn say(&mut self, client: ClientKey, text: &str) {
        self.send(client, &encode_masked(true, Opcode::Text, [1, 2, 3, 4], text.as_bytes()));
    }

    /// The client sends SEND_MESSAGE with a RequestId.
    pub(crate) fn send_message(&mut self, client: ClientKey, content: &str, request_id: &str) {
        let text = format!(r#"{{"Action":"SEND_MESSAGE","Content":"{content}","RequestId":"{request_id}"}}"#);
        self.say(client, &text);
    }

    /// The client's SEND_MESSAGE arrives, and nothing is done about it yet.
    pub(crate) fn send_quietly(&mut self, client: ClientKey, content: &str) {
        let text = format!(r#"{{"Action":"SEND_MESSAGE","Content":"{content}"}}"#);
        self.receive(client, &encode_masked(true, Opcode::Text, [1, 2, 3, 4], text.as_bytes()));
    }

    /// The client sends bytes.
    pub(crate) fn send(&mut self, client: ClientKey, bytes: &[u8]) {
        self.receive(client, bytes);
        self.settle();
    }

    /// The bytes of a client arrive behind what of it was not taken yet, and nothing is done about it yet.
    pub(crate) fn receive(&mut self, client: ClientKey, bytes: &[u8]) {
        let now = self.now();
        let Client { shard, connection, untaken, .. } = &mut self.clients[client];
        untaken.extend_from_slice(bytes);
        if !self.hubs[*shard].is_paused(*connection) {
            let taken = self.hubs[*shard].received(now, *connection, untaken);
            untaken.drain(..taken);
        }
    }

    /// How many bytes of the client its shard has not taken yet.
    pub(crate) fn untaken_bytes(&self, client: ClientKey) -> usize {
        self.clients[client].untaken.len()
    }

    /// The client hangs up without a word.
    pub(crate) fn hang_up(&mut self, client: ClientKey) {
        let Client { shard, connection, .. } = self.clients[client];
        self.hubs[shard].disconnected(connection);
        self.settle();
    }

    /// From now on the client's socket takes only so many bytes more.
    pub(crate) fn stall(&mut self, client: ClientKey, room_bytes: usize) {
        self.clients[client].room_bytes = room_bytes;
    }

    /// The client's socket takes `room_bytes` more, and the hub is told.
    pub(crate) fn resume(&mut self, client: ClientKey, room_bytes: usize) {
        let Client { shard, connection, .. } = self.clients[client];
        self.clients[client].room_bytes = room_bytes;
        self.hubs[shard].writable(connection);
        self.settle();
    }

    /// Writes to this client take at most so many bytes each.
    pub(crate) fn limit_writes(&mut self, client: ClientKey, write_bytes_max: usize) {
        self.clients[client].write_bytes_max = write_bytes_max;
    }

    /// Writes to this client fail from now on.
    pub(crate) fn break_socket(&mut self, client: ClientKey) {
        self.clients[client].broken = true;
    }

    /// A message reaches a shard.
    pub(crate) fn tell(&mut self, shard: usize, message: Message) {
        self.inboxes[shard].push_back(message);
        self.settle();
    }

    /// A review is over.
    pub(crate) fn reviewed(&mut self, request: &ReviewRequest, outcome: Outcome) {
        let (home, room) = (self.home(&request.room), request.room.clone());
        self.tell(home, Message::Reviewed { room, ticket: request.ticket, outcome });
    }

    /// The control plane publishes.
    pub(crate) fn publish(&mut self, room: &RoomKey, publication: Publication) -> Result<Id, Unpublished> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let reply = Reply::new(move |result| sender.send(result).expect("the test waits"));
        let home = self.home(room);
        let (room, settings) = (room.clone(), Box::new(settings(0)));
        self.tell(home, Message::Publish { room, settings, publication: Box::new(publication), reply });
        receiver.try_recv().expect("an answer has come")
    }

    /// An application event of a given name.
    pub(crate) fn event(&mut self, room: &RoomKey, name: &str) -> Result<Id, Unpublished> {
        self.publish(room, Publication::Event { name: name.to_owned(), attributes: None })
    }

    /// A message is waiting in no inbox, and no pass is due.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10_000 {
            let mut busy = false;
            for shard in 0..self.hubs.len() {
                busy |= self.take_inbox(shard);
                let due = self.hubs[shard].next_due();
                if due.is_some_and(|due| due <= self.clock.get()) {
                    self.flush(shard);
                    busy = true;
                }
            }
            if !busy {
                return;
            }
        }
        panic!("the node does not come to rest");
    }

    /// Empties a shard's inbox; whether there was anything.
    pub(crate) fn take_inbox(&mut self, shard: usize) -> bool {
        let mut busy = self.carry_out(shard);
        while let Some(message) = self.inboxes[shard].pop_front() {
            let now = self.now();
            self.hubs[shard].handle(now, message);
            self.carry_out(shard);
            busy = true;
        }
        busy
    }

    /// One turn of writing on a shard.
    pub(crate) fn flush(&mut self, shard: usize) {
        let Self { hubs, clients, by_connection, clock, write_nanos, .. } = self;
        let mut write = |connection: u32, bytes: &[u8]| {
            clock.set(clock.get() + *write_nanos);
            let client = by_connection.get(&(shard, connection)).expect("only to open sockets");
            clients[*client].take(bytes)
        };
        hubs[shard].flush(PASS_QUANTUM_MICROS * 1_000, &|| clock.get(), &mut write);
        self.carry_out(shard);
    }

    /// Carries out what a hub wants done; whether there was anything.
    pub(crate) fn carry_out(&mut self, shard: usize) -> bool {
        let mut busy = false;
        while let Some(effect) = self.hubs[shard].next_effect() {
            busy = true;
            match effect {
                Effect::Send(to, message) => {
                    self.left += usize::from(matches!(message, Message::Left { .. }));
                    self.inboxes[usize::from(to)].push_back(message);
                }
                Effect::Publish(shards, delivery) => {
                    self.published.push(shards);
                    for to in (0..self.shards()).filter(|to| shards.contains(*to)) {
                        self.inboxes[usize::from(to)].push_back(Message::Deliver(Arc::clone(&delivery)));
                    }
                }
                Effect::LoadRoom(room) => self.loads.push(room),
                Effect::Moderated(_) => {}
                Effect::Review(request) => self.reviews.push_back(*request),
                Effect::Resume(connection) => {
                    let client = self.by_connection[&(shard, connection)];
                    self.receive(client, &[]);
                }
                Effect::ShutDown(connection) => self.client_of(shard, connection).shut_down = true,
                Effect::Close(connection) => {
                    self.client_of(shard, connection).closed = true;
                    self.by_connection.remove(&(shard, connection));
                }
            }
        }
        busy
    }

    fn client_of(&mut self, shard: usize, connection: u32) -> &mut Client {
        let key = self.by_connection.get(&(shard, connection)).expect("effects name open sockets");
        &mut self.clients[*key]
    }

    /// Time goes on, with everything that falls due meanwhile.
    pub(crate) fn advance_ms(&mut self, milliseconds: u64) {
        let end = self.clock.get() + milliseconds * MILLISECOND;
        while let Some(due) = self.hubs.iter().filter_map(Hub::next_due).min().filter(|due| *due <= end) {
            self.clock.set(self.clock.get().max(due));
            self.settle();
        }
        self.clock.set(end);
        self.settle();
    }

    /// Time goes on by whole seconds, with a sweep after each.
    pub(crate) fn advance_seconds(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.advance_ms(1_000);
            self.sweep();
        }
    }

    /// One sweep of all shards.
    pub(crate) fn sweep(&mut self) {
        let now = self.now();
        for hub in &mut self.hubs {
            hub.sweep(now);
        }
        self.settle();
    }

    /// What the client has read since it was last asked. Its first bytes must be the greeting.
    pub(crate) fn heard(&mut self, client: ClientKey) -> Vec<Heard> {
        let mut bytes = std::mem::take(&mut self.clients[client].received);
        if let Some(rest) = bytes.strip_prefix(GREETING) {
            bytes = rest.to_vec();
        }
        let (frames, rest) = decode(&bytes);
        self.clients[client].received = rest.to_vec();
        frames
    }

    /// The bytes the client has read since it was last asked.
    pub(crate) fn bytes(&mut self, client: ClientKey) -> Vec<u8> {
        std::mem::take(&mut self.clients[client].received)
    }

    /// The lengths of the writes to this client since it was last asked.
    pub(crate) fn writes(&mut self, client: ClientKey) -> Vec<usize> {
        std::mem::take(&mut self.clients[client].writes)
    }

    /// How many writes to this client found its socket full.
    pub(crate) fn refused_writes(&self, client: ClientKey) -> usize {
        self.clients[client].refused_writes
    }

    /// Whether the server has closed the socket.
    pub(crate) fn is_closed(&self, client: ClientKey) -> bool {
        self.clients[client].closed
    }

    /// Whether the server has closed its writing side.
    pub(crate) fn is_shut_down(&self, client: ClientKey) -> bool {
        self.clients[client].shut_down
    }

    /// How much memory a room's log holds on a shard; `None` when there is none.
    pub(crate) fn log_bytes(&self, shard: usize, room: &RoomKey) -> Option<usize> {
        self.hubs[shard].room_log_bytes().find(|(key, _)| *key == room).map(|(_, bytes)| bytes)
    }

    /// Where the client's connection is.
    pub(crate) fn connection(&self, client: ClientKey) -> (usize, u32) {
        (self.clients[client].shard, self.clients[client].connection)
    }
}

impl Client {
    fn take(&mut self, bytes: &[u8]) -> Written {
        assert!(!bytes.is_empty(), "an empty write");
        assert!(!self.shut_down, "a write after the writing side was shut down");
        let count = bytes.len().min(self.write_bytes_max).min(self.room_bytes);
        if self.broken {
            return Written::Failed;
        }
        if count == 0 {
            self.refused_writes += 1;
            return Written::Blocked;
        }
        self.room_bytes = self.room_bytes.saturating_sub(count);
        self.received.extend_from_slice(&bytes[..count]);
        self.writes.push(count);
        Written::Bytes(count)
    }
}

fn hub_settings(shard: ShardIndex, shards: ShardIndex, change: &impl Fn(&mut Settings)) -> Settings {
    let mut settings = Settings {
        shard,
        shards,
        coalescing_window_nanos: COALESCING_WINDOW_MS * MILLISECOND,
        rates_lifted: false,
        reviews: ReviewLimits::default(),
        seed: [shard + 1; 32],
    };
    change(&mut settings);
    settings
}

/// The settings of a room as AWS makes it, but for a rate that tests do not meet by chance.
pub(crate) fn settings(version: i64) -> RoomSettings {
    RoomSettings {
        version,
        message_length_max: 500,
        message_rate_max: 100,
        review: None,
        logging_configurations: LoggingConfigurations::default(),
    }
}

fn join_of(guest: &Guest, now: Now) -> Join {
    Join {
        room: guest.room.clone(),
        settings: settings(0),
        account: guest.account.clone(),
        user_id: guest.user_id.as_str().into(),
        sender: encode_sender(&guest.user_id, &guest.attributes),
        client: [203, 0, 113, 7].into(),
        capabilities: guest.capabilities,
        session_end: now.wall.plus_seconds(guest.session_seconds),
        deflates: guest.deflates,
        greeting: GREETING.to_vec(),
    }
}

/// A room of its own for each number.
pub(crate) fn room(number: u128) -> RoomKey {
    let scope = Scope { account_id: "123456789012".into(), region: "us-west-2".into() };
    RoomKey { scope: Arc::new(scope), id: Id::from_random(number) }
}
