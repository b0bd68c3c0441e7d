//! Secret keys of the server, by what they are for.

use protocol::time::UnixMicros;
use rusqlite::{Connection, params};
use zeroize::Zeroizing;

use super::super::{KeyPurpose, StoreError, StoredKey};
use super::fill_random;
use super::writer::Group;

/// All keys of a purpose, oldest first.
pub(super) fn all(connection: &Connection, purpose: KeyPurpose) -> Result<Vec<StoredKey>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT id, create_time, secret FROM secret_key WHERE purpose = ?1 ORDER BY id")?;
    let keys = statement.query_map([purpose], |row| {
        Ok(StoredKey { id: row.get(0)?, create_time: row.get(1)?, secret: Zeroizing::new(row.get(2)?) })
    })?;
    Ok(keys.collect::<rusqlite::Result<_>>()?)
}

/// All keys of a purpose, after the first one has been made if there was none.
pub(super) fn all_or_first(group: &Group<'_>, purpose: KeyPurpose) -> Result<Vec<StoredKey>, StoreError> {
    let keys = all(group.connection, purpose)?;
    if !keys.is_empty() {
        return Ok(keys);
    }
    add(group, purpose, 1)?;
    all(group.connection, purpose)
}

/// Adds a key, then forgets those made before `forget_before`, but never the new one.
pub(super) fn rotate(
    group: &Group<'_>,
    purpose: KeyPurpose,
    forget_before: UnixMicros,
) -> Result<Vec<StoredKey>, StoreError> {
    let last = all(group.connection, purpose)?.last().map_or(0, |key| key.id);
    let Some(id) = last.checked_add(1) else {
        return Err(StoreError::unavailable("there are no key ids left"));
    };
    add(group, purpose, id)?;
    group
        .connection
        .prepare_cached("DELETE FROM secret_key WHERE purpose = ?1 AND id < ?2 AND create_time < ?3")?
        .execute(params![purpose, id, forget_before])?;
    all(group.connection, purpose)
}

fn add(group: &Group<'_>, purpose: KeyPurpose, id: u32) -> Result<(), StoreError> {
    let mut secret = Zeroizing::new([0; 32]);
    fill_random(&mut *secret)?;
    Ok(insert(group.connection, purpose, &StoredKey { id, create_time: group.order.now(), secret })?)
}

/// Puts a key into the table.
pub(super) fn insert(connection: &Connection, purpose: KeyPurpose, key: &StoredKey) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO secret_key (purpose, id, create_time, secret) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![purpose, key.id, key.create_time, &key.secret[..]])?;
    Ok(())
}
