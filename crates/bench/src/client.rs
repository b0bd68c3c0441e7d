//! The load generator's clients: thousands of WebSocket connections on one thread and one poller.
//!
//! A read of the socket goes into one scratch buffer that all connections share, and frames are handed out from there:
//! a frame that arrives whole is never copied, and an idle connection holds no buffer. Nothing is spawned, locked or
//! awaited per connection, so that the load generator's own cost stays small beside the server's.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hub::deflate::Inflater;
use hub::frame::{Opcode, encode_masked};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustls::ClientConfig;
use socket2::{Domain, Socket, Type};

use crate::failure::Failure;
use crate::frames::{FrameFault, ServerFrame, read_frame};
use crate::nats::{self, Said};
use crate::os;
use crate::stream::Stream;

/// RFC 6455 section 1.3 works out the answer to this key, so that no hash is needed here.
pub const HANDSHAKE_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The answer to [`HANDSHAKE_KEY`].
pub const HANDSHAKE_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const SCRATCH_BYTES: usize = 256 * 1_024;
/// How many messages that came compressed are kept, for those who get them next.
const UNPACKED_MAX: usize = 4_096;
/// Few, so that a turn is short and the publishing schedule is looked at often.
const EVENTS_PER_TURN: usize = 64;
pub(crate) const CONNECTIONS_PER_ADDRESS: usize = 10_000;
/// Handshakes under way at once while a crowd joins.
const JOINING_MAX: usize = 64;
/// A crowd that makes no progress for so long while joining has failed.
const JOIN_STALL: Duration = Duration::from_secs(20);
/// RFC 6455 wants a mask, and does not mind which.
pub(crate) const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// Monotonic nanoseconds since a benchmark began.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Begins now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Nanoseconds since then.
    #[must_use]
    pub fn nanos(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// What a connection says to be let in.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// The whole handshake request.
    handshake: Vec<u8>,
    /// What it says to nats-server after the handshake.
    subscription: Option<Vec<u8>>,
    /// How to speak TLS.
    tls: Option<Arc<ClientConfig>>,
}

impl Ticket {
    /// A handshake with a chat token.
    #[must_use]
    pub fn with_token(edge: SocketAddr, token: &str) -> Self {
        Self::new(edge, "/", &format!("Sec-WebSocket-Protocol: {token}\r\n"))
    }

    /// The same with an offer to take messages compressed.
    #[must_use]
    pub fn with_token_and_compression(edge: SocketAddr, token: &str) -> Self {
        let header = format!(
            "Sec-WebSocket-Protocol: {token}\r\n\
             Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
        );
        Self::new(edge, "/", &header)
    }

    /// The same over TLS, if there is a configuration for it.
    #[must_use]
    pub fn over(self, tls: Option<Arc<ClientConfig>>) -> Self {
        Self { tls, ..self }
    }

    /// A handshake without any authentication, for the room that a path names.
    #[must_use]
    pub fn open(edge: SocketAddr, path: &str) -> Self {
        Self::new(edge, path, "")
    }

    /// A handshake with nats-server, and then a subscription.
    #[must_use]
    pub fn subscribing(edge: SocketAddr, subject: &str) -> Self {
        Self { subscription: Some(nats::subscription(subject)), ..Self::open(edge, "/") }
    }

    /// The whole handshake request.
    #[must_use]
    pub fn into_handshake(self) -> Vec<u8> {
        self.handshake
    }

    fn new(edge: SocketAddr, path: &str, header: &str) -> Self {
        let handshake = format!(
            "GET {path} HTTP/1.1\r\nHost: {edge}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {HANDSHAKE_KEY}\r\nSec-WebSocket-Version: 13\r\n{header}\r\n"
        );
        Self { handshake: handshake.into_bytes(), subscription: None, tls: None }
    }
}

/// What a connection sends to have something published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publication {
    /// A text frame.
    Text(String),
    /// A binary frame.
    Binary(Vec<u8>),
}

/// A message that a connection received.
#[derive(Debug)]
pub struct Received<'a> {
    /// The connection's number in the crowd, in the order of joining.
    pub connection: usize,
    /// The text.
    pub payload: &'a [u8],
    /// When it was read from the socket.
    pub at_nanos: u64,
}

/// What a crowd has read so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Bytes of everything: frames with their headers, answers to handshakes.
    pub bytes: u64,
    /// Reads that gave something.
    pub reads: u64,
}

/// How far a connection has come.
#[derive(Debug)]
enum Standing {
    /// The handshake is not answered yet; after it this is to be said.
    Shaking(Option<Vec<u8>>),
    /// The subscription is not confirmed yet.
    Subscribing,
    Open,
}

struct Connection {
    stream: Stream<TcpStream>,
    standing: Standing,
    /// The beginning of a frame whose rest has not come yet.
    unread: Vec<u8>,
    /// What the socket has not taken yet.
    unsent: Vec<u8>,
}

/// Many connections to one server.
pub struct Crowd {
    clock: Clock,
    poll: Poll,
    connections: Vec<Connection>,
    scratch: Box<[u8]>,
    open: usize,
    traffic: Traffic,
    unpacker: Unpacker,
}

impl Crowd {
    /// Nobody yet.
    ///
    /// # Errors
    /// The system's.
    pub fn new(clock: Clock) -> Result<Self, Failure> {
        Ok(Self {
            clock,
            poll: Poll::new().map_err(Failure::io("make a poller"))?,
            connections: Vec::new(),
            scratch: vec![0; SCRATCH_BYTES].into(),
            open: 0,
            traffic: Traffic::default(),
            unpacker: Unpacker::default(),
        })
    }

    /// Joins with one connection per ticket, a few at a time, and returns when all have been let in.
    ///
    /// # Errors
    /// One was not let in, or got a message already.
    pub fn join(&mut self, edge: SocketAddr, tickets: &[Ticket]) -> Result<(), Failure> {
        let mut tickets = tickets.iter();
        let mut early = |received: Received<'_>| {
            Err(Failure::Handshake { answer: String::from_utf8_lossy(received.payload).into_owned() })
        };
        let mut progress_at = self.clock.nanos();
        let mut open_before = self.open;
        let mut events = events();
        loop {
            while self.connections.len() - self.open < JOINING_MAX
                && let Some(ticket) = tickets.next()
            {
                self.connect(edge, ticket)?;
            }
            if self.open == self.connections.len() {
                return Ok(());
            }
            self.turn(&mut events, Duration::from_secs(1), &mut early)?;
            if self.open > open_before {
                (open_before, progress_at) = (self.open, self.clock.nanos());
            } else if u128::from(self.clock.nanos() - progress_at) > JOIN_STALL.as_nanos() {
                return Err(Failure::Handshake { answer: "nothing for a long time".to_owned() });
            }
        }
    }

    fn connect(&mut self, edge: SocketAddr, ticket: &Ticket) -> Result<(), Failure> {
        let mut stream = connect(edge, self.connections.len()).map_err(Failure::io("connect"))?;
        let token = Token(self.connections.len());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, token, interest).map_err(Failure::io("register"))?;
        let stream = Stream::new(stream, ticket.tls.as_ref())?;
        let standing = Standing::Shaking(ticket.subscription.clone());
        let unsent = ticket.handshake.clone();
        self.connections.push(Connection { stream, standing, unread: Vec::new(), unsent });
        Ok(())
    }

    /// Waits for something to happen, at most for `timeout`, and handles it: gives all that is received to `take`,
    /// answers pings, writes what was left over. Returns after a few dozen sockets.
    ///
    /// # Errors
    /// A connection was closed, or `take` failed.
    pub fn turn<T>(&mut self, events: &mut Events, timeout: Duration, take: &mut T) -> Result<(), Failure>
    where
        T: FnMut(Received<'_>) -> Result<(), Failure>,
    {
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result.map_err(Failure::io("poll"))?,
        }
        for event in &*events {
            let connection = event.token().0;
            if event.is_writable() && !self.connections[connection].unsent.is_empty() {
                self.flush(connection)?;
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                self.read(connection, take)?;
                // TLS may have shaken hands just now.
                if !self.connections[connection].unsent.is_empty() {
                    self.flush(connection)?;
                }
            }
        }
        Ok(())
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn send(&mut self, connection: usize, publication: &Publication) -> Result<(), Failure> {
        match publication {
            Publication::Text(text) => self.send_frame(connection, Opcode::Text, text.as_bytes()),
            Publication::Binary(bytes) => self.send_frame(connection, Opcode::Binary, bytes),
        }
    }

    fn send_frame(&mut self, connection: usize, opcode: Opcode, payload: &[u8]) -> Result<(), Failure> {
        let frame = encode_masked(true, opcode, MASK, payload);
        self.connections[connection].unsent.extend_from_slice(&frame);
        self.flush(connection)
    }

    fn flush(&mut self, index: usize) -> Result<(), Failure> {
        let connection = &mut self.connections[index];
        while !connection.unsent.is_empty() {
            match connection.stream.write(&connection.unsent) {
                Ok(count) => drop(connection.unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::Closed { connection: index, reason: error.to_string() }),
            }
        }
        // Nearly all connections write once in their life.
        connection.unsent = Vec::new();
        Ok(())
    }

    fn read<T>(&mut self, index: usize, take: &mut T) -> Result<(), Failure>
    where
        T: FnMut(Received<'_>) -> Result<(), Failure>,
    {
        loop {
            let connection = &mut self.connections[index];
            let kept = connection.unread.len();
            self.scratch[..kept].copy_from_slice(&connection.unread);
            let count = match connection.stream.read(&mut self.scratch[kept..]) {
                Ok(0) => {
                    return Err(Failure::Closed { connection: index, reason: "end of stream".to_owned() });
                }
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Closed { connection: index, reason: error.to_string() }),
            };
            self.traffic.bytes += count as u64;
            self.traffic.reads += 1;
            self.consume(index, kept + count, take)?;
            // A short read has emptied the socket: what comes later is a new event.
            if kept + count < self.scratch.len() && self.connections[index].stream.tells_end_by_short_read() {
                return Ok(());
            }
        }
    }

    /// Hands out the frames in the first `filled` bytes of the scratch buffer and keeps the rest for the next read.
    fn consume<T>(&mut self, index: usize, filled: usize, take: &mut T) -> Result<(), Failure>
    where
        T: FnMut(Received<'_>) -> Result<(), Failure>,
    {
        let at_nanos = self.clock.nanos();
        let connection = &mut self.connections[index];
        let mut at = 0;
        let mut answer = None;
        if let Standing::Shaking(subscription) = &mut connection.standing {
            let Some(length) = read_handshake_answer(&self.scratch[..filled])? else {
                connection.unread = self.scratch[..filled].to_vec();
                return Ok(());
            };
            at = length;
            answer = subscription.take().map(|said| (Opcode::Binary, said));
            connection.standing = if answer.is_some() { Standing::Subscribing } else { Standing::Open };
            self.open += usize::from(answer.is_none());
        }
        // A frame must leave room in the scratch buffer for at least one byte to be read.
        while let Some((frame, length)) =
            read_frame(&self.scratch[at..filled], SCRATCH_BYTES - 1).map_err(Failure::Framing)?
        {
            match frame {
                ServerFrame::Text(payload) => take(Received { connection: index, payload, at_nanos })?,
                ServerFrame::Deflated(payload) => {
                    let payload = self.unpacker.unpack(payload).map_err(Failure::Framing)?;
                    take(Received { connection: index, payload, at_nanos })?;
                }
                ServerFrame::Binary(said) => match take_all_said(said, index, at_nanos, take)? {
                    Some(Said::Ping) => answer = Some((Opcode::Binary, nats::PONG.to_vec())),
                    Some(Said::Pong) if matches!(connection.standing, Standing::Subscribing) => {
                        connection.standing = Standing::Open;
                        self.open += 1;
                    }
                    _ => {}
                },
                ServerFrame::Ping(payload) => answer = Some((Opcode::Pong, payload.to_vec())),
                ServerFrame::Pong => {}
                ServerFrame::Close(payload) => {
                    let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned();
                    return Err(Failure::Closed { connection: index, reason });
                }
            }
            at += length;
        }
        connection.unread.clear();
        if at < filled {
            connection.unread.extend_from_slice(&self.scratch[at..filled]);
        }
        match answer {
            Some((opcode, payload)) => self.send_frame(index, opcode, &payload),
            None => Ok(()),
        }
    }

    /// What has been read so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// How many connections there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether nobody has joined.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Data segments that a connection has received; see [`os::data_segments_received`].
    #[must_use]
    pub fn data_segments_received(&self, connection: usize) -> u64 {
        self.connections
            .get(connection)
            .map_or(0, |connection| os::data_segments_received(connection.stream.connection()))
    }
}

/// Messages that came compressed. All receivers get the same bytes, so each message is inflated once.
#[derive(Default)]
struct Unpacker {
    inflater: Inflater,
    /// What was compressed, by what it was compressed to: the last ones.
    known: HashMap<Box<[u8]>, Box<[u8]>>,
}

impl Unpacker {
    fn unpack(&mut self, payload: &[u8]) -> Result<&[u8], FrameFault> {
        if !self.known.contains_key(payload) {
            let text = self.inflater.inflate(payload).map_err(|_| FrameFault::NotDeflated)?.into();
            if self.known.len() >= UNPACKED_MAX {
                self.known.clear();
            }
            self.known.insert(payload.into(), text);
        }
        Ok(&self.known[payload])
    }
}

/// Hands out the messages of a frame of nats-server; the last other thing that it says.
fn take_all_said<'a, T>(
    mut left: &'a [u8],
    connection: usize,
    at_nanos: u64,
    take: &mut T,
) -> Result<Option<Said<'a>>, Failure>
where
    T: FnMut(Received<'_>) -> Result<(), Failure>,
{
    let mut other = None;
    while !left.is_empty() {
        let (said, bytes) = nats::read(left).ok_or(Failure::Framing(FrameFault::NotUnderstood))?;
        match said {
            Said::Message(payload) => take(Received { connection, payload, at_nanos })?,
            said => other = Some(said),
        }
        left = &left[bytes..];
    }
    Ok(other)
}

/// Begins to connect. Every ten thousand connections take the next address of the loopback network as their own: with
/// most ports of one address taken, Linux searches long for a free one, and that would be measured as the server's.
pub(crate) fn connect(edge: SocketAddr, index: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(edge), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    // It will end with a reset, which leaves nothing behind in the kernel: with tens of thousands of connections in TIME_WAIT
    // it takes milliseconds to find a free port for each new one.
    socket.set_linger(Some(Duration::ZERO))?;
    if let Ok(block @ 1..) = u8::try_from(index / CONNECTIONS_PER_ADDRESS)
        && edge.ip() == Ipv4Addr::LOCALHOST
    {
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, 1 + block), 0)).into())?;
    }
    match socket.connect(&edge.into()) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        result => result?,
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// An event buffer of the right size for [`Crowd::turn`].
#[must_use]
pub fn events() -> Events {
    Events::with_capacity(EVENTS_PER_TURN)
}

/// The length of the answer to a handshake, `None` while it is incomplete.
pub(crate) fn read_handshake_answer(buffer: &[u8]) -> Result<Option<usize>, Failure> {
    const HEADERS_MAX: usize = 32;
    let refused = || Failure::Handshake { answer: String::from_utf8_lossy(buffer).into_owned() };
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(buffer).map_err(|_| refused())? else {
        return if buffer.len() < SCRATCH_BYTES / 2 { Ok(None) } else { Err(refused()) };
    };
    let accepted = response.headers.iter().any(|header| {
        header.name.eq_ignore_ascii_case("Sec-WebSocket-Accept")
            && header.value == HANDSHAKE_ACCEPT.as_bytes()
    });
    if response.code == Some(101) && accepted { Ok(Some(length)) } else { Err(refused()) }
}
