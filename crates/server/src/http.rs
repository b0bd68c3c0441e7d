//! The HTTP server that control plane and admin port share: it accepts connections and hands out their requests.
//!
//! Promises:
//! - Every answer comes from the handler: it is asked even when a request cannot be read.
//! - At most [`Port::connections_max`] connections are open, and one that waits for a place; more wait in the kernel's queue, and so do all while descriptors are scarce. Idle
//!   connections give way to new ones, so nobody keeps others out by saying nothing ([`places`]).
//! - A head that does not arrive within [`REQUEST_SECONDS_MAX`] ends its connection, and so does a TLS handshake.
//! - No connection lives much longer than [`CONNECTION_SECONDS_MAX`], so nobody keeps a place for ever.
//! - A client that is refused before it has said everything gets to see why, and one that closes its side behind its
//!   requests gets all the answers.
//! - When the drain begins, idle connections are closed and requests under way are answered, the first one of a
//!   connection also when it arrives a moment later; new connections are taken until the end, so that whoever watches the
//!   server can see it drain.

mod outlet;
mod places;

use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::CONNECTION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use protocol::limit::control::{
    CONNECTION_SECONDS_MAX, HEAD_BUFFER_BYTES, HEAD_BYTES_MAX, HEADERS_MAX, REQUEST_SECONDS_MAX,
};
use protocol::limit::hand_over::FIRST_WORD_MS_MAX;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::outlet::Outlet;
pub use self::outlet::Unreadable;
use self::places::Places;
pub use self::places::Seat;
use crate::entrance::Entrance;
use crate::linger::linger;

const REQUEST_TIME_MAX: Duration = Duration::from_secs(REQUEST_SECONDS_MAX);
/// A client that has connected right before the drain asks something in a moment.
const FIRST_WORD_TIME_MAX: Duration = Duration::from_millis(FIRST_WORD_MS_MAX);
/// With it, an answer is written to whose request could not be read.
const PLACEHOLDER_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n";

/// What a handler is asked to answer.
pub type Arrived = Result<Request<Incoming>, Unreadable>;

/// Whom a request came from, among its extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// What a request is answered with. With `Connection: close` it may leave part of the request unread.
pub type Answer = Response<Full<Bytes>>;

/// Where connections come from, and for how long.
pub struct Port {
    /// Bound already.
    pub listener: Arc<TcpListener>,
    /// Nobody is let in who would leave others fewer than all but so many descriptors.
    pub descriptors_max: u64,
    /// `None`: plain HTTP.
    pub tls: Option<TlsAcceptor>,
    /// Open connections; beyond it an idle one makes room for a new one.
    pub connections_max: usize,
    /// When it is over.
    pub stop: Stop,
}

/// How a server comes to its end.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// The drain has begun.
    pub drain: CancellationToken,
    /// What was begun before the drain, and the drain waits for.
    pub under_way: TaskTracker,
    /// Nothing is accepted any more.
    pub end: CancellationToken,
}

/// Answers the requests that arrive at a port until its end.
pub async fn serve<H, F>(port: Port, handler: H)
where
    H: Fn(Arrived) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let Port { listener, descriptors_max, tls, connections_max, stop } = port;
    let mut entrance = Entrance::new(listener, descriptors_max);
    let mut places = Places::new(connections_max);
    loop {
        let (socket, address) = tokio::select! {
            () = stop.end.cancelled() => break,
            accepted = entrance.accept() => accepted,
        };
        let peer = Peer(address.ip().to_canonical());
        let place = tokio::select! {
            biased;
            place = places.take() => place,
            // Whoever was accepted is answered.
            () = stop.end.cancelled() => places.extra(),
        };
        let is_late = stop.drain.is_cancelled();
        let until = if is_late { &stop.end } else { &stop.drain }.clone();
        let (tls, handler) = (tls.clone(), handler.clone());
        let seat = place.seat.clone();
        let handler = move |arrived: Arrived| {
            handler(arrived.map(|mut request| {
                request.extensions_mut().insert(peer);
                request.extensions_mut().insert(seat.clone());
                request
            }))
        };
        let connection = async move {
            tokio::select! {
                () = place.seat.told_to_leave() => tracing::debug!("an idle connection gave way"),
                outcome = serve_socket(socket, tls, &until, &place.seat, handler) => {
                    if let Err(error) = outcome {
                        tracing::debug!(%error, "connection ended");
                    }
                }
            }
        };
        if is_late {
            tokio::spawn(connection);
        } else {
            stop.under_way.spawn(connection);
        }
    }
}

async fn serve_socket<H, F>(
    socket: TcpStream,
    tls: Option<TlsAcceptor>,
    until: &CancellationToken,
    seat: &Seat,
    handler: H,
) -> io::Result<()>
where
    H: Fn(Arrived) -> F,
    F: Future<Output = Answer>,
{
    socket.set_nodelay(true)?;
    match tls {
        None => serve_connection(socket, until, seat, handler).await,
        Some(tls) => {
            let socket = tokio::select! {
                () = first_word_after(until) => return Ok(()),
                socket = timeout(REQUEST_TIME_MAX, tls.accept(socket)) => socket??,
            };
            serve_connection(socket, until, seat, handler).await
        }
    }
}

/// Answers the requests of one connection, until its end or soon after `until`.
///
/// # Errors
/// The connection broke, or its client said nothing for too long.
pub(crate) async fn serve_connection<S, H, F>(
    socket: S,
    until: &CancellationToken,
    seat: &Seat,
    handler: H,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Arrived) -> F,
    F: Future<Output = Answer>,
{
    let mut outlet = Outlet::new(socket, seat.clone());
    let has_refused = AtomicBool::new(false);
    let answer = async |request: Request<Incoming>| {
        // One with a body has arrived when that has, which its handler says.
        if request.body().is_end_stream() && !seat.begin() {
            return pending().await;
        }
        let answer = handler(Ok(request)).await;
        seat.answered();
        has_refused.fetch_or(answer.headers().contains_key(CONNECTION), Ordering::Relaxed);
        answer
    };
    let outcome = converse(&mut outlet, until, answer).await;
    let Outlet { mut socket, refused, .. } = outlet;
    if let Some(unreadable) = refused {
        timeout(REQUEST_TIME_MAX, refuse(&mut socket, || handler(Err(unreadable)))).await??;
    }
    if refused.is_some() || has_refused.into_inner() {
        linger(&mut socket).await;
    }
    outcome
}

/// Answers one request after the other until one side ends the connection, or it is time to.
async fn converse<S, H, F>(socket: &mut S, until: &CancellationToken, handler: H) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Answer>,
{
    let first_request = Notify::new();
    let service = service_fn(|request| {
        first_request.notify_one();
        let answer = handler(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            // A client that closes its side behind a request still wants the answer.
            .half_close(true)
            .header_read_timeout(REQUEST_TIME_MAX)
            .max_buf_size(HEAD_BUFFER_BYTES)
            .max_header_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(socket), service)
    );
    tokio::select! {
        outcome = connection.as_mut() => return outcome.map_err(io::Error::other),
        () = until.cancelled() => {}
        () = tokio::time::sleep(Duration::from_secs(CONNECTION_SECONDS_MAX)) => {}
    }
    tokio::select! {
        outcome = connection.as_mut() => return outcome.map_err(io::Error::other),
        () = first_request.notified() => {}
        () = tokio::time::sleep(FIRST_WORD_TIME_MAX) => {}
    }
    connection.as_mut().graceful_shutdown();
    timeout(REQUEST_TIME_MAX, connection).await?.map_err(io::Error::other)
}

/// The time after `until` at which a client is not waited for any more that has not asked anything yet.
async fn first_word_after(until: &CancellationToken) {
    until.cancelled().await;
    tokio::time::sleep(FIRST_WORD_TIME_MAX).await;
}

/// Writes an answer to a request that could not be read, and ends this side of the connection. Hyper encodes it, as if
/// it had been asked for something.
async fn refuse<S, H, F>(socket: &mut S, answer: H) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
    H: Fn() -> F,
    F: Future<Output = Answer>,
{
    let service = service_fn(|_request| {
        let answer = answer();
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let stage = TokioIo::new(tokio::io::join(PLACEHOLDER_REQUEST, socket));
    // Nothing follows the request, and that is no reason to give up.
    http1::Builder::new().half_close(true).serve_connection(stage, service).await.map_err(io::Error::other)
}
