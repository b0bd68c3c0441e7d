//! Proves the rates: requests of any kind per connection, messages per room over all senders, each action over all rooms
//! of an account; the text of the refusal is the service's own, and the connection lives on.

use std::sync::Arc;

use hub::account::AccountRates;
use hub::message::{Message, RoomSettings};

use protocol::quota::AdjustableQuotas;

use crate::harness::{Guest, Node, room, settings};

const REFUSED: &str = r#""ErrorCode":429,"ErrorMessage":"rate limit exceeded"}"#;

#[test]
fn ten_requests_per_second_of_any_kind_for_each_connection() {
    let mut node = Node::new(1);
    let room = room(1);
    let [ann, bob] = ["ann", "bob"].map(|user| node.join(&Guest::new(&room, user)));
    for _ in 0..4 {
        node.send_message(ann, "hi", "r");
        node.say(ann, "nonsense");
    }
    node.say(ann, r#"{"Action":"DELETE_MESSAGE","Id":"M2YcHkgffEvU"}"#);
    node.say(ann, r#"{"Action":"DISCONNECT_USER","UserId":"nobody"}"#);
    assert!(!node.heard(ann).iter().any(|frame| frame.text().contains("\"ErrorCode\":429")));
    node.send_message(ann, "the eleventh", "r11");
    let heard = node.heard(ann);
    assert!(heard.last().unwrap().text().ends_with(&format!(r#""RequestId":"r11",{REFUSED}"#)), "{heard:?}");
    node.send_message(bob, "not my rate", "b");
    node.advance_ms(100);
    node.send_message(ann, "again one", "r12");
    node.advance_ms(40);
    let heard = node.heard(bob);
    assert_eq!(heard[heard.len() - 2].member("RequestId"), "b");
    assert_eq!(heard[heard.len() - 1].member("RequestId"), "r12");
}

#[test]
fn the_room_s_rate_is_over_all_senders_and_only_for_messages() {
    let mut node = Node::new(2);
    let room = room(1);
    let members: Vec<_> =
        (0..4).map(|number| node.join_on(number % 2, &Guest::new(&room, &format!("{number}")))).collect();
    let home = node.home(&room);
    let slow = RoomSettings { message_rate_max: 3, ..settings(1) };
    node.tell(home, Message::RoomChanged { room: room.clone(), settings: slow });
    for (number, member) in members.iter().enumerate() {
        node.send_message(*member, "hi", &format!("r{number}"));
    }
    node.advance_ms(40);
    let heard = node.heard(members[3]);
    assert!(heard.iter().any(|frame| frame.text().ends_with(&format!(r#""RequestId":"r3",{REFUSED}"#))));
    assert_eq!(node.heard(members[0]).len(), 3);
    node.say(members[3], r#"{"Action":"DELETE_MESSAGE","Id":"M2YcHkgffEvU"}"#);
    node.event(&room, "events have no room rate").expect("not busy");
    node.advance_ms(40);
    assert_eq!(node.heard(members[0]).len(), 2);
    node.advance_ms(334);
    node.send_message(members[3], "one third of a second later", "r");
    node.advance_ms(40);
    assert_eq!(node.heard(members[0]).len(), 1);
}

#[test]
fn a_message_that_is_refused_for_its_length_does_not_use_the_room_s_rate() {
    let mut node = Node::new(1);
    let room = room(1);
    let ann = node.join(&Guest::new(&room, "ann"));
    let slow = RoomSettings { message_rate_max: 1, ..settings(1) };
    node.tell(0, Message::RoomChanged { room, settings: slow });
    node.send_message(ann, &"x".repeat(501), "long");
    node.send_message(ann, &"é".repeat(500), "fits");
    let heard = node.heard(ann);
    assert_eq!(heard[1].member("RequestId"), "fits");
    assert!(heard[1].text().contains("MESSAGE"));
}

#[test]
fn rates_can_be_lifted() {
    let mut node = Node::with(1, |settings| settings.rates_lifted = true);
    let ann = node.join(&Guest::new(&room(1), "ann"));
    for _ in 0..300 {
        node.send_message(ann, "hi", "r");
    }
    node.advance_ms(40);
    let heard = node.heard(ann);
    assert_eq!(heard.len(), 300);
    assert!(heard.iter().all(|frame| frame.text().contains("MESSAGE")));
}

#[test]
fn all_rooms_of_an_account_share_a_rate_for_each_action() {
    let quotas = AdjustableQuotas {
        send_message_requests_per_second: 4,
        delete_message_requests_per_second: 2,
        disconnect_user_requests_per_second: 3,
        ..AdjustableQuotas::default()
    };
    let account = Arc::new(AccountRates::new(&quotas));
    for (action, per_second) in [
        (r#"{"Action":"SEND_MESSAGE","Content":"hi"}"#, 4),
        (r#"{"Action":"DELETE_MESSAGE","Id":"M2YcHkgffEvU"}"#, 2),
        (r#"{"Action":"DISCONNECT_USER","UserId":"nobody"}"#, 3),
    ] {
        let mut node = Node::new(2);
        let one_each: Vec<_> = (0..6)
            .map(|number| {
                let account = Some(Arc::clone(&account));
                node.join(&Guest { account, ..Guest::new(&room(number), "ann") })
            })
            .collect();
        let stranger = node.join(&Guest::new(&room(7), "of another account"));
        for member in &one_each {
            node.say(*member, action);
        }
        node.say(stranger, action);
        node.advance_ms(40);
        let refused = |node: &mut Node, member| {
            let heard = node.heard(member);
            assert_eq!(heard.len(), 1, "{heard:?}");
            heard[0].text().ends_with(&format!(r#""RequestId":"",{REFUSED}"#))
        };
        let answers: Vec<bool> = one_each.iter().map(|member| refused(&mut node, *member)).collect();
        let expected: Vec<bool> = (0..6).map(|number| number >= per_second).collect();
        assert_eq!(answers, expected, "{action}");
        assert!(!refused(&mut node, stranger));
        node.advance_ms(1_000 / per_second + 1);
        node.say(one_each[5], action);
        node.advance_ms(40);
        assert!(!refused(&mut node, one_each[5]), "there is room for one more by now");
    }
}
