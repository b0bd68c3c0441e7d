//! An echo server made of the messaging edge, for tests of conformance with RFC 6455.
//!
//! `echo MESSAGE_BYTES_MAX [CERT_FILE KEY_FILE]`
//!
//! It is the edge of the server, from its acceptor to its shards, and lets in whoever brings a chat token, once. All that
//! differs is what becomes of a message: it may be text or binary and of up to so many bytes, and it comes back. Rates
//! are lifted, since a suite of tests sends as fast as it can.
//!
//! The first line of stdout is its address. From then on a fresh chat token is printed for each line of stdin; at the end
//! of stdin it ends, as the server does.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use hub::inbound::Messages;
use hub::message::ShardIndex;
use hub::review::ReviewLimits;
use protocol::arn::Scope;
use protocol::capability::Capabilities;
use protocol::limit::member::{MESSAGE_LENGTH_MAX, MESSAGE_RATE_MAX};
use protocol::token::{self, Claims};
use rustls::ServerConfig;
use server::config::{ReviewConfig, TrustedProxies};
use server::edge::{Admission, Edge, EdgeSettings, Shards, Surroundings};
use server::entrance::Entrance;
use server::health::{Phase, Readiness};
use server::keys::KeyRing;
use server::metrics::Metrics;
use server::review::Reviewer;
use server::slot::Slot;
use server::store::{KeyPurpose, Location, NewRoom, Room, Store};
use server::telemetry::Telemetry;
use server::{clock, tls};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const USAGE: &str = "echo MESSAGE_BYTES_MAX [CERT_FILE KEY_FILE]";
const SHARDS: ShardIndex = 2;
/// Unfinished handshakes at once.
const HANDSHAKES_MAX: usize = 100;
/// How long a token, and what it opens, lasts.
const SESSION_SECONDS: u64 = 3_600;

/// What failed, for whoever called.
type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (bytes_max, tls) = match arguments.as_slice() {
        [bytes_max] => (bytes_max, None),
        [bytes_max, cert, key] => (bytes_max, Some(tls::load(Path::new(cert), Path::new(key))?.config)),
        _ => return Err(USAGE.into()),
    };
    let runtime = Runtime::new()?;
    let echo = runtime.block_on(Echo::start(edge_settings(bytes_max.parse()?, tls)))?;
    println!("{}", echo.url);
    for wish in std::io::stdin().lines() {
        wish?;
        println!("{}", echo.new_token()?);
    }
    runtime.block_on(echo.edge.drain());
    Ok(())
}

/// The running server.
struct Echo {
    url: String,
    edge: Edge,
    room: Room,
    token_keys: KeyRing,
}

impl Echo {
    async fn start(settings: EdgeSettings) -> Result<Self, Failure> {
        let store = Store::open(&Location::Memory).await?;
        let token_keys = KeyRing::load(&store, KeyPurpose::ChatToken).await?;
        let room = store.create_room(&scope(), new_room()).await?;
        let shards = Shards::new(SHARDS)?;
        let metrics = Arc::new(Metrics::new(usize::from(SHARDS)));
        let surroundings = Surroundings {
            admission: Slot::default(),
            readiness: Readiness::default(),
            reviewer: Reviewer::new(&without_review(), shards.bus().clone(), Arc::clone(&metrics))?,
            metrics,
            audit: None,
            chat_logs: None,
            telemetry: Telemetry::default(),
        };
        surroundings.readiness.enter(Phase::Ready);
        surroundings.admission.fill(Admission { store, token_keys: token_keys.clone(), quotas: None });

        let scheme = if settings.tls.is_some() { "wss" } else { "ws" };
        let edge = shards.start(settings, surroundings)?;
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await?);
        let url = format!("{scheme}://{}", listener.local_addr()?);
        tokio::spawn(edge.accept(
            Entrance::new(listener, u64::MAX),
            CancellationToken::new(),
            TaskTracker::new(),
        ));
        Ok(Self { url, edge, room, token_keys })
    }

    /// Each is of a user of its own: connections of one user have to wait for each other.
    fn new_token(&self) -> Result<String, Failure> {
        let token_id = u128::from_be_bytes(random()?);
        let issue_time = clock::now();
        let expiry = issue_time.plus_seconds(SESSION_SECONDS);
        let claims = Claims {
            scope: scope(),
            room_id: self.room.id,
            user_id: token_id.to_string(),
            attributes: BTreeMap::new(),
            capabilities: Capabilities::NONE,
            issue_time,
            token_expiry: expiry,
            session_expiry: expiry,
            token_id,
        };
        let keys = self.token_keys.token_keys();
        let key = keys.last().ok_or("there is no key for chat tokens")?;
        Ok(token::seal(key, &claims, random()?)?)
    }
}

fn edge_settings(bytes_max: usize, tls: Option<Arc<ServerConfig>>) -> EdgeSettings {
    EdgeSettings {
        shards: SHARDS,
        coalescing_window_ms: 0,
        compression: false,
        rates_lifted: true,
        reviews: ReviewLimits::default(),
        review_timeout_ms: 0,
        messages: Messages::Echoes { bytes_max },
        trusted_proxies: TrustedProxies::default(),
        handshakes_max: HANDSHAKES_MAX,
        tls,
    }
}

/// Nothing that comes back is reviewed.
fn without_review() -> ReviewConfig {
    ReviewConfig {
        timeout_ms: 200,
        handlers_file: None,
        check_handlers: false,
        in_flight_per_room_max: 1,
        in_flight_per_node_max: 1,
        breaker_failures: 0,
        breaker_pause_ms: 1,
    }
}

fn scope() -> Scope {
    Scope { account_id: "123456789012".into(), region: "us-west-2".into() }
}

fn new_room() -> NewRoom {
    NewRoom {
        message_rate_max: MESSAGE_RATE_MAX,
        message_length_max: MESSAGE_LENGTH_MAX,
        ..NewRoom::default()
    }
}

fn random<const BYTES: usize>() -> Result<[u8; BYTES], Failure> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}
