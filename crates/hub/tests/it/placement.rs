//! Proves that the home of a room counts its members rightly: frames go to the shards that have some, a room that is
//! left leaves nothing behind, and what answers a connection that is gone reaches nobody else.

use hub::message::{Message, ShardSet};

use crate::harness::{Guest, Node, room, settings};

fn shard_set(shards: &[u8]) -> ShardSet {
    shards.iter().fold(ShardSet::default(), |mut set, shard| {
        set.insert(*shard);
        set
    })
}

#[test]
fn a_small_room_stays_on_its_home_shard_and_a_big_one_spreads() {
    let mut node = Node::new(3);
    let room = room(1);
    let home = node.home(&room);
    let members: Vec<_> =
        (0..600).map(|number| node.join(&Guest::new(&room, &format!("{number}")))).collect();
    assert!(members[..256].iter().all(|member| node.connection(*member).0 == home));
    let counts: Vec<usize> = (0..3).map(|shard| node.hub(shard).connections()).collect();
    assert_eq!((counts.iter().sum::<usize>(), counts[home]), (600, 256));
    assert_eq!(counts.iter().filter(|count| **count == 172).count(), 2, "evenly: {counts:?}");
    node.send_message(members[599], "to all", "r");
    assert!(members.iter().all(|member| node.heard(*member).len() == 1));
}

#[test]
fn frames_go_to_the_shards_that_have_members() {
    let mut node = Node::new(3);
    let room = room(1);
    let publish = |node: &mut Node| {
        node.event(&room, "e").expect("not busy");
        node.published.pop()
    };
    assert_eq!(publish(&mut node), None, "nobody is there");
    let members = [2, 0, 1, 2].map(|shard| node.join_on(shard, &Guest::new(&room, "ann")));
    assert_eq!(publish(&mut node), Some(shard_set(&[0, 1, 2])));
    node.hang_up(members[0]);
    assert_eq!(publish(&mut node), Some(shard_set(&[0, 1, 2])), "one is left there");
    node.hang_up(members[3]);
    assert_eq!(publish(&mut node), Some(shard_set(&[0, 1])));
    node.hang_up(members[1]);
    node.hang_up(members[2]);
    assert_eq!(publish(&mut node), Some(ShardSet::default()));
    node.advance_seconds(2);
    assert_eq!(publish(&mut node), None, "its home is gone too");
}

#[test]
fn a_room_that_everybody_left_leaves_nothing_behind() {
    let mut node = Node::new(2);
    let room = room(1);
    let home = node.home(&room);
    for _ in 0..3 {
        node.loads.clear();
        let members: Vec<_> =
            (0..10).map(|number| node.join_on(number % 2, &Guest::new(&room, "ann"))).collect();
        assert_eq!(node.loads.len(), 1, "a home is made anew");
        node.tell(home, Message::RoomChanged { room: room.clone(), settings: settings(1) });
        node.send_message(members[1], "hi", "r");
        node.hang_up(members[0]);
        node.break_socket(members[1]);
        node.stall(members[2], 0);
        node.say(members[3], r#"{"Action":"DISCONNECT_USER","UserId":"ann","RequestId":"r"}"#);
        node.advance_seconds(6);
        assert_eq!([0, 1].map(|shard| node.hub(shard).connections()), [0, 0]);
        assert_eq!([0, 1].map(|shard| node.log_bytes(shard, &room)), [None, None]);
        assert!([0, 1].iter().all(|shard| node.hub(*shard).roll().is_empty()));
        assert!(node.event(&room, "to nobody").is_ok());
        assert!(node.left >= 4);
    }
}

/// A simulation must be repeatable, so no order may come from a random hash.
#[test]
fn what_a_sweep_asks_for_comes_in_the_same_order_in_every_run() {
    let run = || {
        let mut node = Node::new(1);
        for number in 0..50 {
            node.join(&Guest::new(&room(number), "ann"));
        }
        node.loads.clear();
        node.sweep();
        std::mem::take(&mut node.loads)
    };
    let loads = run();
    assert_eq!(loads.len(), 50);
    assert_eq!(run(), loads);
}

#[test]
fn a_handshake_that_was_given_up_is_taken_back_by_left() {
    let mut node = Node::new(1);
    let room = room(1);
    let given_up = node.place(&Guest::new(&room, "ann"));
    node.settle();
    node.event(&room, "e").expect("not busy");
    assert_eq!(node.published, [shard_set(&[0])]);
    node.give_up(&room, given_up);
    node.advance_seconds(1);
    node.event(&room, "e").expect("not busy");
    assert_eq!(node.published.len(), 1);
}

#[test]
fn what_answers_a_connection_that_is_gone_reaches_nobody_else() {
    let mut node = Node::new(2);
    let room = room(1);
    let home = node.home(&room);
    let away = 1 - home;
    let ann = node.join_on(away, &Guest::new(&room, "ann"));
    node.send_message(ann, "settle down", "r");
    node.heard(ann);
    let bob_at_the_door = node.place_on(away, &Guest::new(&room, "bob"));
    // Her next request is refused at home; she leaves while it is under way, and bob gets her index.
    node.send_quietly(ann, &"x".repeat(501));
    let (_, index) = node.connection(ann);
    node.hub(away).disconnected(index);
    node.carry_out(away);
    let bob = node.adopt_without_settling(&Guest::new(&room, "bob"), bob_at_the_door);
    assert_eq!(node.connection(bob).1, index, "the index is used again");
    node.settle();
    node.advance_ms(100);
    assert_eq!(node.heard(bob), []);
}
