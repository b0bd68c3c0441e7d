//! Connections to origins, kept for the next call.
//!
//! What is limited is how many calls are made to an origin at a time, not how many connections there are: so whoever waits
//! for a place finds the connection that the call before it has left. Whoever waits for a new connection takes one that
//! comes back meanwhile; the new one is kept, then.
//!
//! All paths of an origin share its connections: all functions of a region are at one origin, and one that is seldom called
//! should find a connection, too. A call that is given up closes its connection, and a path whose calls always are would
//! use up those of the others. So each path has an account: kept connections that it has lost are its debt, and while it
//! has any it gets none, but makes new ones; each that it brings back pays for one.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Uri;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HeaderValue;
use hyper_util::rt::TokioIo;
use protocol::limit::outgoing::{
    IDLE_PER_ORIGIN_MAX, IDLE_SECONDS_MAX, LATE_ANSWERS_PER_ORIGIN_MAX, LATE_ANSWERS_PER_PATH_MAX,
    LATE_CONNECTS_PER_ORIGIN_MAX, ORIGINS_MAX, PATHS_PER_ORIGIN_MAX,
};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::lasting::Lasting;
use super::names::{LookUp, Names};
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
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// It was idle, so it may have been closed since.
    was_kept: bool,
    /// Moves the bytes; the connection is closed when this goes.
    _driver: AbortOnDropHandle<()>,
}

/// What a path of an origin has done with kept connections.
struct Account {
    /// So many it has lost, and not made good.
    debt: AtomicUsize,
    late_answers: Arc<Semaphore>,
}

impl Account {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            debt: AtomicUsize::new(0),
            late_answers: Arc::new(Semaphore::new(LATE_ANSWERS_PER_PATH_MAX)),
        })
    }

    fn is_in_debt(&self) -> bool {
        self.debt.load(Ordering::Relaxed) > 0
    }

    fn lose(&self) {
        self.debt.fetch_add(1, Ordering::Relaxed);
    }

    fn pay(&self) {
        let less = |debt: usize| debt.checked_sub(1);
        // Whoever owes nothing has nothing to pay.
        let _ = self.debt.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

/// The connections of one origin.
struct Shelf {
    /// Since when each is idle; the latest last.
    idle: Mutex<Vec<(Instant, Connection)>>,
    /// Told of each connection that comes.
    arrived: Notify,
    /// By path.
    accounts: Mutex<HashMap<Box<str>, Arc<Account>>>,
    permits: Arc<Semaphore>,
    late_connects: Arc<Semaphore>,
    late_answers: Arc<Semaphore>,
}

impl Shelf {
    fn new(calls_max: usize) -> Self {
        Self {
            idle: Mutex::default(),
            arrived: Notify::new(),
            accounts: Mutex::default(),
            permits: Arc::new(Semaphore::new(calls_max)),
            late_connects: Arc::new(Semaphore::new(LATE_CONNECTS_PER_ORIGIN_MAX)),
            late_answers: Arc::new(Semaphore::new(LATE_ANSWERS_PER_ORIGIN_MAX)),
        }
    }

    fn account(&self, path: &str) -> Arc<Account> {
        let mut accounts = lock(&self.accounts);
        if let Some(account) = accounts.get(path) {
            return Arc::clone(account);
        }
        if accounts.len() >= PATHS_PER_ORIGIN_MAX {
            accounts.retain(|_, account| account.is_in_debt());
        }
        if accounts.len() >= PATHS_PER_ORIGIN_MAX {
            accounts.clear();
        }
        let account = Account::new();
        accounts.insert(path.into(), Arc::clone(&account));
        account
    }

    /// The connection that came last, so that those which are not needed grow old.
    fn take(&self) -> Option<Connection> {
        let now = Instant::now();
        let mut idle = lock(&self.idle);
        while let Some((since, connection)) = idle.pop() {
            if !connection.sender.is_closed() && now.duration_since(since) < IDLE_TIME_MAX {
                return Some(connection);
            }
        }
        None
    }

    /// The next connection that there is. Cancel-safe.
    async fn next(&self) -> Connection {
        let mut arrived = pin!(self.arrived.notified());
        loop {
            // What comes behind this look is heard of.
            arrived.as_mut().enable();
            if let Some(connection) = self.take() {
                return connection;
            }
            arrived.as_mut().await;
            arrived.set(self.arrived.notified());
        }
    }

    fn put(&self, mut connection: Connection) {
        connection.was_kept = true;
        if connection.sender.is_closed() {
            return;
        }
        let now = Instant::now();
        let mut idle = lock(&self.idle);
        idle.retain(|(since, kept)| !kept.sender.is_closed() && now.duration_since(*since) < IDLE_TIME_MAX);
        if idle.len() < IDLE_PER_ORIGIN_MAX {
            idle.push((now, connection));
        }
        drop(idle);
        self.arrived.notify_one();
    }
}

/// A connection in the hands of a call. Dropped before its use it is kept; dropped in the middle it is closed.
pub(super) struct Held {
    /// `None` once it is kept.
    connection: Option<Connection>,
    is_begun: bool,
    shelf: Arc<Shelf>,
    account: Arc<Account>,
}

impl Held {
    /// Whether it may have been closed since it was made.
    pub(super) fn was_kept(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.was_kept)
    }

    /// What sends a request. From now on the connection is good for nothing else before [`Held::keep`].
    pub(super) fn begin(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, CallError> {
        self.is_begun = true;
        let connection = self.connection.as_mut();
        connection.map(|connection| &mut connection.sender).ok_or_else(|| CallError::Broken(String::new()))
    }

    /// Keeps a connection whose answer has been read to its end, for whoever comes next.
    pub(super) fn keep(mut self) {
        self.give_back();
    }

    fn give_back(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if !connection.was_kept {
            self.account.pay();
        }
        self.shelf.put(connection);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_begun {
            self.give_back();
        } else if self.was_kept() {
            self.account.lose();
        }
    }
}

/// The connections of all origins.
pub(super) struct Pool {
    trust: Trust,
    names: Names,
    calls_per_origin_max: usize,
    shelves: Mutex<HashMap<Origin, Arc<Shelf>>>,
}

impl Pool {
    pub(super) fn new(trust: Trust, look_up: LookUp, calls_per_origin_max: usize) -> Self {
        Self { trust, names: Names::new(look_up), calls_per_origin_max, shelves: Mutex::default() }
    }

    fn shelf(&self, origin: &Origin) -> Arc<Shelf> {
        let mut shelves = lock(&self.shelves);
        if let Some(shelf) = shelves.get(origin) {
            return Arc::clone(shelf);
        }
        if shelves.len() >= ORIGINS_MAX {
            // Those in use keep their permits and their connections; they are only not found again.
            shelves.clear();
        }
        let shelf = Arc::new(Shelf::new(self.calls_per_origin_max));
        shelves.insert(origin.clone(), Arc::clone(&shelf));
        shelf
    }

    /// A new connection.
    async fn connect(&self, origin: &Origin) -> Result<Connection, CallError> {
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

/// A call on its way to an origin.
pub(super) struct Visit {
    pool: Arc<Pool>,
    origin: Origin,
    shelf: Arc<Shelf>,
    account: Arc<Account>,
}

impl Visit {
    pub(super) fn new(pool: &Arc<Pool>, uri: &Uri) -> Result<Self, CallError> {
        let origin = Origin::of(uri)?;
        let shelf = pool.shelf(&origin);
        let account = shelf.account(uri.path());
        Ok(Self { pool: Arc::clone(pool), origin, shelf, account })
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Waits until there is room for one more call to the origin. Cancel-safe.
    pub(super) async fn place(&self) -> Result<OwnedSemaphorePermit, CallError> {
        let permit = Arc::clone(&self.shelf.permits).acquire_owned().await;
        permit.map_err(|error| CallError::Unreachable(error.to_string()))
    }

    /// A kept connection, if the path may have one; else a new one, or whichever is kept before that is made.
    pub(super) async fn connection(&self) -> Result<Held, CallError> {
        if self.account.is_in_debt() {
            return self.new_connection().await;
        }
        if let Some(connection) = self.shelf.take() {
            return Ok(self.held(connection));
        }
        tokio::select! {
            biased;
            connection = self.shelf.next() => Ok(self.held(connection)),
            held = self.new_connection() => held,
        }
    }

    /// A new connection. It goes on being made when this is dropped, and is kept.
    pub(super) fn new_connection(&self) -> Lasting<Result<Held, CallError>> {
        let (pool, origin) = (Arc::clone(&self.pool), self.origin.clone());
        let (shelf, account) = (Arc::clone(&self.shelf), Arc::clone(&self.account));
        let connect = async move {
            let connection = pool.connect(&origin).await?;
            Ok(Held { connection: Some(connection), is_begun: false, shelf, account })
        };
        Lasting::new(connect, vec![Arc::clone(&self.shelf.late_connects)])
    }

    /// What bounds how many answers are read for nobody.
    pub(super) fn rooms_for_late_answers(&self) -> Vec<Arc<Semaphore>> {
        vec![Arc::clone(&self.account.late_answers), Arc::clone(&self.shelf.late_answers)]
    }

    fn held(&self, connection: Connection) -> Held {
        let (shelf, account) = (Arc::clone(&self.shelf), Arc::clone(&self.account));
        Held { connection: Some(connection), is_begun: false, shelf, account }
    }
}

/// Locks; a thread that panicked while it held the lock leaves nothing half-done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    Ok(Connection { sender, was_kept: false, _driver: AbortOnDropHandle::new(driver) })
}
