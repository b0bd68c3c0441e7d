//! Proves that what a busy node cannot take is refused rather than queued, and that a client which makes the server
//! answer without reading costs a bounded amount of memory.

use hub::frame::{CONTROL_BYTES_MAX, Opcode, encode_masked};
use hub::message::{ConnectionId, ShardSet, Unpublished};
use protocol::limit::edge::{FRAME_PAUSE_MS, FRAMES_PER_SECOND, LAG_BYTES_MAX};
use protocol::messaging::RATE_EXCEEDED;

use crate::harness::{Guest, Node, room};

#[test]
fn rooms_with_members_on_a_pressed_shard_refuse_to_publish() {
    let mut node = Node::new(2);
    let room = room(1);
    let home = node.home(&room);
    let members = [home, 1 - home].map(|shard| node.join_on(shard, &Guest::new(&room, "ann")));
    let mut pressed = ShardSet::default();
    pressed.insert(u8::try_from(1 - home).unwrap());
    node.hub(home).set_pressed(pressed);
    node.send_message(members[0], "no", "r");
    let heard = node.heard(members[0]);
    assert!(
        heard[0].text().ends_with(r#""RequestId":"r","ErrorCode":429,"ErrorMessage":"rate limit exceeded"}"#)
    );
    assert_eq!(node.event(&room, "no"), Err(Unpublished::Busy));
    node.hang_up(members[1]);
    node.event(&room, "no member is there any more").expect("not busy");
    node.hub(home).set_pressed(ShardSet::default());
    node.send_message(members[0], "yes", "r");
    node.advance_ms(40);
    assert_eq!(node.heard(members[0]).len(), 2);
}

#[test]
fn a_request_that_finds_the_home_full_is_refused_where_it_is() {
    let mut node = Node::new(1);
    let ann = node.join(&Guest::new(&room(1), "ann"));
    let (_, index) = node.connection(ann);
    for (generation, answers) in [(1, 1), (2, 0)] {
        node.hub(0).refuse(ConnectionId { shard: 0, index, generation }, "r", &RATE_EXCEEDED);
        node.settle();
        assert_eq!(node.heard(ann).len(), answers, "generation {generation}");
    }
}

#[test]
fn a_client_that_does_not_read_its_answers_is_dropped_before_they_pile_up() {
    let nonsense = encode_masked(true, Opcode::Text, [3; 4], b"{");
    let ping = encode_masked(true, Opcode::Ping, [3; 4], &[b'x'; CONTROL_BYTES_MAX]);
    for request in [nonsense, ping] {
        let mut node = Node::new(1);
        let ann = node.join(&Guest::new(&room(1), "ann"));
        node.stall(ann, 0);
        let (_, index) = node.connection(ann);
        let mut sent_frames = 0;
        while node.hub(0).connections() == 1 && sent_frames < 10 * FRAMES_PER_SECOND {
            node.receive(ann, &request);
            sent_frames += 1;
            let lag = node.hub(0).lag_bytes(index).unwrap_or(0);
            assert!(lag <= LAG_BYTES_MAX, "{lag} bytes wait");
            if node.hub(0).is_paused(index) {
                node.advance_ms(FRAME_PAUSE_MS);
            }
        }
        node.settle();
        assert!(node.is_closed(ann), "still there after {sent_frames} frames");
        assert_eq!(node.hub(0).counters().slow_readers_dropped, 1);
    }
}

#[test]
fn one_who_reads_its_answers_is_never_dropped_for_them() {
    let mut node = Node::new(1);
    let ann = node.join(&Guest::new(&room(1), "ann"));
    let burst = encode_masked(true, Opcode::Ping, [3; 4], &[b'x'; CONTROL_BYTES_MAX]).repeat(900);
    for _ in 0..100 {
        node.send(ann, &burst);
        assert_eq!(node.heard(ann).len(), 900);
        node.advance_ms(1_000);
    }
}

#[test]
fn a_blocked_socket_is_not_tried_again_for_every_answer() {
    let mut node = Node::new(1);
    let ann = node.join(&Guest::new(&room(1), "ann"));
    node.stall(ann, 0);
    node.receive(ann, &encode_masked(true, Opcode::Ping, [3; 4], b"").repeat(1_000));
    node.settle();
    assert!(node.refused_writes(ann) <= 1, "{} writes", node.refused_writes(ann));
    node.resume(ann, usize::MAX);
    assert_eq!(node.heard(ann).len(), 1_000);
}
