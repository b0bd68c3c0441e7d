//! What systemd is told about this process, if it wants to know (`Type=notify`, which sets `NOTIFY_SOCKET`).
//!
//! A supervisor that cannot be told stops nothing: it is said in the log.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// News for the supervisor, as `sd_notify(3)` writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The server is ready.
    Ready,
    /// The server stops.
    Stopping,
    /// From now on the server is another process: its number.
    MainProcess(u32),
}

impl fmt::Display for Word {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => formatter.write_str("READY=1"),
            Self::Stopping => formatter.write_str("STOPPING=1"),
            Self::MainProcess(number) => write!(formatter, "MAINPID={number}"),
        }
    }
}

/// Tells the supervisor, if there is one that listens.
pub fn tell(word: Word) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&socket, &word.to_string()) {
        tracing::warn!(%error, %word, "the supervisor cannot be told");
    }
}

fn send(socket: &OsStr, text: &str) -> io::Result<()> {
    UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address(socket)?).map(drop)
}

/// A path, or with `@` in front a name that is in no folder.
fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    match socket.as_bytes().strip_prefix(b"@") {
        None => SocketAddr::from_pathname(socket),
        Some(name) => abstract_address(name),
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;

    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_name: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::net::UnixDatagram;

    use super::{Word, address, send};

    #[test]
    fn a_word_arrives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let abstract_name = format!("@grandstand-test-{}", std::process::id());
        let names = [path.as_os_str(), OsStr::new(&abstract_name)];
        for name in &names[..if cfg!(target_os = "linux") { 2 } else { 1 }] {
            let supervisor = UnixDatagram::bind_addr(&address(name).unwrap()).unwrap();
            send(name, &Word::MainProcess(7).to_string()).unwrap();
            let mut heard = [0; 32];
            let length = supervisor.recv(&mut heard).unwrap();
            assert_eq!(&heard[..length], b"MAINPID=7");
        }
        assert!(send(folder.path().as_os_str(), "READY=1").is_err());
    }
}
