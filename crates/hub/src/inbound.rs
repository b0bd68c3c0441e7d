//! From the bytes of one client to its messages: frames and fragments put together, UTF-8 checked, control frames in
//! between.
//!
//! Promises: a connection that is idle between messages costs nothing here (no buffer is kept); what is kept of an
//! unfinished message never exceeds the limit; text is refused as soon as what has come of it cannot be UTF-8, also in
//! the middle of a frame (compressed text when it is whole); a piece of a message costs no more work than its own length, however many there are.

use protocol::close::{CloseCode, is_sendable};
use protocol::limit::edge::MESSAGE_BYTES_MAX;

use crate::deflate::Inflater;
use crate::frame::{CONTROL_BYTES_MAX, Header, Opcode, decode_header, unmask};

/// Most bytes that [`Inbound::read`] may leave for the next time, when more have come: all but the last of the longest
/// control frame, or of the longest header.
pub const BUFFER_BYTES_MAX: usize = CONTROL_BYTES_MAX + 6;

/// What becomes of clients' messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Messages {
    /// They are text of up to [`MESSAGE_BYTES_MAX`], and actions in their room.
    Actions,
    /// They are text or binary, and come back: for tests of conformance with RFC 6455.
    Echoes {
        /// Longest message.
        bytes_max: usize,
    },
}

impl Messages {
    /// Longest frame or message, in bytes.
    #[must_use]
    pub const fn bytes_max(self) -> usize {
        match self {
            Self::Actions => MESSAGE_BYTES_MAX,
            Self::Echoes { bytes_max } => bytes_max,
        }
    }
}

/// What a client said.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A whole text message.
    Text(&'a str),
    /// A whole binary message.
    Binary(&'a [u8]),
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
    /// `None` when the next data frame begins a message.
    message: Option<Unfinished>,
    /// Of the message's latest frame, when that is not whole either.
    rest: Option<Rest>,
}

/// What has come of a message.
#[derive(Debug)]
struct Unfinished {
    is_text: bool,
    /// What it says is known when it is whole.
    deflated: bool,
    bytes: Vec<u8>,
    /// How much of a text is known to be UTF-8: all but at most the three bytes of a character cut in two.
    checked: usize,
}

/// What has not come of a frame.
#[derive(Clone, Copy, Debug)]
struct Rest {
    fin: bool,
    /// Turned to where the rest begins.
    mask: [u8; 4],
    bytes: usize,
}

impl Inbound {
    /// Whether there is anything to keep.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.message.is_none()
    }

    /// Reads what is at the beginning of `buffer`, a frame or what there is of it, gives what it completes to `take`, and
    /// answers how many bytes it took: 0 when a header or a control frame is not whole yet. Messages may be compressed if
    /// there is an `inflater`.
    ///
    /// # Errors
    /// The code to close the connection with.
    pub fn read(
        &mut self,
        messages: Messages,
        inflater: Option<&mut Inflater>,
        buffer: &mut [u8],
        take: impl FnOnce(Incoming<'_>),
    ) -> Result<usize, CloseCode> {
        if let Some(rest) = self.rest.take() {
            return self.read_payload(rest, inflater, buffer, take);
        }
        let header = decode_header(buffer, messages.bytes_max(), inflater.is_some())?;
        let Some(header) = header else { return Ok(0) };
        let Header { fin, opcode, deflated, mask, header_bytes, payload_bytes } = header;
        if !opcode.is_control() {
            self.check_order(&header, messages)?;
        }
        let whole = buffer.get_mut(header_bytes..header_bytes + payload_bytes);
        match (whole, opcode) {
            (None, Opcode::Close | Opcode::Ping | Opcode::Pong) => return Ok(0),
            (Some(payload), Opcode::Close | Opcode::Ping | Opcode::Pong) => {
                unmask(payload, mask);
                take(control(opcode, payload)?);
            }
            // The common case: one frame is one message, and is read where it lies.
            (Some(payload), Opcode::Text | Opcode::Binary) if fin => {
                unmask(payload, mask);
                let payload = inflated(payload, deflated, inflater)?;
                take(message(opcode == Opcode::Text, payload)?);
            }
            _ => {
                let is_text = opcode == Opcode::Text;
                let begun = || Unfinished { is_text, deflated, bytes: Vec::new(), checked: 0 };
                self.message.get_or_insert_with(begun);
                let rest = Rest { fin, mask, bytes: payload_bytes };
                let taken = self.read_payload(rest, inflater, &mut buffer[header_bytes..], take)?;
                return Ok(header_bytes + taken);
            }
        }
        Ok(header_bytes + payload_bytes)
    }

    /// Whether a data frame may come now, be of this kind, and be so long.
    fn check_order(&self, header: &Header, messages: Messages) -> Result<(), CloseCode> {
        match (header.opcode, &self.message) {
            (Opcode::Continuation, None) | (Opcode::Text | Opcode::Binary, Some(_)) => {
                return Err(CloseCode::ProtocolError);
            }
            (Opcode::Binary, None) if messages == Messages::Actions => {
                return Err(CloseCode::UnsupportedData);
            }
            _ => {}
        }
        let before = self.message.as_ref().map_or(0, |message| message.bytes.len());
        if header.payload_bytes > messages.bytes_max().saturating_sub(before) {
            return Err(CloseCode::MessageTooBig);
        }
        Ok(())
    }

    /// Adds what there is of a frame's payload to the message; `rest` is what was still missing.
    fn read_payload(
        &mut self,
        rest: Rest,
        inflater: Option<&mut Inflater>,
        buffer: &mut [u8],
        take: impl FnOnce(Incoming<'_>),
    ) -> Result<usize, CloseCode> {
        let Some(unfinished) = &mut self.message else { return Ok(0) };
        let count = rest.bytes.min(buffer.len());
        let payload = &mut buffer[..count];
        unmask(payload, rest.mask);
        unfinished.bytes.extend_from_slice(payload);
        if count == rest.bytes && rest.fin {
            let whole = self.message.take().ok_or(CloseCode::ProtocolError)?;
            take(message(whole.is_text, inflated(&whole.bytes, whole.deflated, inflater)?)?);
            return Ok(count);
        }
        if unfinished.is_text && !unfinished.deflated {
            unfinished.check_beginning()?;
        }
        if count < rest.bytes {
            let mut mask = rest.mask;
            mask.rotate_left(count % 4);
            self.rest = Some(Rest { mask, bytes: rest.bytes - count, ..rest });
        }
        Ok(count)
    }
}

impl Unfinished {
    /// A character may be cut in two by a fragment, though not by the end of the message.
    fn check_beginning(&mut self) -> Result<(), CloseCode> {
        match std::str::from_utf8(self.bytes.get(self.checked..).unwrap_or_default()) {
            Ok(text) => self.checked += text.len(),
            Err(error) if error.error_len().is_some() => return Err(CloseCode::InvalidPayload),
            Err(error) => self.checked += error.valid_up_to(),
        }
        Ok(())
    }
}

/// What a whole message says, if that is not what came.
fn inflated<'a>(
    bytes: &'a [u8],
    deflated: bool,
    inflater: Option<&'a mut Inflater>,
) -> Result<&'a [u8], CloseCode> {
    match inflater {
        Some(inflater) if deflated => inflater.inflate(bytes),
        _ => Ok(bytes),
    }
}

fn message(is_text: bool, bytes: &[u8]) -> Result<Incoming<'_>, CloseCode> {
    if is_text {
        std::str::from_utf8(bytes).map(Incoming::Text).map_err(|_| CloseCode::InvalidPayload)
    } else {
        Ok(Incoming::Binary(bytes))
    }
}

fn control(opcode: Opcode, payload: &[u8]) -> Result<Incoming<'_>, CloseCode> {
    match opcode {
        Opcode::Ping => Ok(Incoming::Ping(payload)),
        Opcode::Close => close_code(payload).map(Incoming::Close),
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

    use super::{BUFFER_BYTES_MAX, Inbound, Incoming, Messages};
    use crate::frame::{Opcode, encode_masked};

    /// What was said, or the close code: the same for frames that come whole, byte by byte, and in any other pieces.
    fn check(frames: &[(bool, Opcode, &[u8])], expected: Result<&[&str], CloseCode>) {
        let frames = frames.iter().map(|(fin, opcode, payload)| encode_masked(*fin, *opcode, MASK, payload));
        let bytes: Vec<u8> = frames.collect::<Vec<_>>().concat();
        for piece_bytes in [bytes.len(), 1, 2, 3, 7, 4_096] {
            let (said, end) = read_in_pieces(Messages::Actions, bytes.chunks(piece_bytes));
            match expected {
                Ok(expected) => {
                    assert_eq!(said, expected);
                    assert_eq!(end, Ok(true));
                }
                Err(code) => assert_eq!(end, Err(code)),
            }
        }
    }

    /// Reads as a shard does. The end is whether nothing is under way, or the close code.
    fn read_in_pieces<'a>(
        messages: Messages,
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> (Vec<String>, Result<bool, CloseCode>) {
        let mut inbound = Inbound::default();
        let (mut said, mut left) = (Vec::new(), Vec::new());
        for piece in pieces {
            left.extend_from_slice(piece);
            let mut taken = 0;
            while taken < left.len() {
                let read = inbound.read(messages, None, &mut left[taken..], |incoming| {
                    said.push(match incoming {
                        Incoming::Text(text) => format!("text {text}"),
                        Incoming::Binary(bytes) => format!("binary {}", bytes.len()),
                        Incoming::Ping(payload) => format!("ping {}", payload.len()),
                        Incoming::Pong => "pong".to_owned(),
                        Incoming::Close(code) => format!("close {code:?}"),
                    });
                });
                match read {
                    Ok(0) => break,
                    Ok(count) => taken += count,
                    Err(code) => return (said, Err(code)),
                }
            }
            left.drain(..taken);
            assert!(left.len() <= BUFFER_BYTES_MAX, "{} bytes are left", left.len());
        }
        (said, Ok(inbound.is_idle() && left.is_empty()))
    }

    const MASK: [u8; 4] = [9, 8, 7, 6];
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

    #[test]
    fn what_is_wrong_is_refused_before_it_has_come() {
        let text = |bytes: &[u8]| encode_masked(true, TEXT, MASK, bytes);
        let more = |bytes: &[u8]| encode_masked(true, MORE, MASK, bytes);
        let begun = encode_masked(false, TEXT, MASK, b"x");
        let cases = [
            (text(b"ab\xF4\x90 and so on"), 6 + 4, CloseCode::InvalidPayload),
            ([begun.clone(), more(b"ab\xC0 and so on")].concat(), 7 + 6 + 3, CloseCode::InvalidPayload),
            ([begun.clone(), text(b"in the middle")].concat(), 7 + 6, CloseCode::ProtocolError),
            ([begun, more(&[b'x'; MESSAGE_BYTES_MAX])].concat(), 7 + 8, CloseCode::MessageTooBig),
            (encode_masked(true, Opcode::Binary, MASK, b"x"), 6, CloseCode::UnsupportedData),
        ];
        for (bytes, needed, code) in cases {
            assert_eq!(
                read_in_pieces(Messages::Actions, bytes[..needed - 1].chunks(1)).1,
                Ok(false),
                "{code:?}"
            );
            assert_eq!(read_in_pieces(Messages::Actions, bytes[..needed].chunks(1)).1, Err(code));
        }
    }

    #[test]
    fn where_messages_come_back_they_may_be_binary_and_longer() {
        let messages = Messages::Echoes { bytes_max: 2 * MESSAGE_BYTES_MAX };
        let long = [0xFF; 2 * MESSAGE_BYTES_MAX];
        let (first, second) = long.split_at(5);
        let frames = [(false, Opcode::Binary, first), (true, MORE, second), (true, TEXT, b"a")];
        let mut bytes =
            frames.map(|(fin, opcode, payload)| encode_masked(fin, opcode, MASK, payload)).concat();
        let said = vec![format!("binary {}", long.len()), "text a".to_owned()];
        assert_eq!(read_in_pieces(messages, bytes.chunks(1_000)), (said.clone(), Ok(true)));
        bytes.extend(encode_masked(true, Opcode::Binary, MASK, &[0; 2 * MESSAGE_BYTES_MAX + 1]));
        assert_eq!(read_in_pieces(messages, bytes.chunks(1_000)), (said, Err(CloseCode::MessageTooBig)));
    }
}
