//! Proves what DISCONNECT_USER does: the event to everybody, then Close 1000 with the reason to every connection of that
//! user on every shard, also to blocked ones, nothing after it, and nothing to others.

use hub::message::Publication;
use protocol::close::REASON_BYTES_MAX;

use crate::harness::{ClientKey, Guest, Heard, Node, room};

fn kick(user: &str, reason: &str) -> String {
    format!(r#"{{"Action":"DISCONNECT_USER","UserId":"{user}","Reason":"{reason}","RequestId":"k"}}"#)
}

/// What is heard after the kick's event, which must be there.
fn after_event(heard: &[Heard]) -> &[Heard] {
    let at = heard
        .iter()
        .position(|frame| matches!(frame, Heard::Text(text) if text.contains("aws:DISCONNECT_USER")));
    &heard[at.expect("the event comes first") + 1..]
}

#[test]
fn all_connections_of_the_user_on_all_shards_and_nobody_else() {
    let mut node = Node::new(3);
    let room = room(1);
    let join = |node: &mut Node, user: &str| -> Vec<ClientKey> {
        (0..3).map(|shard| node.join_on(shard, &Guest::new(&room, user))).collect()
    };
    let (victims, others) = (join(&mut node, "eve"), join(&mut node, "ann"));
    let elsewhere = node.join(&Guest::new(&crate::harness::room(2), "eve"));
    node.say(others[1], &kick("eve", "be nice"));
    node.send_message(others[0], "afterwards", "r");
    node.advance_ms(40);
    for victim in &victims {
        let heard = node.heard(*victim);
        assert_eq!(after_event(&heard), [Heard::Close(1000, "be nice".to_owned())]);
        assert!(node.is_shut_down(*victim));
    }
    for other in &others {
        let heard = node.heard(*other);
        assert_eq!(after_event(&heard)[0].member("Content"), "afterwards");
    }
    node.advance_seconds(5);
    assert!(victims.iter().all(|victim| node.is_closed(*victim)));
    assert!(others.iter().all(|other| !node.is_closed(*other)));
    assert_eq!(node.heard(elsewhere), [], "the same user in another room stays");
}

#[test]
fn what_gathers_comes_before_the_event_and_nothing_after_the_close() {
    let mut node = Node::new(1);
    let room = room(1);
    let [ann, eve] = ["ann", "eve"].map(|user| node.join(&Guest::new(&room, user)));
    node.send_message(ann, "one", "r");
    node.send_message(ann, "two", "r");
    node.say(ann, &kick("eve", "out"));
    let heard = node.heard(eve);
    assert_eq!(heard.len(), 4, "at once: {heard:?}");
    assert_eq!(after_event(&heard), [Heard::Close(1000, "out".to_owned())]);
    node.say(ann, &kick("eve", "again"));
    node.send_message(eve, "I am still here", "r");
    node.advance_ms(40);
    assert_eq!(node.heard(eve), []);
    assert_eq!(node.heard(ann).len(), 4, "one, two, two events; nothing of what eve said");
}

#[test]
fn a_blocked_victim_gets_all_up_to_the_close_once_it_reads() {
    for taken in [0, 1, 50, 150, 200, 260] {
        let mut node = Node::new(1);
        let room = room(1);
        let [ann, eve] = ["ann", "eve"].map(|user| node.join(&Guest::new(&room, user)));
        node.stall(eve, taken);
        node.send_message(ann, "one", "r");
        node.say(eve, "an error");
        node.send_message(ann, "two", "r");
        node.say(eve, "another error");
        node.say(ann, &kick("eve", "out"));
        assert!(!node.is_shut_down(eve));
        node.advance_ms(40);
        node.send_message(ann, "later", "r");
        node.resume(eve, 100);
        node.resume(eve, usize::MAX);
        let heard = node.heard(eve);
        assert_eq!(heard.len(), 6, "{heard:?}");
        assert!(heard[1].text().contains("ERROR") && heard[3].text().contains("ERROR"));
        assert_eq!(after_event(&heard), [Heard::Close(1000, "out".to_owned())]);
        assert!(node.is_shut_down(eve));
    }
}

#[test]
fn a_victim_that_never_reads_is_closed_all_the_same() {
    let mut node = Node::new(1);
    let room = room(1);
    let [ann, eve] = ["ann", "eve"].map(|user| node.join(&Guest::new(&room, user)));
    node.stall(eve, 0);
    node.say(ann, &kick("eve", "out"));
    node.advance_seconds(5);
    assert!(node.is_closed(eve) && !node.is_shut_down(eve));
}

#[test]
fn one_may_kick_oneself_and_the_control_plane_needs_no_reason() {
    let mut node = Node::new(1);
    let room = room(1);
    let [ann, bob] = ["ann", "bob"].map(|user| node.join(&Guest::new(&room, user)));
    node.say(ann, &kick("ann", "enough"));
    assert_eq!(after_event(&node.heard(ann)), [Heard::Close(1000, "enough".to_owned())]);
    let publication = Publication::DisconnectUser { user_id: "bob".to_owned(), reason: None };
    node.publish(&room, publication).expect("not busy");
    let heard = node.heard(bob);
    let [_, event, Heard::Close(1000, reason)] = heard.as_slice() else { panic!("{heard:?}") };
    assert!(event.text().contains(r#""Attributes":{"UserId":"bob"}"#) && !reason.is_empty());
}

#[test]
fn a_long_reason_is_cut_in_the_close_but_not_in_the_event() {
    let mut node = Node::new(1);
    let ann = node.join(&Guest::new(&room(1), "ann"));
    let reason = "é".repeat(256);
    node.say(ann, &kick("ann", &reason));
    let heard = node.heard(ann);
    assert_eq!(heard[0].member("Reason"), reason);
    assert_eq!(heard[1], Heard::Close(1000, "é".repeat(REASON_BYTES_MAX / 2)));
}

#[test]
fn a_kick_during_a_pass_serves_everybody_once() {
    let mut node = Node::new(1);
    let room = room(1);
    let members: Vec<ClientKey> =
        (0..200).map(|number| node.join(&Guest::new(&room, ["ann", "eve", "bob"][number % 3]))).collect();
    node.write_nanos = 30_000;
    node.send_quietly(members[0], "before");
    node.take_inbox(0);
    node.flush(0);
    let half_way = members.iter().filter(|member| !node.writes(**member).is_empty()).count();
    assert!(half_way < 400, "the greeting went out before; the pass has yielded");
    node.say(members[0], &kick("eve", "out"));
    node.advance_ms(100);
    for (number, member) in members.iter().enumerate() {
        let heard = node.heard(*member);
        let expected = if number % 3 == 1 { 3 } else { 2 };
        assert_eq!(heard.len(), expected, "member {number}: {heard:?}");
        assert_eq!(heard[0].member("Content"), "before");
    }
}
