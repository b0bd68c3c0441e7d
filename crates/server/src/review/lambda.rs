//! Handlers that are functions of AWS Lambda, or of whatever speaks its Invoke API.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use protocol::arn::Scope;
use tokio::time::Instant;

use super::{ANSWER_BYTES_MAX, AskError};
use crate::aws::{AwsCall, AwsClient, AwsError, AwsService, TRACE_ID};
use crate::outgoing::Answer;

/// How long the service may take to say whether a function may be invoked.
const PERMISSION_TIME_MAX: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Lambda {
    aws: AwsClient,
    /// It was said that no function can be invoked.
    has_warned: AtomicBool,
}

impl Lambda {
    pub(super) fn new(aws: AwsClient) -> Self {
        Self { aws, has_warned: AtomicBool::new(false) }
    }

    /// Invokes the function of a room and answers what it returns. A function of another account or region is never
    /// invoked, though a room may have got it before CreateRoom and UpdateRoom refused such: whoever made the room would
    /// reach with this server's credentials what is none of theirs.
    pub(super) async fn ask(
        &self,
        room: &Scope,
        function_arn: &str,
        body: String,
        deadline: Instant,
        trace_id: Option<String>,
    ) -> Result<Bytes, AskError> {
        if !room.has_function(function_arn) {
            return Err(AskError::Failed(
                "the function is of another account or region than the room".to_owned(),
            ));
        }
        if !self.aws.is_configured(AwsService::Lambda).await {
            if !self.has_warned.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    "message review handlers cannot be invoked: there is no endpoint of Lambda and there are no AWS \
                     credentials; rooms that have one use their fallback result"
                );
            }
            return Err(AskError::NotConfigured);
        }
        let answer = self.invoke(function_arn, "RequestResponse", body, deadline, trace_id).await;
        let answer = answer.map_err(|error| match error {
            AwsError::TimedOut => AskError::TimedOut,
            AwsError::AnswerTooLong => AskError::TooLong,
            error => AskError::Failed(error.to_string()),
        })?;
        if answer.headers.contains_key("x-amz-function-error") {
            return Err(AskError::Failed("the function has failed".to_owned()));
        }
        Ok(answer.body)
    }

    /// Looks for the credentials, which may take a few seconds.
    pub(super) async fn prepare(&self) {
        self.aws.prepare().await;
    }

    /// Whether the function is there and may be invoked: a dry run.
    pub(super) async fn may_invoke(&self, function_arn: &str) -> bool {
        let deadline = Instant::now() + PERMISSION_TIME_MAX;
        let answer = self.invoke(function_arn, "DryRun", "{}".to_owned(), deadline, None).await;
        answer
            .inspect_err(|error| tracing::info!(function_arn, %error, "a handler may not be invoked"))
            .is_ok()
    }

    async fn invoke(
        &self,
        function_arn: &str,
        kind: &str,
        body: String,
        deadline: Instant,
        trace_id: Option<String>,
    ) -> Result<Answer, AwsError> {
        let (region, name) = parts(function_arn)
            .ok_or_else(|| AwsError::Unreachable("the ARN is none of a function".to_owned()))?;
        // To AWS the ARN says whose the function is; others may know functions by their names alone (cargo-lambda does).
        let name = if self.aws.is_of_aws(AwsService::Lambda) { function_arn } else { name };
        let path = format!("/2015-03-31/functions/{}/invocations", name.replace(':', "%3A"));
        let mut headers = vec![("content-type", "application/json"), ("x-amz-invocation-type", kind)];
        headers.extend(trace_id.as_deref().map(|value| (TRACE_ID, value)));
        let call = AwsCall {
            service: AwsService::Lambda,
            region,
            method: Method::POST,
            path: &path,
            headers: &headers,
            body: Bytes::from(body),
            deadline,
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        self.aws.call(call).await
    }
}

/// The region in the ARN of a function, and its name, perhaps with a version or an alias. The rest of the ARN has no character
/// that a path would have to escape but the colon: its pattern is checked when the room gets it, and once more here.
fn parts(function_arn: &str) -> Option<(&str, &str)> {
    let is_right = |character: char| character.is_ascii_alphanumeric() || ":-_$.".contains(character);
    let rest = function_arn.strip_prefix("arn:aws")?;
    let mut parts = rest.splitn(6, ':').skip(1);
    let (service, region, _account, kind, name) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_function = service == "lambda" && kind == "function" && !region.is_empty() && !name.is_empty();
    (is_function && function_arn.chars().all(is_right)).then_some((region, name))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Duration;

    use protocol::arn::Scope;
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::{Lambda, parts};
    use crate::aws::{AwsClient, AwsSettings};
    use crate::outgoing::{Caller, Trust};
    use crate::review::AskError;

    #[tokio::test]
    async fn a_function_of_another_account_or_region_is_not_invoked() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let variables = [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", "AKID"),
            ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ];
        let settings =
            AwsSettings::from_variables(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let lambda = Lambda::new(AwsClient::new(settings, Caller::new(Trust::from_variables(|_| None))));
        let room = Scope { account_id: "123456789012".into(), region: "us-west-2".into() };
        let ask = async |owner: &str, time: Duration| {
            let arn = format!("arn:aws:lambda:{owner}:function:review");
            lambda.ask(&room, &arn, "{}".to_owned(), Instant::now() + time, None).await.unwrap_err()
        };
        let refused =
            AskError::Failed("the function is of another account or region than the room".to_owned());
        for owner in ["us-west-2:210987654321", "eu-west-1:123456789012"] {
            assert_eq!(ask(owner, Duration::from_secs(60)).await, refused);
        }
        // Nobody answers here; one of its own would have been asked.
        assert_eq!(ask("us-west-2:123456789012", Duration::from_millis(20)).await, AskError::TimedOut);
    }

    #[test]
    fn the_region_and_the_name_are_in_the_arn() {
        let arn = "arn:aws:lambda:us-west-2:123456789012:function:review:live";
        assert_eq!(parts(arn), Some(("us-west-2", "review:live")));
        assert_eq!(parts("arn:aws-cn:lambda:cn-north-1:1:function:a"), Some(("cn-north-1", "a")));
        for arn in [
            "",
            "arn:aws:s3:us-west-2:1:function:a",
            "arn:aws:lambda:us-west-2:1:function:a/b",
            "arn:aws:lambda::",
            "arn:aws:lambda:us-west-2:1:layer:a",
            "arn:aws:lambda:us-west-2:1:function:",
        ] {
            assert_eq!(parts(arn), None, "{arn}");
        }
    }
}
