//! From a request that is to be sent to the headers that sign it.

use super::canonical::{canonical_request, hex, sha256_hex};
use super::{ALGORITHM, Credential, Dialect, RequestView, TERMINATOR, hmac, signing_key, string_to_sign};
use crate::time::Timestamp;

/// The two headers that make a signed request of an unsigned one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureHeaders {
    /// `x-amz-date`.
    pub date: String,
    /// `authorization`.
    pub authorization: String,
}

/// Signs `request` with all its headers, among which must be `host`, and neither `x-amz-date` nor `authorization`.
#[must_use]
pub fn sign(
    request: &RequestView<'_>,
    dialect: Dialect<'_>,
    region: &str,
    credential: &Credential,
    now: Timestamp,
) -> SignatureHeaders {
    let date = now.to_amz_text();
    let mut headers = request.headers.to_vec();
    headers.push(("x-amz-date", date.as_bytes()));
    let mut names: Vec<String> = headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort_unstable();
    names.dedup();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();

    let dated = RequestView { headers: &headers, ..*request };
    let canonical = canonical_request(&dated, dialect, &names, &sha256_hex(request.body));
    let day = date.get(..8).unwrap_or_default();
    let key = signing_key(&credential.secret_key, day, region, dialect.service);
    let string_to_sign = string_to_sign(&date, region, dialect.service, &canonical);
    let signature = hex(&*hmac(&*key, string_to_sign.as_bytes()));

    let Credential { access_key_id, .. } = credential;
    let authorization = format!(
        "{ALGORITHM} Credential={access_key_id}/{day}/{region}/{}/{TERMINATOR}, SignedHeaders={}, Signature={signature}",
        dialect.service,
        names.join(";"),
    );
    SignatureHeaders { date, authorization }
}
