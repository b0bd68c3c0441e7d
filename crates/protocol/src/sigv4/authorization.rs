//! What a request says about its signature: in the `Authorization` header, or presigned in the query.
//!
//! Nothing is believed here; it is only read.

use super::canonical::query_decoded;
use super::error::{SignatureError, incomplete};
use super::{ALGORITHM, RequestView};
use crate::time::Timestamp;

/// A signature and all that is needed to make it again.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Authorization {
    pub(super) credential: CredentialScope,
    /// Lower case, sorted, no name twice.
    pub(super) signed_headers: Vec<String>,
    /// In hexadecimal; of any length.
    pub(super) signature: String,
    /// When the request was signed.
    pub(super) time: Timestamp,
    /// How long a presigned request is good for, in seconds; `None` for one that was signed in its headers.
    pub(super) expires_seconds: Option<u64>,
    /// Whether the request comes with a session token.
    pub(super) has_session_token: bool,
}

/// Who signed, and for what: `KEY/YYYYMMDD/REGION/SERVICE/TERMINATOR`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CredentialScope {
    pub(super) access_key_id: String,
    pub(super) date: String,
    pub(super) region: String,
    pub(super) service: String,
    pub(super) terminator: String,
}

/// The three parts of a signature as they stand in the request, missing or not.
#[derive(Default)]
struct Parts {
    credential: Option<String>,
    signed_headers: Option<String>,
    signature: Option<String>,
}

impl Authorization {
    /// Reads the one signature of a request.
    pub(super) fn of(request: &RequestView<'_>) -> Result<Self, SignatureError> {
        let parameters = presigned_parameters(request.query)?;
        let mut headers = request.header_values("authorization");
        match (headers.next(), headers.next(), parameters.is_empty()) {
            (None, _, true) => Err(SignatureError::MissingAuthenticationToken),
            (None, _, false) => Self::of_query(parameters),
            (Some(value), None, true) => Self::of_header(request, value),
            (Some(_), _, _) => Err(incomplete("The request must have exactly one signature.")),
        }
    }

    fn of_header(request: &RequestView<'_>, value: &[u8]) -> Result<Self, SignatureError> {
        let value = std::str::from_utf8(value)
            .map_err(|_not_text| incomplete("Authorization header must be plain text."))?
            .trim();
        let (algorithm, rest) = value.split_once(' ').unwrap_or((value, ""));
        if algorithm != ALGORITHM {
            return Err(incomplete(format!("Authorization header must begin with '{ALGORITHM}'.")));
        }
        let mut parts = Parts::default();
        for pair in rest.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                incomplete("Authorization header holds what is no key=value pair (missing equal-sign).")
            })?;
            let part = match name {
                "Credential" => &mut parts.credential,
                "SignedHeaders" => &mut parts.signed_headers,
                "Signature" => &mut parts.signature,
                _ => return Err(incomplete("Authorization header holds an unknown parameter.")),
            };
            if part.replace(value.to_owned()).is_some() {
                return Err(incomplete(format!("Authorization header holds '{name}' twice.")));
            }
        }
        let has_session_token = request.header_values("x-amz-security-token").next().is_some();
        Self::of_parts(parts, "Authorization header", header_time(request)?, has_session_token)
    }

    fn of_query(parameters: Vec<(PresignedName, String)>) -> Result<Self, SignatureError> {
        let mut parts = Parts::default();
        let (mut algorithm, mut time, mut expires_seconds, mut has_session_token) = (None, None, None, false);
        for (name, value) in parameters {
            match name {
                PresignedName::Algorithm => algorithm = Some(value),
                PresignedName::Credential => parts.credential = Some(value),
                PresignedName::Date => time = Some(Timestamp::parse_amz(&value).ok_or_else(malformed_date)?),
                PresignedName::Expires => expires_seconds = Some(parse_seconds(&value)?),
                PresignedName::SecurityToken => has_session_token = true,
                PresignedName::Signature => parts.signature = Some(value),
                PresignedName::SignedHeaders => parts.signed_headers = Some(value),
            }
        }
        if algorithm.as_deref() != Some(ALGORITHM) {
            return Err(incomplete(format!("X-Amz-Algorithm must be '{ALGORITHM}'.")));
        }
        if expires_seconds.is_none() {
            return Err(incomplete("Query string requires 'X-Amz-Expires' parameter."));
        }
        let read = Self::of_parts(parts, "Query string", time, has_session_token)?;
        Ok(Self { expires_seconds, ..read })
    }

    fn of_parts(
        parts: Parts,
        place: &str,
        time: Option<Timestamp>,
        has_session_token: bool,
    ) -> Result<Self, SignatureError> {
        let missing: Vec<String> = [
            (parts.credential.is_none(), "'Credential' parameter"),
            (parts.signature.is_none(), "'Signature' parameter"),
            (parts.signed_headers.is_none(), "'SignedHeaders' parameter"),
            (time.is_none(), "existence of either a 'X-Amz-Date' or a 'Date' header"),
        ]
        .into_iter()
        .filter(|(is_missing, _)| *is_missing)
        .map(|(_, what)| format!("{place} requires {what}."))
        .collect();
        match (parts.credential, parts.signed_headers, parts.signature, time) {
            (Some(credential), Some(signed_headers), Some(signature), Some(time)) => Ok(Self {
                credential: CredentialScope::parse(&credential)?,
                signed_headers: parse_signed_headers(&signed_headers)?,
                signature,
                time,
                expires_seconds: None,
                has_session_token,
            }),
            _ => Err(incomplete(missing.join(" "))),
        }
    }
}

impl CredentialScope {
    fn parse(text: &str) -> Result<Self, SignatureError> {
        let parts: Vec<&str> = text.split('/').collect();
        let [access_key_id, date, region, service, terminator] = parts[..] else {
            return Err(incomplete(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.",
            ));
        };
        Ok(Self {
            access_key_id: access_key_id.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            terminator: terminator.to_owned(),
        })
    }
}

/// A query parameter of a presigned request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PresignedName {
    Algorithm,
    Credential,
    Date,
    Expires,
    SecurityToken,
    Signature,
    SignedHeaders,
}

impl PresignedName {
    fn parse(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"X-Amz-Algorithm" => Self::Algorithm,
            b"X-Amz-Credential" => Self::Credential,
            b"X-Amz-Date" => Self::Date,
            b"X-Amz-Expires" => Self::Expires,
            b"X-Amz-Security-Token" => Self::SecurityToken,
            b"X-Amz-Signature" => Self::Signature,
            b"X-Amz-SignedHeaders" => Self::SignedHeaders,
            _ => return None,
        })
    }
}

/// What a query holds of a presigned signature, each parameter once.
fn presigned_parameters(query: &str) -> Result<Vec<(PresignedName, String)>, SignatureError> {
    let mut parameters: Vec<(PresignedName, String)> = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(name) = PresignedName::parse(&query_decoded(name)) else { continue };
        if parameters.iter().any(|(other, _)| *other == name) {
            return Err(incomplete("A parameter of the signature stands twice in the query string."));
        }
        let value = String::from_utf8(query_decoded(value))
            .map_err(|_not_text| incomplete("A parameter of the signature is not plain text."))?;
        parameters.push((name, value));
    }
    Ok(parameters)
}

fn parse_seconds(text: &str) -> Result<u64, SignatureError> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = if is_number { text.parse().ok() } else { None };
    seconds.ok_or_else(|| incomplete("X-Amz-Expires must be a number of seconds."))
}

/// Reads `host;x-amz-date`: lower case and ascending, as the canonical request repeats them.
fn parse_signed_headers(text: &str) -> Result<Vec<String>, SignatureError> {
    let names: Vec<String> = text.split(';').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    if is_lower && names.is_sorted_by(|left, right| left < right) {
        Ok(names)
    } else {
        Err(incomplete("SignedHeaders must name each header once, in lower case and sorted."))
    }
}

/// When a request signed in its headers was signed: `X-Amz-Date`, or else `Date`, in either of two forms.
fn header_time(request: &RequestView<'_>) -> Result<Option<Timestamp>, SignatureError> {
    for name in ["x-amz-date", "date"] {
        let mut values = request.header_values(name);
        let Some(value) = values.next() else { continue };
        if values.next().is_some() {
            return Err(incomplete(format!("The request must have one '{name}' header.")));
        }
        let text = std::str::from_utf8(value).map_err(|_not_text| malformed_date())?.trim();
        let time = Timestamp::parse_amz(text).or_else(|| parse_http_date(text)).ok_or_else(malformed_date)?;
        return Ok(Some(time));
    }
    Ok(None)
}

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT`, the one form of RFC 9110 that is not obsolete. The day of the week is not
/// looked at.
fn parse_http_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, date) = text.split_once(", ")?;
    let parts: Vec<&str> = date.split(' ').collect();
    let [day, month, year, time, "GMT"] = parts[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let time = time.replace(':', "");
    Timestamp::parse_amz(&format!("{year}{month:02}{day}T{time}Z"))
}

fn malformed_date() -> SignatureError {
    incomplete("Date must be in ISO-8601 'basic format', as in 20220102T030405Z.")
}

#[cfg(test)]
mod tests {
    use super::{Timestamp, parse_http_date};

    #[test]
    fn an_http_date_is_read() {
        let expected = Some(Timestamp::from_seconds(784_111_777));
        assert_eq!(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), expected);
        for text in
            ["", "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 31 Feb 1994 08:49:37 GMT", "06 Nov 1994 08:49:37 GMT"]
        {
            assert_eq!(parse_http_date(text), None, "{text:?}");
        }
    }
}
