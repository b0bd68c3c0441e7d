//! Rooms: the rows themselves, and the writes that keep postings in step with them.

use protocol::arn::Scope;
use protocol::id::Id;
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::super::change::TagChange;
use super::super::{NewRoom, Room, RoomChange, StoreError, Tags};
use super::scopes::{self, ScopeNumber};
use super::values::{IdListText, IdText, TagsJson, handler, id_list_text, tags_as_they_are, tags_text};
use super::writer::Group;
use super::{is_id_free, logging_configurations, posting, random_id};

/// What [`of_row`] reads.
macro_rules! columns {
    () => {
        "room.id, name, create_time, order_key, message_rate_max, message_length_max, handler_uri, handler_fallback,
         logging_configurations, tags"
    };
}

/// Creates a room. All its logging configurations must exist.
pub(super) fn create(group: &mut Group<'_>, scope: &Scope, new: NewRoom) -> Result<Room, StoreError> {
    logging_configurations::require_all(group.connection, scope, &new.logging_configurations)?;
    let number = scopes::find_or_insert(group.connection, scope)?;
    let order_key = group.order.next();
    let mut room = new.into_room(scope, random_id()?, order_key);
    while !is_id_free(insert(group.connection, number, &room))? {
        room.id = random_id()?;
    }
    posting::insert(group.connection, number, &room)?;
    Ok(room)
}

/// Changes a room and moves it to the head of every list that it is in.
pub(super) fn update(
    group: &mut Group<'_>,
    scope: &Scope,
    id: Id,
    change: RoomChange,
) -> Result<Room, StoreError> {
    let (number, before) = require(group.connection, scope, id)?;
    if let Some(ids) = &change.logging_configurations {
        logging_configurations::require_all(group.connection, scope, ids)?;
    }
    let mut after = before.clone();
    after.apply(change);
    after.order_key = group.order.next();
    remove(group.connection, number, &before)?;
    insert(group.connection, number, &after)?;
    posting::insert(group.connection, number, &after)?;
    Ok(after)
}

/// Changes a room's tags; it stays where it is in every list.
pub(super) fn change_tags(
    group: &Group<'_>,
    scope: &Scope,
    id: Id,
    change: TagChange,
) -> Result<(), StoreError> {
    let (number, mut room) = require(group.connection, scope, id)?;
    room.tags = change.apply(id, room.tags)?;
    group
        .connection
        .prepare_cached("UPDATE room SET tags = ?3 WHERE scope = ?1 AND id = ?2")?
        .execute(params![number, id.as_str(), tags_text(&room.tags)])?;
    posting::update(group.connection, number, &room)?;
    Ok(())
}

/// Deletes a room.
pub(super) fn delete(group: &Group<'_>, scope: &Scope, id: Id) -> Result<(), StoreError> {
    let (number, room) = require(group.connection, scope, id)?;
    remove(group.connection, number, &room)?;
    Ok(())
}

/// A room as it is now.
pub(super) fn get(connection: &Connection, scope: &Scope, id: Id) -> Result<Room, StoreError> {
    require(connection, scope, id).map(|(_, room)| room)
}

/// The tags of a room.
pub(super) fn tags(connection: &Connection, scope: &Scope, id: Id) -> Result<Tags, StoreError> {
    get(connection, scope, id).map(|room| room.tags)
}

/// A room's tags as one JSON object, for a posting that does not carry them. A posting is that of a room, so they are there.
pub(super) fn tags_json(connection: &Connection, scope: ScopeNumber, id: Id) -> Result<String> {
    connection
        .prepare_cached("SELECT tags FROM room WHERE scope = ?1 AND id = ?2")?
        .query_row(params![scope, id.as_str()], |row| tags_as_they_are(row, 0).map(str::to_owned))
        .optional()?
        .ok_or_else(|| FromSqlError::InvalidType.into())
}

/// Shows every room of every scope to `visit`; a row that cannot be read as a room comes as the error.
pub(super) fn for_each<E: From<rusqlite::Error>>(
    connection: &Connection,
    mut visit: impl FnMut(ScopeNumber, Result<Room>) -> Result<(), E>,
) -> Result<(), E> {
    let mut statement = connection.prepare(concat!(
        "SELECT ",
        columns!(),
        ", scope, account_id, region FROM room LEFT JOIN scope ON scope.id = room.scope"
    ))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let room = || of_row(row, &Scope { account_id: row.get(11)?, region: row.get(12)? });
        visit(row.get(10)?, room())?;
    }
    Ok(())
}

fn require(connection: &Connection, scope: &Scope, id: Id) -> Result<(ScopeNumber, Room), StoreError> {
    let not_found = StoreError::RoomNotFound(id);
    let Some(number) = scopes::find(connection, scope)? else {
        return Err(not_found);
    };
    let room = connection
        .prepare_cached(concat!("SELECT ", columns!(), " FROM room WHERE scope = ?1 AND id = ?2"))?
        .query_row(params![number, id.as_str()], |row| of_row(row, scope))
        .optional()?;
    room.map(|room| (number, room)).ok_or(not_found)
}

/// A room in the columns `id` to `tags`, in the order of the table.
pub(super) fn of_row(row: &Row<'_>, scope: &Scope) -> Result<Room> {
    Ok(Room {
        scope: scope.clone(),
        id: row.get::<_, IdText>(0)?.0,
        name: row.get(1)?,
        create_time: row.get(2)?,
        order_key: row.get(3)?,
        message_rate_max: row.get(4)?,
        message_length_max: row.get(5)?,
        review_handler: handler(row, 6)?,
        logging_configurations: row.get::<_, IdListText>(8)?.0,
        tags: row.get::<_, TagsJson>(9)?.0,
    })
}

/// Puts a room into the table, and into no list yet.
pub(super) fn insert(connection: &Connection, scope: ScopeNumber, room: &Room) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO room (scope, id, name, create_time, order_key, message_rate_max, message_length_max,
                           handler_uri, handler_fallback, logging_configurations, tags)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    let handler = room.review_handler.as_ref();
    statement.execute(params![
        scope,
        room.id.as_str(),
        room.name,
        room.create_time,
        room.order_key,
        room.message_rate_max,
        room.message_length_max,
        handler.map(|handler| &handler.uri),
        handler.map(|handler| handler.fallback),
        id_list_text(&room.logging_configurations),
        tags_text(&room.tags),
    ])?;
    Ok(())
}

/// Takes a room, as it was until now, out of the table and out of every list.
fn remove(connection: &Connection, scope: ScopeNumber, room: &Room) -> Result<()> {
    posting::delete(connection, scope, room)?;
    connection
        .prepare_cached("DELETE FROM room WHERE scope = ?1 AND id = ?2")?
        .execute(params![scope, room.id.as_str()])?;
    Ok(())
}
