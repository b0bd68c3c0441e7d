//! Ships the records of one spool: reads a batch, sends it, notes that it was taken, and so on; what was not taken is tried
//! again, for as long as it takes.
//!
//! Promises:
//! - At least once: a batch is acknowledged when its destination has taken all of it. A try goes on where the last one of the
//!   same process has stopped, so little comes twice.
//! - In order, for each room.
//! - A destination that fails keeps nobody else waiting: a worker has a spool to itself; one that took nothing gets a small
//!   batch the next time, of which there may be many at once; and nothing is kept in memory between two tries but how far the
//!   first one came.
//! - Records go where their logging configuration says when they are shipped; so one that is corrected lets what has
//!   waited through. When it is deleted, what is left goes where it went last, and is given up for lost when that
//!   destination has been gone, too, or has denied access, for a day.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use protocol::limit::chat_log::{
    BATCH_BYTES_MAX, BATCH_RECORDS_MAX, CALLS_MAX, GATHER_MS, IDLE_MS_MAX, LOG_EVENTS_BYTES_MAX,
    PROBE_BYTES_MAX, RETRY_MS_MAX, RETRY_MS_MIN, SHIPMENT_SECONDS_MAX, SHIPMENT_UNIT_BYTES,
    SHIPMENT_UNITS_MAX, WINDOW_GRACE_MS,
};
use tokio::sync::{AcquireError, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout};

use super::lock;
use super::object::window_of;
use super::parcel::{Parcel, divide};
use super::progress::{LaneName, Position};
use super::reader::{Batch, Bounds, Reader, Stretch};
use super::record::Record;
use super::shipping::House;
use super::sink::{Consignment, Sink, SinkError};
use super::spool::Spool;
use crate::clock;
use crate::store::{Destination, StoreError};

/// Nobody tells of what another process writes, so it is looked for.
const LOOK_WITH_OTHERS: Duration = Duration::from_secs(1);
/// When nothing was written for so long, what is left of shipped segments is removed.
const IDLE: Duration = Duration::from_millis(IDLE_MS_MAX);
/// A record that is farther ahead of the clock than this waits for no window: the clock was set back.
const AHEAD_MS_MAX: u64 = 5_000;

/// See the module.
pub(super) struct Worker {
    house: Arc<House>,
    turn: Arc<File>,
    spool: Arc<Spool>,
    reader: Arc<Mutex<Reader>>,
    /// The batch that was not taken as a whole.
    attempt: Option<Arc<Attempt>>,
    /// Tries in a row that have failed.
    failures: u32,
    /// The destination of a deleted logging configuration has denied access, or was not there, since then.
    refused_since: Option<Instant>,
    /// There was nothing to ship since then.
    idle_since: Option<Instant>,
}

/// How far a batch came that was not taken as a whole.
struct Attempt {
    lane: LaneName,
    from: Position,
    end: Position,
    destination: Destination,
    /// Parcels that were taken, by chain.
    taken_parcels: Vec<AtomicUsize>,
    taken_records: Arc<Mutex<HashSet<usize>>>,
    /// Records that will never be taken.
    rejected: AtomicUsize,
    /// A chain has failed in this try.
    has_failed: AtomicBool,
}

impl Attempt {
    /// Parcels and single records that were taken so far.
    fn taken(&self) -> (usize, usize) {
        let parcels = self.taken_parcels.iter().map(|taken| taken.load(Ordering::Relaxed)).sum();
        (parcels, lock(&self.taken_records).len())
    }
}

/// Where records are to go.
struct Whereto {
    destination: Destination,
    /// The logging configuration does not exist any more.
    is_deleted: bool,
}

/// What came of a look.
enum Turn {
    /// Some were shipped; there may be more.
    Shipped,
    /// There is nothing to ship.
    Idle,
    /// There is something, but not yet.
    NotBefore(Duration),
}

/// What stands in the way.
enum Trouble {
    /// The spool cannot be read, or its progress not be written.
    Spool(io::Error),
    /// The store cannot say where to.
    Store(StoreError),
    /// The destination has not taken it.
    Sink(SinkError),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Spool(error)
    }
}

impl Worker {
    /// The worker of a spool, in the turn of whoever may ship.
    pub(super) fn new(house: Arc<House>, turn: Arc<File>, spool: Arc<Spool>, reader: Reader) -> Self {
        Self {
            house,
            turn,
            spool,
            reader: Arc::new(Mutex::new(reader)),
            attempt: None,
            failures: 0,
            refused_since: None,
            idle_since: None,
        }
    }

    /// Works until told to stop, or to finish and nothing is left that can be shipped.
    pub(super) async fn run(mut self) {
        while !self.house.stop.is_cancelled() {
            let house = Arc::clone(&self.house);
            let Some(turned) = house.cut_off.run_until_cancelled(self.turn()).await else { return };
            let (pause, hears_records) = match turned {
                Ok(Turn::Shipped) => {
                    self.failures = 0;
                    continue;
                }
                Ok(Turn::Idle) if house.hurries() => return,
                Ok(Turn::Idle) => (if house.has_others() { LOOK_WITH_OTHERS } else { IDLE }, true),
                Ok(Turn::NotBefore(pause)) => (pause, false),
                Err(trouble) => {
                    self.failures += 1;
                    self.report(&trouble);
                    if house.hurries() {
                        return;
                    }
                    (self.backoff(), false)
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.spool.hurried.notified() => {}
                () = self.spool.written.notified(), if hears_records => {}
                () = house.stop.cancelled() => {}
            }
        }
    }

    /// Twice as long with each failure.
    fn backoff(&self) -> Duration {
        let doubled = RETRY_MS_MIN.saturating_mul(1_u64.checked_shl(self.failures - 1).unwrap_or(u64::MAX));
        Duration::from_millis(doubled.min(RETRY_MS_MAX))
    }

    /// Looks what there is, and ships a batch of each lane that is due.
    async fn turn(&mut self) -> Result<Turn, Trouble> {
        let heads = self.with_reader(heads).await?;
        let oldest = heads.iter().filter_map(|(_, first)| first.as_ref()).map(|first| first.time_ms).min();
        self.spool.oldest_ms.store(oldest.unwrap_or(0), Ordering::Relaxed);
        if heads.is_empty() {
            self.rest().await?;
            return Ok(Turn::Idle);
        }
        self.idle_since = None;
        let whereto = self.whereto().await?;
        let mut pauses = Vec::new();
        let mut has_shipped = false;
        for (stretch, first) in heads {
            let pause = first.as_ref().and_then(|first| self.pause_before(&stretch, first, whereto.as_ref()));
            match pause {
                Some(pause) => pauses.push(pause),
                None => has_shipped |= self.ship(stretch, whereto.as_ref()).await?,
            }
        }
        Ok(match pauses.into_iter().min() {
            _ if has_shipped => Turn::Shipped,
            Some(pause) => Turn::NotBefore(pause),
            None => Turn::Idle,
        })
    }

    /// There is nothing to ship. After a while, segments that are still written to go, too.
    async fn rest(&mut self) -> io::Result<()> {
        if self.idle_since.get_or_insert_with(Instant::now).elapsed() >= IDLE {
            self.idle_since = None;
            self.with_reader(Reader::retire).await?;
        }
        Ok(())
    }

    /// Where records go, as the logging configuration says now; `None` when it was deleted and none went anywhere.
    async fn whereto(&self) -> Result<Option<Whereto>, Trouble> {
        let key = &self.spool.key;
        let (destination, is_deleted) =
            match self.house.store.get_logging_configuration(&key.scope, key.configuration).await {
                Ok(found) => (Some(found.destination), false),
                Err(StoreError::LoggingConfigurationNotFound(_)) => {
                    (self.with_spool(Spool::last_destination).await?, true)
                }
                Err(error) => return Err(Trouble::Store(error)),
            };
        let Some(destination) = destination else { return Ok(None) };
        if !is_deleted {
            let destination = destination.clone();
            self.with_spool(move |spool| spool.remember(&destination)).await?;
        }
        Ok(Some(Whereto { destination, is_deleted }))
    }

    /// How long a stretch that begins with `first` still waits; `None` when it is due.
    fn pause_before(&self, stretch: &Stretch, first: &Record, whereto: Option<&Whereto>) -> Option<Duration> {
        let now_ms = clock::now().as_nanos() / 1_000_000;
        let (due_ms, bytes_max) = match whereto.map(|whereto| &whereto.destination) {
            Some(Destination::S3(_)) => {
                let interval_s = self.house.window_s;
                let window_end_s = window_of(first.time_ms, interval_s) + interval_s;
                (window_end_s * 1_000 + WINDOW_GRACE_MS, BATCH_BYTES_MAX)
            }
            Some(destination) if self.house.sink.gathers(destination) => {
                (first.time_ms + GATHER_MS, LOG_EVENTS_BYTES_MAX)
            }
            _ => return None,
        };
        let is_due = due_ms <= now_ms
            || self.house.hurries()
            || stretch.bytes >= bytes_max as u64
            || first.time_ms > now_ms + AHEAD_MS_MAX;
        // Looked at again before that: there may be enough by then, or a change.
        (!is_due).then(|| Duration::from_millis(due_ms - now_ms).min(LOOK_WITH_OTHERS))
    }

    /// Ships the batch that a stretch begins with; whether there was anything.
    async fn ship(&mut self, stretch: Stretch, whereto: Option<&Whereto>) -> Result<bool, Trouble> {
        let house = Arc::clone(&self.house);
        let is_probe = self.failures > 0 && self.attempt.is_none();
        let bytes_max = if is_probe { PROBE_BYTES_MAX } else { BATCH_BYTES_MAX };
        // It fails only when nobody gives permits any more.
        let _permit = permit(&house, &stretch, is_probe).await;
        let batch = self.read(stretch, whereto, bytes_max).await?;
        if batch.end == batch.from {
            return Ok(false);
        }
        let Some(Whereto { destination, is_deleted }) = whereto else {
            let why = "it was deleted, and none of them ever went anywhere";
            self.give_up(batch.lane, batch.end, batch.records.len(), why).await?;
            return Ok(true);
        };
        if !batch.records.is_empty() {
            let attempt = self.attempt_at(&batch, destination);
            let (lane, end, count) = (batch.lane, batch.end, batch.records.len());
            let taken_before = attempt.taken();
            match self.send(&attempt, batch.records).await {
                Ok(()) => self.lose(attempt.rejected.load(Ordering::Relaxed)),
                Err(error) if *is_deleted && self.is_refused_for_good(&error) => {
                    let why = format!("it was deleted, and its destination does not take them: {error}");
                    self.give_up(lane, end, count, &why).await?;
                    return Ok(true);
                }
                Err(error) => {
                    if attempt.taken() == taken_before {
                        // What comes next is small.
                        self.attempt = None;
                    }
                    return Err(Trouble::Sink(error));
                }
            }
        }
        self.refused_since = None;
        self.acknowledge(batch.lane, batch.end).await?;
        Ok(true)
    }

    /// Whether a destination whose logging configuration was deleted has refused for so long that it will not take any more.
    fn is_refused_for_good(&mut self, error: &SinkError) -> bool {
        if !error.is_lasting() {
            return false;
        }
        let since = *self.refused_since.get_or_insert_with(Instant::now);
        since.elapsed() >= self.house.deleted_time_max
    }

    async fn read(
        &self,
        stretch: Stretch,
        whereto: Option<&Whereto>,
        bytes_max: usize,
    ) -> Result<Batch, Trouble> {
        let is_same = |attempt: &&Arc<Attempt>| (attempt.lane, attempt.from) == (stretch.lane, stretch.from);
        let end = self.attempt.as_ref().filter(is_same).map(|attempt| attempt.end);
        let has_windows = matches!(whereto, Some(Whereto { destination: Destination::S3(_), .. }));
        let interval_s = self.house.window_s;
        let read = move |reader: &mut Reader| {
            let window = |record: &Record| window_of(record.time_ms, interval_s);
            let goes_on = |first: &Record, record: &Record| !has_windows || window(record) <= window(first);
            let bounds = Bounds { bytes_max, records_max: BATCH_RECORDS_MAX, end, goes_on: &goes_on };
            reader.read(&stretch, &bounds)
        };
        Ok(self.with_reader(read).await?)
    }

    /// The attempt to go on with, or a new one.
    fn attempt_at(&mut self, batch: &Batch, destination: &Destination) -> Arc<Attempt> {
        let Batch { lane, from, end, .. } = *batch;
        if let Some(attempt) = &self.attempt
            && (attempt.lane, attempt.from, attempt.end) == (lane, from, end)
            && attempt.destination == *destination
        {
            return Arc::clone(attempt);
        }
        let chains = divide(destination, &batch.records).len();
        let attempt = Arc::new(Attempt {
            lane,
            from,
            end,
            destination: destination.clone(),
            taken_parcels: (0..chains).map(|_| AtomicUsize::new(0)).collect(),
            taken_records: Arc::default(),
            rejected: AtomicUsize::new(0),
            has_failed: AtomicBool::new(false),
        });
        self.attempt = Some(Arc::clone(&attempt));
        attempt
    }

    /// Sends what of a batch was not taken yet. What is under way goes on whatever becomes of the others; once one has
    /// failed, nothing new is begun, so that a permit is not kept for one time-out after the other.
    async fn send(&self, attempt: &Arc<Attempt>, records: Vec<Record>) -> Result<(), SinkError> {
        let chains = divide(&attempt.destination, &records);
        let first_ms = records.first().map_or(0, |first| first.time_ms);
        let consignment = Arc::new(Consignment {
            key: self.spool.key.clone(),
            destination: attempt.destination.clone(),
            records: records.into(),
            window_s: window_of(first_ms, self.house.window_s),
            attempt: self.failures.saturating_add(1),
            taken: Arc::clone(&attempt.taken_records),
            _turn: Arc::clone(&self.turn),
        });
        attempt.has_failed.store(false, Ordering::Relaxed);
        // Everything is the chain's own: whoever borrowed here could not be on several threads.
        let chain_of = |(index, chain)| {
            send_chain(self.house.sink.clone(), Arc::clone(attempt), Arc::clone(&consignment), index, chain)
        };
        let sent = stream::iter(chains.into_iter().enumerate().map(chain_of).collect::<Vec<_>>())
            .buffer_unordered(CALLS_MAX)
            .fold(Ok(()), |all, one| std::future::ready(if all.is_err() { all } else { one }));
        let time_max = Duration::from_secs(SHIPMENT_SECONDS_MAX);
        let late = |_| Err(SinkError::other(format!("not taken within {SHIPMENT_SECONDS_MAX} s")));
        timeout(time_max, sent).await.unwrap_or_else(late)
    }

    async fn acknowledge(&mut self, lane: LaneName, end: Position) -> Result<(), Trouble> {
        self.attempt = None;
        Ok(self.with_reader(move |reader| reader.acknowledge(lane, end)).await?)
    }

    /// Passes over a batch that can never be delivered.
    async fn give_up(
        &mut self,
        lane: LaneName,
        end: Position,
        records: usize,
        why: &str,
    ) -> Result<(), Trouble> {
        self.lose(records);
        let configuration = self.spool.key.arn();
        tracing::error!(%configuration, records, "records of a logging configuration are lost: {why}");
        self.acknowledge(lane, end).await
    }

    fn lose(&self, records: usize) {
        if records > 0 {
            let configuration = self.spool.key.configuration;
            self.house.spools.metrics.chat_log.lose(configuration.as_str(), records as u64);
        }
    }

    fn report(&self, trouble: &Trouble) {
        let configuration = self.spool.key.arn();
        let metrics = &self.house.spools.metrics.chat_log;
        if let Trouble::Sink(error) = trouble {
            metrics.fail(self.spool.key.configuration.as_str(), error.kind);
        }
        // The first time, and then now and then.
        if !self.spool.may_complain() {
            return;
        }
        match trouble {
            Trouble::Spool(error) => {
                tracing::error!(%configuration, %error, "a chat log's spool cannot be shipped; it is tried again");
            }
            Trouble::Store(error) => {
                tracing::warn!(%configuration, %error, "where a chat log goes is not known; it is asked again");
            }
            Trouble::Sink(error) => {
                let failures = self.failures;
                tracing::error!(%configuration, %error, failures, "a chat log is not taken; it is tried again");
            }
        }
    }

    async fn with_spool<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Spool) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let spool = Arc::clone(&self.spool);
        self.with_reader(move |_reader| work(&spool)).await
    }

    async fn with_reader<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Reader) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let reader = Arc::clone(&self.reader);
        let done = tokio::task::spawn_blocking(move || work(&mut lock(&reader))).await;
        done.unwrap_or_else(|_panic| Err(io::Error::other("the work on a spool was cut off")))
    }
}

/// Sends the parcels of a chain that were not taken yet.
async fn send_chain(
    sink: Sink,
    attempt: Arc<Attempt>,
    consignment: Arc<Consignment>,
    index: usize,
    chain: Vec<Parcel>,
) -> Result<(), SinkError> {
    let taken = &attempt.taken_parcels[index];
    for parcel in chain.into_iter().skip(taken.load(Ordering::Relaxed)) {
        if attempt.has_failed.load(Ordering::Relaxed) {
            // Whoever has failed says why.
            return Ok(());
        }
        let sent = sink.send(&consignment, &parcel).await;
        attempt.has_failed.fetch_or(sent.is_err(), Ordering::Relaxed);
        let rejected = sent?;
        attempt.rejected.fetch_add(usize::try_from(rejected).unwrap_or(usize::MAX), Ordering::Relaxed);
        taken.fetch_add(1, Ordering::Relaxed);
        // They were of this parcel.
        lock(&consignment.taken).clear();
    }
    Ok(())
}

/// Leave to have a batch in memory; it may have as many bytes as the stretch, up to the most that a batch may have.
async fn permit<'a>(
    house: &'a House,
    stretch: &Stretch,
    is_probe: bool,
) -> Result<SemaphorePermit<'a>, AcquireError> {
    if is_probe {
        return house.probes.acquire().await;
    }
    let bytes = usize::try_from(stretch.bytes).unwrap_or(usize::MAX).min(BATCH_BYTES_MAX);
    let units = u32::try_from(bytes.div_ceil(SHIPMENT_UNIT_BYTES)).unwrap_or(SHIPMENT_UNITS_MAX);
    house.shipments.acquire_many(units.clamp(1, SHIPMENT_UNITS_MAX)).await
}

/// What there is, and the first record of each.
fn heads(reader: &mut Reader) -> io::Result<Vec<(Stretch, Option<Record>)>> {
    let stretches = reader.look()?;
    stretches.into_iter().map(|stretch| Ok((stretch.clone(), reader.first(&stretch)?))).collect()
}
