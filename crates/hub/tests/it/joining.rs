//! Proves that a joiner misses nothing: official SDKs rotate tokens by opening the new socket first and closing the old
//! one, so together the two must get every frame.

use std::collections::BTreeSet;

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
fn old_and_new_connection_together_lose_nothing() {
    for rotate_at in 0..30 {
        let mut node = Node::new(1);
        let room = room(1);
        let sender = node.join(&Guest::new(&room, "sender"));
        let old = node.join(&Guest::new(&room, "ann"));
        let mut got = BTreeSet::new();
        let mut new = None;
        for round in 0..30 {
            if round == rotate_at {
                new = Some(node.join(&Guest::new(&room, "ann")));
                got.extend(ids(&node.heard(old)));
                node.hang_up(old);
            }
            node.event(&room, &format!("event {round}")).expect("not busy");
            node.advance_ms(11);
        }
        node.advance_ms(40);
        let new = ids(&node.heard(new.expect("rotated")));
        let all = ids(&node.heard(sender));
        assert_eq!(all.len(), 30);
        assert_eq!(new.iter().collect::<BTreeSet<_>>().len(), new.len(), "none twice on one connection");
        got.extend(new);
        assert_eq!(got, all.into_iter().collect::<BTreeSet<_>>(), "rotated at {rotate_at}");
    }
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
