//! Why a call to AWS has brought nothing, and how AWS says so.

use std::fmt;

use serde_json::Value;

use crate::outgoing::{Answer, CallError};

/// So much of a message is kept, in characters: enough to know what is wrong.
const MESSAGE_LENGTH_MAX: usize = 300;

/// Why a call has brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AwsError {
    /// Nothing says who calls.
    NoCredentials,
    /// No connection could be made, or it broke.
    Unreachable(String),
    /// The deadline has passed.
    TimedOut,
    /// The answer is longer than the caller wants.
    AnswerTooLong,
    /// The service has answered with an error.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The name of the error, such as `AccessDeniedException`; empty when the answer has none.
        code: String,
        /// What the service says about it, as far as it is not too long.
        message: String,
    },
}

impl fmt::Display for AwsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCredentials => formatter.write_str("no AWS credentials"),
            Self::Unreachable(cause) => formatter.write_str(cause),
            Self::TimedOut => CallError::TimedOut.fmt(formatter),
            Self::AnswerTooLong => CallError::AnswerTooLong.fmt(formatter),
            Self::Refused { status, code, message } => write!(formatter, "{status} {code}: {message}"),
        }
    }
}

impl std::error::Error for AwsError {}

impl From<CallError> for AwsError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::TimedOut => Self::TimedOut,
            CallError::AnswerTooLong => Self::AnswerTooLong,
            CallError::Unreachable(_) | CallError::Broken(_) => Self::Unreachable(error.to_string()),
        }
    }
}

/// What an answer with an error says. The name of the error stands in a header or the body, which is JSON or XML.
pub(super) fn refusal(answer: &Answer) -> AwsError {
    let text = String::from_utf8_lossy(&answer.body);
    let json: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let member = |names: [&str; 3]| {
        let json = json.as_ref()?;
        names.iter().find_map(|name| json.get(name)?.as_str().map(str::to_owned))
    };
    let header = answer.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    let code = header
        .map(str::to_owned)
        .or_else(|| member(["__type", "code", "Code"]))
        .or_else(|| element(&text, "Code").map(str::to_owned))
        .unwrap_or_default();
    let message = member(["message", "Message", "errorMessage"])
        .or_else(|| element(&text, "Message").map(str::to_owned))
        .unwrap_or_default();
    AwsError::Refused {
        status: answer.status.as_u16(),
        code: bare_code(&code).to_owned(),
        message: message.chars().take(MESSAGE_LENGTH_MAX).collect(),
    }
}

/// Without the namespace before it and the address behind it.
fn bare_code(code: &str) -> &str {
    let code = code.rsplit_once('#').map_or(code, |(_, code)| code);
    code.split_once(':').map_or(code, |(code, _)| code)
}

/// The text of the first element with this name; AWS puts no others into those that are asked for.
pub(super) fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}
