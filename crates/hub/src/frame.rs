//! RFC 6455 frames, server side: encode what goes out, decode what clients send.
//!
//! Promises: every frame that breaks the RFC is refused with the close code the RFC asks for, as soon as its header
//! shows it; lengths are limited before anything is kept; nothing here allocates but what it returns.

use protocol::close::{CloseCode, fit_reason};

/// Longest payload of a control frame, in bytes. RFC 6455 section 5.5.
pub const CONTROL_BYTES_MAX: usize = 125;

const FIN: u8 = 0x80;
/// The first of the three reserved bits: permessage-deflate has it mean "compressed" (RFC 7692 section 6).
const DEFLATED: u8 = 0x40;
const RESERVED: u8 = 0x30;
const MASKED: u8 = 0x80;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// Goes on with the message that is under way.
    Continuation,
    /// Begins a text message.
    Text,
    /// Begins a binary message.
    Binary,
    /// Ends the connection.
    Close,
    /// Wants a pong.
    Ping,
    /// Answers a ping, or comes unasked.
    Pong,
}

impl Opcode {
    const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    /// Close, ping and pong: short, never fragmented, allowed between the fragments of a message.
    #[must_use]
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// One frame of a client, unmasked in place.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Whether it ends its message.
    pub fin: bool,
    /// What it is.
    pub opcode: Opcode,
    /// The message that it begins is compressed.
    pub deflated: bool,
    /// Unmasked.
    pub payload: &'a [u8],
}

/// What the beginning of a buffer holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// Not a whole frame yet.
    Incomplete,
    /// A frame, and how many bytes of the buffer it took.
    Frame(Frame<'a>, usize),
}

/// Header of a client's frame.
pub(crate) struct Header {
    pub(crate) fin: bool,
    pub(crate) opcode: Opcode,
    pub(crate) deflated: bool,
    pub(crate) mask: [u8; 4],
    pub(crate) header_bytes: usize,
    pub(crate) payload_bytes: usize,
}

/// Decodes the frame at the beginning of `buffer` and unmasks its payload in place. A payload longer than
/// `payload_bytes_max` is refused, and a compressed one unless that was agreed upon (`may_deflate`).
///
/// # Errors
/// The code to close the connection with.
pub fn decode(
    buffer: &mut [u8],
    payload_bytes_max: usize,
    may_deflate: bool,
) -> Result<Decoded<'_>, CloseCode> {
    let header = decode_header(buffer, payload_bytes_max, may_deflate)?;
    let Some(header) = header else { return Ok(Decoded::Incomplete) };
    let length = header.header_bytes + header.payload_bytes;
    let Some(payload) = buffer.get_mut(header.header_bytes..length) else { return Ok(Decoded::Incomplete) };
    unmask(payload, header.mask);
    Ok(Decoded::Frame(
        Frame { fin: header.fin, opcode: header.opcode, deflated: header.deflated, payload },
        length,
    ))
}

/// The header at the beginning of `buffer`; `None` while it is not whole.
pub(crate) fn decode_header(
    buffer: &[u8],
    payload_bytes_max: usize,
    may_deflate: bool,
) -> Result<Option<Header>, CloseCode> {
    let [first, rest @ ..] = buffer else { return Ok(None) };
    if first & RESERVED != 0 {
        return Err(CloseCode::ProtocolError);
    }
    let opcode = Opcode::from_bits(first & 0x0F).ok_or(CloseCode::ProtocolError)?;
    let fin = first & FIN != 0;
    let deflated = first & DEFLATED != 0;
    if deflated && !(may_deflate && matches!(opcode, Opcode::Text | Opcode::Binary)) {
        return Err(CloseCode::ProtocolError);
    }
    let [second, rest @ ..] = rest else { return Ok(None) };
    let short_length = second & 0x7F;
    let control_is_wrong = opcode.is_control() && (!fin || usize::from(short_length) > CONTROL_BYTES_MAX);
    if second & MASKED == 0 || control_is_wrong {
        return Err(CloseCode::ProtocolError);
    }
    let (length, length_bytes) = match (short_length, rest) {
        (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 2),
        (127, [a, b, c, d, e, f, g, h, ..]) => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 8),
        (126 | 127, _) => return Ok(None),
        (short, _) => (u64::from(short), 0),
    };
    // The shortest form must be used (section 5.2), and the highest bit of the long form must be zero.
    let overlong =
        (length_bytes == 2 && length < 126) || (length_bytes == 8 && length <= u64::from(u16::MAX));
    if overlong || length >> 63 != 0 {
        return Err(CloseCode::ProtocolError);
    }
    let payload_bytes = usize::try_from(length).unwrap_or(usize::MAX);
    if payload_bytes > payload_bytes_max {
        return Err(CloseCode::MessageTooBig);
    }
    let Some(&[a, b, c, d]) = rest.get(length_bytes..length_bytes + 4) else { return Ok(None) };
    Ok(Some(Header {
        fin,
        opcode,
        deflated,
        mask: [a, b, c, d],
        header_bytes: 2 + length_bytes + 4,
        payload_bytes,
    }))
}

/// Takes the mask off a payload, or off its next part when the mask has been turned to where that begins.
pub(crate) fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    // Eight bytes at a time: the compiler makes vector code of this.
    let wide = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_ne_bytes(word) ^ wide).to_ne_bytes());
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

/// A whole server frame: final, unmasked.
#[must_use]
pub fn encode(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 10);
    frame.push(FIN | opcode.bits());
    match payload.len() {
        length @ 0..126 => frame.push(u8::try_from(length).unwrap_or(125)),
        length @ 126..=0xFFFF => {
            frame.push(126);
            frame.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// A whole server frame whose payload is compressed.
#[must_use]
pub fn encode_deflated(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = encode(opcode, payload);
    frame[0] |= DEFLATED;
    frame
}

/// The payload of a whole server frame.
#[must_use]
pub fn payload_of(frame: &[u8]) -> &[u8] {
    let header_bytes = match frame.get(1) {
        Some(126) => 4,
        Some(127) => 10,
        _ => 2,
    };
    frame.get(header_bytes..).unwrap_or_default()
}

/// A text frame.
#[must_use]
pub fn encode_text(text: &str) -> Vec<u8> {
    encode(Opcode::Text, text.as_bytes())
}

/// A Close frame; the reason is cut to what fits.
#[must_use]
pub fn encode_close(code: u16, reason: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(fit_reason(reason).as_bytes());
    encode(Opcode::Close, &payload)
}

/// What clients send, for tests, simulations and load generators: a masked frame.
#[must_use]
pub fn encode_masked(fin: bool, opcode: Opcode, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut frame = encode(opcode, payload);
    let header_bytes = frame.len() - payload.len();
    if !fin {
        frame[0] &= !FIN;
    }
    frame[1] |= MASKED;
    unmask(&mut frame[header_bytes..], mask);
    frame.splice(header_bytes..header_bytes, mask);
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_oneof};
    use proptest::{prop_assert_eq, proptest};
    use protocol::close::CloseCode;

    use super::{DEFLATED, Decoded, Frame, Opcode, decode, encode, encode_close, encode_masked, payload_of};

    fn decoded(bytes: &[u8]) -> Result<bool, CloseCode> {
        decode(&mut bytes.to_vec(), 1_000, false).map(|decoded| decoded != Decoded::Incomplete)
    }

    #[test]
    fn what_breaks_the_rfc_is_refused_by_its_header() {
        let cases: [(&[u8], CloseCode); 13] = [
            (&[0xA1], CloseCode::ProtocolError),                   // reserved bit 2
            (&[0xC9], CloseCode::ProtocolError),                   // a compressed ping
            (&[0xC0], CloseCode::ProtocolError),                   // a fragment that is compressed by itself
            (&[0xC1, 0x80, 0, 0, 0, 0], CloseCode::ProtocolError), // compressed, which was not agreed upon
            (&[0x91], CloseCode::ProtocolError),                   // reserved bit 3
            (&[0x83], CloseCode::ProtocolError),                   // reserved data opcode
            (&[0x8B], CloseCode::ProtocolError),                   // reserved control opcode
            (&[0x81, 0x05], CloseCode::ProtocolError),             // not masked
            (&[0x09, 0x80], CloseCode::ProtocolError),             // fragmented ping
            (&[0x89, 0xFE], CloseCode::ProtocolError),             // ping of more than 125 bytes
            (&[0x81, 0xFE, 0, 125], CloseCode::ProtocolError),     // length not in its shortest form
            (&[0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0], CloseCode::ProtocolError), // highest bit of the length
            (&[0x81, 0xFE, 0x03, 0xE9], CloseCode::MessageTooBig), // 1,001 bytes
        ];
        for (bytes, code) in cases {
            assert_eq!(decoded(bytes), Err(code), "{bytes:x?}");
        }
    }

    #[test]
    fn every_beginning_of_a_frame_is_incomplete() {
        for length in [0, 1, 125, 126, 1_000] {
            let whole = encode_masked(true, Opcode::Text, [1, 2, 3, 4], &vec![b'x'; length]);
            for end in 0..whole.len() {
                assert_eq!(decoded(&whole[..end]), Ok(false), "{end} of {length}");
            }
            assert_eq!(decoded(&whole), Ok(true));
        }
    }

    #[test]
    fn server_frames_use_the_shortest_length() {
        assert_eq!(encode(Opcode::Text, b"hi"), [0x81, 2, b'h', b'i']);
        assert_eq!(encode(Opcode::Text, &[0; 126])[..4], [0x81, 126, 0, 126]);
        assert_eq!(encode(Opcode::Text, &[0; 65_536])[..10], [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(encode_close(1000, "bye"), [0x88, 5, 3, 0xE8, b'b', b'y', b'e']);
        assert_eq!(encode_close(1000, &"x".repeat(300)).len(), 2 + 125);
    }

    proptest! {
        #[test]
        fn a_masked_frame_is_read_back(
            fin in any::<bool>(),
            opcode in prop_oneof![
                proptest::strategy::Just(Opcode::Text),
                proptest::strategy::Just(Opcode::Binary),
                proptest::strategy::Just(Opcode::Continuation),
            ],
            mask in any::<[u8; 4]>(),
            payload in proptest::collection::vec(any::<u8>(), 0..70_000),
        ) {
            let mut bytes = encode_masked(fin, opcode, mask, &payload);
            let length = bytes.len();
            bytes.push(0x77);
            let deflated = opcode != Opcode::Continuation && payload.len() % 2 == 1;
            bytes[0] |= if deflated { DEFLATED } else { 0 };
            let frame = Frame { fin, opcode, deflated, payload: &payload };
            prop_assert_eq!(decode(&mut bytes, 70_000, true), Ok(Decoded::Frame(frame, length)));
            let whole = encode(opcode, &payload);
            prop_assert_eq!(payload_of(&whole), &payload);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decoded(&bytes);
        }
    }
}
