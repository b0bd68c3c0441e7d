//! The client's end of the wire: from bytes back to frames.

use hub::deflate::Inflater;
use protocol::close::CloseCode;

/// What a client has read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Heard {
    /// A MESSAGE, an EVENT or an ERROR.
    Text(String),
    /// The end, with code and reason; code 0 stands for none.
    Close(u16, String),
    /// A ping or a pong.
    Control,
}

/// Takes the frame at the beginning of `bytes` out; `None` while there is no whole one.
///
/// # Errors
/// What is wrong with the frame: servers send nothing but whole text and control frames.
pub fn take_frame(bytes: &mut Vec<u8>) -> Result<Option<Heard>, String> {
    let (header, length) = match bytes.as_slice() {
        [_, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        [_, 126 | 127, ..] | [_] | [] => return Ok(None),
        [_, length, ..] => (2, usize::from(*length)),
    };
    let Some(payload) = bytes.get(header..header + length) else { return Ok(None) };
    let text =
        |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| "text that is not UTF-8".to_owned());
    let heard = match (bytes[0], payload) {
        (0x81, payload) => Heard::Text(text(payload)?),
        (0xC1, payload) => {
            let inflated = Inflater::default().inflate(payload).map(<[u8]>::to_vec);
            Heard::Text(text(&inflated.map_err(|_| "text that cannot be inflated".to_owned())?)?)
        }
        (0x88, [high, low, reason @ ..]) => Heard::Close(u16::from_be_bytes([*high, *low]), text(reason)?),
        (0x88, _) => Heard::Close(0, String::new()),
        (0x89 | 0x8A, _) => Heard::Control,
        (other, _) => return Err(format!("a frame that begins with {other:#x}")),
    };
    bytes.drain(..header + length);
    Ok(Some(heard))
}

/// The text of a whole text frame, as a room publishes it.
#[must_use]
pub fn text_of(frame: &[u8]) -> String {
    match take_frame(&mut frame.to_vec()) {
        Ok(Some(Heard::Text(text))) => text,
        _ => String::new(),
    }
}

/// The value of the first string member of that name, which must have no escapes: the simulation sends none.
#[must_use]
pub fn member<'a>(json: &'a str, name: &str) -> &'a str {
    let key = format!("\"{name}\":\"");
    let value = json.split_once(key.as_str()).map_or("", |(_, rest)| rest);
    value.split_once('"').map_or("", |(value, _)| value)
}

/// The code of an ERROR frame; 0 for other frames.
#[must_use]
pub fn error_code(json: &str) -> u16 {
    let code = json.split_once("\"ErrorCode\":").map_or("", |(_, rest)| rest);
    code.split_once(',').and_then(|(code, _)| code.parse().ok()).unwrap_or(0)
}

/// Whether a Close says that a moderator, or the end of the session, was the cause.
#[must_use]
pub fn is_normal(code: u16) -> bool {
    code == CloseCode::Normal.as_u16()
}
