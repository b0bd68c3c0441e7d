//! The store's values in PostgreSQL's columns: the texts of `column`. Columns are asked for by name, so a row may have
//! more than are wanted of it.

use protocol::arn::Scope;
use protocol::id::Id;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use super::super::column::{parse_destination, parse_fallback, parse_id_list, parse_tags, tags_as_they_are};
use super::super::entry::Entry;
use super::super::{LoggingConfiguration, ReviewHandlerSetting, Room, RoomSummary, Tags};
use super::failure::Unreadable;

/// A value of a type that PostgreSQL has too.
pub(super) fn get<'row, T: FromSql<'row>>(row: &'row Row, column: &str) -> Result<T, Unreadable> {
    row.try_get(column).map_err(|_| Unreadable::column(column))
}

/// An id: its 12 characters.
pub(super) fn id(row: &Row, column: &str) -> Result<Id, Unreadable> {
    Id::parse(get(row, column)?).ok_or_else(|| Unreadable::column(column))
}

/// The scope of the row.
pub(super) fn scope(row: &Row) -> Result<Scope, Unreadable> {
    let text = |column| get::<String>(row, column).map(String::into_boxed_str);
    Ok(Scope { account_id: text("account_id")?, region: text("region")? })
}

/// A room of its table.
pub(super) fn room(row: &Row, scope: Scope) -> Result<Room, Unreadable> {
    Ok(Room {
        scope,
        id: id(row, "id")?,
        name: get(row, "name")?,
        create_time: get(row, "create_time")?,
        order_key: get(row, "order_key")?,
        message_rate_max: number(row, "message_rate_max")?,
        message_length_max: number(row, "message_length_max")?,
        review_handler: review_handler(row)?,
        logging_configurations: id_list(row)?,
        tags: tags(row)?,
    })
}

/// A room as a posting shows it.
pub(super) fn summary(row: &Row) -> Result<RoomSummary<'_>, Unreadable> {
    let entry = Entry::parse(get(row, "entry")?).ok_or_else(|| Unreadable::column("entry"))?;
    let tags = |_| tags_as_they_are(get(row, "tags")?).ok_or_else(|| Unreadable::column("tags"));
    let summary = entry.into_summary(get(row, "order_key")?, |id| tags(id).map(str::to_owned))?;
    summary.ok_or_else(|| Unreadable::column("entry"))
}

/// A logging configuration of its table.
pub(super) fn logging_configuration(row: &Row, scope: Scope) -> Result<LoggingConfiguration, Unreadable> {
    let destination = parse_destination(get(row, "destination_kind")?, get(row, "destination")?);
    Ok(LoggingConfiguration {
        scope,
        id: id(row, "id")?,
        name: get(row, "name")?,
        create_time: get(row, "create_time")?,
        order_key: get(row, "order_key")?,
        destination: destination.ok_or_else(|| Unreadable::column("destination_kind"))?,
        tags: tags(row)?,
    })
}

/// A number that is never negative nor very large.
pub(super) fn number(row: &Row, column: &str) -> Result<u32, Unreadable> {
    u32::try_from(get::<i64>(row, column)?).map_err(|_| Unreadable::column(column))
}

fn tags(row: &Row) -> Result<Tags, Unreadable> {
    parse_tags(get(row, "tags")?).map_err(|_| Unreadable::column("tags"))
}

fn id_list(row: &Row) -> Result<Vec<Id>, Unreadable> {
    let column = "logging_configurations";
    parse_id_list(get(row, column)?).ok_or_else(|| Unreadable::column(column))
}

fn review_handler(row: &Row) -> Result<Option<ReviewHandlerSetting>, Unreadable> {
    let Some(uri) = get::<Option<String>>(row, "handler_uri")? else {
        return Ok(None);
    };
    let fallback = parse_fallback(get::<&str>(row, "handler_fallback")?.as_bytes());
    Ok(Some(ReviewHandlerSetting {
        uri,
        fallback: fallback.ok_or_else(|| Unreadable::column("handler_fallback"))?,
    }))
}
