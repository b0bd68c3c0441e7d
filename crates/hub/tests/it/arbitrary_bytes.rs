//! Proves that no bytes of a client, however they are cut, make a hub panic or disturb another client.

use hub::frame::{Opcode, encode_masked};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{prop_assert, prop_assert_eq, proptest};

use crate::harness::{Guest, Node, room};

/// Bytes that are close enough to frames to get deep.
fn nearly_frames() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![
        4 => Just(Opcode::Text),
        2 => Just(Opcode::Continuation),
        1 => Just(Opcode::Ping),
        1 => Just(Opcode::Pong),
        1 => Just(Opcode::Binary),
        1 => Just(Opcode::Close),
    ];
    let payload = prop_oneof![
        "\\{\"(Action|content|Attributes)\":\"?[A-Z_{}\"é0]{0,20}\"?\\}".prop_map(String::into_bytes),
        Just(br#"{"Action":"SEND_MESSAGE","Content":"hi"}"#.to_vec()),
        Just(br#"{"Action":"DISCONNECT_USER","UserId":"ann"}"#.to_vec()),
        proptest::collection::vec(any::<u8>(), 0..130),
    ];
    let frame = (any::<bool>(), opcode, any::<[u8; 4]>(), payload)
        .prop_map(|(fin, opcode, mask, payload)| encode_masked(fin, opcode, mask, &payload));
    let piece = prop_oneof![6 => frame, 1 => proptest::collection::vec(any::<u8>(), 0..40)];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in nearly_frames(), cut in 1..50_usize) {
        let mut node = Node::new(1);
        let room = room(1);
        let ann = node.join(&Guest::new(&room, "ann"));
        let bob = node.join(&Guest::new(&room, "bob"));
        for piece in bytes.chunks(cut) {
            node.send(ann, piece);
        }
        node.advance_seconds(2);
        let before = node.heard(bob).len();
        prop_assert!(before <= 12);
        node.event(&room, "bob is well").expect("not busy");
        prop_assert_eq!(node.heard(bob).len(), 1);
        node.heard(ann);
    }
}
