//! Fills a store with rooms, through the store's own interface.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use protocol::arn::Scope;
use protocol::id::Id;
use serde_json::json;
use server::store::{Destination, NewLoggingConfiguration, Store, StoreError, Tags};
use tokio::task::JoinSet;

use super::population::{LOGGING_CONFIGURATIONS, Population};
use super::site::Site;
use crate::failure::Failure;

/// Rooms that are being created at the same time: as many as the embedded engine's writer puts into one commit.
const AT_ONCE: u64 = 512;
/// The same on PostgreSQL, whose connections do a few at a time: the others must not wait for too long.
const AT_ONCE_IN_DATABASE: u64 = 128;
/// How often the progress is shown.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// A store that is full, and what filling it took.
pub(super) struct Filled {
    /// What the rooms were made from.
    pub(super) population: Population,
    /// Rooms per second of wall time.
    pub(super) created_per_s: f64,
    /// Commits that held them.
    pub(super) commits: f64,
    /// Bytes of the store afterwards, per room.
    pub(super) file_bytes_per_room: f64,
}

/// Fills the store, unless that was done before.
pub(super) async fn fill_once(site: &Site, scope: &Scope, rooms: u64) -> Result<Filled, Failure> {
    site.prepare().await?;
    let store = Store::open(&site.location()).await?;
    let Some(note) = site.note().await? else {
        let logging_configurations = create_logging_configurations(&store, scope).await?;
        let population = Population { logging_configurations };
        let at_once = if store.is_shared() { AT_ONCE_IN_DATABASE } else { AT_ONCE };
        let seconds = create_rooms(&store, scope, &population, rooms, at_once).await?;
        let commits = store.counters().commits;
        store.close().await;
        let note = json!({
            "created_per_s": rooms as f64 / seconds,
            "commits": commits,
            "file_bytes_per_room": site.bytes().await? as f64 / rooms as f64,
        });
        site.keep_note(&note).await?;
        return Box::pin(fill_once(site, scope, rooms)).await;
    };
    let logging_configurations = logging_configurations(&store, scope).await?;
    store.close().await;
    let figure = |name: &str| note[name].as_f64().unwrap_or_default();
    Ok(Filled {
        population: Population { logging_configurations },
        created_per_s: figure("created_per_s"),
        commits: figure("commits"),
        file_bytes_per_room: figure("file_bytes_per_room"),
    })
}

/// Creates rooms, with a progress bar; the seconds it took.
async fn create_rooms(
    store: &Store,
    scope: &Scope,
    population: &Population,
    rooms: u64,
    at_once: u64,
) -> Result<f64, Failure> {
    let begin = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    let mut creators: JoinSet<Result<(), StoreError>> = JoinSet::new();
    for _ in 0..at_once.min(rooms) {
        let (store, scope, population, next) =
            (store.clone(), scope.clone(), population.clone(), Arc::clone(&next));
        creators.spawn(async move {
            while let Some(number) = Some(next.fetch_add(1, Relaxed)).filter(|number| *number < rooms) {
                store.create_room(&scope, population.room(number)).await?;
            }
            Ok(())
        });
    }
    let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
    loop {
        tokio::select! {
            ended = creators.join_next() => match ended {
                Some(ended) => ended??,
                None => break,
            },
            _ = ticks.tick() => show_progress(next.load(Relaxed).min(rooms), rooms, begin.elapsed()),
        }
    }
    show_progress(rooms, rooms, begin.elapsed());
    eprintln!();
    Ok(begin.elapsed().as_secs_f64())
}

/// The ids of those that [`create_logging_configurations`] made, in its order.
async fn logging_configurations(store: &Store, scope: &Scope) -> Result<Vec<Id>, Failure> {
    let newest_first = store.list_logging_configurations(scope, None, LOGGING_CONFIGURATIONS).await?.entries;
    Ok(newest_first.iter().rev().map(|made| made.id).collect())
}

async fn create_logging_configurations(store: &Store, scope: &Scope) -> Result<Vec<Id>, Failure> {
    let mut ids = Vec::new();
    for number in 0..LOGGING_CONFIGURATIONS {
        let new = NewLoggingConfiguration {
            name: format!("logs-{number}"),
            destination: Destination::S3(format!("chat-logs-{number}")),
            tags: Tags::new(),
        };
        let made = store.create_logging_configuration(scope, new).await?;
        ids.push(made.id);
    }
    Ok(ids)
}

/// A bar on a terminal; in a file one line, which would otherwise be all bars.
fn show_progress(done: u64, all: u64, elapsed: Duration) {
    const WIDTH: u64 = 40;
    if !std::io::stderr().is_terminal() && done < all {
        return;
    }
    let full = usize::try_from(done * WIDTH / all.max(1)).unwrap_or_default();
    let empty = usize::try_from(WIDTH).unwrap_or_default() - full;
    let rate = done as f64 / elapsed.as_secs_f64().max(0.001);
    eprint!("\r[{}{}] {done} of {all} rooms, {rate:.0}/s ", "#".repeat(full), "-".repeat(empty));
}
