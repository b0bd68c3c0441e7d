//! The edition of a store: as long as it is the same, so is everything that can be read.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::super::{RoomChange, RoomFilter, Store, StoreError};
use super::{Bench, benches, home, new_room};

const WRITERS: usize = 4;
const READERS: usize = 4;
/// Rooms that each writer creates, changes and deletes.
const ROUNDS: usize = 50;
/// What is read within one edition is compared with what others have read in it; so often at least.
const COMPARED_MIN: usize = 100;
/// A store whose edition never settles makes the test fail after this long.
const READING_TIME_MAX: Duration = Duration::from_secs(60);

/// What readers compare: names and places of all rooms.
type Seen = Vec<(String, i64)>;

async fn see(store: &Store) -> Seen {
    let page = store.list_rooms(&home(), &RoomFilter::default(), None, 50, Vec::new()).await.unwrap();
    page.entries.iter().map(|room| (room.details.as_str().to_owned(), room.order_key)).collect()
}

async fn write(store: Store, writer: usize) {
    for round in 0..ROUNDS {
        let name = format!("{writer}-{round}");
        let before = store.edition();
        let room = store.create_room(&home(), new_room(&name)).await.unwrap().id;
        // Others may be writing again, so there may be none.
        assert!(
            store.edition().is_none_or(|now| Some(now) > before),
            "an acknowledged write is another edition"
        );
        let change = RoomChange { name: Some(format!("{name} renamed")), ..RoomChange::default() };
        store.update_room(&home(), room, change).await.unwrap();
        store.delete_room(&home(), room).await.unwrap();
    }
}

/// What was seen in each edition, until nobody writes any more.
async fn read(store: Store, mut is_over: impl FnMut() -> bool) -> Vec<(u64, Seen)> {
    let mut seen = Vec::new();
    while !is_over() {
        let before = store.edition();
        let rooms = see(&store).await;
        if let Some(edition) = before.filter(|_| store.edition() == before) {
            seen.push((edition, rooms));
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn within_one_edition_everybody_reads_the_same() {
    for Bench { store, _folder } in benches().await {
        if store.is_shared() {
            assert_eq!(store.edition(), None, "others may write to it");
            continue;
        }
        let (mut compared, begin) = (0, Instant::now());
        while compared < COMPARED_MIN {
            assert!(begin.elapsed() < READING_TIME_MAX, "compared {compared}");
            let writers: Vec<_> =
                (0..WRITERS).map(|writer| tokio::spawn(write(store.clone(), writer))).collect();
            let (done, _) = tokio::sync::watch::channel(false);
            let readers: Vec<_> = (0..READERS)
                .map(|_| {
                    let done = done.subscribe();
                    tokio::spawn(read(store.clone(), move || *done.borrow()))
                })
                .collect();
            for writer in writers {
                writer.await.unwrap();
            }
            done.send_replace(true);
            let mut first_seen: HashMap<u64, Seen> = HashMap::new();
            for reader in readers {
                for (edition, rooms) in reader.await.unwrap() {
                    compared += usize::from(first_seen.contains_key(&edition));
                    let first = first_seen.entry(edition).or_insert_with(|| rooms.clone());
                    assert_eq!(*first, rooms, "edition {edition}");
                }
            }
        }
    }
}

#[tokio::test]
async fn it_is_settled_while_nobody_writes_and_never_again_once_the_store_is_closed() {
    for Bench { store, _folder } in benches().await {
        let room = store.create_room(&home(), new_room("lobby")).await.unwrap().id;
        store.delete_room(&home(), room).await.unwrap();
        assert_eq!(store.delete_room(&home(), room).await, Err(StoreError::RoomNotFound(room)));
        assert_eq!(store.edition().is_none(), store.is_shared());
        store.close().await;
        assert_eq!(store.edition(), None, "another process may write to it");
    }
}
