//! Connections to origins, kept for the next call.
//!
//! What is limited is how many calls are made to an origin at a time ([`Place`]), not how many connections there are: so
//! whoever waits for a place finds the connection that the call before it has left.

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
use protocol::limit::outgoing::{IDLE_PER_ORIGIN_MAX, IDLE_SECONDS_MAX, ORIGINS_MAX};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::names::{Names, ask_system};
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
}

/// The connections of one origin.
struct Shelf {
    /// Since when each is idle; the latest last.
    idle: Mutex<Vec<(Instant, Connection)>>,
    permits: Arc<Semaphore>,
}

/// The right to one call to an origin.
pub(super) struct Place {
    shelf: Arc<Shelf>,
    _permit: OwnedSemaphorePermit,
}

/// The connections of all origins.
pub(super) struct Pool {
    trust: Trust,
    names: Names,
    calls_per_origin_max: usize,
    shelves: Mutex<HashMap<Origin, Arc<Shelf>>>,
}

impl Pool {
    pub(super) fn new(trust: Trust, calls_per_origin_max: usize) -> Self {
        Self { trust, names: Names::new(ask_system), calls_per_origin_max, shelves: Mutex::default() }
    }

    /// Waits until there is room for one more call to the origin. Cancel-safe.
    pub(super) async fn place(&self, origin: &Origin) -> Result<Place, CallError> {
        let shelf = self.shelf(origin);
        let permit = Arc::clone(&shelf.permits).acquire_owned().await;
        let permit = permit.map_err(|error| CallError::Unreachable(error.to_string()))?;
        Ok(Place { shelf, _permit: permit })
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
        let permits = Arc::new(Semaphore::new(self.calls_per_origin_max));
        let shelf = Arc::new(Shelf { idle: Mutex::default(), permits });
        shelves.insert(origin.clone(), Arc::clone(&shelf));
        shelf
    }

    /// A new connection.
    pub(super) async fn connect(&self, origin: &Origin) -> Result<Connection, CallError> {
        let unreachable = |error: &dyn std::error::Error| CallError::Unreachable(innermost(error));
        // Brackets around an IPv6 address belong to the notation.
        let host = origin.host.trim_start_matches('[').trim_end_matches(']');
        let addresses = self.names.addresses(host, origin.port).await?;
        let socket = TcpStream::connect(&*addresses).await.map_err(|error| unreachable(&error))?;
        socket.set_nodelay(true).map_err(|error| unreachable(&error))?;
        if !origin.is_tls {
            return open(socket).await;
        }
        let connector = self.trust.connector().map_err(|error| CallError::Unreachable(error.to_string()))?;
        let name = ServerName::try_from(host.to_owned()).map_err(|error| unreachable(&error))?;
        let socket = connector.connect(name, socket).await.map_err(|error| unreachable(&error))?;
        open(socket).await
    }
}

impl Place {
    /// The connection that was used last, so that those which are not needed grow old.
    pub(super) fn kept(&self) -> Option<Connection> {
        let now = Instant::now();
        let mut idle = self.shelf.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((since, connection)) = idle.pop() {
            if !connection.sender.is_closed() && now.duration_since(since) < IDLE_TIME_MAX {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose answer has been read to its end, for whoever has this place next.
    pub(super) fn keep(self, mut connection: Connection) {
        connection.is_used = true;
        if connection.sender.is_closed() {
            return;
        }
        let now = Instant::now();
        let mut idle = self.shelf.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(since, kept)| !kept.sender.is_closed() && now.duration_since(*since) < IDLE_TIME_MAX);
        if idle.len() < IDLE_PER_ORIGIN_MAX {
            idle.push((now, connection));
        }
    }
}

async fn open<S>(socket: S) -> Result<Connection, CallError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let broken = |error: hyper::Error| CallError::Broken(innermost(&error));
    let (sender, driver) = handshake(TokioIo::new(socket)).await.map_err(broken)?;
    let driver = tokio::spawn(async move {
        // Whoever waits for an answer is told the same error.
        let _ = driver.await;
    });
    Ok(Connection { sender, is_used: false, _driver: AbortOnDropHandle::new(driver) })
}
