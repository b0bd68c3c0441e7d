//! Reads what servers send: unmasked RFC 6455 frames, several to a read, the last one maybe incomplete.
//!
//! Promises: nothing is copied and nothing allocated. Only what the servers under test send is known: final frames of
//! text and binary, ping, pong and close; anything else is a fault.

/// A frame from a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerFrame<'a> {
    /// A whole message.
    Text(&'a [u8]),
    /// A whole message, compressed.
    Deflated(&'a [u8]),
    /// A whole message; only nats-server sends such.
    Binary(&'a [u8]),
    /// To be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// Nothing to do.
    Pong,
    /// Code and reason.
    Close(&'a [u8]),
}

/// What is wrong with the bytes of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameFault {
    /// The first byte of a header announces something that the servers under test do not send.
    Unexpected(u8),
    /// Servers must not mask.
    Masked,
    /// Longer than the reader's buffer.
    TooLong,
    /// What is said to be compressed is not.
    NotDeflated,
    /// A binary frame that does not say, from its first byte to its last, what [`crate::nats`] knows.
    NotUnderstood,
}

/// The frame at the beginning of `buffer` and the bytes it takes; `None` while it is incomplete. A frame longer than
/// `frame_bytes_max` is a fault.
///
/// # Errors
/// See [`FrameFault`].
pub fn read_frame(
    buffer: &[u8],
    frame_bytes_max: usize,
) -> Result<Option<(ServerFrame<'_>, usize)>, FrameFault> {
    let [first, second, rest @ ..] = buffer else { return Ok(None) };
    if second & 0x80 != 0 {
        return Err(FrameFault::Masked);
    }
    let (header_bytes, payload_bytes) = match (second, rest) {
        (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
            (10, usize::try_from(length).unwrap_or(usize::MAX))
        }
        (126 | 127, _) => return Ok(None),
        (short, _) => (2, usize::from(*short)),
    };
    let frame_bytes = payload_bytes.saturating_add(header_bytes);
    if frame_bytes > frame_bytes_max {
        return Err(FrameFault::TooLong);
    }
    let Some(payload) = buffer.get(header_bytes..frame_bytes) else { return Ok(None) };
    let frame = match first {
        0x81 => ServerFrame::Text(payload),
        0xC1 => ServerFrame::Deflated(payload),
        0x82 => ServerFrame::Binary(payload),
        0x88 => ServerFrame::Close(payload),
        0x89 => ServerFrame::Ping(payload),
        0x8A => ServerFrame::Pong,
        other => return Err(FrameFault::Unexpected(*other)),
    };
    Ok(Some((frame, frame_bytes)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use hub::frame::{Opcode, encode, encode_masked};

    use super::{FrameFault, ServerFrame, read_frame};

    #[test]
    fn frames_are_read_one_after_the_other_and_a_part_of_one_is_none() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let mut bytes = encode(Opcode::Text, &payload);
            let first_bytes = bytes.len();
            bytes.extend_from_slice(&encode(Opcode::Ping, b"?"));
            for end in [0, 1, 2, 3, first_bytes - 1] {
                assert_eq!(
                    read_frame(&bytes[..end.min(first_bytes - 1)], 1 << 20),
                    Ok(None),
                    "{end} of {length}"
                );
            }
            let first = read_frame(&bytes, 1 << 20).unwrap();
            assert_eq!(first, Some((ServerFrame::Text(&payload), first_bytes)));
            let second = read_frame(&bytes[first_bytes..], 1 << 20).unwrap();
            assert_eq!(second, Some((ServerFrame::Ping(b"?"), 3)));
        }
    }

    #[test]
    fn what_servers_under_test_do_not_send_is_a_fault() {
        let masked = encode_masked(true, Opcode::Text, [1, 2, 3, 4], b"hi");
        assert_eq!(read_frame(&masked, 100), Err(FrameFault::Masked));
        assert_eq!(read_frame(&[0x01, 0], 100), Err(FrameFault::Unexpected(0x01)), "a fragment");
        assert_eq!(read_frame(&[0x83, 0], 100), Err(FrameFault::Unexpected(0x83)), "reserved");
        assert_eq!(read_frame(&encode(Opcode::Text, &[0; 100]), 100), Err(FrameFault::TooLong));
        assert_eq!(
            read_frame(&[0x81, 127, 255, 255, 255, 255, 255, 255, 255, 255], 100),
            Err(FrameFault::TooLong)
        );
    }
}
