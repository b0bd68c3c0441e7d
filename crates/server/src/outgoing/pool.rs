//! Connections to origins, kept for the next call.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Uri;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HeaderValue;
use hyper_util::rt::TokioIo;
use protocol::limit::outgoing::{
    CONNECTIONS_PER_ORIGIN_MAX, IDLE_PER_ORIGIN_MAX, IDLE_SECONDS_MAX, ORIGINS_MAX,
};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::{CallError, Trust, header_value, innermost};

const IDLE_TIME_MAX: Duration = Duration::from_secs(IDLE_SECONDS_MAX);

/// Scheme, host and port: what a connection is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    is_tls: bool,
    host: Box<str>,
    port: u16,
}

impl Origin {
    pub(super) fn of(uri: &Uri) -> Result<Self, CallError> {
        let unusable = || CallError::Unreachable("the address is none of http or https".to_owned());
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(unusable()),
        };
        let host = uri.host().ok_or_else(unusable)?;
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Self { is_tls, host: host.into(), port })
    }

    /// As clients write it: without the port that goes with the scheme.
    pub(super) fn host_header(&self) -> Result<HeaderValue, CallError> {
        let Self { is_tls, host, port } = self;
        match (is_tls, port) {
            (true, 443) | (false, 80) => header_value(host),
            _ => header_value(&format!("{host}:{port}")),
        }
    }
}

/// A connection that one call uses at a time.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    /// It has served a call before, so it may have been closed since.
    pub(super) is_used: bool,
    /// Moves the bytes; the connection is closed when this goes.
    _driver: AbortOnDropHandle<()>,
    _permit: OwnedSemaphorePermit,
}

/// The connections of one origin.
struct Shelf {
    /// Since when each is idle; the latest last.
    idle: Mutex<Vec<(Instant, Connection)>>,
    permits: Arc<Semaphore>,
}

impl Default for Shelf {
    fn default() -> Self {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_PER_ORIGIN_MAX));
        Self { idle: Mutex::default(), permits }
    }
}

/// The connections of all origins.
pub(super) struct Pool {
    trust: Trust,
    shelves: Mutex<HashMap<Origin, Arc<Shelf>>>,
}

impl Pool {
    pub(super) fn new(trust: Trust) -> Self {
        Self { trust, shelves: Mutex::default() }
    }

    /// A kept connection, or a new one.
    pub(super) async fn take(&self, origin: &Origin) -> Result<Connection, CallError> {
        let shelf = self.shelf(origin);
        if let Some(connection) = shelf.take_idle(Instant::now()) {
            return Ok(connection);
        }
        self.connect(origin, &shelf).await
    }

    /// A new connection.
    pub(super) async fn take_new(&self, origin: &Origin) -> Result<Connection, CallError> {
        let shelf = self.shelf(origin);
        self.connect(origin, &shelf).await
    }

    /// Keeps a connection whose answer has been read to its end.
    pub(super) fn give_back(&self, origin: &Origin, mut connection: Connection) {
        connection.is_used = true;
        if !connection.sender.is_closed() {
            self.shelf(origin).put(Instant::now(), connection);
        }
    }

    fn shelf(&self, origin: &Origin) -> Arc<Shelf> {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shelf) = shelves.get(origin) {
            return Arc::clone(shelf);
        }
        if shelves.len() >= ORIGINS_MAX {
            // Those in use keep their permits and their connections; they are only not found again.
            shelves.clear();
        }
        Arc::clone(shelves.entry(origin.clone()).or_default())
    }

    async fn connect(&self, origin: &Origin, shelf: &Shelf) -> Result<Connection, CallError> {
        let unreachable = |error: &dyn std::error::Error| CallError::Unreachable(innermost(error));
        let permit = Arc::clone(&shelf.permits).acquire_owned().await.map_err(|error| unreachable(&error))?;
        // Brackets around an IPv6 address belong to the notation.
        let host = origin.host.trim_start_matches('[').trim_end_matches(']');
        let socket = TcpStream::connect((host, origin.port)).await.map_err(|error| unreachable(&error))?;
        socket.set_nodelay(true).map_err(|error| unreachable(&error))?;
        if !origin.is_tls {
            return open(socket, permit).await;
        }
        let connector = self.trust.connector().map_err(|error| CallError::Unreachable(error.to_string()))?;
        let name = ServerName::try_from(host.to_owned()).map_err(|error| unreachable(&error))?;
        let socket = connector.connect(name, socket).await.map_err(|error| unreachable(&error))?;
        open(socket, permit).await
    }
}

impl Shelf {
    /// The connection that was used last, so that those which are not needed grow old.
    fn take_idle(&self, now: Instant) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((since, connection)) = idle.pop() {
            if !connection.sender.is_closed() && now.duration_since(since) < IDLE_TIME_MAX {
                return Some(connection);
            }
        }
        None
    }

    fn put(&self, now: Instant, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(since, kept)| !kept.sender.is_closed() && now.duration_since(*since) < IDLE_TIME_MAX);
        if idle.len() < IDLE_PER_ORIGIN_MAX {
            idle.push((now, connection));
        }
    }
}

async fn open<S>(socket: S, permit: OwnedSemaphorePermit) -> Result<Connection, CallError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let broken = |error: hyper::Error| CallError::Broken(innermost(&error));
    let (sender, driver) = handshake(TokioIo::new(socket)).await.map_err(broken)?;
    let driver = tokio::spawn(async move {
        // Whoever waits for an answer is told the same error.
        let _ = driver.await;
    });
    Ok(Connection { sender, is_used: false, _driver: AbortOnDropHandle::new(driver), _permit: permit })
}
