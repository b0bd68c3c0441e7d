//! What people do: joining, talking, moderating, falling asleep. A scenario says how often.

use crate::ClientKey;
use crate::dice::Dice;

/// Longest that a shard is busy with something else. Twice this, the coalescing window and all ways that a frame takes
/// are together less than the hold of a renewal, so what the hold promises must come true.
const BUSY_MS_MAX: u64 = 60;

/// Logging configurations there are.
pub const CONFIGURATIONS: usize = 3;
/// Longest that the log of one takes nothing.
const LOG_FAILURE_MS_MAX: u64 = 300;

/// A named mix. Frequencies are per mille of the virtual milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// For the command line.
    pub name: &'static str,
    /// How long people are at it, in virtual milliseconds.
    pub milliseconds: u64,
    /// Rooms; every second one is so big that its members are spread over all shards.
    pub rooms: usize,
    /// Most clients at once.
    pub clients_max: usize,
    /// Users that they share.
    pub users: u64,
    /// Somebody joins.
    pub join: u64,
    /// … and is on the way to a shard for at most so many milliseconds.
    pub handshake_ms_max: u64,
    /// Somebody hangs up.
    pub hang_up: u64,
    /// Somebody opens a new connection and then closes the old one, as SDKs do with a fresh token.
    pub rotate: u64,
    /// Somebody sends a message.
    pub message: u64,
    /// Somebody deletes one.
    pub delete: u64,
    /// Somebody disconnects a user.
    pub kick: u64,
    /// The control plane disconnects a user.
    pub control_kick: u64,
    /// The control plane sends an event to the first room.
    pub event: u64,
    /// How many bytes of attributes such an event has.
    pub event_bytes: usize,
    /// Somebody stops reading.
    pub stall: u64,
    /// … for at most so long.
    pub stall_ms_max: u64,
    /// A shard is busy with something else for up to 60 ms.
    pub busy: u64,
    /// A room gets new settings.
    pub change: u64,
    /// Of a thousand tokens, so many have a session that ends within the run.
    pub short_sessions: u64,
    /// What a socket takes without being read.
    pub buffer_bytes: usize,
    /// Rooms have a message review handler, and every second one a fallback result of DENY.
    pub is_reviewed: bool,
    /// Rooms have no logging configuration, one or three, and all of them get events of the control plane.
    pub is_logged: bool,
    /// Of the rooms, so many at the end are never joined.
    pub empty_rooms: usize,
    /// The log of a logging configuration takes nothing for a while.
    pub log_failure: u64,
    /// The node is killed and started again.
    pub kill: u64,
}

/// People talk, come and go.
const CHAT: Scenario = Scenario {
    name: "chat",
    milliseconds: 12_000,
    rooms: 4,
    clients_max: 30,
    users: 20,
    join: 20,
    handshake_ms_max: 20,
    hang_up: 2,
    rotate: 3,
    message: 120,
    delete: 10,
    kick: 0,
    control_kick: 0,
    event: 5,
    event_bytes: 100,
    stall: 2,
    stall_ms_max: 2_000,
    busy: 3,
    change: 3,
    short_sessions: 50,
    buffer_bytes: 16 * 1_024,
    is_reviewed: false,
    is_logged: false,
    empty_rooms: 0,
    log_failure: 0,
    kill: 0,
};

/// Moderators at work: users with several connections, some of which do not read, are thrown out, also on their way in,
/// and come back. Rooms are full enough for a pass to yield, so that members leave while it is under way.
const KICK: Scenario = Scenario {
    name: "kick",
    rooms: 2,
    clients_max: 90,
    users: 30,
    join: 250,
    handshake_ms_max: 500,
    message: 150,
    delete: 100,
    kick: 15,
    control_kick: 5,
    stall: 10,
    stall_ms_max: 3_000,
    buffer_bytes: 1_024,
    ..CHAT
};

/// One loud room and quiet ones, small buffers, clients that do not read for so long that they must be dropped.
const SLOW_READER: Scenario = Scenario {
    name: "slow-reader",
    milliseconds: 25_000,
    rooms: 3,
    clients_max: 18,
    hang_up: 0,
    rotate: 0,
    message: 20,
    event: 180,
    event_bytes: 4_000,
    stall: 2,
    stall_ms_max: 16_000,
    buffer_bytes: 2 * 1_024,
    short_sessions: 0,
    ..CHAT
};

/// Messages wait for handlers that take their time, deny, change and fail, while moderators are at work.
const REVIEW: Scenario =
    Scenario { name: "review", message: 300, kick: 3, control_kick: 2, is_reviewed: true, ..CHAT };

/// What rooms publish is logged, reviewed or not and with somebody there or not, while logs fail and the node is killed.
const LOGGING: Scenario = Scenario {
    name: "logging",
    rooms: 6,
    empty_rooms: 2,
    join: 200,
    message: 300,
    event: 60,
    kick: 2,
    control_kick: 2,
    is_reviewed: true,
    is_logged: true,
    log_failure: 2,
    kill: 1,
    ..CHAT
};

impl Scenario {
    /// All there are.
    pub const ALL: [Self; 5] = [CHAT, KICK, SLOW_READER, REVIEW, LOGGING];

    /// The scenario of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scenario| scenario.name == name)
    }
}

/// What a client asks its room for.
#[derive(Clone, Debug, Hash)]
pub enum Request {
    /// A message that fits every room.
    Message,
    /// A message longer than any room allows.
    LongMessage,
    /// Not an action.
    Nonsense,
    /// DELETE_MESSAGE.
    Delete,
    /// DISCONNECT_USER.
    Kick(String),
}

/// One thing that happens.
#[derive(Clone, Debug, Hash)]
pub enum Step {
    /// A user begins to join.
    Join {
        /// The room's number.
        room: usize,
        /// Who.
        user_id: String,
        /// The byte of a set of capabilities.
        capabilities: u8,
        /// How long the session lasts, in milliseconds.
        session_ms: u64,
        /// The way from the home's choice to the shard, in milliseconds.
        handshake_ms: u64,
        /// The client vanishes before it is handed over.
        gives_up: bool,
    },
    /// A client hangs up.
    HangUp(ClientKey),
    /// A client's user opens another connection to replace it.
    Rotate(ClientKey),
    /// A client asks for something.
    Ask(ClientKey, Request),
    /// The control plane sends an event to a room.
    Event(usize),
    /// The control plane disconnects a user.
    Kick {
        /// The room's number.
        room: usize,
        /// Whom.
        user_id: String,
    },
    /// A client stops reading for so many milliseconds.
    Stall(ClientKey, u64),
    /// A shard is busy for so many milliseconds.
    Busy(usize, u64),
    /// The log of so-manieth logging configuration takes nothing for so many milliseconds.
    LogFailure(usize, u64),
    /// The node is killed while it writes a record: so many are written before that.
    KillAtRecord(u64),
    /// The node is killed when it publishes: so many frames before that, and perhaps that one.
    KillAtFrame(u64, bool),
    /// A room gets new settings: longest message, rate.
    Change {
        /// The room's number.
        room: usize,
        /// Code points.
        message_length_max: u32,
        /// Messages per second.
        message_rate_max: u32,
    },
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Workload {
    scenario: Scenario,
    dice: Dice,
}

impl Workload {
    /// The steps of a scenario, by chance.
    #[must_use]
    pub fn new(scenario: Scenario, dice: Dice) -> Self {
        Self { scenario, dice }
    }

    /// What happens in one millisecond; `open` are the clients there are.
    pub fn steps(&mut self, open: &[ClientKey], shards: usize) -> Vec<Step> {
        let Scenario { join, hang_up, rotate, message, delete, kick, control_kick, .. } = self.scenario;
        let Scenario { event, stall, stall_ms_max, busy, change, clients_max, .. } = self.scenario;
        let mut steps = Vec::new();
        if open.len() < clients_max && self.dice.chance(join) {
            steps.push(self.join());
        }
        let mut each = |frequency, step: fn(&mut Self, ClientKey) -> Step| {
            if self.dice.chance(frequency)
                && let Some(client) = self.dice.pick(open)
            {
                steps.push(step(self, client));
            }
        };
        each(hang_up, |_, client| Step::HangUp(client));
        each(rotate, |_, client| Step::Rotate(client));
        each(message, |this, client| Step::Ask(client, this.message()));
        each(delete, |_, client| Step::Ask(client, Request::Delete));
        each(kick, |this, client| Step::Ask(client, Request::Kick(this.user_id())));
        if self.dice.chance(stall)
            && let Some(client) = self.dice.pick(open)
        {
            steps.push(Step::Stall(client, self.dice.between(1, stall_ms_max)));
        }
        if self.dice.chance(event) {
            let rooms = if self.scenario.is_logged { self.scenario.rooms } else { 1 };
            steps.push(Step::Event(usize::try_from(self.dice.below(rooms as u64)).unwrap_or(0)));
        }
        if self.dice.chance(self.scenario.log_failure) {
            let configuration = self.dice.below(CONFIGURATIONS as u64);
            let milliseconds = self.dice.between(1, LOG_FAILURE_MS_MAX);
            steps.push(Step::LogFailure(usize::try_from(configuration).unwrap_or(0), milliseconds));
        }
        if self.dice.chance(self.scenario.kill) {
            let (before, is_at_frame, after) =
                (self.dice.below(4), self.dice.chance(500), self.dice.chance(500));
            steps.push(if is_at_frame {
                Step::KillAtFrame(before, after)
            } else {
                Step::KillAtRecord(before)
            });
        }
        if self.dice.chance(control_kick) {
            steps.push(Step::Kick { room: self.room(), user_id: self.user_id() });
        }
        if self.dice.chance(busy) {
            let shard = usize::try_from(self.dice.below(shards as u64)).unwrap_or(0);
            steps.push(Step::Busy(shard, self.dice.between(1, BUSY_MS_MAX)));
        }
        if self.dice.chance(change) {
            steps.push(self.change());
        }
        steps
    }

    /// Somebody joins some room.
    pub fn join(&mut self) -> Step {
        let short = self.dice.chance(self.scenario.short_sessions);
        Step::Join {
            room: self.room(),
            user_id: self.user_id(),
            capabilities: u8::try_from(self.dice.below(8)).unwrap_or(0),
            session_ms: if short { self.dice.between(500, self.scenario.milliseconds) } else { 3_600_000 },
            handshake_ms: self.dice.between(0, self.scenario.handshake_ms_max),
            gives_up: self.dice.chance(30),
        }
    }

    fn room(&mut self) -> usize {
        let rooms = self.scenario.rooms - self.scenario.empty_rooms;
        usize::try_from(self.dice.below(rooms as u64)).unwrap_or(0)
    }

    fn user_id(&mut self) -> String {
        format!("user {}", self.dice.below(self.scenario.users))
    }

    fn message(&mut self) -> Request {
        match self.dice.below(100) {
            0..3 => Request::LongMessage,
            3..6 => Request::Nonsense,
            _ => Request::Message,
        }
    }

    fn change(&mut self) -> Step {
        Step::Change {
            room: self.room(),
            message_length_max: u32::try_from(self.dice.between(100, 500)).unwrap_or(500),
            message_rate_max: u32::try_from(self.dice.between(5, 100)).unwrap_or(100),
        }
    }
}
