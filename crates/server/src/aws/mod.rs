//! Signed calls to AWS, or to whatever speaks like it.
//!
//! Where a service is, and who calls it, come from the standard settings of AWS (environment variables and shared files),
//! as for every SDK: see [`endpoint`] and [`credentials`]. Secrets never leave this module but as signatures.
//!
//! A call is one signed request with a deadline ([`AwsClient::call`]); nothing is tried again here.

pub mod credentials;
pub mod endpoint;
mod error;
mod settings;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri};
use protocol::sigv4::canonical::sha256_hex;
use protocol::sigv4::{Dialect, RequestView, sign};
use tokio::time::{Instant, timeout_at};

use self::credentials::{CredentialCache, Identity};
pub use self::endpoint::AwsService;
pub use self::error::AwsError;
pub use self::settings::AwsSettings;
use crate::clock;
use crate::outgoing::{Answer, Call, Caller, header_value};

/// The header that says of which trace a call is part. Like every SDK we do not sign it: whoever is in between may put his own in
/// its place.
pub const TRACE_ID: &str = "x-amzn-trace-id";

/// One request to a service.
#[derive(Clone, Debug)]
pub struct AwsCall<'a> {
    /// Which service, and by that where and under which name it is signed.
    pub service: AwsService,
    /// The region it is in.
    pub region: &'a str,
    /// Usually POST or PUT.
    pub method: Method,
    /// Percent-encoded once, beginning with a slash; a query may follow. For S3 every character but `/` must be unreserved
    /// (letters, digits, `-._~`).
    pub path: &'a str,
    /// Headers beyond `host`, those of the signature and `content-length`. All are signed but [`TRACE_ID`].
    pub headers: &'a [(&'a str, &'a str)],
    /// The whole body.
    pub body: Bytes,
    /// After this there is only [`AwsError::TimedOut`]. Looking for credentials goes on beyond it, for the next call.
    pub deadline: Instant,
    /// The longest body of an answer, in bytes.
    pub answer_bytes_max: usize,
}

/// Calls AWS; clones share connections and credentials.
#[derive(Clone, Debug)]
pub struct AwsClient {
    settings: AwsSettings,
    caller: Caller,
    credentials: CredentialCache,
}

impl AwsClient {
    /// A client with these settings. Nothing is looked up before it is needed.
    #[must_use]
    pub fn new(settings: AwsSettings, caller: Caller) -> Self {
        let credentials = CredentialCache::new(settings.clone(), caller.clone());
        Self { settings, caller, credentials }
    }

    /// Looks for credentials ahead of the first call, unless somebody has.
    pub async fn prepare(&self) {
        let _found_or_not = self.credentials.get().await;
    }

    /// Whether calls to `service` can be expected to arrive anywhere: its endpoint is set, or there are credentials, so
    /// that somebody means AWS itself. The first answer may take a few seconds; later ones are known.
    pub async fn is_configured(&self, service: AwsService) -> bool {
        endpoint::configured(&self.settings, service).is_some() || self.credentials.get().await.is_some()
    }

    /// Whether the settings name an endpoint of `service`.
    #[must_use]
    pub fn has_endpoint(&self, service: AwsService) -> bool {
        endpoint::configured(&self.settings, service).is_some()
    }

    /// Whether calls to `service` go to AWS itself.
    #[must_use]
    pub fn is_of_aws(&self, service: AwsService) -> bool {
        endpoint::is_of_aws(&self.settings, service)
    }

    /// Makes a call.
    ///
    /// # Errors
    /// See [`AwsError`]; an answer with a status from 300 on is [`AwsError::Refused`].
    pub async fn call(&self, call: AwsCall<'_>) -> Result<Answer, AwsError> {
        let identity = timeout_at(call.deadline, self.credentials.get())
            .await
            .map_err(|_elapsed| AwsError::TimedOut)?
            .ok_or(AwsError::NoCredentials)?;
        let request = signed(&self.settings, &identity, call)?;
        let answer = self.caller.call(request).await?;
        if answer.status.as_u16() < 300 { Ok(answer) } else { Err(error::refusal(&answer)) }
    }
}

/// The request with all its headers.
fn signed(settings: &AwsSettings, identity: &Identity, call: AwsCall<'_>) -> Result<Call, AwsError> {
    let endpoint = endpoint::endpoint(settings, call.service, call.region);
    let (path, query) = call.path.split_once('?').unwrap_or((call.path, ""));
    let (origin, prefix) = endpoint::split(&endpoint);
    let path = format!("{prefix}{path}");
    let separator = if query.is_empty() { "" } else { "?" };
    let uri: Uri = format!("{origin}{path}{separator}{query}")
        .parse()
        .map_err(|_| AwsError::Unreachable(format!("{endpoint} is no address")))?;
    let content_hash = sha256_hex(&call.body);
    let host = endpoint::host_header(&uri);
    let mut fields = vec![("host", host.as_str()), ("x-amz-content-sha256", content_hash.as_str())];
    fields.extend_from_slice(call.headers);
    if let Some(session_token) = identity.session_token() {
        fields.push(("x-amz-security-token", session_token));
    }
    let signed_fields = fields.iter().filter(|(name, _)| *name != TRACE_ID);
    let as_bytes: Vec<(&str, &[u8])> = signed_fields.map(|(name, value)| (*name, value.as_bytes())).collect();
    let view = RequestView {
        method: call.method.as_str(),
        path: &path,
        query,
        headers: &as_bytes,
        body: &call.body,
    };
    let dialect =
        Dialect { service: call.service.signing_name(), normalize_path: call.service != AwsService::S3 };
    let signature = sign(&view, dialect, call.region, identity.credential(), clock::now());
    // The caller of the connection writes `host` itself, in the same way.
    fields.retain(|(name, _)| *name != "host");
    fields.push(("x-amz-date", &signature.date));
    fields.push(("authorization", &signature.authorization));
    Ok(Call {
        method: call.method,
        uri,
        headers: headers(&fields)?,
        body: call.body,
        deadline: call.deadline,
        answer_bytes_max: call.answer_bytes_max,
        // What is written to other services must not arrive behind a second try.
        outlives_deadline: call.service == AwsService::Lambda,
    })
}

fn headers(fields: &[(&str, &str)]) -> Result<HeaderMap, AwsError> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        let odd = |_| AwsError::Unreachable("a header has an odd name".to_owned());
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(odd)?;
        let mut value: HeaderValue = header_value(value)?;
        value.set_sensitive(matches!(name.as_str(), "authorization" | "x-amz-security-token"));
        headers.append(name, value);
    }
    Ok(headers)
}
