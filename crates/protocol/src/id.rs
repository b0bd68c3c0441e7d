//! Ids of rooms, logging configurations, messages and events: 12 characters of `[a-zA-Z0-9]`.

use std::fmt;

use serde::{Serialize, Serializer};

/// How many characters an id has.
/// Source: the service model (`ID`, `RoomID`, `MessageID`: 12 to 12).
pub const LENGTH: usize = 12;

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// An id as the service hands it out; always 12 ASCII letters and digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id([u8; LENGTH]);

impl Id {
    /// Makes an id of 16 random bytes: about 71 bits are kept, so ids can neither be guessed nor be expected to
    /// meet (a billion ids in one place collide with a chance of about one in 6,000).
    #[must_use]
    pub fn from_random(random: u128) -> Self {
        let mut rest = random;
        let mut bytes = [0; LENGTH];
        for byte in &mut bytes {
            // 128 bits divided twelve times by 62: the bias of the last digit is below 2^-56.
            *byte = ALPHABET[usize::try_from(rest % 62).unwrap_or(0)];
            rest /= 62;
        }
        Self(bytes)
    }

    /// Reads an id; `None` unless it is exactly 12 ASCII letters and digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_bytes(text.as_bytes())
    }

    /// The same for bytes that need not be text.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; LENGTH] = bytes.try_into().ok()?;
        // Without a way out of the loop: a page of ListRooms has over a hundred ids.
        let is_id = bytes.iter().fold(true, |is_id, byte| is_id & byte.is_ascii_alphanumeric());
        is_id.then_some(Self(bytes))
    }

    /// The twelve characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII gets in, so this never takes the empty default.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Id;

    #[test]
    fn an_id_has_twelve_letters_or_digits() {
        for random in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef] {
            let id = Id::from_random(random);
            assert_eq!(Id::parse(id.as_str()), Some(id));
        }
        for text in ["", "short", "thirteen-char", "abcdefghijk-", "abcdefghijkl\n", "äbcdefghijk"] {
            assert_eq!(Id::parse(text), None, "{text:?}");
        }
    }
}
