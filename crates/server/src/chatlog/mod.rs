//! Chat logs: what rooms with logging configurations publish, kept on disk until its destinations have it.
//!
//! | module | what it does | what it promises |
//! | --- | --- | --- |
//! | `lane` | a shard's way into the spools | what was published is with the kernel before anybody gets it |
//! | `sync` | brings that to the disk | within about a tenth of a second, and no shard waits for it |
//! | `spool`, `segment`, `record` | what is on disk | only what was written is read; whole segments are removed |
//! | `generation` | which process writes what | no number is used twice; who gives way comes first |
//! | `folders` | folders, and their names | what is on disk is found again |
//! | `reader`, `progress` | reads it in order, and remembers how far it was shipped | damage is passed over, never served |
//! | `worker`, `attempt`, `shipping` | sends it, and tries again | at least once, in order per room; nobody waits for a dead destination |
//! | `parcel`, `object` | divides batches for their destinations | a retry goes on where it was, or writes over |
//! | `sink`, `s3`, `cloudwatch_logs`, `firehose`, `folder` | destinations | what is acknowledged is there |
//! | `tail` | shows what a room publishes, out of the spool | also what is shipped and removed before it looks |
//!
//! # Limits, and what happens when they are met
//! - `chatlog.spool_mib_max` for each logging configuration: new records for it are lost, counted and logged; with
//!   `chatlog.on_failure = "refuse"` its rooms publish nothing. Others go on.
//! - A disk that takes nothing: the same, for all that it does not take.
//! - Memory: 128 MiB of batches, 32 MiB for destinations that took only some of the last one, and 64 small ones for those that
//!   took nothing, whatever their number.
//! - Descriptors: 256 open segments (or three for each shard), whatever the number of logging configurations. So many are
//!   kept from connections (`entrance`).
//!
//! `spool` says what is durable when, who reads what, and who removes it.
//!
//! # What it is not
//! Exactly once: after a crash, what was sent and not yet noted as taken is sent again.

mod attempt;
mod cloudwatch_logs;
mod firehose;
mod folder;
mod folders;
mod generation;
mod lane;
mod object;
mod parcel;
mod progress;
mod reader;
pub mod record;
mod s3;
mod segment;
mod shipping;
mod sink;
mod spool;
mod sync;
mod tail;
#[cfg(test)]
mod tests;
mod worker;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::arn::Scope;
use protocol::id::Id;
use protocol::limit::chat_log::{DELETED_SECONDS_MAX, SEGMENTS_OPEN_MAX};
use protocol::limit::member::LOGGING_CONFIGURATIONS_PER_ROOM_MAX;

use self::folder::FolderSink;
use self::lane::{Lane, Rules};
pub use self::shipping::Shipping;
use self::sink::{ServiceSet, Sink};
use self::spool::{SpoolKey, Spools};
use self::sync::Syncer;
pub use self::tail::Tail;
use crate::aws::{AwsClient, AwsService, AwsSettings};
use crate::config::{ChatLogConfig, ChatLogDelivery, ChatLogFailure, ChatLogSync, Config};
use crate::metrics::Metrics;
use crate::outgoing::{Caller, Trust};
use crate::store::Store;
use crate::telemetry::Telemetry;

/// The chat logs of a server; clones share them.
#[derive(Clone)]
pub struct ChatLogs {
    spools: Arc<Spools>,
    syncer: Arc<Syncer>,
    rules: Rules,
    sink: Sink,
    window_s: u64,
}

impl ChatLogs {
    /// Those in the data folder of a server, which is looked through. Nothing is made there before there is a record.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub fn new(config: &Config, metrics: Arc<Metrics>, telemetry: Telemetry) -> io::Result<Self> {
        let settings = AwsSettings::of_process();
        let trust = Trust::from_variables(|name| settings.get(name).map(str::to_owned));
        let client = AwsClient::new(settings, Caller::new(trust));
        let spool_bytes_max = config.chatlog.spool_mib_max.saturating_mul(1_024 * 1_024);
        let spools = Arc::new(Spools::new(&config.data_dir, spool_bytes_max, metrics));
        if let Err(error) = spools.prepare() {
            tracing::error!(%error, "the folder of chat logs cannot be looked through; the first record does it");
        }
        Ok(Self {
            syncer: Arc::new(Syncer::start(Arc::clone(&spools))?),
            spools,
            rules: rules(&config.chatlog),
            sink: Sink {
                folder: FolderSink::new(&config.data_dir),
                are_aws: services_of_aws(config.chatlog.delivery, &client),
                client,
                telemetry,
            },
            window_s: config.chatlog.s3_interval_s,
        })
    }

    /// Where a shard notes what its rooms publish.
    #[must_use]
    pub fn lane(&self, shard: u8) -> hub::chat_log::ChatLog {
        let (spools, syncer) = (Arc::clone(&self.spools), Arc::clone(&self.syncer));
        let mut lane = Lane::new(shard, self.rules, spools, syncer);
        hub::chat_log::ChatLog::new(move |entry| lane.note(entry))
    }

    /// Begins to ship what is there and what comes.
    #[must_use]
    pub fn ship(&self, store: Store) -> Shipping {
        let deleted_time_max = Duration::from_secs(DELETED_SECONDS_MAX);
        Shipping::start(Arc::clone(&self.spools), store, self.sink.clone(), self.window_s, deleted_time_max)
    }

    /// A logging configuration was changed: what waits for its destination is tried at once.
    pub fn configuration_changed(&self, scope: &Scope, configuration: Id) {
        let key = SpoolKey { scope: Arc::new(scope.clone()), configuration };
        if let Some(spool) = self.spools.known_spool(&key) {
            spool.hurried.notify_one();
        }
    }

    /// A logging configuration is about to be deleted: where its records go is remembered for those that still wait.
    pub async fn configuration_goes(&self, store: &Store, scope: &Scope, configuration: Id) {
        let key = SpoolKey { scope: Arc::new(scope.clone()), configuration };
        let Some(spool) = self.spools.known_spool(&key) else { return };
        let Ok(found) = store.get_logging_configuration(scope, configuration).await else { return };
        let remembered = tokio::task::spawn_blocking(move || spool.remember(&found.destination)).await;
        if let Ok(Err(error)) = remembered {
            let configuration = key.arn();
            tracing::error!(%configuration, %error, "where a chat log goes cannot be remembered");
        }
    }

    /// This process gives way to another one: what it still publishes comes before what that one does. May block on the disk.
    pub fn give_way(&self) {
        self.spools.give_way();
    }

    /// It did not come to that, and the other process has ended: what this one still publishes comes behind what that one did. May
    /// block on the disk.
    pub fn go_on(&self) {
        self.spools.go_on();
    }
}

/// How many files of spools a server with so many shards may have open for writing.
#[must_use]
pub fn files_max(shards: u8) -> u64 {
    let each = u64::from(shards) * LOGGING_CONFIGURATIONS_PER_ROOM_MAX as u64;
    each.max(SEGMENTS_OPEN_MAX as u64)
}

/// Locks `mutex`; a thread that panicked while it held the lock does not take the others down.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn rules(config: &ChatLogConfig) -> Rules {
    Rules {
        syncs_always: config.fsync == ChatLogSync::Always,
        refuses: config.on_failure == ChatLogFailure::Refuse,
    }
}

/// Which services are to be called, and not stood in for by folders.
fn services_of_aws(delivery: ChatLogDelivery, client: &AwsClient) -> ServiceSet {
    let is_aws = |service| match delivery {
        ChatLogDelivery::Auto => client.has_endpoint(service),
        ChatLogDelivery::Folders => false,
        ChatLogDelivery::Aws => true,
    };
    ServiceSet {
        s3: is_aws(AwsService::S3),
        cloudwatch_logs: is_aws(AwsService::CloudWatchLogs),
        firehose: is_aws(AwsService::Firehose),
    }
}
