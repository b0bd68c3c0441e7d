//! Group commit: many writes share a commit, none is acknowledged before it, and a failure takes down one group only.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use protocol::arn::Scope;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, yield_now};

use super::super::tests::details;
use super::super::{
    Destination, Location, NewLoggingConfiguration, NewRoom, Page, Room, RoomFilter, RoomSummary, Settings,
    StoreError, Tags, runtime_threads,
};
use super::writer::Group;
use super::{Embedded, is_id_free};

fn home() -> Scope {
    Scope { account_id: "123456789012".into(), region: "us-west-2".into() }
}

fn new_room(name: &str) -> NewRoom {
    NewRoom { name: name.to_owned(), message_rate_max: 10, message_length_max: 500, ..NewRoom::default() }
}

fn open(folder: &TempDir, settings: &Settings) -> Arc<Embedded> {
    Arc::new(Embedded::open(&Location::Folder(folder.path().to_owned()), settings).unwrap())
}

fn is_unavailable<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unavailable(_)))
}

async fn names(store: &Embedded) -> Vec<String> {
    let Page { entries, .. }: Page<Vec<RoomSummary<'_>>> =
        store.list_rooms(&home(), &RoomFilter::default(), None, 1_000, Vec::new()).await.unwrap();
    entries.iter().map(|room| details(room)["name"].as_str().unwrap().to_owned()).collect()
}

/// The writer, held in the middle of a group: what is submitted meanwhile forms the next one.
struct Held {
    release: mpsc::SyncSender<()>,
    held: JoinHandle<Result<(), StoreError>>,
}

async fn hold(store: &Arc<Embedded>) -> Held {
    let (release, released) = mpsc::sync_channel(1);
    let (entered, is_in) = oneshot::channel();
    let held = spawn_write(store, move |_| {
        entered.send(()).unwrap();
        released.recv().unwrap();
        Ok(())
    });
    is_in.await.unwrap();
    Held { release, held }
}

impl Held {
    async fn release(self) {
        // Every task that was spawned before this has submitted its write by now: this runtime has one thread.
        yield_now().await;
        self.release.send(()).unwrap();
        self.held.await.unwrap().unwrap();
    }
}

fn spawn_write<T: Send + 'static>(
    store: &Arc<Embedded>,
    work: impl FnOnce(&mut Group<'_>) -> Result<T, StoreError> + Send + 'static,
) -> JoinHandle<Result<T, StoreError>> {
    let store = Arc::clone(store);
    tokio::spawn(async move { store.write(work).await })
}

fn spawn_create(store: &Arc<Embedded>, name: &'static str) -> JoinHandle<Result<Room, StoreError>> {
    let store = Arc::clone(store);
    tokio::spawn(async move { store.create_room(&home(), new_room(name)).await })
}

/// Makes the COMMIT of its group fail, and nothing before it: a foreign key that is only looked at then.
fn break_commit(group: &mut Group<'_>) -> Result<(), StoreError> {
    group.connection.execute_batch(
        "CREATE TEMP TABLE parent (id INTEGER PRIMARY KEY);
         CREATE TEMP TABLE child (parent INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
         INSERT INTO child VALUES (1);",
    )?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writes_share_commits() {
    const WRITERS: u64 = 64;
    const WRITES_EACH: u64 = 20;
    let folder = TempDir::new().unwrap();
    let store = open(&folder, &Settings::default());
    let before = store.counters();
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.push(tokio::spawn(async move {
            for _ in 0..WRITES_EACH {
                store.create_room(&home(), new_room("a")).await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let after = store.counters();
    let (writes, commits) = (after.writes - before.writes, after.commits - before.commits);
    assert_eq!(writes, WRITERS * WRITES_EACH);
    assert!(commits * 4 <= writes, "{commits} commits for {writes} writes");
}

#[tokio::test]
async fn a_refused_write_does_not_touch_its_group() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, &Settings::default());
    let room = store.create_room(&home(), new_room("first")).await.unwrap();
    let held = hold(&store).await;
    let commits_before = store.counters().commits;
    let before = spawn_create(&store, "before");
    let doomed = Arc::clone(&store);
    let first = tokio::spawn(async move { doomed.delete_room(&home(), room.id).await });
    let doomed = Arc::clone(&store);
    let second = tokio::spawn(async move { doomed.delete_room(&home(), room.id).await });
    let after = spawn_create(&store, "after");
    held.release().await;
    before.await.unwrap().unwrap();
    assert_eq!(first.await.unwrap(), Ok(()));
    assert_eq!(second.await.unwrap(), Err(StoreError::RoomNotFound(room.id)), "deleted earlier in its group");
    after.await.unwrap().unwrap();
    assert_eq!(store.counters().commits, commits_before + 2, "all four were one group");
    assert_eq!(names(&store).await, ["after", "before"]);
}

/// Puts a create into a group whose commit fails, and answers what its caller was told.
async fn create_in_a_group_that_fails(store: &Arc<Embedded>) -> Result<Room, StoreError> {
    store.create_room(&home(), new_room("kept")).await.unwrap();
    let held = hold(store).await;
    let lost = spawn_create(store, "lost");
    let broken = spawn_write(store, break_commit);
    held.release().await;
    let (lost, _) = (lost.await.unwrap(), broken.await.unwrap());
    assert!(!names(store).await.contains(&"lost".to_owned()), "the group had no effect");
    lost
}

#[tokio::test]
async fn nothing_is_acknowledged_before_its_commit() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, &Settings::default());
    assert!(is_unavailable(&create_in_a_group_that_fails(&store).await));
    store.create_room(&home(), new_room("next")).await.unwrap();
    assert_eq!(names(&store).await, ["next", "kept"], "it has recovered");
    assert_eq!(store.check().await.unwrap().discrepancies, []);
    let counters = store.counters();
    assert_eq!((counters.failed_groups, counters.reopened), (1, 1));
}

/// The test above is believed because it would see this bug.
#[cfg(debug_assertions)]
#[tokio::test]
async fn an_acknowledgement_before_the_commit_would_be_seen() {
    let folder = TempDir::new().unwrap();
    let plant = Some(super::super::plant::Plant::AcknowledgeBeforeCommit);
    let store = open(&folder, &Settings { plant, ..Settings::default() });
    assert!(create_in_a_group_that_fails(&store).await.is_ok());
}

#[tokio::test]
async fn a_full_file_loses_nothing_that_was_acknowledged() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, &Settings::default());
    let limit = spawn_write(&store, |group| {
        let pages: i64 = group.connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        let limit = format!("PRAGMA max_page_count = {}", pages + 20);
        Ok(group.connection.query_row(&limit, [], |_| Ok(()))?)
    });
    limit.await.unwrap().unwrap();
    let mut acknowledged = Vec::new();
    let refused = loop {
        match store.create_room(&home(), new_room(&"long".repeat(30))).await {
            Ok(room) => acknowledged.push(room),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::Unavailable(_)));
    assert!(acknowledged.len() > 10);
    // The new connection has no such limit: the cause has gone.
    acknowledged.push(store.create_room(&home(), new_room("next")).await.unwrap());
    assert_eq!(names(&store).await.len(), acknowledged.len());
    for room in acknowledged {
        assert_eq!(store.get_room(&home(), room.id).await.unwrap(), room);
    }
    assert_eq!(store.check().await.unwrap().discrepancies, []);
}

#[tokio::test]
async fn while_it_cannot_be_reopened_writes_are_refused_at_once_and_reads_go_on() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, &Settings::default());
    let room = store.create_room(&home(), new_room("kept")).await.unwrap();
    let (file, away) = (folder.path().join("grandstand.db"), folder.path().join("away.db"));
    fs::rename(&file, &away).unwrap();
    assert!(is_unavailable(&spawn_write(&store, break_commit).await.unwrap()));
    for _ in 0..5 {
        assert!(is_unavailable(&store.create_room(&home(), new_room("refused")).await));
        assert_eq!(store.get_room(&home(), room.id).await.unwrap(), room);
    }
    assert_eq!(store.counters().reopened, 0);
    fs::rename(&away, &file).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while is_unavailable(&store.create_room(&home(), new_room("next")).await) {
        assert!(Instant::now() < deadline, "it does not recover");
        yield_now().await;
    }
    assert_eq!(names(&store).await, ["next", "kept"]);
    assert_eq!(store.counters().reopened, 1);
    assert_eq!(store.check().await.unwrap().discrepancies, []);
}

#[tokio::test]
async fn a_panic_ends_its_group_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    for location in [Location::Memory, Location::Folder(folder.path().to_owned())] {
        let store = Arc::new(Embedded::open(&location, &Settings::default()).unwrap());
        let panicked = spawn_write(&store, |group| {
            group.connection.execute("DELETE FROM order_clock", [])?;
            panic!("on purpose");
            #[allow(unreachable_code, reason = "gives the closure its type")]
            Ok(())
        });
        assert!(is_unavailable(&panicked.await.unwrap()));
        store.create_room(&home(), new_room("next")).await.unwrap();
        let read: Result<(), _> = store.readers.read(|_| panic!("on purpose")).await;
        assert!(is_unavailable(&read));
        assert_eq!(names(&store).await, ["next"]);
        assert_eq!(store.check().await.unwrap().discrepancies, []);
    }
}

#[tokio::test]
async fn the_log_is_copied_back_when_it_is_long() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, &Settings::default());
    let deadline = Instant::now() + Duration::from_secs(60);
    let long_tag = "x".repeat(200_000);
    while store.counters().checkpoints < 2 {
        assert!(Instant::now() < deadline, "the log is never copied back");
        let tags = [("key".to_owned(), long_tag.clone())].into();
        store.create_room(&home(), NewRoom { tags, ..new_room("a") }).await.unwrap();
    }
    let log_bytes = fs::metadata(folder.path().join("grandstand.db-wal")).unwrap().len();
    assert!(log_bytes < 3 * 4_096 * 4_096 / 2, "the log starts over: {log_bytes} bytes");
}

#[tokio::test]
async fn an_id_that_is_taken_is_told_from_other_conflicts() {
    let store = Embedded::open(&Location::Memory, &Settings::default()).unwrap();
    store.create_room(&home(), new_room("a")).await.unwrap();
    let new = NewLoggingConfiguration {
        name: String::new(),
        destination: Destination::S3("logs".into()),
        tags: Tags::new(),
    };
    store.create_logging_configuration(&home(), new).await.unwrap();
    let tried = store.write(|group| {
        let insert = |sql| group.connection.execute(sql, []).map(drop);
        let same_id = "INSERT INTO room SELECT * FROM room";
        let same_order_key = "INSERT INTO logging_configuration
             SELECT scope, 'another', name, create_time, order_key, destination_kind, destination, tags
             FROM logging_configuration";
        Ok((is_id_free(insert(same_id)), is_id_free(insert(same_order_key)).is_err()))
    });
    assert_eq!(tried.await.unwrap(), (Ok(false), true));
}

#[tokio::test]
async fn a_read_does_not_wait_for_the_writer() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder, &Settings::default());
    let room = store.create_room(&home(), new_room("a")).await.unwrap();
    let held = hold(&store).await;
    assert_eq!(store.get_room(&home(), room.id).await.unwrap(), room);
    assert_eq!(names(&store).await, ["a"]);
    held.release().await;
}

/// As many as there can be in place: whatever the number of cores, the runtime that `runtime_threads` asks for goes on.
#[test]
fn reads_that_wait_for_the_disk_hold_up_no_other() {
    let runtime = Builder::new_multi_thread().worker_threads(runtime_threads()).build().unwrap();
    let folder = TempDir::new().unwrap();
    let store = open(&folder, &Settings::default());
    let room = runtime.block_on(store.create_room(&home(), new_room("a"))).unwrap();
    let (mut slow, mut releases) = (Vec::new(), Vec::new());
    for _ in 1..runtime_threads() {
        let (release, released) = mpsc::sync_channel::<()>(1);
        let (entered, is_in) = oneshot::channel();
        let work = move |_: &Connection| {
            entered.send(()).unwrap();
            released.recv().unwrap();
            Ok(())
        };
        let own = Arc::clone(&store);
        slow.push(runtime.spawn(async move { own.readers.read(work).await }));
        runtime.block_on(is_in).unwrap();
        releases.push(release);
    }
    // On the runtime's own threads, not on this one.
    let reading = Arc::clone(&store);
    let read = runtime.spawn(async move { reading.get_room(&home(), room.id).await.unwrap() });
    assert_eq!(runtime.block_on(read).unwrap(), room);
    for release in releases {
        release.send(()).unwrap();
    }
    for read in slow {
        runtime.block_on(read).unwrap().unwrap();
    }
}
