//! A node: all parts of the server, built in order, started, and drained in reverse.
//!
//! Sockets are bound first, so that a port that is taken is told at once, and all ports tell whoever asks that the
//! server is starting. Requests and handshakes that come meanwhile wait until everything behind them works. Sockets that
//! somebody else has open, too, are not accepted from before that.
//!
//! [`Node::drain`] answers what is under way, closes the chat connections and then the store. Meanwhile all ports still
//! tell whoever asks that the server is draining, and let nobody else in: the control plane answers 503, and the edge
//! holds handshakes until the process ends. Where somebody else keeps the sockets open, nothing is accepted instead:
//! whoever comes waits for the next process.
//!
//! [`Node::hand_over`] and a [`Node::start`] with a predecessor are the two sides of a restart that loses nobody; see
//! [`crate::hand_over`]. Between the two nobody accepts: whoever connects waits in the kernel's queue.

mod ports;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use hub::inbound::Messages;
use hub::message::{SHARDS_MAX, ShardIndex};
use hub::review::{ReviewLimits, ReviewPlaces};
use protocol::limit::control::{CONNECTIONS_MAX, CONNECTIONS_PERCENT_OF_DESCRIPTORS};
use protocol::limit::edge::HANDSHAKES_PERCENT_OF_DESCRIPTORS;
use protocol::limit::hand_over::{FIRST_WORD_MS_MAX, REOPEN_PAUSE_MS};
use protocol::limit::{self, Profile};
use tokio::sync::SetOnce;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::ports::ListenError;
use self::ports::{ListeningPort, Ports};
use crate::admin::Admin;
use crate::audit::Audit;
use crate::bus::Bus;
use crate::chatlog::{self, ChatLogs, Shipping};
use crate::config::Config;
use crate::control::{self, ControlPlane, KeptPages};
use crate::credentials::{self, CredentialsError, FirstCredentials};
use crate::edge::{Admission, Edge, EdgeSettings, Shards, Surroundings};
use crate::entrance::{Entrance, Shares};
use crate::hand_over::{HandOverError, Predecessor, Successor};
use crate::health::{Phase, Readiness};
use crate::http::{Port, Stop};
use crate::inheritance::Inheritance;
use crate::keys::KeyRing;
use crate::metrics::{Metrics, StoreMeters};
use crate::outgoing::TrustError;
use crate::quota::Quotas;
use crate::review::{HandlersFileError, Reviewer};
use crate::slot::Slot;
use crate::store::{KeyPurpose, Location, News, RoomNews, Store, StoreError, Watch};
use crate::telemetry::{self, Exporting, Telemetry};
use crate::tls::{self, Tls, TlsError};

/// Descriptors to count with when the system does not say how many there may be.
const DESCRIPTORS_DEFAULT: u64 = 1_024;

/// How long requests under way may take while draining; the chat connections and the store come after them.
const REQUESTS_DRAIN_TIME_MAX: Duration = Duration::from_secs(6);

/// A running server.
pub struct Node {
    building: Building,
    term: Term,
    opened: Opened,
    /// `None` while another process may ship chat logs.
    shipping: Option<Shipping>,
    /// Nothing is accepted any more, and what was under way has had its time.
    has_given_way: bool,
}

/// What a node has from its start to its end.
struct Building {
    config: Config,
    ports: Ports,
    tls: Option<Tls>,
    /// How many the process may have.
    descriptors: u64,
    readiness: Readiness,
    metrics: Arc<Metrics>,
    audit: Option<Arc<Audit>>,
    telemetry: Telemetry,
    /// `None`: nothing is exported.
    exporting: Option<Exporting>,
    /// Of all terms: connections stay from one to the next.
    quotas: Option<Arc<Quotas>>,
    bus: Bus,
    chat_logs: ChatLogs,
    reviewer: Reviewer,
    /// There while the store is open.
    admission: Slot<Admission>,
    edge: Edge,
}

/// A time in which the node accepts: one for most nodes. One that has given way, and was not replaced after all, begins
/// another.
struct Term {
    /// Of the control plane, the edge's door and the background work.
    stop: Stop,
    /// They end when nothing is accepted any more.
    accepting: Vec<JoinHandle<()>>,
    handshakes: TaskTracker,
    /// Set once the store is open; until then requests wait.
    control: Arc<SetOnce<Arc<ControlPlane>>>,
}

/// Why a node could not start.
#[derive(Debug)]
pub enum StartError {
    /// See [`ListenError`].
    Listen(ListenError),
    /// See [`TlsError`].
    Tls(TlsError),
    /// See [`HandlersFileError`].
    Review(HandlersFileError),
    /// The file of `telemetry.otlp_certificate_file` cannot be used.
    Telemetry(TrustError),
    /// See [`CredentialsError`].
    Credentials(CredentialsError),
    /// The store cannot be used: where it is, and why not.
    Store(Location, StoreError),
    /// The audit log cannot be opened: where it is to be, and why not.
    Audit(PathBuf, std::io::Error),
    /// The system gives no more threads, polls or random numbers.
    System(std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(error) => error.fmt(formatter),
            Self::Tls(error) => error.fmt(formatter),
            Self::Review(error) => error.fmt(formatter),
            Self::Telemetry(error) => write!(formatter, "`telemetry.otlp_certificate_file`: {error}"),
            Self::Credentials(error) => error.fmt(formatter),
            Self::Store(Location::Folder(path), error) => {
                let (text, folder) = (error.to_string(), path.display().to_string());
                if text.contains(&folder) {
                    return formatter.write_str(&text);
                }
                write!(formatter, "{text} (data folder {folder})")
            }
            Self::Store(Location::Memory, error) => error.fmt(formatter),
            Self::Store(Location::Postgres(url), error) => write!(formatter, "cannot use {url}: {error}"),
            Self::Audit(path, error) => {
                write!(formatter, "`audit.file` cannot be opened: {}: {error}", path.display())
            }
            Self::System(error) => write!(formatter, "the system does not give what is needed: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl Node {
    /// Builds and starts everything; `predecessor` is the process to take over from, if there is one. When it returns,
    /// the server is ready.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub async fn start(
        config: &Config,
        inheritance: Inheritance,
        predecessor: Option<&mut Predecessor>,
    ) -> Result<Self, StartError> {
        let building = Building::build(config, inheritance)?;
        // Whoever is accepted is lost when the start fails after all. Where others could serve them, they wait.
        let serves_alone = predecessor.is_none() && !building.ports.are_held;
        let early_term = serves_alone.then(|| building.begin_term());
        match Opened::open_in_turn(config, Arc::clone(&building.metrics.store), predecessor).await {
            Ok(opened) => {
                let term = early_term.unwrap_or_else(|| {
                    // Nobody is to hear from this process that it is not ready.
                    building.readiness.enter(Phase::Ready);
                    building.begin_term()
                });
                Ok(building.enter(term, opened))
            }
            Err(error) => {
                building.edge.drain().await;
                if let Some(term) = early_term {
                    term.stop.end.cancel();
                }
                Err(error)
            }
        }
    }

    /// The line that tells other programs that the server is ready, and where.
    #[must_use]
    pub fn ready_line(&self) -> String {
        let Building { tls, ports, .. } = &self.building;
        let (http, socket) = if tls.is_some() { ("https", "wss") } else { ("http", "ws") };
        let (api, edge, admin) = (ports.api.address, ports.edge.address, ports.admin.address);
        // Addresses need no escapes, and the order of the members is part of the promise.
        format!(
            "{{\"event\":\"ready\",\"api\":\"{http}://{api}\",\"edge\":\"{socket}://{edge}\",\
             \"admin\":\"{http}://{admin}\"}}"
        )
    }

    /// Starts another process with `command_line`, and gives way to it. When it returns, that one serves, and this node
    /// is to be drained. May be dropped at any point; then it can only be drained, and the other process ends.
    ///
    /// # Errors
    /// See [`HandOverError`]; [`Node::go_on`] is next.
    pub async fn hand_over(&mut self, command_line: &[OsString]) -> Result<Successor, HandOverError> {
        let config = &self.building.config;
        if Location::from(config) == Location::Memory {
            return Err(HandOverError::Impossible("a store in memory ends with its process"));
        }
        let time_max = Duration::from_secs(config.restart.ready_timeout_s);
        let mut successor = Successor::start(command_line, &self.building.ports.heritage(), time_max)?;
        successor.prepared().await?;
        if !self.has_given_way {
            self.give_way().await;
        }
        successor.take_over().await?;
        Ok(successor)
    }

    /// Serves as before: if this node has given way to nobody, it opens the store again, as often as it takes, and accepts.
    /// May be dropped at any point, and called again, also after another [`Node::hand_over`].
    pub async fn go_on(&mut self) {
        if !self.has_given_way {
            return;
        }
        if !self.opened.store.is_shared() {
            self.opened = self.reopen().await;
        }
        // Nothing is waited for from here on: whoever drops this finds the store as the node says that it is.
        self.term = self.building.begin_term();
        self.building.chat_logs.go_on();
        self.shipping = Some(self.building.furnish(&self.term, &self.opened));
        self.has_given_way = false;
    }

    /// Stops: lets nobody new in, answers what is under way, closes the chat connections, then the store.
    pub async fn drain(mut self) {
        self.building.readiness.enter(Phase::Draining);
        if self.building.ports.are_held {
            self.term.stop_accepting().await;
        }
        let stop = &self.term.stop;
        stop.drain.cancel();
        stop.under_way.close();
        // A client that does not read its answer must not keep the rest from being closed in order.
        if !self.has_given_way && timeout(REQUESTS_DRAIN_TIME_MAX, stop.under_way.wait()).await.is_err() {
            tracing::warn!("some requests are not finished; going on without them");
        }
        self.building.edge.drain().await;
        if let Some(audit) = &self.building.audit {
            audit.settle().await;
        }
        if let Some(shipping) = self.shipping {
            // Before the store is closed, which says where to; and behind the last that rooms have published.
            shipping.finish(Duration::from_millis(limit::chat_log::FAREWELL_MS_MAX)).await;
        }
        self.opened.store.close().await;
        if let Some(exporting) = self.building.exporting {
            // What was done until now is told, too.
            exporting.finish(Duration::from_millis(limit::telemetry::FAREWELL_MS_MAX)).await;
        }
        stop.end.cancel();
    }

    /// Accepts nothing, answers what is under way, and closes the store unless several processes may have it open.
    async fn give_way(&mut self) {
        // Before the next process publishes anything.
        self.building.chat_logs.give_way();
        self.term.stop_accepting().await;
        let Term { stop, handshakes, .. } = &self.term;
        stop.drain.cancel();
        stop.under_way.close();
        handshakes.close();
        let time_max = Duration::from_millis(self.building.config.restart.requests_timeout_ms);
        let requests = timeout(time_max, stop.under_way.wait());
        let welcomes = async {
            let first_words = timeout(Duration::from_millis(FIRST_WORD_MS_MAX), handshakes.wait());
            // Whoever has said nothing yet comes again when this process ends.
            let _ = first_words.await;
            timeout(time_max, self.building.admission.empty()).await
        };
        let (requests, welcomes) = tokio::join!(requests, welcomes);
        if requests.is_err() || welcomes.is_err() {
            tracing::warn!("some requests or handshakes are not finished; going on without them");
        }
        if let Some(shipping) = self.shipping.take() {
            shipping.stop().await;
        }
        if !self.opened.store.is_shared() {
            self.opened.store.close().await;
        }
        self.has_given_way = true;
    }

    /// The store again, as often as it takes.
    async fn reopen(&self) -> Opened {
        let mut is_told = false;
        loop {
            match Opened::open(&self.building.config, Arc::clone(&self.building.metrics.store)).await {
                Ok(opened) => return opened,
                Err(error) if !is_told => {
                    tracing::error!(%error, "the store cannot be opened again yet; whoever connects waits");
                    is_told = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(REOPEN_PAUSE_MS)).await;
        }
    }
}

impl Building {
    fn build(config: &Config, inheritance: Inheritance) -> Result<Self, StartError> {
        let ports = Ports::open(config, inheritance).map_err(StartError::Listen)?;
        let tls = load_tls(config)?;
        let readiness = Readiness::default();
        // One descriptor per connection: take all that the system lets this process have.
        let descriptors = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(DESCRIPTORS_DEFAULT);
        let settings = edge_settings(config, descriptors, tls.as_ref());
        let metrics = Arc::new(Metrics::new(usize::from(settings.shards)));
        let audit = open_audit(config, &metrics)?;
        let (telemetry, exporting) =
            telemetry::start(&config.telemetry, &metrics).map_err(StartError::Telemetry)?;
        let shards = Shards::new(settings.shards).map_err(StartError::System)?;
        let bus = shards.bus().clone();
        let reviewer =
            Reviewer::with_telemetry(&config.review, bus.clone(), Arc::clone(&metrics), telemetry.clone())
                .map_err(StartError::Review)?;
        let admission = Slot::default();
        let chat_logs =
            ChatLogs::new(config, Arc::clone(&metrics), telemetry.clone()).map_err(StartError::System)?;
        let surroundings = Surroundings {
            admission: admission.clone(),
            readiness: readiness.clone(),
            metrics: Arc::clone(&metrics),
            audit: audit.clone(),
            chat_logs: Some(chat_logs.clone()),
            reviewer: reviewer.clone(),
            telemetry: telemetry.clone(),
        };
        let edge = shards.start(settings, surroundings).map_err(StartError::System)?;
        let quotas = config.limits.quotas().map(|figures| Arc::new(Quotas::new(figures)));
        let config = config.clone();
        Ok(Self {
            config,
            ports,
            tls,
            descriptors,
            readiness,
            metrics,
            audit,
            telemetry,
            exporting,
            quotas,
            bus,
            chat_logs,
            reviewer,
            admission,
            edge,
        })
    }

    /// Begins to accept. What needs the store waits for it.
    fn begin_term(&self) -> Term {
        let stop = Stop::default();
        let (control, handshakes) = (Arc::new(SetOnce::new()), TaskTracker::new());
        let shares = self.shares();
        let api =
            self.port(&self.ports.api, CONNECTIONS_PERCENT_OF_DESCRIPTORS, shares.clients_max, stop.clone());
        let api = control::serve(api, self.readiness.clone(), Arc::clone(&control));
        let edge = Entrance::new(Arc::clone(&self.ports.edge.listener), shares.clients_max);
        let edge = self.edge.accept(edge, stop.end.clone(), handshakes.clone());
        let watched = Admin {
            metrics: Arc::clone(&self.metrics),
            readiness: self.readiness.clone(),
            bus: self.bus.clone(),
        };
        // Nobody who watches is sent away before the end.
        let admin_stop = Stop { drain: stop.end.clone(), end: stop.end.clone(), ..Stop::default() };
        let admin_percent = limit::admin::CONNECTIONS_PERCENT_OF_DESCRIPTORS;
        let mut admin = self.port(&self.ports.admin, admin_percent, shares.watchers_max, admin_stop);
        // So that they take no more than is kept for them.
        admin.connections_max = admin.connections_max.min(limit::admin::CONNECTIONS_MAX);
        let admin = watched.serve(admin);
        if let Some(Tls { certificate, .. }) = &self.tls {
            stop.under_way.spawn(Arc::clone(certificate).follow(stop.drain.clone()));
        }
        let accepting = vec![tokio::spawn(api), tokio::spawn(edge), tokio::spawn(admin)];
        Term { stop, accepting, handshakes, control }
    }

    /// How many of the descriptors connections may take.
    fn shares(&self) -> Shares {
        Shares::of(self.descriptors, chatlog::files_max(shard_count(&self.config)))
    }

    fn port(&self, port: &ListeningPort, percent: u64, descriptors_max: u64, stop: Stop) -> Port {
        Port {
            listener: Arc::clone(&port.listener),
            descriptors_max,
            tls: self.tls.as_ref().map(|tls| TlsAcceptor::from(Arc::clone(&tls.config))),
            connections_max: share(self.descriptors, percent).min(CONNECTIONS_MAX),
            stop,
        }
    }

    /// Makes a node of all this.
    fn enter(self, term: Term, opened: Opened) -> Node {
        let shipping = Some(self.furnish(&term, &opened));
        self.readiness.enter(Phase::Ready);
        if let Some(made) = &opened.credentials.made {
            let http = if self.tls.is_some() { "https" } else { "http" };
            eprintln!("{}", credentials::welcome(made, &format!("{http}://{}", self.ports.api.address)));
        }
        Node { building: self, term, opened, shipping, has_given_way: false }
    }

    /// Gives a term what it waits for, and begins to ship chat logs.
    fn furnish(&self, term: &Term, opened: &Opened) -> Shipping {
        let Term { stop, control, .. } = term;
        for keys in [&opened.chat_token_keys, &opened.page_token_keys] {
            stop.under_way.spawn(keys.clone().rotate_until(opened.store.clone(), stop.drain.clone()));
        }
        let (watch, bus, readiness) = (opened.store.watch(), self.bus.clone(), self.readiness.clone());
        stop.under_way.spawn(listen_to_store(watch, bus.clone(), readiness, stop.drain.clone()));
        self.admission.fill(opened.admission(self.quotas.clone()));
        let control_plane = opened.control_plane(self, bus);
        // A term gets it here, once.
        let _ = control.set(Arc::new(control_plane));
        self.chat_logs.ship(opened.store.clone())
    }
}

impl Term {
    /// Returns when nothing is accepted any more; the sockets stay open.
    async fn stop_accepting(&mut self) {
        self.stop.end.cancel();
        for accepting in self.accepting.drain(..) {
            if accepting.await.is_err() {
                tracing::error!("a port has stopped accepting in a panic");
            }
        }
        tracing::info!("nothing is accepted any more; whoever connects waits for the next process");
    }
}

/// What the server has kept from one start to the next.
#[derive(Clone)]
struct Opened {
    store: Store,
    credentials: FirstCredentials,
    chat_token_keys: KeyRing,
    page_token_keys: KeyRing,
}

impl Opened {
    /// Opens the store; if there is a process before, when that has given way. Also where both may have it open: to open it
    /// may mean to change its schema, under a process that serves as ever.
    async fn open_in_turn(
        config: &Config,
        meters: Arc<StoreMeters>,
        predecessor: Option<&mut Predecessor>,
    ) -> Result<Self, StartError> {
        if let Some(predecessor) = predecessor {
            predecessor.wait_for_way().await;
        }
        Self::open(config, meters).await
    }

    async fn open(config: &Config, meters: Arc<StoreMeters>) -> Result<Self, StartError> {
        let location = Location::from(config);
        let unusable = |error| StartError::Store(location.clone(), error);
        let store = Store::open_counted(&location, meters).await.map_err(unusable)?;
        Ok(Self {
            credentials: credentials::open(config).map_err(StartError::Credentials)?,
            chat_token_keys: KeyRing::load(&store, KeyPurpose::ChatToken).await.map_err(unusable)?,
            page_token_keys: KeyRing::load(&store, KeyPurpose::PageToken).await.map_err(unusable)?,
            store,
        })
    }

    fn admission(&self, quotas: Option<Arc<Quotas>>) -> Admission {
        Admission { store: self.store.clone(), token_keys: self.chat_token_keys.clone(), quotas }
    }

    fn control_plane(&self, building: &Building, bus: Bus) -> ControlPlane {
        let Self { store, credentials, chat_token_keys, page_token_keys } = self.clone();
        ControlPlane {
            store,
            bus,
            credentials: credentials.credentials,
            chat_token_keys,
            page_token_keys,
            kept_pages: KeptPages::default(),
            quotas: building.quotas.clone(),
            audit: building.audit.clone(),
            trusted_proxies: building.config.trusted_proxies.clone(),
            metrics: Arc::clone(&building.metrics),
            handler_checks: building.config.review.check_handlers.then(|| building.reviewer.clone()),
            chat_logs: Some(building.chat_logs.clone()),
            telemetry: building.telemetry.clone(),
        }
    }
}

fn open_audit(config: &Config, metrics: &Metrics) -> Result<Option<Arc<Audit>>, StartError> {
    let open = |path: &PathBuf| {
        let opened = Audit::open(path, Arc::clone(&metrics.audit));
        opened.map(Arc::new).map_err(|error| StartError::Audit(path.clone(), error))
    };
    config.audit.file.as_ref().map(open).transpose()
}

/// Tells open rooms what other servers did to them, and whoever asks whether the store is there.
async fn listen_to_store(mut watch: Watch, bus: Bus, readiness: Readiness, stop: CancellationToken) {
    // What an earlier watch has said is not known to this one: it says itself when the store is away.
    readiness.store_is_away(false);
    while let Some(news) = stop.run_until_cancelled(watch.next()).await {
        match news {
            News::Away(cause) => {
                tracing::error!(%cause, "the store is away; requests are refused or wait");
                readiness.store_is_away(true);
            }
            News::Back => {
                tracing::info!("the store is back");
                readiness.store_is_away(false);
            }
            News::Begin => bus.rooms_in_doubt().await,
            News::Gap => {
                tracing::warn!(
                    "changes of rooms by other servers may have been missed; open rooms are read again"
                );
                bus.rooms_in_doubt().await;
            }
            News::Rooms(rooms) => {
                for room in rooms {
                    match room {
                        RoomNews::Changed(room) => bus.room_changed(&room).await,
                        RoomNews::Deleted(scope, id) => bus.room_deleted(&scope, id).await,
                    }
                }
            }
        }
    }
}

fn edge_settings(config: &Config, descriptors: u64, tls: Option<&Tls>) -> EdgeSettings {
    EdgeSettings {
        shards: shard_count(config),
        coalescing_window_ms: config.edge.coalescing_window_ms,
        compression: config.edge.compression,
        rates_lifted: config.limits.profile == Profile::Unlimited,
        reviews: ReviewLimits {
            per_room_max: usize::try_from(config.review.in_flight_per_room_max).unwrap_or(usize::MAX),
            places: Arc::new(ReviewPlaces::new(
                usize::try_from(config.review.in_flight_per_node_max).unwrap_or(usize::MAX),
            )),
        },
        review_timeout_ms: config.review.timeout_ms,
        messages: Messages::Actions,
        trusted_proxies: config.trusted_proxies.clone(),
        handshakes_max: share(descriptors, HANDSHAKES_PERCENT_OF_DESCRIPTORS),
        tls: tls.map(|tls| Arc::clone(&tls.config)),
    }
}

/// So many percent of the descriptors; there is always one.
fn share(descriptors: u64, percent: u64) -> usize {
    // Some systems have no limit, and say so with the highest number there is.
    usize::try_from(descriptors / 100 * percent + descriptors % 100 * percent / 100)
        .unwrap_or(usize::MAX)
        .max(1)
}

fn shard_count(config: &Config) -> ShardIndex {
    let cores = available_parallelism().map_or(1, std::num::NonZero::get);
    let wanted = config.edge.shards.and_then(|shards| usize::try_from(shards).ok()).unwrap_or(cores);
    ShardIndex::try_from(wanted.clamp(1, SHARDS_MAX)).unwrap_or(1)
}

fn load_tls(config: &Config) -> Result<Option<Tls>, StartError> {
    let files = config.tls.cert_file.as_deref().zip(config.tls.key_file.as_deref());
    files.map(|(cert_file, key_file)| tls::load(cert_file, key_file).map_err(StartError::Tls)).transpose()
}
