//! A store that is copied to another place is the same there, and there is none before all of it is.

use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use protocol::arn::Scope;
use tempfile::TempDir;
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::JoinHandle;

use super::super::embedded::open_behind_its_back;
use super::super::transfer::Batch;
use super::super::{
    Contents, KeyPurpose, Location, LoggingConfiguration, NewRoom, Room, RoomFilter, Settings, Store,
    StoreError,
};
use super::database::{Schema, fresh};
use super::files::fill;
use super::{home, new_logging_configuration, new_room, open, redeem, scope, tags, walk};

const DAY: i64 = 24 * 3_600_000_000;
const USED: u128 = 1;
const UNUSED: u128 = 2;

fn elsewhere() -> Scope {
    scope("210987654321", "eu-west-1")
}

/// In fifty minutes. A token has one expiry, however often it is asked for.
fn expiry() -> i64 {
    static EXPIRY: LazyLock<i64> = LazyLock::new(|| crate::clock::now().as_micros() + 3_000_000_000);
    *EXPIRY
}

fn place(folder: &TempDir) -> Location {
    Location::Folder(folder.path().to_owned())
}

async fn in_memory(clock_ahead: i64) -> Store {
    let now = Arc::new(move || crate::clock::now().as_micros() + clock_ahead);
    Store::open_with(&Location::Memory, Settings { now, ..Settings::default() }).await.unwrap()
}

async fn copy(store: &Store, target: &Location) -> Result<Contents, StoreError> {
    store.copy_to(target, |_, _| {}).await
}

/// A copied store, opened as a server would.
async fn moved(store: &Store, target: &Location) -> Store {
    let copied = copy(store, target).await.unwrap();
    let moved = Store::open_existing(target).await.unwrap();
    assert_eq!(moved.contents().await, Ok(copied));
    assert_eq!(moved.check().await.unwrap().discrepancies, []);
    moved
}

/// All that can be asked for.
#[derive(Debug, PartialEq)]
struct Everything {
    rooms: Vec<Room>,
    logging_configurations: Vec<LoggingConfiguration>,
    keys: Vec<(u32, i64, [u8; 32])>,
}

impl Everything {
    async fn of(store: &Store) -> Self {
        let (mut rooms, mut logging_configurations, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for scope in [home(), elsewhere()] {
            for listed in walk(store, &scope, &RoomFilter::default(), 7).await {
                let room = store.get_room(&scope, listed.id).await.unwrap();
                assert_eq!(room.summary(), listed);
                rooms.push(room);
            }
            let page = store.list_logging_configurations(&scope, None, 1_000).await.unwrap();
            logging_configurations.extend(page.entries);
        }
        for purpose in [KeyPurpose::ChatToken, KeyPurpose::PageToken] {
            let all = store.keys(purpose).await.unwrap();
            keys.extend(all.iter().map(|key| (key.id, key.create_time, *key.secret)));
        }
        Self { rooms, logging_configurations, keys }
    }
}

/// Something of every kind, in two scopes.
async fn fill_all(store: &Store) {
    fill(store).await;
    let long = "x".repeat(200);
    let room = NewRoom { tags: tags([("a", &long), ("b", &long), ("ü\"", "")]), ..new_room("long-tags") };
    store.create_room(&elsewhere(), room).await.unwrap();
    store.create_logging_configuration(&elsewhere(), new_logging_configuration("logs")).await.unwrap();
    store.keys(KeyPurpose::PageToken).await.unwrap();
    store.keys(KeyPurpose::ChatToken).await.unwrap();
    store.rotate_key(KeyPurpose::ChatToken, 0).await.unwrap();
    assert_eq!(redeem(store, USED, expiry()).await, Ok(true));
}

/// What is done next comes first in every list.
async fn assert_next_is_first(store: &Store) {
    let first = async || walk(store, &home(), &RoomFilter::default(), 50).await.remove(0).id;
    let room = store.create_room(&home(), new_room("next")).await.unwrap();
    assert_eq!(first().await, room.id);
    let oldest = walk(store, &home(), &RoomFilter::default(), 50).await.pop().unwrap();
    store.update_room(&home(), oldest.id, Default::default()).await.unwrap();
    assert_eq!(first().await, oldest.id);
    let logs = store.create_logging_configuration(&home(), new_logging_configuration("next")).await.unwrap();
    let listed = store.list_logging_configurations(&home(), None, 1).await.unwrap().entries;
    assert_eq!(listed[0].id, logs.id);
}

#[tokio::test]
async fn a_store_is_the_same_in_a_database_and_then_in_a_folder_again() {
    let (schema, back) = (fresh().await, TempDir::new().unwrap());
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await;
    fill_all(&store).await;
    let before = Everything::of(&store).await;
    assert_eq!((before.rooms.len(), before.logging_configurations.len(), before.keys.len()), (20, 2, 3));

    let database = moved(&store, &schema.location()).await;
    assert_eq!(Everything::of(&database).await, before);
    assert_eq!(Everything::of(&store).await, before, "the old store is as it was");
    assert_eq!(redeem(&database, USED, expiry()).await, Ok(false));
    assert_eq!(redeem(&database, UNUSED, expiry()).await, Ok(true));
    assert_next_is_first(&database).await;
    let before = Everything::of(&database).await;

    let store = moved(&database, &place(&back)).await;
    assert_eq!(Everything::of(&store).await, before);
    for token_id in [USED, UNUSED] {
        assert_eq!(redeem(&store, token_id, expiry()).await, Ok(false));
    }
    assert_next_is_first(&store).await;
    store.close().await;
    let store = open(back.path()).await;
    assert_eq!(redeem(&store, USED, expiry()).await, Ok(false), "also after a start");
}

#[tokio::test]
async fn a_store_goes_to_another_place_of_the_same_engine_too() {
    let (folder, target) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = open(folder.path()).await;
    fill_all(&store).await;
    let before = Everything::of(&store).await;
    assert_eq!(Everything::of(&moved(&store, &place(&target)).await).await, before);
    let (first, second) = (fresh().await, fresh().await);
    let database = moved(&store, &first.location()).await;
    assert_eq!(Everything::of(&moved(&database, &second.location()).await).await, before);
}

#[tokio::test]
async fn a_store_of_many_batches_is_copied_whole() {
    const ROOMS: u64 = 1_201;
    const TOKENS: u64 = 25_000;
    let store = in_memory(0).await;
    for (number, name) in (0..ROOMS).zip(["a", "b", ""].into_iter().cycle()) {
        let scope = if number % 2 == 0 { home() } else { elsewhere() };
        store.create_room(&scope, new_room(name)).await.unwrap();
        if number < 501 {
            store.create_logging_configuration(&scope, new_logging_configuration("logs")).await.unwrap();
        }
    }
    let expires = |token_id: u64| expiry() + if token_id < 12_000 { 0 } else { 600_000_000 };
    for token_id in 0..TOKENS {
        assert_eq!(redeem(&store, token_id.into(), expires(token_id)).await, Ok(true));
    }
    let before = Everything::of(&store).await;
    let (folder, schema) = (TempDir::new().unwrap(), fresh().await);
    let mut shown = Vec::new();
    let copied = store.copy_to(&schema.location(), |done, all| shown.push((*done, *all))).await.unwrap();
    assert_eq!((copied.rooms, copied.logging_configurations, copied.used_tokens), (ROOMS, 501, TOKENS));
    assert!(shown.is_sorted_by_key(|(done, _)| (done.rooms, done.used_tokens)));
    assert!(shown.iter().all(|(_, all)| *all == copied), "how much there is was known from the first");
    assert_eq!(shown.last(), Some(&(copied, copied)));
    let database = Store::open_existing(&schema.location()).await.unwrap();
    let on_disk = moved(&database, &place(&folder)).await;
    assert_eq!(on_disk.contents().await, Ok(copied));
    assert_eq!(Everything::of(&database).await, before);
    assert_eq!(Everything::of(&on_disk).await, before);
    for token_id in [0, 9_999, 10_000, 11_999, 12_000, TOKENS - 1] {
        for store in [&database, &on_disk] {
            assert_eq!(redeem(store, token_id.into(), expires(token_id)).await, Ok(false), "{token_id}");
        }
    }
}

/// Of a machine whose clock was ahead, also when what it dated last is gone.
#[tokio::test]
async fn later_writes_sort_above_what_a_clock_ahead_has_dated() {
    let store = in_memory(DAY).await;
    let room = store.create_room(&home(), new_room("ahead")).await.unwrap();
    store.create_logging_configuration(&home(), new_logging_configuration("ahead")).await.unwrap();
    let last = store.create_room(&home(), new_room("last")).await.unwrap();
    store.delete_room(&home(), last.id).await.unwrap();
    assert!(room.order_key > crate::clock::now().as_micros());
    let (schema, folder, back) = (fresh().await, TempDir::new().unwrap(), TempDir::new().unwrap());
    let database = moved(&store, &schema.location()).await;
    let on_disk = moved(&store, &place(&folder)).await;
    assert!(on_disk.create_room(&home(), new_room("later")).await.unwrap().order_key > last.order_key);
    for store in [&on_disk, &moved(&database, &place(&back)).await, &database] {
        assert_next_is_first(store).await;
    }
}

#[tokio::test]
async fn a_place_that_has_a_store_is_refused_and_left_as_it_is() {
    let (folder, schema) = (TempDir::new().unwrap(), fresh().await);
    let (store, theirs) = (in_memory(0).await, TempDir::new().unwrap());
    fill_all(&store).await;
    // Stores in which there is nothing yet are stores, too.
    open(theirs.path()).await.close().await;
    schema.open().await;
    fs::write(folder.path().join("grandstand.db-wal"), "the log of a store that was moved away").unwrap();
    for target in [place(&theirs), schema.location(), place(&folder)] {
        let refused = copy(&store, &target).await.err().unwrap().to_string();
        assert!(
            refused.contains("there is a store in") && refused.contains("nothing was changed"),
            "{refused}"
        );
    }
    assert!(copy(&store, &Location::Memory).await.is_err());
    assert_eq!(open(theirs.path()).await.contents().await, Ok(Contents::default()));
    assert_eq!(schema.open().await.contents().await, Ok(Contents::default()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let itself = open(folder.path().join("new").as_path()).await;
    assert!(copy(&itself, &Location::Folder(folder.path().join("new"))).await.is_err());
}

#[tokio::test]
async fn a_room_that_cannot_be_read_ends_the_copy_and_there_is_no_store() {
    let damage = "UPDATE room SET logging_configurations = 'no id' WHERE name = 'moved'";
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await;
    fill(&store).await;
    store.close().await;
    assert_eq!(open_behind_its_back(folder.path()).execute(damage, []).unwrap(), 1);
    let schema = fresh().await;
    let database = schema.open().await;
    fill(&database).await;
    assert_eq!(schema.execute(damage).await, 1);
    let (target, target_schema) = (TempDir::new().unwrap(), fresh().await);
    for store in [open(folder.path()).await, database] {
        for target in [place(&target), target_schema.location()] {
            let refused = copy(&store, &target).await;
            assert!(matches!(refused, Err(StoreError::Damaged(_))), "{refused:?}");
            assert_eq!(Store::require_vacant(&target).await, Ok(()));
        }
    }
}

/// A copy whose batches the test sends.
struct Begun {
    batches: Sender<Batch>,
    writing: JoinHandle<Result<(), StoreError>>,
}

impl Begun {
    /// Sends all that a store keeps but `left_out` batches. All but the last of these is taken when this answers.
    async fn all_but(left_out: usize, target: &Location) -> Self {
        let store = in_memory(0).await;
        fill_all(&store).await;
        let (export, mut exported) = channel(100);
        store.export(export).await.unwrap();
        let mut all = Vec::new();
        while let Some(batch) = exported.recv().await {
            all.push(batch);
        }
        let (batches, import) = channel(1);
        let target = target.clone();
        let writing = tokio::spawn(async move { Store::import(&target, import).await });
        let sent = all.len().saturating_sub(left_out);
        for batch in all.into_iter().take(sent) {
            batches.send(batch).await.ok().unwrap();
        }
        Self { batches, writing }
    }
}

/// As many batches as [`fill_all`] makes, the end included.
const BATCHES: usize = 8;

fn names(folder: &Path) -> Vec<String> {
    let entries =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_copy_that_is_cut_off_anywhere_leaves_no_store_and_can_be_done_again() {
    let (folder, schema) = (TempDir::new().unwrap(), fresh().await);
    for target in [place(&folder), schema.location()] {
        for left_out in (1..=BATCHES).rev() {
            let Begun { batches, writing } = Begun::all_but(left_out, &target).await;
            drop(batches);
            let outcome = writing.await.unwrap();
            assert!(
                outcome.as_ref().is_err_and(|error| error.to_string().contains("cut off")),
                "{outcome:?}"
            );
            assert_eq!(Store::require_vacant(&target).await, Ok(()), "{left_out} left out");
            assert!(Store::open_existing(&target).await.is_err());
        }
    }
    assert_eq!(names(folder.path()), ["lock", "redemptions"]);
    assert_eq!(schema.execute("SELECT * FROM pg_tables WHERE schemaname = current_schema()").await, 0);
    for target in [place(&folder), schema.location()] {
        let Begun { batches, writing } = Begun::all_but(0, &target).await;
        assert_eq!(writing.await.unwrap(), Ok(()), "{BATCHES} batches were all there are");
        drop(batches);
        let store = Store::open_existing(&target).await.unwrap();
        assert_eq!(store.check().await.unwrap().discrepancies, []);
        assert_eq!(redeem(&store, USED, expiry()).await, Ok(false));
    }
}

#[tokio::test]
async fn what_a_killed_copy_has_left_in_a_folder_is_written_over() {
    let (folder, store) = (TempDir::new().unwrap(), in_memory(0).await);
    fill_all(&store).await;
    fs::write(folder.path().join("grandstand.db.new"), "half a store ".repeat(10_000)).unwrap();
    moved(&store, &place(&folder)).await.close().await;
    assert_eq!(names(folder.path()), ["grandstand.db", "lock", "redemptions"]);
}

async fn is_refused_as_missing(schema: &Schema) -> bool {
    let opened = Store::open_existing(&schema.location()).await;
    opened.err().unwrap().to_string().contains("there is no store")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sees_a_part_of_a_store_in_a_database_and_a_lost_connection_takes_it_along() {
    let schema = fresh().await;
    for is_killed in [true, false] {
        // Its own process ends, or the database ends its connection.
        let name = if is_killed { "copy_killed" } else { "copy_disconnected" };
        let Begun { batches, writing } = Begun::all_but(1, &schema.with_application_name(name)).await;
        assert!(is_refused_as_missing(&schema).await);
        let mine = format!("SELECT pid FROM pg_stat_activity WHERE application_name = '{name}'");
        assert_eq!(schema.execute(&mine).await, 1);
        if is_killed {
            writing.abort();
            assert!(writing.await.unwrap_err().is_cancelled());
        } else {
            schema.execute(&format!("SELECT pg_terminate_backend(pid, 60000) FROM ({mine}) AS mine")).await;
            // It may have heard of it already.
            drop(batches.send(Batch::End).await);
            assert!(writing.await.unwrap().is_err());
        }
        assert!(is_refused_as_missing(&schema).await);
    }
    let store = in_memory(0).await;
    fill_all(&store).await;
    moved(&store, &schema.location()).await;
}
