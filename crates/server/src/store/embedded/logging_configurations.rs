//! Logging configurations.

use protocol::arn::Scope;
use protocol::id::Id;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::super::change::TagChange;
use super::super::{
    LoggingConfiguration, LoggingConfigurationChange, NewLoggingConfiguration, OrderKey, Page, StoreError,
    Tags,
};
use super::scopes::{self, ScopeNumber};
use super::values::{IdText, TagsJson, destination, destination_texts, rows_of_page, tags_text};
use super::writer::Group;
use super::{is_id_free, posting, random_id};

/// What [`of_row`] reads.
macro_rules! columns {
    () => {
        "logging_configuration.id, name, create_time, order_key, destination_kind, destination, tags"
    };
}

/// Creates a logging configuration.
pub(super) fn create(
    group: &mut Group<'_>,
    scope: &Scope,
    new: NewLoggingConfiguration,
) -> Result<LoggingConfiguration, StoreError> {
    let number = scopes::find_or_insert(group.connection, scope)?;
    let order_key = group.order.next();
    let mut created = new.into_logging_configuration(scope, random_id()?, order_key);
    while !is_id_free(insert(group.connection, number, &created))? {
        created.id = random_id()?;
    }
    Ok(created)
}

/// Changes a logging configuration and moves it to the head of the list.
pub(super) fn update(
    group: &mut Group<'_>,
    scope: &Scope,
    id: Id,
    change: LoggingConfigurationChange,
) -> Result<LoggingConfiguration, StoreError> {
    let (number, mut updated) = find(group.connection, scope, id)?;
    updated.apply(change);
    updated.order_key = group.order.next();
    remove(group.connection, number, id)?;
    insert(group.connection, number, &updated)?;
    Ok(updated)
}

/// Changes the tags; the logging configuration stays where it is in the list.
pub(super) fn change_tags(
    group: &Group<'_>,
    scope: &Scope,
    id: Id,
    change: TagChange,
) -> Result<(), StoreError> {
    let (number, before) = find(group.connection, scope, id)?;
    let tags = change.apply(id, before.tags)?;
    group
        .connection
        .prepare_cached("UPDATE logging_configuration SET tags = ?3 WHERE scope = ?1 AND id = ?2")?
        .execute(params![number, id.as_str(), tags_text(&tags)])?;
    Ok(())
}

/// Deletes a logging configuration that no room has.
pub(super) fn delete(group: &Group<'_>, scope: &Scope, id: Id) -> Result<(), StoreError> {
    let number = require(group.connection, scope, id)?;
    if posting::has_logging_configuration(group.connection, number, id)? {
        return Err(StoreError::LoggingConfigurationInUse(id));
    }
    remove(group.connection, number, id)?;
    Ok(())
}

/// A logging configuration as it is now.
pub(super) fn get(
    connection: &Connection,
    scope: &Scope,
    id: Id,
) -> Result<LoggingConfiguration, StoreError> {
    find(connection, scope, id).map(|(_, found)| found)
}

/// The tags of a logging configuration.
pub(super) fn tags(connection: &Connection, scope: &Scope, id: Id) -> Result<Tags, StoreError> {
    get(connection, scope, id).map(|found| found.tags)
}

/// The scope's number, if it has a logging configuration of this id.
pub(super) fn require(connection: &Connection, scope: &Scope, id: Id) -> Result<ScopeNumber, StoreError> {
    let number = scopes::find(connection, scope)?;
    let exists = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM logging_configuration WHERE scope = ?1 AND id = ?2)")?
        .query_row(params![number, id.as_str()], |row| row.get(0))?;
    number.filter(|_| exists).ok_or(StoreError::LoggingConfigurationNotFound(id))
}

/// Whether all of `ids` exist.
pub(super) fn require_all(connection: &Connection, scope: &Scope, ids: &[Id]) -> Result<(), StoreError> {
    ids.iter().try_for_each(|&id| require(connection, scope, id).map(drop))
}

/// A page of ListLoggingConfigurations.
pub(super) fn list(
    connection: &Connection,
    scope: &Scope,
    after: Option<OrderKey>,
    limit: usize,
) -> Result<Page<Vec<LoggingConfiguration>>, StoreError> {
    let number = scopes::find(connection, scope)?;
    let mut statement = connection.prepare_cached(concat!(
        "SELECT ",
        columns!(),
        " FROM logging_configuration
         WHERE scope = ?1 AND order_key < ?2
         ORDER BY order_key DESC
         LIMIT ?3"
    ))?;
    let position = params![number, after.unwrap_or(OrderKey::MAX), rows_of_page(limit)];
    let entries = statement.query_map(position, |row| of_row(row, scope))?.collect::<Result<Vec<_>>>()?;
    Ok(Page::cut(entries, limit, |entry| entry.order_key))
}

/// Shows every logging configuration of every scope to `visit`.
pub(super) fn for_each<E: From<rusqlite::Error>>(
    connection: &Connection,
    mut visit: impl FnMut(LoggingConfiguration) -> Result<(), E>,
) -> Result<(), E> {
    let mut statement = connection.prepare(concat!(
        "SELECT ",
        columns!(),
        ", account_id, region FROM logging_configuration LEFT JOIN scope ON scope.id = logging_configuration.scope"
    ))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        visit(of_row(row, &Scope { account_id: row.get(7)?, region: row.get(8)? })?)?;
    }
    Ok(())
}

fn find(
    connection: &Connection,
    scope: &Scope,
    id: Id,
) -> Result<(ScopeNumber, LoggingConfiguration), StoreError> {
    let not_found = StoreError::LoggingConfigurationNotFound(id);
    let Some(number) = scopes::find(connection, scope)? else {
        return Err(not_found);
    };
    let found = connection
        .prepare_cached(concat!(
            "SELECT ",
            columns!(),
            " FROM logging_configuration WHERE scope = ?1 AND id = ?2"
        ))?
        .query_row(params![number, id.as_str()], |row| of_row(row, scope))
        .optional()?;
    found.map(|found| (number, found)).ok_or(not_found)
}

fn of_row(row: &Row<'_>, scope: &Scope) -> Result<LoggingConfiguration> {
    Ok(LoggingConfiguration {
        scope: scope.clone(),
        id: row.get::<_, IdText>(0)?.0,
        name: row.get(1)?,
        create_time: row.get(2)?,
        order_key: row.get(3)?,
        destination: destination(row, 4)?,
        tags: row.get::<_, TagsJson>(6)?.0,
    })
}

/// Puts a logging configuration into the table.
pub(super) fn insert(connection: &Connection, scope: ScopeNumber, new: &LoggingConfiguration) -> Result<()> {
    let (kind, destination) = destination_texts(&new.destination);
    connection
        .prepare_cached(
            "INSERT INTO logging_configuration
                 (scope, id, name, create_time, order_key, destination_kind, destination, tags)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            scope,
            new.id.as_str(),
            new.name,
            new.create_time,
            new.order_key,
            kind,
            destination,
            tags_text(&new.tags),
        ])?;
    Ok(())
}

fn remove(connection: &Connection, scope: ScopeNumber, id: Id) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM logging_configuration WHERE scope = ?1 AND id = ?2")?
        .execute(params![scope, id.as_str()])?;
    Ok(())
}
