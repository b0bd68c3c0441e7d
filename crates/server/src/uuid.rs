//! Ids in the form of a UUID of version 4: of requests, and of lines of the audit log.

use crate::random::random;

/// A fresh one. Without random bytes all that is random in it is zero: whatever it names is done all the same.
#[must_use]
pub(crate) fn uuid() -> String {
    let mut bytes: [u8; 16] = random().unwrap_or_default();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.into_iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.extend([byte >> 4, byte & 0x0f].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0')));
    }
    text
}
