//! What is on disk: it is found again however the store ended, belongs to one server at a time, and to its owner only.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::Connection;
use tempfile::TempDir;

use super::super::embedded::open_behind_its_back;
use super::super::{
    KeyPurpose, Location, NewRoom, ReviewHandlerSetting, Room, RoomChange, RoomFilter, Settings, Store,
    StoreError,
};
use super::{home, new_logging_configuration, new_room, open, redeem, tags, walk};

/// Writes of every kind; answers the rooms that there must be, newest first.
pub(super) async fn fill(store: &Store) -> Vec<Room> {
    let logs = store.create_logging_configuration(&home(), new_logging_configuration("logs")).await.unwrap();
    let mut rooms = Vec::new();
    for number in 0..20 {
        let handler =
            ReviewHandlerSetting { uri: format!("arn:{}", number % 3), fallback: Default::default() };
        let new = NewRoom {
            review_handler: (number % 2 == 0).then_some(handler),
            logging_configurations: if number % 3 == 0 { vec![logs.id] } else { vec![] },
            tags: tags([("number", number.to_string().as_str())]),
            ..new_room(["a", "b"][number % 2])
        };
        rooms.push(store.create_room(&home(), new).await.unwrap());
    }
    let deleted = rooms.remove(3);
    store.delete_room(&home(), deleted.id).await.unwrap();
    let moved = rooms.remove(5);
    let change = RoomChange { name: Some("moved".to_owned()), ..RoomChange::default() };
    rooms.push(store.update_room(&home(), moved.id, change).await.unwrap());
    rooms.reverse();
    rooms
}

pub(super) async fn assert_has(store: &Store, rooms: &[Room]) {
    for room in rooms {
        assert_eq!(&store.get_room(&home(), room.id).await.unwrap(), room);
    }
    let summaries: Vec<_> = rooms.iter().map(Room::summary).collect();
    assert_eq!(walk(store, &home(), &RoomFilter::default(), 7).await, summaries);
    assert_eq!(store.check().await.unwrap().discrepancies, []);
}

async fn refusal(folder: &Path) -> String {
    let opened = Store::open_with(&Location::Folder(folder.to_owned()), Settings::default()).await;
    match opened.err() {
        Some(StoreError::Unavailable(cause)) => cause.to_string(),
        other => panic!("expected a refusal, not {other:?}"),
    }
}

#[tokio::test]
async fn everything_is_there_again_after_a_close_and_after_a_drop() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await;
    let rooms = fill(&store).await;
    let key = store.keys(KeyPurpose::ChatToken).await.unwrap().remove(0);
    store.close().await;
    drop(store);
    for _ in 0..2 {
        let store = open(folder.path()).await;
        assert_has(&store, &rooms).await;
        assert_eq!(*store.keys(KeyPurpose::ChatToken).await.unwrap()[0].secret, *key.secret);
        // No close: the next round finds what a drop leaves.
    }
}

/// A copy of the files of a running store is what a `kill -9` leaves: the log has not been copied back.
#[tokio::test]
async fn everything_acknowledged_is_in_the_files_of_a_store_that_never_ended() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await;
    let rooms = fill(&store).await;
    let copy = TempDir::new().unwrap();
    for name in ["grandstand.db", "grandstand.db-wal"] {
        fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
    }
    assert!(fs::metadata(copy.path().join("grandstand.db-wal")).unwrap().len() > 0, "the log was not empty");
    assert_has(&open(copy.path()).await, &rooms).await;
}

#[tokio::test]
async fn a_second_server_is_refused_until_the_first_has_ended() {
    let folder = TempDir::new().unwrap();
    let first = open(folder.path()).await;
    let cause = refusal(folder.path()).await;
    assert!(cause.contains("another server") && cause.contains(&std::process::id().to_string()), "{cause}");
    first.close().await;
    let second = open(folder.path()).await;
    drop(second);
    open(folder.path()).await;
}

#[tokio::test]
async fn a_newer_schema_and_a_foreign_file_are_refused() {
    let folder = TempDir::new().unwrap();
    open(folder.path()).await.close().await;
    let file = folder.path().join("grandstand.db");
    open_behind_its_back(folder.path()).pragma_update(None, "user_version", 99).unwrap();
    let cause = refusal(folder.path()).await;
    assert!(cause.contains("version 99") && cause.contains("newer server"), "{cause}");

    fs::remove_file(&file).unwrap();
    Connection::open(&file).unwrap().execute_batch("CREATE TABLE theirs (id INTEGER)").unwrap();
    let cause = refusal(folder.path()).await;
    assert!(cause.contains("another application"), "{cause}");

    fs::write(&file, "this is no database, but long enough to be read as one".repeat(100)).unwrap();
    let cause = refusal(folder.path()).await;
    assert!(cause.contains(file.to_str().unwrap()) && cause.contains("move it away"), "{cause}");
}

#[tokio::test]
async fn a_refusal_names_the_file_and_what_to_do() {
    let overwrite_the_schema = |file: &Path| {
        let mut bytes = fs::read(file).unwrap();
        bytes[100..4_096].fill(0xff);
        fs::write(file, bytes).unwrap();
    };
    let cut_off = |file: &Path| fs::write(file, &fs::read(file).unwrap()[..2_000]).unwrap();
    let replace_by_a_folder = |file: &Path| {
        fs::remove_file(file).unwrap();
        fs::create_dir(file).unwrap();
    };
    type Damage = fn(&Path);
    for (damage, advice) in [
        (overwrite_the_schema as Damage, "move it away"),
        (cut_off, "move it away"),
        (replace_by_a_folder, "read and write"),
    ] {
        let folder = TempDir::new().unwrap();
        open(folder.path()).await.close().await;
        let file = folder.path().join("grandstand.db");
        damage(&file);
        let cause = refusal(folder.path()).await;
        assert!(cause.contains(file.to_str().unwrap()) && cause.contains(advice), "{cause}");
    }
}

#[tokio::test]
async fn what_is_on_disk_is_for_its_owner_only() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("made/on/the/way");
    let store = open(&data).await;
    fill(&store).await;
    redeem(&store, 7, i64::MAX / 2).await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    let mut files = 0;
    for folder in [data.clone(), data.join("redemptions")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
                files += 1;
            }
        }
    }
    assert!(files >= 5, "database, log, index of the log, lock, redemptions");
}
