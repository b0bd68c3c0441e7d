//! Proves that a joiner misses nothing: official SDKs rotate tokens by opening the new socket first and closing the old
//! one as soon as it is open, so together the two must get every frame in time.

use std::collections::{BTreeSet, VecDeque};

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
    const ROUND_MS: u64 = 11;
    const LATE_MS: u64 = 200; // what is written to the old connection is read so much later
    for rotate_at in 0..30 {
        let mut node = Node::new(1);
        let room = room(1);
        let sender = node.join(&Guest::new(&room, "sender"));
        let old = node.join(&Guest::new(&room, "ann"));
        let mut on_its_way = VecDeque::new();
        let mut got = BTreeSet::new();
        let mut new = None;
        for round in 0..80 {
            if round == rotate_at {
                new = Some(node.join_without_waiting(&Guest::new(&room, "ann")));
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
        assert_eq!(got, all, "rotated at {rotate_at}");
    }
}

#[test]
fn in_a_small_room_only_a_user_who_is_there_already_is_held() {
    let mut node = Node::new(1);
    let room = room(1);
    let first = node.join_without_waiting(&Guest::new(&room, "ann"));
    let other = node.join_without_waiting(&Guest::new(&room, "ben"));
    assert!(node.is_greeted(first) && node.is_greeted(other));
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

    for number in 0..HOME_SHARD_MEMBERS_MAX {
        node.join(&Guest::new(&room, &format!("{number}")));
    }
    let late = node.join_without_waiting(&Guest::new(&room, "ben"));
    assert!(node.is_greeted(late), "in a big room nobody is held");
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
