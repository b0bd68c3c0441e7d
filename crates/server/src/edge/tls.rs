//! TLS without sockets: bytes in, bytes out.
//!
//! One engine serves a connection for its whole life, first under the acceptor, then on its shard. It uses rustls'
//! unbuffered interface, so that an idle connection keeps no record buffer.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, UnbufferedStatus,
};

/// Most plain bytes that go into one call of [`TlsEngine::encrypt`]: what fits into one TLS record.
pub(super) const RECORD_BYTES_MAX: usize = 16 * 1_024;

/// What a TLS record adds to its content, at most, in bytes.
const RECORD_OVERHEAD: usize = 64;

/// The TLS state of one connection.
pub(super) struct TlsEngine {
    session: UnbufferedServerConnection,
    /// From the peer, not yet understood: part of a record.
    incoming: Vec<u8>,
    /// For the peer, not yet sent.
    outgoing: Vec<u8>,
    /// The peer will send nothing more.
    peer_closed: bool,
}

/// The peer broke the TLS protocol.
#[derive(Debug)]
pub(super) struct TlsFailure;

impl TlsEngine {
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, TlsFailure> {
        let session = UnbufferedServerConnection::new(config).map_err(|_| TlsFailure)?;
        Ok(Self { session, incoming: Vec::new(), outgoing: Vec::new(), peer_closed: false })
    }

    /// Takes what the peer sent, and gives what it says to `take`, piece by piece. Answers of TLS itself (handshake, alerts) wait
    /// in [`TlsEngine::outgoing`] afterwards, also after a failure.
    pub(super) fn receive(&mut self, bytes: &[u8], mut take: impl FnMut(&[u8])) -> Result<(), TlsFailure> {
        if self.peer_closed {
            return Ok(());
        }
        self.incoming.extend_from_slice(bytes);
        loop {
            let UnbufferedStatus { mut discard, state, .. } =
                self.session.process_tls_records(&mut self.incoming);
            let mut go_on = true;
            let Ok(state) = state else {
                self.encode_alert();
                return Err(TlsFailure);
            };
            match state {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(|_| TlsFailure)?;
                        discard += record.discard;
                        take(record.payload);
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => encode(&mut data, &mut self.outgoing)?,
                // What was encoded is sent in order, and before anything else: as good as sent.
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed | ConnectionState::Closed => {
                    self.peer_closed = true;
                    go_on = false;
                }
                // More bytes are needed, or nothing is left to be read.
                _ => go_on = false,
            }
            self.incoming.drain(..discard);
            if !go_on {
                break;
            }
        }
        if self.incoming.is_empty() {
            self.incoming = Vec::new();
        }
        Ok(())
    }

    /// After a failure: what rustls wants the peer to know.
    fn encode_alert(&mut self) {
        while let UnbufferedStatus { state: Ok(ConnectionState::EncodeTlsData(mut data)), .. } =
            self.session.process_tls_records(&mut [])
        {
            if encode(&mut data, &mut self.outgoing).is_err() {
                return;
            }
        }
    }

    /// Encrypts the beginning of `bytes` into [`TlsEngine::outgoing`] and answers how much of it; 0 while the
    /// handshake is not done.
    pub(super) fn encrypt(&mut self, bytes: &[u8]) -> Result<usize, TlsFailure> {
        let bytes = &bytes[..bytes.len().min(RECORD_BYTES_MAX)];
        let UnbufferedStatus { state, .. } = self.session.process_tls_records(&mut []);
        let ConnectionState::WriteTraffic(mut traffic) = state.map_err(|_| TlsFailure)? else { return Ok(0) };
        append(&mut self.outgoing, bytes.len() + RECORD_OVERHEAD, |space| {
            match traffic.encrypt(bytes, space) {
                Ok(written) => Ok(Ok(written)),
                Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) => {
                    Err(required_size)
                }
                Err(EncryptError::EncryptExhausted) => Ok(Err(TlsFailure)),
            }
        })?;
        Ok(bytes.len())
    }

    /// What is to be sent to the peer.
    pub(super) fn outgoing(&self) -> &[u8] {
        &self.outgoing
    }

    /// Notes that so much of [`TlsEngine::outgoing`] has been sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        if bytes >= self.outgoing.len() {
            self.outgoing = Vec::new();
        } else {
            self.outgoing.drain(..bytes);
        }
    }

    /// Whether the peer has ended the conversation.
    pub(super) fn peer_closed(&self) -> bool {
        self.peer_closed
    }
}

/// Appends what TLS itself has to say.
fn encode<D>(data: &mut EncodeTlsData<'_, D>, outgoing: &mut Vec<u8>) -> Result<(), TlsFailure> {
    append(outgoing, RECORD_BYTES_MAX, |space| match data.encode(space) {
        Ok(written) => Ok(Ok(written)),
        Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => Err(required_size),
        Err(EncodeError::AlreadyEncoded) => Ok(Err(TlsFailure)),
    })
}

/// Lets `encode` write behind what is in `buffer`, with as much space as it says it needs.
fn append(
    buffer: &mut Vec<u8>,
    space: usize,
    mut encode: impl FnMut(&mut [u8]) -> Result<Result<usize, TlsFailure>, usize>,
) -> Result<(), TlsFailure> {
    let start = buffer.len();
    let mut space = space;
    loop {
        buffer.resize(start + space, 0);
        match encode(&mut buffer[start..]) {
            Ok(written) => {
                buffer.truncate(start + written?);
                return Ok(());
            }
            Err(required) => space = required.max(space + 1),
        }
    }
}
