//! Credentials that the surroundings give to whoever runs in them: a container's, an instance's.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri};
use tokio::time::Instant;

use super::{AwsSettings, Identity, document};
use crate::outgoing::{Call, CallError, Caller, header_value};

/// Where ECS answers.
const CONTAINER_ORIGIN: &str = "http://169.254.170.2";
/// Addresses other than loopback that may be asked without TLS: those of ECS and EKS.
const CONTAINER_HOSTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];
/// Where EC2 answers.
const INSTANCE_ORIGIN: &str = "http://169.254.169.254";
const INSTANCE_CREDENTIALS: &str = "/latest/meta-data/iam/security-credentials/";
/// These services are next door. Outside of EC2 nobody answers at all.
const TIME_MAX: Duration = Duration::from_secs(1);
const ANSWER_BYTES_MAX: usize = 16 * 1_024;

/// What the container's host gives; `None` outside of containers that have some.
pub(super) async fn from_container(
    settings: &AwsSettings,
    caller: &Caller,
) -> Result<Option<Identity>, String> {
    let relative = settings.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    let address = match (relative, settings.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
        (Some(path), _) => format!("{CONTAINER_ORIGIN}{path}"),
        (None, Some(address)) => address.to_owned(),
        (None, None) => return Ok(None),
    };
    let uri: Uri = address.parse().map_err(|_| "its address is none".to_owned())?;
    if !may_be_asked(&uri) {
        return Err("its address is neither https nor one of this machine's surroundings".to_owned());
    }
    let mut headers = HeaderMap::new();
    let token = match settings.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        Some(file) => {
            let text = tokio::fs::read_to_string(file).await;
            Some(text.map_err(|error| format!("cannot read {file}: {error}"))?)
        }
        None => settings.get("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(str::to_owned),
    };
    if let Some(token) = token {
        let mut value = header_value(token.trim()).map_err(|error| error.to_string())?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let body = ask(caller, Method::GET, uri, headers).await.map_err(|error| error.to_string())?;
    document::read(&body.ok_or("it refuses")?).map(Some)
}

/// A secret is given only to whoever is as near as a container's host, or has a certificate.
fn may_be_asked(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    uri.scheme_str() == Some("https") || is_loopback || CONTAINER_HOSTS.contains(&host)
}

/// What the instance's role is given; `None` where there is no such service, or no role.
pub(super) async fn from_instance(
    settings: &AwsSettings,
    caller: &Caller,
) -> Result<Option<Identity>, String> {
    if settings.is_true("AWS_EC2_METADATA_DISABLED") {
        return Ok(None);
    }
    let origin = settings.get("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or(INSTANCE_ORIGIN);
    let origin = origin.trim_end_matches('/');
    let uri =
        |path: &str| format!("{origin}{path}").parse::<Uri>().map_err(|_| "its address is none".to_owned());
    let mut headers = HeaderMap::new();
    let life = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
    headers.insert(life, HeaderValue::from_static("60"));
    // Nobody there: this is no instance.
    let Ok(Some(token)) = ask(caller, Method::PUT, uri("/latest/api/token")?, headers).await else {
        return Ok(None);
    };
    let mut headers = HeaderMap::new();
    let mut token = HeaderValue::from_bytes(&token).map_err(|_| "its token is odd".to_owned())?;
    token.set_sensitive(true);
    headers.insert(HeaderName::from_static("x-aws-ec2-metadata-token"), token);
    let told = |error: CallError| error.to_string();
    let roles = ask(caller, Method::GET, uri(INSTANCE_CREDENTIALS)?, headers.clone()).await.map_err(told)?;
    let roles = roles.map(|roles| String::from_utf8_lossy(&roles).into_owned()).unwrap_or_default();
    let Some(role) = roles.lines().next().map(str::trim).filter(|role| !role.is_empty()) else {
        return Ok(None);
    };
    let path = format!("{INSTANCE_CREDENTIALS}{role}");
    let document = ask(caller, Method::GET, uri(&path)?, headers).await.map_err(told)?;
    document::read(&document.ok_or("it refuses")?).map(Some)
}

/// The body of a good answer; `None` for any other answer.
async fn ask(
    caller: &Caller,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Option<Bytes>, CallError> {
    let deadline = Instant::now() + TIME_MAX;
    let body = Bytes::new();
    let call = Call {
        method,
        uri,
        headers,
        body,
        deadline,
        answer_bytes_max: ANSWER_BYTES_MAX,
        outlives_deadline: false,
    };
    let answer = caller.call(call).await?;
    Ok((answer.status.as_u16() == 200).then_some(answer.body))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::may_be_asked;

    #[test]
    fn a_token_goes_to_the_neighbours_only() {
        for (address, expected) in [
            ("http://169.254.170.2/v2/x", true),
            ("http://127.0.0.1:51679/x", true),
            ("http://[::1]/x", true),
            ("https://example.com/x", true),
            ("http://example.com/x", false),
            ("http://10.0.0.1/x", false),
        ] {
            assert_eq!(may_be_asked(&address.parse().unwrap()), expected, "{address}");
        }
    }
}
