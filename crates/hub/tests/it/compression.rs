//! Members who take messages compressed, beside others who do not: all get the same in one order, and what the former
//! send is inflated, up to the limit of a message.

use hub::deflate::Deflater;
use hub::frame::{Opcode, encode_masked, encode_text, payload_of};
use protocol::limit::edge::MESSAGE_BYTES_MAX;

use crate::harness::{GREETING, Guest, Heard, Node, decode, room};

const MASK: [u8; 4] = [1, 2, 3, 4];
/// Says that a frame is compressed.
const DEFLATED: u8 = 0x40;

fn deflating(user: &str) -> Guest {
    Guest { deflates: true, ..Guest::new(&room(1), user) }
}

fn deflated(text: &str) -> Vec<u8> {
    payload_of(&Deflater::default().deflate(&encode_text(text)).expect("it gets shorter")).to_vec()
}

/// A client's frames of one compressed message, in so many pieces.
fn compressed_message(payload: &[u8], pieces: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let chunks: Vec<&[u8]> = payload.chunks(payload.len().div_ceil(pieces)).collect();
    for (number, chunk) in chunks.iter().enumerate() {
        let opcode = if number == 0 { Opcode::Text } else { Opcode::Continuation };
        let mut frame = encode_masked(number + 1 == chunks.len(), opcode, MASK, chunk);
        frame[0] |= if number == 0 { DEFLATED } else { 0 };
        bytes.extend(frame);
    }
    bytes
}

fn action(content: &str) -> String {
    format!(r#"{{"Action":"SEND_MESSAGE","Content":"{content}"}}"#)
}

#[test]
fn all_hear_the_same_and_the_frames_of_some_are_shorter() {
    let mut node = Node::new(2);
    let plain = node.join_on(0, &Guest::new(&room(1), "plain"));
    let packed = [node.join_on(0, &deflating("packed")), node.join_on(1, &deflating("packed"))];
    for client in [&[plain], &packed[..]].concat() {
        assert_eq!(node.bytes(client), GREETING);
    }
    let lengths = [1, 7, 400, 2];
    for length in lengths {
        node.send_message(plain, &"x".repeat(length), "r");
        node.advance_ms(40);
    }
    let bytes = node.bytes(plain);
    let (heard, rest) = decode(&bytes);
    assert!(heard.len() == lengths.len() && rest.is_empty());
    for client in packed {
        let packed_bytes = node.bytes(client);
        assert_eq!(decode(&packed_bytes).0, heard);
        assert_eq!(packed_bytes[0], 0xC1);
        assert!(packed_bytes.len() < bytes.len(), "{} of {}", packed_bytes.len(), bytes.len());
    }
}

#[test]
fn what_is_for_one_alone_comes_as_it_is_and_in_its_place() {
    let mut node = Node::new(1);
    let client = node.join(&deflating("packed"));
    node.send_message(client, "first", "r");
    node.say(client, "nonsense");
    let heard = node.heard(client);
    assert_eq!(heard[0].member("Content"), "first");
    assert_eq!(heard[1].member("Type"), "ERROR");
}

#[test]
fn a_kick_ends_the_connections_of_both_kinds() {
    let mut node = Node::new(2);
    let eves = [node.join(&deflating("eve")), node.join(&Guest::new(&room(1), "eve"))];
    let ann = node.join(&deflating("ann"));
    node.say(ann, r#"{"Action":"DISCONNECT_USER","UserId":"eve","Reason":"out"}"#);
    for eve in eves {
        assert_eq!(node.heard(eve).last(), Some(&Heard::Close(1000, "out".to_owned())));
    }
    assert!(!node.is_closed(ann));
}

#[test]
fn compressed_requests_are_understood_whole_and_in_pieces() {
    let mut node = Node::new(1);
    let client = node.join(&deflating("packed"));
    for (pieces, content) in [(1, "aaaaaaaaaaaaaaaa"), (3, "bbbbbbbbbbbbbbbb"), (9, "ééééééééééééé")]
    {
        node.send(client, &compressed_message(&deflated(&action(content)), pieces));
        node.send_message(client, "as it is", "r");
        node.advance_ms(40);
        let heard = node.heard(client);
        let contents: Vec<&str> = heard.iter().map(|frame| frame.member("Content")).collect();
        assert_eq!(contents, [content, "as it is"], "{pieces} pieces");
    }
}

#[test]
fn what_was_not_agreed_upon_or_cannot_be_inflated_closes_with_its_code() {
    let mut node = Node::new(1);
    let good = compressed_message(&deflated(&action("aaaaaaaaaaaaaaaa")), 1);
    let garbage = compressed_message(&[0xFF; 20], 1);
    let bomb = compressed_message(&deflated_by_client(&"a".repeat(100 * MESSAGE_BYTES_MAX)), 1);
    for (deflates, bytes, code) in [(false, good, 1002), (true, garbage, 1007), (true, bomb, 1009)] {
        let client = node.join(&Guest { deflates, ..Guest::new(&room(1), "user") });
        node.send(client, &bytes);
        assert_eq!(node.heard(client), [Heard::Close(code, String::new())]);
    }
}

#[test]
fn a_room_that_all_have_left_is_forgotten() {
    let mut node = Node::new(1);
    let clients =
        [node.join(&deflating("a")), node.join(&Guest::new(&room(1), "b")), node.join(&deflating("c"))];
    node.send_message(clients[0], "hello", "r");
    node.advance_ms(40);
    for client in clients {
        assert!(node.log_bytes(0, &room(1)).is_some());
        node.hang_up(client);
    }
    assert_eq!(node.log_bytes(0, &room(1)), None);
    let next = node.join(&deflating("d"));
    node.send_message(next, "hello again", "r");
    assert_eq!(node.heard(next)[0].member("Content"), "hello again");
}

/// What costs as much as many frames counts as many, and its sender is read more slowly.
#[test]
fn a_few_bytes_that_are_much_work_count_as_many_frames() {
    let mut node = Node::new(1);
    let long = compressed_message(&deflated_by_client(&"[".repeat(MESSAGE_BYTES_MAX - 100)), 1);
    // Empty blocks, of 10 bits each: they say nothing.
    let empty = compressed_message(&[[0x02, 0x08, 0x20, 0x80, 0x00].repeat(3_000), vec![0]].concat(), 1);
    for bytes in [long, empty] {
        let client = node.join(&deflating("hostile"));
        node.send(client, &bytes.repeat(40));
        let read = 40 - node.untaken_bytes(client) / bytes.len();
        assert!((1..25).contains(&read), "{read} messages of {} bytes were read", bytes.len());
        assert!(!node.is_closed(client));
    }
    let client = node.join(&deflating("polite"));
    let polite = compressed_message(&deflated(&action("aaaaaaaaaaaaaaaa")), 1);
    node.send(client, &polite.repeat(10));
    assert_eq!(node.untaken_bytes(client), 0);
    node.advance_ms(40);
    assert_eq!(node.heard(client).len(), 10);
}

fn deflated_by_client(text: &str) -> Vec<u8> {
    let mut compress = flate2::Compress::new(flate2::Compression::best(), false);
    let mut payload = Vec::with_capacity(text.len() + 100);
    let status = compress.compress_vec(text.as_bytes(), &mut payload, flate2::FlushCompress::Sync);
    assert!(status.is_ok() && compress.total_in() == text.len() as u64);
    payload.truncate(payload.len() - 4);
    payload
}
