//! `nextToken`: where the next page of a list begins.
//!
//! Promises:
//! - Opaque: encrypted, so nothing about other rooms can be read from it.
//! - Tamper-proof: sealed with an authenticating cipher; whatever this server did not seal is one typed error.
//! - Bound: it opens only for the same operation, scope and filters.
//!
//! It holds a position, not a snapshot, and no time: it opens as long as the server keeps its key.
//!
//! Form: base64url without padding of version (1 byte), key id (4), nonce (24), and the sealed order key (8 + 16).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};

use crate::arn::Scope;
use crate::operation::Operation;

const VERSION: u8 = 1;
const KEY_ID_BYTES: usize = 4;
const POSITION_BYTES: usize = 8;
const HEAD_BYTES: usize = 1 + KEY_ID_BYTES;
/// What a token is bound to seldom takes more.
const BINDING_BYTES_USUAL: usize = 256;
/// How many random bytes a token takes.
pub const NONCE_BYTES: usize = 24;

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
    /// Seals the order key after which the next page begins. `nonce` is random.
    ///
    /// # Errors
    ///
    /// Never for a position; the cipher only refuses texts of many gigabytes.
    pub fn seal(
        &self,
        key: PageKey<'_>,
        nonce: [u8; NONCE_BYTES],
        after: i64,
    ) -> Result<String, InvalidPageToken> {
        let mut token = Vec::with_capacity(HEAD_BYTES + NONCE_BYTES + POSITION_BYTES + 16);
        token.push(VERSION);
        token.extend_from_slice(&key.id.to_be_bytes());
        let sealed = XChaCha20Poly1305::new(key.secret.into())
            .encrypt(&XNonce::from(nonce), Payload { msg: &after.to_be_bytes(), aad: &self.binding(&token) })
            .map_err(|_| InvalidPageToken)?;
        token.extend_from_slice(&nonce);
        token.extend_from_slice(&sealed);
        Ok(URL_SAFE_NO_PAD.encode(token))
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
        let (head, rest) = token.split_first_chunk::<HEAD_BYTES>().ok_or(InvalidPageToken)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(InvalidPageToken)?;
        let [VERSION, key_id @ ..] = *head else { return Err(InvalidPageToken) };
        let secret = key(u32::from_be_bytes(key_id)).ok_or(InvalidPageToken)?;
        let after = XChaCha20Poly1305::new(secret.into())
            .decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: &self.binding(head) })
            .map_err(|_| InvalidPageToken)?;
        after.as_slice().try_into().map(i64::from_be_bytes).map_err(|_| InvalidPageToken)
    }

    /// What a token is bound to, without ambiguity: each part has its length in front.
    fn binding(&self, head: &[u8]) -> Vec<u8> {
        let Scope { account_id, region } = self.scope;
        let mut binding = Vec::with_capacity(BINDING_BYTES_USUAL);
        binding.extend_from_slice(b"grandstand nextToken");
        binding.extend_from_slice(head);
        let parts = [Some(self.operation.name()), Some(&**account_id), Some(&**region)];
        for part in parts.iter().chain(self.filters) {
            let (present, text) = part.map_or((0, ""), |text| (1, text));
            binding.push(present);
            binding.extend_from_slice(&(text.len() as u64).to_be_bytes());
            binding.extend_from_slice(text.as_bytes());
        }
        binding
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
        list.seal(PageKey { id: 3, secret: &SECRET }, [9; 24], after).unwrap_or_default()
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
