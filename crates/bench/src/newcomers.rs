//! Clients that come in by the front door: each takes a chat token over HTTP and joins its room with it, as often as it is
//! told to. All on one thread and one poller, like [`crate::client`]; but here a connection that ends is nothing unusual.
//!
//! Tokens come from a few *desks*, connections to the control plane that are kept open, since that is how an application
//! has them made. A desk whose connection breaks gets another one and asks again, as the AWS SDKs do.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use hub::frame::{Opcode, encode_masked};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde_json::Value;

use crate::client::{CONNECTIONS_PER_ADDRESS, Clock, MASK, Ticket, connect, read_handshake_answer};
use crate::control::{AnswerHead, ControlPlane, Role};
use crate::failure::Failure;
use crate::frames::{ServerFrame, read_frame};

const SCRATCH_BYTES: usize = 64 * 1_024;
const EVENTS_PER_TURN: usize = 256;
/// Connections of a desk, one after the other, on which the same token is asked for.
const DESK_TRIES_MAX: u32 = 4;
/// After so many connections the first address of the loopback network is used again.
const CONNECTIONS_AROUND: usize = 200 * CONNECTIONS_PER_ADDRESS;

/// What has happened to a newcomer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// It was let in.
    Joined {
        /// Who.
        newcomer: usize,
        /// From when it wanted in to when it had a token.
        token_nanos: u64,
        /// From then to when it was let in.
        handshake_nanos: u64,
    },
    /// It was not let in, or got no token.
    Refused {
        /// Who.
        newcomer: usize,
        /// What was said.
        reason: String,
    },
    /// It was in, and its connection ended without a word; or it was told to come again (ERROR 401).
    Dropped {
        /// Who.
        newcomer: usize,
    },
    /// It was in, and was told with a Close frame that it is not wanted any more.
    Dismissed {
        /// Who.
        newcomer: usize,
    },
}

impl Happening {
    /// To whom.
    #[must_use]
    pub fn newcomer(&self) -> usize {
        match self {
            Self::Joined { newcomer, .. }
            | Self::Refused { newcomer, .. }
            | Self::Dropped { newcomer }
            | Self::Dismissed { newcomer } => *newcomer,
        }
    }
}

/// A connection to the control plane, and for whom it asks.
struct Desk {
    stream: TcpStream,
    unread: Vec<u8>,
    asking: Option<Asking>,
}

#[derive(Clone, Copy)]
struct Asking {
    newcomer: usize,
    tries: u32,
}

/// A connection to the edge.
struct Visit {
    stream: TcpStream,
    is_in: bool,
    unsent: Vec<u8>,
    unread: Vec<u8>,
}

#[derive(Default)]
struct Newcomer {
    /// What its user id is made of.
    user: usize,
    wanted_at: u64,
    token_at: u64,
    visit: Option<Visit>,
}

/// Everybody, whether in or not.
pub struct Newcomers {
    clock: Clock,
    poll: Poll,
    events: Events,
    scratch: Box<[u8]>,
    /// Signs the requests for tokens.
    control: ControlPlane,
    api: SocketAddr,
    edge: SocketAddr,
    room: String,
    desks: Vec<Desk>,
    idle_desks: Vec<usize>,
    queue: VecDeque<usize>,
    newcomers: Vec<Newcomer>,
    users: usize,
    connects: usize,
    messages: u64,
}

impl Newcomers {
    /// So many for a new room, none of them in, and so many desks.
    ///
    /// # Errors
    /// See [`ControlPlane`].
    pub fn new(
        clock: Clock,
        api: SocketAddr,
        edge: SocketAddr,
        count: usize,
        desks: usize,
    ) -> Result<Self, Failure> {
        let mut control = ControlPlane::connect(api, None)?;
        let room = control.create_room()?;
        let poll = Poll::new().map_err(Failure::io("make a poller"))?;
        let desks = (0..desks).map(|desk| open_desk(api, &poll, desk)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            clock,
            poll,
            events: Events::with_capacity(EVENTS_PER_TURN),
            scratch: vec![0; SCRATCH_BYTES].into(),
            control,
            api,
            edge,
            room,
            idle_desks: (0..desks.len()).collect(),
            desks,
            queue: VecDeque::new(),
            newcomers: (0..count).map(|user| Newcomer { user, ..Newcomer::default() }).collect(),
            users: count,
            connects: 0,
            messages: 0,
        })
    }

    /// Has a newcomer take a token and join with it.
    pub fn want_in(&mut self, newcomer: usize) {
        self.newcomers[newcomer].wanted_at = self.clock.nanos();
        self.queue.push_back(newcomer);
    }

    /// Ends a newcomer's connection; from now on another user is in its place. (The server slows down a user who joins the
    /// same room again and again.)
    pub fn replace(&mut self, newcomer: usize) {
        self.newcomers[newcomer] = Newcomer { user: self.users, ..Newcomer::default() };
        self.users += 1;
    }

    /// Ends a newcomer's connection.
    pub fn leave(&mut self, newcomer: usize) {
        self.newcomers[newcomer].visit = None;
    }

    /// Messages of the room that all who were in have got together.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Has a newcomer that is in send a message.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn send(&mut self, newcomer: usize, text: &str) -> Result<(), Failure> {
        let closed = |reason: &str| Failure::Closed { connection: newcomer, reason: reason.to_owned() };
        let visit = self.newcomers[newcomer].visit.as_mut().ok_or_else(|| closed("not in"))?;
        visit.unsent.extend_from_slice(&encode_masked(true, Opcode::Text, MASK, text.as_bytes()));
        visit.flush().map_err(|error| closed(&error.to_string()))
    }

    /// Waits for something to happen, at most for `timeout`, and handles it; what has happened to whom.
    ///
    /// # Errors
    /// The system's, or the control plane cannot be reached any more.
    pub fn turn(&mut self, timeout: Duration) -> Result<Vec<Happening>, Failure> {
        let mut happenings = Vec::new();
        self.staff_desks(&mut happenings)?;
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(happenings),
            result => result.map_err(Failure::io("poll"))?,
        }
        let tokens: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
        for token in tokens {
            match token.checked_sub(self.desks.len()) {
                None => self.hear_desk(token, &mut happenings)?,
                Some(newcomer) => happenings.extend(self.hear_newcomer(newcomer)),
            }
        }
        self.staff_desks(&mut happenings)?;
        Ok(happenings)
    }

    /// Has every idle desk ask for the next in the queue.
    fn staff_desks(&mut self, happenings: &mut Vec<Happening>) -> Result<(), Failure> {
        while !self.queue.is_empty()
            && let Some(desk) = self.idle_desks.pop()
            && let Some(newcomer) = self.queue.pop_front()
        {
            self.ask(desk, Asking { newcomer, tries: 1 }, happenings)?;
        }
        Ok(())
    }

    fn ask(
        &mut self,
        desk: usize,
        mut asking: Asking,
        happenings: &mut Vec<Happening>,
    ) -> Result<(), Failure> {
        let user_id = format!("newcomer-{:05}", self.newcomers[asking.newcomer].user);
        let request = self.control.create_chat_token_request(&self.room, &user_id, Role::Publisher);
        // A request is far smaller than a socket's buffer, which is empty.
        while let Err(error) = self.desks[desk].stream.write_all(&request) {
            if asking.tries == DESK_TRIES_MAX {
                happenings.push(Happening::Refused { newcomer: asking.newcomer, reason: error.to_string() });
                self.idle_desks.push(desk);
                return Ok(());
            }
            asking.tries += 1;
            self.desks[desk] = open_desk(self.api, &self.poll, desk)?;
        }
        self.desks[desk].asking = Some(asking);
        Ok(())
    }

    fn hear_desk(&mut self, index: usize, happenings: &mut Vec<Happening>) -> Result<(), Failure> {
        let desk = &mut self.desks[index];
        match desk.stream.read(&mut self.scratch) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Ok(count @ 1..) => desk.unread.extend_from_slice(&self.scratch[..count]),
            Ok(0) | Err(_) => {
                let asking = desk.asking.take();
                *desk = open_desk(self.api, &self.poll, index)?;
                return match asking {
                    None => Ok(()),
                    Some(Asking { newcomer, tries: DESK_TRIES_MAX }) => {
                        let reason = "the control plane broke off".to_owned();
                        happenings.push(Happening::Refused { newcomer, reason });
                        self.idle_desks.push(index);
                        Ok(())
                    }
                    Some(Asking { newcomer, tries }) => {
                        self.ask(index, Asking { newcomer, tries: tries + 1 }, happenings)
                    }
                };
            }
        }
        let Some(head) = AnswerHead::read(&desk.unread) else { return Ok(()) };
        let Some(body) = desk.unread.get(head.head_bytes..head.head_bytes + head.body_bytes) else {
            return Ok(());
        };
        let Some(Asking { newcomer, .. }) = desk.asking.take() else { return Ok(()) };
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        desk.unread.clear();
        self.idle_desks.push(index);
        happenings.extend(match answer["token"].as_str() {
            Some(token) => self.connect(newcomer, token),
            None => Some(Happening::Refused { newcomer, reason: format!("{}: {answer}", head.status) }),
        });
        Ok(())
    }

    fn connect(&mut self, newcomer: usize, token: &str) -> Option<Happening> {
        self.newcomers[newcomer].token_at = self.clock.nanos();
        self.connects += 1;
        let connected = connect(self.edge, self.connects % CONNECTIONS_AROUND).and_then(|mut stream| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            let number = Token(self.desks.len() + newcomer);
            self.poll.registry().register(&mut stream, number, interest).map(|()| stream)
        });
        match connected {
            Ok(stream) => {
                let unsent = Ticket::with_token(self.edge, token).into_handshake();
                let visit = Visit { stream, is_in: false, unsent, unread: Vec::new() };
                self.newcomers[newcomer].visit = Some(visit);
                None
            }
            Err(error) => Some(Happening::Refused { newcomer, reason: error.to_string() }),
        }
    }

    /// Sends what is left to send, and reads what has come.
    fn hear_newcomer(&mut self, index: usize) -> Option<Happening> {
        let newcomer = &mut self.newcomers[index];
        // An event may be late: about a connection that is there no more.
        let visit = newcomer.visit.as_mut()?;
        let mut happening = None;
        let end = visit.flush().map_err(End::from).and_then(|()| {
            loop {
                match visit.stream.read(&mut self.scratch) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                    Ok(count @ 1..) => {
                        visit.unread.extend_from_slice(&self.scratch[..count]);
                        let was_in = visit.is_in;
                        if let Err(end) = visit.consume(&mut self.messages) {
                            break Err(end);
                        }
                        if visit.is_in && !was_in {
                            happening = Some(Happening::Joined {
                                newcomer: index,
                                token_nanos: newcomer.token_at - newcomer.wanted_at,
                                handshake_nanos: self.clock.nanos() - newcomer.token_at,
                            });
                        }
                    }
                    Ok(0) => break Err(End::Broken("end of stream".to_owned())),
                    Err(error) => break Err(End::from(error)),
                }
            }
        });
        match end {
            Ok(()) => happening,
            Err(end) => {
                let was_in = visit.is_in;
                newcomer.visit = None;
                Some(match end {
                    End::Dismissed => Happening::Dismissed { newcomer: index },
                    End::Broken(_) if was_in => Happening::Dropped { newcomer: index },
                    End::Broken(reason) => Happening::Refused { newcomer: index, reason },
                })
            }
        }
    }
}

/// How a visit has ended.
enum End {
    /// With a Close frame.
    Dismissed,
    /// In any other way.
    Broken(String),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

impl Visit {
    fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.unsent = Vec::new();
        Ok(())
    }

    /// Handles all that has come whole.
    fn consume(&mut self, messages: &mut u64) -> Result<(), End> {
        let mut at = 0;
        if !self.is_in {
            let answer =
                read_handshake_answer(&self.unread).map_err(|failure| End::Broken(failure.to_string()))?;
            let Some(length) = answer else { return Ok(()) };
            (at, self.is_in) = (length, true);
        }
        while let Some((frame, length)) = read_frame(&self.unread[at..], SCRATCH_BYTES)
            .map_err(|fault| End::Broken(format!("{fault:?}")))?
        {
            match frame {
                ServerFrame::Text(text) if text.starts_with(br#"{"Type":"MESSAGE""#) => *messages += 1,
                ServerFrame::Text(text) => {
                    return Err(End::Broken(String::from_utf8_lossy(text).into_owned()));
                }
                ServerFrame::Ping(payload) => {
                    self.unsent.extend_from_slice(&encode_masked(true, Opcode::Pong, MASK, payload));
                }
                ServerFrame::Close(_) => return Err(End::Dismissed),
                ServerFrame::Pong | ServerFrame::Binary(_) | ServerFrame::Deflated(_) => {}
            }
            at += length;
        }
        self.unread.drain(..at);
        // An idle connection holds no buffer.
        self.unread.shrink_to_fit();
        self.flush().map_err(End::from)
    }
}

fn open_desk(api: SocketAddr, poll: &Poll, desk: usize) -> Result<Desk, Failure> {
    let stream = std::net::TcpStream::connect(api).map_err(Failure::io("connect to the control plane"))?;
    stream.set_nodelay(true).map_err(Failure::io("set TCP_NODELAY"))?;
    stream.set_nonblocking(true).map_err(Failure::io("stop blocking"))?;
    let mut stream = TcpStream::from_std(stream);
    let registered = poll.registry().register(&mut stream, Token(desk), Interest::READABLE);
    registered.map_err(Failure::io("register"))?;
    Ok(Desk { stream, unread: Vec::new(), asking: None })
}
