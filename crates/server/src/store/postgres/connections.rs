//! The way to the database: a bounded pool of connections, and how often and how long work on them is tried.
//!
//! Promises:
//! - A request has its answer within a few seconds, whatever the database does: each wait has a limit. Only who is in a
//!   conflict again and again, and waits for long each time, may wait for as many times that as there are tries.
//! - While no connection can be made, requests are refused at once, but for one now and then that tries (`gate`).
//! - What others were in the way of (serialization failures, deadlocks, keys that somebody else took first) is tried
//!   again from its beginning, a limited number of times.
//! - What was under way on a connection that broke is tried again too, unless it may have been committed.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::{
    Client, Hook, HookError, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType,
    Timeouts, Transaction,
};
use protocol::limit::postgres::{
    CONNECT_MS_MAX, CONNECTION_WAIT_MS_MAX, REQUESTS_WAITING_MAX, STATEMENT_MS_MAX, TRIES_MAX, TRY_MS_MAX,
    TRY_PAUSE_MS_MAX,
};
use tokio::time::{sleep, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{IsolationLevel, NoTls};

use super::super::StoreError;
use super::super::random::random_number;
use super::failure::Failure;
use super::gate::Gate;
use super::tls::Tls;
use crate::config::DatabaseUrl;

/// What a connection is told first. Every statement here is a point or a range of an index, so no plan but such a one can
/// be right, however little the database knows of its tables yet, and whatever the values are: planning each statement anew for
/// its values took up to a third of the time of a small write. A commit must be on disk, unless a transaction asks for
/// less; who has set more than that (a standby's disk, say) keeps it.
fn session() -> String {
    format!(
        "SET statement_timeout = {STATEMENT_MS_MAX};
         SET idle_in_transaction_session_timeout = {TRY_MS_MAX};
         SET enable_seqscan = off;
         SET enable_bitmapscan = off;
         SET enable_sort = off;
         SET plan_cache_mode = force_generic_plan;
         SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )
}

/// A value that goes with a statement.
pub(super) type Parameter<'a> = &'a (dyn ToSql + Sync);

/// Connections to one database.
pub(super) struct Connections {
    pool: Pool,
    gate: Arc<Gate>,
}

impl Connections {
    /// Up to `count` connections, none of which is made yet. Pools that share a gate agree on whether the database is
    /// away.
    pub(super) fn new(url: &DatabaseUrl, count: usize, gate: Arc<Gate>) -> Result<Self, StoreError> {
        let mut connection = url.connection().clone();
        if connection.get_application_name().is_none() {
            connection.application_name("grandstand");
        }
        let connect_time =
            connection.get_connect_timeout().copied().unwrap_or(Duration::from_millis(CONNECT_MS_MAX));
        connection.connect_timeout(connect_time);
        // Each host of the address may take so long.
        let hosts = u32::try_from(connection.get_hosts().len()).unwrap_or(u32::MAX);
        let create_time = connect_time.saturating_mul(hosts) + Duration::from_millis(STATEMENT_MS_MAX);
        // A database that vanished without a word must not hold up a connection for the hours that TCP would.
        connection.tcp_user_timeout(Duration::from_millis(TRY_MS_MAX));
        connection.keepalives_idle(Duration::from_millis(TRY_MS_MAX));
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match url.authorities_file() {
            None => Manager::from_config(connection, NoTls, recycling),
            Some(file) => Manager::from_config(connection, Tls::trusting(file)?, recycling),
        };
        let pool = Pool::builder(manager)
            .max_size(count)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(Duration::from_millis(CONNECTION_WAIT_MS_MAX)),
                create: Some(create_time),
                recycle: None,
            })
            .post_create(Hook::async_fn(|client, _| {
                Box::pin(async move { client.batch_execute(&session()).await.map_err(HookError::Backend) })
            }))
            .build()
            .map_err(|error| StoreError::unavailable(error.to_string()))?;
        Ok(Self { pool, gate })
    }

    /// Has `work` done on a connection: from its beginning, until it ends in something else than a conflict with others
    /// or a lost connection, or there were enough tries.
    pub(super) async fn run<T, F>(&self, work: impl Fn(Client) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        self.run_within(Duration::from_millis(TRY_MS_MAX), work).await
    }

    /// The same for work that takes its time, and sees to it that the database lets it.
    pub(super) async fn run_long<T, F>(&self, work: impl Fn(Client) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        self.run_within(Duration::MAX, work).await
    }

    /// The same for work that cannot begin anew, because others have seen some of it: done once, however it ends.
    pub(super) async fn run_once<T, F>(&self, work: impl FnOnce(Client) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        work(self.connect().await?).await.map_err(StoreError::from)
    }

    async fn run_within<T, F>(&self, time: Duration, work: impl Fn(Client) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut tries_left = TRIES_MAX;
        loop {
            tries_left -= 1;
            let client = self.connect().await?;
            let tried = timeout(time, work(client)).await;
            match tried
                .unwrap_or_else(|_| Err(Failure::Unavailable("the database does not answer".to_owned())))
            {
                Ok(outcome) => return Ok(outcome),
                Err(Failure::Refused(refusal)) => return Err(refusal),
                Err(Failure::Unavailable(cause) | Failure::Unacceptable(cause)) => {
                    return Err(StoreError::unavailable(cause));
                }
                Err(Failure::Conflict(cause) | Failure::Lost(cause)) if tries_left == 0 => {
                    return Err(StoreError::unavailable(cause));
                }
                Err(Failure::Conflict(_)) => sleep(pause(TRIES_MAX - tries_left)).await,
                // All connections of a database that was restarted are gone, so the next may be too.
                Err(Failure::Lost(_)) => {}
            }
        }
    }

    /// No more connections are given out; those that are free are closed.
    pub(super) fn close(&self) {
        self.pool.close();
    }

    async fn connect(&self) -> Result<Client, StoreError> {
        if self.pool.status().waiting >= REQUESTS_WAITING_MAX {
            return Err(StoreError::unavailable("too many requests wait for the database"));
        }
        let attempt = self.gate.enter(Instant::now()).map_err(StoreError::unavailable)?;
        match self.pool.get().await {
            Ok(client) => {
                self.gate.open();
                Ok(client)
            }
            Err(error) => {
                let cause = describe(&error);
                if is_away(&error) {
                    self.gate.close(&attempt, &cause, Instant::now());
                }
                Err(StoreError::unavailable(cause))
            }
        }
    }
}

/// Whether nobody else would get a connection either.
fn is_away(error: &PoolError) -> bool {
    match error {
        // What the database says no to may be true of this connection only: that it has too many, say.
        PoolError::Backend(error) => error.code().is_none_or(|code| *code == SqlState::CANNOT_CONNECT_NOW),
        error => matches!(error, PoolError::Timeout(TimeoutType::Create)),
    }
}

fn describe(error: &PoolError) -> String {
    match error {
        PoolError::Closed => "the store is closed".to_owned(),
        PoolError::Timeout(TimeoutType::Wait) => "all connections to the database are in use".to_owned(),
        PoolError::Timeout(_) => "the database does not let us connect in time".to_owned(),
        PoolError::Backend(error) => format!("cannot connect to the database: {}", explain(error)),
        error => format!("cannot connect to the database: {error}"),
    }
}

/// What the database or the system says, on one line. Neither says passwords.
pub(super) fn explain(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(said), _) => format!("{} ({})", said.message(), said.code().code()),
        (None, Some(cause)) => format!("{error}: {cause}"),
        (None, None) => error.to_string(),
    }
}

/// A random wait, longer with each try, so that those who were in each other's way part.
fn pause(tries: u32) -> Duration {
    let longest_micros = (1_000_u64 << tries.min(10)).min(TRY_PAUSE_MS_MAX * 1_000);
    // Without random bytes the wait is as long as it may be.
    let random = random_number().map_or(longest_micros, |random| {
        u64::try_from(random % u128::from(longest_micros)).unwrap_or(longest_micros)
    });
    Duration::from_micros(random)
}

/// Begins a transaction. What it must keep apart it locks, so it needs no more isolation than this; with more, whoever
/// waited for a lock would be refused instead of seeing what it waited for.
pub(super) async fn begin(client: &mut Client) -> Result<Transaction<'_>, Failure> {
    Ok(client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start().await?)
}

/// Ends a transaction. When the connection breaks here, nobody knows whether it was in time.
pub(super) async fn commit(transaction: Transaction<'_>) -> Result<(), Failure> {
    transaction.commit().await.map_err(failed_commit)
}

/// What it means that a COMMIT failed that was on its way.
pub(super) fn failed_commit(error: tokio_postgres::Error) -> Failure {
    match Failure::from(error) {
        Failure::Lost(cause) => {
            Failure::Unavailable(format!("a write may have been lost with its connection: {cause}"))
        }
        failure => failure,
    }
}

/// What a transaction is told that takes its time, and may have to wait for something else than the database.
pub(super) const AT_LEISURE: &str =
    "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";

/// Begins to read one state of the database, however long it takes.
pub(super) async fn begin_snapshot(client: &mut Client) -> Result<Transaction<'_>, Failure> {
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    transaction.batch_execute(AT_LEISURE).await?;
    Ok(transaction)
}
