//! Proves that joins of one user to one room that come in a hot loop are slowed down, that none is refused, and that
//! normal use never notices.

use hub::message::Publication;
use protocol::limit::edge::{JOIN_BURST, JOIN_HOLD_MS_MAX, JOINS_PER_SECOND, LAG_BYTES_MAX, RENEWAL_HOLD_MS};

use crate::harness::{ClientKey, GREETING, Guest, Node, room};

/// Joins, waits to be greeted, and hangs up; how many milliseconds that took.
fn come_and_go(node: &mut Node, guest: &Guest) -> u64 {
    let began = node.now().nanos;
    let client = node.join_without_waiting(guest);
    let waited_ms = |node: &Node| (node.now().nanos - began) / 1_000_000;
    while !node.is_greeted(client) {
        assert!(waited_ms(node) <= JOIN_HOLD_MS_MAX, "it is greeted some time");
        node.advance_ms(1);
    }
    node.hang_up(client);
    waited_ms(node)
}

#[test]
fn tabs_and_renewals_and_test_suites_are_never_slowed_down() {
    let mut node = Node::new(1);
    let room = room(1);
    let ann = Guest::new(&room, "ann");
    let tabs: Vec<ClientKey> = (0..20).map(|_| node.join_without_waiting(&ann)).collect();
    node.advance_ms(RENEWAL_HOLD_MS);
    assert!(tabs.iter().all(|tab| node.is_greeted(*tab)), "as renewals, and no longer");
    // All tabs lose the network and come back at once, then renew their tokens.
    for tab in tabs {
        node.hang_up(tab);
    }
    let tabs: Vec<ClientKey> = (0..20).map(|_| node.join_without_waiting(&ann)).collect();
    node.advance_seconds(2);
    let renewed: Vec<ClientKey> = tabs.iter().map(|_| node.join_without_waiting(&ann)).collect();
    node.advance_ms(RENEWAL_HOLD_MS);
    assert!(renewed.iter().all(|tab| node.is_greeted(*tab)));
    // One test after the other, all with the same user.
    let ben = Guest::new(&room, "ben");
    for _ in 0..1_000 {
        assert_eq!(come_and_go(&mut node, &ben), 0);
        node.advance_ms(1_000 / u64::from(JOINS_PER_SECOND));
    }
}

#[test]
fn a_hot_loop_comes_down_to_ten_joins_a_second() {
    let mut node = Node::new(2);
    let room = room(1);
    let eve = Guest::new(&room, "eve");
    for join in 0..JOIN_BURST {
        assert_eq!(come_and_go(&mut node, &eve), 0, "{join}");
    }
    let began = node.now().nanos;
    for _ in 0..20 * JOINS_PER_SECOND {
        let took = come_and_go(&mut node, &eve);
        assert!((99..=101).contains(&took), "{took}");
        for other in [Guest::new(&room, "ben"), Guest::new(&crate::harness::room(2), "eve")] {
            assert_eq!(come_and_go(&mut node, &other), 0, "others are not slowed down");
        }
    }
    assert_eq!((node.now().nanos - began).div_ceil(1_000_000_000), 20);
    node.advance_seconds(10);
    assert_eq!(come_and_go(&mut node, &eve), 0, "it is forgotten");
}

#[test]
fn a_crowd_of_one_is_greeted_one_after_the_other_and_all_within_four_seconds() {
    let mut node = Node::new(2);
    let room = room(1);
    let clients: Vec<ClientKey> =
        (0..200).map(|_| node.join_without_waiting(&Guest::new(&room, "eve"))).collect();
    let mut greeted = Vec::new();
    for _ in 0..JOIN_HOLD_MS_MAX / 100 {
        node.advance_ms(100);
        greeted.push(clients.iter().filter(|client| node.is_greeted(**client)).count());
    }
    assert_eq!(greeted[2], 53, "the burst, as renewals, and one for each tenth of a second");
    assert!(greeted.windows(2).skip(2).take(36).all(|pair| pair[1] == pair[0] + 1), "{greeted:?}");
    assert_eq!(greeted.last(), Some(&200), "none waits longer");
    assert!(clients.iter().all(|client| !node.is_closed(*client) && node.bytes(*client) == GREETING));
}

#[test]
fn nobody_is_slowed_down_where_rates_are_lifted() {
    let mut node = Node::with(1, |settings| settings.rates_lifted = true);
    let eve = Guest::new(&room(1), "eve");
    for _ in 0..10 * JOIN_BURST {
        assert_eq!(come_and_go(&mut node, &eve), 0);
    }
}

#[test]
fn one_who_is_held_while_the_room_is_loud_is_greeted_early_and_not_dropped() {
    let mut node = Node::new(1);
    let room = room(1);
    let ben = node.join(&Guest::new(&room, "ben"));
    let eve = Guest::new(&room, "eve");
    let burst: Vec<_> = (0..2 * JOIN_BURST).map(|_| node.place(&eve)).collect();
    burst.into_iter().for_each(|placement| node.give_up(&room, placement));
    let held = node.join_without_waiting(&eve);
    let attributes = [("filling".to_owned(), "x".repeat(4_000))].into_iter().collect();
    let event = Publication::Event { name: "loud".to_owned(), attributes: Some(attributes) };
    let mut published = 0;
    while !node.is_greeted(held) {
        assert!(!node.is_closed(held), "after {published} events");
        node.publish(&room, event.clone()).expect("not busy");
        node.advance_ms(10);
        published += 1;
    }
    assert!(published as u64 * 4_000 > LAG_BYTES_MAX - 10_000, "not before it had to be: {published}");
    node.advance_ms(JOIN_HOLD_MS_MAX);
    assert_eq!(node.heard(held).len(), published);
    assert_eq!(node.heard(ben).len(), published);
    assert_eq!(node.hub(0).counters().slow_readers_dropped, 0);
}

#[test]
fn one_who_reads_nothing_once_greeted_has_ten_seconds_from_then_on() {
    let mut node = Node::new(1);
    let room = room(1);
    let eve = Guest::new(&room, "eve");
    let burst: Vec<_> = (0..2 * JOIN_BURST).map(|_| node.place(&eve)).collect();
    burst.into_iter().for_each(|placement| node.give_up(&room, placement));
    let held = node.join_without_waiting(&eve);
    node.stall(held, 0);
    node.advance_seconds(13);
    assert!(!node.is_closed(held), "held for 4 seconds, stuck for 9");
    node.advance_seconds(2);
    assert!(node.is_closed(held));
}
