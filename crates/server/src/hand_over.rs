//! One process of the server gives way to the next one, on the same listening sockets: so that no connect is refused.
//!
//! The running process starts the next one with the command line that it was started with itself (so a new binary at
//! the same path is an upgrade), lets it inherit its listening sockets, and keeps a line to it open:
//!
//! ```text
//! running process                                    next process
//! start it  ---------------------------------------> reads settings and certificates, starts shards
//!   serves as ever
//!           <------------------------ [`PREPARED`]
//! stops accepting, answers what is under way,
//! closes the store unless several may use it
//!           [`GIVEN_WAY`] -------------------------> opens the store, accepts
//!           <--------------------------- [`READY`]
//! drains, ends                                       serves
//! ```
//!
//! Promises: until [`READY`] the running process can go on as if nothing had happened, and does when the next one says
//! nothing in time or ends. The next process accepts nothing before [`GIVEN_WAY`]. If the running one ends without a
//! word, the next one takes its place.

use std::ffi::OsString;
use std::fmt::{self, Write};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::inheritance::{HELD, LINE, VARIABLE};

const PREPARED: u8 = b'p';
const GIVEN_WAY: u8 = b'g';
const READY: u8 = b'r';

/// What systemd tells the process that it starts itself, and nobody else.
const SYSTEMDS_VARIABLES: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// Why no other process has taken over.
#[derive(Debug)]
pub enum HandOverError {
    /// It is not possible here, and why not.
    Impossible(&'static str),
    /// The next process could not be started.
    Start(io::Error),
    /// It has ended before it was ready. It says why itself, on the same standard error.
    Ended(ExitStatus),
    /// It was not ready in time, and was ended.
    Late(Duration),
    /// What it said makes no sense, or could not be heard; it was ended.
    Line(io::Error),
}

impl fmt::Display for HandOverError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Impossible(reason) => formatter.write_str(reason),
            Self::Start(error) => write!(formatter, "the next process could not be started: {error}"),
            Self::Ended(status) => write!(formatter, "the next process ended before it was ready ({status})"),
            Self::Late(time) => {
                write!(formatter, "the next process was not ready within {} s", time.as_secs())
            }
            Self::Line(error) => write!(formatter, "the next process cannot be understood: {error}"),
        }
    }
}

impl std::error::Error for HandOverError {}

/// The listening sockets that the next process inherits.
pub struct Heritage<'a> {
    /// Each with the name that it has in [`crate::inheritance`].
    pub sockets: Vec<(&'static str, BorrowedFd<'a>)>,
    /// Somebody else keeps them open, too.
    pub is_held: bool,
}

/// The next process, for the one that started it. Dropping it ends that process, unless it was released.
pub struct Successor {
    /// `None` once it was released.
    process: Option<Child>,
    line: UnixStream,
    time_max: Duration,
}

impl Successor {
    /// Starts the next process with `command_line`, of which the first word is the program. Each of its two steps may
    /// take `time_max`.
    ///
    /// No other process may be started by another thread meanwhile: it would inherit the sockets as well.
    ///
    /// # Errors
    /// [`HandOverError::Impossible`] and [`HandOverError::Start`].
    pub fn start(
        command_line: &[OsString],
        heritage: &Heritage<'_>,
        time_max: Duration,
    ) -> Result<Self, HandOverError> {
        let no_program = HandOverError::Impossible("this process does not know how it was started");
        let (program, words) = command_line.split_first().ok_or(no_program)?;
        if std::process::id() == 1 {
            return Err(HandOverError::Impossible(
                "this is the first process of a container, which ends with it",
            ));
        }
        let mut command = Command::new(program);
        command.args(words);
        spawn(command, heritage, time_max).map_err(HandOverError::Start)
    }

    /// Its number.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Waits until it could take over.
    ///
    /// # Errors
    /// It cannot; see [`HandOverError`].
    pub async fn prepared(&mut self) -> Result<(), HandOverError> {
        self.hear(PREPARED).await
    }

    /// Tells it that this process has given way, and waits until it is ready.
    ///
    /// # Errors
    /// It is not; see [`HandOverError`]. It has ended then.
    pub async fn take_over(&mut self) -> Result<(), HandOverError> {
        // What it has to say when it cannot hear this is found by listening.
        let _ = self.line.write_all(&[GIVEN_WAY]).await;
        self.hear(READY).await
    }

    /// Lets it live on its own.
    pub fn release(mut self) {
        self.process = None;
    }

    async fn hear(&mut self, word: u8) -> Result<(), HandOverError> {
        let error = match timeout(self.time_max, self.line.read_u8()).await {
            Ok(Ok(heard)) if heard == word => return Ok(()),
            Ok(Ok(_)) => HandOverError::Line(io::ErrorKind::InvalidData.into()),
            Ok(Err(error)) => HandOverError::Line(error),
            Err(_) => HandOverError::Late(self.time_max),
        };
        let hung_up =
            matches!(&error, HandOverError::Line(error) if error.kind() == io::ErrorKind::UnexpectedEof);
        match self.end() {
            Some(status) if hung_up => Err(HandOverError::Ended(status)),
            _ => Err(error),
        }
    }

    /// Ends the process, and returns when it is gone: nothing is locked and nothing accepted by it any more. The kernel
    /// does that at once. Answers how it ended: one that has ended by itself, or is about to, as it wanted to.
    fn end(&mut self) -> Option<ExitStatus> {
        let mut process = self.process.take()?;
        // It fails only for a process that has ended already.
        let _ = process.kill();
        process.wait().ok()
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts a process that inherits `heritage`.
fn spawn(mut command: Command, heritage: &Heritage<'_>, time_max: Duration) -> io::Result<Successor> {
    let (own_end, its_end) = StdUnixStream::pair()?;
    own_end.set_nonblocking(true)?;
    let line = UnixStream::from_std(own_end)?;
    let mut inherited = heritage.sockets.clone();
    inherited.push((LINE, its_end.as_fd()));
    let mut description = String::new();
    for (name, socket) in &inherited {
        // Writing to a string cannot fail.
        let _ = write!(description, "{name}={} ", socket.as_raw_fd());
    }
    let held = if heritage.is_held { HELD } else { "" };
    command.env(VARIABLE, format!("{description}{held}").trim_end());
    for name in SYSTEMDS_VARIABLES {
        command.env_remove(name);
    }
    let process = let_inherit(&inherited, true).and_then(|()| command.spawn());
    let uninherited = let_inherit(&inherited, false);
    // From here on it ends with whatever goes wrong: one that is dropped alive would take this one's place.
    let successor = Successor { process: Some(process?), line, time_max };
    uninherited.map(|()| successor)
}

/// Whether a process that is started now inherits the descriptors.
fn let_inherit(descriptors: &[(&str, BorrowedFd<'_>)], is_wanted: bool) -> io::Result<()> {
    descriptors.iter().try_for_each(|(_, descriptor)| SockRef::from(descriptor).set_cloexec(!is_wanted))
}

/// The process before, for the one that is to take over.
pub struct Predecessor {
    line: UnixStream,
}

impl Predecessor {
    /// The process at the other end of `line`. To be called in an async runtime.
    ///
    /// # Errors
    /// Those of the system.
    pub fn new(line: StdUnixStream) -> io::Result<Self> {
        line.set_nonblocking(true)?;
        Ok(Self { line: UnixStream::from_std(line)? })
    }

    /// Says that this process could take over, and waits until the other has given way, or has ended.
    pub async fn wait_for_way(&mut self) {
        // Whatever it is: a process that is not there any more has given way.
        let _ = self.line.write_all(&[PREPARED]).await;
        if !matches!(self.line.read_u8().await, Ok(GIVEN_WAY)) {
            tracing::warn!("the process before this one has ended without a word; taking its place");
        }
    }

    /// Says that this process serves now.
    pub async fn replace(&mut self) {
        // Nobody needs to hear it.
        let _ = self.line.write_all(&[READY]).await;
    }
}
