//! Secret keys of the servers, by what they are for.

use deadpool_postgres::{Client, GenericClient};
use protocol::time::UnixMicros;
use zeroize::Zeroizing;

use super::super::column::key_purpose_text;
use super::super::random::fill_random;
use super::super::{KeyPurpose, StoredKey};
use super::connections::{Parameter, begin, commit};
use super::failure::{Failure, Unreadable};
use super::row;

/// All keys of a purpose, oldest first, after the first one has been made if there was none. Of several servers that
/// start at the same time, one makes it.
pub(super) async fn all_or_first(mut client: Client, purpose: KeyPurpose) -> Result<Vec<StoredKey>, Failure> {
    let keys = all(&client, purpose).await?;
    if !keys.is_empty() {
        return Ok(keys);
    }
    let transaction = begin(&mut client).await?;
    add(&transaction, purpose, 1).await?;
    let keys = all(&transaction, purpose).await?;
    commit(transaction).await?;
    Ok(keys)
}

/// Adds a key, then forgets those made before `forget_before`, but never the new one.
pub(super) async fn rotate(
    mut client: Client,
    purpose: KeyPurpose,
    forget_before: UnixMicros,
) -> Result<Vec<StoredKey>, Failure> {
    let transaction = begin(&mut client).await?;
    let last = all(&transaction, purpose).await?.last().map_or(0, |key| key.id);
    let Some(id) = last.checked_add(1) else {
        return Err(Failure::Unavailable("there are no key ids left".to_owned()));
    };
    // If another server takes the number first, this is tried again with the next one.
    add(&transaction, purpose, id).await?;
    let statement = "DELETE FROM secret_key WHERE purpose = $1 AND id < $2 AND create_time < $3";
    let statement = transaction.prepare_cached(statement).await?;
    transaction.execute(&statement, &[&key_purpose_text(purpose), &i64::from(id), &forget_before]).await?;
    let keys = all(&transaction, purpose).await?;
    commit(transaction).await?;
    Ok(keys)
}

/// Puts a key into the table.
pub(super) async fn insert(
    client: &impl GenericClient,
    purpose: KeyPurpose,
    key: &StoredKey,
) -> Result<(), Failure> {
    let statement = "INSERT INTO secret_key (purpose, id, create_time, secret) VALUES ($1, $2, $3, $4)";
    let statement = client.prepare_cached(statement).await?;
    let parameters: [Parameter<'_>; 4] =
        [&key_purpose_text(purpose), &i64::from(key.id), &key.create_time, &key.secret.as_slice()];
    client.execute(&statement, &parameters).await?;
    Ok(())
}

/// All keys of a purpose, oldest first.
pub(super) async fn all(client: &impl GenericClient, purpose: KeyPurpose) -> Result<Vec<StoredKey>, Failure> {
    let statement = "SELECT id, create_time, secret FROM secret_key WHERE purpose = $1 ORDER BY purpose, id";
    let statement = client.prepare_cached(statement).await?;
    let rows = client.query(&statement, &[&key_purpose_text(purpose)]).await?;
    rows.iter()
        .map(|found| {
            let secret = Zeroizing::new(row::get::<Vec<u8>>(found, "secret")?);
            let secret = secret.as_slice().try_into().map_err(|_| Unreadable::column("secret"))?;
            Ok(StoredKey {
                id: row::number(found, "id")?,
                create_time: row::get(found, "create_time")?,
                secret: Zeroizing::new(secret),
            })
        })
        .collect()
}

async fn add(client: &impl GenericClient, purpose: KeyPurpose, id: u32) -> Result<(), Failure> {
    let mut secret = Zeroizing::new([0; 32]);
    fill_random(&mut *secret)?;
    let statement =
        "INSERT INTO secret_key (purpose, id, create_time, secret) VALUES ($1, $2, order_clock(), $3)";
    let statement = client.prepare_cached(statement).await?;
    client.execute(&statement, &[&key_purpose_text(purpose), &i64::from(id), &secret.as_slice()]).await?;
    Ok(())
}
