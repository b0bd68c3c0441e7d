//! Sockets that this process was started with: by a supervisor that listens on its behalf (systemd's `LISTEN_FDS`), or by
//! the process of this server before it (`hand_over`).
//!
//! Promises:
//! - Every socket that is inherited is known here, or the start fails: one that nobody accepts from would let clients wait
//!   for ever.
//! - No other program that is started inherits them again, unless it is told of them.
//! - Each descriptor has one owner. That is what `unsafe` is for here: a number becomes an owned descriptor after it was
//!   found to be an open socket, once in the life of a process, before it has opened anything of its own.

#![allow(
    unsafe_code,
    reason = "only here does a bare number become a descriptor; see the module's documentation"
)]

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

use protocol::limit::edge::LISTEN_BACKLOG;
use protocol::limit::hand_over::{DESCRIPTION_BYTES_MAX, SOCKETS_MAX};
use socket2::SockRef;

/// The environment variable with which a process of this server tells the next one what it inherits: `name=number`
/// separated by spaces, and perhaps [`HELD`].
pub const VARIABLE: &str = "GRANDSTAND_INHERITED";

/// The name of the line to the process before, in [`VARIABLE`].
pub const LINE: &str = "line";

/// The word in [`VARIABLE`] that somebody else keeps the sockets open, too.
pub const HELD: &str = "held";

/// The first descriptor that systemd hands over.
const FIRST_DESCRIPTOR: RawFd = 3;

/// What this process was started with.
#[derive(Debug, Default)]
pub struct Inheritance {
    /// Listening sockets.
    pub sockets: Vec<InheritedSocket>,
    /// Somebody else keeps them open: whoever connects while no server runs waits for the next one.
    pub is_held: bool,
    /// The line to the process that is to be replaced by this one.
    pub line: Option<UnixStream>,
}

/// A socket that listens already.
#[derive(Debug)]
pub struct InheritedSocket {
    /// What whoever handed it over calls it; systemd: `FileDescriptorName=`.
    pub name: Box<str>,
    /// Where it listens.
    pub address: SocketAddr,
    /// In non-blocking mode.
    pub listener: TcpListener,
}

/// Why a process cannot start with what it inherits.
#[derive(Debug)]
pub enum InheritanceError {
    /// This environment variable does not say what it should.
    Unreadable(&'static str),
    /// The descriptor cannot be used: its number and name, and why.
    Unusable(RawFd, Box<str>, io::Error),
}

impl fmt::Display for InheritanceError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(variable) => {
                write!(formatter, "the environment variable {variable} cannot be read")
            }
            Self::Unusable(number, name, error) => {
                write!(formatter, "cannot use the inherited descriptor {number} (`{name}`): {error}")
            }
        }
    }
}

impl std::error::Error for InheritanceError {}

/// What the environment says is inherited.
#[derive(Debug, Default, PartialEq, Eq)]
struct Description {
    sockets: Vec<(RawFd, Box<str>)>,
    is_held: bool,
    line: Option<RawFd>,
}

/// Takes over what is inherited; a second call finds nothing.
///
/// # Safety
/// To be called before this process has opened anything and started a thread: the environment names descriptors by their
/// number only, and one of these must not be somebody else's yet.
///
/// # Errors
/// See [`InheritanceError`].
pub unsafe fn take() -> Result<Inheritance, InheritanceError> {
    static IS_TAKEN: AtomicBool = AtomicBool::new(false);
    if IS_TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Inheritance::default());
    }
    // What is no text is not passed over: its numbers are understood all the same, or the start fails.
    let variable = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
    let description = describe(variable, std::process::id())?;
    let mut sockets = Vec::new();
    for (number, name) in description.sockets {
        let socket = adopt(number).and_then(|descriptor| listening(descriptor, name.clone()));
        sockets.push(socket.map_err(|error| InheritanceError::Unusable(number, name, error))?);
    }
    let line = description.line.map(|number| {
        let line = adopt(number).and_then(stay_on_the_line);
        line.map_err(|error| InheritanceError::Unusable(number, LINE.into(), error))
    });
    Ok(Inheritance { sockets, is_held: description.is_held, line: line.transpose()? })
}

/// Reads the variables; `process` is the number of this one.
fn describe(
    variable: impl Fn(&str) -> Option<String>,
    process: u32,
) -> Result<Description, InheritanceError> {
    let ours = variable(VARIABLE);
    let (description, read_from) = match &ours {
        Some(text) => (read_ours(text), VARIABLE),
        // Meant for another process, such as the shell that has started this one.
        None if variable("LISTEN_PID") != Some(process.to_string()) => return Ok(Description::default()),
        None => {
            let count = variable("LISTEN_FDS").unwrap_or_default();
            (read_systemds(&count, variable("LISTEN_FDNAMES").as_deref()), "LISTEN_FDS")
        }
    };
    description.filter(has_distinct_numbers).ok_or(InheritanceError::Unreadable(read_from))
}

fn read_ours(text: &str) -> Option<Description> {
    let mut description = Description::default();
    for word in Some(text).filter(|text| text.len() <= DESCRIPTION_BYTES_MAX)?.split(' ') {
        match word.split_once('=') {
            None if word == HELD => description.is_held = true,
            None => return None,
            Some((LINE, number)) => description.line = Some(number.parse().ok()?),
            Some((name, number)) => description.sockets.push((number.parse().ok()?, name.into())),
        }
    }
    Some(description)
}

/// As `sd_listen_fds(3)` has it.
fn read_systemds(count: &str, names: Option<&str>) -> Option<Description> {
    let count: usize = count.parse().ok().filter(|count| *count <= SOCKETS_MAX)?;
    let mut names = names.unwrap_or_default().split(':').chain(std::iter::repeat(""));
    let sockets =
        (FIRST_DESCRIPTOR..).take(count).map(|number| (number, names.next().unwrap_or_default().into()));
    Some(Description { sockets: sockets.collect(), is_held: true, line: None })
}

/// Also that none is standard input, output or error.
fn has_distinct_numbers(description: &Description) -> bool {
    let numbers = description.sockets.iter().map(|(number, _)| *number).chain(description.line);
    let mut seen = BTreeSet::new();
    numbers.into_iter().all(|number| number >= FIRST_DESCRIPTOR && seen.insert(number))
}

/// Makes an inherited socket this process's own.
fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is borrowed for one question, which a closed one answers with an error.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    SockRef::from(&borrowed).r#type()?;
    // SAFETY: it is open, and nobody else owns it: `take` comes here once for each number, and its caller promises that
    // this process has not opened anything itself.
    let owned = unsafe { OwnedFd::from_raw_fd(number) };
    SockRef::from(&owned).set_cloexec(true)?;
    Ok(owned)
}

/// The other process is not to hear that this one ends before it has ended, with all said that there is to say: so only
/// the kernel closes the last of this end.
fn stay_on_the_line(descriptor: OwnedFd) -> io::Result<UnixStream> {
    let _ = descriptor.try_clone()?.into_raw_fd();
    Ok(UnixStream::from(descriptor))
}

fn listening(descriptor: OwnedFd, name: Box<str>) -> io::Result<InheritedSocket> {
    let socket = SockRef::from(&descriptor);
    let address = socket.local_addr()?.as_socket();
    let address = address.ok_or_else(|| io::Error::other("it is no socket of TCP over IPv4 or IPv6"))?;
    // Whoever has made it may have a smaller queue in mind than a crowd of chat clients needs. What cannot listen, such
    // as a connection, says so here.
    socket.listen(LISTEN_BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(InheritedSocket { name, address, listener: TcpListener::from(descriptor) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use super::{Description, describe, listening};

    fn described(variables: &[(&str, &str)]) -> Option<Description> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        describe(variable, 42).ok()
    }

    #[test]
    fn what_systemd_hands_over_is_numbered_from_three() {
        let named = [("LISTEN_PID", "42"), ("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "api:edge")];
        let sockets = vec![(3, "api".into()), (4, "edge".into())];
        assert_eq!(described(&named), Some(Description { sockets, is_held: true, line: None }));
        let sockets = vec![(3, "".into())];
        let nameless = [("LISTEN_PID", "42"), ("LISTEN_FDS", "1")];
        assert_eq!(described(&nameless), Some(Description { sockets, is_held: true, line: None }));
        let of_another = [("LISTEN_PID", "41"), ("LISTEN_FDS", "2")];
        assert_eq!(described(&of_another), Some(Description::default()));
        for count in ["", "-1", "65", "two"] {
            assert_eq!(described(&[("LISTEN_PID", "42"), ("LISTEN_FDS", count)]), None, "{count}");
        }
    }

    #[test]
    fn what_an_earlier_process_hands_over_comes_before_what_systemd_told_it() {
        let variables =
            [("GRANDSTAND_INHERITED", "api=7 line=9 held"), ("LISTEN_PID", "42"), ("LISTEN_FDS", "2")];
        let sockets = vec![(7, "api".into())];
        assert_eq!(described(&variables), Some(Description { sockets, is_held: true, line: Some(9) }));
        for text in
            ["", "api", "api=", "api=x", "api=7 edge=7", "api=7 line=7", "api=2", "line=0", "a=7  b=8"]
        {
            assert_eq!(described(&[("GRANDSTAND_INHERITED", text)]), None, "{text}");
        }
        let endless = "api=7 ".repeat(1_000);
        assert_eq!(described(&[("GRANDSTAND_INHERITED", &endless)]), None);
        assert_eq!(described(&[]), Some(Description::default()));
    }

    #[test]
    fn only_a_listening_tcp_socket_is_one() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let inherited = listening(OwnedFd::from(listener), "api".into()).unwrap();
        assert_eq!((&*inherited.name, inherited.address), ("api", address));
        let bound = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(listening(OwnedFd::from(bound), "api".into()).is_err());
        let (line, _) = UnixStream::pair().unwrap();
        assert!(listening(OwnedFd::from(line), "api".into()).is_err());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(listening(OwnedFd::from(connection), "api".into()).is_err());
    }
}
