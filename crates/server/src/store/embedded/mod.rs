//! The embedded engine: SQLite in the data folder, or in memory.
//!
//! The story, in the order of the files: `database` opens the file and claims its folder, through a `vfs` that puts a
//! `checksum` on every page; `schema` brings it up to date (`migrations/`); `posting` is what makes ListRooms one range read and `rooms` keeps it in step; `writer`
//! commits writes in groups with keys from `order_clock`, each of which is a new `edition`; `reader` serves reads beside it; `check` verifies it all,
//! `repair` puts right what can be derived, `backup` copies it, and `transfer` takes it to another engine, or from there.
//!
//! What is on disk when a write is answered: the commit, in SQLite's write-ahead log, synced.

mod backup;
mod check;
mod checksum;
mod database;
mod edition;
mod keys;
mod logging_configurations;
mod order_clock;
mod posting;
mod reader;
mod repair;
mod rooms;
mod schema;
mod scopes;
#[cfg(test)]
mod tests;
mod transfer;
mod values;
mod vfs;
mod writer;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use protocol::arn::{ResourceKind, Scope};
use protocol::id::Id;
use protocol::limit::transfer::TOKENS_PER_BATCH;
use protocol::time::UnixMicros;
use rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::mpsc::Sender;

pub(super) use self::backup::back_up;
#[cfg(test)]
pub(super) use self::database::open_behind_its_back;
use self::database::{ClaimedFolder, Database};
use self::edition::Edition;
use self::reader::Readers;
use self::scopes::KnownScopes;
pub(super) use self::transfer::{import, require_vacant};
use self::writer::{Group, Writer};
use super::change::TagChange;
use super::random::{fill_random, random_id};
use super::redemption::Redemptions;
use super::transfer::{Batch, unwanted};
use super::worker::lock;
use super::{
    Checked, Contents, Counters, KeyPurpose, Location, LoggingConfiguration, LoggingConfigurationChange,
    NewLoggingConfiguration, NewRoom, OrderKey, Page, Redemption, Room, RoomChange, RoomFilter, RoomSink,
    Settings, StoreError, StoredKey, Taggable, Tags, parts,
};
use crate::metrics::StoreMeters;

/// An open store. Dropping it stops its threads and waits for them.
pub struct Embedded {
    // In this order they are dropped: what uses the folder first, the claim on it last.
    readers: Readers,
    writer: Writer,
    edition: Arc<Edition>,
    known_scopes: Arc<KnownScopes>,
    redemptions: Redemptions,
    meters: Arc<Meters>,
    folder: Mutex<Option<ClaimedFolder>>,
}

/// What [`Counters`] shows, while it is counted.
#[derive(Default)]
struct Meters {
    reads: AtomicU64,
    writes: AtomicU64,
    commits: AtomicU64,
    failed_groups: AtomicU64,
    reopened: AtomicU64,
    checkpoints: AtomicU64,
    groups: Arc<StoreMeters>,
}

impl Embedded {
    /// Opens the store; blocks on the disk meanwhile.
    pub(super) fn open(location: &Location, settings: &Settings) -> Result<Self, StoreError> {
        let folder = location.folder()?.map(ClaimedFolder::claim).transpose()?;
        let (database, connection) = Database::open(location)?;
        let redemptions = Redemptions::open(location, Arc::clone(&settings.now))?;
        let meters = Arc::new(Meters { groups: Arc::clone(&settings.meters), ..Meters::default() });
        // The readers' connections live from before the writer's first commit until after its last, so that a writer
        // that is reopened finds the log's index as it was (see `writer`).
        let readers = Readers::start(&database, Arc::clone(&meters))?;
        let edition = Arc::default();
        let writer =
            Writer::start(database, connection, settings, Arc::clone(&edition), Arc::clone(&meters))?;
        let (known_scopes, folder) = (Arc::default(), Mutex::new(folder));
        Ok(Self { readers, writer, edition, known_scopes, redemptions, meters, folder })
    }

    /// Opens the store that is there. Blocks on the disk meanwhile.
    pub(super) fn open_existing(location: &Location, settings: &Settings) -> Result<Self, StoreError> {
        database::existing(location)?;
        Self::open(location, settings)
    }

    /// Finishes what waits, closes the files and gives the folder free. Blocks meanwhile.
    pub(super) fn close(&self) {
        // Locked until all is closed: a second call waits, and does not give free what the first still writes.
        let mut folder = lock(&self.folder);
        // Another process may write from now on.
        self.edition.unsettle();
        self.readers.stop();
        self.writer.stop();
        self.redemptions.stop();
        folder.take();
    }

    pub(super) fn counters(&self) -> Counters {
        let Meters { reads, writes, commits, failed_groups, reopened, checkpoints, groups: _ } =
            &*self.meters;
        Counters {
            reads: reads.load(Relaxed),
            writes: writes.load(Relaxed),
            commits: commits.load(Relaxed),
            failed_groups: failed_groups.load(Relaxed),
            reopened: reopened.load(Relaxed),
            checkpoints: checkpoints.load(Relaxed),
        }
    }

    pub(super) fn edition(&self) -> Option<u64> {
        self.edition.settled()
    }

    pub(super) async fn check(&self) -> Result<Checked, StoreError> {
        self.readers.read_apart(check::check).await
    }

    pub(super) async fn repair(&self) -> Result<(), StoreError> {
        self.write(repair::repair).await
    }

    pub(super) async fn contents(&self) -> Result<Contents, StoreError> {
        let tables = self.readers.read_apart(|connection| Ok(transfer::count(connection)?)).await?;
        Ok(Contents { used_tokens: self.redemptions.count(), ..tables })
    }

    pub(super) async fn export(&self, batches: Sender<Batch>) -> Result<(), StoreError> {
        let (tables, used_tokens) = (batches.clone(), self.redemptions.count());
        self.readers.read_apart(move |connection| transfer::export(connection, used_tokens, &tables)).await?;
        for bucket in self.redemptions.buckets() {
            for token_ids in self.redemptions.tokens_of(bucket).chunks(TOKENS_PER_BATCH) {
                let batch = Batch::UsedTokens(bucket, token_ids.to_vec());
                batches.send(batch).await.map_err(unwanted)?;
            }
        }
        batches.send(Batch::End).await.map_err(unwanted)
    }

    pub(super) async fn create_room(&self, scope: &Scope, room: NewRoom) -> Result<Room, StoreError> {
        let scope = scope.clone();
        self.write(move |group| rooms::create(group, &scope, room)).await
    }

    pub(super) async fn get_room(&self, scope: &Scope, id: Id) -> Result<Room, StoreError> {
        let scope = scope.clone();
        self.readers.read(move |connection| rooms::get(connection, &scope, id)).await
    }

    pub(super) async fn update_room(
        &self,
        scope: &Scope,
        id: Id,
        change: RoomChange,
    ) -> Result<Room, StoreError> {
        let scope = scope.clone();
        self.write(move |group| rooms::update(group, &scope, id, change)).await
    }

    pub(super) async fn delete_room(&self, scope: &Scope, id: Id) -> Result<(), StoreError> {
        let scope = scope.clone();
        self.write(move |group| rooms::delete(group, &scope, id)).await
    }

    pub(super) async fn list_rooms<S: RoomSink>(
        &self,
        scope: &Scope,
        filter: &RoomFilter,
        after: Option<OrderKey>,
        limit: usize,
        sink: S,
    ) -> Result<Page<S>, StoreError> {
        let (scope, filter, known_scopes) = (scope.clone(), filter.clone(), Arc::clone(&self.known_scopes));
        let read = move |connection: &Connection| {
            posting::list(connection, &known_scopes, &scope, &filter, after, limit, sink)
        };
        self.readers.read(read).await
    }

    pub(super) async fn create_logging_configuration(
        &self,
        scope: &Scope,
        new: NewLoggingConfiguration,
    ) -> Result<LoggingConfiguration, StoreError> {
        let scope = scope.clone();
        self.write(move |group| logging_configurations::create(group, &scope, new)).await
    }

    pub(super) async fn get_logging_configuration(
        &self,
        scope: &Scope,
        id: Id,
    ) -> Result<LoggingConfiguration, StoreError> {
        let scope = scope.clone();
        self.readers.read(move |connection| logging_configurations::get(connection, &scope, id)).await
    }

    pub(super) async fn update_logging_configuration(
        &self,
        scope: &Scope,
        id: Id,
        change: LoggingConfigurationChange,
    ) -> Result<LoggingConfiguration, StoreError> {
        let scope = scope.clone();
        self.write(move |group| logging_configurations::update(group, &scope, id, change)).await
    }

    pub(super) async fn delete_logging_configuration(&self, scope: &Scope, id: Id) -> Result<(), StoreError> {
        let scope = scope.clone();
        self.write(move |group| logging_configurations::delete(group, &scope, id)).await
    }

    pub(super) async fn list_logging_configurations(
        &self,
        scope: &Scope,
        after: Option<OrderKey>,
        limit: usize,
    ) -> Result<Page<Vec<LoggingConfiguration>>, StoreError> {
        let scope = scope.clone();
        self.readers
            .read(move |connection| logging_configurations::list(connection, &scope, after, limit))
            .await
    }

    pub(super) async fn has_at_least(
        &self,
        scope: &Scope,
        kind: ResourceKind,
        count: u32,
    ) -> Result<bool, StoreError> {
        let scope = scope.clone();
        let read = move |connection: &Connection| Ok(scopes::has_at_least(connection, &scope, kind, count)?);
        self.readers.read(read).await
    }

    pub(super) async fn tags(&self, resource: &Taggable) -> Result<Tags, StoreError> {
        let (scope, kind, id) = parts(resource)?;
        let read = move |connection: &Connection| match kind {
            ResourceKind::Room => rooms::tags(connection, &scope, id),
            ResourceKind::LoggingConfiguration => logging_configurations::tags(connection, &scope, id),
        };
        self.readers.read(read).await
    }

    pub(super) async fn change_tags(&self, resource: &Taggable, change: TagChange) -> Result<(), StoreError> {
        let (scope, kind, id) = parts(resource)?;
        let write = move |group: &mut Group<'_>| match kind {
            ResourceKind::Room => rooms::change_tags(group, &scope, id, change),
            ResourceKind::LoggingConfiguration => {
                logging_configurations::change_tags(group, &scope, id, change)
            }
        };
        self.write(write).await
    }

    pub(super) async fn keys(&self, purpose: KeyPurpose) -> Result<Vec<StoredKey>, StoreError> {
        let keys = self.readers.read(move |connection| keys::all(connection, purpose)).await?;
        if !keys.is_empty() {
            return Ok(keys);
        }
        self.write(move |group| keys::all_or_first(group, purpose)).await
    }

    pub(super) async fn rotate_key(
        &self,
        purpose: KeyPurpose,
        forget_before: UnixMicros,
    ) -> Result<Vec<StoredKey>, StoreError> {
        self.write(move |group| keys::rotate(group, purpose, forget_before)).await
    }

    pub(super) async fn redeem(&self, redemption: &Redemption) -> Result<bool, StoreError> {
        self.redemptions.redeem(redemption.token_id, redemption.expires).await
    }

    /// Any write in a group of the writer's; tests send their own through it.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Group<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.write(work).await
    }
}

/// Whether a column holds what it never should.
fn is_unreadable_value(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..)
    )
}

/// What to do about a file in which a part is damaged.
const ADVICE_ON_DAMAGE: &str = "; stop the server, and `grandstand check` says what of the store is damaged";

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            _ if is_unreadable_value(&error) => Self::Damaged(format!("{error}{ADVICE_ON_DAMAGE}").into()),
            // Not what a start says about it: nobody should move the file away under a server that runs.
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged(format!("{error}{ADVICE_ON_DAMAGE}").into()),
            Some(ErrorCode::NotADatabase) => Self::unavailable(format!("{error}{ADVICE_ON_DAMAGE}")),
            _ => Self::unavailable(format!("{error}{}", database::advice(&error))),
        }
    }
}

/// Whether a new resource went in; if not, there is already one of its id.
fn is_id_free(inserted: rusqlite::Result<()>) -> rusqlite::Result<bool> {
    match inserted {
        Ok(()) => Ok(true),
        Err(rusqlite::Error::SqliteFailure(cause, _))
            if cause.extended_code == SQLITE_CONSTRAINT_PRIMARYKEY =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
