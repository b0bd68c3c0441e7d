//! Proves that what is for one connection alone (ERROR, pong, Close) leaves at once, behind all that its room has sent
//! so far and before what its room sends later, and that nobody else's window is cut short by it.

use hub::frame::{Opcode, encode_masked};

use crate::harness::{Guest, Heard, Node, room};

fn ping(payload: &[u8]) -> Vec<u8> {
    encode_masked(true, Opcode::Ping, [7; 4], payload)
}

#[test]
fn an_error_comes_at_its_place_and_at_once() {
    let mut node = Node::new(1);
    let room = room(1);
    let [ann, bob] = ["ann", "bob"].map(|user| node.join(&Guest::new(&room, user)));
    node.send_message(ann, "one", "r1");
    node.send_message(ann, "two", "r2");
    node.say(ann, "nonsense");
    let heard = node.heard(ann);
    assert_eq!(heard[..2].iter().map(|frame| frame.member("RequestId")).collect::<Vec<_>>(), ["r1", "r2"]);
    assert!(heard[2].text().contains("\"ErrorCode\":400"), "{heard:?}");
    assert_eq!(node.heard(bob).len(), 1, "bob's window goes on");
    node.send_message(ann, "three", "r3");
    node.advance_ms(40);
    assert_eq!(node.heard(ann).len(), 1);
    assert_eq!(node.heard(bob).len(), 2);
}

#[test]
fn a_pong_carries_the_payload_of_its_ping_behind_the_room_s_frames() {
    let mut node = Node::new(1);
    let ann = node.join(&Guest::new(&room(1), "ann"));
    node.send_message(ann, "one", "r");
    node.send_message(ann, "two", "r");
    node.heard(ann);
    node.send(ann, &ping(b"payload"));
    let heard = node.heard(ann);
    assert_eq!((heard[0].member("Content"), &heard[1]), ("two", &Heard::Pong(b"payload".to_vec())));
}

#[test]
fn a_client_s_close_is_answered_behind_the_room_s_frames_with_its_code() {
    for (payload, answer) in [(&[][..], 0), (&[3, 0xE8][..], 1000), (&[0x0F, 0xA0, b'x'][..], 4000)] {
        let mut node = Node::new(1);
        let ann = node.join(&Guest::new(&room(1), "ann"));
        node.send_message(ann, "one", "r");
        node.send_message(ann, "two", "r");
        node.send(ann, &encode_masked(true, Opcode::Close, [7; 4], payload));
        let heard = node.heard(ann);
        assert_eq!(heard[1].member("Content"), "two");
        assert_eq!(heard[2], Heard::Close(answer, String::new()));
        assert!(node.is_shut_down(ann) && !node.is_closed(ann));
        node.send(ann, &ping(b"too late"));
        node.advance_seconds(5);
        assert_eq!(node.heard(ann), []);
        assert!(node.is_closed(ann), "the peer has not closed its side in time");
        assert_eq!(node.hub(0).connections(), 0);
    }
}

#[test]
fn what_breaks_the_rfc_is_closed_with_its_code() {
    for (bytes, code) in [
        (vec![0x81, 0x00], 1002),
        (encode_masked(true, Opcode::Binary, [1; 4], b"x"), 1003),
        (encode_masked(true, Opcode::Text, [1; 4], &[0xFF]), 1007),
        (encode_masked(true, Opcode::Text, [1; 4], &[b'x'; 16 * 1_024 + 1]), 1009),
    ] {
        let mut node = Node::new(1);
        let ann = node.join(&Guest::new(&room(1), "ann"));
        node.send(ann, &bytes);
        assert_eq!(node.heard(ann), [Heard::Close(code, String::new())]);
        assert!(node.is_shut_down(ann));
        node.hang_up(ann);
        assert!(node.is_closed(ann));
    }
}

#[test]
fn a_blocked_client_gets_its_error_in_the_right_place_later() {
    let mut node = Node::new(1);
    let room = room(1);
    let [ann, bob] = ["ann", "bob"].map(|user| node.join(&Guest::new(&room, user)));
    node.stall(ann, 10);
    node.send_message(bob, "before", "r1");
    node.say(ann, "nonsense");
    node.send(ann, &ping(b"p"));
    node.advance_ms(40);
    node.send_message(bob, "after", "r2");
    node.advance_ms(40);
    node.resume(ann, usize::MAX);
    let heard = node.heard(ann);
    assert_eq!(heard.len(), 4);
    assert_eq!(heard[0].member("Content"), "before");
    assert!(heard[1].text().contains("ERROR"));
    assert_eq!(heard[2], Heard::Pong(b"p".to_vec()));
    assert_eq!(heard[3].member("Content"), "after");
}
