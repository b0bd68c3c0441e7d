//! The limit that a server cannot beat without coalescing: every text frame of a client goes to every connection that was
//! opened with the same path, with one `send(2)` each, at once. No tokens, no limits, no back-pressure: a frame that a socket does not take
//! is lost, which makes the run void.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use hub::frame::{Decoded, Opcode, decode, encode};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::client::HANDSHAKE_ACCEPT;
use crate::failure::Failure;

/// The hidden subcommand that runs this server.
pub const SUBCOMMAND: &str = "serve-bare-send";

const LISTENER: Token = Token(usize::MAX);
const EVENTS: usize = 1_024;
const SCRATCH_BYTES: usize = 64 * 1_024;
const MESSAGE_BYTES_MAX: usize = 16 * 1_024;

struct Connection {
    stream: TcpStream,
    /// The path it was opened with; empty while it is not.
    room: Vec<u8>,
    unread: Vec<u8>,
}

/// Everybody who is connected.
#[derive(Default)]
struct Crowd {
    connections: Vec<Option<Connection>>,
    /// The numbers of those who are in each room.
    rooms: HashMap<Vec<u8>, Vec<usize>>,
}

/// Serves on a free port of the loopback until the process is ended.
///
/// # Errors
/// The system's.
pub fn serve() -> Result<(), Failure> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut listener = TcpListener::bind(any).map_err(Failure::io("listen"))?;
    let mut poll = Poll::new().map_err(Failure::io("make a poller"))?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)
        .map_err(Failure::io("register the listener"))?;
    let address = listener.local_addr().map_err(Failure::io("read the listener's address"))?;
    println!(r#"{{"event":"ready","edge":"ws://{address}"}}"#);

    let mut events = Events::with_capacity(EVENTS);
    let mut crowd = Crowd::default();
    let mut scratch = vec![0; SCRATCH_BYTES];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result.map_err(Failure::io("poll"))?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept_all(&listener, &poll, &mut crowd.connections)?;
            } else {
                crowd.receive(event.token().0, &mut scratch);
            }
        }
    }
}

fn accept_all(
    listener: &TcpListener,
    poll: &Poll,
    connections: &mut Vec<Option<Connection>>,
) -> Result<(), Failure> {
    while let Ok((mut stream, _)) = listener.accept() {
        stream.set_nodelay(true).map_err(Failure::io("set TCP_NODELAY"))?;
        let token = Token(connections.len());
        poll.registry().register(&mut stream, token, Interest::READABLE).map_err(Failure::io("register"))?;
        connections.push(Some(Connection { stream, room: Vec::new(), unread: Vec::new() }));
    }
    Ok(())
}

impl Crowd {
    /// Reads all that has come on one connection, and fans out what it wants to say.
    fn receive(&mut self, index: usize, scratch: &mut [u8]) {
        loop {
            let Some(connection) = &mut self.connections[index] else { return };
            match connection.stream.read(scratch) {
                Ok(count @ 1..) => connection.unread.extend_from_slice(&scratch[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(0) | Err(_) => {
                    self.connections[index] = None;
                    return;
                }
            }
            if connection.room.is_empty() {
                self.open(index);
                continue;
            }
            let mut unread = std::mem::take(&mut connection.unread);
            let room = connection.room.clone();
            let mut at = 0;
            while let Ok(Decoded::Frame(frame, length)) = decode(&mut unread[at..], MESSAGE_BYTES_MAX, false)
            {
                if frame.opcode == Opcode::Text {
                    self.fan_out(&encode(Opcode::Text, frame.payload), &room);
                }
                at += length;
            }
            if let Some(connection) = &mut self.connections[index] {
                connection.unread.extend_from_slice(&unread[at..]);
            }
        }
    }

    /// Answers a handshake, once it is whole.
    fn open(&mut self, index: usize) {
        let Some(connection) = &mut self.connections[index] else { return };
        if !connection.unread.ends_with(b"\r\n\r\n") {
            return;
        }
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {HANDSHAKE_ACCEPT}\r\n\r\n"
        );
        let request = std::mem::take(&mut connection.unread);
        let path = request.split(|byte| *byte == b' ').nth(1).unwrap_or(b"/");
        if connection.stream.write(answer.as_bytes()).is_ok() {
            connection.room = path.to_vec();
            self.rooms.entry(path.to_vec()).or_default().push(index);
        }
    }

    fn fan_out(&mut self, frame: &[u8], room: &[u8]) {
        for index in self.rooms.get(room).into_iter().flatten() {
            if let Some(connection) = &mut self.connections[*index] {
                // On Linux std writes to a TCP socket with send(2). What is not taken is lost, and the load generator
                // sees it.
                drop(connection.stream.write(frame));
            }
        }
    }
}
