//! Proves that a pass over many members yields after its quantum, and that members who come, go or block between its
//! parts make it neither skip nor serve anybody twice: against an oracle that knows every byte. And that a flush as a
//! whole gives one quantum to all rooms together, and each has its turn.

use std::cell::Cell;
use std::collections::BTreeMap;

use hub::audience::{Audience, Encoding, Offer, Progress};
use hub::frame::{Opcode, encode_masked};
use hub::message::Written;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{prop_assert, prop_assert_eq, proptest};

use crate::harness::{Guest, Heard, Node, room};

const MICROSECOND: u64 = 1_000;

#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Join(u8),
    Leave(u16),
    Block(u16),
    Unblock(u16),
    /// So many bursts of visits, then the time is up.
    Run(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1..40_u8).prop_map(Step::Append),
        2 => (1..30_u8).prop_map(Step::Join),
        3 => any::<u16>().prop_map(Step::Leave),
        1 => any::<u16>().prop_map(Step::Block),
        1 => any::<u16>().prop_map(Step::Unblock),
        4 => (1..4_u8).prop_map(Step::Run),
        1 => Just(Step::Run(255)),
    ];
    proptest::collection::vec(step, 1..120)
}

/// What the oracle knows of one member.
struct Expected {
    place: usize,
    start: usize,
    got: Vec<u8>,
    blocked: bool,
    served_in_pass: bool,
}

/// The audience under test, and all that ever happened to it.
struct Trial {
    audience: Audience,
    history: Vec<u8>,
    flushed: usize,
    /// The head when the pass under way began.
    pass_began_at: Option<usize>,
    members: BTreeMap<u32, Expected>,
    next_connection: u32,
}

impl Trial {
    fn new() -> Self {
        Self {
            audience: Audience::new(room(1), Encoding::Plain),
            history: Vec::new(),
            flushed: 0,
            pass_began_at: None,
            members: BTreeMap::new(),
            next_connection: 0,
        }
    }

    fn pick(&self, choice: u16) -> Option<u32> {
        self.members.keys().nth(usize::from(choice) % self.members.len().max(1)).copied()
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Append(length) => {
                let begin = self.history.len();
                self.history
                    .extend((begin..begin + usize::from(*length)).map(|at| at.to_le_bytes()[0] ^ 0x5A));
                self.audience.log.append(&self.history[begin..]);
            }
            Step::Join(count) => (0..*count).for_each(|_| self.join()),
            Step::Leave(choice) => self.leave(*choice),
            Step::Block(choice) => {
                if let Some(connection) = self.pick(*choice) {
                    self.members.get_mut(&connection).unwrap().blocked = true;
                }
            }
            Step::Unblock(choice) => self.unblock(*choice),
            Step::Run(bursts) => self.run(*bursts),
        }
    }

    fn join(&mut self) {
        let connection = self.next_connection;
        self.next_connection += 1;
        let place = self.audience.add(connection);
        let member =
            Expected { place, start: self.flushed, got: Vec::new(), blocked: false, served_in_pass: false };
        self.members.insert(connection, member);
    }

    fn leave(&mut self, choice: u16) {
        let Some(connection) = self.pick(choice) else { return };
        let gone = self.members.remove(&connection).unwrap();
        for (moved, place) in self.audience.remove(gone.place).into_iter().flatten() {
            self.members.get_mut(&moved).expect("only members move").place = place;
        }
    }

    /// What a hub does when a socket takes bytes again: it writes all there is to the member at once. During a pass it
    /// does so before the pass goes on; here the member waits for the end of the pass.
    fn unblock(&mut self, choice: u16) {
        let Some(connection) = self.pick(choice) else { return };
        let expected = self.members.get_mut(&connection).unwrap();
        expected.blocked = false;
        let member = &mut self.audience.members[expected.place];
        if member.blocked_since_ms != 0 && self.pass_began_at.is_none() {
            let head = self.audience.log.head();
            let rest = self.audience.log.pending(member.cursor, head);
            expected.got.extend_from_slice(rest);
            member.cursor = head;
            member.blocked_since_ms = 0;
            self.audience.blocked -= 1;
            self.audience.release_kept();
        }
    }

    fn run(&mut self, bursts: u8) {
        self.pass_began_at.get_or_insert(self.history.len());
        let time = Cell::new(0);
        let clock = || {
            time.set(time.get() + 1);
            time.get()
        };
        let members = &mut self.members;
        let mut write = |connection: u32, bytes: &[u8]| {
            let member = members.get_mut(&connection).expect("only to members");
            if member.blocked {
                return Written::Blocked;
            }
            assert!(!member.served_in_pass, "{connection} is served twice in one pass");
            member.served_in_pass = true;
            member.got.extend_from_slice(bytes);
            Written::Bytes(bytes.len())
        };
        let mut offer = Offer {
            write: &mut write,
            clock: &clock,
            deadline_nanos: u64::from(bursts),
            failed: &mut Vec::new(),
            lagging: &mut Vec::new(),
        };
        if self.audience.run_pass(&mut offer) == Progress::Done {
            let began_at = self.pass_began_at.take().unwrap();
            for (connection, member) in members {
                let reached = member.start + member.got.len();
                let stuck = self.audience.members[member.place].blocked_since_ms != 0;
                assert!(stuck || reached >= began_at, "{connection} was passed over");
                member.served_in_pass = false;
            }
            self.flushed = began_at;
        }
    }

    /// Whether everything agrees.
    fn check(&self) -> Result<(), proptest::test_runner::TestCaseError> {
        prop_assert_eq!(self.audience.members.len(), self.members.len());
        for (connection, expected) in &self.members {
            let member = &self.audience.members[expected.place];
            prop_assert_eq!(member.connection, *connection);
            let end = expected.start + expected.got.len();
            prop_assert_eq!(member.cursor, end as u64);
            prop_assert_eq!(&expected.got[..], &self.history[expected.start..end]);
        }
        let blocked = self.audience.members.iter().filter(|member| member.blocked_since_ms != 0).count();
        prop_assert_eq!(self.audience.blocked, blocked);
        prop_assert_eq!(self.audience.is_passing(), self.pass_began_at.is_some());
        let slowest = self.members.values().map(|member| member.start + member.got.len()).min();
        let needed = self.history.len() - slowest.unwrap_or(0).min(self.flushed);
        prop_assert!(self.audience.log.capacity_bytes() <= 4 * needed.max(self.history.len() / 4).max(4_096));
        Ok(())
    }
}

proptest! {
    #[test]
    fn nobody_is_skipped_or_served_twice(steps in steps()) {
        let mut trial = Trial::new();
        for step in &steps {
            trial.step(step);
            trial.check()?;
        }
        trial.run(255);
        trial.check()?;
    }
}

#[test]
fn a_pass_yields_after_its_quantum_and_serves_other_rooms_in_between() {
    let mut node = Node::new(1);
    let (big, small) = (room(1), room(2));
    let members: Vec<_> =
        (0..1_000).map(|number| node.join(&Guest::new(&big, &format!("{number}")))).collect();
    let quick = node.join(&Guest::new(&small, "quick"));
    node.write_nanos = 10_000; // 1,000 writes take 10 ms, a quantum is 1 ms
    node.send_quietly(members[0], "to all");
    node.take_inbox(0);
    node.flush(0);
    let began = node.now().nanos;
    let served = |node: &mut Node| members.iter().map(|member| node.heard(*member).len()).sum::<usize>();
    let first = served(&mut node);
    assert!((100..=116).contains(&first), "{first} in the first millisecond");
    node.send_quietly(quick, "to me");
    node.take_inbox(0);
    node.flush(0);
    node.flush(0);
    assert_eq!(node.heard(quick).len(), 1, "after {} ns", node.now().nanos - began);
    assert!(served(&mut node) < 900);
    node.settle();
    let total = members.iter().map(|member| node.writes(*member).len()).sum::<usize>();
    assert_eq!(total, 2 * 1_000, "a greeting and a frame each");
}

/// A thousand small rooms are due at once, and one of them gets another frame whenever it has been served.
#[test]
fn a_flush_takes_one_quantum_in_all_and_every_room_has_its_turn() {
    let mut node = Node::with(1, |settings| settings.coalescing_window_nanos = 0);
    let rooms: Vec<_> = (0..1_000).map(room).collect();
    let members: Vec<_> = rooms.iter().map(|room| node.join(&Guest::new(room, "ann"))).collect();
    for member in &members {
        node.send_quietly(*member, "due");
    }
    node.take_inbox(0);
    node.write_nanos = 10 * MICROSECOND; // 1,000 writes take 10 ms, a quantum is 1 ms
    let mut served = 0;
    for turn in 1..=10 {
        let began = node.now().nanos;
        node.flush(0);
        let took = node.now().nanos - began;
        assert!(took <= 1_000 * MICROSECOND, "turn {turn} took {took} ns");
        served += members[1..].iter().map(|member| node.heard(*member).len()).sum::<usize>();
        if !node.heard(members[0]).is_empty() {
            node.send_quietly(members[0], "again");
            node.take_inbox(0);
        }
    }
    assert!(served >= 990, "the busy room had a turn or two of a thousand, not {}", 1_000 - served);
    node.settle();
    assert_eq!(served + members[1..].iter().map(|member| node.heard(*member).len()).sum::<usize>(), 999);
}

/// However long writes to single connections take (here: answers to pings), the rooms have their quantum.
#[test]
fn single_connections_take_nothing_from_the_rooms_quantum() {
    let mut node = Node::new(1);
    let (big, chatty) = (room(1), room(2));
    let members: Vec<_> = (0..500).map(|number| node.join(&Guest::new(&big, &format!("{number}")))).collect();
    let pingers: Vec<_> =
        (0..200).map(|number| node.join(&Guest::new(&chatty, &format!("{number}")))).collect();
    node.write_nanos = 10 * MICROSECOND;
    let ping = encode_masked(true, Opcode::Ping, [1; 4], b"");
    node.send_quietly(members[0], "to all");
    node.take_inbox(0);
    for turn in 1..=4 {
        for pinger in &pingers {
            node.receive(*pinger, &ping);
        }
        node.flush(0);
        let mut heard = |of: &[usize]| of.iter().map(|one| node.heard(*one).len()).sum::<usize>();
        assert_eq!(heard(&pingers), 200, "pongs in turn {turn}");
        let written = heard(&members);
        assert!((100..=116).contains(&written), "{written} members in turn {turn}");
    }
}

#[test]
fn a_pass_never_overtakes_what_comes_before_it_at_a_single_connection() {
    let mut node = Node::new(1);
    let room = room(1);
    let members: Vec<_> =
        (0..300).map(|number| node.join(&Guest::new(&room, &format!("{number}")))).collect();
    node.write_nanos = 10 * MICROSECOND;
    for member in &members {
        node.receive(*member, &encode_masked(true, Opcode::Ping, [1; 4], b""));
    }
    node.send_quietly(members[0], "behind the pong");
    node.take_inbox(0);
    node.settle();
    for member in &members {
        let heard = node.heard(*member);
        assert_eq!((heard.len(), &heard[0]), (2, &Heard::Pong(Vec::new())));
    }
}
