//! What a chat token says, and how that is packed into bytes.
//!
//! The bytes are only ever read after they were authenticated, but reading them is bounded all the same: a length
//! never reaches beyond the bytes that are there, and nothing may be left over.

use std::collections::BTreeMap;
use std::fmt;

use crate::arn::Scope;
use crate::capability::Capabilities;
use crate::id::Id;
use crate::time::Timestamp;

/// What a chat token says about its bearer.
#[derive(Clone, PartialEq, Eq)]
pub struct Claims {
    /// The owner of the room.
    pub scope: Scope,
    /// The room.
    pub room_id: Id,
    /// The application's name for the user, 1 to 128 characters; not necessarily unique.
    pub user_id: String,
    /// What the application says about the user; every receiver of the user's messages sees it.
    pub attributes: BTreeMap<String, String>,
    /// What the user may do besides reading.
    pub capabilities: Capabilities,
    /// When the token was issued; the session counts from here.
    pub issue_time: Timestamp,
    /// From this instant on, no connection is opened with the token.
    pub token_expiry: Timestamp,
    /// At this instant, a connection opened with the token ends.
    pub session_expiry: Timestamp,
    /// Random and unique: by it a token is redeemed, once.
    pub token_id: u128,
}

impl fmt::Debug for Claims {
    /// User id and attributes are the application's data about a person and stay hidden.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Claims")
            .field("scope", &self.scope)
            .field("room_id", &self.room_id)
            .field("capabilities", &self.capabilities)
            .field("issue_time", &self.issue_time)
            .field("token_expiry", &self.token_expiry)
            .field("session_expiry", &self.session_expiry)
            .finish_non_exhaustive()
    }
}

impl Claims {
    /// The claims in bytes: fixed fields first, then texts, each behind its length.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        bytes.push(self.capabilities.to_byte());
        bytes.extend_from_slice(&self.token_id.to_be_bytes());
        for instant in [self.issue_time, self.token_expiry, self.session_expiry] {
            bytes.extend_from_slice(&instant.as_nanos().to_be_bytes());
        }
        bytes.extend_from_slice(self.room_id.as_str().as_bytes());
        for text in [&*self.scope.account_id, &*self.scope.region, self.user_id.as_str()] {
            write_text(&mut bytes, text);
        }
        write_length(&mut bytes, self.attributes.len());
        for (name, value) in &self.attributes {
            write_text(&mut bytes, name);
            write_text(&mut bytes, value);
        }
        bytes
    }

    /// The inverse of [`Claims::encode`]; `None` for anything that it does not write.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { rest: bytes };
        let [byte] = reader.take_array()?;
        let capabilities = Capabilities::from_byte(byte)?;
        let token_id = u128::from_be_bytes(reader.take_array()?);
        let issue_time = reader.take_instant()?;
        let token_expiry = reader.take_instant()?;
        let session_expiry = reader.take_instant()?;
        let room_id = Id::parse(std::str::from_utf8(reader.take(crate::id::LENGTH)?).ok()?)?;
        let scope = Scope { account_id: reader.take_text()?.into(), region: reader.take_text()?.into() };
        let user_id = reader.take_text()?.to_owned();
        let mut attributes = BTreeMap::new();
        for _ in 0..reader.take_length()? {
            attributes.insert(reader.take_text()?.to_owned(), reader.take_text()?.to_owned());
        }
        reader.rest.is_empty().then_some(Self {
            scope,
            room_id,
            user_id,
            attributes,
            capabilities,
            issue_time,
            token_expiry,
            session_expiry,
            token_id,
        })
    }
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow. Most lengths take one byte, which
/// keeps a token with very many tiny attributes below its limit.
fn write_length(bytes: &mut Vec<u8>, length: usize) {
    let mut rest = length;
    while rest >= 0x80 {
        bytes.push(0x80 | low_seven_bits(rest));
        rest >>= 7;
    }
    bytes.push(low_seven_bits(rest));
}

#[allow(clippy::cast_possible_truncation, reason = "seven bits are kept")]
const fn low_seven_bits(number: usize) -> u8 {
    (number & 0x7f) as u8
}

fn write_text(bytes: &mut Vec<u8>, text: &str) {
    write_length(bytes, text.len());
    bytes.extend_from_slice(text.as_bytes());
}

/// Reads from the front of some bytes, never beyond their end.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn take_array<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        self.take(LENGTH)?.try_into().ok()
    }

    fn take_instant(&mut self) -> Option<Timestamp> {
        self.take_array().map(u64::from_be_bytes).map(Timestamp::from_nanos)
    }

    /// At most three bytes: no claim is longer than two million.
    fn take_length(&mut self) -> Option<usize> {
        let mut length = 0;
        for shift in [0, 7, 14] {
            let [byte] = self.take_array()?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(length);
            }
        }
        None
    }

    fn take_text(&mut self) -> Option<&'a str> {
        let length = self.take_length()?;
        std::str::from_utf8(self.take(length)?).ok()
    }
}
