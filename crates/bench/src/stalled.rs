//! A large room in which some viewers do not read at all: what the others notice of it, and what it costs the server.
//!
//! Each round has three runs with the same messages: `stalled`, in which some viewers finish the handshake and then never
//! read, with a receive buffer so small that their window is closed soon; `absent`, without these; and `reading`, in which
//! they read like all others. Only the healthy viewers are verified and have latencies.
//!
//! Drops are those that the server's own metrics count, looked at once a second. When the last message has arrived and the
//! server had time to drop whoever it blocks on, the stalled viewers read what there still is for them: to its end if they
//! were dropped, and without a Close frame, so that official SDKs would come back.

use std::io::{self, Read, Write};
use std::net::TcpStream as BlockingStream;
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, SockRef, Socket, Type};

use crate::client::{Clock, Crowd, Ticket, read_handshake_answer};
use crate::failure::Failure;
use crate::fanout::Load;
use crate::frames::{ServerFrame, read_frame};
use crate::os;
use crate::peers::{Peer, RunningPeer, Setup};
use crate::play::{Play, SECOND_NANOS};
use crate::reading::Reading;
use crate::report::{Figures, Report};
use crate::watch::{Seen, Watch};

/// The receive buffer of a viewer that does not read, in bytes; the kernel doubles it.
const SMALL_BUFFER_BYTES: usize = 4_096;
/// The receive buffer of the same viewer once it reads after all.
const LARGE_BUFFER_BYTES: usize = 256 * 1_024;
const SCRATCH_BYTES: usize = 64 * 1_024;
const FRAME_BYTES_MAX: usize = 16 * 1_024;
const EVENTS: usize = 1_024;
/// Viewers that read after all have heard everything when nothing has come for so long.
const SILENCE: Duration = Duration::from_secs(2);

/// What `stalled` does.
pub struct Plan {
    /// How often everything is measured.
    pub rounds: u64,
    /// How the server is started.
    pub setup: Setup,
    /// The healthy viewers and the messages.
    pub load: Load,
    /// Viewers that do not read, in the same room.
    pub stalled: u64,
    /// Files that a process may open.
    pub descriptors: u64,
    /// Where the lines of JSON go.
    pub report_file: PathBuf,
}

/// What those do whom this is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    Stalled,
    Absent,
    Reading,
}

impl Others {
    const ALL: [Self; 3] = [Self::Stalled, Self::Absent, Self::Reading];

    const fn name(self) -> &'static str {
        match self {
            Self::Stalled => "stalled",
            Self::Absent => "absent",
            Self::Reading => "reading",
        }
    }
}

/// Measures all rounds and reports.
///
/// # Errors
/// More connections than descriptors, and the system's; and a run was void.
pub fn run(plan: &Plan) -> Result<(), Failure> {
    os::allow_connections(plan.load.members().connections() + plan.stalled, plan.descriptors)?;
    let mut report = Report::default();
    for round in 1..=plan.rounds {
        let mut variants = Others::ALL;
        variants.rotate_left(usize::try_from(round).unwrap_or(0) % Others::ALL.len());
        for others in variants {
            let running = Peer::Grandstand.start(&plan.setup)?;
            let figures = measure(&running, plan, others);
            if figures.is_err() {
                eprintln!("grandstand said: {}", running.server.log_tail());
            }
            report.add_outcome(round, others.name(), figures)?;
            running.stop()?;
        }
    }
    report.publish(Others::Stalled.name(), &["latency_p99_ms", "server_core_percent"], &plan.report_file)?;
    let void = Others::ALL.map(|others| report.void_runs(others.name()));
    match (void.iter().map(|(void, _)| void).sum(), void.iter().map(|(_, all)| all).sum()) {
        (0, _) => Ok(()),
        (void, all) => Err(Failure::VoidRuns { void, all }),
    }
}

fn measure(running: &RunningPeer, plan: &Plan, others: Others) -> Result<Figures, Failure> {
    let clock = Clock::start();
    let mut members = plan.load.members();
    members.viewers += if others == Others::Absent { 0 } else { plan.stalled };
    let tickets = running.tickets(&members)?;
    let stalled = if others == Others::Stalled { plan.stalled } else { 0 };
    let (healthy, stalled) = tickets.split_at(tickets.len() - usize::try_from(stalled).unwrap_or(0));
    let mut crowd = Crowd::new(clock)?;
    crowd.join(running.server.edge, healthy)?;
    let stalled = Stalled::join(running, stalled)?;
    let watch = Watch::new(&running.server, clock, stalled.viewers.len() as u64)?;
    let start = clock.nanos() + SECOND_NANOS / 10;
    let phases = [plan.load.warm_up_seconds, plan.load.seconds];
    let mut play =
        Play::new(Peer::Grandstand, plan.load.script(), (clock, crowd), plan.load.pace(start), &phases);
    let mut readings = Vec::new();
    let (say_over, over) = sync_channel(1);
    let seen = thread::scope(|scope| {
        let watching = scope.spawn(move || watch.until(&over));
        let played = play.perform(|_, play| {
            readings.push(Reading::take(play, running)?);
            Ok(())
        });
        if let Err(failure) = played {
            // Nobody is left to be watched for.
            drop(say_over);
            return Err(failure);
        }
        // Nobody hears it when the watch has failed; how it did is found out now.
        let _heard = say_over.send(());
        let ended = |_| Failure::io("watch the server")(io::Error::other("its thread has ended"));
        watching.join().map_err(ended).flatten()
    })?;
    let heard = stalled.hear_out()?;
    match readings.as_slice() {
        [_, begin, end] => {
            let mut figures = figures_of_healthy(&play, begin, end);
            figures.extend(figures_of_server(&seen, plan.stalled, start));
            figures.extend(heard);
            Ok(figures)
        }
        _ => Err(Failure::Arguments("nothing is measured".to_owned())),
    }
}

fn figures_of_healthy(play: &Play, begin: &Reading, end: &Reading) -> Figures {
    let latency = play.latency(1);
    let millis = |nanos: u64| nanos as f64 / 1e6;
    let mut figures = vec![
        ("latency_p99_ms", millis(latency.percentile(990))),
        ("latency_p50_ms", millis(latency.percentile(500))),
        ("latency_max_ms", millis(latency.longest())),
        ("deliveries_per_s", end.deliveries_per_s(begin)),
        ("client_late_p99_ms", millis(play.lateness(1).percentile(990))),
    ];
    figures.extend(end.shares(begin));
    figures
}

/// Memory is shared out among the stalled viewers in all runs, so that what others cause can be taken off.
fn figures_of_server(seen: &Seen, stalled: u64, start_nanos: u64) -> Figures {
    let each = |bytes: u64| bytes as f64 / stalled.max(1) as f64;
    let seconds = |at_nanos: Option<u64>| {
        at_nanos.map_or(0.0, |at_nanos| at_nanos.saturating_sub(start_nanos) as f64 / 1e9)
    };
    vec![
        ("resident_growth_bytes_each", each(seen.resident_growth_bytes)),
        ("tcp_growth_bytes_each", each(seen.tcp_growth_bytes)),
        ("send_queue_max_bytes", seen.send_queue_bytes_max as f64),
        ("dropped_as_slow", seen.dropped_as_slow as f64),
        ("dropped_as_dead", seen.dropped_as_dead as f64),
        ("first_dropped_s", seconds(seen.first_drop_nanos)),
        ("last_dropped_s", seconds(seen.last_drop_nanos)),
    ]
}

/// Viewers that do not read.
struct Stalled {
    viewers: Vec<Viewer>,
}

struct Viewer {
    stream: TcpStream,
    /// What has been read, from the beginning of a frame.
    unread: Vec<u8>,
    ended: bool,
}

impl Stalled {
    /// Joins with one connection per ticket, one after the other.
    fn join(running: &RunningPeer, tickets: &[Ticket]) -> Result<Self, Failure> {
        let join = |ticket: &Ticket| Viewer::join(running, ticket.clone());
        Ok(Self { viewers: tickets.iter().map(join).collect::<Result<_, _>>()? })
    }

    /// Reads everything after all, and says how many have heard the end of their stream, and how many a Close frame.
    fn hear_out(mut self) -> Result<Figures, Failure> {
        let mut poll = Poll::new().map_err(Failure::io("make a poller"))?;
        for (index, viewer) in self.viewers.iter_mut().enumerate() {
            let buffered = SockRef::from(&viewer.stream).set_recv_buffer_size(LARGE_BUFFER_BYTES);
            buffered.map_err(Failure::io("enlarge a receive buffer"))?;
            let registered = poll.registry().register(&mut viewer.stream, Token(index), Interest::READABLE);
            registered.map_err(Failure::io("register"))?;
        }
        let mut scratch = vec![0; SCRATCH_BYTES];
        let (mut ends, mut close_frames) = (0_usize, 0_usize);
        let mut events = Events::with_capacity(EVENTS);
        while ends < self.viewers.len() {
            match poll.poll(&mut events, Some(SILENCE)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result.map_err(Failure::io("poll"))?,
            }
            if events.is_empty() {
                break;
            }
            for event in &events {
                let viewer = &mut self.viewers[event.token().0];
                if !viewer.ended {
                    close_frames += viewer.read(&mut scratch)?;
                    ends += usize::from(viewer.ended);
                }
            }
        }
        Ok(vec![("ends_heard", ends as f64), ("close_frames", close_frames as f64)])
    }
}

impl Viewer {
    fn join(running: &RunningPeer, ticket: Ticket) -> Result<Self, Failure> {
        let edge = running.server.edge;
        let connect = || {
            let socket = Socket::new(Domain::for_address(edge), Type::STREAM, None)?;
            // Before it is connected: a window that has been offered cannot be taken back.
            socket.set_recv_buffer_size(SMALL_BUFFER_BYTES)?;
            socket.connect(&edge.into())?;
            let mut stream = BlockingStream::from(socket);
            stream.write_all(&ticket.into_handshake())?;
            Ok(stream)
        };
        let mut stream = connect().map_err(Failure::io("connect a viewer that will stall"))?;
        let mut answer = Vec::new();
        let head_bytes = loop {
            let mut part = [0; SMALL_BUFFER_BYTES];
            match stream.read(&mut part).map_err(Failure::io("read the answer to a handshake"))? {
                0 => return Err(Failure::Handshake { answer: "nothing".to_owned() }),
                count => answer.extend_from_slice(&part[..count]),
            }
            if let Some(head_bytes) = read_handshake_answer(&answer)? {
                break head_bytes;
            }
        };
        stream.set_nonblocking(true).map_err(Failure::io("make a socket non-blocking"))?;
        Ok(Self { stream: TcpStream::from_std(stream), unread: answer.split_off(head_bytes), ended: false })
    }

    /// Reads all that has come; how many Close frames were in it.
    fn read(&mut self, scratch: &mut [u8]) -> Result<usize, Failure> {
        let mut close_frames = 0;
        loop {
            match self.stream.read(scratch) {
                Ok(count @ 1..) => self.unread.extend_from_slice(&scratch[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(close_frames),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => {
                    self.ended = true;
                    return Ok(close_frames);
                }
            }
            let mut at = 0;
            while let Some((frame, length)) =
                read_frame(&self.unread[at..], FRAME_BYTES_MAX).map_err(Failure::Framing)?
            {
                close_frames += usize::from(matches!(frame, ServerFrame::Close(_)));
                at += length;
            }
            self.unread.drain(..at);
        }
    }
}
