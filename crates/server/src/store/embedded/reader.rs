//! The readers: connections that only read and never wait for the writer.
//!
//! A read whose pages are in memory takes less time than handing it to another thread and the answer back, so reads
//! are done in place, on the thread that asks. A page that has to come from the disk holds that thread up, and with it
//! the requests that it would have served. Therefore fewer reads are under way in place than the runtime has threads:
//! one of them is always free, whatever the disk does. What comes beyond that, and whatever takes long, goes to
//! threads of the store's own through a bounded queue.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use protocol::limit::store::{READERS_MAX, READS_WAITING_MAX};
use rusqlite::Connection;
use tokio::sync::oneshot;
use tokio::task::coop::consume_budget;

use super::super::worker::{Workers, lock};
use super::super::{StoreError, runtime_threads};
use super::Meters;
use super::database::{Database, Handle};

type Read = Box<dyn FnOnce(&Connection) + Send>;

/// All readers.
pub(super) struct Readers {
    /// For reads in place; `None` once the store is closed. The one that was used last is used next, since its pages
    /// are in memory.
    idle: Mutex<Option<Vec<Handle>>>,
    workers: Workers<Read>,
    meters: Arc<Meters>,
}

impl Readers {
    /// Opens the connections and starts the threads: one for each of the runtime's, and one connection less for reads
    /// in place. None reads in place where that may have to wait for the writer.
    pub(super) fn start(database: &Database, meters: Arc<Meters>) -> Result<Self, StoreError> {
        let threads = runtime_threads().min(READERS_MAX);
        let (in_place, apart) = if database.has_free_readers() { (threads - 1, threads) } else { (0, 1) };
        let open = |count| (0..count).map(|_| database.reader()).collect::<rusqlite::Result<Vec<Handle>>>();
        let workers = Workers::start_many("store-reader", READS_WAITING_MAX, open(apart)?, read_one)
            .map_err(|error| StoreError::unavailable(format!("cannot start a reader: {error}")))?;
        Ok(Self { idle: Mutex::new(Some(open(in_place)?)), workers, meters })
    }

    /// Has `work`, which is short, done on one of the connections. It sees every write that was acknowledged before.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        // A read in place never waits, so whoever reads on and on must be made to let others in.
        consume_budget().await;
        let idle = lock(&self.idle).as_mut().and_then(Vec::pop);
        let Some(handle) = idle else { return self.read_apart(work).await };
        self.meters.reads.fetch_add(1, Relaxed);
        // A panic ends its request, and must not take the connection along.
        let outcome = catch_unwind(AssertUnwindSafe(|| handle.with(work)));
        // Once the store is closed, the connection goes here.
        if let Some(idle) = lock(&self.idle).as_mut() {
            idle.push(handle);
        }
        outcome.unwrap_or_else(|_| Err(given_up()))
    }

    /// The same for work that takes its time: never in place.
    pub(super) async fn read_apart<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, outcome) = oneshot::channel();
        self.workers.submit(Box::new(move |connection| {
            // Under load a caller may have given up while it waited: whoever still waits is served sooner.
            if !answer.is_closed() {
                let _ = answer.send(work(connection));
            }
        }))?;
        self.meters.reads.fetch_add(1, Relaxed);
        outcome.await.unwrap_or_else(|_| Err(given_up()))
    }

    /// Finishes what waits, ends the threads and closes the connections. Blocks meanwhile.
    pub(super) fn stop(&self) {
        drop(lock(&self.idle).take());
        self.workers.stop();
    }
}

fn given_up() -> StoreError {
    StoreError::unavailable("the read was given up")
}

fn read_one(handle: &mut Handle, read: Read) {
    // A panic ends its request, which sees its answer dropped, and not the reader.
    let _ = catch_unwind(AssertUnwindSafe(|| handle.with(read)));
}
