//! A connection's socket on its shard: plain, or with TLS, behind the same few calls.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

use hub::inbound::BUFFER_BYTES_MAX;
use hub::message::Written;
use mio::net::TcpStream;

use super::tls::{RECORD_BYTES_MAX, TlsEngine};

/// Bytes read from one socket at a time.
const READ_BYTES: usize = 32 * 1_024;

/// The buffers of one shard that all its sockets are read into, so that an idle connection has none.
pub(super) struct Scratch {
    /// What clients say. Holds what was left from before, one read, and what TLS had kept of a record.
    pub(super) plain: Box<[u8]>,
    encrypted: Box<[u8]>,
}

impl Scratch {
    pub(super) fn new() -> Self {
        let plain_bytes = BUFFER_BYTES_MAX + READ_BYTES + 2 * RECORD_BYTES_MAX;
        Self { plain: vec![0; plain_bytes].into(), encrypted: vec![0; READ_BYTES].into() }
    }
}

/// A socket in non-blocking mode.
pub(super) enum Transport {
    /// WebSocket over TCP.
    Plain(TcpStream),
    /// WebSocket over TLS over TCP.
    Tls(Box<TlsTransport>),
}

/// A socket and its TLS state.
pub(super) struct TlsTransport {
    stream: TcpStream,
    engine: TlsEngine,
    /// Close the writing side once all that is encrypted has been sent.
    closing: bool,
}

/// What came of reading.
pub(super) enum Received {
    /// So many bytes now lie in the buffer; `more` if the socket may have more.
    Bytes { count: usize, more: bool },
    /// Nothing is there now.
    Nothing,
    /// The peer has closed its side, or the socket is broken.
    End,
}

impl Transport {
    /// A socket whose handshakes are done.
    pub(super) fn new(stream: TcpStream, engine: Option<TlsEngine>) -> Self {
        match engine {
            None => Self::Plain(stream),
            Some(engine) => Self::Tls(Box::new(TlsTransport { stream, engine, closing: false })),
        }
    }

    /// The socket, to be registered with a poll.
    pub(super) fn stream_mut(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(tls) => &mut tls.stream,
        }
    }

    /// Reads once: puts what the peer has sent into `scratch`, from `start` on.
    pub(super) fn receive(&mut self, scratch: &mut Scratch, start: usize) -> Received {
        match self {
            Self::Plain(stream) => read(stream, &mut scratch.plain[start..start + READ_BYTES]),
            Self::Tls(tls) => tls.receive(scratch, start),
        }
    }

    /// Writes what the socket takes. With TLS, "taken" may mean encrypted and waiting in memory: at most one record,
    /// and nothing more is taken before it has left.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Written {
        match self {
            Self::Plain(stream) => write(stream, bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    /// Goes on with what [`Transport::write`] has left waiting.
    pub(super) fn flush(&mut self) -> Result<(), Broken> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
        }
    }

    /// Closes the writing side: the peer reads the end after all that was written.
    pub(super) fn shut_down(&mut self) {
        match self {
            Self::Plain(stream) => close_writing_side(stream),
            Self::Tls(tls) => {
                tls.closing = true;
                // What is left is sent when the socket takes it; a broken one is noticed when it is read.
                let _ = tls.flush();
            }
        }
    }
}

/// The socket cannot be used any more.
pub(super) struct Broken;

impl TlsTransport {
    fn receive(&mut self, scratch: &mut Scratch, start: usize) -> Received {
        if self.engine.peer_closed() {
            return Received::End;
        }
        let received = read(&mut self.stream, &mut scratch.encrypted);
        let Received::Bytes { count, more } = received else { return received };
        let mut end = start;
        let understood = self.engine.receive(&scratch.encrypted[..count], |plain| {
            scratch.plain[end..end + plain.len()].copy_from_slice(plain);
            end += plain.len();
        });
        if self.flush().is_err() || understood.is_err() {
            return Received::End;
        }
        // What the peer said before it ended the conversation counts; the end is found by reading on.
        Received::Bytes { count: end - start, more: more || self.engine.peer_closed() }
    }

    fn write(&mut self, bytes: &[u8]) -> Written {
        if self.flush().is_err() {
            return Written::Failed;
        }
        if !self.engine.outgoing().is_empty() {
            return Written::Blocked;
        }
        match self.engine.encrypt(bytes) {
            Ok(count) if count > 0 => match self.flush() {
                Ok(()) => Written::Bytes(count),
                Err(Broken) => Written::Failed,
            },
            _ => Written::Failed,
        }
    }

    fn flush(&mut self) -> Result<(), Broken> {
        while !self.engine.outgoing().is_empty() {
            match write(&mut self.stream, self.engine.outgoing()) {
                Written::Bytes(count) => self.engine.sent(count),
                Written::Blocked => return Ok(()),
                Written::Failed => return Err(Broken),
            }
        }
        if self.closing {
            close_writing_side(&self.stream);
        }
        Ok(())
    }
}

/// It fails only if the peer is gone already, and then there is nothing to tell it.
fn close_writing_side(stream: &TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
}

fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> Received {
    loop {
        match stream.read(buffer) {
            Ok(0) => return Received::End,
            // A short read has emptied the socket: the next byte makes a new event.
            Ok(count) => return Received::Bytes { count, more: count == buffer.len() },
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Received::Nothing,
            Err(_) => return Received::End,
        }
    }
}

fn write(stream: &mut TcpStream, bytes: &[u8]) -> Written {
    loop {
        match stream.write(bytes) {
            Ok(0) => return Written::Failed,
            Ok(count) => return Written::Bytes(count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Written::Blocked,
            Err(_) => return Written::Failed,
        }
    }
}
