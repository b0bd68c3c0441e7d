//! Writers and readers at the same time: what group commit saves, and whether reads notice.
//!
//! Readers share the machine with the writers, too, whatever the store does. So beside an embedded store its reader reads another one,
//! to which nobody writes: what a page there costs more than on a quiet machine is the machine's, and not the store's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use protocol::arn::Scope;
use server::store::{RoomChange, RoomFilter, Store, StoreError};
use tokio::task::JoinSet;
use tokio::time::Interval;

use super::fill;
use super::news::Pair;
use super::pages;
use super::population::Population;
use super::site::{Site, Sites};
use crate::failure::Failure;
use crate::report::{Figures, Spread};

/// From one read to the next, so that reading itself does not fill a core; of two stores in turn.
const READ_INTERVAL: Duration = Duration::from_millis(1);

/// Rooms of the store to which nobody writes.
const BYSTANDER_ROOMS: u64 = 1_000;

/// What came out.
pub(super) struct Written {
    /// Clients that wrote, each the next write when it had the answer to the last.
    pub(super) writers: u64,
    /// Acknowledged writes per second: a third each creates, updates and deletes a room.
    pub(super) writes_per_s: f64,
    /// Acknowledged writes per flush of the log to disk: per commit of the embedded engine, which is one fsync; or as the
    /// database counted them.
    pub(super) writes_per_flush: f64,
    /// Microseconds of a first page without conditions while nobody wrote.
    pub(super) quiet_read_micros: Spread,
    /// And while everybody did.
    pub(super) busy_read_micros: Spread,
    /// The same of another store in the meantime, to which nobody wrote; nothing of PostgreSQL.
    pub(super) bystander_read_micros: Option<Spread>,
    /// Milliseconds until another server knew of a change meanwhile; nothing where there can be no other.
    pub(super) news_millis: Option<Spread>,
}

impl Written {
    /// For people.
    pub(super) fn to_text(&self) -> String {
        let news = self.news_millis.as_ref().map_or_else(String::new, |millis| {
            format!("; another server knew after {} ms", millis.to_text())
        });
        let bystander = self.bystander_read_micros.as_ref().map_or_else(String::new, |micros| {
            format!(", one of another store meanwhile {} us", micros.to_text())
        });
        format!(
            "{} writers: {:.0} writes/s, {:.1} in an fsync; a first page meanwhile {} us, before {} us{bystander}{news}",
            self.writers,
            self.writes_per_s,
            self.writes_per_flush,
            self.busy_read_micros.to_text(),
            self.quiet_read_micros.to_text()
        )
    }

    /// For the report.
    pub(super) fn figures(&self) -> Figures {
        let mut figures = vec![
            ("writers", self.writers as f64),
            ("writes_per_s", self.writes_per_s),
            ("writes_per_flush", self.writes_per_flush),
            ("quiet_read_us", self.quiet_read_micros.median),
            ("busy_read_us", self.busy_read_micros.median),
        ];
        if let Some(micros) = &self.bystander_read_micros {
            figures.push(("bystander_read_us", micros.median));
        }
        if let Some(millis) = &self.news_millis {
            figures.extend([("news_ms", millis.median), ("news_ms_max", millis.most)]);
        }
        figures
    }
}

/// Reads alone for `duration`, then with `writers` clients that write for as long.
pub(super) async fn measure(
    site: &Site,
    scope: &Scope,
    population: &Population,
    writers: u64,
    duration: Duration,
) -> Result<Written, Failure> {
    let flushes_before = site.log_flushes().await?;
    let store = Store::open(&site.location()).await?;
    let mut pair = if store.is_shared() { Some(Pair::start(site, scope).await?) } else { None };
    let bystander = if store.is_shared() { None } else { Some(Bystander::open(scope).await?) };
    let (quiet, _) = read_for(&store, bystander.as_ref(), scope, duration).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let commits_before = store.counters().commits;
    let begin = Instant::now();
    let mut writing: JoinSet<Result<(), StoreError>> = JoinSet::new();
    for writer in 0..writers {
        let (store, scope, population) = (store.clone(), scope.clone(), population.clone());
        let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
        writing.spawn(async move {
            let mut number = writer;
            while !stop.load(Relaxed) {
                write_thrice(&store, &scope, &population, number).await?;
                number += writers;
                acknowledged.fetch_add(3, Relaxed);
            }
            Ok(())
        });
    }
    let watching = async {
        match &mut pair {
            Some(pair) => pair.measure(|| stop.load(Relaxed)).await,
            None => Ok(None),
        }
    };
    let reading = async {
        let busy = read_for(&store, bystander.as_ref(), scope, duration).await;
        stop.store(true, Relaxed);
        busy
    };
    let (busy, news_millis) = tokio::join!(reading, watching);
    let ((busy_read_micros, bystander_read_micros), news_millis) = (busy?, news_millis?);
    while let Some(ended) = writing.join_next().await {
        ended??;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let commits = store.counters().commits - commits_before;
    store.close().await;
    if let Some(bystander) = bystander {
        bystander.store.close().await;
    }
    if let Some(pair) = pair {
        pair.end().await?;
    }
    let flushes = match (flushes_before, site.log_flushes().await?) {
        (Some(before), Some(after)) => after - before,
        _ => commits,
    };
    let writes = acknowledged.load(Relaxed) as f64;
    Ok(Written {
        writers,
        writes_per_s: writes / seconds,
        writes_per_flush: writes / flushes.max(1) as f64,
        quiet_read_micros: quiet,
        busy_read_micros,
        bystander_read_micros,
        news_millis,
    })
}

/// Creates, changes and deletes a room, so that the store stays as large as it is.
async fn write_thrice(
    store: &Store,
    scope: &Scope,
    population: &Population,
    number: u64,
) -> Result<(), StoreError> {
    let room = store.create_room(scope, population.room(number)).await?.id;
    let change = RoomChange { name: Some(format!("renamed {number}")), ..RoomChange::default() };
    store.update_room(scope, room, change).await?;
    store.delete_room(scope, room).await
}

/// A store of its own to which nobody writes.
struct Bystander {
    store: Store,
    /// The files go with it.
    _site: Site,
}

impl Bystander {
    async fn open(scope: &Scope) -> Result<Self, Failure> {
        let site = Sites::Temporary.of(BYSTANDER_ROOMS)?;
        fill::fill_once(&site, scope, BYSTANDER_ROOMS).await?;
        Ok(Self { store: Store::open(&site.location()).await?, _site: site })
    }
}

/// Reads first pages of the store, and of the bystander in turn with it: what each takes.
async fn read_for(
    store: &Store,
    bystander: Option<&Bystander>,
    scope: &Scope,
    duration: Duration,
) -> Result<(Spread, Option<Spread>), Failure> {
    let begin = Instant::now();
    let mut ticks = tokio::time::interval(READ_INTERVAL);
    let (mut micros, mut bystander_micros) = (Vec::new(), Vec::new());
    while begin.elapsed() < duration {
        micros.push(read_at_tick(&mut ticks, store, scope).await?);
        if let Some(bystander) = bystander {
            bystander_micros.push(read_at_tick(&mut ticks, &bystander.store, scope).await?);
        }
    }
    let spread = Spread::of(&micros).ok_or_else(|| Failure::Arguments("no time to read".to_owned()))?;
    Ok((spread, Spread::of(&bystander_micros)))
}

/// The microseconds of one page.
async fn read_at_tick(ticks: &mut Interval, store: &Store, scope: &Scope) -> Result<f64, Failure> {
    ticks.tick().await;
    let read_at = Instant::now();
    pages::read(store, scope, &RoomFilter::default(), None).await?;
    Ok(read_at.elapsed().as_secs_f64() * 1e6)
}
