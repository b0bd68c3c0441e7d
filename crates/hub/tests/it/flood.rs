//! Proves that a client which sends frames without end has only so many of them read in a second, whatever their kind;
//! that none of them is lost or refused; and that neither its own room's frames nor other clients wait for it.

use hub::frame::{Opcode, encode_masked};
use protocol::limit::edge::{FRAME_PAUSE_MS, FRAMES_PER_SECOND, MESSAGE_BYTES_MAX};

use crate::harness::{Guest, Heard, Node, room};

const BUDGET: usize = FRAMES_PER_SECOND as usize;

fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    encode_masked(fin, opcode, [5, 6, 7, 8], payload)
}

#[test]
fn frames_of_every_kind_are_read_at_the_limited_rate() {
    let kinds = [
        ("empty fragments", frame(false, Opcode::Text, b"{"), frame(false, Opcode::Continuation, b"")),
        ("pongs", Vec::new(), frame(true, Opcode::Pong, b"")),
        ("pings", Vec::new(), frame(true, Opcode::Ping, b"")),
        ("requests", Vec::new(), frame(true, Opcode::Text, b"x")),
    ];
    for (kind, start, endless) in kinds {
        let mut node = Node::new(1);
        let eve = node.join(&Guest::new(&room(1), "eve"));
        node.send(eve, &start);
        node.send(eve, &endless.repeat(20 * BUDGET));
        let read = |node: &Node| 20 * BUDGET - node.untaken_bytes(eve) / endless.len();
        assert!((BUDGET - 1..=BUDGET).contains(&read(&node)), "{} {kind} at once", read(&node));
        node.advance_ms(10_000);
        assert!((10 * BUDGET..=11 * BUDGET).contains(&read(&node)), "{} {kind} in 10 s", read(&node));
        assert_eq!(node.hub(0).counters().pauses, 101, "{kind}");
        node.advance_ms(10_000);
        assert_eq!(node.untaken_bytes(eve), 0, "all {kind} are read in the end");
        assert!(!node.is_closed(eve) && !node.is_shut_down(eve), "{kind}");
    }
}

#[test]
fn nothing_of_it_is_lost() {
    let mut node = Node::new(1);
    let eve = node.join(&Guest::new(&room(1), "eve"));
    let pings: Vec<u8> = (0..5 * BUDGET).flat_map(|number| ping(number).into_iter()).collect();
    for piece in pings.chunks(997) {
        node.send(eve, piece);
    }
    node.advance_ms(5_000);
    let pongs: Vec<Heard> =
        (0..5 * BUDGET).map(|number| Heard::Pong(number.to_be_bytes().to_vec())).collect();
    assert_eq!(node.heard(eve), pongs);
}

fn ping(number: usize) -> Vec<u8> {
    frame(true, Opcode::Ping, &number.to_be_bytes())
}

#[test]
fn a_message_in_one_byte_fragments_is_legal_and_takes_its_time() {
    let mut node = Node::new(1);
    let room = room(1);
    let [ann, bob] = ["ann", "bob"].map(|user| node.join(&Guest::new(&room, user)));
    let start = br#"{"Action":"SEND_MESSAGE","Content":"whole","Padding":""#;
    let mut text = start.to_vec();
    text.resize(MESSAGE_BYTES_MAX - 2, b'x');
    text.extend_from_slice(b"\"}");
    node.send(ann, &frame(false, Opcode::Text, &text[..1]));
    for byte in &text[1..text.len() - 1] {
        node.send(ann, &frame(false, Opcode::Continuation, &[*byte]));
    }
    node.send(ann, &frame(true, Opcode::Continuation, &text[text.len() - 1..]));
    assert_eq!(node.heard(bob), []);
    node.advance_seconds(u64::try_from(MESSAGE_BYTES_MAX / BUDGET).unwrap());
    assert_eq!(node.heard(bob)[0].member("Content"), "whole");
}

#[test]
fn others_and_what_its_room_says_do_not_wait() {
    let mut node = Node::new(1);
    let [flooded, quiet] = [room(1), room(2)];
    let eve = node.join(&Guest::new(&flooded, "eve"));
    let [ann, bob] = ["ann", "bob"].map(|user| node.join(&Guest::new(&quiet, user)));
    node.send(eve, &frame(true, Opcode::Pong, b"").repeat(3 * BUDGET));
    node.send_message(ann, "undisturbed", "r");
    assert_eq!(node.heard(bob)[0].member("Content"), "undisturbed");
    node.event(&flooded, "for eve, too").expect("not busy");
    assert_eq!(node.heard(eve)[0].member("EventName"), "for eve, too");
    assert!(node.untaken_bytes(eve) > 0, "eve is still not read");
}

#[test]
fn who_comes_after_a_paused_connection_is_not_paused() {
    let mut node = Node::new(1);
    let eve = node.join(&Guest::new(&room(1), "eve"));
    node.send(eve, &frame(true, Opcode::Pong, b"").repeat(2 * BUDGET));
    let (_, index) = node.connection(eve);
    assert!(node.hub(0).is_paused(index));
    node.hang_up(eve);
    let ann = node.join(&Guest::new(&room(1), "ann"));
    assert_eq!(node.connection(ann), (0, index), "the index is used again");
    assert!(!node.hub(0).is_paused(index));
    node.send(ann, &frame(true, Opcode::Pong, b"").repeat(2 * BUDGET));
    let waiting = node.untaken_bytes(ann);
    node.advance_ms(FRAME_PAUSE_MS - 1);
    assert_eq!(node.untaken_bytes(ann), waiting, "the end of eve's pause is not the end of ann's");
}

#[test]
fn with_rates_lifted_all_is_read_at_once() {
    let mut node = Node::with(1, |settings| settings.rates_lifted = true);
    let ann = node.join(&Guest::new(&room(1), "ann"));
    node.send(ann, &ping(7).repeat(10 * BUDGET));
    assert_eq!(node.heard(ann).len(), 10 * BUDGET);
}
