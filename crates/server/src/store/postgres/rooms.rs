//! Rooms: the rows themselves, and the writes that keep postings in step with them.
//!
//! Who changes a room locks its row first, so changes of one room come one after the other. Who gives a room logging
//! configurations locks theirs against being deleted. Rooms are locked before logging configurations, always.

use deadpool_postgres::{Client, GenericClient, Transaction};
use protocol::arn::Scope;
use protocol::id::Id;
use tokio_postgres::Row;

use super::super::change::TagChange;
use super::super::column::{fallback_text, id_list_text, tags_text};
use super::super::random::random_id;
use super::super::{NewRoom, OrderKey, Room, RoomChange, StoreError, Tags};
use super::connections::{Parameter, begin, commit};
use super::failure::{Failure, Unreadable};
use super::order::next_room_order_key;
use super::row;
use super::{logging_configurations, news, posting};

/// All columns, by name: a prepared statement must not change when a later version adds one.
macro_rules! select {
    () => {
        "SELECT account_id, region, id, name, create_time, order_key, message_rate_max, message_length_max,
                handler_uri, handler_fallback, logging_configurations, tags
         FROM room"
    };
}

/// Creates a room. All its logging configurations must exist.
pub(super) async fn create(mut client: Client, scope: &Scope, new: &NewRoom) -> Result<Room, Failure> {
    let transaction = begin(&mut client).await?;
    logging_configurations::hold(&transaction, scope, &new.logging_configurations).await?;
    let mut room = new.clone().into_room(scope, random_id()?, 0);
    room.order_key = insert(&transaction, &room).await?;
    room.create_time = room.order_key;
    posting::insert(&transaction, &room).await?;
    commit(transaction).await?;
    Ok(room)
}

/// Changes a room and moves it to the head of every list that it is in.
pub(super) async fn update(
    mut client: Client,
    scope: &Scope,
    id: Id,
    change: &RoomChange,
) -> Result<Room, Failure> {
    let transaction = begin(&mut client).await?;
    let before = lock(&transaction, scope, id).await?;
    if let Some(ids) = &change.logging_configurations {
        logging_configurations::hold(&transaction, scope, ids).await?;
    }
    let mut after = before.clone();
    after.apply(change.clone());
    // The room's place until now still counts when its next one is chosen.
    after.order_key = replace(&transaction, &after).await?;
    posting::delete(&transaction, &before).await?;
    posting::insert(&transaction, &after).await?;
    news::add(&transaction, scope, id).await?;
    commit(transaction).await?;
    Ok(after)
}

/// Changes a room's tags; it stays where it is in every list.
pub(super) async fn change_tags(
    mut client: Client,
    scope: &Scope,
    id: Id,
    change: &TagChange,
) -> Result<(), Failure> {
    let transaction = begin(&mut client).await?;
    let mut room = lock(&transaction, scope, id).await?;
    room.tags = change.clone().apply(id, room.tags)?;
    let statement = "UPDATE room SET tags = $4 WHERE account_id = $1 AND region = $2 AND id = $3";
    let statement = transaction.prepare_cached(statement).await?;
    let tags = tags_text(&room.tags);
    transaction.execute(&statement, &[&&*scope.account_id, &&*scope.region, &id.as_str(), &tags]).await?;
    posting::update_tags(&transaction, &room).await?;
    commit(transaction).await
}

/// Deletes a room.
pub(super) async fn delete(mut client: Client, scope: &Scope, id: Id) -> Result<(), Failure> {
    let transaction = begin(&mut client).await?;
    let room = lock(&transaction, scope, id).await?;
    posting::delete(&transaction, &room).await?;
    let statement = "DELETE FROM room WHERE account_id = $1 AND region = $2 AND id = $3";
    let statement = transaction.prepare_cached(statement).await?;
    transaction.execute(&statement, &[&&*scope.account_id, &&*scope.region, &id.as_str()]).await?;
    news::add(&transaction, scope, id).await?;
    commit(transaction).await
}

/// A room as it is now.
pub(super) async fn get(client: Client, scope: &Scope, id: Id) -> Result<Room, Failure> {
    let statement = concat!(select!(), " WHERE account_id = $1 AND region = $2 AND id = $3");
    let statement = client.prepare_cached(statement).await?;
    let found = client.query_opt(&statement, &[&&*scope.account_id, &&*scope.region, &id.as_str()]).await?;
    of_row(found, scope, id)
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

async fn lock(transaction: &Transaction<'_>, scope: &Scope, id: Id) -> Result<Room, Failure> {
    let statement = concat!(select!(), " WHERE account_id = $1 AND region = $2 AND id = $3 FOR UPDATE");
    let statement = transaction.prepare_cached(statement).await?;
    let found =
        transaction.query_opt(&statement, &[&&*scope.account_id, &&*scope.region, &id.as_str()]).await?;
    of_row(found, scope, id)
}

fn of_row(found: Option<Row>, scope: &Scope, id: Id) -> Result<Room, Failure> {
    let found = found.ok_or(StoreError::RoomNotFound(id))?;
    Ok(row::room(&found, scope.clone())?)
}

/// A room in the columns `$1` to `$10` of [`insert`] and [`replace`].
struct Columns<'a> {
    account_id: &'a str,
    region: &'a str,
    id: &'a str,
    name: &'a str,
    message_rate_max: i64,
    message_length_max: i64,
    handler_uri: Option<&'a str>,
    handler_fallback: Option<&'static str>,
    logging_configurations: String,
    tags: String,
}

impl<'a> Columns<'a> {
    fn of(room: &'a Room) -> Self {
        let handler = room.review_handler.as_ref();
        Self {
            account_id: &room.scope.account_id,
            region: &room.scope.region,
            id: room.id.as_str(),
            name: &room.name,
            message_rate_max: room.message_rate_max.into(),
            message_length_max: room.message_length_max.into(),
            handler_uri: handler.map(|handler| handler.uri.as_str()),
            handler_fallback: handler.map(|handler| fallback_text(handler.fallback)),
            logging_configurations: id_list_text(&room.logging_configurations),
            tags: tags_text(&room.tags),
        }
    }

    fn parameters(&self) -> [Parameter<'_>; 10] {
        [
            &self.account_id,
            &self.region,
            &self.id,
            &self.name,
            &self.message_rate_max,
            &self.message_length_max,
            &self.handler_uri,
            &self.handler_fallback,
            &self.logging_configurations,
            &self.tags,
        ]
    }
}

/// Answers the order key, which is also the time of creation.
async fn insert(transaction: &Transaction<'_>, room: &Room) -> Result<OrderKey, Failure> {
    let statement = concat!(
        "INSERT INTO room (account_id, region, id, name, message_rate_max, message_length_max, handler_uri,
                           handler_fallback, logging_configurations, tags, create_time, order_key)
         SELECT $1, $2, $3, $4, $5::bigint, $6::bigint, $7, $8, $9, $10, order_key, order_key
         FROM (SELECT ",
        next_room_order_key!(),
        " AS order_key) AS created
         RETURNING order_key"
    );
    let statement = transaction.prepare_cached(statement).await?;
    Ok(transaction.query_one(&statement, &Columns::of(room).parameters()).await?.try_get(0)?)
}

/// Puts a room in the place of what it was until now. Answers the new order key.
async fn replace(transaction: &Transaction<'_>, room: &Room) -> Result<OrderKey, Failure> {
    let statement = concat!(
        "UPDATE room
         SET name = $4, message_rate_max = $5, message_length_max = $6, handler_uri = $7, handler_fallback = $8,
             logging_configurations = $9, tags = $10, order_key = ",
        next_room_order_key!(),
        " WHERE account_id = $1 AND region = $2 AND id = $3
         RETURNING order_key"
    );
    let statement = transaction.prepare_cached(statement).await?;
    Ok(transaction.query_one(&statement, &Columns::of(room).parameters()).await?.try_get(0)?)
}
