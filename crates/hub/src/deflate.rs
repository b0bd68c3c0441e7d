//! permessage-deflate (RFC 7692) without context takeover: a message is compressed by itself, once for all who receive
//! it, and read by itself.
//!
//! Promises:
//! - A compressed message is never longer than it would be as it is; if it would be, it is sent as it is.
//! - Nothing is kept for a connection from one message to the next, in either direction.
//! - What a client sends is inflated up to the limit of a message and not one byte further, so a few bytes cannot become
//!   many in memory. How much work they were is told ([`Inflater::take_work`]), since they can be much.
//! - What was cut off, or goes on behind its end, is no message.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use protocol::close::CloseCode;
use protocol::limit::edge::{DEFLATED_BYTES_MAX, MESSAGE_BYTES_MAX};

use crate::frame::{Opcode, encode_deflated, payload_of};

/// What ends each compressed message, and is not sent (RFC 7692 section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// The same, and an empty last block: whoever reads that has read a whole message.
const TAIL_AND_END: [u8; 6] = [0, 0, 0xFF, 0xFF, 3, 0];

/// Compresses the frames of one shard.
pub struct Deflater {
    state: Compress,
    /// The message that is being compressed. Given back its memory never: it is short.
    space: Vec<u8>,
}

impl Default for Deflater {
    fn default() -> Self {
        Self {
            state: Compress::new(Compression::fast(), false),
            space: Vec::with_capacity(DEFLATED_BYTES_MAX),
        }
    }
}

impl Deflater {
    /// The compressed form of a whole text frame, itself a whole frame; `None` when that is no shorter, or the text is
    /// longer than [`DEFLATED_BYTES_MAX`].
    pub fn deflate(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let text = payload_of(frame);
        if text.len() > DEFLATED_BYTES_MAX {
            return None;
        }
        self.state.reset();
        self.space.clear();
        // The space is as long as the longest text: what does not fit in is no shorter.
        let status = self.state.compress_vec(text, &mut self.space, FlushCompress::Sync);
        let is_whole = matches!(status, Ok(Status::Ok)) && self.state.total_in() == text.len() as u64;
        let deflated = self.space.strip_suffix(&TAIL).filter(|_| is_whole)?;
        (deflated.len() < text.len()).then(|| encode_deflated(Opcode::Text, deflated))
    }
}

/// Reads the compressed messages of one shard's clients.
pub struct Inflater {
    state: Decompress,
    /// The message that is being read, and one byte beyond the longest.
    space: Box<[u8]>,
    /// Bytes read and written since that was last asked for.
    work: (usize, usize),
}

impl Default for Inflater {
    fn default() -> Self {
        Self { state: Decompress::new(false), space: vec![0; MESSAGE_BYTES_MAX + 1].into(), work: (0, 0) }
    }
}

impl Inflater {
    /// What the payload of a compressed message says.
    ///
    /// # Errors
    /// The code to close the connection with: it is too long, or not a compressed message.
    pub fn inflate(&mut self, payload: &[u8]) -> Result<&[u8], CloseCode> {
        self.state.reset(false);
        let ended = self.inflate_parts(payload);
        let (read, written) = self.progress();
        self.work = (self.work.0 + read, self.work.1 + written);
        if ended? { Ok(&self.space[..written]) } else { Err(CloseCode::InvalidPayload) }
    }

    /// Bytes read and written since this was last asked for, of messages and of what was none.
    pub fn take_work(&mut self) -> (usize, usize) {
        std::mem::take(&mut self.work)
    }

    /// Whether there is an end where it should be.
    fn inflate_parts(&mut self, payload: &[u8]) -> Result<bool, CloseCode> {
        for part in [payload, &TAIL_AND_END] {
            let mut rest = part;
            while !rest.is_empty() {
                let (read, written) = self.progress();
                let status = self
                    .state
                    .decompress(rest, &mut self.space[written..], FlushDecompress::Sync)
                    .map_err(|_| CloseCode::InvalidPayload)?;
                let (read_now, written_now) = self.progress();
                if written_now > MESSAGE_BYTES_MAX {
                    return Err(CloseCode::MessageTooBig);
                }
                rest = &rest[read_now - read..];
                match status {
                    // Who marks a block of its own as the last one says nothing more behind it but an empty block, of
                    // which the tail is the rest (RFC 7692 section 7.2.3.4).
                    Status::StreamEnd => return Ok(matches!(rest, [] | [0])),
                    _ if read_now == read && written_now == written => return Ok(false),
                    _ => {}
                }
            }
        }
        Ok(false)
    }

    /// Bytes read and written since the message began.
    fn progress(&self) -> (usize, usize) {
        let bytes = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        (bytes(self.state.total_in()), bytes(self.state.total_out()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::io::Write;

    use flate2::Compression;
    use flate2::write::DeflateEncoder;
    use proptest::prelude::any;
    use proptest::{prop_assert, prop_assert_eq, proptest};
    use protocol::close::CloseCode;
    use protocol::limit::edge::{DEFLATED_BYTES_MAX, MESSAGE_BYTES_MAX};

    use super::{Deflater, Inflater};
    use crate::frame::{encode_text, payload_of};

    const MESSAGE: &str =
        r#"{"Type":"MESSAGE","Id":"aaaaaaaaaaaa","RequestId":"","Attributes":{},"Content":"hello, hello"}"#;

    /// What a client makes of a message that it ends with `BFINAL`.
    fn final_block(text: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// The examples of RFC 7692, section 7.2.3.
    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let mut inflater = Inflater::default();
        for payload in [
            &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00][..],
            &[0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00],
            &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00],
            &[0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00],
        ] {
            assert_eq!(inflater.inflate(payload), Ok(&b"Hello"[..]), "{payload:x?}");
        }
        assert_eq!(inflater.inflate(&[0x00]), Ok(&b""[..]), "an empty message, section 7.2.3.6");
    }

    #[test]
    fn a_message_is_the_same_however_often_others_were_compressed_before() {
        let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
        let frame = encode_text(MESSAGE);
        let first = deflater.deflate(&frame).unwrap();
        assert!(first.len() < frame.len() && first[0] == 0xC1);
        deflater.deflate(&encode_text(&"other".repeat(100))).unwrap();
        assert_eq!(deflater.deflate(&frame).unwrap(), first);
        assert_eq!(inflater.inflate(payload_of(&first)), Ok(MESSAGE.as_bytes()));
    }

    #[test]
    fn what_gets_no_shorter_or_is_too_long_is_left_as_it_is() {
        let mut deflater = Deflater::default();
        assert_eq!(deflater.deflate(&encode_text("a")), None);
        assert_eq!(deflater.deflate(&encode_text("")), None);
        assert_eq!(deflater.deflate(&encode_text(&"a".repeat(DEFLATED_BYTES_MAX + 1))), None);
        assert!(deflater.deflate(&encode_text(&"a".repeat(DEFLATED_BYTES_MAX))).is_some());
    }

    #[test]
    fn a_few_bytes_do_not_become_many() {
        let mut inflater = Inflater::default();
        let most = vec![b'a'; MESSAGE_BYTES_MAX];
        assert_eq!(inflater.inflate(&final_block(&most)).map(<[u8]>::len), Ok(MESSAGE_BYTES_MAX));
        for length in [MESSAGE_BYTES_MAX + 1, 10_000_000] {
            let bomb = final_block(&vec![b'a'; length]);
            assert_eq!(inflater.inflate(&bomb), Err(CloseCode::MessageTooBig), "{length}");
        }
        assert_eq!(inflater.inflate(&final_block(b"after that")), Ok(&b"after that"[..]));
    }

    #[test]
    fn what_is_not_compressed_is_refused() {
        let mut inflater = Inflater::default();
        // Among them a message whose end was cut off, and none at all.
        for payload in [&b"plain"[..], &[0xFF], &[0x07, 0xFF, 0xFF], &[0xF2, 0x48, 0xCD], &[]] {
            assert_eq!(inflater.inflate(payload), Err(CloseCode::InvalidPayload), "{payload:x?}");
        }
        let mut more = final_block(b"hello");
        more.extend_from_slice(b"more");
        assert_eq!(inflater.inflate(&more), Err(CloseCode::InvalidPayload));
    }

    proptest! {
        #[test]
        fn every_text_is_read_back(text in "[a-c\\PC]{0,2000}") {
            let frame = encode_text(&text);
            if let Some(deflated) = Deflater::default().deflate(&frame) {
                prop_assert!(deflated.len() < frame.len());
                let mut inflater = Inflater::default();
                prop_assert_eq!(inflater.inflate(payload_of(&deflated)), Ok(text.as_bytes()));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(payload in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut inflater = Inflater::default();
            let _ = inflater.inflate(&payload);
            prop_assert_eq!(inflater.inflate(&final_block(b"hello")), Ok(&b"hello"[..]));
        }
    }
}
