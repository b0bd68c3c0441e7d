//! The PostgreSQL engine: the store in a database, which several servers may share.
//!
//! The story, in the order of the files: `connections` leads to the database (`tls`, and `gate` while it is away), and has
//! work tried until it ends in an answer (`failure`); `schema` brings the database up to date (`migrations/`); `posting` is
//! what makes ListRooms one range read. Writes of rooms wait for a `writer`, which brings them to the database as a `group` that
//! changes `rooms` and postings in step, with order keys of `order`, in two exchanges of a `pipeline`; `news` tells other
//! servers; `redemption` decides who used a chat token first; `check` verifies it all, `repair` puts right what can be derived, and
//! `transfer` takes it to another engine, or from there. What is not SQL is shared with the embedded engine, and is in the
//! files above this folder.
//!
//! What it promises beside what the store does:
//! - What is on disk when a write is answered is the commit, on that of the database. (Redemptions: see there.) Writes of
//!   rooms that wait at the same time share one.
//! - It relies on row locks and unique keys, in short transactions at READ COMMITTED, and on nothing of the session: no
//!   advisory locks, no LISTEN/NOTIFY.
//! - While the database is away, requests are refused within moments; nothing needs a restart when it is back.
//!
//! What it does not do: it does not back up (the database's own tools do), and it does not work behind a pooler that gives
//! each transaction another connection, since statements are prepared.

mod check;
mod connections;
mod failure;
mod gate;
mod group;
mod keys;
mod logging_configurations;
mod news;
mod order;
mod pipeline;
mod posting;
mod redemption;
mod repair;
mod rooms;
mod row;
mod schema;
#[cfg(test)]
mod tests;
mod tls;
mod transfer;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use deadpool_postgres::Client;
use protocol::arn::{ResourceKind, Scope};
use protocol::id::Id;
use protocol::limit::postgres::{
    NEWS_INTERVAL_MS, READ_CONNECTIONS_MAX, SWEEP_INTERVAL_SECONDS, SWEEP_ROWS_MAX, WRITE_CONNECTIONS_MAX,
    WRITERS_MAX,
};
use protocol::time::UnixMicros;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::{MissedTickBehavior, interval};

use self::connections::Connections;
use self::failure::Failure;
use self::gate::Gate;
use self::group::RoomWrite;
use self::news::{Ageing, Looked, Sight};
use self::writer::Writer;
use super::change::TagChange;
use super::transfer::Batch;
use super::{
    Checked, Contents, Counters, KeyPurpose, LoggingConfiguration, LoggingConfigurationChange,
    NewLoggingConfiguration, NewRoom, News, OrderKey, Page, Redemption, Room, RoomChange, RoomFilter,
    RoomNews, RoomSink, StoreError, StoredKey, Taggable, Tags, parts,
};
use crate::config::DatabaseUrl;
use crate::metrics::StoreMeters;

/// An open store.
pub struct Postgres {
    /// For what waits for the disk, or for others who write.
    write_connections: Arc<Connections>,
    /// For writes of rooms.
    writer: Arc<Writer>,
    /// For what does not: reads never queue behind writes.
    read_connections: Connections,
    /// Of its own, so that requests that use up all others cannot make the database look away.
    watch_connection: Arc<Connections>,
    meters: Arc<Meters>,
}

/// What [`Counters`] shows, while it is counted.
#[derive(Default)]
struct Meters {
    reads: AtomicU64,
    writes: AtomicU64,
    commits: AtomicU64,
    groups: Arc<StoreMeters>,
}

impl Postgres {
    /// Opens the store, and makes it where there is none.
    pub(super) async fn open(url: &DatabaseUrl, groups: Arc<StoreMeters>) -> Result<Self, StoreError> {
        let gate = Arc::<Gate>::default();
        let write_connections = Connections::new(url, WRITE_CONNECTIONS_MAX, Arc::clone(&gate))?;
        schema::migrate(&write_connections).await?;
        let write_connections = Arc::new(write_connections);
        let meters = Arc::new(Meters { groups, ..Meters::default() });
        Ok(Self {
            writer: Arc::new(Writer::new(
                Connections::new(url, WRITERS_MAX, Arc::clone(&gate))?,
                Arc::clone(&write_connections),
                Arc::clone(&meters),
            )),
            write_connections,
            read_connections: Connections::new(url, READ_CONNECTIONS_MAX, Arc::clone(&gate))?,
            watch_connection: Arc::new(Connections::new(url, 1, gate)?),
            meters,
        })
    }

    /// Opens the store that is there.
    pub(super) async fn open_existing(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let connections = Connections::new(url, 1, Arc::default())?;
        schema::require(&connections).await?;
        connections.close();
        Self::open(url, Arc::default()).await
    }

    /// Refuses a database that has a store.
    pub(super) async fn require_vacant(url: &DatabaseUrl) -> Result<(), StoreError> {
        schema::require_none(&Connections::new(url, 1, Arc::default())?).await
    }

    /// Makes a store of all batches.
    pub(super) async fn import(url: &DatabaseUrl, batches: Receiver<Batch>) -> Result<(), StoreError> {
        let connections = Connections::new(url, 1, Arc::default())?;
        schema::require_none(&connections).await?;
        connections.run_once(|client| transfer::import(client, batches)).await
    }

    pub(super) fn close(&self) {
        self.writer.close();
        self.write_connections.close();
        self.read_connections.close();
        self.watch_connection.close();
    }

    pub(super) fn watch(&self) -> Watch {
        Watch::start(Arc::clone(&self.watch_connection))
    }

    pub(super) fn counters(&self) -> Counters {
        let Meters { reads, writes, commits, groups: _ } = &*self.meters;
        Counters {
            reads: reads.load(Relaxed),
            writes: writes.load(Relaxed),
            commits: commits.load(Relaxed),
            ..Counters::default()
        }
    }

    pub(super) async fn check(&self) -> Result<Checked, StoreError> {
        self.read_connections.run_long(check::check).await
    }

    pub(super) async fn repair(&self) -> Result<(), StoreError> {
        self.write_connections.run_long(repair::repair).await
    }

    pub(super) async fn contents(&self) -> Result<Contents, StoreError> {
        self.read_connections.run_long(transfer::count).await
    }

    pub(super) async fn export(&self, batches: Sender<Batch>) -> Result<(), StoreError> {
        self.read_connections.run_once(|client| transfer::export(client, batches)).await
    }

    pub(super) async fn create_room(&self, scope: &Scope, room: NewRoom) -> Result<Room, StoreError> {
        self.writer.write(scope, RoomWrite::Create(room)).await
    }

    pub(super) async fn get_room(&self, scope: &Scope, id: Id) -> Result<Room, StoreError> {
        self.read(|client| rooms::get(client, scope, id)).await
    }

    pub(super) async fn update_room(
        &self,
        scope: &Scope,
        id: Id,
        change: RoomChange,
    ) -> Result<Room, StoreError> {
        self.writer.write(scope, RoomWrite::Update(id, change)).await
    }

    pub(super) async fn delete_room(&self, scope: &Scope, id: Id) -> Result<(), StoreError> {
        self.writer.write(scope, RoomWrite::Delete(id)).await.map(drop)
    }

    pub(super) async fn list_rooms<S: RoomSink>(
        &self,
        scope: &Scope,
        filter: &RoomFilter,
        after: Option<OrderKey>,
        limit: usize,
        sink: S,
    ) -> Result<Page<S>, StoreError> {
        // A page may be read several times, and is shown once.
        let rows = self.read(|client| posting::list(client, scope, filter, after, limit)).await?;
        Ok(posting::show(&rows, limit, sink)?)
    }

    pub(super) async fn create_logging_configuration(
        &self,
        scope: &Scope,
        new: NewLoggingConfiguration,
    ) -> Result<LoggingConfiguration, StoreError> {
        self.write(|client| logging_configurations::create(client, scope, &new)).await
    }

    pub(super) async fn get_logging_configuration(
        &self,
        scope: &Scope,
        id: Id,
    ) -> Result<LoggingConfiguration, StoreError> {
        self.read(|client| logging_configurations::get(client, scope, id)).await
    }

    pub(super) async fn update_logging_configuration(
        &self,
        scope: &Scope,
        id: Id,
        change: LoggingConfigurationChange,
    ) -> Result<LoggingConfiguration, StoreError> {
        self.write(|client| logging_configurations::update(client, scope, id, &change)).await
    }

    pub(super) async fn delete_logging_configuration(&self, scope: &Scope, id: Id) -> Result<(), StoreError> {
        self.write(|client| logging_configurations::delete(client, scope, id)).await
    }

    pub(super) async fn list_logging_configurations(
        &self,
        scope: &Scope,
        after: Option<OrderKey>,
        limit: usize,
    ) -> Result<Page<Vec<LoggingConfiguration>>, StoreError> {
        self.read(|client| logging_configurations::list(client, scope, after, limit)).await
    }

    pub(super) async fn has_at_least(
        &self,
        scope: &Scope,
        kind: ResourceKind,
        count: u32,
    ) -> Result<bool, StoreError> {
        match kind {
            ResourceKind::Room => self.read(|client| posting::has_at_least(client, scope, count)).await,
            ResourceKind::LoggingConfiguration => {
                self.read(|client| logging_configurations::has_at_least(client, scope, count)).await
            }
        }
    }

    pub(super) async fn tags(&self, resource: &Taggable) -> Result<Tags, StoreError> {
        let (scope, kind, id) = parts(resource)?;
        match kind {
            ResourceKind::Room => self.read(|client| rooms::tags(client, &scope, id)).await,
            ResourceKind::LoggingConfiguration => {
                self.read(|client| logging_configurations::tags(client, &scope, id)).await
            }
        }
    }

    pub(super) async fn change_tags(&self, resource: &Taggable, change: TagChange) -> Result<(), StoreError> {
        let (scope, kind, id) = parts(resource)?;
        match kind {
            ResourceKind::Room => {
                self.writer.write(&scope, RoomWrite::ChangeTags(id, change)).await.map(drop)
            }
            ResourceKind::LoggingConfiguration => {
                self.write(|client| logging_configurations::change_tags(client, &scope, id, &change)).await
            }
        }
    }

    pub(super) async fn keys(&self, purpose: KeyPurpose) -> Result<Vec<StoredKey>, StoreError> {
        self.read(|client| keys::all_or_first(client, purpose)).await
    }

    pub(super) async fn rotate_key(
        &self,
        purpose: KeyPurpose,
        forget_before: UnixMicros,
    ) -> Result<Vec<StoredKey>, StoreError> {
        self.write(|client| keys::rotate(client, purpose, forget_before)).await
    }

    pub(super) async fn redeem(&self, redemption: &Redemption) -> Result<bool, StoreError> {
        self.read_connections.run(|client| redemption::redeem(client, redemption)).await
    }

    async fn read<T, F>(&self, work: impl Fn(Client) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        self.meters.reads.fetch_add(1, Relaxed);
        self.read_connections.run(work).await
    }

    async fn write<T, F>(&self, work: impl Fn(Client) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let begin = Instant::now();
        let outcome = self.write_connections.run(work).await;
        if !matches!(outcome, Err(StoreError::Unavailable(_))) {
            self.meters.groups.committed(1, begin.elapsed());
            self.meters.writes.fetch_add(1, Relaxed);
            self.meters.commits.fetch_add(1, Relaxed);
        }
        outcome
    }
}

/// Watches the database for one server: what others do to rooms, and whether it is there at all. It also drops what is old.
pub(super) struct Watch {
    connections: Arc<Connections>,
    ticks: tokio::time::Interval,
    /// The last look's; `None` before the first.
    sight: Option<Sight>,
    /// Seen and not yet told.
    rooms: Vec<RoomNews>,
    /// The first look has been made, which is not told yet.
    has_begun: bool,
    /// Some may have been missed, which is not told yet.
    has_gap: bool,
    is_away: bool,
    swept: Instant,
    ageing: Ageing,
}

impl Watch {
    /// Begins with the first look: what came to light before that is no news.
    fn start(connections: Arc<Connections>) -> Self {
        let mut ticks = interval(Duration::from_millis(NEWS_INTERVAL_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            connections,
            ticks,
            sight: None,
            rooms: Vec::new(),
            has_begun: false,
            has_gap: false,
            is_away: false,
            swept: Instant::now(),
            ageing: Ageing::default(),
        }
    }

    /// Waits for the next news. Nothing is lost when it is dropped while it waits.
    pub(super) async fn next(&mut self) -> News {
        loop {
            if std::mem::take(&mut self.has_begun) {
                return News::Begin;
            }
            if std::mem::take(&mut self.has_gap) {
                return News::Gap;
            }
            if !self.rooms.is_empty() {
                return News::Rooms(std::mem::take(&mut self.rooms));
            }
            self.ticks.tick().await;
            let last = self.sight.as_ref();
            match self.connections.run(|client| news::look(client, last)).await {
                Ok(Looked { sight, rooms, has_gap }) => {
                    self.has_begun |= last.is_none();
                    self.sight = Some(sight);
                    self.rooms = rooms;
                    self.has_gap |= has_gap;
                    if has_gap {
                        self.ageing.begin_anew();
                    }
                    if std::mem::take(&mut self.is_away) {
                        return News::Back;
                    }
                }
                Err(error) if !self.is_away => {
                    self.is_away = true;
                    return News::Away(error);
                }
                Err(_) => {}
            }
            self.sweep_when_due().await;
        }
    }

    async fn sweep_when_due(&mut self) {
        if self.is_away || self.swept.elapsed() < Duration::from_secs(SWEEP_INTERVAL_SECONDS) {
            return;
        }
        match self.sweep().await {
            // There is more: go on at the next tick.
            Ok(rows) if rows >= SWEEP_ROWS_MAX.unsigned_abs() => {}
            Ok(_) => self.swept = Instant::now(),
            Err(error) => {
                // Harmless: it is tried again.
                tracing::warn!(%error, "cannot drop old rows");
                self.swept = Instant::now();
            }
        }
    }

    /// Drops old rows. Answers how many of the kind of which there were most.
    async fn sweep(&mut self) -> Result<u64, StoreError> {
        let redemptions = self.connections.run(redemption::sweep).await?;
        let Some(sight) = &self.sight else { return Ok(redemptions) };
        let Some(seen) = self.ageing.old(sight, Instant::now()) else { return Ok(redemptions) };
        let notes = self.connections.run(|client| news::sweep(client, seen)).await?;
        if notes < SWEEP_ROWS_MAX.unsigned_abs() {
            self.ageing.begin_anew();
        }
        Ok(redemptions.max(notes))
    }
}
