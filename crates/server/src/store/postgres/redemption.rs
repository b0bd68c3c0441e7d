//! Which chat tokens have been used, on whatever server: the database decides who is first.
//!
//! The commit of a redemption does not wait for the disk. It survives the end of our processes, however they end, and that
//! of the database in order; a crash of the database itself, or a power cut of its machine, may forget the last moments (up
//! to three times its `wal_writer_delay`, which is 0.6 s unless configured otherwise).
//!
//! Who asks again because an answer was lost brings the same claim and is told the same. Redemptions are kept, and
//! dropped, by the time span in which their token expires, as in the embedded engine; a token whose span has been
//! dropped is refused. Which spans these are says the database's clock.

use deadpool_postgres::Client;
use protocol::limit::postgres::SWEEP_ROWS_MAX;
use protocol::limit::store::REDEMPTION_BUCKET_SECONDS;

use super::super::Redemption;
use super::super::redemption::{BucketEnd, bucket_of};
use super::connections::Parameter;
use super::failure::Failure;

/// An SQL expression: the end of the first time span that is kept, spans being `$1` seconds long.
macro_rules! first_kept {
    () => {
        "(SELECT order_clock() / ($1::bigint * 1000000) * $1::bigint)"
    };
}

/// True for the first client ever. The setting holds for the statement's own transaction, and so for its commit.
pub(super) async fn redeem(client: Client, redemption: &Redemption) -> Result<bool, Failure> {
    let statement = concat!(
        "INSERT INTO redemption (bucket, token_id, claim)
         SELECT $2::bigint, $3::bytea, $4::bytea
         FROM (SELECT set_config('synchronous_commit', 'off', true)) AS lenient
         WHERE $2 >= ",
        first_kept!(),
        " ON CONFLICT (bucket, token_id) DO UPDATE SET claim = excluded.claim
          WHERE redemption.claim = excluded.claim"
    );
    let statement = client.prepare_cached(statement).await?;
    let bucket: BucketEnd = bucket_of(redemption.expires);
    let (token_id, claim) = (redemption.token_id.to_be_bytes(), redemption.claim.to_be_bytes());
    let parameters: [Parameter<'_>; 4] =
        [&REDEMPTION_BUCKET_SECONDS, &bucket, &token_id.as_slice(), &claim.as_slice()];
    Ok(client.execute(&statement, &parameters).await? == 1)
}

/// Drops what is not kept any more; a part of it only, if there is much. Answers how many.
pub(super) async fn sweep(client: Client) -> Result<u64, Failure> {
    let statement = concat!(
        "DELETE FROM redemption WHERE (bucket, token_id) IN (
             SELECT bucket, token_id FROM redemption WHERE bucket < ",
        first_kept!(),
        " ORDER BY bucket, token_id LIMIT $2)"
    );
    let statement = client.prepare_cached(statement).await?;
    Ok(client.execute(&statement, &[&REDEMPTION_BUCKET_SECONDS, &SWEEP_ROWS_MAX]).await?)
}
