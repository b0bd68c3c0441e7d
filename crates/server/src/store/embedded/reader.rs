//! The readers: threads with a read-only connection each, which never wait for the writer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::available_parallelism;

use protocol::limit::store::{READERS_MAX, READS_WAITING_MAX};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::super::StoreError;
use super::super::worker::Workers;
use super::Meters;
use super::database::{Database, Handle};

type Read = Box<dyn FnOnce(&Connection) + Send>;

/// A handle to the readers' threads.
pub(super) struct Readers {
    workers: Workers<Read>,
    meters: Arc<Meters>,
}

impl Readers {
    /// Starts a reader per core.
    pub(super) fn start(database: &Database, meters: Arc<Meters>) -> Result<Self, StoreError> {
        let cores = available_parallelism().map_or(1, usize::from);
        let count = database.readers(cores.clamp(2, READERS_MAX));
        let handles = (0..count).map(|_| database.reader()).collect::<rusqlite::Result<Vec<Handle>>>()?;
        let workers = Workers::start_many("store-reader", READS_WAITING_MAX, handles, read_one)
            .map_err(|error| StoreError::unavailable(format!("cannot start a reader: {error}")))?;
        Ok(Self { workers, meters })
    }

    /// Has `work` done on one of the connections. It sees every write that was acknowledged before.
    pub(super) async fn read<T: Send + 'static>(
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
        outcome.await.unwrap_or_else(|_| Err(StoreError::unavailable("the read was given up")))
    }

    /// Finishes what waits and ends the threads. Blocks meanwhile.
    pub(super) fn stop(&self) {
        self.workers.stop();
    }
}

fn read_one(handle: &mut Handle, read: Read) {
    // A panic ends its request, which sees its answer dropped, and not the reader.
    let _ = catch_unwind(AssertUnwindSafe(|| handle.with(read)));
}
