//! Records as they lie in a spool file, one after the other behind the file's mark.
//!
//! ```text
//! length of the body  u32   checksum of length and body  u32   (CRC-32; all numbers little-endian)
//! body: room  12 bytes   time  u64, milliseconds since 1970   number  u64   the record as it is delivered, JSON
//! ```
//!
//! The highest bit of the length is set while the record may be taken back; its writer clears it when the record is
//! published.
//!
//! Promises: what is read is what was written. What a crash has left half done, what was never written to the disk and what
//! has changed there is told from it, and no bytes whatsoever make the reader fail otherwise. No text of a user looks like
//! the beginning of a record: the third byte of a length is a control character, of which JSON has none.

use protocol::id::{self, Id};
use protocol::limit::chat_log::RECORD_BYTES_MAX;

/// What a spool file begins with: what it is, and the version of its format.
pub const MARK: &[u8; 8] = b"GSLOG 1\n";

/// The length of the body, with which a record begins.
pub const LENGTH_BYTES: usize = 4;
/// Length and checksum.
const HEAD_BYTES: usize = 8;
/// Set in the length of a record that may be taken back.
const WITHHELD: u32 = 1 << 31;
/// Of the body, before the JSON.
const FIXED_BYTES: usize = id::LENGTH + 16;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose.
    pub room: Id,
    /// `event_timestamp`, in milliseconds since 1970.
    pub time_ms: u64,
    /// Counts the records of a lane; equal in the spools of all logging configurations that a record was written to.
    pub number: u64,
    /// As it is delivered.
    pub json: Box<str>,
}

/// What bytes of a spool file begin with.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A whole record, and how many bytes it has.
    Record(Record, usize),
    /// A whole record that is not published yet, or was taken back, and how many bytes it has. When its writer has ended
    /// without taking it back, it counts: with `chatlog.fsync = "always"` only this much of it need be on disk.
    Withheld(Record, usize),
    /// The beginning of a record, or nothing at all.
    Part,
    /// Nothing that was written so.
    Damage,
}

/// Appends a record to `bytes`.
pub fn encode(room: Id, time_ms: u64, number: u64, json: &str, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    let length = u32::try_from(FIXED_BYTES + json.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(room.as_bytes());
    bytes.extend_from_slice(&time_ms.to_le_bytes());
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(json.as_bytes());
    let checksum = checksum(length, &bytes[start + HEAD_BYTES..]);
    bytes[start + 4..start + HEAD_BYTES].copy_from_slice(&checksum.to_le_bytes());
}

/// What the first bytes of an encoded record are while it may be taken back.
#[must_use]
pub fn withheld_length(record: &[u8]) -> [u8; LENGTH_BYTES] {
    let length = record.first_chunk().map_or(0, |length| u32::from_le_bytes(*length));
    (length | WITHHELD).to_le_bytes()
}

/// Reads the record that `bytes` begin with.
#[must_use]
pub fn decode(bytes: &[u8]) -> Found {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else { return Found::Part };
    let length = u32::from_le_bytes(*length);
    let (length, is_withheld) = (length & !WITHHELD, length & WITHHELD != 0);
    let body_bytes = usize::try_from(length).unwrap_or(usize::MAX);
    if !(FIXED_BYTES..=RECORD_BYTES_MAX).contains(&body_bytes) {
        return Found::Damage;
    }
    let Some((expected, rest)) = rest.split_first_chunk::<4>() else { return Found::Part };
    let Some(body) = rest.get(..body_bytes) else { return Found::Part };
    if checksum(length, body) != u32::from_le_bytes(*expected) {
        return Found::Damage;
    }
    match read_body(body) {
        Some(record) if is_withheld => Found::Withheld(record, HEAD_BYTES + body_bytes),
        Some(record) => Found::Record(record, HEAD_BYTES + body_bytes),
        None => Found::Damage,
    }
}

fn read_body(body: &[u8]) -> Option<Record> {
    let (room, rest) = body.split_at_checked(id::LENGTH)?;
    let (time_ms, rest) = rest.split_first_chunk()?;
    let (number, json) = rest.split_first_chunk()?;
    Some(Record {
        room: Id::from_bytes(room)?,
        time_ms: u64::from_le_bytes(*time_ms),
        number: u64::from_le_bytes(*number),
        json: std::str::from_utf8(json).ok()?.into(),
    })
}

/// The length belongs to it: bytes that were never written are zeros, of which the checksum is zero as well.
fn checksum(length: u32, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::{any, prop, proptest};
    use protocol::id::Id;

    use super::{Found, LENGTH_BYTES, Record, decode, encode, withheld_length};

    fn encoded(record: &Record) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(record.room, record.time_ms, record.number, &record.json, &mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written_or_not_at_all(
            room: u128, time_ms: u64, number: u64, json in ".{0,80}", cut in any::<prop::sample::Index>(),
            flipped in any::<prop::sample::Index>(), bit in 0..8_u8,
        ) {
            let record = Record { room: Id::from_random(room), time_ms, number, json: json.into() };
            let bytes = encoded(&record);
            let mut followed = bytes.clone();
            followed.extend_from_slice(b"rest");
            assert_eq!(decode(&followed), Found::Record(record, bytes.len()));
            assert_eq!(decode(&bytes[..cut.index(bytes.len())]), Found::Part);
            let mut changed = bytes.clone();
            changed[flipped.index(bytes.len())] ^= 1 << bit;
            assert!(!matches!(decode(&changed), Found::Record(..)));
        }

        #[test]
        fn a_record_that_may_be_taken_back_is_told_from_one_that_is_published(number: u64, json in ".{0,80}") {
            let record = Record { room: Id::from_random(1), time_ms: 2, number, json: json.into() };
            let mut bytes = encoded(&record);
            let published = bytes.clone();
            bytes[..LENGTH_BYTES].copy_from_slice(&withheld_length(&published));
            assert_eq!(decode(&bytes), Found::Withheld(record, published.len()));
        }
    }

    #[test]
    fn zeros_are_no_record() {
        assert_eq!(decode(&[0; 64]), Found::Damage);
        assert_eq!(decode(&[]), Found::Part);
    }
}
