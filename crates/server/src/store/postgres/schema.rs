//! The schema's versions and how a database gets from an older one to the newest.
//!
//! Migrations are numbered and only go forward; each is one transaction. The version is the one row of the table
//! `grandstand_schema`; who migrates has locked it, so of several servers that start at the same time one migrates and the
//! others find the work done. Tables are made in the first schema of the connection's `search_path`.

use deadpool_postgres::{Client, GenericClient, Transaction};

use super::super::StoreError;
use super::connections::{Connections, begin, commit};
use super::failure::Failure;

/// The steps from an empty database to the newest schema; the position of each plus one is the version it leads to.
const MIGRATIONS: [&str; 3] = [
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
];

/// The table of the version.
const HISTORY: &str = "
    CREATE TABLE IF NOT EXISTS grandstand_schema (
        id      integer PRIMARY KEY CHECK (id = 1),
        version integer NOT NULL
    );
    INSERT INTO grandstand_schema (id, version) VALUES (1, 0) ON CONFLICT DO NOTHING";

/// The version that this server works with.
const VERSION: usize = MIGRATIONS.len();

/// Brings the database to the newest schema. Refuses what is newer than we are.
pub(super) async fn migrate(connections: &Connections) -> Result<(), StoreError> {
    if !connections.run(is_there).await? {
        connections.run(begin_history).await?;
    }
    while connections.run_long(migrate_once).await? < VERSION {}
    Ok(())
}

/// Refuses a database in which there has never been a store.
pub(super) async fn require(connections: &Connections) -> Result<(), StoreError> {
    if connections.run(is_there).await? {
        return Ok(());
    }
    Err(StoreError::unavailable("there is no store in the database"))
}

/// Refuses a database in which there is a store.
pub(super) async fn require_none(connections: &Connections) -> Result<(), StoreError> {
    if connections.run(is_there).await? {
        return Err(StoreError::unavailable(
            "there is a store in the database already; nothing was changed; name an empty database, or an empty schema \
             with `?options=-c%20search_path%3Dname`",
        ));
    }
    Ok(())
}

/// Makes the newest schema where there is none, as a part of a transaction: who was faster has the tables already, and
/// then this fails.
pub(super) async fn make(transaction: &Transaction<'_>) -> Result<(), Failure> {
    transaction.batch_execute(HISTORY).await?;
    for step in MIGRATIONS {
        transaction.batch_execute(step).await?;
    }
    let version = i32::try_from(VERSION).unwrap_or(i32::MAX);
    transaction.execute("UPDATE grandstand_schema SET version = $1 WHERE id = 1", &[&version]).await?;
    Ok(())
}

async fn is_there(client: Client) -> Result<bool, Failure> {
    let row = client.query_one("SELECT to_regclass('grandstand_schema') IS NOT NULL", &[]).await?;
    Ok(row.try_get(0)?)
}

/// Makes the table of the version, empty database that it is. Servers that do this at the same time are in conflict, and
/// find it there at the next try.
async fn begin_history(client: Client) -> Result<(), Failure> {
    Ok(client.batch_execute(HISTORY).await?)
}

/// Takes the next step, if there is one. Answers the version that the database has then.
async fn migrate_once(mut client: Client) -> Result<usize, Failure> {
    let transaction = begin(&mut client).await?;
    // A step may take its time, and others wait for it.
    transaction.batch_execute("SET LOCAL statement_timeout = 0").await?;
    let row =
        transaction.query_one("SELECT version FROM grandstand_schema WHERE id = 1 FOR UPDATE", &[]).await?;
    let found: i32 = row.try_get(0)?;
    let Some(version) = usize::try_from(found).ok().filter(|&version| version <= VERSION) else {
        return Err(Failure::Unavailable(format!(
            "the store in the database has schema version {found}, but this server knows versions up to {VERSION}: \
             it was written by a newer server; start that one"
        )));
    };
    let Some(step) = MIGRATIONS.get(version) else {
        return Ok(version);
    };
    transaction.batch_execute(step).await?;
    transaction.execute("UPDATE grandstand_schema SET version = version + 1 WHERE id = 1", &[]).await?;
    commit(transaction).await?;
    tracing::info!(version = version + 1, "migrated the store's schema");
    Ok(version + 1)
}
