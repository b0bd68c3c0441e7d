//! Proves that a room's settings take hold on open connections, that stale ones never win, that settings are asked for
//! until they come, and that a deleted room answers 404 while its connections stay open.

use hub::message::{Message, RoomSettings};

use crate::harness::{Guest, Node, room, settings};

#[test]
fn changes_take_hold_at_once_and_stale_ones_never() {
    let mut node = Node::new(2);
    let room = room(1);
    let home = node.home(&room);
    let ann = node.join_on(1 - home, &Guest::new(&room, "ann"));
    let change = |node: &mut Node, version, message_length_max| {
        let settings = RoomSettings { message_length_max, ..settings(version) };
        node.tell(home, Message::RoomChanged { room: room.clone(), settings });
    };
    let fits = |node: &mut Node, length: usize| {
        node.send_message(ann, &"x".repeat(length), "r");
        node.advance_ms(200);
        node.heard(ann)[0].text().contains("MESSAGE")
    };
    assert!(fits(&mut node, 500));
    change(&mut node, 10, 5);
    assert!(fits(&mut node, 5) && !fits(&mut node, 6));
    change(&mut node, 9, 500);
    assert!(!fits(&mut node, 6), "what is older does not win");
    change(&mut node, 10, 6);
    assert!(fits(&mut node, 6), "read again, the same version is as good");
    change(&mut node, 11, 7);
    assert!(fits(&mut node, 7));
}

#[test]
fn settings_are_asked_for_until_they_come() {
    let mut node = Node::new(1);
    let room = room(1);
    node.join(&Guest::new(&room, "ann"));
    assert_eq!(
        node.loads,
        std::slice::from_ref(&room),
        "they may have changed since the handshake read them"
    );
    node.join(&Guest::new(&room, "bob"));
    assert_eq!(node.loads.len(), 1);
    node.advance_seconds(2);
    assert_eq!(node.loads.len(), 3, "once a second until an answer comes");
    node.tell(0, Message::RoomChanged { room, settings: settings(1) });
    node.advance_seconds(2);
    assert_eq!(node.loads.len(), 3);
}

#[test]
fn rooms_in_doubt_are_asked_for_again_and_deleted_ones_are_not() {
    let mut node = Node::new(2);
    let rooms: Vec<_> = (1..=20).map(room).collect();
    for room in &rooms {
        node.join(&Guest::new(room, "ann"));
        let home = node.home(room);
        node.tell(home, Message::RoomChanged { room: room.clone(), settings: settings(1) });
    }
    let (gone, open) = rooms.split_first().expect("there are rooms");
    node.tell(node.home(gone), Message::RoomDeleted { room: gone.clone() });
    node.loads.clear();
    node.advance_seconds(2);
    assert!(node.loads.is_empty(), "all are known");
    for shard in 0..2 {
        node.tell(shard, Message::RoomsInDoubt);
    }
    node.advance_seconds(1);
    assert!(
        open.iter().all(|room| node.loads.contains(room)) && !node.loads.contains(gone),
        "{:?}",
        node.loads
    );
    for room in open {
        node.tell(node.home(room), Message::RoomChanged { room: room.clone(), settings: settings(2) });
    }
    node.loads.clear();
    node.advance_seconds(2);
    assert!(node.loads.is_empty(), "all are known again");
}

#[test]
fn a_deleted_room_answers_404_and_its_connections_stay() {
    let mut node = Node::new(2);
    let room = room(1);
    let home = node.home(&room);
    let members = [0, 1].map(|shard| node.join_on(shard, &Guest::new(&room, "ann")));
    node.tell(home, Message::RoomDeleted { room: room.clone() });
    node.tell(home, Message::RoomChanged { room, settings: settings(99) });
    for member in members {
        node.send_message(member, "hello?", "r1");
        node.say(member, r#"{"Action":"DELETE_MESSAGE","Id":"M2YcHkgffEvU","RequestId":"r2"}"#);
        node.say(member, r#"{"Action":"DISCONNECT_USER","UserId":"ann","RequestId":"r3"}"#);
        let heard = node.heard(member);
        assert_eq!(heard.len(), 3);
        for (frame, request_id) in heard.iter().zip(["r1", "r2", "r3"]) {
            let expected = format!(r#""RequestId":"{request_id}","ErrorCode":404,"#);
            assert!(frame.text().contains(&expected), "{frame:?}");
        }
    }
    node.advance_seconds(20);
    assert!(members.iter().all(|member| !node.is_closed(*member)));
}
