//! Transactions of two exchanges with the database: what a write has to know, and what it then does. The way there and
//! back costs more than most of what is done there, so statements go together, BEGIN with the first ones and COMMIT with the
//! last ones.
//!
//! Promises:
//! - Statements are sent, and done, in the order in which they are given. What cannot be sent keeps all that is behind it
//!   from being sent, a COMMIT above all.
//! - When one of them fails, the database does none of those behind it, and makes a ROLLBACK of the COMMIT. Whoever waits is
//!   told of the failure.
//! - A transaction that was given up half-way (it took too long, say) keeps its connection until the database has ended
//!   it: nobody gets one that is in the middle of something, and as long as the database is busy with it, it counts as one
//!   of the pool's. After [`GIVEN_UP_SECONDS_MAX`] the connection is closed here; a database whose COMMIT waits for a
//!   standby that is gone keeps its end of it even then.

use std::future::{Future, poll_fn, ready};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use deadpool_postgres::{Client, GenericClient, Object};
use futures_util::TryStreamExt;
use protocol::limit::postgres::GIVEN_UP_SECONDS_MAX;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row, Statement};

use super::connections::failed_commit;
use super::failure::Failure;

/// What it must keep apart a transaction locks, as all of this engine do: see `connections::begin`.
const BEGIN: &str = "START TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// A value that is kept until its statement is sent.
pub(super) type Value<'a> = Box<dyn ToSql + Sync + Send + 'a>;

/// The values of a [`Step`].
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        vec![$(Box::new($value) as $crate::store::postgres::pipeline::Value<'_>),*]
    };
}

pub(super) use values;

/// A statement that is ready to be sent.
pub(super) struct Step<'a> {
    statement: Statement,
    values: Vec<Value<'a>>,
}

impl<'a> Step<'a> {
    /// Prepares the statement, unless the connection has it.
    pub(super) async fn new(
        client: &impl GenericClient,
        statement: &str,
        values: Vec<Value<'a>>,
    ) -> Result<Self, Failure> {
        Ok(Self { statement: client.prepare_cached(statement).await?, values })
    }

    /// Does it, and answers its rows. It is sent when this is polled first.
    pub(super) async fn run(self, client: &impl GenericClient) -> Result<Vec<Row>, Error> {
        client.query_raw(&self.statement, self.values).await?.try_collect().await
    }
}

/// A transaction between its two exchanges.
pub(super) struct Transaction {
    /// `None` when it has ended.
    client: Option<Client>,
}

impl Transaction {
    /// Begins with `steps`. Answers the rows of each.
    pub(super) async fn begin(
        client: Client,
        steps: Vec<Step<'_>>,
    ) -> Result<(Self, Vec<Vec<Row>>), Failure> {
        let transaction = Self { client: Some(client) };
        match transaction.first_exchange(steps).await {
            Ok(rows) => Ok((transaction, rows)),
            Err(failure) => {
                // When this fails too, it is given up.
                let _ = transaction.roll_back().await;
                Err(failure)
            }
        }
    }

    async fn first_exchange(&self, steps: Vec<Step<'_>>) -> Result<Vec<Vec<Row>>, Failure> {
        let client = self.client()?;
        let mut exchange = Exchange::default();
        exchange.send(command(client, BEGIN)).await?;
        for step in steps {
            exchange.send(step.run(client)).await?;
        }
        let mut rows = exchange.receive().await.map_err(|failed| failed.error)?;
        // Those of BEGIN.
        rows.remove(0);
        Ok(rows)
    }

    /// Does `steps` and ends. When the connection breaks meanwhile, nobody knows whether it was in time.
    pub(super) async fn commit(mut self, steps: Vec<Step<'_>>) -> Result<(), Failure> {
        let outcome = self.last_exchange(steps).await?;
        // However that was, the transaction is over.
        self.client = None;
        match outcome {
            Ok(_) => Ok(()),
            // The database itself says that it has not come to the COMMIT.
            Err(Failed { error, is_last: false }) if error.code().is_some() => Err(error.into()),
            Err(Failed { error, .. }) => Err(failed_commit(error)),
        }
    }

    /// An error is one of sending.
    async fn last_exchange(&self, steps: Vec<Step<'_>>) -> Result<Result<Vec<Vec<Row>>, Failed>, Failure> {
        let client = self.client()?;
        let mut exchange = Exchange::default();
        for step in steps {
            exchange.send(step.run(client)).await?;
        }
        // Between being sent and being looked at it may have been done.
        exchange.send(command(client, "COMMIT")).await.map_err(failed_commit)?;
        Ok(exchange.receive().await)
    }

    /// Ends as if it had never been.
    pub(super) async fn roll_back(mut self) -> Result<(), Failure> {
        self.client()?.batch_execute("ROLLBACK").await?;
        self.client = None;
        Ok(())
    }

    /// What further steps are prepared with.
    pub(super) fn client(&self) -> Result<&Client, Failure> {
        self.client.as_ref().ok_or_else(|| Failure::Unavailable("the transaction has ended".to_owned()))
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(end_given_up(client))),
            Err(_) => close(client),
        }
    }
}

/// Sees a transaction to its end that nobody waits for. After a COMMIT that was on its way, a ROLLBACK does nothing.
async fn end_given_up(client: Client) {
    let ended = client.batch_execute("ROLLBACK");
    if !matches!(timeout(Duration::from_secs(GIVEN_UP_SECONDS_MAX), ended).await, Ok(Ok(()))) {
        close(client);
    }
}

/// It does not go back into the pool.
fn close(client: Client) {
    drop(Object::take(client));
}

/// A statement without values or rows.
async fn command(client: &Client, statement: &str) -> Result<Vec<Row>, Error> {
    client.batch_execute(statement).await?;
    Ok(Vec::new())
}

/// Rows of a statement that has been sent, once they come.
type Answer<'a> = Pin<Box<dyn Future<Output = Result<Vec<Row>, Error>> + Send + 'a>>;

/// Statements that are on their way. They are answered in the order in which they were sent.
#[derive(Default)]
struct Exchange<'a> {
    answers: Vec<Answer<'a>>,
}

/// The first of the statements of an exchange that has failed.
struct Failed {
    error: Error,
    /// No statement was sent behind it.
    is_last: bool,
}

impl<'a> Exchange<'a> {
    /// Sends a statement: the driver does that when its future is polled first. What fails here was not sent, or its answer was
    /// there at once.
    async fn send(
        &mut self,
        statement: impl Future<Output = Result<Vec<Row>, Error>> + Send + 'a,
    ) -> Result<(), Error> {
        let mut answer: Answer<'a> = Box::pin(statement);
        if let Poll::Ready(early) = poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await {
            answer = Box::pin(ready(Ok(early?)));
        }
        self.answers.push(answer);
        Ok(())
    }

    /// Waits until all are answered, whatever the answers.
    async fn receive(self) -> Result<Vec<Vec<Row>>, Failed> {
        let mut rows = Vec::with_capacity(self.answers.len());
        let mut first_failed = None;
        let mut left = self.answers.len();
        for answer in self.answers {
            left -= 1;
            match answer.await {
                Ok(found) => rows.push(found),
                Err(error) if first_failed.is_none() => {
                    first_failed = Some(Failed { error, is_last: left == 0 });
                }
                Err(_) => {}
            }
        }
        first_failed.map_or(Ok(rows), Err)
    }
}
