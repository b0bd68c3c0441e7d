//! Proves what becomes of a member whose socket is full: it is skipped and costs others nothing, goes on at the right
//! byte, is dropped without a Close beyond 256 KiB or 10 s, and the log is freed behind the slowest.

use hub::message::{Publication, RoomKey};
use protocol::limit::edge::{LAG_BYTES_MAX, LAG_MS_MAX};

use crate::harness::{Guest, Heard, Node, room};

/// A frame of about 4 KiB to everybody.
fn big_event(node: &mut Node, room: &RoomKey) {
    let attributes = [("filling".to_owned(), "x".repeat(4_000))].into_iter().collect();
    let event = Publication::Event { name: "big".to_owned(), attributes: Some(attributes) };
    node.publish(room, event).expect("not busy");
}

#[test]
fn a_blocked_member_is_skipped_and_catches_up_exactly() {
    let mut node = Node::new(1);
    let room = room(1);
    let [ann, bob] = ["ann", "bob"].map(|user| node.join(&Guest::new(&room, user)));
    node.stall(ann, 0);
    for number in 0..20 {
        node.event(&room, &format!("event {number}")).expect("not busy");
        node.advance_ms(40);
    }
    let all = node.heard(bob);
    assert_eq!(all.len(), 20);
    assert_eq!(node.heard(ann), []);
    node.writes(ann);
    node.resume(ann, usize::MAX);
    assert_eq!(node.heard(ann), all);
    assert_eq!(node.writes(ann).len(), 1, "all of it in one write");
    node.event(&room, "next").expect("not busy");
    assert_eq!(node.heard(ann), node.heard(bob));
}

#[test]
fn partial_writes_go_on_at_the_right_byte() {
    for step in 1..80 {
        let mut node = Node::new(1);
        let room = room(1);
        let [ann, bob] = ["ann", "bob"].map(|user| node.join(&Guest::new(&room, user)));
        node.stall(ann, step);
        node.limit_writes(ann, 7);
        for number in 0..4 {
            node.event(&room, &format!("event {number}")).expect("not busy");
            node.say(ann, "an error at its place");
            node.advance_ms(15);
            node.resume(ann, step);
        }
        node.advance_ms(40);
        for _ in 0..2_000 {
            node.resume(ann, step);
        }
        let heard = node.heard(ann);
        let errors = heard.iter().filter(|frame| frame.text().contains("ERROR")).count();
        let events: Vec<Heard> = heard.into_iter().filter(|frame| frame.text().contains("EVENT")).collect();
        assert_eq!((events, errors), (node.heard(bob), 4), "{step} bytes at a time");
    }
}

#[test]
fn beyond_256_kib_it_is_dropped_without_a_close() {
    let mut node = Node::new(1);
    let room = room(1);
    let [ann, bob] = ["ann", "bob"].map(|user| node.join(&Guest::new(&room, user)));
    node.heard(ann);
    node.stall(ann, 0);
    let (_, connection) = node.connection(ann);
    let mut most = 0;
    while !node.is_closed(ann) {
        let lag = node.hub(0).lag_bytes(connection).expect("not dropped yet");
        assert!(lag <= LAG_BYTES_MAX, "{lag}");
        most = lag;
        big_event(&mut node, &room);
        node.advance_ms(40);
    }
    assert!(most > LAG_BYTES_MAX - 5_000, "dropped after {most} bytes already");
    assert!(node.bytes(ann).is_empty() && !node.is_shut_down(ann), "no Close frame");
    assert_eq!(node.hub(0).counters().slow_readers_dropped, 1);
    assert_eq!(node.heard(bob).len(), usize::try_from(LAG_BYTES_MAX / 4_100).unwrap() + 1);
}

#[test]
fn after_10_seconds_it_is_dropped_without_a_close() {
    let mut node = Node::new(1);
    let room = room(1);
    let ann = node.join(&Guest::new(&room, "ann"));
    node.heard(ann);
    node.stall(ann, 3);
    node.event(&room, "stuck").expect("not busy");
    node.advance_seconds(LAG_MS_MAX / 1_000);
    assert!(!node.is_closed(ann));
    node.resume(ann, 3);
    node.advance_seconds(1);
    assert!(node.is_closed(ann), "taking a few bytes is not keeping up");
    assert_eq!(node.bytes(ann).len(), 6);
    assert_eq!(node.hub(0).counters().slow_readers_dropped, 1);
    node.advance_seconds(1);
    assert_eq!(node.hub(0).connections(), 0);
}

#[test]
fn one_who_catches_up_begins_anew() {
    let mut node = Node::new(1);
    let room = room(1);
    let ann = node.join(&Guest::new(&room, "ann"));
    for _ in 0..3 {
        node.stall(ann, 0);
        node.event(&room, "stuck").expect("not busy");
        node.advance_seconds(9);
        node.resume(ann, usize::MAX);
    }
    assert_eq!((node.is_closed(ann), node.heard(ann).len()), (false, 3));
}

/// A shard may read the clock, then flush, and then sweep with the reading it has.
#[test]
fn a_sweep_that_is_a_little_behind_drops_nobody() {
    let mut node = Node::new(1);
    let room = room(1);
    let ann = node.join(&Guest::new(&room, "ann"));
    let before = node.now();
    node.stall(ann, 0);
    node.advance_ms(5);
    node.event(&room, "stuck").expect("not busy");
    node.hub(0).sweep(before);
    node.settle();
    assert!(!node.is_closed(ann));
}

#[test]
fn a_broken_socket_is_removed_and_harms_nobody() {
    let mut node = Node::new(1);
    let room = room(1);
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(|user| node.join(&Guest::new(&room, user)));
    node.break_socket(ann);
    node.event(&room, "one").expect("not busy");
    assert!(node.is_closed(ann));
    node.break_socket(bob);
    node.say(bob, "an error that cannot be written");
    assert!(node.is_closed(bob));
    node.event(&room, "two").expect("not busy");
    node.advance_ms(40);
    assert_eq!((node.heard(eve).len(), node.hub(0).connections()), (2, 1));
    assert_eq!(node.hub(0).counters().slow_readers_dropped, 0);
}

#[test]
fn the_log_is_freed_behind_the_slowest() {
    let mut node = Node::new(1);
    let room = room(1);
    let [ann, bob] = ["ann", "bob"].map(|user| node.join(&Guest::new(&room, user)));
    let fill = |node: &mut Node| {
        for _ in 0..50 {
            big_event(node, &room);
            node.advance_ms(40);
        }
    };
    fill(&mut node);
    assert!(node.log_bytes(0, &room) <= Some(16 * 1_024), "all have all");
    for leave in [false, true] {
        node.stall(ann, 0);
        fill(&mut node);
        assert!(node.log_bytes(0, &room) >= Some(200_000), "kept for the slow one");
        if leave {
            node.hang_up(ann);
        } else {
            node.resume(ann, usize::MAX);
        }
        assert!(node.log_bytes(0, &room) <= Some(16 * 1_024), "freed although the room is quiet now");
    }
    assert_eq!(node.heard(bob).len(), 150);
}
