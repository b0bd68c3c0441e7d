//! A node: all parts of the server, built in order, started, and drained in reverse.
//!
//! Sockets are bound first, so that a port that is taken is told at once, and all ports tell whoever asks that the
//! server is starting. Requests and handshakes that come meanwhile wait until everything behind them works.
//!
//! [`Node::drain`] answers what is under way, closes the chat connections and then the store. Meanwhile all ports still
//! tell whoever asks that the server is draining, and let nobody else in: the control plane answers 503, and the edge
//! holds handshakes until the process ends.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use hub::message::{SHARDS_MAX, ShardIndex};
use protocol::limit::control::{CONNECTIONS_MAX, CONNECTIONS_PERCENT_OF_DESCRIPTORS};
use protocol::limit::edge::{HANDSHAKES_PERCENT_OF_DESCRIPTORS, LISTEN_BACKLOG};
use protocol::limit::{self, Profile};
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::SetOnce;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::admin::Admin;
use crate::bus::Bus;
use crate::config::Config;
use crate::control::{self, ControlPlane};
use crate::credentials::{self, CredentialsError, FirstCredentials};
use crate::edge::{Admission, Edge, EdgeSettings, Shards, Surroundings};
use crate::health::{Phase, Readiness};
use crate::http::{Port, Stop};
use crate::keys::KeyRing;
use crate::metrics::Metrics;
use crate::quota::Quotas;
use crate::store::{KeyPurpose, Location, News, RoomNews, Store, StoreError, Watch};
use crate::tls::{self, TlsError};

/// Descriptors to count with when the system does not say how many there may be.
const DESCRIPTORS_DEFAULT: u64 = 1_024;

/// How long requests under way may take while draining; the chat connections and the store come after them.
const REQUESTS_DRAIN_TIME_MAX: Duration = Duration::from_secs(6);

/// A running server.
pub struct Node {
    addresses: Addresses,
    has_tls: bool,
    readiness: Readiness,
    edge: Edge,
    /// Of the control plane and the background work.
    stop: Stop,
    store: Store,
}

/// Where a node listens, with real port numbers.
#[derive(Clone, Copy, Debug)]
struct Addresses {
    api: SocketAddr,
    edge: SocketAddr,
    admin: SocketAddr,
}

/// Why a node could not start.
#[derive(Debug)]
pub enum StartError {
    /// An address cannot be listened on: setting and reason.
    Listen(&'static str, SocketAddr, std::io::Error),
    /// See [`TlsError`].
    Tls(TlsError),
    /// See [`CredentialsError`].
    Credentials(CredentialsError),
    /// The store cannot be used: where it is, and why not.
    Store(Location, StoreError),
    /// The system gives no more threads, polls or random numbers.
    System(std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(setting, address, error) => {
                write!(formatter, "cannot listen on {address} (`{setting}`): {error}")
            }
            Self::Tls(error) => error.fmt(formatter),
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
            Self::System(error) => write!(formatter, "the system does not give what is needed: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl Node {
    /// Builds and starts everything. When it returns, the server is ready.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        let api = listen("api_addr", config.api_addr)?;
        let edge = listen("edge_addr", config.edge_addr)?;
        let admin = listen("admin_addr", config.admin_addr)?;
        let addresses = Addresses {
            api: address_of("api_addr", config.api_addr, &api)?,
            edge: address_of("edge_addr", config.edge_addr, &edge)?,
            admin: address_of("admin_addr", config.admin_addr, &admin)?,
        };
        let tls = load_tls(config)?;
        let readiness = Readiness::default();
        // One descriptor per connection: take all that the system lets this process have.
        let descriptors = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(DESCRIPTORS_DEFAULT);
        let settings = edge_settings(config, descriptors, tls.clone());
        let metrics = Arc::new(Metrics::new(usize::from(settings.shards)));
        let shards = Shards::new(settings.shards).map_err(StartError::System)?;
        let bus = shards.bus().clone();
        let stop = Stop::default();
        let (control, admission) = (Arc::new(SetOnce::new()), Arc::new(SetOnce::new()));
        let surroundings = Surroundings {
            admission: Arc::clone(&admission),
            readiness: readiness.clone(),
            metrics: Arc::clone(&metrics),
            end: stop.end.clone(),
        };
        let edge = shards.start(settings, surroundings, edge).map_err(StartError::System)?;
        let port = |listener, percent_of_descriptors, stop| Port {
            listener,
            tls: tls.clone().map(TlsAcceptor::from),
            connections_max: share(descriptors, percent_of_descriptors).min(CONNECTIONS_MAX),
            stop,
        };
        let api = port(api, CONNECTIONS_PERCENT_OF_DESCRIPTORS, stop.clone());
        tokio::spawn(control::serve(api, readiness.clone(), Arc::clone(&control)));
        let watched = Admin { metrics: Arc::clone(&metrics), readiness: readiness.clone() };
        // Nobody who watches is sent away before the end.
        let admin_stop = Stop { drain: stop.end.clone(), end: stop.end.clone(), ..Stop::default() };
        tokio::spawn(watched.serve(port(
            admin,
            limit::admin::CONNECTIONS_PERCENT_OF_DESCRIPTORS,
            admin_stop,
        )));
        let opened = match Opened::open(config).await {
            Ok(opened) => opened,
            Err(error) => {
                edge.drain().await;
                stop.end.cancel();
                return Err(error);
            }
        };
        for keys in [&opened.chat_token_keys, &opened.page_token_keys] {
            stop.under_way.spawn(keys.clone().rotate_until(opened.store.clone(), stop.drain.clone()));
        }
        let watch = opened.store.watch();
        stop.under_way.spawn(listen_to_store(watch, bus.clone(), readiness.clone(), stop.drain.clone()));
        let (store, made) = (opened.store.clone(), opened.credentials.made.clone());
        let quotas = config.limits.quotas().map(|figures| Arc::new(Quotas::new(figures)));
        // Each is set here and nowhere else.
        let _ = admission.set(opened.admission(quotas.clone()));
        let _ = control.set(Arc::new(opened.into_control_plane(bus, quotas, metrics)));
        readiness.enter(Phase::Ready);
        let node = Self { addresses, has_tls: tls.is_some(), readiness, edge, stop, store };
        if let Some(made) = made {
            eprintln!("{}", credentials::welcome(&made, &node.api_url()));
        }
        Ok(node)
    }

    /// The line that tells other programs that the server is ready, and where.
    #[must_use]
    pub fn ready_line(&self) -> String {
        let (http, socket) = if self.has_tls { ("https", "wss") } else { ("http", "ws") };
        let Addresses { api, edge, admin } = self.addresses;
        // Addresses need no escapes, and the order of the members is part of the promise.
        format!(
            "{{\"event\":\"ready\",\"api\":\"{http}://{api}\",\"edge\":\"{socket}://{edge}\",\
             \"admin\":\"{http}://{admin}\"}}"
        )
    }

    /// Stops: lets nobody new in, answers what is under way, closes the chat connections, then the store.
    pub async fn drain(self) {
        self.readiness.enter(Phase::Draining);
        self.stop.drain.cancel();
        self.stop.under_way.close();
        // A client that does not read its answer must not keep the rest from being closed in order.
        if timeout(REQUESTS_DRAIN_TIME_MAX, self.stop.under_way.wait()).await.is_err() {
            tracing::warn!("some requests are not finished; going on without them");
        }
        self.edge.drain().await;
        self.store.close().await;
        self.stop.end.cancel();
    }

    fn api_url(&self) -> String {
        let http = if self.has_tls { "https" } else { "http" };
        format!("{http}://{}", self.addresses.api)
    }
}

/// What the server has kept from one start to the next.
struct Opened {
    store: Store,
    credentials: FirstCredentials,
    chat_token_keys: KeyRing,
    page_token_keys: KeyRing,
}

impl Opened {
    async fn open(config: &Config) -> Result<Self, StartError> {
        let location = Location::from(config);
        let unusable = |error| StartError::Store(location.clone(), error);
        let store = Store::open(&location).await.map_err(unusable)?;
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

    fn into_control_plane(
        self,
        bus: Bus,
        quotas: Option<Arc<Quotas>>,
        metrics: Arc<Metrics>,
    ) -> ControlPlane {
        let Self { store, credentials, chat_token_keys, page_token_keys } = self;
        let credentials = credentials.credentials;
        ControlPlane { store, bus, credentials, chat_token_keys, page_token_keys, quotas, metrics }
    }
}

/// Tells open rooms what other servers did to them, and whoever asks whether the store is there.
async fn listen_to_store(mut watch: Watch, bus: Bus, readiness: Readiness, stop: CancellationToken) {
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

fn edge_settings(config: &Config, descriptors: u64, tls: Option<Arc<ServerConfig>>) -> EdgeSettings {
    EdgeSettings {
        shards: shard_count(config),
        coalescing_window_ms: config.edge.coalescing_window_ms,
        rates_lifted: config.limits.profile == Profile::Unlimited,
        trusted_proxies: config.trusted_proxies.clone(),
        handshakes_max: share(descriptors, HANDSHAKES_PERCENT_OF_DESCRIPTORS),
        tls,
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

fn load_tls(config: &Config) -> Result<Option<Arc<ServerConfig>>, StartError> {
    let files = config.tls.cert_file.as_deref().zip(config.tls.key_file.as_deref());
    files.map(|(cert_file, key_file)| tls::load(cert_file, key_file).map_err(StartError::Tls)).transpose()
}

fn listen(setting: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    let bind = || -> std::io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restarted server must get its port back while old connections still linger in the kernel.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(LISTEN_BACKLOG)?;
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket.into())
    };
    bind().map_err(|error| StartError::Listen(setting, address, error))
}

fn address_of(
    setting: &'static str,
    wanted: SocketAddr,
    listener: &TcpListener,
) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|error| StartError::Listen(setting, wanted, error))
}
