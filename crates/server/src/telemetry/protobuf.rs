//! Protocol Buffers, as far as OTLP needs them: messages are written field by field, and of answers single fields are read.
//!
//! The encoding is fixed for good by <https://protobuf.dev/programming-guides/encoding>; the tests of the whole
//! (`conformance/raw/test_telemetry.py`) read what is written here with the official classes.

const VARINT: u64 = 0;
const EIGHT_BYTES: u64 = 1;
const LENGTH_FIRST: u64 = 2;
const FOUR_BYTES: u64 = 5;

/// A message that is being written. Fields that are left out have their default: zero, or nothing.
#[derive(Debug, Default)]
pub(super) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// The message as it is sent.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// An integer that is not negative, an enum or a bool.
    pub(super) fn number(&mut self, field: u64, value: u64) {
        self.key(field, VARINT);
        self.varint(value);
    }

    /// Of the type `int64`.
    pub(super) fn signed(&mut self, field: u64, value: i64) {
        self.number(field, value.cast_unsigned());
    }

    /// Of the types `fixed64` and `sfixed64`.
    pub(super) fn fixed64(&mut self, field: u64, value: [u8; 8]) {
        self.key(field, EIGHT_BYTES);
        self.bytes.extend(value);
    }

    /// Of the type `fixed32`.
    pub(super) fn fixed32(&mut self, field: u64, value: u32) {
        self.key(field, FOUR_BYTES);
        self.bytes.extend(value.to_le_bytes());
    }

    /// Of the type `double`.
    pub(super) fn double(&mut self, field: u64, value: f64) {
        self.fixed64(field, value.to_le_bytes());
    }

    /// Text or bytes.
    pub(super) fn bytes(&mut self, field: u64, value: &[u8]) {
        self.key(field, LENGTH_FIRST);
        self.varint(value.len() as u64);
        self.bytes.extend(value);
    }

    /// A message within this one.
    pub(super) fn message(&mut self, field: u64, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, &inner.bytes);
    }

    /// A list of values of eight bytes each.
    pub(super) fn packed(&mut self, field: u64, values: impl IntoIterator<Item = [u8; 8]>) {
        let values: Vec<u8> = values.into_iter().flatten().collect();
        self.bytes(field, &values);
    }

    fn key(&mut self, field: u64, wire_type: u64) {
        self.varint(field << 3 | wire_type);
    }

    fn varint(&mut self, mut value: u64) {
        loop {
            let low = u8::try_from(value & 0x7f).unwrap_or_default();
            value >>= 7;
            if value == 0 {
                self.bytes.push(low);
                return;
            }
            self.bytes.push(low | 0x80);
        }
    }
}

/// What a field of somebody's message holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Fixed,
}

/// A message that somebody else has written. What is no message ends early.
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The fields of a message.
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    /// The number in a field; the last one counts.
    pub(super) fn number(self, wanted: u64) -> Option<u64> {
        let numbers = self.filter_map(|(field, value)| match value {
            Value::Number(number) if field == wanted => Some(number),
            _ => None,
        });
        numbers.last()
    }

    /// The bytes in a field; the last ones count.
    pub(super) fn bytes(self, wanted: u64) -> Option<&'a [u8]> {
        let found = self.filter_map(|(field, value)| match value {
            Value::Bytes(bytes) if field == wanted => Some(bytes),
            _ => None,
        });
        found.last()
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.varint()?;
        let value = match key & 7 {
            VARINT => Value::Number(self.varint()?),
            EIGHT_BYTES => self.take(8).map(|_| Value::Fixed)?,
            FOUR_BYTES => self.take(4).map(|_| Value::Fixed)?,
            LENGTH_FIRST => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            _ => return None,
        };
        Some((key >> 3, value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::{Fields, Message};

    #[test]
    fn fields_are_written_as_the_encoding_says() {
        let mut message = Message::default();
        message.number(1, 150);
        message.bytes(2, b"testing");
        message.message(3, |inner| inner.number(1, 150));
        message.signed(4, -2);
        message.fixed32(5, 1);
        message.packed(6, [1_u64.to_le_bytes()]);
        message.double(16, 1.0);
        // The first three are examples of the encoding's own page.
        let expected: Vec<u8> = [
            &b"\x08\x96\x01"[..],
            b"\x12\x07testing",
            b"\x1a\x03\x08\x96\x01",
            b"\x20\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x2d\x01\0\0\0",
            b"\x32\x08\x01\0\0\0\0\0\0\0",
            b"\x81\x01\0\0\0\0\0\0\xf0\x3f",
        ]
        .concat();
        assert_eq!(message.into_bytes(), expected);
    }

    #[test]
    fn single_fields_are_read_among_others() {
        let mut message = Message::default();
        message.double(9, 1.5);
        message.fixed32(8, 1);
        message.number(1, 7);
        message.bytes(2, b"a");
        message.number(1, u64::MAX);
        let bytes = message.into_bytes();
        assert_eq!(Fields::of(&bytes).number(1), Some(u64::MAX));
        assert_eq!(Fields::of(&bytes).bytes(2), Some(&b"a"[..]));
        assert_eq!((Fields::of(&bytes).number(2), Fields::of(b"").number(1)), (None, None));
        assert_eq!(Fields::of(b"\x0a\xff\xff").bytes(1), None);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_looked_at(bytes: Vec<u8>) {
            Fields::of(&bytes).number(1);
            Fields::of(&bytes).bytes(1);
        }
    }
}
