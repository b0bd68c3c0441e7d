//! The HTTP server that control plane and admin port share: it accepts connections and hands out their requests.
//!
//! Promises:
//! - At most [`CONNECTIONS_MAX`] connections are open; more wait in the kernel's queue.
//! - A head that does not arrive within [`REQUEST_SECONDS_MAX`] ends its connection, and so does a TLS handshake.
//! - No connection lives much longer than [`CONNECTION_SECONDS_MAX`], so nobody keeps a place for ever.
//! - When `stop` comes, no new connection is taken, idle ones are closed, and requests under way are answered;
//!   [`serve`] returns when the last connection has ended (its caller has the deadline).

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use protocol::limit::control::{
    CONNECTION_SECONDS_MAX, CONNECTIONS_MAX, HEAD_BUFFER_BYTES, HEADERS_MAX, REQUEST_SECONDS_MAX,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long to wait when the process has no file descriptor left for a new connection.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
const REQUEST_TIME_MAX: Duration = Duration::from_secs(REQUEST_SECONDS_MAX);

/// What a request is answered with.
pub type Answer = Response<Full<Bytes>>;

/// Answers the requests that arrive at `listener` until `stop`.
pub async fn serve<H, F>(listener: TcpListener, tls: Option<TlsAcceptor>, stop: CancellationToken, handler: H)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    loop {
        // A closed semaphore has no places; nobody closes this one.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        let socket = tokio::select! {
            () = stop.cancelled() => break,
            socket = accept(&listener) => socket,
        };
        let (tls, stop, handler) = (tls.clone(), stop.clone(), handler.clone());
        connections.spawn(async move {
            if let Err(error) = serve_socket(socket, tls, &stop, handler).await {
                tracing::debug!(%error, "connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => return socket,
            Err(error) => {
                tracing::error!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn serve_socket<H, F>(
    socket: TcpStream,
    tls: Option<TlsAcceptor>,
    stop: &CancellationToken,
    handler: H,
) -> io::Result<()>
where
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Answer>,
{
    socket.set_nodelay(true)?;
    match tls {
        None => serve_connection(socket, stop, handler).await,
        Some(tls) => {
            let socket = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                socket = timeout(REQUEST_TIME_MAX, tls.accept(socket)) => socket??,
            };
            serve_connection(socket, stop, handler).await
        }
    }
}

async fn serve_connection<S, H, F>(socket: S, stop: &CancellationToken, handler: H) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Answer>,
{
    let service = service_fn(|request| {
        let answer = handler(request);
        async move { Ok::<_, std::convert::Infallible>(answer.await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(REQUEST_TIME_MAX)
            .max_buf_size(HEAD_BUFFER_BYTES)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(socket), service)
    );
    tokio::select! {
        outcome = connection.as_mut() => return outcome.map_err(io::Error::other),
        () = stop.cancelled() => {}
        () = tokio::time::sleep(Duration::from_secs(CONNECTION_SECONDS_MAX)) => {}
    }
    connection.as_mut().graceful_shutdown();
    timeout(REQUEST_TIME_MAX, connection).await?.map_err(io::Error::other)
}
