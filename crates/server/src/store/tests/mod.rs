//! Tests of the store through its operations, on every location it can have.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod backup;
mod check;
mod damage;
pub(super) mod database;
mod earlier_versions;
mod edition;
mod files;
mod list;
mod list_under_writes;
mod redemption;
mod resources;
mod transfer;

use std::collections::BTreeMap;
use std::path::Path;

use protocol::arn::Scope;
use protocol::id::Id;
use serde_json::Value;
use tempfile::TempDir;

use super::random::random_number;
use super::{
    Destination, Location, NewLoggingConfiguration, NewRoom, OrderKey, Page, Redemption, RoomFilter,
    RoomSummary, Settings, Store, StoreError, Tags,
};

/// A store to be tested, and the folder it is in, if any.
struct Bench {
    store: Store,
    _folder: Option<TempDir>,
}

/// A fresh store of every location.
async fn benches() -> Vec<Bench> {
    let folder = TempDir::new().unwrap();
    let on_disk = open(folder.path()).await;
    let in_memory = Store::open_with(&Location::Memory, Settings::default()).await.unwrap();
    let in_database = database::fresh().await.open().await;
    vec![
        Bench { store: on_disk, _folder: Some(folder) },
        Bench { store: in_memory, _folder: None },
        Bench { store: in_database, _folder: None },
    ]
}

async fn open(folder: &Path) -> Store {
    Store::open_with(&Location::Folder(folder.to_owned()), Settings::default()).await.unwrap()
}

pub(super) fn scope(account_id: &str, region: &str) -> Scope {
    Scope { account_id: account_id.into(), region: region.into() }
}

pub(super) fn home() -> Scope {
    scope("123456789012", "us-west-2")
}

/// Name, handler and tags that a list shows.
pub(super) fn details(room: &RoomSummary<'_>) -> Value {
    serde_json::from_str(&format!("{{{}}}", room.details.as_str())).unwrap()
}

pub(super) fn new_room(name: &str) -> NewRoom {
    NewRoom { name: name.to_owned(), message_rate_max: 10, message_length_max: 500, ..NewRoom::default() }
}

pub(super) fn new_logging_configuration(name: &str) -> NewLoggingConfiguration {
    let destination = Destination::S3("bucket".to_owned());
    NewLoggingConfiguration { name: name.to_owned(), destination, tags: Tags::new() }
}

pub(super) fn tags<const N: usize>(tags: [(&str, &str); N]) -> Tags {
    BTreeMap::from(tags.map(|(key, value)| (key.to_owned(), value.to_owned())))
}

fn an_id() -> Id {
    Id::parse("abcdefghijkl").unwrap()
}

/// Every page of a list, checked to be as long as it must be, and to promise another exactly when there is one.
pub(super) async fn walk(
    store: &Store,
    scope: &Scope,
    filter: &RoomFilter,
    page_size: usize,
) -> Vec<RoomSummary<'static>> {
    let mut rooms = Vec::new();
    let mut after: Option<OrderKey> = None;
    loop {
        let Page { entries, next }: Page<Vec<RoomSummary<'_>>> =
            store.list_rooms(scope, filter, after, page_size, Vec::new()).await.unwrap();
        assert!(entries.len() <= page_size);
        if let Some(after) = after {
            let first = entries.first().expect("a page that was promised has an entry");
            assert!(first.order_key < after, "a page begins after the one before");
        }
        assert!(next.is_none() || entries.len() == page_size, "a page that promises more is full");
        assert_eq!(next, entries.last().map(|last| last.order_key).filter(|_| next.is_some()));
        rooms.extend(entries);
        after = next;
        if after.is_none() {
            return rooms;
        }
    }
}

/// A client's try to use a token.
pub(super) async fn redeem(store: &Store, token_id: u128, expires: i64) -> Result<bool, StoreError> {
    store.redeem(&Redemption { token_id, expires, claim: random_number()? }).await
}

pub(super) fn is_unavailable<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unavailable(_)))
}
