//! What most would write: tokio with its default settings, a task for each connection, tokio-tungstenite with its default
//! buffers, and a broadcast channel between the tasks of a room, which is the path that a client opens. No tokens, no limits
//! but the channel's: a connection that is further behind than the channel is long misses messages, which makes the run void.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::failure::Failure;

/// The hidden subcommand that runs this server.
pub const SUBCOMMAND: &str = "serve-tungstenite";

/// Messages that a connection may be behind.
const CHANNEL_MESSAGES: usize = 1_024;

/// The channel of each room.
type Rooms = Arc<Mutex<HashMap<String, broadcast::Sender<Utf8Bytes>>>>;

/// Serves on a free port of the loopback until the process is ended.
///
/// # Errors
/// The system's.
pub fn serve() -> Result<(), Failure> {
    // As many threads as the process has cores, like `#[tokio::main]`.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(Failure::io("start a runtime"))?.block_on(accept())
}

async fn accept() -> Result<(), Failure> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = TcpListener::bind(any).await.map_err(Failure::io("listen"))?;
    let address = listener.local_addr().map_err(Failure::io("read the listener's address"))?;
    println!(r#"{{"event":"ready","edge":"ws://{address}"}}"#);
    let rooms = Rooms::default();
    loop {
        let (stream, _) = listener.accept().await.map_err(Failure::io("accept"))?;
        stream.set_nodelay(true).map_err(Failure::io("set TCP_NODELAY"))?;
        let rooms = Arc::clone(&rooms);
        tokio::spawn(async move {
            // A connection that breaks is the load generator's to notice.
            drop(serve_connection(stream, &rooms).await);
        });
    }
}

/// The channel of a room, made when it is needed first.
fn channel(rooms: &Rooms, path: &str) -> broadcast::Sender<Utf8Bytes> {
    let mut rooms = rooms.lock().unwrap_or_else(PoisonError::into_inner);
    let channel = rooms.entry(path.to_owned()).or_insert_with(|| broadcast::channel(CHANNEL_MESSAGES).0);
    channel.clone()
}

#[allow(clippy::result_large_err, reason = "what the library's callbacks give back")]
async fn serve_connection(stream: TcpStream, rooms: &Rooms) -> Result<(), Error> {
    let mut joined = None;
    // Before the client hears that it is let in, so that it misses nothing from then on.
    let join = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        let room = channel(rooms, request.uri().path());
        joined = Some((room.subscribe(), room));
        Ok(response)
    };
    let mut socket = tokio_tungstenite::accept_hdr_async(stream, join).await?;
    let Some((mut messages, room)) = joined else { return Ok(()) };
    loop {
        tokio::select! {
            said = socket.next() => match said.transpose()? {
                // The room has at least this connection.
                Some(Message::Text(text)) => drop(room.send(text)),
                Some(_) => {}
                None => return Ok(()),
            },
            message = messages.recv() => match message {
                Ok(text) => socket.send(Message::Text(text)).await?,
                // The load generator sees what is missing.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
        }
    }
}
