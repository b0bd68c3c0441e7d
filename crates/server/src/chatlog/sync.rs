//! Brings what shards have written to the disk, behind their back, and tells whoever ships that it is there.
//!
//! Promises: a record is on disk, with the names of its file and of the folders above, within about a tenth of a second, if the disk is as fast; a
//! disk that is slow, or whose syncs fail, holds no shard up (but with `chatlog.fsync = "always"`, when they sync themselves).

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use protocol::limit::chat_log::{SYNC_INTERVAL_MS, SYNCS_WAITING_MAX};

use super::segment::Segment;
use super::spool::{Spool, Spools};

/// What waits for a sync.
type Unsynced = (Arc<Spool>, Arc<Segment>);

/// The thread that syncs. Dropping it syncs what waits.
pub(super) struct Syncer {
    queue: Option<SyncSender<Unsynced>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// Starts the thread.
    pub(super) fn start(spools: Arc<Spools>) -> io::Result<Self> {
        let (queue, unsynced) = sync_channel(SYNCS_WAITING_MAX);
        let run = move || {
            while let Ok(first) = unsynced.recv() {
                sync_all(&spools, gather(first, &unsynced));
            }
        };
        let thread = Builder::new().name("chatlog-sync".to_owned()).spawn(run)?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// What has been committed to `segment` will be synced. Never waits.
    pub(super) fn sync_soon(&self, spool: &Arc<Spool>, segment: &Arc<Segment>) {
        if segment.awaits_sync.swap(true, Ordering::AcqRel) {
            return;
        }
        let sent = self.queue.as_ref().map(|queue| queue.try_send((Arc::clone(spool), Arc::clone(segment))));
        if !matches!(sent, Some(Ok(()))) {
            // The next record asks again.
            segment.awaits_sync.store(false, Ordering::Release);
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic was already reported by the panic hook.
            let _ = thread.join();
        }
    }
}

/// All that come within the interval, or before the end.
fn gather(first: Unsynced, unsynced: &Receiver<Unsynced>) -> Vec<Unsynced> {
    let end = Instant::now() + Duration::from_millis(SYNC_INTERVAL_MS);
    let mut all = vec![first];
    while let Ok(next) = unsynced.recv_timeout(end.saturating_duration_since(Instant::now())) {
        all.push(next);
    }
    all
}

/// Syncs each, whatever becomes of the others, and then the folders that they are in.
fn sync_all(spools: &Spools, all: Vec<Unsynced>) {
    let mut by_folder: BTreeMap<String, (Arc<Spool>, io::Result<()>)> = BTreeMap::new();
    for (spool, segment) in all {
        // Before the sync: what is committed while it is under way asks for another one.
        segment.awaits_sync.store(false, Ordering::Release);
        let synced = segment.sync();
        let (_, outcome) = by_folder.entry(spool.key.to_string()).or_insert((spool, Ok(())));
        if outcome.is_ok() {
            *outcome = synced;
        }
    }
    for (spool, outcome) in by_folder.into_values() {
        // Where a folder has not changed, this costs next to nothing.
        if let Err(error) = outcome.and_then(|()| spool.sync_names()) {
            spools.metrics.chat_log.sync_failures.inc();
            if spool.may_complain() {
                let configuration = spool.key.arn();
                tracing::error!(%error, %configuration, "cannot sync a chat log: a power cut may forget its last records");
            }
        }
        // Also when it failed: to ship what may be forgotten is the better for it.
        spool.written.notify_one();
    }
}
