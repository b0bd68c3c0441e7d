//! Proves that all members of a room get its frames in one order, on whatever shards they and the senders are, and that
//! rooms do not hear each other.

use hub::message::{Cause, Message};

use crate::harness::{ClientKey, Guest, Heard, Node, room};

fn contents(heard: &[Heard]) -> Vec<String> {
    heard.iter().map(|frame| frame.member("Content").to_owned()).collect()
}

#[test]
fn one_order_on_all_shards() {
    let mut node = Node::new(4);
    let room = room(1);
    let members: Vec<ClientKey> = (0..16)
        .map(|number| node.join_on(number % 4, &Guest::new(&room, &format!("user {number}"))))
        .collect();
    for round in 0..8 {
        for (number, member) in members.iter().enumerate() {
            node.send_message(*member, &format!("{round} {number}"), "r");
        }
        node.advance_ms(130);
    }
    node.advance_ms(1_000);
    let first = contents(&node.heard(members[0]));
    assert_eq!(first.len(), 8 * 16);
    for member in &members[1..] {
        assert_eq!(contents(&node.heard(*member)), first);
    }
    for number in 0..16 {
        let of_one: Vec<&String> =
            first.iter().filter(|text| text.ends_with(&format!(" {number}"))).collect();
        let expected: Vec<String> = (0..8).map(|round| format!("{round} {number}")).collect();
        assert_eq!(of_one, expected.iter().collect::<Vec<_>>(), "a sender's own order is kept");
    }
}

#[test]
fn rooms_are_apart() {
    let mut node = Node::new(2);
    let rooms = [room(1), room(2)];
    let members = rooms.map(|room| node.join(&Guest::new(&room, "ann")));
    node.send_message(members[0], "one", "r");
    node.send_message(members[1], "two", "r");
    assert_eq!(members.map(|member| contents(&node.heard(member))), [["one"], ["two"]]);
}

#[test]
fn a_frame_for_a_room_without_members_here_is_nobody_s() {
    let mut node = Node::new(2);
    let (here, gone) = (room(1), room(2));
    let ann = node.join(&Guest::new(&here, "ann"));
    let shard = node.home(&here);
    let delivery = hub::message::Delivery::new(gone, Cause::SendEvent, 0, vec![0x81, 0], None);
    node.tell(shard, Message::Deliver(std::sync::Arc::new(delivery)));
    assert_eq!(node.heard(ann), []);
}
