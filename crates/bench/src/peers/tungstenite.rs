//! What most would write: tokio with its default settings, a task for each connection, tokio-tungstenite with its default
//! buffers, and a broadcast channel between the tasks. No rooms, no tokens, no limits but the channel's: a connection
//! that is further behind than the channel is long misses messages, which makes the run void.

use std::net::{Ipv4Addr, SocketAddr};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::failure::Failure;

/// The hidden subcommand that runs this server.
pub const SUBCOMMAND: &str = "serve-tungstenite";

/// Messages that a connection may be behind.
const CHANNEL_MESSAGES: usize = 1_024;

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
    let (room, _) = broadcast::channel(CHANNEL_MESSAGES);
    loop {
        let (stream, _) = listener.accept().await.map_err(Failure::io("accept"))?;
        stream.set_nodelay(true).map_err(Failure::io("set TCP_NODELAY"))?;
        let room = room.clone();
        tokio::spawn(async move {
            // A connection that breaks is the load generator's to notice.
            drop(serve_connection(stream, room).await);
        });
    }
}

async fn serve_connection(stream: TcpStream, room: broadcast::Sender<Utf8Bytes>) -> Result<(), Error> {
    // Before the client hears that it is let in, so that it misses nothing from then on.
    let mut messages = room.subscribe();
    let mut socket = tokio_tungstenite::accept_async(stream).await?;
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
