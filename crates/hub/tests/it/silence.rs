//! Proves that a peer which says nothing for 30 s is pinged, once (a crowd not all at the same time), and dropped without a Close after 75 s, and that any
//! byte from it counts as a sign of life.

use hub::frame::{Opcode, encode_masked};

use crate::harness::{Guest, Heard, Node, room};

#[test]
fn a_silent_peer_is_pinged_once_and_then_dropped() {
    let mut node = Node::new(1);
    let ann = node.join(&Guest::new(&room(1), "ann"));
    node.advance_seconds(29);
    assert_eq!(node.heard(ann), []);
    node.advance_seconds(1);
    assert_eq!(node.heard(ann), [Heard::Ping]);
    node.advance_seconds(44);
    assert!(node.heard(ann).is_empty() && !node.is_closed(ann));
    node.advance_seconds(1);
    assert!(node.is_closed(ann) && node.heard(ann).is_empty());
    assert_eq!(node.hub(0).counters().dead_peers_dropped, 1);
    assert_eq!(node.hub(0).counters().slow_readers_dropped, 0);
}

#[test]
fn a_crowd_that_joined_together_is_pinged_over_ten_seconds() {
    let mut node = Node::new(1);
    let crowd: Vec<_> = (0..10).map(|_| node.join(&Guest::new(&room(1), "ann"))).collect();
    let mut pinged = 0;
    for _ in 0..31 {
        node.advance_seconds(1);
        let now = crowd.iter().filter(|peer| node.heard(**peer) == [Heard::Ping]).count();
        // One each second, or two where the joins were on both sides of a full second.
        assert!(now <= 2, "{now} at once");
        pinged += now;
    }
    assert_eq!(pinged, 10);
}

#[test]
fn a_pong_or_half_a_frame_is_a_sign_of_life() {
    let mut node = Node::new(1);
    let pong = encode_masked(true, Opcode::Pong, [1; 4], b"");
    let ann = node.join(&Guest::new(&room(1), "ann"));
    for _ in 0..3 {
        node.advance_seconds(30);
        assert_eq!(node.heard(ann), [Heard::Ping]);
        node.send(ann, &pong[..1]);
        node.advance_seconds(30);
        assert_eq!(node.heard(ann), [Heard::Ping]);
        node.send(ann, &pong[1..]);
    }
    assert!(!node.is_closed(ann));
}
