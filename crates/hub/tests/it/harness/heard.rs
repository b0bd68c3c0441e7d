//! What a client hears.

use hub::deflate::Inflater;

/// What a client has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Text(String),
    Close(u16, String),
    Ping,
    Pong(Vec<u8>),
}

impl Heard {
    /// The text of a text frame.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            other => panic!("not a text frame: {other:?}"),
        }
    }

    /// The value of a string member that occurs once in the JSON of a text frame.
    pub(crate) fn member(&self, name: &str) -> &str {
        let (_, rest) = self.text().split_once(&format!("\"{name}\":\"")).expect("the member is there");
        rest.split_once('"').expect("the value ends").0
    }
}

/// The whole frames at the beginning of what a server sent, and the bytes behind them.
pub(crate) fn decode(mut bytes: &[u8]) -> (Vec<Heard>, &[u8]) {
    let mut frames = Vec::new();
    while let Some((header, payload_bytes)) = header(bytes) {
        let Some(payload) = bytes.get(header..header + payload_bytes) else { break };
        frames.push(match bytes[0] {
            0x81 => Heard::Text(String::from_utf8(payload.to_vec()).expect("servers send UTF-8")),
            0xC1 => {
                let text =
                    Inflater::default().inflate(payload).expect("servers send what is compressed").to_vec();
                Heard::Text(String::from_utf8(text).expect("servers send UTF-8"))
            }
            0x88 => close(payload),
            0x89 => Heard::Ping,
            0x8A => Heard::Pong(payload.to_vec()),
            other => panic!("no frame begins with {other:#x}: {bytes:x?}"),
        });
        bytes = &bytes[header + payload_bytes..];
    }
    (frames, bytes)
}

fn close(payload: &[u8]) -> Heard {
    match payload {
        [] => Heard::Close(0, String::new()),
        [high, low, reason @ ..] => Heard::Close(
            u16::from_be_bytes([*high, *low]),
            String::from_utf8(reason.to_vec()).expect("servers send UTF-8"),
        ),
        [_] => panic!("half a close code"),
    }
}

fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    match bytes {
        [_, 126, high, low, ..] => Some((4, usize::from(u16::from_be_bytes([*high, *low])))),
        [_, 126 | 127, ..] | [_] | [] => None,
        [_, length, ..] => Some((2, usize::from(*length))),
    }
}
