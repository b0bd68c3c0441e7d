//! Proves the end of a session: ERROR 401, five seconds in which frames still come and nothing can be published, then
//! Close 1000 with a JSON reason.

use crate::harness::{Guest, Heard, Node, room};

const REASON: &str = r#"{"ErrorCode":401,"ErrorMessage":"The session has expired"}"#;

#[test]
fn error_then_grace_then_close() {
    let mut node = Node::new(1);
    let room = room(1);
    let ann = node.join(&Guest { session_seconds: 60, ..Guest::new(&room, "ann") });
    let bob = node.join(&Guest::new(&room, "bob"));
    node.advance_seconds(59);
    node.heard(ann);
    node.send_message(ann, "still in time", "r1");
    assert_eq!(node.heard(ann).len(), 1);
    node.advance_seconds(1);
    let heard = node.heard(ann);
    let without_id = heard[0].text().replace(heard[0].member("Id"), "ID");
    assert_eq!(
        without_id,
        r#"{"Type":"ERROR","Id":"ID","RequestId":"","ErrorCode":401,"ErrorMessage":"The session has expired"}"#,
    );
    node.heard(bob);
    node.send_message(ann, "too late", "r2");
    node.send_message(bob, "ann still hears this", "r3");
    node.advance_ms(500);
    let heard = node.heard(ann);
    assert!(heard[0].text().contains(r#""RequestId":"r2","ErrorCode":401"#));
    assert_eq!(heard[1].member("RequestId"), "r3");
    assert_eq!(node.heard(bob).len(), 1, "ann's message reached nobody");
    node.advance_seconds(4);
    assert_eq!(node.heard(ann), [], "the grace lasts");
    node.advance_seconds(1);
    assert_eq!(node.heard(ann), [Heard::Close(1000, REASON.to_owned())]);
    assert!(node.is_shut_down(ann));
    node.hang_up(ann);
    node.send_message(bob, "others go on", "r4");
    assert_eq!((node.heard(ann).len(), node.heard(bob).len()), (0, 1));
}

#[test]
fn nonsense_in_the_grace_gets_401_too_and_pings_are_answered() {
    let mut node = Node::new(1);
    let ann = node.join(&Guest { session_seconds: 1, ..Guest::new(&room(1), "ann") });
    node.advance_seconds(1);
    node.heard(ann);
    node.say(ann, "nonsense");
    assert!(node.heard(ann)[0].text().contains("\"ErrorCode\":401"));
    node.send(ann, &hub::frame::encode_masked(true, hub::frame::Opcode::Ping, [0; 4], b"p"));
    assert_eq!(node.heard(ann), [Heard::Pong(b"p".to_vec())]);
}

#[test]
fn a_kick_in_the_grace_closes_with_the_moderator_s_reason() {
    let mut node = Node::new(1);
    let room = room(1);
    let ann = node.join(&Guest { session_seconds: 1, ..Guest::new(&room, "ann") });
    let bob = node.join(&Guest::new(&room, "bob"));
    node.advance_seconds(2);
    node.say(bob, r#"{"Action":"DISCONNECT_USER","UserId":"ann","Reason":"out"}"#);
    node.advance_seconds(5);
    let heard = node.heard(ann);
    assert_eq!(heard.last(), Some(&Heard::Close(1000, "out".to_owned())));
    assert_eq!(heard.iter().filter(|frame| matches!(frame, Heard::Close(..))).count(), 1);
}
