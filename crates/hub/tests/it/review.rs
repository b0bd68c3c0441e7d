//! Messages under review: what their outcomes make of them, in which order, and what becomes of them when something happens
//! meanwhile.

use std::sync::Arc;

use hub::message::{Message, RoomKey, RoomSettings, Verdict};
use hub::review::{Outcome, ReviewLimits, ReviewPlaces, ReviewRequest, ReviewSettings};
use protocol::messaging::{Attributes, Moderation};

use crate::harness::{ClientKey, Guest, Heard, Node, room, settings};

const HANDLER: &str = "arn:aws:lambda:us-west-2:123456789012:function:review";

fn reviewed(fallback: Verdict) -> RoomSettings {
    RoomSettings { review: Some(ReviewSettings { handler: HANDLER.into(), fallback }), ..settings(1) }
}

fn change(node: &mut Node, room: &RoomKey, settings: RoomSettings) {
    let home = node.home(room);
    node.tell(home, Message::RoomChanged { room: room.clone(), settings });
}

/// A room with a handler, and Ann in it.
fn with_ann(node: &mut Node, fallback: Verdict) -> (RoomKey, ClientKey) {
    let room = room(1);
    let ann = node.join(&Guest::new(&room, "ann"));
    change(node, &room, reviewed(fallback));
    (room, ann)
}

fn next(node: &mut Node) -> ReviewRequest {
    node.reviews.pop_front().expect("a review was asked for")
}

/// The texts of all messages that a client has heard, and the codes of errors.
fn said(node: &mut Node, client: ClientKey) -> Vec<String> {
    node.advance_ms(40);
    let text = |heard: &Heard| match heard.text().split_once(r#""ErrorCode":"#) {
        Some((_, code)) => code[..3].to_owned(),
        None => heard.member("Content").to_owned(),
    };
    node.heard(client).iter().map(text).collect()
}

#[test]
fn a_message_waits_for_its_review_and_keeps_the_id_that_its_handler_was_told() {
    let mut node = Node::new(1);
    let (room, ann) = with_ann(&mut node, Verdict::Deny);
    node.say(ann, r#"{"Action":"SEND_MESSAGE","Content":"hi","Attributes":{"a":"b"},"RequestId":"r"}"#);
    assert_eq!(said(&mut node, ann), [""; 0]);
    let request = next(&mut node);
    assert_eq!((request.room.clone(), &*request.handler), (room, HANDLER));
    assert_eq!((request.content.as_str(), request.message_length_max), ("hi", 500));
    assert_eq!(request.sender, r#"{"UserId":"ann","Attributes":{}}"#);
    assert_eq!(request.client.to_string(), "203.0.113.7");
    assert_eq!(request.attributes, Some(Attributes::from([("a".to_owned(), "b".to_owned())])));
    node.reviewed(&request, Outcome::Allowed);
    node.advance_ms(40);
    let heard = node.heard(ann);
    assert_eq!(heard[0].member("Id"), request.message_id.to_string());
    assert!(heard[0].text().contains(r#""RequestId":"r","Attributes":{"a":"b"},"Content":"hi","#));
}

#[test]
fn a_handler_may_change_the_words_and_only_then_the_attributes() {
    let mut node = Node::new(1);
    let (_, ann) = with_ann(&mut node, Verdict::Deny);
    let theirs = Some(Attributes::from([("lang".to_owned(), "en".to_owned())]));
    let of_handler = r#""Attributes":{"lang":"en"},"Content":"changed""#;
    for (attributes, expected) in
        [(None, r#""Attributes":{"a":"b"},"Content":"changed""#), (theirs, of_handler)]
    {
        node.say(ann, r#"{"Action":"SEND_MESSAGE","Content":"hi","Attributes":{"a":"b"}}"#);
        let request = next(&mut node);
        node.reviewed(&request, Outcome::Changed { content: "changed".to_owned(), attributes });
        node.advance_ms(40);
        let heard = node.heard(ann);
        assert!(heard[0].text().contains(expected), "{heard:?}");
    }
}

#[test]
fn a_denied_message_is_answered_with_its_reason_and_nobody_else_hears_of_it() {
    let mut node = Node::new(2);
    let (room, ann) = with_ann(&mut node, Verdict::Allow);
    let bob = node.join_on(1 - node.home(&room), &Guest::new(&room, "bob"));
    for (reason, text) in
        [(Some("No rude words"), "No rude words"), (None, "The message was rejected in review")]
    {
        node.send_message(bob, "hi", "r");
        let request = next(&mut node);
        node.reviewed(&request, Outcome::Denied { reason: reason.map(str::to_owned) });
        let heard = node.heard(bob);
        assert_eq!(heard[0].member("ErrorMessage"), text);
        assert_eq!(heard[0].member("Id"), request.message_id.to_string());
        assert!(heard[0].text().contains(r#""RequestId":"r","ErrorCode":406,"#));
    }
    assert_eq!(said(&mut node, ann), [""; 0]);
}

#[test]
fn what_no_handler_reviews_takes_the_fallback_result() {
    for (fallback, expected) in [(Verdict::Deny, "406"), (Verdict::Allow, "hi")] {
        let mut node = Node::new(1);
        let (room, ann) = with_ann(&mut node, fallback);
        node.send_message(ann, "hi", "r");
        let request = next(&mut node);
        node.reviewed(&request, Outcome::Failed);
        assert_eq!(said(&mut node, ann), [expected]);
        assert_eq!(node.hub(0).counters().review_fallbacks, 1);
        node.say(ann, r#"{"Action":"DELETE_MESSAGE","Id":"M2YcHkgffEvU","RequestId":"d"}"#);
        node.event(&room, "only messages are reviewed").expect("not busy");
        node.advance_ms(40);
        assert_eq!(node.heard(ann).len(), 2);
        assert!(node.reviews.is_empty());
    }
}

#[test]
fn a_sender_is_never_overtaken_by_itself_and_nobody_waits_for_others() {
    let mut node = Node::new(1);
    let (room, ann) = with_ann(&mut node, Verdict::Allow);
    let again = node.join(&Guest::new(&room, "ann"));
    let bob = node.join(&Guest::new(&room, "bob"));
    node.send_message(ann, "one", "1");
    node.send_message(again, "two", "2");
    node.send_message(bob, "bob's", "3");
    let requests: Vec<ReviewRequest> = node.reviews.drain(..).collect();
    node.reviewed(&requests[1], Outcome::Allowed);
    assert_eq!(said(&mut node, bob), [""; 0]);
    node.reviewed(&requests[2], Outcome::Allowed);
    assert_eq!(said(&mut node, bob), ["bob's"]);
    // Nothing is reviewed any more, and what was sent before still comes first.
    change(&mut node, &room, RoomSettings { version: 2, ..settings(2) });
    node.send_message(ann, "three", "4");
    assert!(node.reviews.is_empty());
    assert_eq!(said(&mut node, bob), [""; 0]);
    node.reviewed(&requests[0], Outcome::Allowed);
    assert_eq!(said(&mut node, bob), ["one", "two", "three"]);
    assert_eq!(node.hub(0).reviews_waiting(), 0);
}

#[test]
fn an_outcome_that_nobody_waits_for_does_nothing() {
    let mut node = Node::new(1);
    let (_, ann) = with_ann(&mut node, Verdict::Allow);
    node.send_message(ann, "hi", "r");
    let request = next(&mut node);
    for _ in 0..2 {
        node.reviewed(&request, Outcome::Allowed);
    }
    assert_eq!(said(&mut node, ann), ["hi"]);
}

#[test]
fn beyond_the_limits_of_room_and_node_messages_are_refused_and_never_let_through() {
    let places = Arc::new(ReviewPlaces::new(3));
    let mut node = Node::with(1, |settings| {
        settings.reviews = ReviewLimits { per_room_max: 2, places: Arc::clone(&places) };
    });
    let (_, ann) = with_ann(&mut node, Verdict::Allow);
    let other = room(2);
    let bob = node.join(&Guest::new(&other, "bob"));
    change(&mut node, &other, reviewed(Verdict::Allow));
    for number in 1..=3 {
        node.send_message(ann, &number.to_string(), "r");
    }
    assert_eq!(said(&mut node, ann), ["429"]);
    node.send_message(bob, "1", "r");
    node.send_message(bob, "2", "r");
    assert_eq!(said(&mut node, bob), ["429"]);
    assert_eq!(node.hub(0).counters().reviews_refused, 2);
    // The place is free when the message has left the queue.
    let requests: Vec<ReviewRequest> = node.reviews.drain(..).collect();
    node.reviewed(&requests[1], Outcome::Failed);
    node.send_message(bob, "2", "r");
    assert_eq!(said(&mut node, bob), ["429"]);
    node.reviewed(&requests[0], Outcome::Failed);
    node.send_message(bob, "2", "r");
    assert_eq!(said(&mut node, bob), [""; 0]);
    assert_eq!(said(&mut node, ann), ["1", "2"]);
}

#[test]
fn nothing_is_published_behind_a_kick_though_its_review_ends_later() {
    let mut node = Node::new(1);
    let (room, ann) = with_ann(&mut node, Verdict::Allow);
    let bob = node.join(&Guest::new(&room, "bob"));
    node.send_message(ann, "before", "1");
    let before = next(&mut node);
    let moderation = Moderation::DisconnectUser { user_id: "ann".to_owned(), reason: None };
    node.publish(&room, hub::message::Publication::Moderation(moderation)).expect("not busy");
    // The kick is forgotten when the last connection has left, and the review is not over then.
    node.hang_up(ann);
    let back = node.join(&Guest::new(&room, "ann"));
    node.send_message(back, "after", "2");
    let after = next(&mut node);
    node.reviewed(&after, Outcome::Allowed);
    node.reviewed(&before, Outcome::Allowed);
    node.advance_ms(40);
    let heard = node.heard(bob);
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert!(heard[0].text().contains("aws:DISCONNECT_USER") && heard[1].text().contains("after"));
    assert_eq!(node.hub(0).reviews_waiting(), 0);
}

#[test]
fn what_was_sent_is_published_when_its_sender_has_left() {
    let mut node = Node::new(1);
    let (room, ann) = with_ann(&mut node, Verdict::Allow);
    let bob = node.join(&Guest::new(&room, "bob"));
    node.send_message(ann, "bye", "1");
    node.hang_up(ann);
    let request = next(&mut node);
    node.reviewed(&request, Outcome::Allowed);
    assert_eq!(said(&mut node, bob), ["bye"]);
}

#[test]
fn a_home_stays_until_its_reviews_are_over() {
    let mut node = Node::new(1);
    let (_, ann) = with_ann(&mut node, Verdict::Allow);
    node.send_message(ann, "bye", "1");
    node.hang_up(ann);
    node.advance_seconds(30);
    assert_eq!(node.hub(0).reviews_waiting(), 1);
    let request = next(&mut node);
    node.reviewed(&request, Outcome::Allowed);
    assert_eq!((node.hub(0).reviews_waiting(), node.published.len()), (0, 1));
}

#[test]
fn in_a_room_that_is_deleted_meanwhile_the_sender_gets_404() {
    let mut node = Node::new(1);
    let (room, ann) = with_ann(&mut node, Verdict::Allow);
    node.send_message(ann, "hi", "1");
    node.tell(0, Message::RoomDeleted { room });
    let request = next(&mut node);
    node.reviewed(&request, Outcome::Allowed);
    assert_eq!(said(&mut node, ann), ["404"]);
}

#[test]
fn the_fallback_result_is_that_of_the_time_of_sending() {
    let mut node = Node::new(1);
    let (room, ann) = with_ann(&mut node, Verdict::Deny);
    node.send_message(ann, "hi", "1");
    change(&mut node, &room, RoomSettings { version: 2, ..reviewed(Verdict::Allow) });
    let request = next(&mut node);
    node.reviewed(&request, Outcome::Failed);
    assert_eq!(said(&mut node, ann), ["406"]);
}
