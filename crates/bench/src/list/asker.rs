//! The load generator of `list`: connections that stay open and ask for the next page as soon as they have one.
//!
//! One thread, one poller. Requests are signed before the clock starts, and every answer is compared with the one
//! that was expected. It never sleeps: on one machine a server that sends an answer would pay for waking it, the more the
//! slower it answers, and over a network none does.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::control::AnswerHead;
use crate::failure::Failure;
use crate::histogram::Histogram;

/// Larger than an answer, so that one read usually takes it whole.
const SCRATCH_BYTES: usize = 256 * 1_024;
/// How long no answer may come before the server counts as dead.
const STALL: Duration = Duration::from_secs(10);

/// A page, as it is asked for and as it must come.
pub(super) struct Page {
    /// The signed request.
    pub(super) request: Vec<u8>,
    /// What the body begins with: all but its end, which may be a `nextToken`.
    pub(super) beginning: Vec<u8>,
    /// The length of the whole body.
    pub(super) body_bytes: usize,
}

/// What came out.
pub(super) struct Asked {
    /// Answers, each as expected.
    pub(super) pages: u64,
    /// From the first request to the last answer.
    pub(super) elapsed: Duration,
    /// From a request to its whole answer.
    pub(super) latency: Histogram,
}

struct Asker {
    stream: TcpStream,
    unread: Vec<u8>,
    page: usize,
    asked_at: Instant,
}

/// Asks on `connections` connections for `duration`, all of them together for the pages in turn: no page is asked for again
/// before all others were.
pub(super) fn ask(
    address: SocketAddr,
    connections: usize,
    pages: &[Page],
    duration: Duration,
) -> Result<Asked, Failure> {
    let mut poll = Poll::new().map_err(Failure::io("make a poller"))?;
    let mut askers = connect(address, connections, &poll)?;
    let began = Instant::now();
    let mut turns = (0..pages.len()).cycle();
    for (asker, page) in askers.iter_mut().zip(&mut turns) {
        asker.ask(page, pages)?;
    }
    let mut asked = Asked { pages: 0, elapsed: Duration::ZERO, latency: Histogram::default() };
    let mut events = Events::with_capacity(connections);
    let mut scratch = vec![0; SCRATCH_BYTES];
    let mut waiting = connections;
    let mut last_event = began;
    while waiting > 0 {
        poll.poll(&mut events, Some(Duration::ZERO)).map_err(Failure::io("poll"))?;
        if !events.is_empty() {
            last_event = Instant::now();
        } else if last_event.elapsed() > STALL {
            return Err(Failure::Closed { connection: 0, reason: "no answer comes any more".to_owned() });
        }
        for event in &events {
            let asker = &mut askers[event.token().0];
            if !asker.receive(event.token().0, pages, &mut scratch)? {
                continue;
            }
            asked.pages += 1;
            asked.latency.add(u64::try_from(asker.asked_at.elapsed().as_nanos()).unwrap_or(u64::MAX));
            asked.elapsed = began.elapsed();
            if asked.elapsed >= duration {
                waiting -= 1;
            } else if let Some(page) = turns.next() {
                asker.ask(page, pages)?;
            }
        }
    }
    Ok(asked)
}

fn connect(address: SocketAddr, connections: usize, poll: &Poll) -> Result<Vec<Asker>, Failure> {
    let mut askers = Vec::with_capacity(connections);
    for number in 0..connections {
        let stream = std::net::TcpStream::connect(address).map_err(Failure::io("connect"))?;
        stream.set_nodelay(true).map_err(Failure::io("set TCP_NODELAY"))?;
        stream.set_nonblocking(true).map_err(Failure::io("stop blocking"))?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry()
            .register(&mut stream, Token(number), Interest::READABLE)
            .map_err(Failure::io("register"))?;
        askers.push(Asker { stream, unread: Vec::new(), page: 0, asked_at: Instant::now() });
    }
    Ok(askers)
}

impl Asker {
    fn ask(&mut self, page: usize, pages: &[Page]) -> Result<(), Failure> {
        self.page = page;
        self.asked_at = Instant::now();
        // A request is far smaller than a socket's buffer, which is empty.
        self.stream.write_all(&pages[self.page].request).map_err(Failure::io("send a request"))
    }

    /// Reads what has come; whether the answer is whole.
    fn receive(&mut self, number: usize, pages: &[Page], scratch: &mut [u8]) -> Result<bool, Failure> {
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Err(Failure::Closed { connection: number, reason: String::new() }),
                Ok(count) => {
                    self.unread.extend_from_slice(&scratch[..count]);
                    if count < scratch.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(Failure::io("read an answer")(error)),
            }
        }
        let Some(head) = AnswerHead::read(&self.unread) else { return Ok(false) };
        let body = &self.unread[head.head_bytes..];
        if head.status == 200 && body.len() < head.body_bytes {
            return Ok(false);
        }
        let page = &pages[self.page];
        if head.status != 200 || body.len() != page.body_bytes || !body.starts_with(&page.beginning) {
            let body = String::from_utf8_lossy(body).into_owned();
            return Err(Failure::Refused { operation: "ListRooms", status: head.status, body });
        }
        self.unread.clear();
        Ok(true)
    }
}
