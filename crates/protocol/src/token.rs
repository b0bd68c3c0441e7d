//! Chat tokens: what CreateChatToken hands out and the messaging edge takes in.
//!
//! A token is opaque to its bearer: its claims are encrypted and authenticated with XChaCha20-Poly1305 under a key
//! that only the servers of one installation have. It says by number which key that was, so keys can rotate. Its
//! text is base64url without padding, so that every character is legal in a `Sec-WebSocket-Protocol` value
//! (RFC 7230 `tchar`).
//!
//! ```text
//! version (1 byte) | key id (4, big-endian) | nonce (24) | encrypted claims | authentication tag (16)
//! ```
//!
//! Version and key id are authenticated too. Opening proves that a token was issued here and has not expired; that it
//! is used only once, and that its room still exists, is for the caller to see to.

mod claims;
#[cfg(test)]
mod tests;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

pub use self::claims::Claims;
use crate::limit::token::TEXT_BYTES_MAX;
use crate::time::Timestamp;

/// Bytes of the nonce that sealing needs; so many that they may be drawn at random without keeping count.
pub const NONCE_LENGTH: usize = 24;

const VERSION: u8 = 1;
const HEAD_LENGTH: usize = 5;

/// A key that seals and opens chat tokens.
#[derive(Clone)]
pub struct TokenKey {
    id: u32,
    secret: Zeroizing<[u8; 32]>,
}

impl TokenKey {
    /// The key `secret`, which tokens name by `id`.
    #[must_use]
    pub fn new(id: u32, secret: Zeroizing<[u8; 32]>) -> Self {
        Self { id, secret }
    }

    /// The number by which tokens name this key.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.secret.as_ref().into())
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TokenKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Why a chat token was not sealed or not opened. Says nothing about what the token holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// The text does not have the form of a chat token, or has a version of which nothing is known here.
    Malformed,
    /// Sealed with a key that is not here: of another installation, or rotated away.
    UnknownKey,
    /// Changed since it was sealed, or never sealed by anyone who has the key.
    Forged,
    /// Its time, or that of its session, is over.
    Expired,
    /// The claims do not fit into a token ([`TEXT_BYTES_MAX`]).
    TooLong,
}

impl fmt::Display for TokenError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Malformed => "the chat token is malformed",
            Self::UnknownKey | Self::Forged => "the chat token is not valid",
            Self::Expired => "the chat token has expired",
            Self::TooLong => "the claims are too long for a chat token",
        })
    }
}

impl std::error::Error for TokenError {}

/// Writes a token that holds `claims`. The same nonce must never be used twice with one key: draw it at random.
///
/// # Errors
/// [`TokenError::TooLong`]; claims within the limits of CreateChatToken always fit.
pub fn seal(key: &TokenKey, claims: &Claims, nonce: [u8; NONCE_LENGTH]) -> Result<String, TokenError> {
    let mut envelope = vec![VERSION];
    envelope.extend_from_slice(&key.id.to_be_bytes());
    let plain = Zeroizing::new(claims.encode());
    let payload = Payload { msg: &plain, aad: &envelope };
    let sealed =
        key.cipher().encrypt(XNonce::from_slice(&nonce), payload).map_err(|_too_long| TokenError::TooLong)?;
    envelope.extend_from_slice(&nonce);
    envelope.extend_from_slice(&sealed);
    let text = URL_SAFE_NO_PAD.encode(&envelope);
    if text.len() > TEXT_BYTES_MAX { Err(TokenError::TooLong) } else { Ok(text) }
}

/// Reads a token that one of `keys` has sealed. It is valid until its expiry, and not at that instant.
///
/// # Errors
/// All but [`TokenError::TooLong`].
pub fn open(keys: &[TokenKey], text: &str, now: Timestamp) -> Result<Claims, TokenError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(TokenError::Malformed);
    }
    let envelope = URL_SAFE_NO_PAD.decode(text).map_err(|_not_base64| TokenError::Malformed)?;
    let (head, rest) = envelope.split_first_chunk::<HEAD_LENGTH>().ok_or(TokenError::Malformed)?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_LENGTH>().ok_or(TokenError::Malformed)?;
    let [version, key_id @ ..] = *head;
    if version != VERSION {
        return Err(TokenError::Malformed);
    }
    let key_id = u32::from_be_bytes(key_id);
    let key = keys.iter().find(|key| key.id == key_id).ok_or(TokenError::UnknownKey)?;
    let payload = Payload { msg: sealed, aad: head };
    let plain =
        key.cipher().decrypt(XNonce::from_slice(nonce), payload).map_err(|_forged| TokenError::Forged)?;
    let claims = Claims::decode(&Zeroizing::new(plain)).ok_or(TokenError::Malformed)?;
    if now >= claims.token_expiry || now >= claims.session_expiry {
        return Err(TokenError::Expired);
    }
    Ok(claims)
}
