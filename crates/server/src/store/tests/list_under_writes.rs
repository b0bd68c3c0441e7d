//! ListRooms while others write: a walk through a list finds each room that nobody touches exactly once, and all that
//! it finds in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use protocol::arn::{Arn, ResourceKind};
use protocol::id::Id;

use super::super::{NewRoom, ReviewHandlerSetting, RoomChange, RoomFilter, Store};
use super::{benches, home, new_logging_configuration, new_room, tags, walk};

const UNTOUCHED_ROOMS: usize = 120;
const WRITERS: usize = 8;
/// Walks through each list, at least.
const ROUNDS: usize = 6;
/// Walks go on until so many writes were done beside them.
const WRITES_MEANWHILE: u64 = 50;
/// A broken writer makes the test fail after this long.
const WRITING_TIME_MAX: Duration = Duration::from_secs(60);

fn a_room(number: usize, logs: Id) -> NewRoom {
    let handler = ReviewHandlerSetting { uri: "arn:f".to_owned(), fallback: Default::default() };
    NewRoom {
        review_handler: number.is_multiple_of(2).then_some(handler),
        logging_configurations: if number.is_multiple_of(3) { vec![logs] } else { vec![] },
        ..new_room("lobby")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_that_nobody_touches_appear_exactly_once() {
    for bench in benches().await {
        let store = &bench.store;
        let logs =
            store.create_logging_configuration(&home(), new_logging_configuration("logs")).await.unwrap().id;
        let stop = Arc::new(AtomicBool::new(false));
        let mut untouched = Vec::new();
        let mut writers = Vec::new();
        // Half the writers start in the middle of the list, so that what they move lies between the untouched rooms.
        for number in 0..UNTOUCHED_ROOMS {
            untouched.push(store.create_room(&home(), a_room(number, logs)).await.unwrap());
            if number.is_multiple_of(UNTOUCHED_ROOMS / WRITERS) {
                writers.push(tokio::spawn(write_until(store.clone(), logs, Arc::clone(&stop))));
            }
        }
        let uri = || Some("arn:f".to_owned());
        let name = || Some("lobby".to_owned());
        let filters = [
            RoomFilter::default(),
            RoomFilter { name: name(), ..RoomFilter::default() },
            RoomFilter { review_handler_uri: uri(), ..RoomFilter::default() },
            RoomFilter { name: name(), review_handler_uri: uri(), logging_configuration: Some(logs) },
        ];
        let (begin, writes_before) = (Instant::now(), store.counters().writes);
        let has_written = || store.counters().writes >= writes_before + WRITES_MEANWHILE;
        for round in (0..).take_while(|round| *round < ROUNDS || !has_written()) {
            assert!(begin.elapsed() < WRITING_TIME_MAX, "nobody writes meanwhile");
            for filter in &filters {
                let found = walk(store, &home(), filter, 3 + round % ROUNDS * 5).await;
                assert!(found.is_sorted_by(|a, b| a.order_key > b.order_key));
                let expected: Vec<Id> = untouched
                    .iter()
                    .rev()
                    .filter(|room| filter.review_handler_uri.is_none() || room.review_handler.is_some())
                    .filter(|room| {
                        filter.logging_configuration.is_none() || !room.logging_configurations.is_empty()
                    })
                    .map(|room| room.id)
                    .collect();
                let found: Vec<Id> = found
                    .iter()
                    .map(|room| room.id)
                    .filter(|&id| untouched.iter().any(|room| room.id == id))
                    .collect();
                assert_eq!(found, expected);
            }
        }
        stop.store(true, Relaxed);
        for writer in writers {
            writer.await.unwrap();
        }
        assert_eq!(store.check().await.unwrap().discrepancies, []);
    }
}

/// Creates, moves, tags and deletes rooms of its own.
async fn write_until(store: Store, logs: Id, stop: Arc<AtomicBool>) {
    let mut own = Vec::new();
    for number in 0.. {
        if stop.load(Relaxed) {
            return;
        }
        own.push(store.create_room(&home(), a_room(number, logs)).await.unwrap().id);
        let moved = own[number % own.len()];
        let change = RoomChange {
            name: Some(["lobby", "hall"][number % 2].to_owned()),
            logging_configurations: Some(if number.is_multiple_of(2) { vec![logs] } else { vec![] }),
            ..RoomChange::default()
        };
        store.update_room(&home(), moved, change).await.unwrap();
        store.tag(&Arn::new(home(), ResourceKind::Room, moved), tags([("number", "one")])).await.unwrap();
        if own.len() > 10 {
            store.delete_room(&home(), own.swap_remove(number % 10)).await.unwrap();
        }
    }
}
