//! What is kept on disk: rooms, logging configurations, tags, keys and redeemed chat tokens.
//!
//! Promises:
//! - A write is answered only after the commit that holds it is on disk (`memory:` aside), so nothing acknowledged is
//!   lost to `kill -9` or a power cut.
//! - Reads wait for nobody's write and see every acknowledged one, whichever server took it.
//! - What cannot be done now is refused within seconds, and the store recovers when the cause goes.
//!
//! It knows nothing of HTTP or JSON on the wire: these are the store's own rows, but for the part of a list's rooms that is
//! kept ready to be written (`entry`).
//!
//! This file, `record` and `page` are the contract: the operations and what they keep, take and show. What holds for every engine is
//! in `facet` (which lists a room is in), `entry` (what it shows there), `change` (what a change does), `discrepancy` (what a check may find) and
//! `transfer` (how a store gets to another place); `column` is how values look in a column, `random` makes ids and keys.
//! `embedded` is SQLite, and `redemption` keeps used chat tokens beside it; `postgres` is PostgreSQL. The engines differ
//! in their SQL, and in who decides what comes first: the one writer of a process, or the database.

mod change;
mod column;
mod discrepancy;
mod embedded;
mod entry;
mod facet;
mod hold;
mod page;
#[cfg(debug_assertions)]
mod plant;
mod postgres;
mod random;
mod record;
mod redemption;
#[cfg(test)]
mod tests;
mod transfer;
mod worker;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;

use protocol::arn::{ResourceKind, Scope};
use protocol::id::Id;
use protocol::time::UnixMicros;
use tokio::sync::mpsc::{Receiver, Sender};

use self::change::TagChange;
pub use self::discrepancy::{Checked, Discrepancy};
use self::embedded::Embedded;
pub use self::hold::held;
pub use self::page::{Page, RoomSink};
use self::postgres::Postgres;
pub use self::record::{
    Destination, Fallback, KeyPurpose, LoggingConfiguration, LoggingConfigurationChange,
    NewLoggingConfiguration, NewRoom, OrderKey, Redemption, ReviewHandlerChange, ReviewHandlerSetting, Room,
    RoomChange, RoomFilter, RoomNews, RoomSummary, StoredKey, Taggable, Tags,
};
use self::transfer::Batch;
pub use self::transfer::Contents;
use crate::clock;
use crate::config::{Config, DatabaseUrl, StoreUrl};
use crate::metrics::StoreMeters;

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
    /// A PostgreSQL database, which several servers may use.
    Postgres(Box<DatabaseUrl>),
}

impl Location {
    /// The folder of the embedded engine; `None` in memory.
    fn folder(&self) -> Result<Option<&Path>, StoreError> {
        match self {
            Self::Folder(folder) => Ok(Some(folder)),
            Self::Memory => Ok(None),
            Self::Postgres(url) => Err(StoreError::unavailable(format!("{url} is no folder"))),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(formatter),
            Self::Memory => formatter.write_str("memory:"),
            Self::Postgres(url) => url.fmt(formatter),
        }
    }
}

impl From<&Config> for Location {
    fn from(config: &Config) -> Self {
        match &config.store.url {
            StoreUrl::Memory => Self::Memory,
            StoreUrl::DataDir => Self::Folder(config.data_dir.clone()),
            StoreUrl::Postgres(url) => Self::Postgres(url.clone()),
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
    meters: Arc<StoreMeters>,
    #[cfg(debug_assertions)]
    plant: Option<plant::Plant>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            now: Arc::new(|| clock::now().as_micros()),
            meters: Arc::default(),
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
    /// A PostgreSQL database.
    Postgres(Arc<Postgres>),
}

/// Asks the engine that a store has.
macro_rules! of_either {
    ($store:expr, $engine:ident => $question:expr) => {
        match $store {
            Store::Embedded($engine) => $question,
            Store::Postgres($engine) => $question,
        }
    };
}

/// What the store has done since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counters {
    /// Reads that were begun.
    pub reads: u64,
    /// Writes that were committed, refused ones (not found, in use, too many tags) included.
    pub writes: u64,
    /// Commits that held them; each is one fsync. (PostgreSQL may put those of several commits together, and needs none for
    /// groups that change nothing.)
    pub commits: u64,
    /// Groups of writes that failed as a whole.
    pub failed_groups: u64,
    /// How often the store was opened again after that.
    pub reopened: u64,
    /// Times the write-ahead log was copied into the main file.
    pub checkpoints: u64,
}

/// The operations. Ids and order keys are made inside; the time comes from the wall clock there: the writer's, or the
/// database's.
///
/// All of them answer [`StoreError::Unavailable`] when the store itself fails, is overloaded or was closed.
impl Store {
    /// Opens the store, and makes it when there is none. Refuses a folder that another server uses, and one that a
    /// newer server has written.
    pub async fn open(location: &Location) -> Result<Self, StoreError> {
        Self::open_counted(location, Arc::default()).await
    }

    /// The same; its commits are counted by `meters`.
    pub async fn open_counted(location: &Location, meters: Arc<StoreMeters>) -> Result<Self, StoreError> {
        #[cfg(debug_assertions)]
        let settings = Settings { meters, plant: plant::Plant::from_environment(), ..Settings::default() };
        #[cfg(not(debug_assertions))]
        let settings = Settings { meters, ..Settings::default() };
        Self::open_with(location, settings).await
    }

    /// Opens a store that is there already: where there is none, none is made.
    pub async fn open_existing(location: &Location) -> Result<Self, StoreError> {
        if let Location::Postgres(url) = location {
            return Ok(Self::Postgres(Arc::new(Postgres::open_existing(url).await?)));
        }
        let location = location.clone();
        let open = move || Embedded::open_existing(&location, &Settings::default());
        Ok(Self::Embedded(Arc::new(off_the_runtime(open).await??)))
    }

    async fn open_with(location: &Location, settings: Settings) -> Result<Self, StoreError> {
        if let Location::Postgres(url) = location {
            return Ok(Self::Postgres(Arc::new(Postgres::open(url, settings.meters).await?)));
        }
        let location = location.clone();
        let embedded = off_the_runtime(move || Embedded::open(&location, &settings)).await??;
        Ok(Self::Embedded(Arc::new(embedded)))
    }

    /// Finishes what waits (a database's engine refuses it), flushes and closes; later calls answer [`StoreError::Unavailable`].
    pub async fn close(&self) {
        let embedded = match self {
            Self::Embedded(embedded) => Arc::clone(embedded),
            Self::Postgres(postgres) => return postgres.close(),
        };
        if let Err(error) = off_the_runtime(move || embedded.close()).await {
            tracing::error!(%error, "the store was not closed in order");
        }
    }

    /// What the store has done since it was opened.
    #[must_use]
    pub fn counters(&self) -> Counters {
        of_either!(self, store => store.counters())
    }

    /// Reads everything and lists what does not agree. Takes its time, and occupies one reader; the write-ahead log
    /// grows meanwhile.
    pub async fn check(&self) -> Result<Checked, StoreError> {
        of_either!(self, store => store.check().await)
    }

    /// Makes all postings anew from the rooms, and puts the order clock past every order key, in one transaction:
    /// either is put right, whatever was wrong with it. Changes nothing when a room cannot be read. Other writes wait
    /// meanwhile, and the write-ahead log grows by as much as all postings have.
    pub async fn repair(&self) -> Result<(), StoreError> {
        of_either!(self, store => store.repair().await)
    }

    /// Copies the store, as it is at one moment, into a new file of the owner's only, which is on disk when this
    /// answers. A server may be at work in the store meanwhile; all that it acknowledged before is in the copy. Used
    /// chat tokens are not. Refuses a file that exists, and a store in memory.
    pub async fn back_up(location: &Location, file: &Path) -> Result<(), StoreError> {
        if let Location::Postgres(_) = location {
            let cause = "a store in PostgreSQL is backed up with the database's own tools, such as pg_dump";
            return Err(StoreError::unavailable(cause));
        }
        let (location, file) = (location.clone(), file.to_owned());
        off_the_runtime(move || embedded::back_up(&location, &file)).await?
    }

    /// How much it keeps. Reads all of it.
    pub async fn contents(&self) -> Result<Contents, StoreError> {
        of_either!(self, store => store.contents().await)
    }

    /// Refuses a place that has a store, or can have none (memory), and changes nothing there.
    pub async fn require_vacant(location: &Location) -> Result<(), StoreError> {
        match location {
            Location::Folder(folder) => embedded::require_vacant(folder),
            Location::Memory => Err(transfer::kept_nowhere()),
            Location::Postgres(url) => Postgres::require_vacant(url).await,
        }
    }

    /// Copies all that the store keeps, as it is at one moment, into a new store, which is there when all is in it and on
    /// disk, and not before or otherwise. `progress` hears every moment how much is under way, and of how much.
    ///
    /// Both stores know the same chat tokens from then on, and each lets them be used once: let only one of them be
    /// served. [`StoreError::Damaged`] when a room cannot be read.
    pub async fn copy_to(
        &self,
        target: &Location,
        progress: impl FnMut(&Contents, &Contents),
    ) -> Result<Contents, StoreError> {
        transfer::copy(self, target, progress).await
    }

    async fn export(&self, batches: Sender<Batch>) -> Result<(), StoreError> {
        of_either!(self, store => store.export(batches).await)
    }

    async fn import(location: &Location, batches: Receiver<Batch>) -> Result<(), StoreError> {
        match location {
            Location::Folder(folder) => {
                let folder = folder.clone();
                off_the_runtime(move || embedded::import(&folder, batches)).await?
            }
            Location::Memory => Err(transfer::kept_nowhere()),
            Location::Postgres(url) => Postgres::import(url, batches).await,
        }
    }

    /// Creates a room. [`StoreError::LoggingConfigurationNotFound`] names the first that does not exist.
    pub async fn create_room(&self, scope: &Scope, room: NewRoom) -> Result<Room, StoreError> {
        of_either!(self, store => store.create_room(scope, room).await)
    }

    /// A room as it is now.
    pub async fn get_room(&self, scope: &Scope, id: Id) -> Result<Room, StoreError> {
        of_either!(self, store => store.get_room(scope, id).await)
    }

    /// Changes a room, moves it to the head of its lists and answers what it is now.
    pub async fn update_room(&self, scope: &Scope, id: Id, change: RoomChange) -> Result<Room, StoreError> {
        of_either!(self, store => store.update_room(scope, id, change).await)
    }

    /// Deletes a room.
    pub async fn delete_room(&self, scope: &Scope, id: Id) -> Result<(), StoreError> {
        of_either!(self, store => store.delete_room(scope, id).await)
    }

    /// The number of what readers see now: whoever finds the same one before and after a read has read all that there was
    /// in between (redeemed tokens aside). `None` while a commit is under way, and of a store that other servers write to.
    #[must_use]
    pub fn edition(&self) -> Option<u64> {
        match self {
            Self::Embedded(store) => store.edition(),
            Self::Postgres(_) => None,
        }
    }

    /// At most `limit` rooms with an order key below `after` (all when `None`), newest first. They are shown to `sink`,
    /// which is given back as the page's entries.
    pub async fn list_rooms<S: RoomSink>(
        &self,
        scope: &Scope,
        filter: &RoomFilter,
        after: Option<OrderKey>,
        limit: usize,
        sink: S,
    ) -> Result<Page<S>, StoreError> {
        of_either!(self, store => store.list_rooms(scope, filter, after, limit, sink).await)
    }

    /// Creates a logging configuration.
    pub async fn create_logging_configuration(
        &self,
        scope: &Scope,
        new: NewLoggingConfiguration,
    ) -> Result<LoggingConfiguration, StoreError> {
        of_either!(self, store => store.create_logging_configuration(scope, new).await)
    }

    /// A logging configuration as it is now.
    pub async fn get_logging_configuration(
        &self,
        scope: &Scope,
        id: Id,
    ) -> Result<LoggingConfiguration, StoreError> {
        of_either!(self, store => store.get_logging_configuration(scope, id).await)
    }

    /// Changes a logging configuration, moves it to the head of the list and answers what it is now.
    pub async fn update_logging_configuration(
        &self,
        scope: &Scope,
        id: Id,
        change: LoggingConfigurationChange,
    ) -> Result<LoggingConfiguration, StoreError> {
        of_either!(self, store => store.update_logging_configuration(scope, id, change).await)
    }

    /// Deletes a logging configuration; [`StoreError::LoggingConfigurationInUse`] while a room has it.
    pub async fn delete_logging_configuration(&self, scope: &Scope, id: Id) -> Result<(), StoreError> {
        of_either!(self, store => store.delete_logging_configuration(scope, id).await)
    }

    /// At most `limit` logging configurations with an order key below `after` (all when `None`), newest first.
    pub async fn list_logging_configurations(
        &self,
        scope: &Scope,
        after: Option<OrderKey>,
        limit: usize,
    ) -> Result<Page<Vec<LoggingConfiguration>>, StoreError> {
        of_either!(self, store => store.list_logging_configurations(scope, after, limit).await)
    }

    /// Whether the scope has at least `count` (one or more) resources of a kind. It takes time in proportion to
    /// `count`: see [`crate::quota`].
    pub async fn has_at_least(
        &self,
        scope: &Scope,
        kind: ResourceKind,
        count: u32,
    ) -> Result<bool, StoreError> {
        of_either!(self, store => store.has_at_least(scope, kind, count).await)
    }

    /// The tags of a resource, which must be of the caller's own scope (the caller checks).
    pub async fn tags(&self, resource: &Taggable) -> Result<Tags, StoreError> {
        of_either!(self, store => store.tags(resource).await)
    }

    /// Adds or replaces tags; moves nothing in any list. [`StoreError::TooManyTags`] when there would be more than
    /// are allowed.
    pub async fn tag(&self, resource: &Taggable, tags: Tags) -> Result<(), StoreError> {
        of_either!(self, store => store.change_tags(resource, TagChange::Set(tags)).await)
    }

    /// Removes tags; moves nothing in any list. Keys that are not there are passed over.
    pub async fn untag(&self, resource: &Taggable, keys: Vec<String>) -> Result<(), StoreError> {
        of_either!(self, store => store.change_tags(resource, TagChange::Remove(keys)).await)
    }

    /// All keys of a purpose, oldest first; makes the first one when there is none.
    pub async fn keys(&self, purpose: KeyPurpose) -> Result<Vec<StoredKey>, StoreError> {
        of_either!(self, store => store.keys(purpose).await)
    }

    /// Adds a new key that seals from now on, and forgets those made before `forget_before`.
    pub async fn rotate_key(
        &self,
        purpose: KeyPurpose,
        forget_before: UnixMicros,
    ) -> Result<Vec<StoredKey>, StoreError> {
        of_either!(self, store => store.rotate_key(purpose, forget_before).await)
    }

    /// Marks a chat token as used: true for the first client ever (across restarts and `kill -9`, and on all servers of a
    /// database), false for every other. Does not wait for an fsync.
    pub async fn redeem(&self, redemption: &Redemption) -> Result<bool, StoreError> {
        of_either!(self, store => store.redeem(redemption).await)
    }

    /// Whether other servers may use this store at the same time.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Begins to watch what others do to the store.
    #[must_use]
    pub fn watch(&self) -> Watch {
        match self {
            Self::Embedded(_) => Watch(None),
            Self::Postgres(postgres) => Watch(Some(postgres.watch())),
        }
    }
}

/// What one server hears of its store without having asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Whatever other servers do to rooms from here on is told. What is known of rooms may be older than that: it is to be read
    /// again.
    Begin,
    /// Rooms that other servers updated or deleted; also this server's own, once more.
    Rooms(Vec<RoomNews>),
    /// The store cannot be reached, and this is why. It is told once.
    Away(StoreError),
    /// The store can be reached again.
    Back,
    /// Other servers may have updated or deleted rooms without a word of it here: what is known of rooms is to be read
    /// again.
    Gap,
}

/// Hears of the store. A store that nobody else uses has no news.
pub struct Watch(Option<postgres::Watch>);

impl Watch {
    /// Waits for the next news: of rooms at most [`NEWS_INTERVAL_MS`] after they came to light. Nothing is lost when it is
    /// dropped while it waits.
    ///
    /// [`NEWS_INTERVAL_MS`]: protocol::limit::postgres::NEWS_INTERVAL_MS
    pub async fn next(&mut self) -> News {
        match &mut self.0 {
            None => std::future::pending().await,
            Some(watch) => watch.next().await,
        }
    }
}

/// What a taggable's ARN names. An ARN may be well-formed and hold an id that no resource can have.
fn parts(resource: &Taggable) -> Result<(Scope, ResourceKind, Id), StoreError> {
    let id = resource.id().ok_or_else(|| StoreError::ResourceNotFound(resource.clone()))?;
    Ok((resource.scope().clone(), resource.kind(), id))
}

/// Runs what blocks on the disk where it holds up nobody.
async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| StoreError::unavailable(format!("the store's work was cut off: {error}")))
}
