//! One run: a scenario, a seed, perhaps a planted bug.

mod logging;
mod renewal;

use std::collections::BTreeMap;
use std::sync::Arc;

use hub::frame::{Opcode, encode_masked, encode_text};
use hub::message::{Join, Message, Placement, Publication, RoomKey, RoomSettings, ShardIndex, Verdict};
use hub::review::ReviewSettings;
use protocol::arn::Scope;
use protocol::capability::{Capabilities, Capability};
use protocol::id::Id;
use protocol::messaging::{Attributes, Moderation, encode_sender};

use crate::ClientKey;
use crate::auditor::{Ask, Auditor, ClientBook, Standing, content, request_id};
use crate::bug::Bug;
use crate::chat_log::LogBook;
use crate::checkers::{self, Checker, Violation};
use crate::clock::{MILLISECOND, SECOND, wall_at};
use crate::dice::Dice;
use crate::frames::{Heard, take_frame, text_of};
use crate::network::{Arrival, Network};
use crate::node::{LENIENT_HANDLER, Node, Notice};
use crate::outcome::{Failure, Outcome, TellsSeed};
use crate::spool::Spools;
use crate::trace::Trace;
use crate::workload::{CONFIGURATIONS, Request, Scenario, Step, Workload};

/// Shards of the node.
const SHARDS: ShardIndex = 3;
/// The answer to a handshake, as far as a hub knows.
const GREETING: &[u8] = b"101\n";
/// An id that a DELETE_MESSAGE may name: whether it exists is not looked at.
const SOME_MESSAGE: &str = "M2YcHkgffEvU";

/// A client's own end.
#[derive(Debug, Default)]
struct Peer {
    /// Read, and not a whole frame yet.
    unread: Vec<u8>,
    /// Arrived at the shard, and not a whole frame yet.
    unparsed: Vec<u8>,
    greeted: bool,
    asks: usize,
    /// The connection that this one replaces.
    replaces: Option<ClientKey>,
}

/// A user between the home's choice of a shard and the hand-over to it.
struct Handshake {
    due: u64,
    placement: Placement,
    /// How many frames the room had published when its home placed the connection.
    placed_at_frame: usize,
    guest: Guest,
    gives_up: bool,
    replaces: Option<ClientKey>,
}

/// What a token says.
struct Guest {
    room: usize,
    user_id: String,
    capabilities: Capabilities,
    session_end: u64,
}

struct Simulation {
    scenario: Scenario,
    node: Node,
    network: Network,
    workload: Workload,
    auditor: Auditor,
    trace: Trace,
    rooms: Vec<RoomKey>,
    /// Members that a room's home believes to be coming, so that it spreads the others.
    phantoms: Vec<Vec<Placement>>,
    settings_version: i64,
    handshakes: Vec<Handshake>,
    peers: BTreeMap<ClientKey, Peer>,
    /// Connections that are given up, and those that replace them.
    replaced: Vec<(ClientKey, ClientKey)>,
    logging_configurations: [Id; CONFIGURATIONS],
    log_book: LogBook,
    kills: u64,
}

/// Runs a scenario with a seed.
///
/// # Errors
/// The first rule that is broken, if any is.
pub fn run(scenario: Scenario, seed: u64, bug: Option<Bug>) -> Result<Outcome, Failure> {
    let _tells_seed = TellsSeed { scenario: scenario.name, seed };
    let mut simulation = Simulation::new(scenario, seed, bug);
    match simulation.run() {
        Ok(()) => Ok(simulation.outcome()),
        Err(violation) => Err(Failure { scenario: scenario.name, seed, violation }),
    }
}

impl Simulation {
    fn new(scenario: Scenario, seed: u64, bug: Option<Bug>) -> Self {
        let scope = Arc::new(Scope { account_id: "123456789012".into(), region: "us-west-2".into() });
        let room = |number: usize| RoomKey {
            scope: Arc::clone(&scope),
            id: Id::from_random(u128::from(seed) << 64 | number as u128),
        };
        let spools = Spools::new(bug, Dice::new(seed, 5));
        let node = Node::new(SHARDS, Dice::new(seed, 1), bug, Dice::new(seed, 2), spools);
        let mut network = Network::new(Dice::new(seed, 3));
        network.loses_bytes = bug == Some(Bug::LoseByte);
        let mut simulation = Self {
            scenario,
            node,
            network,
            workload: Workload::new(scenario, Dice::new(seed, 4)),
            auditor: Auditor::new(scenario.rooms),
            trace: Trace::default(),
            rooms: (0..scenario.rooms).map(room).collect(),
            phantoms: vec![Vec::new(); scenario.rooms],
            settings_version: 0,
            handshakes: Vec::new(),
            peers: BTreeMap::new(),
            replaced: Vec::new(),
            logging_configurations: [1, 2, 3].map(|number: u128| Id::from_random(number << 96)),
            log_book: LogBook::default(),
            kills: 0,
        };
        simulation.make_some_big();
        simulation
    }

    /// Lets a room's home believe in so many members to come that it spreads others over all shards.
    fn make_big(&mut self, room: usize) {
        let home = self.node.home(&self.rooms[room]);
        for number in 0.. {
            let user_id = format!("phantom {number}");
            let phantom = Guest { room, user_id, capabilities: Capabilities::default(), session_end: 0 };
            let placement = self.node.place(&self.join_of(&phantom));
            if usize::from(placement.shard) != home {
                self.node.tell_home(&self.rooms[room], left(&self.rooms[room], placement));
                return;
            }
            self.phantoms[room].push(placement);
        }
    }

    fn run(&mut self) -> Result<(), Violation> {
        for _ in 0..self.scenario.milliseconds {
            self.tick(true)?;
        }
        self.rest()?;
        checkers::on_rest(&self.auditor)?;
        self.end()
    }

    /// Nothing new happens, and everybody reads.
    fn rest(&mut self) -> Result<(), Violation> {
        self.node.spare();
        let now = self.node.clock().nanos();
        for client in self.peers.keys() {
            self.network.stall(*client, now);
        }
        for _ in 0..2 * checkers::OVERDUE_NANOS / MILLISECOND {
            self.tick(false)?;
        }
        Ok(())
    }

    /// Everybody leaves.
    fn end(&mut self) -> Result<(), Violation> {
        for client in self.peers.keys().copied().collect::<Vec<_>>() {
            self.hang_up(client);
        }
        for room in 0..self.rooms.len() {
            for phantom in std::mem::take(&mut self.phantoms[room]) {
                self.node.tell_home(&self.rooms[room], left(&self.rooms[room], phantom));
                self.tick(false)?;
            }
        }
        for _ in 0..8 * SECOND / MILLISECOND {
            self.tick(false)?;
        }
        let before = self.published();
        for room in 0..self.rooms.len() {
            self.publish(room, event(10));
        }
        for _ in 0..100 {
            self.tick(false)?;
        }
        checkers::on_end(&self.node, self.published() > before)
    }

    fn tick(&mut self, people: bool) -> Result<(), Violation> {
        self.node.clock().advance(MILLISECOND);
        let now = self.node.clock().nanos();
        if people {
            let open: Vec<ClientKey> = self.auditor.open_clients().map(|(client, _)| client).collect();
            for step in self.workload.steps(&open, self.node.shards()) {
                self.trace.note((now, &step));
                self.take_step(step);
            }
        }
        for (client, arrival) in self.network.tick(now) {
            if self.node.killed_on().is_some() {
                break;
            }
            self.arrive(client, arrival)?;
            self.take_notices()?;
        }
        self.hand_over();
        self.hang_up_replaced();
        self.drop_healthy();
        self.node.turn(&mut self.network);
        self.take_notices()?;
        if let Some(shard) = self.node.killed_on() {
            self.start_again(shard)?;
        }
        self.check(now)
    }

    fn check(&mut self, now: u64) -> Result<(), Violation> {
        for book in self.auditor.clients.values_mut() {
            book.may_be_closed |= now >= book.session_end;
        }
        for shard in 0..self.node.shards() {
            for (room, log_bytes) in self.node.hub(shard).room_log_bytes() {
                checkers::on_log(shard, room, log_bytes)?;
            }
        }
        self.log_book.on_tick(&self.node.spools().kept())?;
        checkers::on_tick(&self.auditor, &self.node, &self.network, now)
    }

    fn take_step(&mut self, step: Step) {
        let now = self.node.clock().nanos();
        match step {
            Step::Join { room, user_id, capabilities, session_ms, handshake_ms, gives_up } => {
                let capabilities = Capabilities::from_byte(capabilities).unwrap_or_default();
                let session_end = now + session_ms * MILLISECOND;
                let due = now + handshake_ms * MILLISECOND;
                self.place(due, Guest { room, user_id, capabilities, session_end }, gives_up, None);
            }
            Step::Rotate(client) => self.rotate(client),
            Step::HangUp(client) => self.hang_up(client),
            Step::Ask(client, request) => self.ask(client, &request),
            Step::Event(room) => self.publish(room, event(self.scenario.event_bytes)),
            Step::LogFailure(configuration, milliseconds) => {
                let configuration = self.logging_configurations[configuration];
                self.node.spools().kept().fail(configuration, now + milliseconds * MILLISECOND);
            }
            Step::KillAtRecord(records) => self.node.spools().kept().kill_after(records),
            Step::KillAtFrame(frames, after) => self.node.kill_at(frames, after),
            Step::Kick { room, user_id } => {
                let reason = Some("by the control plane".to_owned());
                self.publish(room, Publication::Moderation(Moderation::DisconnectUser { user_id, reason }));
            }
            Step::Stall(client, milliseconds) => self.network.stall(client, now + milliseconds * MILLISECOND),
            Step::Busy(shard, milliseconds) => self.node.keep_busy(shard, now + milliseconds * MILLISECOND),
            Step::Change { room, message_length_max, message_rate_max } => {
                self.settings_version += 1;
                let version = self.settings_version;
                let settings = RoomSettings {
                    version,
                    message_length_max,
                    message_rate_max,
                    ..self.first_settings(room)
                };
                let room = self.rooms[room].clone();
                self.node.tell_home(&room.clone(), Message::RoomChanged { room, settings });
            }
        }
    }

    fn place(&mut self, due: u64, guest: Guest, gives_up: bool, replaces: Option<ClientKey>) {
        let room = &self.rooms[guest.room];
        let mut placement = self.node.place(&self.join_of(&guest));
        let phantoms = &mut self.phantoms[guest.room];
        // Every third member of a big room takes the place of one that its home believed in.
        if phantoms.len() > 1
            && due.is_multiple_of(3)
            && let Some(phantom) = phantoms.pop()
        {
            placement = self.node.place_at_home(room, placement);
            self.node.tell_home(room, left(room, phantom));
        }
        let placed_at_frame = self.auditor.rooms[guest.room].frames.len();
        self.handshakes.push(Handshake { due, placement, placed_at_frame, guest, gives_up, replaces });
    }

    fn first_settings(&self, room: usize) -> RoomSettings {
        let (handler, fallback) = if room.is_multiple_of(2) {
            ("strict", Verdict::Deny)
        } else {
            (LENIENT_HANDLER, Verdict::Allow)
        };
        let review = self.scenario.is_reviewed.then(|| ReviewSettings { handler: handler.into(), fallback });
        let logging_configurations = self.logging_of(room);
        RoomSettings {
            version: 0,
            message_length_max: 500,
            message_rate_max: 100,
            review,
            logging_configurations,
        }
    }

    fn join_of(&self, guest: &Guest) -> Join {
        Join {
            room: self.rooms[guest.room].clone(),
            settings: self.first_settings(guest.room),
            account: None,
            user_id: guest.user_id.as_str().into(),
            sender: encode_sender(&guest.user_id, &Attributes::new()),
            client: [127, 0, 0, 1].into(),
            capabilities: guest.capabilities,
            session_end: wall_at(guest.session_end),
            // Every other user's clients take messages compressed.
            deflates: guest.user_id.bytes().map(u32::from).sum::<u32>() % 2 == 1,
            greeting: GREETING.to_vec(),
        }
    }

    fn hand_over(&mut self) {
        let now = self.node.clock().nanos();
        let (due, rest) =
            std::mem::take(&mut self.handshakes).into_iter().partition(|handshake| handshake.due <= now);
        self.handshakes = rest;
        let due: Vec<Handshake> = due;
        for handshake in due {
            if handshake.gives_up {
                let room = &self.rooms[handshake.guest.room];
                self.node.tell_home(room, left(room, handshake.placement));
            } else {
                self.adopt(handshake);
            }
        }
    }

    fn adopt(&mut self, handshake: Handshake) {
        let Handshake { placement, placed_at_frame, guest, replaces, .. } = handshake;
        let mut join = self.join_of(&guest);
        if self.node.strikes(Bug::GrantCapabilities, 1_000) {
            join.capabilities = Capability::ALL.into_iter().collect();
        }
        let Guest { room, user_id, capabilities, session_end } = guest;
        let shard = usize::from(placement.shard);
        let oldest = self.node.oldest_delivery(shard, &self.rooms[room]);
        let oldest = oldest.map(|delivery| text_of(&delivery.frame));
        let frames = &self.auditor.rooms[room];
        let joined_at_frame = oldest
            .and_then(|json| frames.by_id.get(crate::frames::member(&json, "Id")).copied())
            .unwrap_or(frames.frames.len());
        let connection = self.node.adopt(join, placement);
        let client = self.peers.len();
        self.network.open(client, shard, connection, self.scenario.buffer_bytes);
        let book = ClientBook {
            room,
            user_id,
            capabilities,
            session_end,
            shard,
            standing: Standing::Open,
            heard: Default::default(),
            placed_at_frame,
            joined_at_frame,
            owed_from: joined_at_frame,
            asks: BTreeMap::new(),
            may_be_closed: false,
            last_said: 0,
        };
        self.auditor.book_joined(client, book);
        self.peers.insert(client, Peer { replaces, ..Peer::default() });
    }

    fn hang_up(&mut self, client: ClientKey) {
        let now = self.node.clock().nanos();
        self.network.hang_up(now, client);
        if let Some(book) = self.auditor.clients.get_mut(&client)
            && book.standing != Standing::Closed
        {
            book.standing = Standing::Gone;
        }
    }

    fn ask(&mut self, client: ClientKey, request: &Request) {
        let now = self.node.clock().nanos();
        let (Some(peer), Some(book)) = (self.peers.get_mut(&client), self.auditor.clients.get_mut(&client))
        else {
            return;
        };
        peer.asks += 1;
        let id = request_id(client, peer.asks);
        let (members, capability, invalid) = match request {
            Request::Message => (
                format!(r#""Action":"SEND_MESSAGE","Content":"{}""#, content(&id)),
                Some(Capability::SendMessage),
                false,
            ),
            Request::LongMessage => {
                let content = "x".repeat(501);
                (
                    format!(r#""Action":"SEND_MESSAGE","Content":"{content}""#),
                    Some(Capability::SendMessage),
                    true,
                )
            }
            Request::Nonsense => (r#""Action":"DANCE""#.to_owned(), None, true),
            Request::Delete => {
                let members = format!(r#""Action":"DELETE_MESSAGE","Id":"{SOME_MESSAGE}""#);
                (members, Some(Capability::DeleteMessage), false)
            }
            Request::Kick(user) => {
                let members =
                    format!(r#""Action":"DISCONNECT_USER","UserId":"{user}","Reason":"by {client}""#);
                (members, Some(Capability::DisconnectUser), false)
            }
        };
        book.asks.insert(id.clone(), Ask { capability, invalid, at: now, answers: 0, number: peer.asks });
        let text = format!(r#"{{{members},"RequestId":"{id}"}}"#);
        self.network.send(now, client, &encode_masked(true, Opcode::Text, [1, 2, 3, 4], text.as_bytes()));
    }

    fn publish(&mut self, room: usize, publication: Publication) {
        let settings = Box::new(self.first_settings(room));
        let room = self.rooms[room].clone();
        if self.node.takes_requests(&room) {
            let (publication, reply) = (Box::new(publication), self.node.reply(&room));
            self.node.tell_home(&room.clone(), Message::Publish { room, settings, publication, reply });
        }
    }

    fn arrive(&mut self, client: ClientKey, arrival: Arrival) -> Result<(), Violation> {
        match arrival {
            Arrival::ToClient(bytes) => return self.read(client, &bytes),
            Arrival::ToShard(bytes) => self.receive(client, &bytes),
            Arrival::Writable => {
                if let Some((shard, connection)) = self.network.connection(client) {
                    self.node.writable(shard, connection);
                }
            }
            Arrival::HungUp => {
                if let Some((shard, connection)) = self.network.connection(client) {
                    self.node.disconnected(shard, connection);
                }
            }
        }
        Ok(())
    }

    fn receive(&mut self, client: ClientKey, bytes: &[u8]) {
        let Some((shard, connection)) = self.network.connection(client) else { return };
        let Some(peer) = self.peers.get_mut(&client) else { return };
        peer.unparsed.extend_from_slice(bytes);
        let taken = self.node.received(shard, connection, &mut peer.unparsed);
        peer.unparsed.drain(..taken);
    }

    fn read(&mut self, client: ClientKey, bytes: &[u8]) -> Result<(), Violation> {
        let now = self.node.clock().nanos();
        self.trace.note((now, client, bytes));
        let Some(peer) = self.peers.get_mut(&client) else { return Ok(()) };
        peer.unread.extend_from_slice(bytes);
        if !peer.greeted {
            let Some(rest) = peer.unread.strip_prefix(GREETING) else { return Ok(()) };
            peer.unread = rest.to_vec();
            peer.greeted = true;
            if let Some(old) = peer.replaces {
                // As official SDKs do: what has not come through the old one by now is not read any more.
                self.replaced.push((old, client));
            }
        }
        loop {
            let Some(peer) = self.peers.get_mut(&client) else { return Ok(()) };
            let heard = take_frame(&mut peer.unread).map_err(|text| Violation {
                checker: Checker::Genuine,
                text: format!("client {client}: {text}"),
            })?;
            let Some(heard) = heard else { return Ok(()) };
            checkers::on_heard(&mut self.auditor, client, &heard)?;
            if matches!(heard, Heard::Close(..)) {
                if self.node.strikes(Bug::WriteAfterClose, 300) {
                    self.network.inject(now, client, &encode_text("{}"));
                }
                self.hang_up(client);
            }
        }
    }

    /// The planted bug: a connection is closed although all is well with it.
    fn drop_healthy(&mut self) {
        if self.node.strikes(Bug::DropHealthy, 1) {
            let first = self.auditor.open_clients().map(|(client, _)| client).next();
            if let Some((shard, connection)) = first.and_then(|client| self.network.connection(client)) {
                self.node.disconnected(shard, connection);
            }
        }
    }

    fn take_notices(&mut self) -> Result<(), Violation> {
        let now = self.node.clock().nanos();
        for notice in std::mem::take(&mut self.node.notices) {
            match notice {
                Notice::Published(delivery) => {
                    let room = self.rooms.iter().position(|room| *room == delivery.room).unwrap_or(0);
                    self.trace.note((now, room, &delivery.frame));
                    let json = text_of(&delivery.frame);
                    self.check_log(&delivery.room, &json)?;
                    checkers::on_published(&mut self.auditor, now, room, &json, delivery.frame.len())?;
                }
                Notice::Denied(id) => {
                    self.auditor.denied.insert(id);
                }
                Notice::Changed(id) => {
                    self.auditor.changed.insert(id);
                }
                Notice::Told(room, id) => {
                    self.trace.note((now, "told", &id));
                    let room = self.logged_room(&room);
                    self.log_book.on_told(&self.node.spools().kept(), room, &id)?;
                }
                Notice::Unlogged(request_id) => {
                    self.auditor.unlogged.insert(request_id);
                }
                Notice::Resumed(shard, connection) => {
                    if let Some(client) = self.network.client(shard, connection) {
                        self.receive(client, &[]);
                    }
                }
                Notice::ShutDown(shard, connection) => self.trace.note((now, "shut down", shard, connection)),
                Notice::Closed(shard, connection) => {
                    self.trace.note((now, "closed", shard, connection));
                    if let Some(client) = self.network.client(shard, connection) {
                        checkers::on_closed(&mut self.auditor, &self.network, now, client)?;
                        self.network.close(shard, connection);
                    }
                }
            }
        }
        Ok(())
    }

    fn published(&self) -> usize {
        self.auditor.rooms.iter().map(|room| room.frames.len()).sum()
    }

    fn outcome(&self) -> Outcome {
        let counters: Vec<_> = (0..self.node.shards()).map(|shard| self.node.hub(shard).counters()).collect();
        let books = self.auditor.clients.values().chain(self.auditor.former_clients.values());
        Outcome {
            trace: self.trace.hash(),
            events: self.trace.events(),
            clients: self.peers.len(),
            published: self.published(),
            heard: books.map(|book| book.heard.len()).sum(),
            dropped: counters.iter().map(|counters| counters.slow_readers_dropped).sum(),
            reviews_refused: counters.iter().map(|counters| counters.reviews_refused).sum(),
            fallbacks: counters.iter().map(|counters| counters.review_fallbacks).sum(),
            logged: self.log_book.records,
            logged_unheard: self.log_book.unheard,
            logged_orphans: self.log_book.orphans,
            unlogged: self.auditor.unlogged.len(),
            kills: self.kills,
        }
    }
}

fn left(room: &RoomKey, placement: Placement) -> Message {
    Message::Left { room: room.clone(), shard: placement.shard, entry: placement.entry }
}

fn event(bytes: usize) -> Publication {
    let attributes = [("filling".to_owned(), "x".repeat(bytes))].into_iter().collect();
    Publication::Event { name: "event".to_owned(), attributes: Some(attributes) }
}
