//! Logging configurations.

use deadpool_postgres::{Client, GenericClient, Transaction};
use protocol::arn::Scope;
use protocol::id::Id;
use protocol::limit::transfer::RESOURCES_PER_BATCH;
use tokio_postgres::Row;

use super::super::change::TagChange;
use super::super::column::{destination_texts, rows_of_page, tags_text};
use super::super::random::random_id;
use super::super::{
    LoggingConfiguration, LoggingConfigurationChange, NewLoggingConfiguration, OrderKey, Page, StoreError,
    Tags,
};
use super::connections::{Parameter, begin, commit};
use super::failure::{Failure, Unreadable};
use super::group::Patience;
use super::order::next_order_key;
use super::pipeline::{Step, values};
use super::{posting, row};

/// All columns, by name.
macro_rules! select {
    () => {
        "SELECT id, name, create_time, order_key, destination_kind, destination, tags FROM logging_configuration
         WHERE account_id = $1 AND region = $2"
    };
}

/// Creates a logging configuration.
pub(super) async fn create(
    mut client: Client,
    scope: &Scope,
    new: &NewLoggingConfiguration,
) -> Result<LoggingConfiguration, Failure> {
    let statement = concat!(
        "INSERT INTO logging_configuration
             (account_id, region, id, name, destination_kind, destination, tags, create_time, order_key)
         SELECT $1, $2, $3, $4, $5, $6, $7, order_key, order_key
         FROM (SELECT ",
        next_order_key!("logging_configuration", "", "1"),
        " AS order_key) AS created
         RETURNING order_key"
    );
    let transaction = begin(&mut client).await?;
    let statement = transaction.prepare_cached(statement).await?;
    let id = random_id()?;
    let (kind, destination) = destination_texts(&new.destination);
    let tags = tags_text(&new.tags);
    let parameters: [Parameter<'_>; 7] =
        [&&*scope.account_id, &&*scope.region, &id.as_str(), &new.name, &kind, &destination, &tags];
    let order_key = transaction.query_one(&statement, &parameters).await?.try_get(0)?;
    commit(transaction).await?;
    Ok(new.clone().into_logging_configuration(scope, id, order_key))
}

/// Changes a logging configuration and moves it to the head of the list.
pub(super) async fn update(
    mut client: Client,
    scope: &Scope,
    id: Id,
    change: &LoggingConfigurationChange,
) -> Result<LoggingConfiguration, Failure> {
    let statement = concat!(
        "UPDATE logging_configuration
         SET name = $4, destination_kind = $5, destination = $6, order_key = ",
        next_order_key!("logging_configuration", "", "1"),
        " WHERE account_id = $1 AND region = $2 AND id = $3
         RETURNING order_key"
    );
    let transaction = begin(&mut client).await?;
    let mut updated = lock_to_change(&transaction, scope, id).await?;
    updated.apply(change.clone());
    let statement = transaction.prepare_cached(statement).await?;
    let (kind, destination) = destination_texts(&updated.destination);
    let parameters: [Parameter<'_>; 6] =
        [&&*scope.account_id, &&*scope.region, &id.as_str(), &updated.name, &kind, &destination];
    let order_key = transaction.query_one(&statement, &parameters).await?.try_get(0)?;
    commit(transaction).await?;
    updated.order_key = order_key;
    Ok(updated)
}

/// Changes the tags; the logging configuration stays where it is in the list.
pub(super) async fn change_tags(
    mut client: Client,
    scope: &Scope,
    id: Id,
    change: &TagChange,
) -> Result<(), Failure> {
    let transaction = begin(&mut client).await?;
    let before = lock_to_change(&transaction, scope, id).await?;
    let tags = tags_text(&change.clone().apply(id, before.tags)?);
    let statement =
        "UPDATE logging_configuration SET tags = $4 WHERE account_id = $1 AND region = $2 AND id = $3";
    let statement = transaction.prepare_cached(statement).await?;
    transaction.execute(&statement, &[&&*scope.account_id, &&*scope.region, &id.as_str(), &tags]).await?;
    commit(transaction).await
}

/// Deletes a logging configuration that no room has.
pub(super) async fn delete(mut client: Client, scope: &Scope, id: Id) -> Result<(), Failure> {
    // First without a lock: while many are giving it to rooms, that would have to wait for all of them.
    refuse_if_in_use(&client, scope, id).await?;
    let transaction = begin(&mut client).await?;
    // Whoever is giving it to a room has finished when this lock is had, and the next statement sees the posting.
    let statement = transaction.prepare_cached(concat!(select!(), " AND id = $3 FOR UPDATE")).await?;
    let found =
        transaction.query_opt(&statement, &[&&*scope.account_id, &&*scope.region, &id.as_str()]).await?;
    of_row(found, scope, id)?;
    refuse_if_in_use(&transaction, scope, id).await?;
    let statement = "DELETE FROM logging_configuration WHERE account_id = $1 AND region = $2 AND id = $3";
    let statement = transaction.prepare_cached(statement).await?;
    transaction.execute(&statement, &[&&*scope.account_id, &&*scope.region, &id.as_str()]).await?;
    commit(transaction).await
}

async fn refuse_if_in_use(client: &impl GenericClient, scope: &Scope, id: Id) -> Result<(), Failure> {
    if posting::has_logging_configuration(client, scope, id).await? {
        return Err(StoreError::LoggingConfigurationInUse(id).into());
    }
    Ok(())
}

/// A logging configuration as it is now.
pub(super) async fn get(client: Client, scope: &Scope, id: Id) -> Result<LoggingConfiguration, Failure> {
    let statement = client.prepare_cached(concat!(select!(), " AND id = $3")).await?;
    let found = client.query_opt(&statement, &[&&*scope.account_id, &&*scope.region, &id.as_str()]).await?;
    of_row(found, scope, id)
}

/// The tags of a logging configuration.
pub(super) async fn tags(client: Client, scope: &Scope, id: Id) -> Result<Tags, Failure> {
    Ok(get(client, scope, id).await?.tags)
}

/// Refuses what does not exist.
pub(super) async fn require(client: &Client, scope: &Scope, id: Id) -> Result<(), Failure> {
    let statement = client.prepare_cached(concat!(select!(), " AND id = $3")).await?;
    let found = client.query_opt(&statement, &[&&*scope.account_id, &&*scope.region, &id.as_str()]).await?;
    match found {
        Some(_) => Ok(()),
        None => Err(StoreError::LoggingConfigurationNotFound(id).into()),
    }
}

/// Asks for the ids of those that exist, and keeps them from being deleted until the transaction has ended. Without patience, those
/// that somebody else is deleting just now are passed over. (The order that is asked for
/// within each of them is that of the one index which knows ids; the other one would lead through all of the scope.)
pub(super) async fn hold<'a>(
    client: &impl GenericClient,
    scope: &'a Scope,
    ids: Vec<&'a str>,
    patience: Patience,
) -> Result<Step<'a>, Failure> {
    macro_rules! hold {
        ($lock:literal) => {
            concat!(
                "SELECT found.id FROM unnest($3::text[]) AS wanted (id), LATERAL (
                     SELECT id FROM logging_configuration
                     WHERE account_id = $1 AND region = $2
                       AND logging_configuration.id >= wanted.id AND logging_configuration.id <= wanted.id
                     ORDER BY id ",
                $lock,
                " OFFSET 0) AS found"
            )
        };
    }
    let statement = match patience {
        Patience::Waits => hold!("FOR KEY SHARE"),
        Patience::None => hold!("FOR KEY SHARE SKIP LOCKED"),
    };
    Step::new(client, statement, values![&*scope.account_id, &*scope.region, ids]).await
}

/// A page of ListLoggingConfigurations.
pub(super) async fn list(
    client: Client,
    scope: &Scope,
    after: Option<OrderKey>,
    limit: usize,
) -> Result<Page<Vec<LoggingConfiguration>>, Failure> {
    let statement = concat!(select!(), " AND order_key < $3 ORDER BY order_key DESC LIMIT $4");
    let statement = client.prepare_cached(statement).await?;
    let (after, rows) = (after.unwrap_or(OrderKey::MAX), rows_of_page(limit));
    let rows = client.query(&statement, &[&&*scope.account_id, &&*scope.region, &after, &rows]).await?;
    let entries = rows
        .iter()
        .map(|found| row::logging_configuration(found, scope.clone()))
        .collect::<Result<Vec<_>, Unreadable>>()?;
    Ok(Page::cut(entries, limit, |entry| entry.order_key))
}

/// Some logging configurations of any scope in the order of their keys, from the first one after `after` on.
pub(super) async fn next(
    client: &impl GenericClient,
    after: Option<&(Scope, Id)>,
) -> Result<Vec<LoggingConfiguration>, Failure> {
    let statement =
        "SELECT account_id, region, id, name, create_time, order_key, destination_kind, destination,
                            tags
                     FROM logging_configuration
                     WHERE (account_id, region, id) > ($1, $2, $3) ORDER BY account_id, region, id LIMIT $4";
    let statement = client.prepare_cached(statement).await?;
    let (account_id, region, id) =
        after.map_or(("", "", ""), |(scope, id)| (&*scope.account_id, &*scope.region, id.as_str()));
    let limit = i64::try_from(RESOURCES_PER_BATCH).unwrap_or(i64::MAX);
    let rows = client.query(&statement, &[&account_id, &region, &id, &limit]).await?;
    Ok(rows
        .iter()
        .map(|found| row::logging_configuration(found, row::scope(found)?))
        .collect::<Result<Vec<_>, Unreadable>>()?)
}

/// Whether the scope has so many.
pub(super) async fn has_at_least(client: Client, scope: &Scope, count: u32) -> Result<bool, Failure> {
    let statement =
        "SELECT 1 FROM logging_configuration WHERE account_id = $1 AND region = $2 OFFSET $3 LIMIT 1";
    let statement = client.prepare_cached(statement).await?;
    let before = i64::from(count) - 1;
    Ok(client.query_opt(&statement, &[&&*scope.account_id, &&*scope.region, &before]).await?.is_some())
}

/// Of these logging configurations, given as account, region and id, those that exist.
pub(super) async fn existing(
    client: &impl GenericClient,
    wanted: &[(&Scope, Id)],
) -> Result<Vec<(Scope, Id)>, Failure> {
    let statement = "SELECT account_id, region, id
                     FROM unnest($1::text[], $2::text[], $3::text[]) AS wanted (account_id, region, id)
                     WHERE EXISTS (SELECT 1 FROM logging_configuration AS there
                                   WHERE there.account_id = wanted.account_id AND there.region = wanted.region
                                     AND there.id = wanted.id
                                   OFFSET 0)";
    let statement = client.prepare_cached(statement).await?;
    let parameters: [Parameter<'_>; 3] = [
        &wanted.iter().map(|(scope, _)| &*scope.account_id).collect::<Vec<_>>(),
        &wanted.iter().map(|(scope, _)| &*scope.region).collect::<Vec<_>>(),
        &wanted.iter().map(|(_, id)| id.as_str()).collect::<Vec<_>>(),
    ];
    let rows = client.query(&statement, &parameters).await?;
    Ok(rows
        .iter()
        .map(|found| Ok((row::scope(found)?, row::id(found, "id")?)))
        .collect::<Result<Vec<_>, Unreadable>>()?)
}

/// Locks a logging configuration against others who change it, and not against those who give it to rooms.
async fn lock_to_change(
    transaction: &Transaction<'_>,
    scope: &Scope,
    id: Id,
) -> Result<LoggingConfiguration, Failure> {
    let statement = transaction.prepare_cached(concat!(select!(), " AND id = $3 FOR NO KEY UPDATE")).await?;
    let found =
        transaction.query_opt(&statement, &[&&*scope.account_id, &&*scope.region, &id.as_str()]).await?;
    of_row(found, scope, id)
}

fn of_row(found: Option<Row>, scope: &Scope, id: Id) -> Result<LoggingConfiguration, Failure> {
    let found = found.ok_or(StoreError::LoggingConfigurationNotFound(id))?;
    Ok(row::logging_configuration(&found, scope.clone())?)
}
