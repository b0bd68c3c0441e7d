//! The members of one room on one shard, and the pass that writes to them. Those who take frames compressed are an
//! audience of their own, with a log of their own.
//!
//! A frame is appended to the room log once; a *pass* walks the members and offers each what lies between its cursor
//! and the head, in one write. Coalescing, slow readers and joiners need nothing else: frames that gather before a
//! pass go out together, a member whose socket is full keeps its cursor and is skipped until it can be written again,
//! a joiner starts at the oldest frame that has not been offered to all.
//!
//! Invariants: after a pass every member that is not blocked has at least the frames that were there when the pass
//! began; a member appears exactly once; while a pass is under way, members before `Pass::next` have been visited.

use protocol::limit::edge::LAG_BYTES_MAX;

use crate::log::{Position, RoomLog};
use crate::message::{RoomKey, Written};

/// How many members are visited between two looks at the clock.
const VISITS_PER_CLOCK_READ: usize = 16;

/// One connection's place in the room log.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// The connection's index on this shard.
    pub connection: u32,
    /// The millisecond since which its socket has not taken all that was offered; 0 while it has.
    pub blocked_since_ms: u32,
    /// All before has been written to it.
    pub cursor: Position,
}

/// A walk over the members.
#[derive(Clone, Copy, Debug)]
struct Pass {
    /// Members before this one have been visited.
    next: usize,
    /// The head of the log when the walk began.
    target: Position,
    /// The lowest cursor of a blocked member seen so far.
    slowest: Position,
}

/// Frames that wait for a pass, or are in one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gathered {
    /// How many.
    pub frames: u64,
    /// When the oldest was published, in monotonic nanoseconds.
    pub since_nanos: u64,
}

impl Gathered {
    /// One more.
    pub fn add(&mut self, published_nanos: u64) {
        if self.frames == 0 {
            self.since_nanos = published_nanos;
        }
        self.frames += 1;
    }
}

/// What became of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Every member was visited.
    Done,
    /// Time was up; go on later.
    Yielded,
}

/// How an audience takes its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As they are.
    Plain,
    /// Compressed, where that makes them shorter.
    Deflated,
}

impl Encoding {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Plain, Self::Deflated];
}

/// The members of one room on one shard who take their frames in one encoding.
#[derive(Debug)]
pub struct Audience {
    /// The room.
    pub key: RoomKey,
    /// What is in its log.
    pub encoding: Encoding,
    /// What they are sent.
    pub log: RoomLog,
    /// In no order.
    pub members: Vec<Member>,
    /// When the last pass began, in monotonic nanoseconds; `None` before the first.
    pub passed_at: Option<u64>,
    /// A pass is due, waiting for its time or under way.
    pub scheduled: bool,
    /// How many members are blocked.
    pub blocked: usize,
    /// What has come since the last pass began.
    pub gathered: Gathered,
    /// What was there when it began.
    pub passing: Gathered,
    pass: Option<Pass>,
}

/// What a pass needs from its surroundings.
pub struct Offer<'a, W, C> {
    /// Writes to a connection.
    pub write: &'a mut W,
    /// Monotonic nanoseconds.
    pub clock: &'a C,
    /// When to stop, in monotonic nanoseconds.
    pub deadline_nanos: u64,
    /// Connections whose socket failed.
    pub failed: &'a mut Vec<u32>,
    /// Connections that are further behind than they may be.
    pub lagging: &'a mut Vec<u32>,
}

impl Audience {
    /// A room without members.
    #[must_use]
    pub fn new(key: RoomKey, encoding: Encoding) -> Self {
        Self {
            key,
            encoding,
            log: RoomLog::default(),
            members: Vec::new(),
            passed_at: None,
            scheduled: false,
            blocked: 0,
            gathered: Gathered::default(),
            passing: Gathered::default(),
            pass: None,
        }
    }

    /// Adds a member, which gets all that is not yet flushed; its place.
    pub fn add(&mut self, connection: u32) -> usize {
        self.members.push(Member { connection, blocked_since_ms: 0, cursor: self.log.flushed() });
        self.members.len() - 1
    }

    /// Removes the member at `place`. Others may move: the answer names those that did and their new places.
    pub fn remove(&mut self, place: usize) -> [Option<(u32, usize)>; 2] {
        if self.members[place].blocked_since_ms != 0 {
            self.blocked -= 1;
            self.release_kept();
        }
        // The last member fills the gap. In the visited part of a pass it must not: it would be passed over. There the
        // last visited one fills the gap, and the last of all takes its place just behind the border.
        let mut gap = place;
        let mut moved = [None, None];
        if let Some(pass) = &mut self.pass
            && place < pass.next
        {
            pass.next -= 1;
            gap = pass.next;
            if gap != place {
                self.members.swap(place, gap);
                moved[0] = Some((self.members[place].connection, place));
            }
        }
        self.members.swap_remove(gap);
        if let Some(member) = self.members.get(gap) {
            moved[1] = Some((member.connection, gap));
        }
        moved
    }

    /// Offers every member what it has not got, until the deadline. This is the hot loop of the server: per member it
    /// reads 16 bytes, compares two positions and makes one write.
    pub fn run_pass<W, C>(&mut self, offer: &mut Offer<'_, W, C>) -> Progress
    where
        W: FnMut(u32, &[u8]) -> Written,
        C: Fn() -> u64,
    {
        let head = self.log.head();
        let pass = self.pass.get_or_insert(Pass { next: 0, target: head, slowest: Position::MAX });
        while pass.next < self.members.len() {
            let burst_end = self.members.len().min(pass.next + VISITS_PER_CLOCK_READ);
            for member in &mut self.members[pass.next..burst_end] {
                if member.blocked_since_ms == 0 && member.cursor < head {
                    write_log(member, &self.log, head, offer);
                    self.blocked += usize::from(member.blocked_since_ms != 0);
                }
                if member.blocked_since_ms != 0 {
                    pass.slowest = pass.slowest.min(member.cursor);
                    if head - member.cursor > LAG_BYTES_MAX {
                        offer.lagging.push(member.connection);
                    }
                }
            }
            pass.next = burst_end;
            if pass.next < self.members.len() && (offer.clock)() >= offer.deadline_nanos {
                return Progress::Yielded;
            }
        }
        self.log.release(pass.target, pass.slowest);
        self.pass = None;
        Progress::Done
    }

    /// Frees what was kept for a blocked member, once none is blocked and no pass is to come that would do it.
    pub fn release_kept(&mut self) {
        let head = self.log.head();
        if self.blocked == 0 && self.pass.is_none() && self.log.flushed() == head {
            self.log.release(head, head);
        }
    }

    /// Whether a pass is under way.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.pass.is_some()
    }
}

/// Writes the log up to `head`, all of it unless the socket is full.
pub fn write_log<W, C>(member: &mut Member, log: &RoomLog, head: Position, offer: &mut Offer<'_, W, C>)
where
    W: FnMut(u32, &[u8]) -> Written,
    C: Fn() -> u64,
{
    while member.cursor < head {
        match (offer.write)(member.connection, log.pending(member.cursor, head)) {
            Written::Bytes(bytes) => member.cursor += bytes as u64,
            Written::Blocked => {
                member.blocked_since_ms = blocked_since((offer.clock)());
                return;
            }
            Written::Failed => {
                // It is on its way out: until it is removed nothing more is offered to it.
                member.cursor = head;
                offer.failed.push(member.connection);
                return;
            }
        }
    }
}

/// A millisecond of the monotonic clock that is never 0, since 0 means "not blocked". It wraps after 49 days.
#[must_use]
pub fn blocked_since(now_nanos: u64) -> u32 {
    u32::try_from((now_nanos / 1_000_000) & u64::from(u32::MAX)).unwrap_or(0).max(1)
}
