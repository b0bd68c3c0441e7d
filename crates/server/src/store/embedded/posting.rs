//! Postings: the rows that ListRooms reads.
//!
//! Invariant: a room has exactly the postings of [`Facet::all_of_room`], all with its order key and its summary, and
//! they change in the transaction that changes the room.

use protocol::arn::Scope;
use protocol::id::Id;
use rusqlite::types::FromSqlError;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Result, Row, params};

use super::super::entry::{Entry, entry_text};
use super::super::facet::Facet;
use super::super::page::RoomPage;
use super::super::{OrderKey, Page, Room, RoomFilter, RoomSink, RoomSummary, StoreError};
use super::scopes::{KnownScopes, ScopeNumber};
use super::values::rows_of_page;
use super::{logging_configurations, rooms};

/// What a list shows of its rooms, as [`summary_of_row`] reads it, of those that the rest of the statement chooses.
macro_rules! select_summaries {
    ($rest:literal) => {
        concat!(
            "SELECT order_key, entry
             FROM posting
             WHERE by_name = ?1 AND by_handler = ?2 AND by_logging = ?3 ",
            $rest
        )
    };
}

/// Lists a room wherever it belongs.
pub(super) fn insert(connection: &Connection, scope: ScopeNumber, room: &Room) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO posting (scope, by_name, by_handler, by_logging, order_key, entry)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    execute_for_each_facet(&mut statement, scope, room, &entry_text(room))
}

/// Takes a room, as it was until now, out of every list.
pub(super) fn delete(connection: &Connection, scope: ScopeNumber, room: &Room) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM posting
         WHERE scope = ?1 AND by_name = ?2 AND by_handler = ?3 AND by_logging = ?4 AND order_key = ?5",
    )?;
    for Facet { name, handler_uri, logging_configuration } in Facet::all_of_room(room) {
        statement.execute(params![scope, name, handler_uri, logging_configuration, room.order_key])?;
    }
    Ok(())
}

/// Empties every list.
pub(super) fn delete_all(connection: &Connection) -> Result<()> {
    connection.execute("DELETE FROM posting", [])?;
    Ok(())
}

/// Shows a room as it is now wherever it is listed, without moving it.
pub(super) fn update(connection: &Connection, scope: ScopeNumber, room: &Room) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "UPDATE posting SET entry = ?6
         WHERE scope = ?1 AND by_name = ?2 AND by_handler = ?3 AND by_logging = ?4 AND order_key = ?5",
    )?;
    execute_for_each_facet(&mut statement, scope, room, &entry_text(room))
}

fn execute_for_each_facet(
    statement: &mut CachedStatement<'_>,
    scope: ScopeNumber,
    room: &Room,
    entry: &str,
) -> Result<()> {
    for Facet { name, handler_uri, logging_configuration } in Facet::all_of_room(room) {
        let order_key = room.order_key;
        statement.execute(params![scope, name, handler_uri, logging_configuration, order_key, entry])?;
    }
    Ok(())
}

/// Whether any room of the scope has the logging configuration.
pub(super) fn has_logging_configuration(connection: &Connection, scope: ScopeNumber, id: Id) -> Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM posting
                            WHERE scope = ?1 AND by_name = '' AND by_handler = '' AND by_logging = ?2)",
        )?
        .query_row(params![scope, id.as_str()], |row| row.get(0))
}

/// A page of ListRooms: one range, whatever the filters, the depth and the number of rooms.
pub(super) fn list<S: RoomSink>(
    connection: &Connection,
    known_scopes: &KnownScopes,
    scope: &Scope,
    filter: &RoomFilter,
    after: Option<OrderKey>,
    limit: usize,
    sink: S,
) -> Result<Page<S>, StoreError> {
    let mut page = RoomPage::new(sink, limit);
    // Two statements, when the scope is not known yet, need not be of one moment: its number never changes.
    if let Some(number) = known_scopes.find(connection, scope)? {
        let mut statement = connection.prepare_cached(select_summaries!(
            "AND order_key < ?4 AND scope = ?5 ORDER BY order_key DESC LIMIT ?6"
        ))?;
        let Facet { name, handler_uri, logging_configuration } = Facet::of_filter(filter);
        let after = after.unwrap_or(OrderKey::MAX);
        let mut rows = statement.query(params![
            name,
            handler_uri,
            logging_configuration,
            after,
            number,
            rows_of_page(limit)
        ])?;
        while let Some(row) = rows.next()? {
            page.take(summary_of_row(connection, number, row)?);
        }
    }
    // A logging configuration that a room has exists, so only an empty page leaves the question open.
    if let (true, Some(id)) = (page.is_empty(), filter.logging_configuration) {
        logging_configurations::require(connection, scope, id)?;
    }
    Ok(page.finish())
}

/// What a room's posting in one list shows, if it is there.
pub(super) fn find(
    connection: &Connection,
    scope: ScopeNumber,
    facet: Facet<'_>,
    order_key: OrderKey,
) -> Result<Option<RoomSummary<'static>>> {
    connection
        .prepare_cached(select_summaries!("AND order_key = ?4 AND scope = ?5"))?
        .query_row(
            params![facet.name, facet.handler_uri, facet.logging_configuration, order_key, scope],
            |row| summary_of_row(connection, scope, row).map(RoomSummary::into_owned),
        )
        .optional()
}

fn summary_of_row<'row>(
    connection: &Connection,
    scope: ScopeNumber,
    row: &'row Row<'_>,
) -> Result<RoomSummary<'row>> {
    let entry = Entry::parse(row.get_ref(1)?.as_str()?).ok_or(FromSqlError::InvalidType)?;
    let summary = entry.into_summary(row.get(0)?, |id| rooms::tags_json(connection, scope, id))?;
    Ok(summary.ok_or(FromSqlError::InvalidType)?)
}
