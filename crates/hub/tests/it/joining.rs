//! Proves that a joiner misses nothing: official SDKs rotate tokens by opening the new socket first and closing the old
//! one as soon as it is open, so together the two must get every frame in time.

use std::collections::{BTreeSet, VecDeque};

use hub::frame::{Opcode, encode_masked};
use protocol::limit::edge::{HOME_SHARD_MEMBERS_MAX, RENEWAL_HOLD_MS};

use crate::harness::{GREETING, Guest, Heard, Node, room};

fn ids(heard: &[Heard]) -> Vec<String> {
    heard.iter().map(|frame| frame.member("Id").to_owned()).collect()
}

#[test]
fn the_greeting_comes_first_and_then_what_is_not_flushed_yet() {
    let mut node = Node::new(1);
    let room = room(1);
    let ann = node.join(&Guest::new(&room, "ann"));
    node.send_message(ann, "flushed", "r");
    node.send_message(ann, "gathers", "r");
    let bob = node.join(&Guest::new(&room, "bob"));
    let bytes = node.bytes(bob);
    let (heard, rest) = crate::harness::decode(bytes.strip_prefix(GREETING).expect("the greeting"));
    assert_eq!((heard.len(), rest.len()), (1, 0));
    assert_eq!(heard[0].member("Content"), "gathers");
}

#[test]
fn old_and_new_connection_together_lose_nothing_though_the_old_one_is_read_late() {
    for rotate_at in 0..30 {
        rotate(&mut Node::new(1), 0, 0, rotate_at);
    }
}

#[test]
fn they_lose_nothing_on_different_shards_either() {
    for rotate_at in 0..30 {
        rotate(&mut Node::new(2), 0, 1, rotate_at);
        rotate(&mut Node::new(2), 1, 0, rotate_at);
    }
}

/// Events are published; after some of them, ann opens a connection on another shard, and gives up the old one as soon
/// as she hears that the new one is open.
fn rotate(node: &mut Node, old_shard: usize, new_shard: usize, rotate_at: u64) {
    const ROUND_MS: u64 = 11;
    const LATE_MS: u64 = 200; // what is written to the old connection is read so much later
    let room = room(1);
    let sender = node.join(&Guest::new(&room, "sender"));
    let ann = Guest::new(&room, "ann");
    let old = node.join_on(old_shard, &ann);
    let mut on_its_way = VecDeque::new();
    let mut got = BTreeSet::new();
    let mut new = None;
    for round in 0..80 {
        if round == rotate_at {
            let placement = node.place_on(new_shard, &ann);
            new = Some(node.adopt_without_settling(&ann, placement));
            node.settle();
        }
        let now_ms = round * ROUND_MS;
        on_its_way.extend(ids(&node.heard(old)).into_iter().map(|id| (now_ms + LATE_MS, id)));
        while on_its_way.front().is_some_and(|(read_at_ms, _)| *read_at_ms <= now_ms) {
            got.extend(on_its_way.pop_front().map(|(_, id)| id));
        }
        if new.is_some_and(|new| node.is_greeted(new)) {
            break; // the SDK does not listen to the old one any more
        }
        node.event(&room, &format!("event {round}")).expect("not busy");
        node.advance_ms(ROUND_MS);
    }
    node.hang_up(old);
    node.event(&room, "last").expect("not busy");
    node.advance_ms(40);
    let new = ids(&node.heard(new.expect("rotated")));
    assert_eq!(new.iter().collect::<BTreeSet<_>>().len(), new.len(), "none twice on one connection");
    got.extend(new);
    let all: BTreeSet<_> = ids(&node.heard(sender)).into_iter().collect();
    assert!(all.len() > 20);
    assert_eq!(got, all, "rotated at {rotate_at} from shard {old_shard} to {new_shard}");
}

#[test]
fn only_a_user_who_is_there_already_is_held() {
    let mut node = Node::new(1);
    let room = room(1);
    let first = node.join_without_waiting(&Guest::new(&room, "ann"));
    let other = node.join_without_waiting(&Guest::new(&room, "ben"));
    let elsewhere = node.join_without_waiting(&Guest::new(&crate::harness::room(2), "ann"));
    assert!([first, other, elsewhere].iter().all(|client| node.is_greeted(*client)));
    let second = node.join_without_waiting(&Guest::new(&room, "ann"));
    assert!(!node.is_greeted(second));
    node.resume(second, usize::MAX);
    assert!(!node.is_greeted(second), "a socket that takes bytes is no reason");
    node.advance_ms(RENEWAL_HOLD_MS - 1);
    assert!(!node.is_greeted(second));
    node.advance_ms(1);
    assert_eq!(node.bytes(second), GREETING);

    for ann in [first, second] {
        node.hang_up(ann);
    }
    let back = node.join_without_waiting(&Guest::new(&room, "ann"));
    assert!(node.is_greeted(back), "who comes back is not held");
}

#[test]
fn one_who_is_held_is_not_greeted_for_somebody_who_has_just_gone() {
    let mut node = Node::new(1);
    let room = room(1);
    node.join(&Guest::new(&room, "ann"));
    let ben = node.join(&Guest::new(&room, "ben"));
    node.receive(ben, &encode_masked(true, Opcode::Ping, [1, 2, 3, 4], b"an answer is due"));
    let (shard, index) = node.connection(ben);
    node.hub(shard).disconnected(index);
    node.carry_out(shard);
    let held = node.join_without_waiting(&Guest::new(&room, "ann"));
    assert_eq!(node.connection(held).1, index, "the index is used again");
    assert!(!node.is_greeted(held));
    node.event(&room, "meanwhile").expect("not busy");
    node.advance_ms(RENEWAL_HOLD_MS);
    assert_eq!(node.heard(held).len(), 1);
}

#[test]
fn so_it_is_in_a_room_that_is_spread_over_shards() {
    let mut node = Node::new(3);
    let room = room(1);
    let user = |number: u32| Guest::new(&room, &format!("{number}"));
    let members = 3 * HOME_SHARD_MEMBERS_MAX;
    for number in 0..members {
        let client = node.join_without_waiting(&user(number));
        assert!(node.is_greeted(client), "{number} is new");
    }
    for number in (0..members).step_by(7) {
        let client = node.join_without_waiting(&user(number));
        assert!(!node.is_greeted(client), "{number} has a connection somewhere");
    }
    let client = node.join_without_waiting(&user(members));
    assert!(node.is_greeted(client), "one who is new is not held because others are");
}

#[test]
fn a_connection_that_never_came_or_is_taken_back_home_leaves_no_count() {
    let mut node = Node::new(2);
    let room = room(1);
    let home = node.home(&room);
    let ann = Guest::new(&room, "ann");
    let given_up = node.place_on(1 - home, &ann);
    node.give_up(&room, given_up);
    let placement = node.place_on(1 - home, &ann);
    let placement = node.hub(home).place_at_home(&room, placement);
    assert_eq!((usize::from(placement.shard), placement.hold_ms), (home, 0));
    let client = node.adopt(&ann, placement);
    node.hang_up(client);
    assert!(node.hub(home).roll().is_empty());
    node.advance_seconds(1);
    node.event(&room, "to nobody").expect("not busy");
    assert_eq!(node.published, [], "the room has no home any more");
    let back = node.join_without_waiting(&ann);
    assert!(node.is_greeted(back), "nobody is counted any more");
}

#[test]
fn who_is_disconnected_while_held_is_told() {
    let mut node = Node::new(1);
    let room = room(1);
    let sender = node.join(&Guest::new(&room, "sender"));
    node.join(&Guest::new(&room, "ann"));
    let held = node.join_without_waiting(&Guest::new(&room, "ann"));
    node.say(sender, r#"{"Action":"DISCONNECT_USER","UserId":"ann","Reason":"enough"}"#);
    let heard = node.heard(held);
    assert_eq!(heard.len(), 2);
    assert_eq!(heard[0].member("EventName"), "aws:DISCONNECT_USER");
    assert_eq!(heard[1], Heard::Close(1000, "enough".to_owned()));
    node.advance_ms(RENEWAL_HOLD_MS);
    assert_eq!(node.heard(held), []);
}

#[test]
fn one_who_joins_during_a_pass_gets_what_the_pass_carries() {
    let mut node = Node::new(1);
    let room = room(1);
    let members: Vec<_> =
        (0..100).map(|number| node.join(&Guest::new(&room, &format!("{number}")))).collect();
    node.write_nanos = 50_000; // a pass of 5 ms: it yields five times
    node.send_quietly(members[0], "carried");
    node.take_inbox(0);
    node.flush(0);
    let reached = members.iter().filter(|member| node.heard(**member).len() == 1).count();
    assert!(0 < reached && reached < 100, "the pass has yielded after {reached}");
    let late = node.join(&Guest::new(&room, "late"));
    assert_eq!(ids(&node.heard(late)).len(), 1);
    let rest = members.iter().filter(|member| node.heard(**member).len() == 1).count();
    assert_eq!(reached + rest, 100);
}
