//! Proves that the first frame to a quiet room leaves at once, that frames within the window gather into one write per
//! member, and that a window of 0 gathers nothing.

use crate::harness::{Guest, Node, room};

#[test]
fn the_first_frame_leaves_at_once_and_those_within_the_window_gather() {
    let mut node = Node::new(1);
    let room = room(1);
    let members = ["ann", "bob", "eve"].map(|user| node.join(&Guest::new(&room, user)));
    for member in members {
        node.writes(member);
    }
    node.send_message(members[0], "first", "r");
    assert_eq!(members.map(|member| node.heard(member).len()), [1; 3], "at once");
    for number in 0..5 {
        node.advance_ms(7);
        node.send_message(members[number % 3], "more", "r");
        assert_eq!(members.map(|member| node.heard(member).len()), [0; 3], "gathers");
    }
    node.advance_ms(4);
    assert_eq!(members.map(|member| node.heard(member).len()), [0; 3], "39 ms after the first");
    node.advance_ms(1);
    assert_eq!(members.map(|member| node.heard(member).len()), [5; 3]);
    assert_eq!(members.map(|member| node.writes(member).len()), [2; 3], "one write each time");
    node.advance_ms(39);
    node.send_message(members[0], "within the second window", "r");
    assert_eq!(members.map(|member| node.heard(member).len()), [0; 3]);
    node.advance_ms(1);
    assert_eq!(members.map(|member| node.heard(member).len()), [1; 3]);
    node.advance_ms(40);
    node.send_message(members[0], "quiet again", "r");
    assert_eq!(members.map(|member| node.heard(member).len()), [1; 3]);
}

#[test]
fn without_a_window_every_frame_leaves_at_once() {
    let mut node = Node::with(1, |settings| settings.coalescing_window_nanos = 0);
    let ann = node.join(&Guest::new(&room(1), "ann"));
    for _ in 0..5 {
        node.send_message(ann, "now", "r");
        assert_eq!(node.heard(ann).len(), 1);
    }
    assert_eq!(node.hub(0).next_due(), None);
}

#[test]
fn each_room_has_its_own_window() {
    let mut node = Node::new(1);
    let rooms = [room(1), room(2)];
    let members = rooms.map(|room| node.join(&Guest::new(&room, "ann")));
    node.send_message(members[0], "first", "r");
    node.advance_ms(10);
    node.send_message(members[1], "first", "r");
    assert_eq!(members.map(|member| node.heard(member).len()), [1, 1]);
}

/// The slot of a room that emptied while a pass was due goes to the next room; what was due must not.
#[test]
fn a_room_that_went_away_leaves_no_pass_behind() {
    let mut node = Node::new(1);
    let old = room(1);
    let ann = node.join(&Guest::new(&old, "ann"));
    node.send_message(ann, "at once", "r");
    node.advance_ms(20);
    node.send_message(ann, "due at 40 ms", "r");
    node.hang_up(ann);
    let bob = node.join(&Guest::new(&room(2), "bob"));
    node.advance_ms(10);
    node.send_message(bob, "at once", "r");
    node.send_message(bob, "due at 70 ms", "r");
    assert_eq!(node.heard(bob).len(), 1);
    node.advance_ms(39);
    assert_eq!(node.heard(bob).len(), 0, "not before its own window ends");
    node.advance_ms(1);
    assert_eq!(node.heard(bob).len(), 1);
}
