//! Ships the records of one spool: reads a batch, sends it, notes that it was taken, and so on; what was not taken is tried
//! again, for as long as it takes.
//!
//! Promises:
//! - At least once: a batch is acknowledged when its destination has taken all of it. A try goes on where the last one of its
//!   lane in the same process has stopped: what is known to be taken comes once.
//! - In order, for each room.
//! - A destination that fails keeps nobody else waiting: a worker has a spool to itself; one that took nothing gets a small
//!   batch the next time, of which there may be many at once; those that took some of one wait for each other only; and nothing is kept in memory between two tries but how far the
//!   last one of each lane came. A lane that fails is not the first one of the next turn, so no lane waits for another one.
//! - Records go where their logging configuration says when they are shipped; so one that is corrected lets what has
//!   waited through. When it is deleted, what is left goes where it went last, and is given up for lost when that
//!   destination has been gone, too, or has denied access, for a day.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
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

use super::attempt::{Attempt, Taken};
use super::lock;
use super::object::window_of;
use super::parcel::{Parcel, divide};
use super::progress::{LaneName, Position};
use super::reader::{Batch, Bounds, Reader, Stretch};
use super::record::Record;
use super::shipping::House;
use super::sink::{Consignment, Sink, SinkError};
use super::spool::{Spool, SpoolKey};
use crate::clock;
use crate::store::{Destination, StoreError};

/// Nobody tells of what another process writes, so it is looked for.
const LOOK_WITH_OTHERS: Duration = Duration::from_secs(1);
/// How often it is looked whether a window is over.
const LOOK_AT_WINDOW: Duration = Duration::from_secs(30);
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
    /// By lane, the batch that was not taken as a whole.
    attempts: HashMap<LaneName, Attempt>,
    /// No large batch was taken at the first try since one was not.
    has_struggled: bool,
    /// The lane whose failure has ended the last turn that had one.
    failed_lane: Option<LaneName>,
    /// Tries in a row that have failed; one that got somewhere is the first.
    failures: u32,
    /// The destination of a deleted logging configuration has denied access, or was not there, since then.
    refused_since: Option<Instant>,
    /// Where records go could not be written down the last time.
    is_forgetful: bool,
    /// There was nothing to ship since then.
    idle_since: Option<Instant>,
}

/// Where records are to go.
struct Whereto {
    destination: Destination,
    /// The logging configuration does not exist any more.
    is_deleted: bool,
}

/// What of a lane a batch is.
#[derive(Clone, Copy)]
struct Extent {
    lane: LaneName,
    end: Position,
    records: usize,
}

impl Extent {
    fn of(batch: &Batch) -> Self {
        Self { lane: batch.lane, end: batch.end, records: batch.records.len() }
    }
}

/// What came of a look.
enum Turn {
    /// Some were shipped; there may be more.
    Shipped,
    /// There is nothing to ship.
    Idle,
    /// There is something, but not yet; or as soon as the spool has so many bytes.
    NotBefore(Duration, Option<u64>),
    /// There is nothing, and nothing is to come: the spool was removed.
    Over,
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
            attempts: HashMap::new(),
            has_struggled: false,
            failed_lane: None,
            failures: 0,
            refused_since: None,
            is_forgetful: false,
            idle_since: None,
        }
    }

    /// Works until told to stop, or to finish and nothing is left that can be shipped.
    pub(super) async fn run(mut self) {
        while !self.house.stop.is_cancelled() {
            let house = Arc::clone(&self.house);
            let Some(turned) = house.cut_off.run_until_cancelled(self.turn()).await else { return };
            let (pause, bytes_awaited) = match turned {
                Ok(Turn::Shipped) => continue,
                Ok(Turn::Over) => return,
                Ok(Turn::Idle) if house.hurries() => return,
                Ok(Turn::Idle) => (if house.has_others() { LOOK_WITH_OTHERS } else { IDLE }, Some(0)),
                Ok(Turn::NotBefore(pause, bytes)) => (pause, bytes),
                Err(trouble) => {
                    self.failures += 1;
                    self.report(&trouble);
                    if house.hurries() {
                        return;
                    }
                    (self.backoff(), None)
                }
            };
            self.wait(pause, bytes_awaited).await;
        }
    }

    /// Waits so long, or until it is to hurry, to stop, or there are records and so many bytes in the spool.
    async fn wait(&self, pause: Duration, bytes_awaited: Option<u64>) {
        let mut end = pin!(sleep(pause));
        loop {
            tokio::select! {
                () = &mut end => return,
                () = self.spool.hurried.notified() => return,
                () = self.spool.written.notified(), if bytes_awaited.is_some() => {
                    if bytes_awaited.is_some_and(|bytes| self.spool.bytes() >= bytes) {
                        return;
                    }
                }
                () = self.house.stop.cancelled() => return,
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
        let mut heads = self.with_reader(heads).await?;
        let oldest = heads.iter().filter_map(|(_, first)| first.as_ref()).map(|first| first.time_ms).min();
        self.spool.oldest_ms.store(oldest.unwrap_or(0), Ordering::Relaxed);
        self.attempts.retain(|lane, _| heads.iter().any(|(stretch, _)| stretch.lane == *lane));
        if heads.is_empty() {
            self.failures = 0;
            return Ok(if self.rest().await? { Turn::Over } else { Turn::Idle });
        }
        self.idle_since = None;
        let whereto = self.whereto().await?;
        let behind = |(stretch, _): &(Stretch, _)| Some(stretch.lane) > self.failed_lane;
        let first = heads.iter().position(behind).unwrap_or(0);
        heads.rotate_left(first);
        let mut pauses = Vec::new();
        let mut has_shipped = false;
        for (stretch, first) in heads {
            let lane = stretch.lane;
            let pause = first.as_ref().and_then(|first| self.pause_before(&stretch, first, whereto.as_ref()));
            match pause {
                Some(pause) => pauses.push(pause),
                None => {
                    let shipped = self.ship(stretch, whereto.as_ref()).await;
                    has_shipped |= shipped.inspect_err(|_| self.failed_lane = Some(lane))?;
                }
            }
        }
        let enough = self.spool.bytes_wanted().min(BATCH_BYTES_MAX as u64);
        Ok(match pauses.into_iter().min() {
            _ if has_shipped => Turn::Shipped,
            // To read what there is once more would tell nothing new.
            Some(pause) if self.spool.bytes() < enough && !self.house.has_others() => {
                Turn::NotBefore(pause, Some(enough))
            }
            Some(pause) => Turn::NotBefore(pause.min(LOOK_WITH_OTHERS), None),
            None => Turn::Idle,
        })
    }

    /// There is nothing to ship. After a while, segments that are still written to go, too, and the spool with them when its
    /// logging configuration was deleted: whether it did.
    async fn rest(&mut self) -> io::Result<bool> {
        if self.idle_since.get_or_insert_with(Instant::now).elapsed() < IDLE {
            return Ok(false);
        }
        self.idle_since = None;
        self.with_reader(Reader::retire).await?;
        let SpoolKey { scope, configuration } = &self.spool.key;
        let found = self.house.store.get_logging_configuration(scope, *configuration).await;
        let is_deleted = matches!(found, Err(StoreError::LoggingConfigurationNotFound(_)));
        if !is_deleted || self.house.has_others() {
            return Ok(false);
        }
        let spools = Arc::clone(&self.house.spools);
        self.with_spool(move |spool| spools.retire(spool)).await
    }

    /// Where records go, as the logging configuration says now; `None` when it was deleted and none went anywhere.
    async fn whereto(&mut self) -> Result<Option<Whereto>, Trouble> {
        let key = self.spool.key.clone();
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
            let wanted = destination.clone();
            let remembered = self.with_spool(move |spool| spool.remember(&wanted)).await;
            // To ship is what makes place on a full disk: it does not wait for this.
            if let Err(error) = &remembered
                && !self.is_forgetful
            {
                let configuration = self.spool.key.arn();
                tracing::error!(%configuration, %error, "where a chat log goes cannot be remembered; it is shipped all the same");
            }
            self.is_forgetful = remembered.is_err();
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
            // What is published soon would have no place.
            || self.spool.bytes() >= self.spool.bytes_wanted()
            || first.time_ms > now_ms + AHEAD_MS_MAX;
        // Looked at again before that: the clock may be set, or the destination be changed by another server.
        (!is_due).then(|| Duration::from_millis(due_ms - now_ms).min(LOOK_AT_WINDOW))
    }

    /// Ships the batch that a stretch begins with; whether there was anything.
    async fn ship(&mut self, stretch: Stretch, whereto: Option<&Whereto>) -> Result<bool, Trouble> {
        let house = Arc::clone(&self.house);
        let is_stuck = self.attempts.get(&stretch.lane).is_none_or(|attempt| attempt.is_stuck);
        let is_probe = self.failures > 0 && is_stuck;
        let bytes_max = if is_probe { PROBE_BYTES_MAX } else { BATCH_BYTES_MAX };
        // It fails only when nobody gives permits any more.
        let _permit = permit(&house, &stretch, is_probe, self.has_struggled).await;
        let batch = self.read(stretch, whereto, bytes_max).await?;
        if batch.end == batch.from {
            return Ok(false);
        }
        let Some(Whereto { destination, is_deleted }) = whereto else {
            let why = "it was deleted, and none of them ever went anywhere";
            self.give_up(&Extent::of(&batch), batch.records.len(), why).await?;
            return Ok(true);
        };
        let extent = Extent::of(&batch);
        let taken = self.attempt_at(&batch, destination);
        let left = taken.left(batch.records.len());
        if !left.is_empty() {
            let sent = self.send(destination, &taken, batch.records, &left).await;
            self.lose(taken.newly_rejected());
            let left_now = taken.left(extent.records).len();
            match sent {
                Ok(()) => {
                    self.failures = 0;
                    self.has_struggled &= is_probe || left.len() < extent.records;
                }
                Err(error) if *is_deleted && self.is_refused_for_good(&error) => {
                    let why = format!("it was deleted, and its destination does not take them: {error}");
                    self.give_up(&extent, left_now, &why).await?;
                    return Ok(true);
                }
                Err(error) => {
                    let is_stuck = left_now == left.len();
                    if let Some(attempt) = self.attempts.get_mut(&extent.lane) {
                        attempt.is_stuck = is_stuck;
                    }
                    self.failures = if is_stuck { self.failures } else { 0 };
                    self.has_struggled = true;
                    return Err(Trouble::Sink(error));
                }
            }
            self.refused_since = None;
        }
        self.acknowledge(&extent).await?;
        Ok(true)
    }

    /// Whether a destination whose logging configuration was deleted has refused for so long that it will not take any more.
    fn is_refused_for_good(&mut self, error: &SinkError) -> bool {
        if !error.is_lasting() {
            // It may take them when it can be reached.
            self.refused_since = None;
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
        let attempt = self.attempts.get(&stretch.lane).filter(|attempt| attempt.from == stretch.from);
        let end = attempt.map(|attempt| attempt.end);
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

    /// What was taken of a batch before.
    fn attempt_at(&mut self, batch: &Batch, destination: &Destination) -> Arc<Taken> {
        let Batch { lane, from, end, .. } = *batch;
        let goes_on = |attempt: &&Attempt| attempt.from == from && attempt.destination == *destination;
        if let Some(attempt) = self.attempts.get(&lane).filter(goes_on) {
            return Arc::clone(&attempt.taken);
        }
        let taken = Arc::<Taken>::default();
        let destination = destination.clone();
        self.attempts
            .insert(lane, Attempt { from, end, destination, taken: Arc::clone(&taken), is_stuck: false });
        taken
    }

    /// Sends what of a batch is left. What is under way goes on whatever becomes of the others; once one has failed, nothing
    /// new is begun, so that a permit is not kept for one time-out after the other.
    async fn send(
        &self,
        destination: &Destination,
        taken: &Arc<Taken>,
        records: Vec<Record>,
        left: &[usize],
    ) -> Result<(), SinkError> {
        let chains = divide(destination, &records, left);
        let first_ms = records.first().map_or(0, |first| first.time_ms);
        let consignment = Arc::new(Consignment {
            key: self.spool.key.clone(),
            destination: destination.clone(),
            records: records.into(),
            window_s: window_of(first_ms, self.house.window_s),
            attempt: self.failures.saturating_add(1),
            taken: Arc::clone(taken),
            _turn: Arc::clone(&self.turn),
        });
        let has_failed = Arc::new(AtomicBool::new(false));
        // Everything is the chain's own: whoever borrowed here could not be on several threads.
        let chain_of = |chain| {
            send_chain(self.house.sink.clone(), Arc::clone(&has_failed), Arc::clone(&consignment), chain)
        };
        let sent = stream::iter(chains.into_iter().map(chain_of).collect::<Vec<_>>())
            .buffer_unordered(CALLS_MAX)
            .fold(Ok(()), |all, one| std::future::ready(if all.is_err() { all } else { one }));
        let time_max = Duration::from_secs(SHIPMENT_SECONDS_MAX);
        let late = |_| Err(SinkError::other(format!("not taken within {SHIPMENT_SECONDS_MAX} s")));
        timeout(time_max, sent).await.unwrap_or_else(late)
    }

    async fn acknowledge(&mut self, extent: &Extent) -> Result<(), Trouble> {
        let Extent { lane, end, records } = *extent;
        if let Some(attempt) = self.attempts.get_mut(&lane).filter(|attempt| attempt.end > end) {
            // It was a small batch: how far the large one came before is still known.
            attempt.from = end;
            attempt.taken.drop_first(records);
            attempt.is_stuck = false;
        } else {
            self.attempts.remove(&lane);
        }
        Ok(self.with_reader(move |reader| reader.acknowledge(lane, end)).await?)
    }

    /// Passes over a batch that can never be delivered, and of which so many records are left.
    async fn give_up(&mut self, extent: &Extent, records: usize, why: &str) -> Result<(), Trouble> {
        self.lose(records as u64);
        let configuration = self.spool.key.arn();
        tracing::error!(%configuration, records, "records of a logging configuration are lost: {why}");
        self.acknowledge(extent).await
    }

    fn lose(&self, records: u64) {
        if records > 0 {
            let configuration = self.spool.key.configuration;
            self.house.spools.metrics.chat_log.lose(configuration.as_str(), records);
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

/// Sends the parcels of a chain.
async fn send_chain(
    sink: Sink,
    has_failed: Arc<AtomicBool>,
    consignment: Arc<Consignment>,
    chain: Vec<Parcel>,
) -> Result<(), SinkError> {
    for parcel in chain {
        if has_failed.load(Ordering::Relaxed) {
            // Whoever has failed says why.
            return Ok(());
        }
        let sent = sink.send(&consignment, &parcel).await;
        has_failed.fetch_or(sent.is_err(), Ordering::Relaxed);
        consignment.taken.reject(sent?);
        consignment.taken.add(parcel.records);
    }
    Ok(())
}

/// Leave to have a batch in memory; it may have as many bytes as the stretch, up to the most that a batch may have.
async fn permit<'a>(
    house: &'a House,
    stretch: &Stretch,
    is_probe: bool,
    has_struggled: bool,
) -> Result<SemaphorePermit<'a>, AcquireError> {
    if is_probe {
        return house.probes.acquire().await;
    }
    let bytes = usize::try_from(stretch.bytes).unwrap_or(usize::MAX).min(BATCH_BYTES_MAX);
    let units = u32::try_from(bytes.div_ceil(SHIPMENT_UNIT_BYTES)).unwrap_or(SHIPMENT_UNITS_MAX);
    // Who takes a little of each batch, and slowly, keeps nobody waiting who takes all of them.
    let shipments = if has_struggled { &house.retries } else { &house.shipments };
    shipments.acquire_many(units.max(1)).await
}

/// What there is, and the first record of each.
fn heads(reader: &mut Reader) -> io::Result<Vec<(Stretch, Option<Record>)>> {
    let stretches = reader.look()?;
    stretches.into_iter().map(|stretch| Ok((stretch.clone(), reader.first(&stretch)?))).collect()
}
