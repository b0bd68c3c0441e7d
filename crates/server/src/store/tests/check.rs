//! The check finds what was broken on purpose, and the repair puts right what can be, and nothing else.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use tempfile::TempDir;

use super::super::embedded::open_behind_its_back;
use super::super::{Discrepancy, Location, Room, RoomFilter, Store, StoreError};
use super::database::fresh;
use super::files::{assert_has, fill};
use super::{home, new_room, open, walk};

/// What can be done about a discrepancy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    Repair,
    /// Only the user knows what should be there.
    Change,
    Backup,
}

/// Something to break, what the check then says, in the enum's words and in plain ones, and what helps.
const DAMAGES: [(&str, &str, &str, Remedy); 10] = [
    (
        "DELETE FROM posting WHERE by_name = 'moved'",
        "PostingMissing",
        "is missing in the list of all rooms with name \"moved\"",
        Remedy::Repair,
    ),
    (
        "UPDATE posting SET entry = replace(entry, 'moved', 'other') WHERE by_name = 'moved'",
        "PostingDiffers",
        "is shown in the list of all rooms with name \"moved\" as something that it is not",
        Remedy::Repair,
    ),
    (
        "UPDATE posting SET entry = replace(entry, '\"name\"', 'no JSON') WHERE by_name = ''",
        "PostingDiffers",
        "is shown in the list of all rooms as something that it is not",
        Remedy::Repair,
    ),
    (
        "UPDATE posting SET entry = '?' WHERE by_name = 'moved'",
        "DamagedFile",
        "a row of table posting, in the list of all rooms with name \"moved\": it names no room",
        Remedy::Repair,
    ),
    (
        "DELETE FROM room WHERE name = 'moved'",
        "PostingStray",
        "is in the list of all rooms, where it does not belong",
        Remedy::Repair,
    ),
    (
        "UPDATE posting SET order_key = order_key + 1 WHERE by_name = 'moved'",
        "PostingStray",
        "with name \"moved\", where it does not belong or not at that place",
        Remedy::Repair,
    ),
    (
        "UPDATE posting SET by_name = 'other' WHERE by_name = 'moved'",
        "PostingStray",
        "is in the list of all rooms with name \"other\"",
        Remedy::Repair,
    ),
    (
        "DELETE FROM logging_configuration",
        "LoggingConfigurationMissing",
        ", which does not exist",
        Remedy::Change,
    ),
    (
        "UPDATE room SET logging_configurations = 'no id' WHERE name = 'moved'",
        "DamagedFile",
        "the file is damaged: a row of table room: ",
        Remedy::Backup,
    ),
    (
        "UPDATE order_clock SET last_order_key = 1",
        "OrderClockBehind",
        "is behind what it has dated",
        Remedy::Repair,
    ),
];

/// A store with rooms, closed and then changed behind its back.
async fn damaged(damage: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await;
    fill(&store).await;
    store.close().await;
    let connection = open_behind_its_back(folder.path());
    assert!(connection.execute(damage, []).unwrap() > 0, "{damage} damages nothing");
    folder
}

async fn check(store: &Store) -> Vec<Discrepancy> {
    store.check().await.unwrap().discrepancies
}

#[tokio::test]
async fn the_check_finds_each_kind_of_discrepancy() {
    for (damage, kind, words, _) in DAMAGES {
        let folder = damaged(damage).await;
        let found = check(&open(folder.path()).await).await;
        let is_it = |discrepancy: &Discrepancy| {
            format!("{discrepancy:?}").starts_with(kind) && discrepancy.to_string().contains(words)
        };
        assert!(found.iter().any(is_it), "{damage}: {found:?}");
    }
}

#[tokio::test]
async fn the_repair_puts_right_what_is_derived_and_changes_nothing_else() {
    for (damage, kind, _, remedy) in DAMAGES {
        let folder = damaged(damage).await;
        let store = open(folder.path()).await;
        let before = check(&store).await;
        let repaired = store.repair().await;
        let is_damaged = matches!(repaired, Err(StoreError::Damaged(_)));
        assert_eq!(is_damaged, remedy == Remedy::Backup, "{damage}: {repaired:?}");
        assert!(is_damaged || repaired.is_ok(), "{damage}: {repaired:?}");
        store.close().await;
        let store = open(folder.path()).await;
        let after = check(&store).await;
        match remedy {
            Remedy::Repair => assert_eq!(after, [], "{damage}"),
            Remedy::Change | Remedy::Backup => assert_eq!(after, before, "{damage}"),
        }
        assert!(remedy != Remedy::Change || format!("{after:?}").contains(kind));
    }
}

/// A database has no order clock of its own making, and whether its pages are whole is its own matter.
#[tokio::test]
async fn in_a_database_each_kind_of_discrepancy_is_found_and_what_is_derived_put_right() {
    for (damage, kind, words, remedy) in DAMAGES {
        if kind == "OrderClockBehind" {
            continue;
        }
        let schema = fresh().await;
        let store = schema.open().await;
        fill(&store).await;
        assert!(schema.execute(damage).await > 0, "{damage} damages nothing");
        let before = check(&store).await;
        let is_it =
            |found: &Discrepancy| format!("{found:?}").starts_with(kind) && found.to_string().contains(words);
        assert!(before.iter().any(is_it), "{damage}: {before:?}");
        let repaired = store.repair().await;
        assert_eq!(repaired.is_err(), remedy == Remedy::Backup, "{damage}: {repaired:?}");
        let after = check(&store).await;
        match remedy {
            Remedy::Repair => assert_eq!(after, [], "{damage}"),
            Remedy::Change | Remedy::Backup => assert_eq!(after, before, "{damage}"),
        }
    }
}

#[tokio::test]
async fn a_repaired_database_has_every_room_where_it_was() {
    let schema = fresh().await;
    let store = schema.open().await;
    let rooms = fill(&store).await;
    schema.execute("DELETE FROM posting").await;
    assert_eq!(walk(&store, &home(), &RoomFilter::default(), 7).await, []);
    store.repair().await.unwrap();
    assert_has(&store, &rooms).await;
}

#[tokio::test]
async fn a_repaired_store_has_every_room_where_it_was() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await;
    let rooms = fill(&store).await;
    store.close().await;
    let connection = open_behind_its_back(folder.path());
    connection.execute_batch("DELETE FROM posting; UPDATE order_clock SET last_order_key = 1").unwrap();
    drop(connection);
    let store = open(folder.path()).await;
    assert_eq!(walk(&store, &home(), &RoomFilter::default(), 7).await, []);
    store.repair().await.unwrap();
    assert_has(&store, &rooms).await;
    let newest = store.create_room(&home(), new_room("newest")).await.unwrap();
    let rooms: Vec<Room> = [newest].into_iter().chain(rooms).collect();
    assert_has(&store, &rooms).await;
}

#[tokio::test]
async fn the_check_counts_what_it_looks_at() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await;
    let counts = async || {
        let checked = store.check().await.unwrap();
        (checked.rooms, checked.postings)
    };
    assert_eq!(counts().await, (0, 0));
    for _ in 0..3 {
        store.create_room(&home(), new_room("a")).await.unwrap();
    }
    store.create_room(&home(), new_room("")).await.unwrap();
    assert_eq!(counts().await, (4, 7), "a room with a name is in two lists, one without in one");
}

#[tokio::test]
async fn a_damaged_page_is_named_and_the_rest_is_looked_at() {
    for table in ["room", "posting", "order_clock"] {
        let folder = damaged("UPDATE order_clock SET last_order_key = 1").await;
        let file = folder.path().join("grandstand.db");
        overwrite_root_page(&file, table);
        let store = match Store::open_existing(&Location::Folder(folder.path().to_owned())).await {
            Ok(store) => store,
            // Without a clock there is no store to be opened.
            Err(error) => {
                assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
                assert_eq!(table, "order_clock");
                continue;
            }
        };
        let found = check(&store).await;
        let is_named = |found: &Discrepancy| matches!(found, Discrepancy::DamagedFile(what) if what.contains(&format!("table {table}")));
        assert!(found.iter().any(is_named), "{table}: {found:?}");
        assert!(table != "posting" || found.contains(&Discrepancy::OrderClockBehind), "{found:?}");
        assert!(found.iter().all(|found| found.to_string().lines().count() == 1), "{found:?}");
    }
}

/// Makes nonsense of the page at which a table begins.
fn overwrite_root_page(file: &Path, table: &str) {
    let connection = open_behind_its_back(file.parent().unwrap());
    let page_size: u32 = connection.query_row("PRAGMA page_size", [], |row| row.get(0)).unwrap();
    let query = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
    let page: u32 = connection.query_row(query, [table], |row| row.get(0)).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(connection);
    let nonsense = vec![0xff; usize::try_from(page_size).unwrap()];
    OpenOptions::new()
        .write(true)
        .open(file)
        .unwrap()
        .write_all_at(&nonsense, u64::from((page - 1) * page_size))
        .unwrap();
}

#[tokio::test]
async fn a_store_that_is_not_there_is_not_made() {
    let folder = TempDir::new().unwrap();
    for location in [
        Location::Folder(folder.path().to_owned()),
        Location::Folder(folder.path().join("none")),
        Location::Memory,
    ] {
        let opened = Store::open_existing(&location).await;
        let Some(StoreError::Unavailable(cause)) = opened.err() else { panic!("opened {location:?}") };
        assert!(cause.contains("there is no store in") || cause.contains("`memory:`"), "{cause}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
