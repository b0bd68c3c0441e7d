//! What is kept on disk: rooms, logging configurations, tags, keys and redeemed chat tokens.
//!
//! Promises:
//! - A write is answered only after the commit that holds it is on disk (`memory:` aside), so nothing acknowledged is
//!   lost to `kill -9` or a power cut. Writes of all requests are committed in groups by one writer.
//! - Reads never wait for the writer and see every acknowledged write.
//! - After a failed commit nothing more is acknowledged until the store has been reopened.
//!
//! It knows nothing of HTTP or JSON on the wire: these are the store's own rows.
//!
//! This file and `record` are the contract: the operations and what they keep and take. What holds for every engine is
//! in `facet` (which lists a room is in), `change` (what a change does) and `discrepancy` (what a check may find);
//! `embedded` is SQLite; `redemption` keeps used chat tokens beside it.

mod change;
mod discrepancy;
mod embedded;
mod facet;
#[cfg(debug_assertions)]
mod plant;
mod record;
mod redemption;
#[cfg(test)]
mod tests;
mod worker;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;

use protocol::arn::{ResourceKind, Scope};
use protocol::id::Id;
use protocol::time::UnixMicros;

use self::change::TagChange;
pub use self::discrepancy::{Checked, Discrepancy};
use self::embedded::Embedded;
pub use self::record::{
    Destination, Fallback, KeyPurpose, LoggingConfiguration, LoggingConfigurationChange,
    NewLoggingConfiguration, NewRoom, OrderKey, Page, ReviewHandlerChange, ReviewHandlerSetting, Room,
    RoomChange, RoomFilter, RoomSummary, StoredKey, Taggable, Tags,
};
use crate::clock;
use crate::config::{Config, StoreUrl};

/// Why the store could not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// No room of this id in this scope.
    RoomNotFound(Id),
    /// No logging configuration of this id in this scope.
    LoggingConfigurationNotFound(Id),
    /// The id in the ARN is none that a resource could have, so there is no resource either. Tag operations only: the
    /// others take an [`Id`].
    ResourceNotFound(Taggable),
    /// The logging configuration is attached to a room.
    LoggingConfigurationInUse(Id),
    /// A resource would have more tags than are allowed.
    TooManyTags(Id),
    /// What was asked for touches a damaged part of the file; all the rest works. The text is for the server's log.
    /// Nothing was changed.
    Damaged(Arc<str>),
    /// The store itself failed; the text is for the server's log, not for a client. Nothing was changed, or it is
    /// not known whether it was (a commit that failed half-way).
    Unavailable(Arc<str>),
}

impl StoreError {
    fn unavailable(cause: impl Into<Arc<str>>) -> Self {
        Self::Unavailable(cause.into())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RoomNotFound(id) => write!(formatter, "there is no room {id}"),
            Self::LoggingConfigurationNotFound(id) => {
                write!(formatter, "there is no logging configuration {id}")
            }
            Self::ResourceNotFound(arn) => write!(formatter, "there is no resource {arn}"),
            Self::LoggingConfigurationInUse(id) => write!(formatter, "logging configuration {id} is in use"),
            Self::TooManyTags(id) => write!(formatter, "{id} would have too many tags"),
            Self::Damaged(cause) => write!(formatter, "a part of the store is damaged: {cause}"),
            Self::Unavailable(cause) => formatter.write_str(cause),
        }
    }
}

impl std::error::Error for StoreError {}

/// Where the store lives (`store.url`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// Files in this folder, which is made when it is missing.
    Folder(PathBuf),
    /// Nowhere: gone when the process ends (`memory:`).
    Memory,
}

impl From<&Config> for Location {
    fn from(config: &Config) -> Self {
        match config.store.url {
            StoreUrl::Memory => Self::Memory,
            StoreUrl::DataDir => Self::Folder(config.data_dir.clone()),
        }
    }
}

/// Threads of a runtime that requests to a store are served on: one per core, and two at least, since all of them but
/// one may be held up by reads that wait for the disk.
#[must_use]
pub fn runtime_threads() -> usize {
    available_parallelism().map_or(1, usize::from).max(2)
}

/// The wall clock; tests bring their own.
type Clock = Arc<dyn Fn() -> UnixMicros + Send + Sync>;

/// What an open store depends on beside its location.
struct Settings {
    now: Clock,
    #[cfg(debug_assertions)]
    plant: Option<plant::Plant>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            now: Arc::new(|| clock::now().as_micros()),
            #[cfg(debug_assertions)]
            plant: None,
        }
    }
}

/// A handle to the store; clones share one store. Dropping the last one closes it and waits for its threads.
#[derive(Clone)]
pub enum Store {
    /// SQLite in this process.
    Embedded(Arc<Embedded>),
}

/// What the store has done since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counters {
    /// Reads that were begun.
    pub reads: u64,
    /// Writes that were committed, refused ones (not found, in use, too many tags) included.
    pub writes: u64,
    /// Commits that held them; each is one fsync.
    pub commits: u64,
    /// Groups of writes that failed as a whole.
    pub failed_groups: u64,
    /// How often the store was opened again after that.
    pub reopened: u64,
    /// Times the write-ahead log was copied into the main file.
    pub checkpoints: u64,
}

/// The operations. Ids and order keys are made inside, by the writer; `now` comes from the wall clock there.
///
/// All of them answer [`StoreError::Unavailable`] when the store itself fails, is overloaded or was closed.
impl Store {
    /// Opens the store, and makes it when there is none. Refuses a folder that another server uses, and one that a
    /// newer server has written.
    pub async fn open(location: &Location) -> Result<Self, StoreError> {
        #[cfg(debug_assertions)]
        let settings = Settings { plant: plant::Plant::from_environment(), ..Settings::default() };
        #[cfg(not(debug_assertions))]
        let settings = Settings::default();
        Self::open_with(location, settings).await
    }

    /// Opens a store that is there already: where there is none, none is made.
    pub async fn open_existing(location: &Location) -> Result<Self, StoreError> {
        let location = location.clone();
        let open = move || Embedded::open_existing(&location, &Settings::default());
        Ok(Self::Embedded(Arc::new(off_the_runtime(open).await??)))
    }

    async fn open_with(location: &Location, settings: Settings) -> Result<Self, StoreError> {
        let location = location.clone();
        let embedded = off_the_runtime(move || Embedded::open(&location, &settings)).await??;
        Ok(Self::Embedded(Arc::new(embedded)))
    }

    /// Finishes what waits, flushes and closes; later calls answer [`StoreError::Unavailable`].
    pub async fn close(&self) {
        let Self::Embedded(embedded) = self;
        let embedded = Arc::clone(embedded);
        if let Err(error) = off_the_runtime(move || embedded.close()).await {
            tracing::error!(%error, "the store was not closed in order");
        }
    }

    /// What the store has done since it was opened.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let Self::Embedded(embedded) = self;
        embedded.counters()
    }

    /// Reads everything and lists what does not agree. Takes its time, and occupies one reader; the write-ahead log
    /// grows meanwhile.
    pub async fn check(&self) -> Result<Checked, StoreError> {
        let Self::Embedded(embedded) = self;
        embedded.check().await
    }

    /// Makes all postings anew from the rooms, and puts the order clock past every order key, in one transaction:
    /// either is put right, whatever was wrong with it. Changes nothing when a room cannot be read. Other writes wait
    /// meanwhile, and the write-ahead log grows by as much as all postings have.
    pub async fn repair(&self) -> Result<(), StoreError> {
        let Self::Embedded(embedded) = self;
        embedded.repair().await
    }

    /// Copies the store, as it is at one moment, into a new file of the owner's only, which is on disk when this
    /// answers. A server may be at work in the store meanwhile; all that it acknowledged before is in the copy. Used
    /// chat tokens are not. Refuses a file that exists, and a store in memory.
    pub async fn back_up(location: &Location, file: &Path) -> Result<(), StoreError> {
        let (location, file) = (location.clone(), file.to_owned());
        off_the_runtime(move || embedded::back_up(&location, &file)).await?
    }

    /// Creates a room. [`StoreError::LoggingConfigurationNotFound`] names the first that does not exist.
    pub async fn create_room(&self, scope: &Scope, room: NewRoom) -> Result<Room, StoreError> {
        let Self::Embedded(embedded) = self;
        embedded.create_room(scope, room).await
    }

    /// A room as it is now.
    pub async fn get_room(&self, scope: &Scope, id: Id) -> Result<Room, StoreError> {
        let Self::Embedded(embedded) = self;
        embedded.get_room(scope, id).await
    }

    /// Changes a room, moves it to the head of its lists and answers what it is now.
    pub async fn update_room(&self, scope: &Scope, id: Id, change: RoomChange) -> Result<Room, StoreError> {
        let Self::Embedded(embedded) = self;
        embedded.update_room(scope, id, change).await
    }

    /// Deletes a room.
    pub async fn delete_room(&self, scope: &Scope, id: Id) -> Result<(), StoreError> {
        let Self::Embedded(embedded) = self;
        embedded.delete_room(scope, id).await
    }

    /// At most `limit` rooms with an order key below `after` (all when `None`), newest first.
    pub async fn list_rooms(
        &self,
        scope: &Scope,
        filter: &RoomFilter,
        after: Option<OrderKey>,
        limit: usize,
    ) -> Result<Page<RoomSummary>, StoreError> {
        let Self::Embedded(embedded) = self;
        embedded.list_rooms(scope, filter, after, limit).await
    }

    /// Creates a logging configuration.
    pub async fn create_logging_configuration(
        &self,
        scope: &Scope,
        new: NewLoggingConfiguration,
    ) -> Result<LoggingConfiguration, StoreError> {
        let Self::Embedded(embedded) = self;
        embedded.create_logging_configuration(scope, new).await
    }

    /// A logging configuration as it is now.
    pub async fn get_logging_configuration(
        &self,
        scope: &Scope,
        id: Id,
    ) -> Result<LoggingConfiguration, StoreError> {
        let Self::Embedded(embedded) = self;
        embedded.get_logging_configuration(scope, id).await
    }

    /// Changes a logging configuration, moves it to the head of the list and answers what it is now.
    pub async fn update_logging_configuration(
        &self,
        scope: &Scope,
        id: Id,
        change: LoggingConfigurationChange,
    ) -> Result<LoggingConfiguration, StoreError> {
        let Self::Embedded(embedded) = self;
        embedded.update_logging_configuration(scope, id, change).await
    }

    /// Deletes a logging configuration; [`StoreError::LoggingConfigurationInUse`] while a room has it.
    pub async fn delete_logging_configuration(&self, scope: &Scope, id: Id) -> Result<(), StoreError> {
        let Self::Embedded(embedded) = self;
        embedded.delete_logging_configuration(scope, id).await
    }

    /// At most `limit` logging configurations with an order key below `after` (all when `None`), newest first.
    pub async fn list_logging_configurations(
        &self,
        scope: &Scope,
        after: Option<OrderKey>,
        limit: usize,
    ) -> Result<Page<LoggingConfiguration>, StoreError> {
        let Self::Embedded(embedded) = self;
        embedded.list_logging_configurations(scope, after, limit).await
    }

    /// Whether the scope has at least `count` (one or more) resources of a kind. It takes time in proportion to
    /// `count`: see [`crate::quota`].
    pub async fn has_at_least(
        &self,
        scope: &Scope,
        kind: ResourceKind,
        count: u32,
    ) -> Result<bool, StoreError> {
        let Self::Embedded(embedded) = self;
        embedded.has_at_least(scope, kind, count).await
    }

    /// The tags of a resource, which must be of the caller's own scope (the caller checks).
    pub async fn tags(&self, resource: &Taggable) -> Result<Tags, StoreError> {
        let Self::Embedded(embedded) = self;
        embedded.tags(resource).await
    }

    /// Adds or replaces tags; moves nothing in any list. [`StoreError::TooManyTags`] when there would be more than
    /// are allowed.
    pub async fn tag(&self, resource: &Taggable, tags: Tags) -> Result<(), StoreError> {
        let Self::Embedded(embedded) = self;
        embedded.change_tags(resource, TagChange::Set(tags)).await
    }

    /// Removes tags; moves nothing in any list. Keys that are not there are passed over.
    pub async fn untag(&self, resource: &Taggable, keys: Vec<String>) -> Result<(), StoreError> {
        let Self::Embedded(embedded) = self;
        embedded.change_tags(resource, TagChange::Remove(keys)).await
    }

    /// All keys of a purpose, oldest first; makes the first one when there is none.
    pub async fn keys(&self, purpose: KeyPurpose) -> Result<Vec<StoredKey>, StoreError> {
        let Self::Embedded(embedded) = self;
        embedded.keys(purpose).await
    }

    /// Adds a new key that seals from now on, and forgets those made before `forget_before`.
    pub async fn rotate_key(
        &self,
        purpose: KeyPurpose,
        forget_before: UnixMicros,
    ) -> Result<Vec<StoredKey>, StoreError> {
        let Self::Embedded(embedded) = self;
        embedded.rotate_key(purpose, forget_before).await
    }

    /// Marks a chat token as used: true for the first caller ever (across restarts and `kill -9`), false for every
    /// other. Does not wait for an fsync. `expires` is the token's own expiry, after which it need not be known: a
    /// token that expired long ago is refused, seen or not.
    pub async fn redeem(&self, token_id: u128, expires: UnixMicros) -> Result<bool, StoreError> {
        let Self::Embedded(embedded) = self;
        embedded.redeem(token_id, expires).await
    }
}

/// Runs what blocks on the disk where it holds up nobody.
async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| StoreError::unavailable(format!("the store's work was cut off: {error}")))
}
