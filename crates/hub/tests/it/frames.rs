//! Proves what every kind of frame looks like, byte for byte, from a client's request to another client's socket: the
//! key order and the conventions observed on the service.

use hub::message::Publication;
use protocol::id::Id;
use protocol::messaging::{Attributes, Moderation};

use crate::harness::{GREETING, Guest, Heard, Node, room};

fn attributes(pairs: &[(&str, &str)]) -> Attributes {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Two members; what the second one hears when the first one says `text`, with the id replaced.
fn check(text: &str, expected: &str) {
    let mut node = Node::new(1);
    let room = room(1);
    let ann = Guest {
        attributes: attributes(&[("role", "host"), ("avatar", "a.png")]),
        ..Guest::new(&room, "ann")
    };
    let ann = node.join(&ann);
    let bob = node.join(&Guest::new(&room, "bob"));
    node.say(ann, text);
    let heard = node.heard(bob);
    assert_eq!(node.heard(ann), heard, "the sender gets its own frame, and the same bytes");
    let [frame] = heard.as_slice() else { panic!("one frame, not {heard:?}") };
    let id = Id::parse(frame.member("Id")).expect("an id of 12 letters and digits");
    assert_eq!(frame.text().replace(id.as_str(), "ID"), expected);
}

#[test]
fn messages() {
    check(
        r#"{"Action":"SEND_MESSAGE","Content":"hi","RequestId":"r1"}"#,
        r#"{"Type":"MESSAGE","Id":"ID","RequestId":"r1","Attributes":null,"Content":"hi","SendTime":"2022-12-02T08:25:51Z","Sender":{"UserId":"ann","Attributes":{"avatar":"a.png","role":"host"}}}"#,
    );
    check(
        r#"{"action":"SEND_MESSAGE","content":"<é>\u0001\"","attributes":{"b":"2","a":""}}"#,
        r#"{"Type":"MESSAGE","Id":"ID","RequestId":"","Attributes":{"a":"","b":"2"},"Content":"<é>\u0001\"","SendTime":"2022-12-02T08:25:51Z","Sender":{"UserId":"ann","Attributes":{"avatar":"a.png","role":"host"}}}"#,
    );
}

#[test]
fn events_of_members() {
    check(
        r#"{"Action":"DELETE_MESSAGE","Id":"M2YcHkgffEvU","Reason":"spam","RequestId":"r2"}"#,
        r#"{"Type":"EVENT","Id":"ID","RequestId":"r2","EventName":"aws:DELETE_MESSAGE","Attributes":{"MessageID":"M2YcHkgffEvU","MessageId":"M2YcHkgffEvU","Reason":"spam"},"SendTime":"2022-12-02T08:25:51Z"}"#,
    );
    check(
        r#"{"Action":"DISCONNECT_USER","UserId":"eve","Reason":"rude"}"#,
        r#"{"Type":"EVENT","Id":"ID","RequestId":"","EventName":"aws:DISCONNECT_USER","Attributes":{"Reason":"rude","UserId":"eve"},"SendTime":"2022-12-02T08:25:51Z"}"#,
    );
}

#[test]
fn events_of_the_control_plane_carry_the_id_that_it_is_told() {
    let mut node = Node::new(1);
    let room = room(1);
    let ann = node.join(&Guest::new(&room, "ann"));
    let name = "poll".to_owned();
    let id = node.publish(&room, Publication::Event { name, attributes: Some(attributes(&[("q", "?")])) });
    let expected = format!(
        r#"{{"Type":"EVENT","Id":"{}","RequestId":"","EventName":"poll","Attributes":{{"q":"?"}},"SendTime":"2022-12-02T08:25:51Z"}}"#,
        id.expect("not busy"),
    );
    assert_eq!(node.heard(ann), [Heard::Text(expected)]);
    let delete =
        Publication::Moderation(Moderation::DeleteMessage { message_id: Id::from_random(5), reason: None });
    let id = node.publish(&room, delete).expect("not busy");
    node.advance_ms(40);
    assert_eq!(node.heard(ann)[0].member("Id"), id.as_str());
}

#[test]
fn errors() {
    let mut node = Node::new(1);
    let ann = node.join(&Guest::new(&room(1), "ann"));
    let long = "x".repeat(501);
    node.send_message(ann, &long, "r1");
    node.say(ann, "{}");
    let heard = node.heard(ann);
    let without_id = |frame: &Heard| frame.text().replace(frame.member("Id"), "ID");
    assert_eq!(
        heard.iter().map(without_id).collect::<Vec<_>>(),
        [
            r#"{"Type":"ERROR","Id":"ID","RequestId":"r1","ErrorCode":400,"ErrorMessage":"Message exceeds maximum length"}"#,
            r#"{"Type":"ERROR","Id":"ID","RequestId":"","ErrorCode":400,"ErrorMessage":"Action is required"}"#,
        ],
    );
}

#[test]
fn every_byte_of_a_socket() {
    let mut node = Node::new(1);
    let room = room(1);
    let ann = node.join(&Guest::new(&room, "ann"));
    node.say(ann, r#"{"Action":"DISCONNECT_USER","UserId":"ann","Reason":"bye"}"#);
    let bytes = node.bytes(ann);
    let json = &bytes[GREETING.len() + 4..bytes.len() - 7];
    let id = Heard::Text(String::from_utf8(json.to_vec()).unwrap()).member("Id").to_owned();
    let json = format!(
        r#"{{"Type":"EVENT","Id":"{id}","RequestId":"","EventName":"aws:DISCONNECT_USER","Attributes":{{"Reason":"bye","UserId":"ann"}},"SendTime":"2022-12-02T08:25:51Z"}}"#,
    );
    let length = u8::try_from(json.len()).expect("between 126 and 255 bytes");
    let close = [0x88, 5, 3, 0xE8, b'b', b'y', b'e'];
    assert_eq!(bytes, [GREETING, &[0x81, 126, 0, length], json.as_bytes(), &close].concat());
}
