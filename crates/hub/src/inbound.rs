//! From the bytes of one client to its messages: fragments put together, UTF-8 checked, control frames in between.
//!
//! Promises: a connection that is idle between messages costs nothing here (no buffer is kept); what is kept of an
//! unfinished message never exceeds the limit; text is refused at the first fragment that cannot be UTF-8; a fragment costs
//! no more work than its own length, however many there are.

use protocol::close::{CloseCode, is_sendable};
use protocol::limit::edge::MESSAGE_BYTES_MAX;

use crate::deflate::Inflater;
use crate::frame::{Decoded, Frame, Opcode, decode};

/// Bytes a client may have to send before one frame is whole: payload and longest header.
pub const BUFFER_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 14;

/// What a client said.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A whole text message.
    Text(&'a str),
    /// Wants a pong with the same payload.
    Ping(&'a [u8]),
    /// Proof of life.
    Pong,
    /// The client's Close; `None` when it named no code.
    Close(Option<u16>),
}

/// A client's message that is not whole yet. Most connections have none, most of the time.
#[derive(Debug, Default)]
pub struct Inbound {
    /// Fragments so far; `None` when the next data frame begins a message.
    message: Option<Vec<u8>>,
    /// How much of it is known to be UTF-8: all but at most the three bytes of a character cut in two.
    checked: usize,
    /// It is compressed; what it says is known when it is whole.
    deflated: bool,
}

impl Inbound {
    /// Whether there is anything to keep.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.message.is_none()
    }

    /// Reads the next frame at the beginning of `buffer`, gives what it completes to `take`, and answers how many bytes
    /// it took: 0 when there is no whole frame yet. Messages may be compressed if there is an `inflater`.
    ///
    /// # Errors
    /// The code to close the connection with.
    pub fn read_frame(
        &mut self,
        buffer: &mut [u8],
        inflater: Option<&mut Inflater>,
        take: impl FnOnce(Incoming<'_>),
    ) -> Result<usize, CloseCode> {
        match decode(buffer, MESSAGE_BYTES_MAX, inflater.is_some())? {
            Decoded::Incomplete => Ok(0),
            Decoded::Frame(frame, length) => {
                if frame.opcode.is_control() {
                    take(control(&frame)?);
                } else {
                    self.add(&frame, inflater, take)?;
                }
                Ok(length)
            }
        }
    }

    fn add(
        &mut self,
        frame: &Frame<'_>,
        inflater: Option<&mut Inflater>,
        take: impl FnOnce(Incoming<'_>),
    ) -> Result<(), CloseCode> {
        if self.message.as_ref().map_or(0, Vec::len) + frame.payload.len() > MESSAGE_BYTES_MAX {
            return Err(CloseCode::MessageTooBig);
        }
        match (frame.opcode, &mut self.message) {
            (Opcode::Binary, None) => return Err(CloseCode::UnsupportedData),
            (Opcode::Continuation, None) | (Opcode::Text | Opcode::Binary, Some(_)) => {
                return Err(CloseCode::ProtocolError);
            }
            // The common case: one frame is one message, and is read where it lies.
            (_, None) if frame.fin => return finish(frame.payload, frame.deflated, inflater, take),
            (_, None) => {
                self.message = Some(frame.payload.to_vec());
                self.deflated = frame.deflated;
            }
            (_, Some(message)) => message.extend_from_slice(frame.payload),
        }
        if frame.fin {
            let Self { message, deflated, .. } = std::mem::take(self);
            return finish(&message.unwrap_or_default(), deflated, inflater, take);
        }
        if self.deflated { Ok(()) } else { self.check_beginning() }
    }

    /// A character may be cut in two by a fragment, though not by the end of the message.
    fn check_beginning(&mut self) -> Result<(), CloseCode> {
        let rest =
            self.message.as_deref().and_then(|message| message.get(self.checked..)).unwrap_or_default();
        match std::str::from_utf8(rest) {
            Ok(text) => self.checked += text.len(),
            Err(error) if error.error_len().is_some() => return Err(CloseCode::InvalidPayload),
            Err(error) => self.checked += error.valid_up_to(),
        }
        Ok(())
    }
}

/// Gives a whole message to `take`.
fn finish(
    message: &[u8],
    deflated: bool,
    inflater: Option<&mut Inflater>,
    take: impl FnOnce(Incoming<'_>),
) -> Result<(), CloseCode> {
    let message = match inflater {
        Some(inflater) if deflated => inflater.inflate(message)?,
        _ => message,
    };
    let text = std::str::from_utf8(message).map_err(|_| CloseCode::InvalidPayload)?;
    take(Incoming::Text(text));
    Ok(())
}

fn control<'a>(frame: &Frame<'a>) -> Result<Incoming<'a>, CloseCode> {
    match frame.opcode {
        Opcode::Ping => Ok(Incoming::Ping(frame.payload)),
        Opcode::Close => close_code(frame.payload).map(Incoming::Close),
        _ => Ok(Incoming::Pong),
    }
}

fn close_code(payload: &[u8]) -> Result<Option<u16>, CloseCode> {
    match payload {
        [] => Ok(None),
        [high, low, reason @ ..] if is_sendable(u16::from_be_bytes([*high, *low])) => {
            std::str::from_utf8(reason).map_err(|_| CloseCode::InvalidPayload)?;
            Ok(Some(u16::from_be_bytes([*high, *low])))
        }
        _ => Err(CloseCode::ProtocolError),
    }
}

#[cfg(test)]
mod tests {
    use protocol::close::CloseCode;
    use protocol::limit::edge::MESSAGE_BYTES_MAX;

    use super::{Inbound, Incoming};
    use crate::frame::{Opcode, encode_masked};

    /// Feeds frames one by one; what was said, or the close code.
    fn check(frames: &[(bool, Opcode, &[u8])], expected: Result<&[&str], CloseCode>) {
        let mut inbound = Inbound::default();
        let mut said = Vec::new();
        let mut failed = None;
        for (fin, opcode, payload) in frames {
            let mut bytes = encode_masked(*fin, *opcode, [9, 8, 7, 6], payload);
            let length = bytes.len();
            let read = inbound.read_frame(&mut bytes, None, |incoming| {
                said.push(match incoming {
                    Incoming::Text(text) => format!("text {text}"),
                    Incoming::Ping(payload) => format!("ping {}", payload.len()),
                    Incoming::Pong => "pong".to_owned(),
                    Incoming::Close(code) => format!("close {code:?}"),
                });
            });
            match read {
                Ok(taken) => assert_eq!(taken, length),
                Err(code) => {
                    failed = Some(code);
                    break;
                }
            }
        }
        match expected {
            Ok(expected) => {
                assert_eq!(failed, None, "{frames:?}");
                assert_eq!(said, expected, "{frames:?}");
                assert!(inbound.is_idle());
            }
            Err(code) => assert_eq!(failed, Some(code), "{frames:?}"),
        }
    }

    const TEXT: Opcode = Opcode::Text;
    const MORE: Opcode = Opcode::Continuation;

    #[test]
    fn fragments_make_one_message_and_control_frames_may_come_between() {
        check(&[(true, TEXT, b"hi")], Ok(&["text hi"]));
        check(
            &[(false, TEXT, b"a"), (true, Opcode::Ping, b"p"), (false, MORE, b"b"), (true, MORE, b"")],
            Ok(&["ping 1", "text ab"]),
        );
        check(&[(false, TEXT, "é".as_bytes().split_at(1).0), (true, MORE, &[0xA9])], Ok(&["text é"]));
        check(&[(true, Opcode::Pong, b"")], Ok(&["pong"]));
    }

    #[test]
    fn characters_may_be_cut_anywhere_and_are_checked_as_they_come() {
        let text = "aé€😀".repeat(3);
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        let mut frames = vec![(false, TEXT, bytes[0])];
        for byte in &bytes[1..] {
            frames.push((false, MORE, byte));
            frames.push((false, MORE, b""));
        }
        for cut in [frames.len() - 2, frames.len() - 4] {
            let mut cut_short = frames[..cut].to_vec();
            cut_short.push((true, MORE, b""));
            check(&cut_short, Err(CloseCode::InvalidPayload));
        }
        let mut wrong = frames.clone();
        wrong.push((false, MORE, &[0x80]));
        check(&wrong, Err(CloseCode::InvalidPayload));
        frames.push((true, MORE, b"!"));
        check(&frames, Ok(&[&format!("text {text}!")]));
        frames.push((true, TEXT, b"next"));
        check(&frames, Ok(&[&format!("text {text}!"), "text next"]));
    }

    #[test]
    fn what_breaks_the_rfc_closes_with_its_code() {
        check(&[(true, MORE, b"x")], Err(CloseCode::ProtocolError));
        check(&[(false, TEXT, b"x"), (true, TEXT, b"y")], Err(CloseCode::ProtocolError));
        check(&[(true, Opcode::Binary, b"x")], Err(CloseCode::UnsupportedData));
        check(&[(true, TEXT, &[0xFF])], Err(CloseCode::InvalidPayload));
        check(&[(false, TEXT, &[0xCE, 0xBA, 0xED, 0xA0])], Err(CloseCode::InvalidPayload));
        check(&[(false, TEXT, &[0xC3]), (true, MORE, b"")], Err(CloseCode::InvalidPayload));
        let half = vec![b'x'; MESSAGE_BYTES_MAX / 2 + 1];
        check(&[(false, TEXT, &half), (true, MORE, &half)], Err(CloseCode::MessageTooBig));
        let most = vec![b'x'; MESSAGE_BYTES_MAX];
        check(&[(false, TEXT, &most), (true, MORE, b"")], Ok(&[&format!("text {}", "x".repeat(most.len()))]));
    }

    #[test]
    fn close_frames_are_checked() {
        check(&[(true, Opcode::Close, b"")], Ok(&["close None"]));
        check(&[(true, Opcode::Close, &[3, 0xE8])], Ok(&["close Some(1000)"]));
        check(&[(true, Opcode::Close, &[3])], Err(CloseCode::ProtocolError));
        check(&[(true, Opcode::Close, &[3, 0xED])], Err(CloseCode::ProtocolError));
        check(&[(true, Opcode::Close, &[3, 0xE8, 0xFF])], Err(CloseCode::InvalidPayload));
    }
}
