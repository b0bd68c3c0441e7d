//! Verifies that the store agrees with itself: pages, postings against rooms, references, the order clock.

use protocol::arn::Scope;
use protocol::id::Id;
use protocol::limit::store::DISCREPANCIES_MAX;
use rusqlite::{Connection, Result, Transaction, TransactionBehavior, params};

use super::super::facet::Facet;
use super::super::{Discrepancy, Room, StoreError};
use super::scopes::ScopeNumber;
use super::values::IdText;
use super::{posting, rooms};

/// Everything that is wrong, up to [`DISCREPANCIES_MAX`]. Reads one state of the store, however long it takes.
pub(super) fn check(connection: &Connection) -> Result<Vec<Discrepancy>, StoreError> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Deferred)?;
    let mut found = Found(Vec::new());
    check_pages(&transaction, &mut found)?;
    check_rooms(&transaction, &mut found)?;
    check_postings(&transaction, &mut found)?;
    check_order_clock(&transaction, &mut found)?;
    Ok(found.0)
}

struct Found(Vec<Discrepancy>);

impl Found {
    fn add(&mut self, discrepancy: Discrepancy) {
        if self.0.len() < DISCREPANCIES_MAX {
            self.0.push(discrepancy);
        }
    }
}

/// The file's own structure, as far as SQLite can tell.
fn check_pages(connection: &Connection, found: &mut Found) -> Result<()> {
    let mut statement = connection.prepare(&format!("PRAGMA quick_check({DISCREPANCIES_MAX})"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let message: String = row.get(0)?;
        if message != "ok" {
            found.add(Discrepancy::DamagedFile(message));
        }
    }
    Ok(())
}

/// Each room can be read, is in every list that it belongs to, and has logging configurations that exist.
fn check_rooms(connection: &Connection, found: &mut Found) -> Result<()> {
    let mut statement = connection.prepare(
        "SELECT room.id, name, create_time, order_key, message_rate_max, message_length_max, handler_uri,
                handler_fallback, logging_configurations, tags, scope, account_id, region
         FROM room JOIN scope ON scope.id = room.scope",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let scope = Scope { account_id: row.get(11)?, region: row.get(12)? };
        match rooms::of_row(row, &scope) {
            Ok(room) => check_room(connection, row.get(10)?, &room, found)?,
            Err(error) => found.add(Discrepancy::DamagedFile(format!("a row of table room: {error}"))),
        }
    }
    Ok(())
}

fn check_room(connection: &Connection, scope: ScopeNumber, room: &Room, found: &mut Found) -> Result<()> {
    let summary = room.summary();
    for facet in Facet::all_of_room(room) {
        match posting::find(connection, scope, facet, room.order_key)? {
            None => found.add(Discrepancy::PostingMissing { room: room.id, list: facet.to_string() }),
            Some(posting) if posting != summary => {
                found.add(Discrepancy::PostingDiffers { room: room.id, list: facet.to_string() });
            }
            Some(_) => {}
        }
    }
    let mut exists = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM logging_configuration WHERE scope = ?1 AND id = ?2)")?;
    for &id in &room.logging_configurations {
        if !exists.query_row(params![scope, id.as_str()], |row| row.get(0))? {
            found.add(Discrepancy::LoggingConfigurationMissing { room: room.id, logging_configuration: id });
        }
    }
    Ok(())
}

/// Each posting is that of a room which belongs where it is listed.
fn check_postings(connection: &Connection, found: &mut Found) -> Result<()> {
    let mut statement = connection.prepare(
        "SELECT posting.room, by_name, by_handler, by_logging
         FROM posting LEFT JOIN room ON room.scope = posting.scope AND room.id = posting.room
         WHERE room.id IS NULL
            OR room.order_key <> posting.order_key
            OR by_name NOT IN ('', room.name)
            OR by_handler NOT IN ('', coalesce(room.handler_uri, ''))
            OR by_logging <> ''
               AND instr(',' || room.logging_configurations || ',', ',' || by_logging || ',') = 0",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let room: Id = row.get::<_, IdText>(0)?.0;
        let (name, handler_uri, logging_configuration): (String, String, String) =
            (row.get(1)?, row.get(2)?, row.get(3)?);
        let facet =
            Facet { name: &name, handler_uri: &handler_uri, logging_configuration: &logging_configuration };
        found.add(Discrepancy::PostingStray { room, list: facet.to_string() });
    }
    Ok(())
}

/// No order key lies ahead of the clock that gives them out.
fn check_order_clock(connection: &Connection, found: &mut Found) -> Result<()> {
    let behind = connection.query_row(
        "SELECT last_order_key < max(coalesce((SELECT max(order_key) FROM room), 0),
                                     coalesce((SELECT max(order_key) FROM logging_configuration), 0))
         FROM order_clock",
        [],
        |row| row.get(0),
    )?;
    if behind {
        found.add(Discrepancy::OrderClockBehind);
    }
    Ok(())
}
