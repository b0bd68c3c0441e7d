//! The messaging edge: WebSockets of chat clients.
//!
//! [`acceptor`] takes connections and carries out their handshakes under tokio; [`shard`] threads own the sockets from
//! then on. Nothing else of the server reaches into a shard but through the bus.

mod acceptor;
mod arrival;
mod ebb;
mod extension;
mod handshake;
mod moderation;
mod proxy;
mod shard;
mod tls;
mod transport;
mod upgrade;
mod wire;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use hub::Settings;
use hub::inbound::Messages;
use hub::message::{Message, RoomKey, ShardIndex};
use hub::review::ReviewLimits;
use mio::{Poll, Waker};
use protocol::limit::edge::ROOM_LOADS_MAX;
use rustls::ServerConfig;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::acceptor::{Acceptor, Unfinished};
use self::arrival::{ArrivalReader, arrivals};
use self::ebb::Ebb;
use self::handshake::Door;
pub use self::proxy::{Preface, read_preface};
use self::shard::{Parts, Shard, WAKE};
pub use self::upgrade::{Refusal, Upgrade, Wanted, read_head, switch_protocols};
use crate::audit::Audit;
use crate::bus::{Bus, Inbox, InboxReader, inbox, room_settings};
use crate::chatlog::ChatLogs;
use crate::config::TrustedProxies;
use crate::entrance::Entrance;
use crate::health::Readiness;
use crate::keys::KeyRing;
use crate::metrics::Metrics;
use crate::quota::Quotas;
use crate::review::Reviewer;
use crate::slot::Slot;
use crate::store::{Store, StoreError};
use crate::telemetry::Telemetry;

/// How the edge behaves.
pub struct EdgeSettings {
    /// Threads.
    pub shards: ShardIndex,
    /// Milliseconds; 0: no gathering.
    pub coalescing_window_ms: u64,
    /// See the setting `edge.compression`.
    pub compression: bool,
    /// The rates of connections and rooms are lifted.
    pub rates_lifted: bool,
    /// How many messages may be under review.
    pub reviews: ReviewLimits,
    /// How long a review may take, in milliseconds: so long shards wait for them in the end, if need be.
    pub review_timeout_ms: u64,
    /// What becomes of clients' messages.
    pub messages: Messages,
    /// Who may say who the client is.
    pub trusted_proxies: TrustedProxies,
    /// Unfinished handshakes at once; beyond it the oldest is closed.
    pub handshakes_max: usize,
    /// `None`: plain WebSocket.
    pub tls: Option<Arc<ServerConfig>>,
}

/// What decides who is let in.
pub struct Admission {
    /// Rooms and redeemed tokens.
    pub store: Store,
    /// Opens chat tokens.
    pub token_keys: KeyRing,
    /// What accounts may do; `None`: anything.
    pub quotas: Option<Arc<Quotas>>,
}

/// What the edge works with.
pub struct Surroundings {
    /// There while the server has its store open; meanwhile handshakes are held.
    pub admission: Slot<Admission>,
    /// For `/health` on the edge's own port.
    pub readiness: Readiness,
    /// Everything is counted there.
    pub metrics: Arc<Metrics>,
    /// Keeps a record of what moderators do; `None`: nobody does.
    pub audit: Option<Arc<Audit>>,
    /// What rooms publish is noted there; `None`: nowhere.
    pub chat_logs: Option<ChatLogs>,
    /// Has messages reviewed.
    pub reviewer: Reviewer,
    /// Begins the spans of handshakes.
    pub telemetry: Telemetry,
}

/// The shards, before anybody connects: the bus can already reach them.
pub struct Shards {
    bus: Bus,
    parts: Vec<(Poll, InboxReader, ArrivalReader)>,
    arrivals: Arc<[arrival::ArrivalSender]>,
}

/// The running edge.
pub struct Edge {
    threads: Vec<JoinHandle<io::Result<()>>>,
    inboxes: Vec<Inbox>,
    ebb: Arc<Ebb>,
    acceptor: Arc<Acceptor>,
}

impl Shards {
    /// Makes the inboxes of `count` shards, and the bus between them.
    ///
    /// # Errors
    /// The system gives no more polls.
    pub fn new(count: ShardIndex) -> io::Result<Self> {
        let mut parts = Vec::new();
        let mut inboxes = Vec::new();
        let mut senders = Vec::new();
        for _ in 0..count {
            let poll = Poll::new()?;
            let (inbox, inbox_reader) = inbox(Waker::new(poll.registry(), WAKE)?);
            let (sender, arrival_reader) = arrivals(inbox.clone());
            parts.push((poll, inbox_reader, arrival_reader));
            inboxes.push(inbox);
            senders.push(sender);
        }
        Ok(Self { bus: Bus::local(inboxes), parts, arrivals: senders.into() })
    }

    /// The way into the shards' rooms.
    #[must_use]
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Starts the threads. Nobody is let in yet.
    ///
    /// # Errors
    /// The system gives no more threads, or no random numbers.
    pub fn start(self, settings: EdgeSettings, surroundings: Surroundings) -> io::Result<Edge> {
        let ebb = Arc::new(Ebb::new(usize::from(settings.shards)));
        let (room_loads, loads) = mpsc::channel(ROOM_LOADS_MAX);
        let mut threads = Vec::new();
        let mut inboxes = Vec::new();
        for (index, (poll, inbox, arrivals)) in (0..).zip(self.parts) {
            let parts = Parts {
                settings: hub_settings(&settings, index)?,
                messages: settings.messages,
                poll,
                inbox,
                arrivals,
                others: Arc::clone(&self.arrivals),
                bus: self.bus.clone(),
                reviewer: surroundings.reviewer.clone(),
                review_timeout_ms: settings.review_timeout_ms,
                room_loads: room_loads.clone(),
                figures: surroundings.metrics.shard(usize::from(index)),
                audit: surroundings.audit.clone(),
                ebb: Arc::clone(&ebb),
                chat_log: surroundings.chat_logs.as_ref().map(|logs| logs.lane(index)).unwrap_or_default(),
            };
            inboxes.push(self.bus.inbox(index).clone());
            let thread = std::thread::Builder::new().name(format!("shard-{index}"));
            threads.push(thread.spawn(move || run_shard(Shard::new(parts)))?);
        }
        tokio::spawn(load_rooms(loads, surroundings.admission.clone(), self.bus.clone()));
        let acceptor = Arc::new(Acceptor {
            door: Door {
                admission: surroundings.admission,
                tls: settings.tls,
                trusted_proxies: settings.trusted_proxies,
                readiness: surroundings.readiness,
                compression: settings.compression,
            },
            bus: self.bus,
            shards: self.arrivals,
            metrics: surroundings.metrics,
            unfinished: Unfinished::new(settings.handshakes_max),
            telemetry: surroundings.telemetry,
        });
        Ok(Edge { threads, inboxes, ebb, acceptor })
    }
}

impl Edge {
    /// Lets clients in through `entrance` until `end`; what is returned ends when nothing is accepted any more. Handshakes
    /// that are under way then go on, and are tracked by `handshakes`.
    pub fn accept(
        &self,
        entrance: Entrance,
        end: CancellationToken,
        handshakes: TaskTracker,
    ) -> impl Future<Output = ()> + Send + 'static {
        Arc::clone(&self.acceptor).run(entrance, end, handshakes)
    }

    /// Closes all connections, a few at a time and without Close frames, so that clients come back to whoever serves
    /// them next; what rooms have published by then is written first, within half a second (and the
    /// time limit of a review, if messages are under review), and what clients say from then
    /// on is not heard.
    /// Returns when all shards have ended.
    pub async fn drain(self) {
        self.ebb.begin();
        for inbox in &self.inboxes {
            inbox.wake();
        }
        let joined = tokio::task::spawn_blocking(move || {
            for thread in self.threads {
                if let Ok(Err(error)) = thread.join() {
                    tracing::error!(%error, "a shard ended with an error");
                }
            }
        });
        if joined.await.is_err() {
            tracing::error!("the shards could not be waited for");
        }
    }
}

/// A shard that ends on its own has lost its connections and cannot serve its rooms: that ends the process, loudly.
fn run_shard(shard: Shard) -> io::Result<()> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| shard.run())) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::error!(%error, "a shard cannot go on; the server stops");
            std::process::abort()
        }
        Err(_panic) => {
            tracing::error!("a shard has panicked; the server stops");
            std::process::abort()
        }
    }
}

fn hub_settings(settings: &EdgeSettings, shard: ShardIndex) -> io::Result<Settings> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(Settings {
        shard,
        shards: settings.shards,
        coalescing_window_nanos: settings.coalescing_window_ms * 1_000_000,
        rates_lifted: settings.rates_lifted,
        reviews: settings.reviews.clone(),
        seed,
    })
}

/// Reads rooms' settings again for home shards that have just begun to serve them: an update that was accepted
/// between the handshake and then has reached nobody.
async fn load_rooms(mut loads: mpsc::Receiver<RoomKey>, admission: Slot<Admission>, bus: Bus) {
    while let Some(room) = loads.recv().await {
        let home = bus.home(&room);
        let admission = admission.use_it().await;
        let message = match admission.store.get_room(&room.scope, room.id).await {
            Ok(found) => Message::RoomChanged { settings: room_settings(&found), room },
            Err(StoreError::RoomNotFound(_)) => Message::RoomDeleted { room },
            // The shard asks again.
            Err(_) => continue,
        };
        bus.inbox(home).push(message).await;
    }
}
