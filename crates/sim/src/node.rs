//! One node: many real hubs, and between them what a server puts there: inboxes of limited length, the bus, the loop that
//! takes, flushes and sweeps. Messages take a while, keep their order from one shard to another, and mix with those of
//! others; a shard may be busy elsewhere for a while.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hub::message::{
    Delivery, Effect, Join, Message, Placement, Reply, RoomKey, SHARDS_MAX, ShardIndex, ShardSet,
};
use hub::review::{Outcome, ReviewLimits, ReviewPlaces, ReviewRequest};
use hub::{Hub, Settings};
use protocol::limit::edge::{COALESCING_WINDOW_MS, PASS_QUANTUM_MICROS};
use protocol::messaging::RATE_EXCEEDED;

use crate::bug::Bug;
use crate::clock::{Clock, MILLISECOND, SECOND};
use crate::dice::Dice;
use crate::network::Network;
use crate::spool::Spools;

/// Entries of an inbox up to which requests are taken. The three are the server's limits at a scale that a short
/// simulation can reach.
pub const INBOX_REQUESTS_MAX: usize = 128;
/// Entries of an inbox up to which rooms may publish to it.
pub const INBOX_DELIVERIES_MAX: usize = 192;
/// Entries of an inbox.
pub const INBOX_MAX: usize = 256;
/// Entries that a shard takes in one turn.
const TURN_ENTRIES_MAX: usize = 32;
/// Longest way of a message from one shard to another.
const LINK_MS_MAX: u64 = 10;

/// Longest review.
const REVIEW_MS_MAX: u64 = 250;
/// Messages of a room that may be under review: few enough for a short simulation to reach.
const REVIEWS_PER_ROOM_MAX: usize = 4;
/// Messages of all rooms that may be under review.
pub const REVIEWS_PER_NODE_MAX: usize = 10;
/// Whose failures allow a message; those of any other handler deny it.
pub const LENIENT_HANDLER: &str = "lenient";
/// What handlers say instead of the sender.
pub const CHANGED_CONTENT: &str = "changed";

/// What the outside gets to know of what the hubs do.
#[derive(Debug)]
pub enum Notice {
    /// A room's home has published a frame.
    Published(Arc<Delivery>),
    /// A message was denied in review, or failed in it where that is to deny.
    Denied(String),
    /// A message got other words in review.
    Changed(String),
    /// The control plane was told that an event of this id is published.
    Told(RoomKey, String),
    /// A request was refused since it could not be logged.
    Unlogged(String),
    /// A shard reads a connection again that it had paused.
    Resumed(usize, u32),
    /// A shard has shut down its writing side.
    ShutDown(usize, u32),
    /// A shard has closed a connection.
    Closed(usize, u32),
}

/// A message on its way into an inbox, or in it.
struct Entry {
    due: u64,
    sequence: u64,
    message: Message,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.sequence).cmp(&(other.due, other.sequence))
    }
}

struct Shard {
    hub: Hub,
    inbox: BinaryHeap<Reverse<Entry>>,
    /// When the last message to each other shard arrives there: the next one arrives later.
    links: [u64; SHARDS_MAX],
    /// Busy with something else until then.
    busy_until: u64,
    sweeps_at: u64,
}

fn make_shards(shards: ShardIndex, clock: &Clock, dice: &mut Dice, spools: &Spools) -> Vec<Shard> {
    let places = Arc::new(ReviewPlaces::new(REVIEWS_PER_NODE_MAX));
    let shard = |shard| {
        let settings = Settings {
            shard,
            shards,
            coalescing_window_nanos: COALESCING_WINDOW_MS * MILLISECOND,
            rates_lifted: false,
            reviews: ReviewLimits { per_room_max: REVIEWS_PER_ROOM_MAX, places: Arc::clone(&places) },
            seed: dice.seed(),
        };
        Shard {
            hub: Hub::new(settings).with_chat_log(spools.chat_log()),
            inbox: BinaryHeap::new(),
            links: [0; SHARDS_MAX],
            busy_until: 0,
            sweeps_at: clock.nanos() + SECOND,
        }
    };
    (0..shards).map(shard).collect()
}

/// See the module's documentation.
pub struct Node {
    shards: Vec<Shard>,
    /// Outcomes of reviews that are not over yet.
    reviews: BinaryHeap<Reverse<Entry>>,
    clock: Clock,
    dice: Dice,
    sequence: u64,
    bug: Option<Bug>,
    /// For the bugs alone: without one, nothing else changes.
    bug_dice: Dice,
    spools: Spools,
    /// What the control plane was told since the last look.
    told: Told,
    /// The node is killed at this frame: how many are published before it, and whether it is, too.
    killed_at: Option<(u64, bool)>,
    /// The shard that was at work when the node was killed.
    killed_on: Option<usize>,
    /// What has happened since it was last taken.
    pub notices: Vec<Notice>,
}

/// Rooms, and the ids of their events.
type Told = Arc<Mutex<Vec<(RoomKey, String)>>>;

impl Node {
    /// A node of so many shards.
    #[must_use]
    pub fn new(shards: ShardIndex, mut dice: Dice, bug: Option<Bug>, bug_dice: Dice, spools: Spools) -> Self {
        let clock = Clock::new();
        Self {
            shards: make_shards(shards, &clock, &mut dice, &spools),
            reviews: BinaryHeap::new(),
            clock,
            dice,
            sequence: 0,
            bug,
            bug_dice,
            spools,
            told: Told::default(),
            killed_at: None,
            killed_on: None,
            notices: Vec::new(),
        }
    }

    /// The node is to be killed when it has published so many more frames, and one more if `after`: its members may have that
    /// one or not.
    pub fn kill_at(&mut self, frames: u64, after: bool) {
        self.killed_at = Some((frames, after));
    }

    /// It is not to be killed after all.
    pub fn spare(&mut self) {
        self.killed_at = None;
        self.spools.kept().spare();
    }

    /// The shard that was at work when the node was killed, if it was: nothing happens any more until it is started again.
    #[must_use]
    pub fn killed_on(&self) -> Option<usize> {
        self.killed_on
    }

    /// Another process takes the place of the one that was killed. Nothing is left of that but what was logged.
    pub fn start_again(&mut self) {
        let shards = ShardIndex::try_from(self.shards.len()).unwrap_or(1);
        self.shards = make_shards(shards, &self.clock, &mut self.dice, &self.spools);
        self.reviews.clear();
        self.notices.clear();
        self.told().clear();
        (self.killed_at, self.killed_on) = (None, None);
        self.spools.kept().survive();
    }

    /// What has been logged.
    #[must_use]
    pub fn spools(&self) -> &Spools {
        &self.spools
    }

    fn told(&self) -> MutexGuard<'_, Vec<(RoomKey, String)>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the control plane is told whether an event is published.
    #[must_use]
    pub fn reply(&self, room: &RoomKey) -> Reply {
        let (told, room) = (Arc::clone(&self.told), room.clone());
        Reply::new(move |published| {
            if let Ok(id) = published {
                told.lock().unwrap_or_else(PoisonError::into_inner).push((room, id.to_string()));
            }
        })
    }

    /// The node's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// A shard's hub, to look at.
    #[must_use]
    pub fn hub(&self, shard: usize) -> &Hub {
        &self.shards[shard].hub
    }

    /// How many messages are in a shard's inbox or on their way to it.
    #[must_use]
    pub fn inbox_length(&self, shard: usize) -> usize {
        self.shards[shard].inbox.len()
    }

    /// The room's home shard.
    #[must_use]
    pub fn home(&self, room: &RoomKey) -> usize {
        usize::from(room.home(ShardIndex::try_from(self.shards.len()).unwrap_or(1)))
    }

    /// The planted bug strikes now: so many times in a thousand, if it is this one.
    pub fn strikes(&mut self, bug: Bug, per_mille: u64) -> bool {
        self.bug == Some(bug) && self.bug_dice.chance(per_mille)
    }

    /// Has a connection placed by its room's home.
    pub fn place(&mut self, join: &Join) -> Placement {
        let (home, now) = (self.home(&join.room), self.clock.now());
        let mut placement = self.shards[home].hub.place(now, join);
        self.carry_out(home);
        if self.bug == Some(Bug::GreetRenewalsAtOnce) {
            placement.hold_ms = 0;
        }
        placement
    }

    /// Has a connection that was just placed stay at its room's home.
    pub fn place_at_home(&mut self, room: &RoomKey, placement: Placement) -> Placement {
        let home = self.home(room);
        self.shards[home].hub.place_at_home(room, placement)
    }

    /// Hands a connection over to the shard that was chosen; its index there.
    pub fn adopt(&mut self, join: Join, placement: Placement) -> u32 {
        let (shard, now) = (usize::from(placement.shard), self.clock.now());
        let connection = self.shards[shard].hub.adopt(now, join, placement);
        self.carry_out(shard);
        connection
    }

    /// The oldest frame of a room that is still on its way to a shard.
    #[must_use]
    pub fn oldest_delivery(&self, shard: usize, room: &RoomKey) -> Option<&Arc<Delivery>> {
        let entries = self.shards[shard].inbox.iter().map(|Reverse(entry)| entry);
        let deliveries = entries.filter_map(|entry| match &entry.message {
            Message::Deliver(delivery) if delivery.room == *room => Some((entry, delivery)),
            _ => None,
        });
        deliveries.min_by(|(one, _), (other, _)| one.cmp(other)).map(|(_, delivery)| delivery)
    }

    /// Bytes of a client arrive; how many of them were taken.
    pub fn received(&mut self, shard: usize, connection: u32, bytes: &mut [u8]) -> usize {
        let now = self.clock.now();
        let taken = self.shards[shard].hub.received(now, connection, bytes);
        self.carry_out(shard);
        taken
    }

    /// A socket takes bytes again.
    pub fn writable(&mut self, shard: usize, connection: u32) {
        self.shards[shard].hub.writable(connection);
    }

    /// A client has hung up.
    pub fn disconnected(&mut self, shard: usize, connection: u32) {
        self.shards[shard].hub.disconnected(connection);
        self.carry_out(shard);
    }

    /// The control plane, or a handshake that was given up, sends a message to a room's home.
    pub fn tell_home(&mut self, room: &RoomKey, message: Message) {
        let home = self.home(room);
        self.put(None, home, message);
    }

    /// Whether the control plane may send requests to a room's home.
    #[must_use]
    pub fn takes_requests(&self, room: &RoomKey) -> bool {
        self.inbox_length(self.home(room)) < INBOX_REQUESTS_MAX
    }

    /// A shard is busy with something else for a while, unless it is already.
    pub fn keep_busy(&mut self, shard: usize, until: u64) {
        let busy_until = &mut self.shards[shard].busy_until;
        if *busy_until <= self.clock.nanos() {
            *busy_until = until;
        }
    }

    /// One turn of every shard.
    pub fn turn(&mut self, network: &mut Network) {
        self.spools.kept().set_now(self.clock.nanos());
        self.end_reviews();
        self.note_pressure();
        for shard in 0..self.shards.len() {
            let now = self.clock.nanos();
            if self.killed_on.is_some() {
                return;
            }
            if now < self.shards[shard].busy_until {
                continue;
            }
            if self.bug != Some(Bug::HoldInbox) || shard != 0 {
                self.take_inbox(shard);
            }
            if self.bug != Some(Bug::NeverFlush) || shard != 0 {
                self.flush(shard, network);
            }
            if now >= self.shards[shard].sweeps_at {
                self.shards[shard].sweeps_at = now + SECOND;
                self.sweep(shard);
            }
        }
        if self.killed_on.is_none() {
            self.spools.kept().write_late();
        }
    }

    fn note_pressure(&mut self) {
        let mut pressed = ShardSet::default();
        for shard in 0..self.shards.len() {
            if self.inbox_length(shard) >= INBOX_DELIVERIES_MAX && self.bug != Some(Bug::HoldInbox) {
                pressed.insert(ShardIndex::try_from(shard).unwrap_or(0));
            }
        }
        for shard in &mut self.shards {
            shard.hub.set_pressed(pressed);
        }
    }

    fn take_inbox(&mut self, shard: usize) {
        for _ in 0..TURN_ENTRIES_MAX {
            let now = self.clock.now();
            let Shard { hub, inbox, .. } = &mut self.shards[shard];
            if inbox.peek().is_none_or(|Reverse(entry)| entry.due > now.nanos) {
                return;
            }
            let Some(Reverse(entry)) = inbox.pop() else { return };
            hub.handle(now, entry.message);
            self.carry_out(shard);
        }
    }

    fn flush(&mut self, shard: usize, network: &mut Network) {
        let Self { shards, clock, .. } = self;
        let hub = &mut shards[shard].hub;
        let now = clock.nanos();
        if hub.next_due().is_none_or(|due| due > now) {
            return;
        }
        // A write takes a microsecond of the pass's quantum, though not of the virtual time: it stands within a turn.
        let spent = std::cell::Cell::new(0);
        let mut write = |connection: u32, bytes: &[u8]| {
            spent.set(spent.get() + 1_000);
            network.write(now, shard, connection, bytes)
        };
        hub.flush(PASS_QUANTUM_MICROS, &|| now + spent.get(), &mut write);
        network.settle_writes(now);
        self.carry_out(shard);
    }

    fn sweep(&mut self, shard: usize) {
        if self.bug != Some(Bug::NeverSweep) {
            let now = self.clock.now();
            self.shards[shard].hub.sweep(now);
            self.carry_out(shard);
        }
    }

    fn carry_out(&mut self, shard: usize) {
        let known = self.notices.len();
        self.hear_what_was_said(shard);
        while let Some(effect) = self.shards[shard].hub.next_effect() {
            if self.killed_on.is_some() {
                continue;
            }
            match effect {
                Effect::Send(to, message) => self.send(shard, usize::from(to), message),
                Effect::Publish(shards, delivery) => self.hand_to_bus(shard, shards, &delivery),
                // Rooms are what they were told to be; what is asked for has nothing newer to say.
                Effect::LoadRoom(_) => {}
                Effect::Moderated(_) => {}
                Effect::Review(request) => self.review(*request),
                Effect::Resume(connection) => self.notices.push(Notice::Resumed(shard, connection)),
                Effect::ShutDown(connection) => self.notices.push(Notice::ShutDown(shard, connection)),
                Effect::Close(connection) => self.notices.push(Notice::Closed(shard, connection)),
            }
        }
        // The planted bug: nobody was there to get what somebody was told of.
        if let Some([Notice::Told(room, _)]) = self.notices.get(known..) {
            self.spools.kept().forget_last(room.id);
        }
    }

    /// What the shard has told others than its members. Whoever is killed tells nobody.
    fn hear_what_was_said(&mut self, shard: usize) {
        let (is_killed, refused) = {
            let mut kept = self.spools.kept();
            (kept.is_killed, std::mem::take(&mut kept.refused))
        };
        if is_killed {
            self.killed_on.get_or_insert(shard);
        }
        let told = std::mem::take(&mut *self.told());
        if self.killed_on.is_none() {
            self.notices.extend(refused.into_iter().map(Notice::Unlogged));
            self.notices.extend(told.into_iter().map(|(room, id)| Notice::Told(room, id)));
        }
    }

    fn hand_to_bus(&mut self, shard: usize, shards: ShardSet, delivery: &Arc<Delivery>) {
        let is_last = self.killed_at.is_some_and(|(frames, _)| frames == 0);
        if let Some((frames, after)) = &mut self.killed_at {
            *frames = frames.saturating_sub(1);
            if is_last {
                self.killed_on = Some(shard);
                self.spools.kept().is_killed = true;
                if !*after {
                    return;
                }
            }
        }
        self.notices.push(Notice::Published(Arc::clone(delivery)));
        self.publish(shard, shards, delivery);
    }

    /// A handler takes its time, and then denies, changes, allows or fails.
    fn review(&mut self, request: ReviewRequest) {
        let mut outcome = match self.dice.below(5) {
            0 => Outcome::Denied { reason: None },
            1 => Outcome::Failed,
            2 => Outcome::Changed { content: CHANGED_CONTENT.to_owned(), attributes: None },
            _ => Outcome::Allowed,
        };
        let id = request.message_id.to_string();
        let (notice, bug) = match outcome {
            Outcome::Denied { .. } => (Some(Notice::Denied(id)), Bug::AllowDenied),
            Outcome::Failed if &*request.handler != LENIENT_HANDLER => {
                (Some(Notice::Denied(id)), Bug::AllowDenied)
            }
            Outcome::Changed { .. } => (Some(Notice::Changed(id)), Bug::LoseChange),
            Outcome::Failed | Outcome::Allowed => (None, Bug::AllowDenied),
        };
        if notice.is_some() && self.strikes(bug, 100) {
            outcome = Outcome::Allowed;
        }
        if let Outcome::Changed { .. } = outcome {
            self.spools.kept().remember(request.message_id.to_string(), request.content);
        }
        self.notices.extend(notice);
        if self.strikes(Bug::LoseOutcome, 10) {
            return;
        }
        let due = self.clock.nanos() + self.dice.below(REVIEW_MS_MAX) * MILLISECOND;
        self.sequence += 1;
        let ReviewRequest { room, ticket, .. } = request;
        let message = Message::Reviewed { room, ticket, outcome };
        self.reviews.push(Reverse(Entry { due, sequence: self.sequence, message }));
    }

    fn end_reviews(&mut self) {
        let now = self.clock.nanos();
        while let Some(Reverse(entry)) = self.reviews.peek()
            && entry.due <= now
        {
            let Some(Reverse(entry)) = self.reviews.pop() else { return };
            if let Message::Reviewed { room, .. } = &entry.message {
                let home = self.home(room);
                self.put(None, home, entry.message);
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, mut message: Message) {
        match &mut message {
            Message::Act(act) if self.inbox_length(to) >= INBOX_REQUESTS_MAX => {
                self.shards[from].hub.refuse(act.connection, &act.request.request_id, &RATE_EXCEEDED);
            }
            Message::Act(act) if self.bug == Some(Bug::MisnumberAct) => {
                // No kick reaches an entry that is so young.
                act.entry.number = u64::MAX;
                self.put(Some(from), to, message);
            }
            Message::Act(_) if self.bug == Some(Bug::SwapActs) => {
                self.put(Some(from), to, message);
                self.swap_last(to, |message| match message {
                    Message::Act(act) => Some(act.connection),
                    _ => None,
                });
            }
            Message::Refuse { .. } if self.strikes(Bug::LoseRefusal, 300) => {}
            Message::Left { .. } if self.strikes(Bug::LoseLeft, 300) => {}
            Message::Adopted { .. } if self.strikes(Bug::LoseAdopted, 1_000) => {}
            _ => self.put(Some(from), to, message),
        }
    }

    fn publish(&mut self, from: usize, shards: ShardSet, delivery: &Arc<Delivery>) {
        let to: Vec<usize> = (0..self.shards.len())
            .filter(|shard| ShardIndex::try_from(*shard).is_ok_and(|shard| shards.contains(shard)))
            .collect();
        for to in to {
            if self.strikes(Bug::DropDelivery, 10) {
                continue;
            }
            let mut delivery = Arc::clone(delivery);
            if delivery.disconnect.is_some() && self.strikes(Bug::ForgetDisconnect, 200) {
                let Delivery { room, cause, published_nanos, frame, .. } = &*delivery;
                delivery =
                    Arc::new(Delivery::new(room.clone(), *cause, *published_nanos, frame.clone(), None));
            }
            if self.strikes(Bug::DuplicateDelivery, 10) {
                self.put(Some(from), to, Message::Deliver(Arc::clone(&delivery)));
            }
            self.put(Some(from), to, Message::Deliver(delivery));
            if self.strikes(Bug::ReorderDeliveries, 50) {
                self.swap_last(to, |message| match message {
                    Message::Deliver(delivery) => Some(delivery.room.clone()),
                    _ => None,
                });
            }
        }
    }

    fn put(&mut self, from: Option<usize>, to: usize, message: Message) {
        let mut due = self.clock.nanos();
        if let Some(from) = from.filter(|from| *from != to) {
            due += self.dice.below(LINK_MS_MAX) * MILLISECOND;
            let link = &mut self.shards[from].links[to];
            due = due.max(*link);
            *link = due;
        }
        self.sequence += 1;
        let sequence = self.sequence;
        self.shards[to].inbox.push(Reverse(Entry { due, sequence, message }));
    }

    /// The planted bug: the youngest message of a kind in an inbox and the one before it that is for the same change places.
    fn swap_last<T: PartialEq>(&mut self, shard: usize, whose: impl Fn(&Message) -> Option<T>) {
        let mut entries: Vec<Entry> =
            std::mem::take(&mut self.shards[shard].inbox).into_iter().map(|Reverse(entry)| entry).collect();
        entries.sort_by(|one, other| other.cmp(one));
        let last = entries.iter().position(|entry| whose(&entry.message).is_some());
        let before = last.and_then(|last| {
            let its = whose(&entries[last].message);
            let before = entries.iter().skip(last + 1).position(|entry| whose(&entry.message) == its);
            before.map(|at| at + last + 1)
        });
        if let (Some(last), Some(before)) = (last, before) {
            let place = |entry: &Entry| (entry.due, entry.sequence);
            let (last_place, before_place) = (place(&entries[last]), place(&entries[before]));
            (entries[last].due, entries[last].sequence) = before_place;
            (entries[before].due, entries[before].sequence) = last_place;
        }
        self.shards[shard].inbox = entries.into_iter().map(Reverse).collect();
    }
}
