//! Ids of rooms, logging configurations, messages and events: 12 characters of `[a-zA-Z0-9]`.

use std::borrow::Cow;
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
        are_id_characters(&bytes).then_some(Self(bytes))
    }

    /// The twelve characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII gets in, so this never takes the empty default.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The twelve characters as bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.0
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

/// Written without a way out of the loop, so that the compiler looks at all at once: a page of ListRooms has over a
/// hundred ids.
fn are_id_characters(bytes: &[u8; LENGTH]) -> bool {
    bytes.iter().fold(true, |all, byte| all & byte.is_ascii_alphanumeric())
}

/// Several ids as one text, separated by commas. It may borrow the text, so that none of the ids of a page of ListRooms is
/// ever made.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct IdList<'a>(Cow<'a, str>);

/// From the beginning of an id to that of the next.
const STEP: usize = LENGTH + 1;

impl<'a> IdList<'a> {
    /// A list of `ids`.
    #[must_use]
    pub fn of(ids: &[Id]) -> IdList<'static> {
        IdList(ids.iter().map(Id::as_str).collect::<Vec<_>>().join(",").into())
    }

    /// Reads a list; `None` unless it is nothing, or ids with a comma between each two.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let is_entry = |entry: &[u8]| match entry.split_first_chunk::<LENGTH>() {
            Some((id, [] | [b','])) => are_id_characters(id),
            _ => false,
        };
        let is_list =
            text.is_empty() || text.len() % STEP == LENGTH && text.as_bytes().chunks(STEP).all(is_entry);
        is_list.then_some(Self(Cow::Borrowed(text)))
    }

    /// Whether there is no id.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ids, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        // What lies at such a place is an id, so this never takes the empty default.
        let starts = (0..self.0.len()).step_by(STEP);
        starts.map(|start| self.0.get(start..start + LENGTH).unwrap_or_default())
    }

    /// The ids with commas between them.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same, to be kept.
    #[must_use]
    pub fn into_owned(self) -> IdList<'static> {
        IdList(Cow::Owned(self.0.into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Id, IdList};

    #[test]
    fn a_list_of_ids_is_written_and_read_back() {
        let ids: Vec<Id> = (0..3).map(Id::from_random).collect();
        for count in 0..=ids.len() {
            let list = IdList::of(&ids[..count]);
            assert_eq!(IdList::parse(list.as_str()).as_ref(), Some(&list));
            assert!(list.iter().eq(ids[..count].iter().map(Id::as_str)), "{list:?}");
            assert_eq!(list.is_empty(), count == 0);
        }
        let [a, b] = ["AAAAAAAAAAAA", "BAAAAAAAAAAA"];
        for text in [
            format!("{a},"),
            format!(",{a}"),
            format!("{a},{b},"),
            format!("{a};{b}"),
            format!("{a}{b}"),
            format!("{a},{b}C"),
            format!("{a},-{}", &b[1..]),
            "no id".to_owned(),
            ",".to_owned(),
        ] {
            assert_eq!(IdList::parse(&text), None, "{text}");
        }
    }

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
