//! Fills a store with rooms, through the store's own interface.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use protocol::arn::Scope;
use protocol::id::Id;
use server::store::{Destination, NewLoggingConfiguration, Store, StoreError, Tags};
use tokio::task::JoinSet;

use super::population::{LOGGING_CONFIGURATIONS, Population};
use crate::failure::Failure;

/// Rooms that are being created at the same time: as many as the writer puts into one commit.
const AT_ONCE: u64 = 512;
/// How often the progress is shown.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// What filling a store took.
pub(super) struct Filled {
    /// What the rooms were made from.
    pub(super) population: Population,
    /// Wall time.
    pub(super) seconds: f64,
}

/// Creates the logging configurations and `rooms` rooms.
pub(super) async fn fill(store: &Store, scope: &Scope, rooms: u64) -> Result<Filled, Failure> {
    let population =
        Population { logging_configurations: create_logging_configurations(store, scope).await? };
    let begin = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    let mut creators: JoinSet<Result<(), StoreError>> = JoinSet::new();
    for _ in 0..AT_ONCE.min(rooms) {
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
    Ok(Filled { population, seconds: begin.elapsed().as_secs_f64() })
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

/// Bytes of the files of a folder.
pub(super) fn folder_bytes(folder: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).map_err(Failure::io("list the store's folder"))? {
        let entry = entry.map_err(Failure::io("list the store's folder"))?;
        bytes += entry.metadata().map_err(Failure::io("look at the store's files"))?.len();
    }
    Ok(bytes)
}
