//! Proves what DISCONNECT_USER does: the event to everybody, then Close 1000 with the reason to every connection of that
//! user on every shard, also to blocked ones and to those that are on their way to their shard, nothing after it, and
//! nothing to others. What the user had sent is not published behind the event. Who comes back later is welcome.

use hub::frame::{Opcode, encode_masked};
use hub::message::Publication;
use protocol::close::REASON_BYTES_MAX;
use protocol::messaging::Moderation;

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
    let publication =
        Publication::Moderation(Moderation::DisconnectUser { user_id: "bob".to_owned(), reason: None });
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

/// The contents of the messages behind the kick's event.
fn said_after_event(node: &mut Node, client: ClientKey) -> Vec<String> {
    node.advance_ms(40);
    let heard = node.heard(client);
    after_event(&heard).iter().map(|frame| frame.member("Content").to_owned()).collect()
}

#[test]
fn nothing_of_the_same_write_is_published_behind_the_kick() {
    let mut node = Node::new(1);
    let room = room(1);
    let [ann, eve] = ["ann", "eve"].map(|user| node.join(&Guest::new(&room, user)));
    let texts = [kick("eve", "out"), r#"{"Action":"SEND_MESSAGE","Content":"too late"}"#.to_owned()];
    let write = texts.map(|text| encode_masked(true, Opcode::Text, [1, 2, 3, 4], text.as_bytes())).concat();
    node.send(eve, &write);
    assert_eq!(after_event(&node.heard(eve)), [Heard::Close(1000, "out".to_owned())]);
    assert!(said_after_event(&mut node, ann).is_empty());
}

#[test]
fn nothing_that_is_on_its_way_from_any_shard_is_published_behind_the_kick() {
    let mut node = Node::new(3);
    let room = room(1);
    let home = node.home(&room);
    let eves = [0, 1, 2].map(|shard| node.join_on(shard, &Guest::new(&room, "eve")));
    let anns = [0, 1, 2].map(|shard| node.join_on(shard, &Guest::new(&room, "ann")));
    for client in anns.into_iter().chain(eves) {
        node.heard(client);
    }
    // The kick is decided, its event not delivered yet; then everybody's messages reach their shards.
    node.receive(anns[home], &encode_masked(true, Opcode::Text, [1, 2, 3, 4], kick("eve", "out").as_bytes()));
    for client in eves {
        node.send_quietly(client, "eve");
        node.receive(
            client,
            &encode_masked(true, Opcode::Text, [1, 2, 3, 4], kick("ann", "revenge").as_bytes()),
        );
    }
    anns.iter().for_each(|client| node.send_quietly(*client, "ann"));
    node.settle();
    for client in anns {
        assert_eq!(said_after_event(&mut node, client), ["ann"; 3]);
    }
    for client in eves {
        assert_eq!(after_event(&node.heard(client)), [Heard::Close(1000, "out".to_owned())], "and no ERROR");
    }
    node.advance_ms(1_000);
    let back = node.join(&Guest::new(&room, "eve"));
    node.send_message(back, "hello again", "r");
    node.advance_ms(40);
    assert_eq!(node.heard(anns[0])[0].member("Content"), "hello again");
}

#[test]
fn who_comes_back_before_the_shard_has_heard_of_the_kick_stays() {
    let mut node = Node::new(2);
    let room = room(1);
    let home = node.home(&room);
    let away = 1 - home;
    let [ann, eve] = ["ann", "eve"].map(|user| node.join_on(home, &Guest::new(&room, user)));
    let old = node.join_on(away, &Guest::new(&room, "eve"));
    node.receive(ann, &encode_masked(true, Opcode::Text, [1, 2, 3, 4], kick("eve", "out").as_bytes()));
    node.carry_out(home); // the event is in both inboxes
    let placement = node.place_on(away, &Guest::new(&room, "eve"));
    let back = node.adopt_without_settling(&Guest::new(&room, "eve"), placement);
    node.send_quietly(old, "too late");
    node.send_quietly(back, "here I am");
    node.settle();
    node.advance_ms(300);
    for gone in [eve, old] {
        assert_eq!(after_event(&node.heard(gone)), [Heard::Close(1000, "out".to_owned())]);
    }
    assert_eq!(said_after_event(&mut node, back), ["here I am"]);
    assert_eq!(said_after_event(&mut node, ann), ["here I am"]);
    assert!(!node.is_shut_down(back));
}

#[test]
fn one_who_is_on_the_way_to_a_shard_is_closed_there_too() {
    for shard in [0, 1] {
        let mut node = Node::new(2);
        let room = room(1);
        let users = ["eve", "bob"].map(|user_id| Guest::new(&room, user_id));
        let ann = node.join(&Guest::new(&room, "ann"));
        let at_the_door = [0, 1].map(|user: usize| node.place_on(shard, &users[user]));
        node.say(ann, &kick("eve", "out"));
        let [eve, bob] =
            [0, 1].map(|user: usize| node.adopt_without_settling(&users[user], at_the_door[user]));
        node.send_quietly(eve, "too late");
        node.settle();
        node.advance_ms(40);
        let heard = node.heard(eve);
        assert_eq!(heard.last(), Some(&Heard::Close(1000, "out".to_owned())), "shard {shard}: {heard:?}");
        assert!(node.is_shut_down(eve));
        assert_eq!(said_after_event(&mut node, ann), [""; 0]);
        assert!(!node.is_shut_down(bob));
        let back = node.join(&users[0]);
        node.advance_seconds(5);
        assert!(node.is_closed(eve) && !node.is_closed(back));
    }
}

#[test]
fn a_second_kick_closes_whoever_the_first_one_is_still_looking_for() {
    let mut node = Node::new(2);
    let room = room(1);
    let away = 1 - node.home(&room);
    let eve = Guest::new(&room, "eve");
    let ann = node.join(&Guest::new(&room, "ann"));
    let first = node.place_on(away, &eve);
    node.say(ann, &kick("eve", "once"));
    let second = node.place_on(away, &eve);
    node.say(ann, &kick("eve", "twice"));
    let third = node.place_on(away, &eve);
    let [first, second, third] = [first, second, third].map(|placement| node.adopt(&eve, placement));
    for closed in [first, second] {
        assert_eq!(node.heard(closed).last(), Some(&Heard::Close(1000, "twice".to_owned())));
    }
    assert!(!node.is_shut_down(third));
    node.hang_up(third);
    node.hang_up(ann);
    assert!([0, 1].iter().all(|shard| node.hub(*shard).roll().is_empty()), "no kick is remembered");
}
