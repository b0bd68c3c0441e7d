//! Proves that every action needs its capability and no other, and that listening needs none.

use hub::message::Cause;
use protocol::capability::{Capabilities, Capability};

use crate::harness::{Guest, Node, room};

const ACTIONS: [(Capability, &str); 3] = [
    (Capability::SendMessage, r#"{"Action":"SEND_MESSAGE","Content":"hi","RequestId":"r"}"#),
    (Capability::DeleteMessage, r#"{"Action":"DELETE_MESSAGE","Id":"M2YcHkgffEvU","RequestId":"r"}"#),
    (Capability::DisconnectUser, r#"{"Action":"DISCONNECT_USER","UserId":"nobody","RequestId":"r"}"#),
];

#[test]
fn every_set_of_capabilities_allows_exactly_its_actions() {
    for byte in 0..8 {
        let capabilities = Capabilities::from_byte(byte).unwrap();
        let mut node = Node::new(2);
        let room = room(1);
        let ann = node.join_on(0, &Guest { capabilities, ..Guest::new(&room, "ann") });
        let viewer = Guest { capabilities: Capabilities::NONE, ..Guest::new(&room, "viewer") };
        let viewer = node.join_on(1, &viewer);
        for (capability, text) in ACTIONS {
            node.say(ann, text);
            node.advance_ms(40);
            let seen = node.heard(viewer).len();
            let heard = node.heard(ann);
            assert_eq!(heard.len(), 1);
            if capabilities.contains(capability) {
                assert_eq!((seen, heard[0].member("RequestId")), (1, "r"));
            } else {
                assert_eq!(seen, 0);
                let expected = format!(
                    r#""RequestId":"r","ErrorCode":403,"ErrorMessage":"Forbidden: the chat token does not have the capability {}"}}"#,
                    capability.as_str(),
                );
                assert!(heard[0].text().ends_with(&expected), "{heard:?}");
            }
        }
    }
}

#[test]
fn requests_are_counted_whether_refused_or_not() {
    let mut node = Node::new(1);
    let guest = Guest { capabilities: Capabilities::NONE, ..Guest::new(&room(1), "ann") };
    let ann = node.join(&guest);
    for (_, text) in ACTIONS {
        node.say(ann, text);
    }
    node.say(ann, "nonsense");
    let counters = node.hub(0).counters();
    assert_eq!(
        [
            counters.requests[Cause::SendMessage as usize],
            counters.requests[Cause::DeleteMessage as usize],
            counters.requests[Cause::DisconnectUser as usize],
            counters.invalid_requests,
            counters.deliveries.iter().sum(),
        ],
        [1, 1, 1, 1, 0],
    );
}
