//! A page that was changed on the disk is never taken for a good one: who needs it is told, and nobody else notices.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use tempfile::TempDir;

use super::super::{
    Discrepancy, Location, NewRoom, Room, RoomChange, RoomFilter, Settings, Store, StoreError, Tags,
};
use super::{home, new_room, open, tags};

const PAGE_BYTES: usize = 4_096;

/// Enough for several pages of every table.
const ROOMS: usize = 300;

/// The store of a server that has ended, with rooms.
async fn filled() -> (TempDir, Vec<Room>) {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await;
    let mut rooms = Vec::new();
    for number in 0..ROOMS {
        // Every tenth has tags that do not fit into one page.
        let tags = if number % 10 == 0 { tags([("long", "x".repeat(9_000).as_str())]) } else { Tags::new() };
        let new = NewRoom { tags, ..new_room(&format!("room-{number:03}")) };
        rooms.push(store.create_room(&home(), new).await.unwrap());
    }
    store.close().await;
    (folder, rooms)
}

/// What can happen to a page.
const DAMAGES: [fn(&mut [u8]); 2] = [
    // One bit, wherever in its rows, or between them, the middle of the page may be.
    |page| page[PAGE_BYTES / 2] ^= 4,
    // What a disk may make of a page that it has lost.
    |page| page.fill(0),
];

/// A copy of a store in which something has happened to one page.
fn damaged_copy(file: &Path, page: usize, damage: fn(&mut [u8])) -> TempDir {
    let folder = TempDir::new().unwrap();
    let mut content = fs::read(file).unwrap();
    damage(&mut content[(page - 1) * PAGE_BYTES..page * PAGE_BYTES]);
    fs::write(folder.path().join("grandstand.db"), content).unwrap();
    folder
}

/// Puts a page back as it is in `good`, if it still is as `damage` has left it: a write that needs a new page takes a free
/// one without looking at it, and then it holds what was written.
fn heal(file: &Path, good: &Path, page: usize, damage: fn(&mut [u8])) {
    let (mut bytes, offset) = ([0; PAGE_BYTES], ((page - 1) * PAGE_BYTES) as u64);
    File::open(good).unwrap().read_exact_at(&mut bytes, offset).unwrap();
    let (mut damaged, mut found) = (bytes, [0; PAGE_BYTES]);
    damage(&mut damaged);
    let file = OpenOptions::new().read(true).write(true).open(file).unwrap();
    file.read_exact_at(&mut found, offset).unwrap();
    if found == damaged {
        file.write_all_at(&bytes, offset).unwrap();
    }
}

async fn open_if_possible(folder: &Path) -> Option<Store> {
    match Store::open_with(&Location::Folder(folder.to_owned()), Settings::default()).await {
        Ok(store) => Some(store),
        Err(error) => {
            let cause = error.to_string();
            assert!(
                cause.contains("grandstand.db") && cause.contains("put a copy of an earlier day"),
                "{cause}"
            );
            None
        }
    }
}

fn is_damaged<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Damaged(_)))
}

async fn damaged_pages(store: &Store) -> Vec<String> {
    let found = store.check().await.unwrap().discrepancies;
    found
        .into_iter()
        .filter_map(|found| match found {
            Discrepancy::DamagedFile(what) if what.ends_with("its checksum is wrong") => Some(what),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_damaged_page_is_an_error_for_who_needs_it_and_nobody_else() {
    let (folder, rooms) = filled().await;
    let file = folder.path().join("grandstand.db");
    let pages = fs::read(&file).unwrap().len() / PAGE_BYTES;
    let (mut not_opened, mut some_damaged, mut lists_damaged) = (0, 0, 0);
    for (page, damage) in (1..=pages).flat_map(|page| DAMAGES.map(|damage| (page, damage))) {
        let copy = damaged_copy(&file, page, damage);
        let Some(store) = open_if_possible(copy.path()).await else {
            not_opened += 1;
            continue;
        };
        let mut damaged = 0;
        for room in &rooms {
            match store.get_room(&home(), room.id).await {
                Ok(found) => assert_eq!(&found, room, "what is answered is right"),
                Err(StoreError::Damaged(_)) => damaged += 1,
                Err(other) => panic!("page {page}: {other}"),
            }
        }
        some_damaged += usize::from((1..ROOMS).contains(&damaged));
        match store.list_rooms(&home(), &RoomFilter::default(), None, ROOMS, Vec::new()).await {
            Ok(listed) => assert_eq!(listed.entries.len(), ROOMS),
            Err(StoreError::Damaged(_)) => lists_damaged += 1,
            Err(other) => panic!("page {page}: {other}"),
        }
        assert_eq!(damaged_pages(&store).await, [format!("page {page}: its checksum is wrong")]);
    }
    assert!(
        (1..8).contains(&not_opened),
        "the first page, and few more, are needed by everybody: {not_opened}"
    );
    assert!(some_damaged >= 3 && lists_damaged >= 3, "{some_damaged} and {lists_damaged} of {pages}");
}

#[tokio::test]
async fn a_write_that_needs_a_damaged_page_changes_nothing_and_stops_nobody() {
    let (folder, rooms) = filled().await;
    let file = folder.path().join("grandstand.db");
    let pages = fs::read(&file).unwrap().len() / PAGE_BYTES;
    let mut one_of_two = 0;
    for (page, damage) in (1..=pages).flat_map(|page| DAMAGES.map(|damage| (page, damage))) {
        let copy = damaged_copy(&file, page, damage);
        let Some(store) = open_if_possible(copy.path()).await else { continue };
        let first = store.counters();
        let change = || RoomChange { name: Some("changed".to_owned()), ..RoomChange::default() };
        let (here, ids) = (home(), [rooms[ROOMS / 3].id, rooms[ROOMS / 2].id]);
        let (left, right) = tokio::join!(
            store.update_room(&here, ids[0], change()),
            store.update_room(&here, ids[1], change())
        );
        let counters = store.counters();
        assert_eq!(counters.failed_groups, 0, "page {page}");
        assert!(counters.commits > first.commits);
        one_of_two += usize::from(is_damaged(&left) != is_damaged(&right));
        store.close().await;
        // With the page as it was, there is all of what was acknowledged, and nothing of what was not.
        heal(&copy.path().join("grandstand.db"), &file, page, damage);
        let store = open(copy.path()).await;
        for (updated, before) in [(left, &rooms[ROOMS / 3]), (right, &rooms[ROOMS / 2])] {
            let expected = match updated {
                Ok(room) => room,
                Err(StoreError::Damaged(_)) => before.clone(),
                Err(other) => panic!("page {page}: {other}"),
            };
            assert_eq!(store.get_room(&here, before.id).await.unwrap(), expected, "page {page}");
        }
    }
    assert!(one_of_two > 0, "a group went on without one of its writes");
}

#[tokio::test]
async fn a_damaged_store_is_not_backed_up_as_if_it_were_whole() {
    let (folder, _) = filled().await;
    let file = folder.path().join("grandstand.db");
    let pages = fs::read(&file).unwrap().len() / PAGE_BYTES;
    for (number, damage) in DAMAGES.into_iter().enumerate() {
        let copy = damaged_copy(&file, pages / 2, damage);
        let backup = copy.path().join(format!("backup-{number}.db"));
        let made = Store::back_up(&Location::Folder(copy.path().to_owned()), &backup).await;
        let Err(StoreError::Unavailable(cause)) = made else { panic!("it was backed up: {made:?}") };
        assert!(cause.contains("`grandstand check` says what of the store is damaged"), "{cause}");
        assert!(!backup.exists());
    }
}

#[tokio::test]
async fn a_page_in_anothers_place_is_damage() {
    let (folder, _) = filled().await;
    let file = folder.path().join("grandstand.db");
    let mut content = fs::read(&file).unwrap();
    let last = content.len() / PAGE_BYTES;
    content.copy_within((last - 2) * PAGE_BYTES..(last - 1) * PAGE_BYTES, (last - 1) * PAGE_BYTES);
    fs::write(&file, content).unwrap();
    let store = open(folder.path()).await;
    assert_eq!(damaged_pages(&store).await, [format!("page {last}: its checksum is wrong")]);
}
