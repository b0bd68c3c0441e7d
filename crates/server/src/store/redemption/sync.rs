//! Brings redemptions to the disk, behind the back of those who are let in.
//!
//! A winner is told once the kernel has the record. Here a file is synced, with the name that it has in its folder,
//! within about [`REDEMPTION_SYNC_INTERVAL_MS`] of the first record that is not, so that a power cut forgets no more
//! than the last moments; and a disk that is slow, or whose syncs fail, holds nobody up.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use protocol::limit::store::{REDEMPTION_SYNC_INTERVAL_MS, REDEMPTION_SYNCS_WAITING_MAX};

use super::super::worker::Workers;

/// A file, shared by who writes to it and who syncs it.
pub(super) struct Shared {
    pub(super) file: File,
    /// Whether the syncer was asked to sync it, and has not begun.
    awaits_sync: AtomicBool,
}

impl Shared {
    pub(super) fn new(file: File) -> Arc<Self> {
        Arc::new(Self { file, awaits_sync: AtomicBool::new(false) })
    }
}

/// The thread that syncs. Dropping it syncs what waits.
pub(super) struct Syncer {
    workers: Workers<Arc<Shared>>,
}

impl Syncer {
    /// Starts the thread for the files of `folder`.
    pub(super) fn start(folder: PathBuf) -> io::Result<Self> {
        let run = move |unsynced: Receiver<Arc<Shared>>| {
            while let Ok(first) = unsynced.recv() {
                if let Err(error) = sync(&folder, &gather(first, &unsynced)) {
                    let folder = folder.display();
                    tracing::error!(%error, %folder, "cannot sync used chat tokens: a power cut may forget some");
                }
            }
        };
        let workers = Workers::start_one("store-redemption-sync", REDEMPTION_SYNCS_WAITING_MAX, run)?;
        Ok(Self { workers })
    }

    /// What has been written to `file` will be synced. Never waits.
    pub(super) fn sync_soon(&self, file: &Arc<Shared>) {
        if !file.awaits_sync.swap(true, Ordering::AcqRel) && self.workers.submit(Arc::clone(file)).is_err() {
            // The next record asks again.
            file.awaits_sync.store(false, Ordering::Release);
        }
    }
}

/// All files that come within the interval, or before the end.
fn gather(first: Arc<Shared>, unsynced: &Receiver<Arc<Shared>>) -> Vec<Arc<Shared>> {
    let end = Instant::now() + Duration::from_millis(REDEMPTION_SYNC_INTERVAL_MS);
    let mut files = vec![first];
    while let Ok(file) = unsynced.recv_timeout(end.saturating_duration_since(Instant::now())) {
        files.push(file);
    }
    files
}

/// Syncs all of them, whatever becomes of each.
fn sync(folder: &Path, files: &[Arc<Shared>]) -> io::Result<()> {
    let mut outcome = Ok(());
    for shared in files {
        // Before the sync: what is written while it is under way asks for another one.
        shared.awaits_sync.store(false, Ordering::Release);
        let synced = shared.file.sync_data();
        outcome = outcome.and(synced);
    }
    // A file's name is on the disk when its folder is. Where that has not changed, this costs next to nothing.
    outcome.and(File::open(folder)?.sync_all())
}
