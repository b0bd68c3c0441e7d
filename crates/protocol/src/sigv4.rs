//! AWS Signature Version 4: who sent a request, and that it arrived as it was sent.
//!
//! [`verify()`] takes a request exactly as it came over the wire and says whose it is, or why it is nobody's; [`sign()`]
//! is its counterpart for clients. Both promise:
//!
//! - Only what was signed counts. Method, path, query, body and the signed headers are bound by the signature. `host`
//!   must be signed, and so must every `x-amz-*` header, but for the few that are added on the way (see
//!   [`verify()`]); an unsigned header is good for nothing, and the caller must not let it decide anything.
//! - Secrets stay here. No error names a secret, the expected signature or the text it was made of, and signatures
//!   are compared in constant time.
//! - Every comparison of a date is with the caller's `now`.
//!
//! Where the AWS documentation is silent, SDKs decide what is accepted. Of the two ways to write a path, this is the
//! one for all services but S3: the path as it was sent (so already percent-encoded once) is normalised and then
//! encoded again.
//!
//! | module | room for |
//! | --- | --- |
//! | [`canonical`] | the canonical request: one spelling for all requests that mean the same |
//! | `authorization` | what a request says about its signature, in headers or query |
//! | `verify`, `sign` | the two uses |
//! | `error` | why a signature was refused |

mod authorization;
pub mod canonical;
mod error;
mod sign;
#[cfg(test)]
mod tests;
mod verify;

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

pub use self::error::SignatureError;
pub use self::sign::{SignatureHeaders, sign};
pub use self::verify::{Verified, verify};

/// The only algorithm there is.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The last part of every credential scope.
const TERMINATOR: &str = "aws4_request";

/// The dialect of Signature Version 4 that a service speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect<'a> {
    /// The service named in the credential scope.
    pub service: &'a str,
    /// Whether `.`, `..` and empty segments are taken out of the path before it is signed.
    pub normalize_path: bool,
}

impl Dialect<'static> {
    /// How requests to Amazon IVS Chat are signed.
    pub const IVSCHAT: Self = Self { service: "ivschat", normalize_path: true };
}

/// A request as it came, or is to go, over the wire; nothing decoded, nothing left out.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    /// In capitals.
    pub method: &'a str,
    /// The request target up to the `?`.
    pub path: &'a str,
    /// The request target after the `?`; empty when there is none.
    pub query: &'a str,
    /// Names in any case, values as bytes; repeated headers in their order.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The whole body.
    pub body: &'a [u8],
}

impl<'a> RequestView<'a> {
    /// The values of all headers with `name` (in lower case), in their order.
    fn header_values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers
            .iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }
}

/// A secret access key: hidden in `Debug`, erased when dropped.
#[derive(Clone)]
pub struct SecretKey(Zeroizing<Box<str>>);

impl SecretKey {
    /// Takes the key over.
    #[must_use]
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The key itself, to be written where its owner will find it, and nowhere else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretKey(hidden)")
    }
}

/// A pair of access key and secret, and whose it is.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The public half, which requests name.
    pub access_key_id: Box<str>,
    /// The secret half, which requests are signed with.
    pub secret_key: SecretKey,
    /// The account that the pair belongs to.
    pub account_id: Box<str>,
}

/// A key that signs for one day, region and service; erased when dropped.
pub type SigningKey = Zeroizing<[u8; 32]>;

/// Derives the key that signs on `date` (`YYYYMMDD`). It depends on nothing else, so a caller may keep it.
#[must_use]
pub fn signing_key(secret: &SecretKey, date: &str, region: &str, service: &str) -> SigningKey {
    let secret = Zeroizing::new(format!("AWS4{}", secret.expose()));
    let day_key = hmac(secret.as_bytes(), date.as_bytes());
    let region_key = hmac(&*day_key, region.as_bytes());
    let service_key = hmac(&*region_key, service.as_bytes());
    hmac(&*service_key, TERMINATOR.as_bytes())
}

/// The string to sign, which names the canonical request by its hash.
fn string_to_sign(timestamp: &str, region: &str, service: &str, canonical_request: &str) -> String {
    let date = timestamp.get(..8).unwrap_or_default();
    let hash = canonical::sha256_hex(canonical_request.as_bytes());
    format!("{ALGORITHM}\n{timestamp}\n{date}/{region}/{service}/{TERMINATOR}\n{hash}")
}

fn hmac(key: &[u8], message: &[u8]) -> SigningKey {
    // A shorter key counts as if it were filled up with zeros, a longer one as its hash (RFC 2104).
    let mut block = Zeroizing::new([0; 64]);
    if let Some(place) = block.get_mut(..key.len()) {
        place.copy_from_slice(key);
    } else {
        block[..32].copy_from_slice(&Sha256::digest(key));
    }
    let mut mac = Hmac::<Sha256>::new(block.as_ref().into());
    mac.update(message);
    Zeroizing::new(mac.finalize().into_bytes().into())
}
