//! Postings: the rows that ListRooms reads.
//!
//! Invariant: a room has exactly the postings of [`Facet::all_of_room`], all with its order key and its summary, and
//! they change in the transaction that changes the room.
//!
//! Each posting is found by its whole primary key behind an `OFFSET 0`, which the planner cannot turn into something else:
//! what it believes about a table that it has not counted yet may be wrong by any factor. A table that is itself changed
//! cannot be behind it, so that there the place of the row is what is found (`ctid`, PostgreSQL's own); nobody else changes the
//! postings of a room that is locked.

use deadpool_postgres::{Client, GenericClient};
use protocol::arn::Scope;
use protocol::id::Id;
use tokio_postgres::Row;

use super::super::column::rows_of_page;
use super::super::entry::entry_text;
use super::super::facet::Facet;
use super::super::page::RoomPage;
use super::super::{OrderKey, Page, Room, RoomFilter, RoomSink};
use super::connections::Parameter;
use super::failure::{Failure, Unreadable};
use super::pipeline::{Step, Value, values};
use super::{logging_configurations, row};

/// All that a list shows, and where. Tags that the posting does not carry are looked up.
macro_rules! select {
    () => {
        "SELECT posting.account_id, posting.region, by_name, by_handler, by_logging, order_key, entry,
                CASE WHEN right(entry, 1) = ':'
                     THEN (SELECT room.tags FROM room
                           WHERE room.account_id = posting.account_id AND room.region = posting.region
                             AND room.id = substr(posting.entry, 1, 12))
                END AS tags
         FROM posting"
    };
}

/// A condition: the postings at these places (see [`places`]). Where the rows are is looked up first, behind the `OFFSET 0`,
/// and they are then fetched from there. Joined with the places, the table might be read as a whole.
macro_rules! is_wanted {
    () => {
        " WHERE ctid = ANY (ARRAY(
             SELECT found.ctid
             FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[])
                  AS wanted (account_id, region, by_name, by_handler, by_logging, order_key),
                  LATERAL (SELECT posting.ctid FROM posting
                           WHERE posting.account_id = wanted.account_id AND posting.region = wanted.region
                             AND posting.by_name = wanted.by_name AND posting.by_handler = wanted.by_handler
                             AND posting.by_logging = wanted.by_logging AND posting.order_key = wanted.order_key
                           OFFSET 0) AS found))"
    };
}

/// Lists rooms wherever they belong.
pub(super) async fn insert<'a>(client: &impl GenericClient, rooms: &[&'a Room]) -> Result<Step<'a>, Failure> {
    let statement =
        "INSERT INTO posting (account_id, region, by_name, by_handler, by_logging, order_key, entry)
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[])";
    let listed = facets(rooms);
    let mut values = places(&listed);
    // Postings of a room follow each other, and all carry the same.
    let entries = listed.chunk_by(|(room, _), (next, _)| room.id == next.id && room.scope == next.scope);
    let entries = entries.flat_map(|postings| vec![entry_text(postings[0].0); postings.len()]);
    values.push(Box::new(entries.collect::<Vec<_>>()));
    Step::new(client, statement, values).await
}

/// Takes rooms, as they were until now, out of every list.
pub(super) async fn delete<'a>(client: &impl GenericClient, rooms: &[&'a Room]) -> Result<Step<'a>, Failure> {
    Step::new(client, concat!("DELETE FROM posting", is_wanted!()), places(&facets(rooms))).await
}

/// Shows a room as it is now wherever it is listed, without moving it.
pub(super) async fn update<'a>(client: &impl GenericClient, room: &'a Room) -> Result<Step<'a>, Failure> {
    let mut values = places(&facets(&[room]));
    values.push(Box::new(entry_text(room)));
    Step::new(client, concat!("UPDATE posting SET entry = $7", is_wanted!()), values).await
}

/// Everywhere where rooms belong, in the order of the rooms.
fn facets<'a>(rooms: &[&'a Room]) -> Vec<(&'a Room, Facet<'a>)> {
    rooms
        .iter()
        .flat_map(|&room| Facet::all_of_room(room).into_iter().map(move |facet| (room, facet)))
        .collect()
}

/// The primary keys of postings, a column each.
fn places<'a>(listed: &[(&'a Room, Facet<'a>)]) -> Vec<Value<'a>> {
    values![
        listed.iter().map(|(room, _)| &*room.scope.account_id).collect::<Vec<_>>(),
        listed.iter().map(|(room, _)| &*room.scope.region).collect::<Vec<_>>(),
        listed.iter().map(|(_, facet)| facet.name).collect::<Vec<_>>(),
        listed.iter().map(|(_, facet)| facet.handler_uri).collect::<Vec<_>>(),
        listed.iter().map(|(_, facet)| facet.logging_configuration).collect::<Vec<_>>(),
        listed.iter().map(|(room, _)| room.order_key).collect::<Vec<_>>(),
    ]
}

/// Whether any room of the scope has the logging configuration.
pub(super) async fn has_logging_configuration(
    client: &impl GenericClient,
    scope: &Scope,
    id: Id,
) -> Result<bool, Failure> {
    let statement = client
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM posting
                            WHERE account_id = $1 AND region = $2 AND by_name = '' AND by_handler = ''
                              AND by_logging = $3)",
        )
        .await?;
    let row = client.query_one(&statement, &[&&*scope.account_id, &&*scope.region, &id.as_str()]).await?;
    Ok(row.try_get(0)?)
}

/// Whether the list of all rooms is so long.
pub(super) async fn has_at_least(client: Client, scope: &Scope, count: u32) -> Result<bool, Failure> {
    let statement = "SELECT 1 FROM posting
                     WHERE account_id = $1 AND region = $2 AND by_name = '' AND by_handler = '' AND by_logging = ''
                     OFFSET $3 LIMIT 1";
    let statement = client.prepare_cached(statement).await?;
    let before = i64::from(count) - 1;
    Ok(client.query_opt(&statement, &[&&*scope.account_id, &&*scope.region, &before]).await?.is_some())
}

/// The rows of a page of ListRooms: one range, whatever the filters, the depth and the number of rooms.
pub(super) async fn list(
    client: Client,
    scope: &Scope,
    filter: &RoomFilter,
    after: Option<OrderKey>,
    limit: usize,
) -> Result<Vec<Row>, Failure> {
    let statement = concat!(
        select!(),
        " WHERE account_id = $1 AND region = $2 AND by_name = $3 AND by_handler = $4 AND by_logging = $5
            AND order_key < $6
          ORDER BY order_key DESC
          LIMIT $7"
    );
    let statement = client.prepare_cached(statement).await?;
    let Facet { name, handler_uri, logging_configuration } = Facet::of_filter(filter);
    let parameters: [Parameter<'_>; 7] = [
        &&*scope.account_id,
        &&*scope.region,
        &name,
        &handler_uri,
        &logging_configuration,
        &after.unwrap_or(OrderKey::MAX),
        &rows_of_page(limit),
    ];
    let rows = client.query(&statement, &parameters).await?;
    // A logging configuration that a room has exists, so only an empty page leaves the question open.
    if let (true, Some(id)) = (rows.is_empty(), filter.logging_configuration) {
        logging_configurations::require(&client, scope, id).await?;
    }
    Ok(rows)
}

/// Shows the page that [`list`] has read.
pub(super) fn show<S: RoomSink>(rows: &[Row], limit: usize, sink: S) -> Result<Page<S>, Unreadable> {
    let mut page = RoomPage::new(sink, limit);
    for row in rows {
        page.take(row::summary(row)?);
    }
    Ok(page.finish())
}

/// What rooms' postings show, where they should be: for each place the number of the room among `rooms`, its facet's
/// number among its own, and the row if there is one.
pub(super) async fn find_all(
    client: &impl GenericClient,
    rooms: &[(&Room, Vec<Facet<'_>>)],
) -> Result<Vec<(usize, usize, Option<Row>)>, Failure> {
    let statement = concat!(
        "SELECT wanted.room_number, wanted.facet_number, shown.* FROM (",
        "SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
                              $8::bigint[])
                       AS wanted (account_id, region, by_name, by_handler, by_logging, order_key, room_number,
                                  facet_number)) AS wanted
         LEFT JOIN LATERAL (",
        select!(),
        " WHERE posting.account_id = wanted.account_id AND posting.region = wanted.region
            AND posting.by_name = wanted.by_name AND posting.by_handler = wanted.by_handler
            AND posting.by_logging = wanted.by_logging AND posting.order_key = wanted.order_key
            OFFSET 0) AS shown ON TRUE"
    );
    let statement = client.prepare_cached(statement).await?;
    let places = || {
        rooms.iter().enumerate().flat_map(|(room_number, (room, facets))| {
            facets
                .iter()
                .enumerate()
                .map(move |(facet_number, facet)| (room_number, *room, facet_number, *facet))
        })
    };
    let numbers = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let parameters: [Parameter<'_>; 8] = [
        &places().map(|(_, room, ..)| &*room.scope.account_id).collect::<Vec<_>>(),
        &places().map(|(_, room, ..)| &*room.scope.region).collect::<Vec<_>>(),
        &places().map(|(.., facet)| facet.name).collect::<Vec<_>>(),
        &places().map(|(.., facet)| facet.handler_uri).collect::<Vec<_>>(),
        &places().map(|(.., facet)| facet.logging_configuration).collect::<Vec<_>>(),
        &places().map(|(_, room, ..)| room.order_key).collect::<Vec<_>>(),
        &places().map(|(number, ..)| numbers(number)).collect::<Vec<_>>(),
        &places().map(|(_, _, number, _)| numbers(number)).collect::<Vec<_>>(),
    ];
    let rows = client.query(&statement, &parameters).await?;
    rows.into_iter()
        .map(|found| {
            let number = |column| {
                let number = row::get::<i64>(&found, column)?;
                usize::try_from(number).map_err(|_| Unreadable::column(column))
            };
            let (room, facet) = (number("room_number")?, number("facet_number")?);
            let is_there = row::get::<Option<&str>>(&found, "entry")?.is_some();
            Ok((room, facet, is_there.then_some(found)))
        })
        .collect()
}
