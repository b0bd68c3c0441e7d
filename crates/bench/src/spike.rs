//! What the structure of the edge rests on: small experiments, each comparing two ways to do one thing.
//!
//! - **Pending frames**: one contiguous log per room with a cursor per member and one `send`, or a queue of shared
//!   frames per member and one `writev`; over loopback sockets, and without system calls to see the rest alone.
//! - **Walking a room**: members as compact entries in one vector, or a list of indices into the sessions themselves.
//! - **An idle session**: what the real hub keeps for it, in one large room and in small ones.
//!
//! Times are processor time of this thread. Receivers are emptied outside of the measured part.

use std::collections::VecDeque;
use std::hint::black_box;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use hub::audience::Member;
use hub::chat_log::LoggingConfigurations;
use hub::log::RoomLog;
use hub::message::{Join, Now, RoomKey, RoomSettings, Written};
use hub::review::ReviewLimits;
use hub::roll::Roll;
use hub::session::{Grant, Session};
use hub::text::Texts;
use hub::{Hub, Settings};
use protocol::arn::Scope;
use protocol::capability::Capabilities;
use protocol::id::Id;
use protocol::time::Timestamp;

use crate::failure::Failure;
use crate::os;
use crate::process::Memory;
use crate::report::{Figures, Report, Run};

const FRAME_BYTES: usize = 204;
const RECEIVERS: usize = 1_000;
const BATCH_MAX: usize = 16;
const MEMBERS: usize = 10_000;
/// Deliveries to each receiver in one measurement.
const FRAMES: usize = 64;
const WALKS: usize = 200;
const SESSIONS: u32 = 10_000;

/// The hidden subcommand that runs [`print_session_memory`].
pub const SESSIONS_SUBCOMMAND: &str = "spike-sessions";

/// Runs all experiments so many times and reports.
///
/// # Errors
/// The system's.
pub fn run(rounds: u64, report_file: &Path) -> Result<(), Failure> {
    let mut pending = Report::default();
    let mut walking = Report::default();
    let mut sessions = Report::default();
    let mut sockets = Sockets::open(RECEIVERS)?;
    for round in 1..=rounds {
        pending.add(Run { round, peer: "queue-writev", figures: pending_figures(&mut sockets, queue_pass)? });
        pending.add(Run { round, peer: "log-send", figures: pending_figures(&mut sockets, log_pass)? });
        walking.add(Run { round, peer: "session-slab", figures: walk_sessions()? });
        walking.add(Run { round, peer: "member-vector", figures: walk_members()? });
        sessions.add(Run { round, peer: "one-room", figures: session_figures(SESSIONS)? });
        sessions.add(Run { round, peer: "rooms-of-ten", figures: session_figures(10)? });
    }
    pending.publish("log-send", &["send_us_batch_1", "send_us_batch_4", "send_us_batch_16"], report_file)?;
    walking.publish("member-vector", &["visit_ns"], report_file)?;
    sessions.publish("", &[], report_file)
}

/// Loopback connections: what is written to the near end arrives at the far end.
struct Sockets {
    near: Vec<TcpStream>,
    far: Vec<TcpStream>,
}

impl Sockets {
    fn open(count: usize) -> Result<Self, Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Failure::io("listen"))?;
        let address = listener.local_addr().map_err(Failure::io("read the listener's address"))?;
        let pair = || -> io::Result<(TcpStream, TcpStream)> {
            let near = TcpStream::connect(address)?;
            let (far, _) = listener.accept()?;
            near.set_nodelay(true)?;
            far.set_nonblocking(true)?;
            Ok((near, far))
        };
        let pairs: io::Result<Vec<_>> = (0..count).map(|_| pair()).collect();
        let (near, far) = pairs.map_err(Failure::io("connect"))?.into_iter().unzip();
        Ok(Self { near, far })
    }

    fn empty(&mut self, scratch: &mut [u8]) {
        for stream in &mut self.far {
            while let Ok(1..) = stream.read(scratch) {}
        }
    }
}

/// Delivers one batch of frames to all receivers; `None` instead of sockets: without system calls.
type Pass = fn(&mut Pending, &[Arc<[u8]>], Option<&mut Sockets>) -> io::Result<()>;

/// The state of both ways.
#[derive(Default)]
struct Pending {
    log: RoomLog,
    members: Vec<Member>,
    queues: Vec<VecDeque<Arc<[u8]>>>,
}

/// Appends to the log once; then one write per member from its cursor on.
fn log_pass(pending: &mut Pending, batch: &[Arc<[u8]>], sockets: Option<&mut Sockets>) -> io::Result<()> {
    for frame in batch {
        pending.log.append(frame);
    }
    let head = pending.log.head();
    let mut sockets = sockets;
    for (index, member) in pending.members.iter_mut().enumerate() {
        let bytes = pending.log.pending(member.cursor, head);
        let count = match &mut sockets {
            Some(sockets) => sockets.near[index].write(bytes)?,
            None => black_box(bytes).len(),
        };
        member.cursor += count as u64;
    }
    pending.log.release(head, head);
    Ok(())
}

/// Pushes each frame into each member's queue; then one vectored write per member.
fn queue_pass(pending: &mut Pending, batch: &[Arc<[u8]>], sockets: Option<&mut Sockets>) -> io::Result<()> {
    for frame in batch {
        for queue in &mut pending.queues {
            queue.push_back(Arc::clone(frame));
        }
    }
    let mut sockets = sockets;
    for (index, queue) in pending.queues.iter_mut().enumerate() {
        let mut slices = [IoSlice::new(&[]); BATCH_MAX];
        for (slice, frame) in slices.iter_mut().zip(queue.iter()) {
            *slice = IoSlice::new(frame);
        }
        let slices = &slices[..queue.len().min(BATCH_MAX)];
        match &mut sockets {
            Some(sockets) => drop(sockets.near[index].write_vectored(slices)?),
            None => drop(black_box(slices)),
        }
        queue.clear();
    }
    Ok(())
}

fn pending_figures(sockets: &mut Sockets, pass: Pass) -> Result<Figures, Failure> {
    let mut figures = Figures::new();
    for (batch, with_sockets, without) in [
        (1, "send_us_batch_1", "rest_ns_batch_1"),
        (4, "send_us_batch_4", "rest_ns_batch_4"),
        (16, "send_us_batch_16", "rest_ns_batch_16"),
    ] {
        figures.push((with_sockets, time_passes(Some(sockets), pass, batch)? / 1e3));
        figures.push((without, time_passes(None, pass, batch)?));
    }
    Ok(figures)
}

/// Nanoseconds per delivery when frames go out in batches of `batch`.
fn time_passes(mut sockets: Option<&mut Sockets>, pass: Pass, batch: usize) -> Result<f64, Failure> {
    let frames: Vec<Arc<[u8]>> = (0..batch).map(|_| vec![b'x'; FRAME_BYTES].into()).collect();
    let members = (0..RECEIVERS).map(|_| Member { connection: 0, blocked_since_ms: 0, cursor: 0 });
    let mut pending = Pending {
        members: members.collect(),
        queues: (0..RECEIVERS).map(|_| VecDeque::new()).collect(),
        ..Pending::default()
    };
    let mut scratch = vec![0; 64 * 1_024];
    let mut used = 0;
    for _ in 0..FRAMES / batch {
        let began = processor_nanos()?;
        pass(&mut pending, &frames, sockets.as_deref_mut()).map_err(Failure::io("write"))?;
        used += processor_nanos()? - began;
        if let Some(sockets) = &mut sockets {
            sockets.empty(&mut scratch);
        }
    }
    Ok(used as f64 / (FRAMES * RECEIVERS) as f64)
}

fn processor_nanos() -> Result<u64, Failure> {
    os::thread_processor_nanos().map_err(Failure::io("read processor time"))
}

/// The walk's work on one member: is it blocked, is it behind, and if so it is written to.
fn visit(member: &mut Member, head: u64) {
    if member.blocked_since_ms == 0 && member.cursor < head {
        member.cursor = black_box(head);
    }
}

fn walk_members() -> Result<Figures, Failure> {
    let mut members: Vec<Member> = (0..MEMBERS).map(member).collect();
    let visit_ns = time_walks(|head| members.iter_mut().for_each(|member| visit(member, head)))?;
    Ok(vec![("visit_ns", visit_ns), ("walked_bytes_each", size_of::<Member>() as f64)])
}

/// The same members inside their sessions, which lie in the order of joining, while the room lists them in another.
fn walk_sessions() -> Result<Figures, Failure> {
    let mut sessions: Vec<(Session, Member)> = (0..MEMBERS).map(|index| (session(), member(index))).collect();
    // Any step that has no factor in common with the count visits everybody once.
    let order: Vec<usize> = (0..MEMBERS).map(|index| index * 7_919 % MEMBERS).collect();
    let visit_ns = time_walks(|head| {
        for index in &order {
            visit(&mut sessions[*index].1, head);
        }
    })?;
    Ok(vec![("visit_ns", visit_ns), ("walked_bytes_each", size_of::<(Session, Member)>() as f64)])
}

fn member(index: usize) -> Member {
    Member { connection: u32::try_from(index).unwrap_or(u32::MAX), blocked_since_ms: 0, cursor: 0 }
}

fn session() -> Session {
    let scope = Arc::new(Scope { account_id: "123456789012".into(), region: "us-east-1".into() });
    let mut roll = Roll::new([7; 32]);
    let (entry, _) = roll.enter(roll.user(&RoomKey { scope, id: Id::from_random(1) }, "viewer-00000"));
    let grant = Grant {
        sender: Texts::default().add("{}"),
        client: std::net::Ipv6Addr::LOCALHOST,
        capabilities: Capabilities::default(),
        session_end: Timestamp::from_nanos(0),
        deflates: false,
    };
    Session::new(0, entry, grant, 0)
}

/// Nanoseconds per visited member. Between two walks other memory is touched, as sockets and kernel do in life.
fn time_walks(mut walk: impl FnMut(u64)) -> Result<f64, Failure> {
    let mut elsewhere = vec![0_u8; 4 << 20];
    let mut used = 0;
    for round in 1..=WALKS {
        for byte in elsewhere.iter_mut().step_by(64) {
            *byte = byte.wrapping_add(1);
        }
        black_box(&elsewhere);
        let began = processor_nanos()?;
        walk(round as u64);
        used += processor_nanos()? - began;
    }
    Ok(used as f64 / (WALKS * MEMBERS) as f64)
}

/// Memory of a hub with many sessions, `room_members` to a room.
fn session_figures(room_members: u32) -> Result<Figures, Failure> {
    // In a process of its own: here the heap has room left over from other experiments.
    let this = std::env::current_exe().map_err(Failure::io("find this binary"))?;
    let output = Command::new(this).args([SESSIONS_SUBCOMMAND, &room_members.to_string()]).output();
    let output = output.map_err(Failure::io("run a part of the experiment"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let bytes: f64 = text.trim().parse().map_err(|_| Failure::Unreadable { path: text.into_owned() })?;
    Ok(vec![
        ("anonymous_bytes_each", bytes / f64::from(SESSIONS)),
        ("session_bytes", size_of::<Session>() as f64),
        ("member_bytes", size_of::<Member>() as f64),
    ])
}

/// Fills a hub with greeted sessions and prints by how many bytes this process grew.
///
/// # Errors
/// No Linux.
pub fn print_session_memory(room_members: u32) -> Result<(), Failure> {
    let settings = Settings {
        shard: 0,
        shards: 1,
        coalescing_window_nanos: 0,
        rates_lifted: false,
        reviews: ReviewLimits::default(),
        seed: [7; 32],
    };
    let now = Now { nanos: 1, wall: Timestamp::from_seconds(1) };
    let scope = Arc::new(Scope { account_id: "123456789012".into(), region: "us-east-1".into() });
    let before = Memory::read(std::process::id())?;
    let mut hub = Hub::new(settings);
    for index in 0..SESSIONS {
        let id = Id::from_random(u128::from(index / room_members.max(1)) << 64);
        let room = RoomKey { scope: Arc::clone(&scope), id };
        let settings = RoomSettings {
            version: 1,
            message_length_max: 500,
            message_rate_max: 10,
            review: None,
            logging_configurations: LoggingConfigurations::default(),
        };
        let join = join(room, settings, index);
        let placement = hub.place(now, &join);
        hub.adopt(now, join, placement);
        while hub.next_effect().is_some() {}
        hub.flush(u64::MAX / 2, &|| 1, &mut |_, bytes| Written::Bytes(bytes.len()));
    }
    let after = Memory::read(std::process::id())?;
    println!("{}", after.anonymous_bytes.saturating_sub(before.anonymous_bytes));
    drop(black_box(hub));
    Ok(())
}

fn join(room: RoomKey, settings: RoomSettings, index: u32) -> Join {
    let user_id = format!("viewer-{index:05}");
    let sender = format!(r#"{{"UserId":"{user_id}","Attributes":{{}}}}"#);
    Join {
        room,
        settings,
        account: None,
        user_id: user_id.into(),
        sender,
        client: [127, 0, 0, 1].into(),
        capabilities: Capabilities::default(),
        session_end: Timestamp::from_seconds(3_600),
        deflates: false,
        greeting: vec![b'x'; 400],
    }
}
