//! From a request on the wire to the one who sent it.

use subtle::ConstantTimeEq;

use super::authorization::{Authorization, CredentialScope};
use super::canonical::{canonical_request, hex, sha256_hex};
use super::error::{SignatureError, invalid};
use super::{Credential, Dialect, RequestView, TERMINATOR, hmac, signing_key, string_to_sign};
use crate::arn::Scope;
use crate::limit::control::{CLOCK_SKEW_SECONDS_MAX, PRESIGNED_SECONDS_MAX, REGION_LENGTH_MAX};
use crate::time::Timestamp;

/// `x-amz-*` headers that need not be signed: a session token may be added after signing (the AWS test vectors hold
/// such a case, and here no token is any good), and CloudFront marks what passes through it.
const UNSIGNED_ALLOWED: [&str; 2] = ["x-amz-security-token", "x-amz-cf-id"];

/// Proof that a request was signed by the owner of a secret key, and not changed since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The key that signed.
    pub access_key_id: Box<str>,
    /// The account of the key, and the region of the request's credential scope.
    pub scope: Scope,
    /// When the request was signed, by the client's clock.
    pub signed_at: Timestamp,
}

/// Verifies the one signature of `request`; `find` answers the credential of an access key.
///
/// Refused are, among others:
/// - a signature that does not cover `host`, or an `x-amz-*` header that is there (two aside that are added on the
///   way: a session token, which is refused by itself, and CloudFront's request id);
/// - a body hash (`x-amz-content-sha256`) that is not the hash of the body, `UNSIGNED-PAYLOAD` included: this service
///   has no operation whose body need not be signed;
/// - a date more than [`CLOCK_SKEW_SECONDS_MAX`] from `now`, or of another day than the credential scope; for a
///   presigned request, one that lies ahead or further back than its own `X-Amz-Expires`;
/// - any session token, as there are only long-lived credentials.
///
/// # Errors
/// See [`SignatureError`]. Everything that costs nothing is checked first; the body is hashed last.
pub fn verify<'c>(
    request: &RequestView<'_>,
    dialect: Dialect<'_>,
    now: Timestamp,
    find: impl FnOnce(&str) -> Option<&'c Credential>,
) -> Result<Verified, SignatureError> {
    let authorization = Authorization::of(request)?;
    let credential =
        find(&authorization.credential.access_key_id).ok_or(SignatureError::UnrecognizedClient)?;
    check_scope(&authorization.credential, dialect.service, authorization.time)?;
    check_time(&authorization, now)?;
    check_signed_headers(request, &authorization.signed_headers)?;
    let payload_hash = payload_hash(request)?;
    if !signature_matches(request, dialect, &authorization, credential, &payload_hash) {
        return Err(invalid(
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
             Access Key and signing method. Consult the service documentation for details.",
        ));
    }
    if authorization.has_session_token {
        return Err(SignatureError::UnrecognizedClient);
    }
    Ok(Verified {
        access_key_id: credential.access_key_id.clone(),
        scope: Scope {
            account_id: credential.account_id.clone(),
            region: authorization.credential.region.into(),
        },
        signed_at: authorization.time,
    })
}

/// The scope must be for this service, some region, and the day on which the request was signed.
fn check_scope(scope: &CredentialScope, service: &str, time: Timestamp) -> Result<(), SignatureError> {
    let is_region = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let region = &scope.region;
    if region.is_empty() || region.len() > REGION_LENGTH_MAX || !region.bytes().all(is_region) {
        return Err(invalid("Credential should be scoped to a valid region."));
    }
    if scope.service != service {
        return Err(invalid(format!("Credential should be scoped to correct service: '{service}'.")));
    }
    if scope.terminator != TERMINATOR {
        return Err(invalid(format!("Credential should be scoped with a valid terminator: '{TERMINATOR}'.")));
    }
    let timestamp = time.to_amz_text();
    if timestamp.get(..8) != Some(scope.date.as_str()) {
        return Err(invalid(format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{timestamp}'."
        )));
    }
    Ok(())
}

/// The request must be of now, give or take the difference between two clocks; or presigned and not expired yet.
fn check_time(authorization: &Authorization, now: Timestamp) -> Result<(), SignatureError> {
    let signed = authorization.time;
    let life_seconds = authorization.expires_seconds.unwrap_or(CLOCK_SKEW_SECONDS_MAX);
    if life_seconds > PRESIGNED_SECONDS_MAX {
        return Err(invalid(format!("X-Amz-Expires must be at most {PRESIGNED_SECONDS_MAX} seconds.")));
    }
    // Whole seconds are compared, as dates on the wire have no others.
    let (signed_seconds, now_seconds) = (signed.as_seconds(), now.as_seconds());
    if signed_seconds.saturating_add(life_seconds) < now_seconds {
        let oldest = Timestamp::from_seconds(now_seconds.saturating_sub(life_seconds));
        return Err(invalid(format!(
            "Signature expired: {} is now earlier than {} ({} - {}.)",
            signed.to_amz_text(),
            oldest.to_amz_text(),
            now.to_amz_text(),
            duration_text(life_seconds),
        )));
    }
    if signed_seconds > now_seconds.saturating_add(CLOCK_SKEW_SECONDS_MAX) {
        return Err(invalid(format!(
            "Signature not yet current: {} is still later than {} ({} + {}.)",
            signed.to_amz_text(),
            now.plus_seconds(CLOCK_SKEW_SECONDS_MAX).to_amz_text(),
            now.to_amz_text(),
            duration_text(CLOCK_SKEW_SECONDS_MAX),
        )));
    }
    Ok(())
}

fn duration_text(seconds: u64) -> String {
    if seconds.is_multiple_of(60) { format!("{} min", seconds / 60) } else { format!("{seconds} s") }
}

fn check_signed_headers(request: &RequestView<'_>, signed_headers: &[String]) -> Result<(), SignatureError> {
    let is_signed = |name: &str| signed_headers.iter().any(|signed| signed == name);
    if !is_signed("host") {
        return Err(invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."));
    }
    for name in signed_headers {
        if request.header_values(name).next().is_none() {
            return Err(invalid("A header of 'SignedHeaders' is not in the request."));
        }
    }
    let may_be_unsigned = |name: &str| !name.starts_with("x-amz-") || UNSIGNED_ALLOWED.contains(&name);
    let mut names = request.headers.iter().map(|(name, _)| name.to_ascii_lowercase());
    if !names.all(|name| may_be_unsigned(&name) || is_signed(&name)) {
        return Err(invalid("Every 'X-Amz-' header must be a 'SignedHeader'."));
    }
    Ok(())
}

/// The hash of the body, which the request may state but not get wrong.
fn payload_hash(request: &RequestView<'_>) -> Result<String, SignatureError> {
    let hash = sha256_hex(request.body);
    if request.header_values("x-amz-content-sha256").all(|stated| stated.trim_ascii() == hash.as_bytes()) {
        Ok(hash)
    } else {
        Err(invalid("The value of 'X-Amz-Content-Sha256' is not the SHA-256 of the body."))
    }
}

fn signature_matches(
    request: &RequestView<'_>,
    dialect: Dialect<'_>,
    authorization: &Authorization,
    credential: &Credential,
    payload_hash: &str,
) -> bool {
    let CredentialScope { date, region, .. } = &authorization.credential;
    let signed_headers: Vec<&str> = authorization.signed_headers.iter().map(String::as_str).collect();
    let canonical = canonical_request(request, dialect, &signed_headers, payload_hash);
    let timestamp = authorization.time.to_amz_text();
    let string_to_sign = string_to_sign(&timestamp, region, dialect.service, &canonical);
    let key = signing_key(&credential.secret_key, date, region, dialect.service);
    let expected = hex(&*hmac(&*key, string_to_sign.as_bytes()));
    bool::from(expected.as_bytes().ct_eq(authorization.signature.as_bytes()))
}
