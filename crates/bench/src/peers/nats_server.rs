//! nats-server, as Debian packages it, with its WebSocket listener: a room is a subject, and the crowd speaks its protocol
//! (see [`crate::nats`]). No compression, no authorization, no persistence.

use std::path::Path;
use std::process::Command;

use crate::failure::Failure;
use crate::server::Addresses;

/// Where the package puts it, for those who do not have that folder on their PATH.
const PACKAGED: &str = "/usr/sbin/nats-server";
/// What its log says once it listens.
const LISTENING: &str = "Listening for websocket clients on ws://";

const CONFIGURATION: &str = r#"
listen: "127.0.0.1:-1"
log_file: "/dev/stdout"
websocket { listen: "127.0.0.1:-1", no_tls: true, compression: false }
"#;

/// Serves on free ports of the loopback, with what it needs in `folder`.
///
/// # Errors
/// The system's.
pub fn command(folder: &Path) -> Result<Command, Failure> {
    let configuration = folder.join("nats-server.conf");
    std::fs::write(&configuration, CONFIGURATION)
        .map_err(Failure::io("write nats-server's configuration"))?;
    let mut command = Command::new(if Path::new(PACKAGED).exists() { PACKAGED } else { "nats-server" });
    command.arg("--config").arg(configuration);
    Ok(command)
}

/// The address in a line of its log, if it is that line.
#[must_use]
pub fn read_ready(line: &str) -> Option<Addresses> {
    let (_, address) = line.split_once(LISTENING)?;
    Some(Addresses { edge: address.trim().parse().ok()?, api: None, admin: None })
}

/// The subject that a room is.
#[must_use]
pub fn subject(room: u64) -> String {
    format!("room.{room}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::read_ready;

    #[test]
    fn one_line_of_the_log_has_the_address() {
        let line = "[7] 2026/11/23 11:00:00.1 [INF] Listening for websocket clients on ws://127.0.0.1:4222\n";
        assert_eq!(read_ready(line).unwrap().edge, "127.0.0.1:4222".parse().unwrap());
        assert!(read_ready("[7] 2026/11/23 11:00:00.1 [INF] Server is ready\n").is_none());
    }
}
