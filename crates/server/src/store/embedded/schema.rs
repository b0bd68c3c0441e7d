//! The schema's versions and how a file gets from an older one to the newest.
//!
//! Migrations are numbered and only go forward. The version is kept in SQLite's own `user_version`, and
//! `application_id` tells our files from others, so `file` and `sqlite3` can name both.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::super::StoreError;
use super::database::OpenError;

/// `GrSt`, SQLite's `application_id` of our files.
const APPLICATION_ID: i32 = 0x4772_5374;

/// The steps from an empty file to the newest schema; the position of each plus one is the version it leads to.
const MIGRATIONS: [&str; 2] = [include_str!("migrations/0001.sql"), include_str!("migrations/0002.sql")];

/// The version that this server writes.
pub(super) const VERSION: usize = MIGRATIONS.len();

/// Brings a file to the newest schema, each step in a transaction of its own. Refuses what is not ours, and what is
/// newer than we are; messages call it `file`.
pub(super) fn migrate(connection: &Connection, file: &str) -> Result<(), OpenError> {
    let version = version(connection, file)?;
    for (number, migration) in (1..).zip(MIGRATIONS).skip(version) {
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
        if version > 0 {
            tracing::info!(version = number, "migrated the store's schema");
        }
    }
    Ok(())
}

/// Refuses what [`migrate`] would refuse, and what is empty; messages call it `file`.
pub(super) fn require_known(connection: &Connection, file: &str) -> Result<(), OpenError> {
    match version(connection, file)? {
        0 => Err(StoreError::unavailable(format!("{file} is empty")).into()),
        _ => Ok(()),
    }
}

/// The schema version of a file; zero when it is empty.
fn version(connection: &Connection, file: &str) -> Result<usize, OpenError> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let (application_id, version) = (pragma("application_id")?, pragma("user_version")?);
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application_id != APPLICATION_ID && (application_id, version, objects) != (0, 0, 0) {
        let cause = format!(
            "{file} is an SQLite file of another application; move it away, or choose another data folder"
        );
        return Err(StoreError::unavailable(cause).into());
    }
    match usize::try_from(version) {
        Ok(version) if version <= VERSION => Ok(version),
        Ok(_) | Err(_) => Err(StoreError::unavailable(format!(
            "{file} has schema version {version}, but this server knows versions up to {VERSION}: \
             it was written by a newer server; start that one"
        ))
        .into()),
    }
}
