//! `nextToken`: where the next page of a list begins.
//!
//! Promises:
//! - Tamper-proof: sealed with a keyed hash; whatever this server did not seal is one typed error.
//! - Bound: it opens only for the same operation, scope and filters.
//! - Tells next to nothing: all that can be read from it is the order key of the page's last entry, which is that entry's time of
//!   update in microseconds (the list says milliseconds). Therefore it is not encrypted, which takes longer.
//!
//! It holds a position, not a snapshot, and no time: it opens as long as the server keeps its key.
//!
//! Form: base64url without padding of version (1 byte), key id (4), order key (8), and HMAC-SHA-256 (32) of these and of the
//! list.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::arn::Scope;
use crate::operation::Operation;

/// The first had an encrypted position.
const VERSION: u8 = 2;
const HEAD_BYTES: usize = 1 + 4 + 8;

/// A secret key, and the number by which a token names it.
#[derive(Clone, Copy)]
pub struct PageKey<'a> {
    /// Its number.
    pub id: u32,
    /// The key itself.
    pub secret: &'a [u8; 32],
}

/// The list that a token belongs to.
#[derive(Clone, Copy, Debug)]
pub struct PagedList<'a> {
    /// ListRooms or ListLoggingConfigurations.
    pub operation: Operation,
    /// Whose list.
    pub scope: &'a Scope,
    /// The list's filters, always in the same order; the page size is not among them.
    pub filters: &'a [Option<&'a str>],
}

/// A text that is no `nextToken` of this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidPageToken;

impl PagedList<'_> {
    /// Seals the order key after which the next page begins.
    #[must_use]
    pub fn seal(&self, key: PageKey<'_>, after: i64) -> String {
        let mut head = [0; HEAD_BYTES];
        head[0] = VERSION;
        head[1..5].copy_from_slice(&key.id.to_be_bytes());
        head[5..].copy_from_slice(&after.to_be_bytes());
        let tag = self.hash(key.secret, &head).finalize().into_bytes();
        URL_SAFE_NO_PAD.encode([&head[..], &tag].concat())
    }

    /// Opens a token; `key` finds the secret of a key id.
    ///
    /// # Errors
    ///
    /// When it is not one that this server sealed for this list, or its key has been forgotten.
    pub fn open<'k>(
        &self,
        key: impl FnOnce(u32) -> Option<&'k [u8; 32]>,
        token: &str,
    ) -> Result<i64, InvalidPageToken> {
        let token = URL_SAFE_NO_PAD.decode(token).map_err(|_| InvalidPageToken)?;
        let (head, tag) = token.split_first_chunk::<HEAD_BYTES>().ok_or(InvalidPageToken)?;
        let [VERSION, a, b, c, d, after @ ..] = *head else { return Err(InvalidPageToken) };
        let secret = key(u32::from_be_bytes([a, b, c, d])).ok_or(InvalidPageToken)?;
        self.hash(secret, head).verify_slice(tag).map_err(|_| InvalidPageToken)?;
        Ok(i64::from_be_bytes(after))
    }

    /// The hash of a token's head and of what it is bound to, without ambiguity: each part has its length in front.
    fn hash(&self, secret: &[u8; 32], head: &[u8; HEAD_BYTES]) -> Hmac<Sha256> {
        // A key that is shorter than the block counts as if it were filled up with zeros (RFC 2104).
        let mut block = Zeroizing::new([0; 64]);
        block[..32].copy_from_slice(secret);
        let mut hash = Hmac::<Sha256>::new(block.as_ref().into());
        hash.update(b"grandstand nextToken");
        hash.update(head);
        let Scope { account_id, region } = self.scope;
        let parts = [Some(self.operation.name()), Some(&**account_id), Some(&**region)];
        for part in parts.iter().chain(self.filters) {
            let (present, text) = part.map_or((0, ""), |text| (1, text));
            hash.update(&[present]);
            hash.update(&(text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        hash
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{InvalidPageToken, PageKey, PagedList};
    use crate::arn::Scope;
    use crate::limit::member::PAGE_TOKEN_LENGTH_MAX;
    use crate::operation::Operation;

    const SECRET: [u8; 32] = [7; 32];

    fn scope(account_id: &str, region: &str) -> Scope {
        Scope { account_id: account_id.into(), region: region.into() }
    }

    fn key(id: u32) -> Option<&'static [u8; 32]> {
        (id == 3).then_some(&SECRET)
    }

    fn seal(list: &PagedList<'_>, after: i64) -> String {
        list.seal(PageKey { id: 3, secret: &SECRET }, after)
    }

    #[test]
    fn a_token_opens_only_for_its_own_list() {
        let owner = scope("123456789012", "eu-west-1");
        let rooms = PagedList { operation: Operation::ListRooms, scope: &owner, filters: &[Some("a"), None] };
        let token = seal(&rooms, -5);
        assert!(token.len() <= PAGE_TOKEN_LENGTH_MAX);
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
        assert_eq!(rooms.open(key, &token), Ok(-5));

        let other_operation = PagedList { operation: Operation::ListLoggingConfigurations, ..rooms };
        assert_eq!(other_operation.open(key, &token), Err(InvalidPageToken));
        for other in [scope("123456789013", "eu-west-1"), scope("123456789012", "eu-west-2")] {
            assert_eq!(PagedList { scope: &other, ..rooms }.open(key, &token), Err(InvalidPageToken));
        }
        let filters: [&[Option<&str>]; 5] =
            [&[None, Some("a")], &[Some("a"), Some("")], &[None, None], &[Some("b"), None], &[Some("a")]];
        for filters in filters {
            assert_eq!(
                PagedList { filters, ..rooms }.open(key, &token),
                Err(InvalidPageToken),
                "{filters:?}"
            );
        }
    }

    #[test]
    fn no_character_of_a_token_may_change() {
        let owner = scope("123456789012", "eu-west-1");
        let rooms = PagedList { operation: Operation::ListRooms, scope: &owner, filters: &[] };
        let token = seal(&rooms, i64::MAX);
        for place in 0..token.len() {
            for replacement in ["A", "b", "=", "", "AA"] {
                let mut changed = token.clone();
                changed.replace_range(place..=place, replacement);
                if changed != token {
                    assert_eq!(rooms.open(key, &changed), Err(InvalidPageToken), "{changed}");
                }
            }
        }
        assert_eq!(rooms.open(|_| None, &token), Err(InvalidPageToken));
        assert_eq!(rooms.open(|_| Some(&[8; 32]), &token), Err(InvalidPageToken));
    }

    proptest! {
        #[test]
        fn any_text_is_a_token_or_not(text in any::<String>()) {
            let owner = scope("1", "x");
            let rooms = PagedList { operation: Operation::ListRooms, scope: &owner, filters: &[] };
            assert_eq!(rooms.open(key, &text), Err(InvalidPageToken));
        }
    }
}
