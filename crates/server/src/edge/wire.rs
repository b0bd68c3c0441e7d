//! A connection during its handshake: under tokio, plain or with TLS, until it is handed to a shard.

use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;

use protocol::limit::edge::HANDSHAKE_BYTES_MAX;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::tls::TlsEngine;
use super::transport::Transport;
use crate::linger::linger;

const READ_BYTES: usize = 4 * 1_024;

/// See the module.
pub(super) struct Wire {
    stream: TcpStream,
    engine: Option<TlsEngine>,
    /// What the client has said so far, decrypted.
    said: Vec<u8>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, engine: None, said: Vec::new() }
    }

    /// From now on the connection speaks TLS, beginning with what has been read already.
    pub(super) async fn start_tls(&mut self, config: Arc<ServerConfig>) -> Result<()> {
        self.engine = Some(TlsEngine::new(config).map_err(|_| invalid())?);
        let encrypted = std::mem::take(&mut self.said);
        if encrypted.is_empty() { Ok(()) } else { self.take(&encrypted).await }
    }

    /// What the client has said and nobody has taken yet.
    pub(super) fn said(&self) -> &[u8] {
        &self.said
    }

    /// Takes the first `length` bytes of [`Wire::said`].
    pub(super) fn skip(&mut self, length: usize) {
        self.said.drain(..length);
    }

    /// Waits for more of [`Wire::said`]; it may grow by nothing while TLS shakes hands. The end of the connection is
    /// an error, and so is a client that says too much.
    pub(super) async fn hear(&mut self) -> Result<()> {
        if self.said.len() > HANDSHAKE_BYTES_MAX {
            return Err(Error::from(ErrorKind::FileTooLarge));
        }
        let mut bytes = [0; READ_BYTES];
        let count = self.stream.read(&mut bytes).await?;
        if count == 0 {
            return Err(Error::from(ErrorKind::UnexpectedEof));
        }
        self.take(&bytes[..count]).await
    }

    async fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(engine) = &mut self.engine else {
            self.said.extend_from_slice(bytes);
            return Ok(());
        };
        let understood = engine.receive(bytes, |plain| self.said.extend_from_slice(plain));
        let peer_closed = engine.peer_closed();
        self.flush().await?;
        understood.map_err(|_| invalid())?;
        if peer_closed { Err(Error::from(ErrorKind::UnexpectedEof)) } else { Ok(()) }
    }

    /// Says something to the client.
    pub(super) async fn say(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(engine) = &mut self.engine else { return self.stream.write_all(bytes).await };
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = engine.encrypt(rest).map_err(|_| invalid())?;
            if count == 0 {
                return Err(Error::from(ErrorKind::NotConnected));
            }
            rest = &rest[count..];
        }
        self.flush().await
    }

    async fn flush(&mut self) -> Result<()> {
        if let Some(engine) = &mut self.engine
            && !engine.outgoing().is_empty()
        {
            self.stream.write_all(engine.outgoing()).await?;
            engine.sent(usize::MAX);
        }
        Ok(())
    }

    /// Says something and ends the conversation, so that the client gets to hear it even while it still speaks.
    pub(super) async fn say_last(&mut self, bytes: &[u8]) -> Result<()> {
        self.say(bytes).await?;
        self.stream.shutdown().await?;
        linger(&mut self.stream).await;
        Ok(())
    }

    /// Leaves tokio: the socket for a shard, and what the client has said behind its request.
    pub(super) fn into_transport(self) -> Result<(Transport, Vec<u8>)> {
        let stream = mio::net::TcpStream::from_std(self.stream.into_std()?);
        Ok((Transport::new(stream, self.engine), self.said))
    }
}

fn invalid() -> Error {
    Error::from(ErrorKind::InvalidData)
}
