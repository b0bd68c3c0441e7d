//! What a client offers as its chat token.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocol::time::Timestamp;
use protocol::token::{NONCE_LENGTH, TokenError, TokenKey, open, seal};
use zeroize::Zeroizing;

/// What comes of the inputs that are kept: every branch is reached.
pub(crate) const OUTCOMES: &[&str] = &["opened", "Malformed", "UnknownKey", "Forged", "Expired"];

/// Version and key id come before the nonce.
const HEAD_LENGTH: usize = 5;

/// The key of the tokens that are kept. It seals nothing else.
pub(crate) fn key() -> TokenKey {
    TokenKey::new(7, Zeroizing::new([7; 32]))
}

/// Some of the tokens that are kept have expired by then.
pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

/// Only what was sealed is opened: there is no second text for the same claims and nonce.
pub(crate) fn run(data: &[u8]) -> Vec<String> {
    let Ok(text) = std::str::from_utf8(data) else { return Vec::new() };
    match open(&[key()], text, NOW) {
        Ok(claims) => {
            let envelope = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
            let nonce: Option<&[u8; NONCE_LENGTH]> =
                envelope.get(HEAD_LENGTH..).and_then(|rest| rest.first_chunk());
            let sealed_again = nonce.map(|nonce| seal(&key(), &claims, *nonce));
            assert_eq!(sealed_again, Some(Ok(text.to_owned())));
            vec!["opened".to_owned()]
        }
        Err(error) => {
            assert_ne!(error, TokenError::TooLong);
            vec![format!("{error:?}")]
        }
    }
}
