//! Stores that earlier versions of the server have written, kept as small files: each is brought up to date.

use std::fs;

use protocol::limit::store::TAGS_CARRIED_BYTES_MAX;
use tempfile::TempDir;

use super::super::{KeyPurpose, Location, NewRoom, RoomFilter, Settings, Store};
use super::database::fresh;
use super::files::{assert_has, fill};
use super::{details, home, new_room, open, walk};

/// A log of a server and its store when it had ended: four rooms and a logging configuration that two of them have.
const STORES: [(&str, &[u8]); 2] = [
    ("version 1, pages without trailers", include_bytes!("stores/version-1-without-trailers.db")),
    ("version 1", include_bytes!("stores/version-1.db")),
];

#[tokio::test]
async fn a_store_of_an_earlier_version_has_everything() {
    for (version, content) in STORES {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("grandstand.db"), content).unwrap();
        for _ in 0..2 {
            let store = open(folder.path()).await;
            let checked = store.check().await.unwrap();
            assert_eq!((checked.rooms, checked.discrepancies), (4, vec![]), "{version}");
            let rooms = walk(&store, &home(), &RoomFilter::default(), 50).await;
            let names: Vec<_> = rooms.iter().map(|room| details(room)["name"].take()).collect();
            assert_eq!(names, ["long-tags", "room-2", "room-1", "room-0"], "{version}");
            let tags = store.get_room(&home(), rooms[0].id).await.unwrap().tags;
            assert_eq!(tags.len(), 20);
            assert_eq!(tags[&"0".repeat(100)], "x".repeat(200));
            let logs = store.list_logging_configurations(&home(), None, 50).await.unwrap().entries.remove(0);
            let filter = RoomFilter { logging_configuration: Some(logs.id), ..RoomFilter::default() };
            assert_eq!(walk(&store, &home(), &filter, 50).await, rooms[1..3]);
            assert!(!store.keys(KeyPurpose::ChatToken).await.unwrap().is_empty());
            store.close().await;
        }
        let names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!names.iter().any(|name| name == "grandstand.db.new"), "{version}: {names:?}");
    }
}

/// Texts are written into JSON by SQL then, and by ourselves from then on: in the same way, or the check would find it.
#[tokio::test]
async fn every_character_is_brought_along() {
    let odd: String = (1..=0x7f).map(char::from).chain("é\u{2028}\u{10ffff}".chars()).collect();
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("grandstand.db"), STORES[0].1).unwrap();
    let plain = rusqlite::Connection::open(folder.path().join("grandstand.db")).unwrap();
    for statement in [
        "UPDATE room SET name = ?1, handler_uri = ?1 WHERE name = 'room-2'",
        "UPDATE posting SET name = ?1, handler_uri = ?1, by_name = iif(by_name = '', '', ?1),
                            by_handler = iif(by_handler = '', '', ?1)
         WHERE name = 'room-2'",
    ] {
        assert!(plain.execute(statement, [&odd]).unwrap() > 0);
    }
    drop(plain);
    let store = open(folder.path()).await;
    assert_eq!(store.check().await.unwrap().discrepancies, []);
    let rooms = walk(&store, &home(), &RoomFilter::default(), 50).await;
    assert_eq!(details(&rooms[1])["name"], *odd);
    assert_eq!(details(&rooms[1])["messageReviewHandler"]["uri"], *odd);
}

/// What a server was killed over: its log is still there, and newer than the file.
#[tokio::test]
async fn a_log_that_an_earlier_version_left_behind_counts() {
    for (version, content) in STORES {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("grandstand.db"), content).unwrap();
        let plain = rusqlite::Connection::open(folder.path().join("grandstand.db")).unwrap();
        plain.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
        plain.execute("UPDATE room SET message_length_max = 77", []).unwrap();
        let killed = TempDir::new().unwrap();
        for name in ["grandstand.db", "grandstand.db-wal"] {
            fs::copy(folder.path().join(name), killed.path().join(name)).unwrap();
        }
        let store =
            Store::open_with(&Location::Folder(killed.path().to_owned()), Settings::default()).await.unwrap();
        for summary in walk(&store, &home(), &RoomFilter::default(), 50).await {
            assert_eq!(
                store.get_room(&home(), summary.id).await.unwrap().message_length_max,
                77,
                "{version}"
            );
        }
        store.create_room(&home(), new_room("next")).await.unwrap();
        assert_eq!(store.check().await.unwrap().discrepancies, []);
    }
}

/// The first schema of a database, whose tables are today's but for these two and one constraint.
#[tokio::test]
async fn a_database_of_the_first_version_has_everything() {
    let schema = fresh().await;
    let store = schema.open().await;
    let mut rooms = fill(&store).await;
    let odd: String = (1..=0x7f).map(char::from).chain("é\u{2028}\u{10ffff}".chars()).collect();
    for (name, value) in [(&*odd, odd.clone()), ("long", "x".repeat(256)), ("", String::new())] {
        let tags = ["a", "b\"\\"].map(|key| (key.to_owned(), value.clone())).into();
        rooms.insert(0, store.create_room(&home(), NewRoom { tags, ..new_room(name) }).await.unwrap());
    }
    store.close().await;
    let first = include_str!("../postgres/migrations/0001.sql");
    let table = |name: &str| {
        let begin = first.find(&format!("CREATE TABLE {name} ")).unwrap();
        &first[begin..begin + first[begin..].find(';').unwrap()]
    };
    let (posting, room_change) = (table("posting"), table("room_change"));
    let downgrade = format!(
        "DROP TABLE room_change; {room_change};
         DROP INDEX logging_configuration_order;
         ALTER TABLE logging_configuration
             ADD CONSTRAINT logging_configuration_order UNIQUE (account_id, region, order_key);
         ALTER TABLE posting RENAME TO later; {posting};
         UPDATE grandstand_schema SET version = 1;
         INSERT INTO posting
         SELECT later.account_id, later.region, by_name, by_handler, by_logging, later.order_key, room.id, name,
                create_time, handler_uri, handler_fallback, logging_configurations,
                CASE WHEN length(tags) <= {TAGS_CARRIED_BYTES_MAX} THEN tags END
         FROM later JOIN room ON room.account_id = later.account_id AND room.id = substr(later.entry, 1, 12)"
    );
    assert!(schema.execute(&downgrade).await > 0);
    schema.execute("DROP TABLE later").await;
    for _ in 0..2 {
        let store = schema.open().await;
        assert_has(&store, &rooms).await;
        store.close().await;
    }
}
