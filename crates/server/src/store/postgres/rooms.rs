//! Rooms: the rows themselves. What is done to them and to their postings together is a [`group`](super::group).
//!
//! As with postings, each row is found by its primary key behind an `OFFSET 0`, whatever the database believes of the table.

use deadpool_postgres::{Client, GenericClient};
use protocol::arn::Scope;
use protocol::id::Id;

use super::super::column::{fallback_text, id_list_text, tags_text};
use super::super::{Room, StoreError, Tags};
use super::failure::{Failure, Unreadable};
use super::group::Patience;
use super::pipeline::{Step, Value, values};
use super::row;

/// All columns, by name: a prepared statement must not change when a later version adds one.
macro_rules! select {
    () => {
        "SELECT account_id, region, id, name, create_time, order_key, message_rate_max, message_length_max,
                handler_uri, handler_fallback, logging_configurations, tags
         FROM room"
    };
}

/// New rows.
macro_rules! insert {
    () => {
        "INSERT INTO room (account_id, region, id, name, create_time, order_key, message_rate_max, message_length_max,
                           handler_uri, handler_fallback, logging_configurations, tags)
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],
                              $8::bigint[], $9::text[], $10::text[], $11::text[], $12::text[])"
    };
}

/// Asks for rooms as they are now, and keeps them from being changed by others until the transaction has ended. Locks them
/// in the order of `ids`. Without patience, those that somebody else is changing just now are passed over.
pub(super) async fn lock<'a>(
    client: &impl GenericClient,
    scope: &'a Scope,
    ids: Vec<&'a str>,
    patience: Patience,
) -> Result<Step<'a>, Failure> {
    macro_rules! lock {
        ($lock:literal) => {
            concat!(
                "SELECT found.* FROM unnest($3::text[]) AS wanted (id), LATERAL (",
                select!(),
                " WHERE account_id = $1 AND region = $2 AND room.id = wanted.id ",
                $lock,
                " OFFSET 0) AS found"
            )
        };
    }
    let statement = match patience {
        Patience::Waits => lock!("FOR UPDATE"),
        Patience::None => lock!("FOR UPDATE SKIP LOCKED"),
    };
    Step::new(client, statement, values![&*scope.account_id, &*scope.region, ids]).await
}

/// Puts new rooms into the table.
pub(super) async fn insert<'a>(client: &impl GenericClient, rooms: &[&'a Room]) -> Result<Step<'a>, Failure> {
    Step::new(client, insert!(), columns(rooms)).await
}

/// Puts rooms in the place of what they were until now. (As rows that cannot be inserted, since they are there: joined with
/// the new values, the table might be read as a whole.)
pub(super) async fn replace<'a>(
    client: &impl GenericClient,
    rooms: &[&'a Room],
) -> Result<Step<'a>, Failure> {
    let statement = concat!(
        insert!(),
        " ON CONFLICT (account_id, region, id) DO UPDATE
          SET name = excluded.name, order_key = excluded.order_key, message_rate_max = excluded.message_rate_max,
              message_length_max = excluded.message_length_max, handler_uri = excluded.handler_uri,
              handler_fallback = excluded.handler_fallback,
              logging_configurations = excluded.logging_configurations, tags = excluded.tags"
    );
    Step::new(client, statement, columns(rooms)).await
}

/// Takes rooms out of the table: from where they are found.
pub(super) async fn delete<'a>(
    client: &impl GenericClient,
    scope: &'a Scope,
    rooms: &[&'a Room],
) -> Result<Step<'a>, Failure> {
    let statement = "DELETE FROM room WHERE ctid = ANY (ARRAY(
                         SELECT found.ctid FROM unnest($3::text[]) AS wanted (id), LATERAL (
                             SELECT room.ctid FROM room
                             WHERE room.account_id = $1 AND room.region = $2 AND room.id = wanted.id
                             OFFSET 0) AS found))";
    let ids: Vec<&str> = rooms.iter().map(|room| room.id.as_str()).collect();
    Step::new(client, statement, values![&*scope.account_id, &*scope.region, ids]).await
}

/// The values of `insert!`.
fn columns<'a>(rooms: &[&'a Room]) -> Vec<Value<'a>> {
    let handlers = || rooms.iter().map(|room| room.review_handler.as_ref());
    values![
        rooms.iter().map(|room| &*room.scope.account_id).collect::<Vec<_>>(),
        rooms.iter().map(|room| &*room.scope.region).collect::<Vec<_>>(),
        rooms.iter().map(|room| room.id.as_str()).collect::<Vec<_>>(),
        rooms.iter().map(|room| room.name.as_str()).collect::<Vec<_>>(),
        rooms.iter().map(|room| room.create_time).collect::<Vec<_>>(),
        rooms.iter().map(|room| room.order_key).collect::<Vec<_>>(),
        rooms.iter().map(|room| i64::from(room.message_rate_max)).collect::<Vec<_>>(),
        rooms.iter().map(|room| i64::from(room.message_length_max)).collect::<Vec<_>>(),
        handlers().map(|handler| handler.map(|handler| handler.uri.as_str())).collect::<Vec<_>>(),
        handlers().map(|handler| handler.map(|handler| fallback_text(handler.fallback))).collect::<Vec<_>>(),
        rooms.iter().map(|room| id_list_text(&room.logging_configurations)).collect::<Vec<_>>(),
        rooms.iter().map(|room| tags_text(&room.tags)).collect::<Vec<_>>(),
    ]
}

/// A room as it is now.
pub(super) async fn get(client: Client, scope: &Scope, id: Id) -> Result<Room, Failure> {
    let statement = concat!(select!(), " WHERE account_id = $1 AND region = $2 AND id = $3");
    let statement = client.prepare_cached(statement).await?;
    let found = client.query_opt(&statement, &[&&*scope.account_id, &&*scope.region, &id.as_str()]).await?;
    let found = found.ok_or(StoreError::RoomNotFound(id))?;
    Ok(row::room(&found, scope.clone())?)
}

/// The tags of a room.
pub(super) async fn tags(client: Client, scope: &Scope, id: Id) -> Result<Tags, Failure> {
    Ok(get(client, scope, id).await?.tags)
}

/// At most `limit` rooms of any scope in the order of their keys, from the first one after `after` on. A row that cannot
/// be read as a room comes as the error; its scope and id, which can always be read, lead to the next ones.
pub(super) async fn next(
    client: &impl GenericClient,
    after: &RoomPlace,
    limit: usize,
) -> Result<Vec<(RoomPlace, Result<Room, Unreadable>)>, Failure> {
    let statement = concat!(
        select!(),
        " WHERE (account_id, region, id) > ($1, $2, $3) ORDER BY account_id, region, id LIMIT $4"
    );
    let statement = client.prepare_cached(statement).await?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = client.query(&statement, &[&after.account_id, &after.region, &after.id, &limit]).await?;
    rows.iter()
        .map(|found| {
            let place = RoomPlace {
                account_id: row::get(found, "account_id")?,
                region: row::get(found, "region")?,
                id: row::get(found, "id")?,
            };
            let room = row::scope(found).and_then(|scope| row::room(found, scope));
            Ok((place, room))
        })
        .collect()
}

/// Where a room stands in its table. The first place is before all.
#[derive(Default)]
pub(super) struct RoomPlace {
    account_id: String,
    region: String,
    id: String,
}
