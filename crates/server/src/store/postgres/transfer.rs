//! All of a store as batches, and a new store of them.
//!
//! Reading sees one state of the database, whatever servers do meanwhile. Writing is one transaction, tables included:
//! however it ends, nobody ever sees a part of the store, and when its connection is lost the database itself forgets it.

use deadpool_postgres::{Client, Transaction};
use protocol::limit::transfer::{RESOURCES_PER_BATCH, TOKENS_PER_BATCH};
use tokio::sync::mpsc::{Receiver, Sender};

use super::super::column::{destination_texts, tags_text};
use super::super::random::random_number;
use super::super::redemption::BucketEnd;
use super::super::transfer::{Batch, Contents, KEY_PURPOSES, cut_off, unwanted};
use super::super::{LoggingConfiguration, Room};
use super::connections::{AT_LEISURE, Parameter, begin, begin_snapshot, commit};
use super::failure::{Failure, Unreadable};
use super::rooms::RoomPlace;
use super::{keys, logging_configurations, posting, rooms, row, schema};

/// How much is in the tables.
pub(super) async fn count(mut client: Client) -> Result<Contents, Failure> {
    count_all(&begin_snapshot(&mut client).await?).await
}

/// Sends all that is in the tables, as it is at one moment.
pub(super) async fn export(mut client: Client, batches: Sender<Batch>) -> Result<(), Failure> {
    let transaction = begin_snapshot(&mut client).await?;
    let send = async |batch| batches.send(batch).await.map_err(unwanted);
    send(Batch::Contents(count_all(&transaction).await?)).await?;
    let mut after = None;
    while let Some(entries) = not_empty(logging_configurations::next(&transaction, after.as_ref()).await?) {
        after = entries.last().map(|entry: &LoggingConfiguration| (entry.scope.clone(), entry.id));
        send(Batch::LoggingConfigurations(entries)).await?;
    }
    let mut place = RoomPlace::default();
    while let Some(found) = not_empty(rooms::next(&transaction, &place, RESOURCES_PER_BATCH).await?) {
        let mut readable = Vec::with_capacity(found.len());
        for (next_place, room) in found {
            place = next_place;
            readable.push(room?);
        }
        send(Batch::Rooms(readable)).await?;
    }
    for purpose in KEY_PURPOSES {
        send(Batch::Keys(purpose, keys::all(&transaction, purpose).await?)).await?;
    }
    let mut last = None;
    while let Some((bucket, token_ids)) = next_used_tokens(&transaction, last).await? {
        last = token_ids.last().map(|&token_id| (bucket, token_id));
        send(Batch::UsedTokens(bucket, token_ids)).await?;
    }
    Ok(send(Batch::End).await?)
}

/// Makes a store of all batches, where there is none.
pub(super) async fn import(mut client: Client, mut batches: Receiver<Batch>) -> Result<(), Failure> {
    let transaction = begin(&mut client).await?;
    transaction.batch_execute(AT_LEISURE).await?;
    schema::make(&transaction).await?;
    let posting_key = PrimaryKey::take_from(&transaction, "posting").await?;
    while let Some(batch) = batches.recv().await {
        match batch {
            Batch::LoggingConfigurations(entries) => {
                insert_logging_configurations(&transaction, &entries).await?;
            }
            Batch::Rooms(found) => insert_rooms(&transaction, &found).await?,
            Batch::Keys(purpose, found) => {
                for key in &found {
                    keys::insert(&transaction, purpose, key).await?;
                }
            }
            Batch::UsedTokens(bucket, token_ids) => {
                insert_used_tokens(&transaction, bucket, &token_ids).await?;
            }
            // Here order keys follow from the database's clock and the heads of the lists (see `order`).
            Batch::Contents(_) | Batch::OrderClock(_) => {}
            Batch::End => {
                posting_key.give_back(&transaction).await?;
                return commit(transaction).await;
            }
        }
    }
    Err(cut_off().into())
}

async fn count_all(transaction: &Transaction<'_>) -> Result<Contents, Failure> {
    let tables = "SELECT (SELECT count(*) FROM room) AS rooms,
                         (SELECT count(*) FROM logging_configuration) AS logging_configurations,
                         (SELECT count(*) FROM secret_key) AS keys,
                         (SELECT count(*) FROM redemption) AS used_tokens";
    // All of a table is no range of an index; what follows is.
    transaction.batch_execute("SET LOCAL enable_seqscan = on").await?;
    let found = transaction.query_one(tables, &[]).await?;
    transaction.batch_execute("SET LOCAL enable_seqscan = off").await?;
    let count = |column| row::get::<i64>(&found, column).map(i64::unsigned_abs);
    Ok(Contents {
        rooms: count("rooms")?,
        logging_configurations: count("logging_configurations")?,
        keys: count("keys")?,
        used_tokens: count("used_tokens")?,
    })
}

fn not_empty<T>(entries: Vec<T>) -> Option<Vec<T>> {
    Some(entries).filter(|entries| !entries.is_empty())
}

/// Used tokens of one bucket: the first ones after `last`.
async fn next_used_tokens(
    transaction: &Transaction<'_>,
    last: Option<(BucketEnd, u128)>,
) -> Result<Option<(BucketEnd, Vec<u128>)>, Failure> {
    let statement = "SELECT bucket, token_id FROM redemption
                     WHERE (bucket, token_id) > ($1, $2) ORDER BY bucket, token_id LIMIT $3";
    let statement = transaction.prepare_cached(statement).await?;
    let limit = i64::try_from(TOKENS_PER_BATCH).unwrap_or(i64::MAX);
    let (bucket, token_id) = last.unwrap_or((BucketEnd::MIN, 0));
    let rows = transaction.query(&statement, &[&bucket, &token_id.to_be_bytes().as_slice(), &limit]).await?;
    let found = rows.iter().map(|found| {
        let token_id: [u8; 16] =
            row::get::<Vec<u8>>(found, "token_id")?.try_into().map_err(|_| Unreadable::column("token_id"))?;
        Ok((row::get::<BucketEnd>(found, "bucket")?, u128::from_be_bytes(token_id)))
    });
    let found = found.collect::<Result<Vec<_>, Unreadable>>()?;
    let Some(&(first_bucket, _)) = found.first() else { return Ok(None) };
    let of_bucket = found.into_iter().take_while(|&(bucket, _)| bucket == first_bucket);
    Ok(Some((first_bucket, of_bucket.map(|(_, token_id)| token_id).collect())))
}

/// The primary key of a table that is filled in an order which the key does not know: made at once in the end, it does not
/// cost a page read and a page written for each row.
struct PrimaryKey {
    table: &'static str,
    name: String,
    definition: String,
}

impl PrimaryKey {
    async fn take_from(transaction: &Transaction<'_>, table: &'static str) -> Result<Self, Failure> {
        let statement = "SELECT quote_ident(conname) AS name, pg_get_constraintdef(oid) AS definition
                         FROM pg_constraint WHERE conrelid = $1::text::regclass AND contype = 'p'";
        let found = transaction.query_one(statement, &[&table]).await?;
        let (name, definition) = (row::get::<String>(&found, "name")?, row::get(&found, "definition")?);
        transaction.batch_execute(&format!("ALTER TABLE {table} DROP CONSTRAINT {name}")).await?;
        Ok(Self { table, name, definition })
    }

    async fn give_back(self, transaction: &Transaction<'_>) -> Result<(), Failure> {
        let Self { table, name, definition } = self;
        let statement = format!("ALTER TABLE {table} ADD CONSTRAINT {name} {definition}");
        Ok(transaction.batch_execute(&statement).await?)
    }
}

async fn insert_logging_configurations(
    transaction: &Transaction<'_>,
    entries: &[LoggingConfiguration],
) -> Result<(), Failure> {
    let statement = "INSERT INTO logging_configuration (account_id, region, id, name, create_time, order_key,
                                                        destination_kind, destination, tags)
                     SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[],
                                          $7::text[], $8::text[], $9::text[])";
    let statement = transaction.prepare_cached(statement).await?;
    let destinations = || entries.iter().map(|entry| destination_texts(&entry.destination));
    let parameters: [Parameter<'_>; 9] = [
        &entries.iter().map(|entry| &*entry.scope.account_id).collect::<Vec<_>>(),
        &entries.iter().map(|entry| &*entry.scope.region).collect::<Vec<_>>(),
        &entries.iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>(),
        &entries.iter().map(|entry| &*entry.name).collect::<Vec<_>>(),
        &entries.iter().map(|entry| entry.create_time).collect::<Vec<_>>(),
        &entries.iter().map(|entry| entry.order_key).collect::<Vec<_>>(),
        &destinations().map(|(kind, _)| kind).collect::<Vec<_>>(),
        &destinations().map(|(_, name)| name).collect::<Vec<_>>(),
        &entries.iter().map(|entry| tags_text(&entry.tags)).collect::<Vec<_>>(),
    ];
    transaction.execute(&statement, &parameters).await?;
    Ok(())
}

/// Also into every list in which they belong.
async fn insert_rooms(transaction: &Transaction<'_>, rooms: &[Room]) -> Result<(), Failure> {
    let rooms: Vec<&Room> = rooms.iter().collect();
    rooms::insert(transaction, &rooms).await?.run(transaction).await?;
    posting::insert(transaction, &rooms).await?.run(transaction).await?;
    Ok(())
}

/// By nobody who might ask again.
async fn insert_used_tokens(
    transaction: &Transaction<'_>,
    bucket: BucketEnd,
    token_ids: &[u128],
) -> Result<(), Failure> {
    let statement = "INSERT INTO redemption (bucket, token_id, claim)
                     SELECT $1, token_id, $3 FROM unnest($2::bytea[]) AS used (token_id)";
    let statement = transaction.prepare_cached(statement).await?;
    let bytes: Vec<[u8; 16]> = token_ids.iter().map(|token_id| token_id.to_be_bytes()).collect();
    let token_ids: Vec<&[u8]> = bytes.iter().map(<[u8; 16]>::as_slice).collect();
    let claim = random_number()?.to_be_bytes();
    transaction.execute(&statement, &[&bucket, &token_ids, &claim.as_slice()]).await?;
    Ok(())
}
