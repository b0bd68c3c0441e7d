//! Why a call to AWS has brought nothing, and how AWS says so.

use std::fmt;

use serde_json::Value;

use crate::outgoing::{Answer, CallError};

/// A longer name of an error is none, in characters.
const CODE_LENGTH_MAX: usize = 100;

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
        /// The name of the error, such as `AccessDeniedException`; empty when the answer has none. What the service says
        /// about it is not kept: it may quote what it was sent, and would get into the log.
        code: String,
    },
}

impl fmt::Display for AwsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCredentials => formatter.write_str("no AWS credentials"),
            Self::Unreachable(cause) => formatter.write_str(cause),
            Self::TimedOut => CallError::TimedOut.fmt(formatter),
            Self::AnswerTooLong => formatter.write_str("the answer is too long"),
            Self::Refused { status, code } if code.is_empty() => write!(formatter, "status {status}"),
            Self::Refused { status, code } => write!(formatter, "status {status}, {code}"),
        }
    }
}

impl std::error::Error for AwsError {}

impl From<CallError> for AwsError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::TimedOut => Self::TimedOut,
            CallError::AnswerTooLong(_) => Self::AnswerTooLong,
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
    AwsError::Refused { status: answer.status.as_u16(), code: bare_code(&code).to_owned() }
}

/// Without the namespace before it and the address behind it. Nothing that could not be a name: an endpoint that is none
/// of AWS may say anything.
fn bare_code(code: &str) -> &str {
    let code = code.rsplit_once('#').map_or(code, |(_, code)| code);
    let code = code.split_once(':').map_or(code, |(code, _)| code);
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if code.len() <= CODE_LENGTH_MAX && code.bytes().all(is_name) { code } else { "" }
}

/// The text of the first element with this name; AWS puts no others into those that are asked for.
pub(super) fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}
