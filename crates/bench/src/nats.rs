//! As much of the NATS protocol as a crowd needs to subscribe to one subject and to publish on it.
//!
//! Over WebSocket the protocol's lines travel in binary frames. nats-server ends each frame it sends to such a crowd at the
//! end of a line or of a message, so that nothing has to be kept from one frame to the next; what does not is a fault.

/// Something that nats-server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// What somebody has published.
    Message(&'a [u8]),
    /// To be answered with [`PONG`].
    Ping,
    /// All that was sent before the ping has been taken.
    Pong,
    /// About the server itself.
    Info,
}

/// What a client that wants to be let in says first. The answer is a PONG once the server has the subscription.
#[must_use]
pub fn subscription(subject: &str) -> Vec<u8> {
    format!("CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\nSUB {subject} 1\r\nPING\r\n").into_bytes()
}

/// The answer to [`Said::Ping`].
pub const PONG: &[u8] = b"PONG\r\n";

/// Has everybody who subscribed to a subject get a text.
#[must_use]
pub fn publication(subject: &str, text: &str) -> Vec<u8> {
    format!("PUB {subject} {}\r\n{text}\r\n", text.len()).into_bytes()
}

/// The first thing said in what is left of a frame, and its length in bytes; `None` when it cannot be understood.
#[must_use]
pub fn read(left: &[u8]) -> Option<(Said<'_>, usize)> {
    let line_bytes = left.windows(2).position(|window| window == b"\r\n")?;
    let (line, body_at) = (&left[..line_bytes], line_bytes + 2);
    match line {
        b"PING" => Some((Said::Ping, body_at)),
        b"PONG" => Some((Said::Pong, body_at)),
        _ if line.starts_with(b"INFO ") => Some((Said::Info, body_at)),
        _ => {
            // MSG subject subscription bytes
            let digits = line.strip_prefix(b"MSG ")?.rsplit(|byte| *byte == b' ').next()?;
            let bytes: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
            let end = body_at.checked_add(bytes)?;
            let message = left.get(body_at..end)?;
            left[end..].starts_with(b"\r\n").then_some((Said::Message(message), end + 2))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Said, publication, read};

    /// Everything that a frame says, or `None`.
    fn all(mut left: &[u8]) -> Option<Vec<Said<'_>>> {
        let mut said = Vec::new();
        while !left.is_empty() {
            let (first, bytes) = read(left)?;
            said.push(first);
            left = &left[bytes..];
        }
        Some(said)
    }

    #[test]
    fn a_frame_is_read_one_after_the_other() {
        let frame = b"INFO {\"a\":1}\r\nPONG\r\nMSG room.0 1 3\r\na\r\n\r\nMSG room.0 1 0\r\n\r\nPING\r\n";
        let said = [Said::Info, Said::Pong, Said::Message(b"a\r\n"), Said::Message(b""), Said::Ping];
        assert_eq!(all(frame).as_deref(), Some(said.as_slice()));
    }

    #[test]
    fn what_is_not_whole_or_not_known_is_not_understood() {
        for frame in ["PING", "MSG room.0 1 3\r\nab", "MSG room.0 1 3\r\nabc", "MSG room.0 1 3\r\nabcd\r\n"] {
            assert_eq!(all(frame.as_bytes()), None, "{frame}");
        }
        for frame in ["-ERR 'Slow Consumer'\r\n", "MSG\r\n", "MSG a 1 -1\r\n\r\n", "\r\n"] {
            assert_eq!(all(frame.as_bytes()), None, "{frame}");
        }
    }

    #[test]
    fn a_publication_says_how_long_it_is() {
        assert_eq!(publication("room.7", "hello"), b"PUB room.7 5\r\nhello\r\n");
    }
}
