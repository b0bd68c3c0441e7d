//! Ships what is in the spools of a data folder, while this process is the one to do so: a worker for each spool.
//!
//! Only one process of the server ships from a data folder at a time, and it holds a lock while it does. When it gives way to
//! another one it stops; what it had not finished begins anew there.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use protocol::limit::chat_log::{LOOK_INTERVAL_MS, PROBES_MAX, RETRY_UNITS_MAX, SHIPMENT_UNITS_MAX};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::reader::Reader;
use super::sink::Sink;
use super::spool::{Spool, SpoolKey, Spools};
use super::worker::Worker;
use crate::clock;
use crate::store::{Store, StoreError};

const LOOK_INTERVAL: Duration = Duration::from_millis(LOOK_INTERVAL_MS);
/// How long what is being shipped may take when the process gives way.
const STOP_TIME_MAX: Duration = Duration::from_secs(1);

/// What the workers share.
pub(super) struct House {
    pub(super) spools: Arc<Spools>,
    pub(super) store: Store,
    pub(super) sink: Sink,
    /// How long the window of an object of S3 is, in seconds.
    pub(super) window_s: u64,
    /// How long a destination that denies access or does not exist is tried once its logging configuration is deleted.
    pub(super) deleted_time_max: Duration,
    /// What batches for destinations that take some may have together.
    pub(super) shipments: Semaphore,
    /// What batches for destinations may have together that took only some of the last one.
    pub(super) retries: Semaphore,
    /// Small batches for destinations that took nothing the last time.
    pub(super) probes: Semaphore,
    /// Nothing new is begun.
    pub(super) stop: CancellationToken,
    /// Nothing is waited for any more.
    pub(super) cut_off: CancellationToken,
    is_hurried: AtomicBool,
    has_others: AtomicBool,
}

impl House {
    /// Whether all is to be shipped now that can be.
    pub(super) fn hurries(&self) -> bool {
        self.is_hurried.load(Ordering::Relaxed)
    }

    /// Whether another process writes to the spools.
    pub(super) fn has_others(&self) -> bool {
        self.has_others.load(Ordering::Relaxed)
    }
}

/// The running workers.
pub struct Shipping {
    house: Arc<House>,
    task: JoinHandle<()>,
}

impl Shipping {
    /// Begins to ship, as soon as no other process does.
    #[must_use]
    pub(super) fn start(
        spools: Arc<Spools>,
        store: Store,
        sink: Sink,
        window_s: u64,
        deleted_time_max: Duration,
    ) -> Self {
        let house = Arc::new(House {
            spools,
            store,
            sink,
            window_s,
            deleted_time_max,
            shipments: Semaphore::new(usize::try_from(SHIPMENT_UNITS_MAX).unwrap_or(usize::MAX)),
            retries: Semaphore::new(usize::try_from(RETRY_UNITS_MAX).unwrap_or(usize::MAX)),
            probes: Semaphore::new(PROBES_MAX),
            stop: CancellationToken::new(),
            cut_off: CancellationToken::new(),
            is_hurried: AtomicBool::new(false),
            has_others: AtomicBool::new(false),
        });
        let task = tokio::spawn(run(Arc::clone(&house)));
        Self { house, task }
    }

    /// Stops. Another process may ship when this returns, or as soon as what was under way on the disk has ended.
    pub async fn stop(self) {
        self.house.stop.cancel();
        self.end(STOP_TIME_MAX).await;
    }

    /// Ships what can be shipped at once, for so long at most, and stops. Nothing is written any more.
    pub async fn finish(self, time_max: Duration) {
        self.house.is_hurried.store(true, Ordering::Relaxed);
        self.house.spools.all().iter().for_each(|spool| spool.hurried.notify_one());
        self.house.spools.found.notify_one();
        self.end(time_max).await;
    }

    async fn end(mut self, time_max: Duration) {
        if timeout(time_max, &mut self.task).await.is_err() {
            self.house.stop.cancel();
            self.house.cut_off.cancel();
            // What is left is a turn of the disk.
            let _ = self.task.await;
        }
    }
}

async fn run(house: Arc<House>) {
    let Some(turn) = turn_to_ship(&house).await.map(Arc::new) else { return };
    let mut workers: HashMap<SpoolKey, JoinHandle<()>> = HashMap::new();
    let mut is_first = true;
    loop {
        match look(&house, is_first).await {
            Ok(_) => is_first = false,
            // What the process before has left is looked for again, until it is known.
            Err(error) => tracing::error!(%error, "the folder of chat logs cannot be looked through"),
        }
        show(&house);
        workers.retain(|key, worker| !worker.is_finished() || house.spools.known_spool(key).is_some());
        for spool in house.spools.all() {
            // Who was told to hurry may have ended by itself.
            let is_at_work =
                workers.get(&spool.key).is_some_and(|worker| house.hurries() || !worker.is_finished());
            if !is_at_work {
                start_worker(&house, &turn, spool, &mut workers);
            }
        }
        if house.stop.is_cancelled() || house.hurries() {
            break;
        }
        tokio::select! {
            () = house.stop.cancelled() => {}
            () = house.spools.found.notified() => {}
            () = sleep(LOOK_INTERVAL) => {}
        }
    }
    for worker in workers.into_values() {
        // A panic was already reported by the panic hook.
        let _ = worker.await;
    }
}

/// Waits until no other process ships; `None` when this one is told to stop before, or when there is nothing to hurry for.
async fn turn_to_ship(house: &House) -> Option<File> {
    while !house.stop.is_cancelled() {
        match house.spools.try_to_ship() {
            Ok(Some(lock)) => return Some(lock),
            Ok(None) if house.hurries() => return None,
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "chat logs cannot be shipped"),
        }
        tokio::select! {
            () = house.stop.cancelled() => {}
            () = house.spools.found.notified() => {
                // There may be no folder yet: it is made for the first record.
                sleep(LOOK_INTERVAL / 10).await;
            }
            () = sleep(LOOK_INTERVAL / 4) => {}
        }
    }
    None
}

/// Looks for spools that this process does not know of.
async fn look(house: &Arc<House>, is_first: bool) -> io::Result<()> {
    let own = Arc::clone(house);
    let looked = tokio::task::spawn_blocking(move || {
        own.spools.release_earlier();
        let has_others = own.spools.generations.has_others()?;
        own.has_others.store(has_others, Ordering::Relaxed);
        if is_first || has_others {
            own.spools.look()?;
        }
        if is_first {
            own.spools.tails.tidy_up();
            own.spools.generations.tidy_up()?;
        }
        Ok(())
    });
    looked.await.unwrap_or_else(|_panic| Err(io::Error::other("the look was cut off")))?;
    if is_first {
        remove_what_is_over(house).await;
    }
    Ok(())
}

/// Removes the folders of logging configurations that are deleted and have nothing left. Only at the start, when nobody
/// writes to them.
async fn remove_what_is_over(house: &House) {
    if house.has_others() {
        return;
    }
    for spool in house.spools.all() {
        if spool.bytes() > 0 {
            continue;
        }
        let key = &spool.key;
        let found = house.store.get_logging_configuration(&key.scope, key.configuration).await;
        if matches!(found, Err(StoreError::LoggingConfigurationNotFound(_)))
            && spool.segments().is_ok_and(|segments| segments.is_empty())
        {
            // It is looked at again at the next start.
            let _ = fs::remove_dir_all(&spool.folder);
        }
    }
}

fn start_worker(
    house: &Arc<House>,
    turn: &Arc<File>,
    spool: Arc<Spool>,
    workers: &mut HashMap<SpoolKey, JoinHandle<()>>,
) {
    match Reader::open(Arc::clone(&house.spools), Arc::clone(&spool), Some(Arc::clone(turn))) {
        Ok(reader) => {
            let key = spool.key.clone();
            let worker = Worker::new(Arc::clone(house), Arc::clone(turn), spool, reader);
            workers.insert(key, tokio::spawn(worker.run()));
        }
        Err(error) => {
            if spool.may_complain() {
                let configuration = spool.key.arn();
                tracing::error!(%configuration, %error, "a chat log's spool cannot be read; it is tried again");
            }
        }
    }
}

/// Puts into the metrics how much waits, and for how long.
fn show(house: &House) {
    let metrics = &house.spools.metrics.chat_log;
    let spools = house.spools.all();
    let bytes: u64 = spools.iter().map(|spool| spool.bytes()).sum();
    metrics.spool_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    let now_ms = clock::now().as_nanos() / 1_000_000;
    let times = spools.iter().map(|spool| spool.oldest_ms.load(Ordering::Relaxed));
    let age_s =
        times.filter(|time| *time > 0).min().map_or(0, |oldest| now_ms.saturating_sub(oldest) / 1_000);
    metrics.oldest_unshipped_seconds.set(i64::try_from(age_s).unwrap_or(i64::MAX));
}
