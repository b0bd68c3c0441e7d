//! Handlers that are HTTP servers: they get the JSON of a function's event in a POST, and answer what a function returns
//! with status 200.
//!
//! Two headers let the server know who asks, and when: `x-grandstand-timestamp` (Unix seconds) and `x-grandstand-signature`,
//! `v1=` and the HMAC-SHA256 of `TIMESTAMP.BODY` under the secret of both, in hexadecimal. Where traces are exported there is a
//! third one, `traceparent`, so that what the server does is part of the review's span.

use std::fmt::Write;

use bytes::Bytes;
use hmac::{Hmac, Mac};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri};
use protocol::sigv4::SecretKey;
use sha2::Sha256;
use tokio::time::Instant;

use super::{ANSWER_BYTES_MAX, AskError};
use crate::clock;
use crate::outgoing::{Call, CallError, Caller};
use crate::telemetry::TRACEPARENT;

const TIMESTAMP: HeaderName = HeaderName::from_static("x-grandstand-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("x-grandstand-signature");

/// See the module.
pub(super) struct Webhook {
    pub(super) uri: Uri,
    pub(super) secret: SecretKey,
    pub(super) caller: Caller,
}

impl Webhook {
    /// Asks the server and answers what it says.
    pub(super) async fn ask(
        &self,
        body: String,
        deadline: Instant,
        traceparent: Option<HeaderValue>,
    ) -> Result<Bytes, AskError> {
        let timestamp = clock::now().as_seconds();
        let signature = signature(&self.secret, timestamp, &body);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(TIMESTAMP, HeaderValue::from(timestamp));
        let odd = |_| AskError::Failed("the signature is no header".to_owned());
        headers.insert(SIGNATURE, HeaderValue::try_from(signature).map_err(odd)?);
        headers.extend(traceparent.map(|value| (TRACEPARENT, value)));
        let call = Call {
            method: Method::POST,
            uri: self.uri.clone(),
            headers,
            body: Bytes::from(body),
            deadline,
            answer_bytes_max: ANSWER_BYTES_MAX,
            outlives_deadline: true,
        };
        let answer = self.caller.call(call).await.map_err(|error| match error {
            CallError::TimedOut => AskError::TimedOut,
            CallError::AnswerTooLong(_) => AskError::TooLong,
            error => AskError::Failed(error.to_string()),
        })?;
        match answer.status.as_u16() {
            200 => Ok(answer.body),
            status => Err(AskError::Failed(format!("it answers with status {status}"))),
        }
    }
}

/// `v1=` and the signature in hexadecimal.
fn signature(secret: &SecretKey, timestamp: u64, body: &str) -> String {
    let mut text = "v1=".to_owned();
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else { return text };
    mac.update(timestamp.to_string().as_bytes());
    mac.update(b".");
    mac.update(body.as_bytes());
    for byte in mac.finalize().into_bytes() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use protocol::sigv4::SecretKey;

    use super::signature;

    #[test]
    fn the_signature_is_one_that_others_can_make() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac secret
        let expected = "v1=b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163";
        assert_eq!(signature(&SecretKey::new("secret"), 1_700_000_000, "{}"), expected);
    }
}
