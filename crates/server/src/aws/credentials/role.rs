//! Credentials of a role, from AWS Security Token Service.

use std::path::Path;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use protocol::sigv4::canonical::canonical_query;
use tokio::time::Instant;

use super::super::endpoint::{AwsService, endpoint};
use super::super::error::{element, refusal};
use super::super::{AwsCall, signed};
use super::document::expiration;
use super::{AwsSettings, Identity, SOURCE_TIME_MAX};
use crate::outgoing::{Answer, Call, Caller};

const FORM: &str = "application/x-www-form-urlencoded";
/// Session tokens are long, and there is room for more than one.
const ANSWER_BYTES_MAX: usize = 64 * 1_024;
/// Who the role's own logs say has used it.
const SESSION_NAME: &str = "grandstand";

/// The role that the environment names, for whoever has the token in a file.
pub(super) async fn from_environment(
    settings: &AwsSettings,
    caller: &Caller,
) -> Result<Option<Identity>, String> {
    let role = settings.get("AWS_ROLE_ARN");
    let Some((file, role)) = settings.get("AWS_WEB_IDENTITY_TOKEN_FILE").zip(role) else { return Ok(None) };
    with_web_identity(settings, caller, role, file.as_ref()).await.map(Some)
}

/// The role, for whoever has the token in a file.
pub(super) async fn with_web_identity(
    settings: &AwsSettings,
    caller: &Caller,
    role_arn: &str,
    token_file: &Path,
) -> Result<Identity, String> {
    let token = tokio::fs::read_to_string(token_file).await;
    let token = token.map_err(|error| format!("cannot read {}: {error}", token_file.display()))?;
    let form = form("AssumeRoleWithWebIdentity", role_arn, Some(token.trim()));
    let address = format!("{}/", endpoint(settings, AwsService::Sts, region(settings)));
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(FORM));
    // The token says who calls: there is nothing to sign with yet.
    let call = Call {
        method: Method::POST,
        uri: address.parse().map_err(|_| format!("{address} is no address"))?,
        headers,
        body: Bytes::from(form),
        deadline: Instant::now() + SOURCE_TIME_MAX,
        answer_bytes_max: ANSWER_BYTES_MAX,
        outlives_deadline: false,
    };
    read(&caller.call(call).await.map_err(|error| error.to_string())?)
}

/// The role, for another identity.
pub(super) async fn assumed(
    settings: &AwsSettings,
    caller: &Caller,
    role_arn: &str,
    source: &Identity,
) -> Result<Identity, String> {
    let call = AwsCall {
        service: AwsService::Sts,
        region: region(settings),
        method: Method::POST,
        path: "/",
        headers: &[("content-type", FORM)],
        body: Bytes::from(form("AssumeRole", role_arn, None)),
        deadline: Instant::now() + SOURCE_TIME_MAX,
        answer_bytes_max: ANSWER_BYTES_MAX,
    };
    let call = signed(settings, source, call).map_err(|error| error.to_string())?;
    read(&caller.call(call).await.map_err(|error| error.to_string())?)
}

fn region(settings: &AwsSettings) -> &str {
    settings.get("AWS_REGION").or_else(|| settings.get("AWS_DEFAULT_REGION")).unwrap_or("us-east-1")
}

/// The parameters; a form is written like a canonical query.
fn form(action: &str, role_arn: &str, token: Option<&str>) -> String {
    let text = |name: &str, value: &str| format!("&{name}={}", value.replace('%', "%25").replace('&', "%26"));
    let token = token.map(|token| text("WebIdentityToken", token)).unwrap_or_default();
    let role = text("RoleArn", role_arn);
    // What has a meaning in a query was replaced, but for `+`, which would be read as a space.
    let parameters =
        format!("Action={action}&RoleSessionName={SESSION_NAME}&Version=2011-06-15{role}{token}");
    canonical_query(&parameters.replace('+', "%2B"))
}

/// What the service answers; an error does not quote secrets.
fn read(answer: &Answer) -> Result<Identity, String> {
    if answer.status.as_u16() >= 300 {
        return Err(refusal(answer).to_string());
    }
    let text = String::from_utf8_lossy(&answer.body);
    let member = |name: &str| element(&text, name).ok_or_else(|| format!("the answer has no {name}"));
    let mut identity = Identity::new(member("AccessKeyId")?, member("SecretAccessKey")?)
        .with_session_token(Some(member("SessionToken")?));
    identity.expires = expiration(member("Expiration")?);
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::form;

    #[test]
    fn a_form_keeps_what_its_values_are() {
        assert_eq!(
            form("AssumeRole", "arn:aws:iam::1:role/a+b&c%", None),
            "Action=AssumeRole&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fa%2Bb%26c%25&RoleSessionName=grandstand&Version=2011-06-15"
        );
    }
}
