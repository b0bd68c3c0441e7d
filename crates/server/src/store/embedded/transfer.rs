//! All of a store as batches, and a new store of them.

use std::path::Path;

use protocol::limit::transfer::RESOURCES_PER_BATCH;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::mpsc::{Receiver, Sender};

use super::super::redemption::BucketFiles;
use super::super::transfer::{Batch, Contents, KEY_PURPOSES, cut_off, unwanted};
use super::super::{LoggingConfiguration, OrderKey, Room, StoreError};
use super::database::{self, ClaimedFolder, OpenError, cannot};
use super::{keys, logging_configurations, order_clock, posting, rooms, scopes};

/// How much is in the tables. Used tokens are elsewhere.
pub(super) fn count(connection: &Connection) -> rusqlite::Result<Contents> {
    let count = |table| {
        connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0))
    };
    Ok(Contents {
        rooms: count("room")?.unsigned_abs(),
        logging_configurations: count("logging_configuration")?.unsigned_abs(),
        keys: count("secret_key")?.unsigned_abs(),
        used_tokens: 0,
    })
}

/// Sends all that is in the tables, as it is at one moment; blocks while nobody takes it. `used_tokens` is how many of these
/// will follow.
pub(super) fn export(
    connection: &Connection,
    used_tokens: u64,
    batches: &Sender<Batch>,
) -> Result<(), StoreError> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Deferred)?;
    let send = |batch| batches.blocking_send(batch).map_err(unwanted);
    send(Batch::Contents(Contents { used_tokens, ..count(&transaction)? }))?;
    let mut entries = Vec::new();
    logging_configurations::for_each(&transaction, |entry| {
        send_when_full(&mut entries, entry, |entries| send(Batch::LoggingConfigurations(entries)))
    })?;
    send(Batch::LoggingConfigurations(entries))?;
    let mut found = Vec::new();
    rooms::for_each(&transaction, |_, room| {
        send_when_full(&mut found, room?, |found| send(Batch::Rooms(found)))
    })?;
    send(Batch::Rooms(found))?;
    for purpose in KEY_PURPOSES {
        send(Batch::Keys(purpose, keys::all(&transaction, purpose)?))?;
    }
    send(Batch::OrderClock(order_clock::last_saved(&transaction)?))
}

fn send_when_full<T>(
    batch: &mut Vec<T>,
    entry: T,
    send: impl FnOnce(Vec<T>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    batch.push(entry);
    if batch.len() < RESOURCES_PER_BATCH { Ok(()) } else { send(std::mem::take(batch)) }
}

/// Refuses a folder that has a store.
pub(in super::super) fn require_vacant(folder: &Path) -> Result<(), StoreError> {
    database::require_none(folder)
}

/// Makes a store of all batches, in a folder that has none; blocks while none come. The database gets its name when it is
/// whole and on the disk, and used tokens are there before it, so that there is never one without them.
pub(in super::super) fn import(folder: &Path, batches: Receiver<Batch>) -> Result<(), StoreError> {
    // Before the claim, which leaves its traces, and once more when nobody else can make one.
    require_vacant(folder)?;
    let _claim = ClaimedFolder::claim(folder)?;
    require_vacant(folder)?;
    database::create(folder, |connection| {
        let cannot_keep = |error| cannot("keep used chat tokens in", folder, &error);
        let mut used_tokens = BucketFiles::create(folder).map_err(cannot_keep)?;
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        fill(&transaction, batches, |bucket, token_ids| {
            used_tokens.append(bucket, token_ids.into_iter()).map_err(cannot_keep)?;
            Ok(())
        })?;
        transaction.commit()?;
        Ok(used_tokens.sync().map_err(cannot_keep)?)
    })
}

/// Puts everything where it belongs, until the end.
fn fill(
    connection: &Connection,
    mut batches: Receiver<Batch>,
    mut keep_used_tokens: impl FnMut(i64, Vec<u128>) -> Result<(), StoreError>,
) -> Result<(), OpenError> {
    let mut last_order_key = 0;
    while let Some(batch) = batches.blocking_recv() {
        match batch {
            Batch::Contents(_) => {}
            Batch::LoggingConfigurations(entries) => {
                for entry in &entries {
                    last_order_key = last_order_key.max(insert_logging_configuration(connection, entry)?);
                }
            }
            Batch::Rooms(found) => {
                for room in &found {
                    last_order_key = last_order_key.max(insert_room(connection, room)?);
                }
            }
            Batch::Keys(purpose, found) => {
                for key in &found {
                    keys::insert(connection, purpose, key)?;
                }
            }
            Batch::UsedTokens(bucket, token_ids) => keep_used_tokens(bucket, token_ids)?,
            Batch::OrderClock(key) => last_order_key = last_order_key.max(key),
            Batch::End => return Ok(order_clock::save_last(connection, last_order_key)?),
        }
    }
    Err(cut_off().into())
}

/// Answers its order key.
fn insert_logging_configuration(
    connection: &Connection,
    entry: &LoggingConfiguration,
) -> rusqlite::Result<OrderKey> {
    let scope = scopes::find_or_insert(connection, &entry.scope)?;
    logging_configurations::insert(connection, scope, entry)?;
    Ok(entry.order_key)
}

/// Also into every list in which it belongs. Answers its order key.
fn insert_room(connection: &Connection, room: &Room) -> rusqlite::Result<OrderKey> {
    let scope = scopes::find_or_insert(connection, &room.scope)?;
    rooms::insert(connection, scope, room)?;
    posting::insert(connection, scope, room)?;
    Ok(room.order_key)
}
