//! The one writer: takes the writes that wait, commits them as a group, then answers.
//!
//! Invariants:
//! - An answer leaves only after the commit that holds its write is on disk. Until then it is a value in the writer's
//!   hands, and dropping it tells its caller that the store is unavailable.
//! - A write that is refused (not found, in use, too many tags) has changed nothing, and does not touch its group. One
//!   that meets a damaged page is undone, and does not touch its group either.
//! - When anything unexpected happens, the commit above all, nothing of the group is acknowledged, and the connection
//!   is dropped. Writes are then refused at once until a new connection has committed something.
//!
//! While the connections of the readers live, a new connection goes on in the log where the last good commit ended,
//! so what a failed fsync may have left half on disk is written over rather than built upon.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use protocol::limit::store::{
    GATHER_MS_MAX, GROUP_WRITES_MAX, REOPEN_BACKOFF_MS_MAX, REOPEN_BACKOFF_MS_MIN, WAL_PAGES_MAX,
    WRITES_WAITING_MAX,
};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

#[cfg(debug_assertions)]
use super::super::plant::Plant;
use super::super::worker::Workers;
use super::super::{Settings, StoreError};
use super::Meters;
use super::database::{Database, Handle};
use super::edition::Edition;
use super::order_clock::OrderClock;

/// A write, run inside its group's transaction. `Err` fails the whole group; a refusal is part of the answer.
type Write = Box<dyn FnOnce(&mut Group<'_>) -> Result<Answer, StoreError> + Send>;

/// Called once the group is on disk; dropped when it never will be.
type Answer = Box<dyn FnOnce() + Send>;

/// Marks where a write begins in its group's transaction.
const BEGIN_WRITE: &str = "SAVEPOINT one_write";
/// Undoes what has been done since.
const UNDO_WRITE: &str = "ROLLBACK TO one_write";
/// Makes it part of the group.
const END_WRITE: &str = "RELEASE one_write";

/// The open transaction of a group, as its writes see it.
pub(super) struct Group<'a> {
    pub(super) connection: &'a Connection,
    pub(super) order: &'a mut OrderClock,
}

/// A handle to the writer's thread.
pub(super) struct Writer {
    workers: Workers<Write>,
}

impl Writer {
    /// Starts the thread, which begins with the connection `handle`.
    pub(super) fn start(
        database: Database,
        handle: Handle,
        settings: &Settings,
        edition: Arc<Edition>,
        meters: Arc<Meters>,
    ) -> Result<Self, StoreError> {
        #[cfg(debug_assertions)]
        handle.with(|connection| settings.plant.map_or(Ok(()), |plant| plant.configure(connection)))?;
        let order = handle.with(|connection| OrderClock::load(connection, Arc::clone(&settings.now)))?;
        let thread = WriterThread {
            database,
            order,
            edition,
            meters,
            checkpoint_failed: false,
            #[cfg(debug_assertions)]
            plant: settings.plant,
        };
        let run = move |writes: Receiver<Write>| thread.run(handle, &writes);
        let workers =
            Workers::start_one("store-writer", WRITES_WAITING_MAX, run).map_err(|error: io::Error| {
                StoreError::unavailable(format!("cannot start the writer: {error}"))
            })?;
        Ok(Self { workers })
    }

    /// Has `work` done in the next group and answers once that is on disk. `work` must check before it changes
    /// anything: an `Err` is a refusal that leaves what it did in place, but for `Damaged`, after which that is undone,
    /// and `Unavailable`, which fails the group.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Group<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, outcome) = oneshot::channel();
        self.workers.submit(Box::new(move |group| {
            let result = work(group);
            match &result {
                Err(StoreError::Unavailable(cause)) => {
                    return Err(StoreError::Unavailable(Arc::clone(cause)));
                }
                Err(StoreError::Damaged(_)) => execute(group.connection, UNDO_WRITE)?,
                _ => {}
            }
            Ok(Box::new(move || {
                // The caller may have gone; the write stands all the same.
                let _ = sender.send(result);
            }))
        }))?;
        outcome.await.unwrap_or_else(|_| Err(StoreError::unavailable("the write was not committed")))
    }

    /// Commits what waits and ends the thread. Blocks meanwhile.
    pub(super) fn stop(&self) {
        self.workers.stop();
    }
}

/// Why a connection is no longer written to.
enum Ended {
    /// Nobody will write any more.
    Closed,
    /// Something went wrong.
    Failed,
}

struct WriterThread {
    database: Database,
    order: OrderClock,
    edition: Arc<Edition>,
    meters: Arc<Meters>,
    checkpoint_failed: bool,
    #[cfg(debug_assertions)]
    plant: Option<Plant>,
}

impl WriterThread {
    fn run(mut self, first: Handle, writes: &Receiver<Write>) {
        let mut handle = first;
        while let Ended::Failed = self.serve(&handle, writes) {
            // The failed connection must be gone first: it may still hold the lock for writing.
            drop(handle);
            handle = match self.reopen(writes) {
                Some(handle) => handle,
                None => return,
            };
        }
    }

    /// Commits group after group.
    fn serve(&mut self, handle: &Handle, writes: &Receiver<Write>) -> Ended {
        let mut gathering = Gathering::default();
        while let Some(group) = gathering.gather(writes) {
            let (size, begin) = (group.len(), Instant::now());
            let committed =
                catch_unwind(AssertUnwindSafe(|| handle.with(|connection| self.commit(connection, group))));
            let error = match committed {
                Ok(Ok(answers)) => {
                    self.meters.commits.fetch_add(1, Relaxed);
                    self.meters.writes.fetch_add(answers.len() as u64, Relaxed);
                    self.meters.groups.committed(size, begin.elapsed());
                    gathering.committed(size, begin.elapsed(), writes);
                    answers.into_iter().for_each(|answer| answer());
                    handle.with(|connection| self.checkpoint_when_due(connection));
                    continue;
                }
                Ok(Err(error)) => error,
                Err(_) => StoreError::unavailable("a write panicked"),
            };
            self.meters.failed_groups.fetch_add(1, Relaxed);
            let store = self.database.name();
            tracing::error!(%error, store, writes = size, "the store cannot write; it acknowledges nothing until it can");
            return Ended::Failed;
        }
        Ended::Closed
    }

    /// One group: all of it, or nothing.
    fn commit(&mut self, connection: &Connection, writes: Vec<Write>) -> Result<Vec<Answer>, StoreError> {
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        let order_before = self.order.last();
        let mut answers = Vec::with_capacity(writes.len());
        for write in writes {
            execute(&transaction, BEGIN_WRITE)?;
            let answer = write(&mut Group { connection: &transaction, order: &mut self.order })?;
            execute(&transaction, END_WRITE)?;
            #[cfg(debug_assertions)]
            if self.plant == Some(Plant::AcknowledgeBeforeCommit) {
                answer();
                continue;
            }
            answers.push(answer);
        }
        if self.order.last() != order_before {
            self.order.save(&transaction)?;
        }
        self.commit_edition(transaction)?;
        Ok(answers)
    }

    /// Copies the log back into the main file once it is long enough. Readers go on meanwhile; writes wait.
    fn checkpoint_when_due(&mut self, connection: &Connection) {
        let result = checkpoint(connection, "NOOP").and_then(|pages| {
            if pages.in_log < WAL_PAGES_MAX || pages.copied == pages.in_log {
                return Ok(None);
            }
            checkpoint(connection, "PASSIVE").map(Some)
        });
        match result {
            Ok(None) => {}
            Ok(Some(_)) => {
                self.meters.checkpoints.fetch_add(1, Relaxed);
                self.checkpoint_failed = false;
            }
            // Nothing is lost: what is acknowledged is in the log, which grows until this works again.
            Err(error) if !self.checkpoint_failed => {
                self.checkpoint_failed = true;
                tracing::error!(%error, "the store cannot copy its log into its main file; the log grows");
            }
            Err(_) => {}
        }
    }

    /// Opens a new connection and commits with it, again and again with growing waits, until that works. Refuses
    /// writes meanwhile. `None` when nobody will write any more.
    fn reopen(&mut self, writes: &Receiver<Write>) -> Option<Handle> {
        let mut backoff = Duration::from_millis(REOPEN_BACKOFF_MS_MIN);
        loop {
            match self.open_and_commit() {
                Ok(handle) => {
                    self.meters.reopened.fetch_add(1, Relaxed);
                    tracing::info!("the store can write again");
                    return Some(handle);
                }
                Err(error) => {
                    let error = StoreError::from(error);
                    tracing::error!(%error, store = self.database.name(), "the store still cannot write");
                }
            }
            refuse_for(backoff, writes)?;
            backoff = (backoff * 2).min(Duration::from_millis(REOPEN_BACKOFF_MS_MAX));
        }
    }

    fn open_and_commit(&self) -> rusqlite::Result<Handle> {
        let handle = self.database.writer()?;
        handle.with(|connection| {
            let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
            self.order.save(&transaction)?;
            self.commit_edition(transaction)
        })?;
        Ok(handle)
    }

    /// After a failure it stays unsettled until a commit goes well: readers may or may not see what this one has written.
    fn commit_edition(&self, transaction: Transaction<'_>) -> rusqlite::Result<()> {
        self.edition.unsettle();
        transaction.commit()?;
        self.edition.settle();
        Ok(())
    }
}

/// How groups are gathered.
///
/// Whoever writes again as soon as it has its answer would miss the group of those that came in the meantime: there would be
/// two crowds that wait for each other, and twice the commits. So a group waits for those that were just
/// answered, at most half as long as their commit took, and never longer than [`GATHER_MS_MAX`]. Who writes alone waits for nobody.
struct Gathering {
    /// Came while the last group was committed.
    waiting: Vec<Write>,
    /// All of these, and those that were answered last.
    expected: usize,
    /// Until when they are waited for.
    until: Instant,
}

impl Default for Gathering {
    fn default() -> Self {
        Self { waiting: Vec::new(), expected: 0, until: Instant::now() }
    }
}

impl Gathering {
    /// A group was committed, and its writers are about to be answered.
    fn committed(&mut self, size: usize, took: Duration, writes: &Receiver<Write>) {
        self.waiting = writes.try_iter().take(GROUP_WRITES_MAX).collect();
        self.expected = (self.waiting.len() + size).min(GROUP_WRITES_MAX);
        self.until = Instant::now() + (took / 2).min(Duration::from_millis(GATHER_MS_MAX));
    }

    /// The next group; waits for its first write. `None` when nobody will write any more.
    fn gather(&mut self, writes: &Receiver<Write>) -> Option<Vec<Write>> {
        let mut group = std::mem::take(&mut self.waiting);
        if group.is_empty() {
            group.push(writes.recv().ok()?);
        }
        while group.len() < self.expected {
            match writes.recv_timeout(self.until.saturating_duration_since(Instant::now())) {
                Ok(write) => group.push(write),
                // It is time; or nobody will write any more, which the next call finds.
                Err(_) => break,
            }
        }
        let room = GROUP_WRITES_MAX - group.len();
        group.extend(writes.try_iter().take(room));
        Some(group)
    }
}

fn execute(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute([]).map(drop)
}

/// Drops every write that comes within `duration`, which tells its caller. `None` when nobody will write any more.
fn refuse_for(duration: Duration, writes: &Receiver<Write>) -> Option<()> {
    let end = Instant::now() + duration;
    loop {
        match writes.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(refused) => drop(refused),
            Err(RecvTimeoutError::Timeout) => return Some(()),
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
}

/// Pages of the write-ahead log.
struct LogPages {
    in_log: i64,
    copied: i64,
}

fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<LogPages> {
    let mut statement = connection.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?;
    statement.query_row([], |row| Ok(LogPages { in_log: row.get(1)?, copied: row.get(2)? }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::thread;
    use std::time::Duration;

    use protocol::limit::store::GROUP_WRITES_MAX;

    use super::{Answer, Gathering, Write};

    /// Nobody waits for so long: a test that does never ends.
    const FOR_EVER: Duration = Duration::from_secs(1 << 20);

    fn write() -> Write {
        Box::new(|_| Ok(Box::new(|| ()) as Answer))
    }

    fn queue(waiting: usize) -> (SyncSender<Write>, Receiver<Write>) {
        let (sender, writes) = sync_channel(2 * GROUP_WRITES_MAX);
        (0..waiting).for_each(|_| sender.send(write()).unwrap());
        (sender, writes)
    }

    fn gathered(gathering: &mut Gathering, writes: &Receiver<Write>) -> Option<usize> {
        gathering.gather(writes).map(|group| group.len())
    }

    #[test]
    fn who_was_just_answered_is_waited_for_and_nobody_beyond() {
        let (sender, writes) = queue(2);
        let mut gathering = Gathering::default();
        gathering.committed(3, FOR_EVER, &writes);
        // They come one after the other, and the group begins with the last of them.
        let coming = thread::spawn(move || {
            (0..3).for_each(|_| sender.send(write()).unwrap());
            sender
        });
        assert_eq!(gathered(&mut gathering, &writes), Some(5));
        drop(coming.join().unwrap());
        assert_eq!(gathered(&mut gathering, &writes), None);
    }

    #[test]
    fn who_writes_alone_waits_for_nobody() {
        let (sender, writes) = queue(0);
        let mut gathering = Gathering::default();
        for _ in 0..3 {
            gathering.committed(1, FOR_EVER, &writes);
            sender.send(write()).unwrap();
            assert_eq!(gathered(&mut gathering, &writes), Some(1));
        }
    }

    #[test]
    fn when_the_time_is_over_the_group_is_what_there_is() {
        let (sender, writes) = queue(1);
        let mut gathering = Gathering::default();
        gathering.committed(4, Duration::ZERO, &writes);
        sender.send(write()).unwrap();
        assert_eq!(gathered(&mut gathering, &writes), Some(2));
    }

    #[test]
    fn what_waited_is_written_when_nobody_comes_any_more() {
        let (sender, writes) = queue(2);
        let mut gathering = Gathering::default();
        gathering.committed(4, FOR_EVER, &writes);
        drop(sender);
        assert_eq!(gathered(&mut gathering, &writes), Some(2));
        assert_eq!(gathered(&mut gathering, &writes), None);
    }

    #[test]
    fn a_group_has_no_more_than_its_limit() {
        let (_sender, writes) = queue(GROUP_WRITES_MAX + 5);
        let mut gathering = Gathering::default();
        gathering.committed(9, FOR_EVER, &writes);
        assert_eq!(gathered(&mut gathering, &writes), Some(GROUP_WRITES_MAX));
        gathering.committed(GROUP_WRITES_MAX, Duration::ZERO, &writes);
        assert_eq!(gathered(&mut gathering, &writes), Some(5));
    }
}
