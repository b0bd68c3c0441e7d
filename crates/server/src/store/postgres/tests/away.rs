//! The database goes away, in order and not, and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::super::super::tests::database::{Database, fresh};
use super::super::super::tests::{home, is_unavailable, new_room, walk};
use super::super::super::{KeyPurpose, Location, News, Redemption, RoomFilter, Store, StoreError};
use super::{MINUTE, PATIENCE, assert_all_have, next_news, now, wait_for_first_look};

/// A request that meets a database that is away has its answer in this time at most: that of a try, with much to spare for
/// a busy machine.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_away_requests_are_refused_and_then_all_is_as_before() {
    let database = Database::start(&[]);
    let schema = database.schema().await;
    let store = schema.open().await;
    let mut watch = store.watch();
    let room = store.create_room(&home(), new_room("kept")).await.unwrap();
    wait_for_first_look(&mut watch, &store, &room).await;
    let room = store.get_room(&home(), room.id).await.unwrap();
    for command in ["stop", "kill"] {
        database.command(command);
        assert!(matches!(next_news(&mut watch).await, News::Away(StoreError::Unavailable(_))));
        let started = Instant::now();
        let mut requests = JoinSet::new();
        for _ in 0..200 {
            let store = store.clone();
            requests.spawn(async move {
                assert!(is_unavailable(&store.get_room(&home(), room.id).await));
                assert!(is_unavailable(&store.create_room(&home(), new_room("refused")).await));
            });
        }
        requests.join_all().await;
        assert!(started.elapsed() < ANSWER_TIME_MAX, "they pile up: {:?}", started.elapsed());
        let refused = Store::open(&schema.location()).await.err().unwrap();
        assert!(matches!(refused, StoreError::Unavailable(_)));
        // Some ask all the time, so that one has always just been refused.
        let is_back = Arc::new(AtomicBool::new(false));
        let mut askers = JoinSet::new();
        for _ in 0..4 {
            let (store, is_back) = (store.clone(), Arc::clone(&is_back));
            askers.spawn(async move {
                while !is_back.load(Relaxed) {
                    let _ = store.get_room(&home(), room.id).await;
                    tokio::task::yield_now().await;
                }
            });
        }
        database.command("start");
        assert_eq!(next_news(&mut watch).await, News::Back);
        assert_eq!(store.get_room(&home(), room.id).await.as_ref(), Ok(&room), "whoever asks is let through");
        is_back.store(true, Relaxed);
        askers.join_all().await;
        // It might be another one that took over, which has not done all that this one had.
        assert_eq!(next_news(&mut watch).await, News::Gap);
    }
    assert_eq!(walk(&store, &home(), &RoomFilter::default(), 50).await, [room.summary()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_database_is_killed_under_writers() {
    let database = Database::start(&[]);
    let schema = database.schema().await;
    let servers = [schema.open().await, schema.open().await];
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for number in 0..6 {
        let (server, stop) = (servers[number % 2].clone(), Arc::clone(&stop));
        writers.spawn(async move {
            let mut acknowledged = Vec::new();
            while !stop.load(Relaxed) {
                match server.create_room(&home(), new_room("a")).await {
                    Ok(room) => acknowledged.push(room),
                    Err(error) => assert!(matches!(error, StoreError::Unavailable(_)), "{error}"),
                }
                tokio::task::yield_now().await;
            }
            acknowledged
        });
    }
    for _ in 0..3 {
        let before = servers[0].counters().writes;
        wait_until(|| servers[0].counters().writes > before + 10).await;
        database.command("kill");
        database.command("start");
    }
    // Until both are at work again: one that is not may still refuse whoever asks.
    for server in &servers {
        let before = server.counters().writes;
        wait_until(|| server.counters().writes > before).await;
    }
    stop.store(true, Relaxed);
    let acknowledged: Vec<_> = writers.join_all().await.into_iter().flatten().collect();
    assert_all_have(&servers, &acknowledged).await;
    assert_eq!(servers[0].check().await.unwrap().discrepancies, []);
}

async fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "nothing is written any more");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_used_token_stays_used_when_the_database_was_stopped() {
    let database = Database::start(&[]);
    let store = database.schema().await.open().await;
    let used = Redemption { token_id: 7, expires: now() + MINUTE, claim: 1 };
    assert_eq!(store.redeem(&used).await, Ok(true));
    database.command("stop");
    assert!(is_unavailable(&store.redeem(&used).await));
    database.command("start");
    let deadline = Instant::now() + PATIENCE;
    let again = loop {
        match store.redeem(&used).await {
            Ok(outcome) => break outcome,
            Err(_) => assert!(Instant::now() < deadline),
        }
        tokio::task::yield_now().await;
    };
    assert!(again, "who used it may ask again");
    assert_eq!(store.redeem(&Redemption { claim: 2, ..used }).await, Ok(false));
}

/// Its commit is not waited for: with a database that writes behind only every ten seconds, it is not on disk yet.
#[tokio::test]
async fn a_redemption_does_not_wait_for_the_disk_and_a_room_does() {
    let database = Database::start(&["-c", "wal_writer_delay=10s"]);
    let schema = database.schema().await;
    let store = schema.open().await;
    store.keys(KeyPurpose::ChatToken).await.unwrap();
    const BEHIND: &str = "SELECT 1 WHERE pg_current_wal_flush_lsn() < pg_current_wal_insert_lsn()";
    let redemption = Redemption { token_id: 7, expires: now() + MINUTE, claim: 1 };
    assert_eq!(store.redeem(&redemption).await, Ok(true));
    assert_eq!(schema.execute(BEHIND).await, 1);
    store.create_room(&home(), new_room("a")).await.unwrap();
    assert_eq!(schema.execute(BEHIND).await, 0);
}

#[tokio::test]
async fn no_error_and_no_debug_text_has_the_password() {
    let schema = fresh().await;
    let Location::Postgres(url) = schema.location() else { panic!("another place") };
    assert!(!format!("{url:?} {url}").contains("conformance"));
    let wrong = schema.with_password("hunter2");
    let refused = Store::open(&wrong).await.err().unwrap();
    let said = format!("{refused} {refused:?} {wrong:?}");
    assert!(said.contains("password authentication failed"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}
