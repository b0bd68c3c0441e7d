//! The 17 requests and responses of the control plane, by resource.
//!
//! Promises:
//! - A request type exists only with valid members: `parse` checks every rule of [`constraint`] and names every
//!   member that fails, not only the first.
//! - Whatever bytes come in, the outcome is a request or a typed 4xx.
//! - Unknown members are ignored, `null` is the same as absent, and no type is turned into another.
//! - A response never has a `null`: what is not there is absent.
//!
//! Whether a resource exists, and whose it is, is not looked at here.
//!
//! | module | room for |
//! | --- | --- |
//! | [`constraint`] | what each kind of member may be: the model's constraints, all in one place |
//! | [`field`] | how members are read and failures are gathered |
//! | [`room`], [`logging_configuration`], [`token`], [`message`], [`tag`] | requests and responses, by resource |

pub mod constraint;
pub mod field;
pub mod logging_configuration;
pub mod message;
pub mod room;
pub mod tag;
pub mod token;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::arn::Arn;
use crate::error::ApiError;
use crate::limit;

use field::{Failed, Failures, Members};

/// Keys and values of tags or attributes, sorted by key.
pub type StringMap = BTreeMap<String, String>;

/// Something that must not be seen in logs: `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Sensitive<T>(pub T);

impl<T> fmt::Debug for Sensitive<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[sensitive]")
    }
}

/// The answer to an operation that has nothing to tell: `{}`.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Empty {}

/// Reads a body into the JSON object it has to be; no body at all is an empty object, as SDKs send none when there
/// are no members. Of a member that is there twice the last one counts.
fn read_object(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    // Malformed JSON, invalid UTF-8, lone surrogates, numbers that no double can hold; the parser itself gives up at
    // a depth of 128, so the walk below is bounded.
    let document: Value = serde_json::from_slice(body)
        .map_err(|error| ApiError::invalid_body(format!("The request body is not valid JSON: {error}")))?;
    if depth(&document) > limit::control::JSON_DEPTH_MAX {
        let levels = limit::control::JSON_DEPTH_MAX;
        return Err(ApiError::invalid_body(format!(
            "The request body is nested deeper than {levels} levels"
        )));
    }
    match document {
        Value::Object(object) => Ok(object),
        _ => Err(ApiError::invalid_body("The request body is not a JSON object")),
    }
}

/// The room or logging configuration that the body of a request names, as far as it can be read: for an error that is
/// told before the request is.
#[must_use]
pub fn named_resource(body: &[u8]) -> Option<Arn> {
    let object = read_object(body).ok()?;
    let identifier = object.get("roomIdentifier").or_else(|| object.get("identifier"))?;
    Arn::parse(identifier.as_str()?)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(entries) => 1 + entries.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Reads a request from its members; all failures go into one error.
fn read_members<T>(
    object: &Map<String, Value>,
    read: impl FnOnce(&mut Members<'_>) -> Result<T, Failed>,
) -> Result<T, ApiError> {
    let mut failures = Failures::default();
    let request = read(&mut Members::new(object, &mut failures));
    match request {
        Ok(request) if failures.is_empty() => Ok(request),
        _ => Err(ApiError::invalid_fields(failures.into_list())),
    }
}

/// [`read_object`], then [`read_members`].
fn read_body<T>(
    body: &[u8],
    read: impl FnOnce(&mut Members<'_>) -> Result<T, Failed>,
) -> Result<T, ApiError> {
    read_members(&read_object(body)?, read)
}

#[cfg(test)]
mod request_tests;
#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{any, proptest};
    use serde_json::Value;

    use super::{Sensitive, named_resource, read_object};

    #[track_caller]
    fn refused(body: &[u8]) {
        let Err(error) = read_object(body) else { panic!("{body:?} is taken") };
        let encoded = error.encode();
        assert_eq!((encoded.status, encoded.error_type), (400, "ValidationException"));
        let body: Value = serde_json::from_slice(&encoded.body).unwrap_or_default();
        assert_eq!(body["reason"], "OTHER");
    }

    #[test]
    fn a_body_that_is_no_json_object_is_refused() {
        for body in [
            &b"x"[..],
            b" ",
            b"{",
            b"{}{}",
            b"[]",
            b"null",
            b"\"a\"",
            b"{\"a\":1e999}",
            b"{\"a\":\"\\ud800\"}",
            b"{\"a\":\"\\udc00\\ud800\"}",
            b"{\"a\":\"\xff\"}",
            b"{\"a\":\"\xed\xa0\x80\"}",
            b"{\"a\":\"\x00\"}",
            b"\xef\xbb\xbf{}",
        ] {
            refused(body);
        }
    }

    #[test]
    fn nesting_has_an_end() {
        let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(read_object(nested(31).as_bytes()).is_ok());
        for levels in [32, 127, 128, 30_000] {
            refused(nested(levels).as_bytes());
        }
    }

    #[test]
    fn no_body_is_an_empty_object_and_the_last_of_two_members_counts() {
        assert_eq!(read_object(b"").map(|object| object.len()).ok(), Some(0));
        let object = read_object(b"{\"a\":1,\"a\":2}").unwrap_or_default();
        assert_eq!(object["a"], 2);
    }

    #[test]
    fn what_is_sensitive_is_not_seen() {
        assert_eq!(format!("{:?}", Sensitive("secret")), "[sensitive]");
    }

    #[test]
    fn what_a_request_is_about_is_found_without_reading_it_all() {
        const ROOM: &str = "arn:aws:ivschat:us-west-2:123456789012:room/AbCdEfGh1234";
        for (body, found) in [
            (format!(r#"{{"roomIdentifier":"{ROOM}","eventName":""}}"#), true),
            (format!(r#"{{"name":7,"identifier":"{ROOM}"}}"#), true),
            (format!(r#"{{"Identifier":"{ROOM}"}}"#), false),
            (r#"{"identifier":"AbCdEfGh1234"}"#.to_owned(), false),
            (r#"{"identifier":7}"#.to_owned(), false),
            (String::new(), false),
            ("nonsense".to_owned(), false),
        ] {
            let expected = found.then_some(ROOM);
            assert_eq!(
                named_resource(body.as_bytes()).map(|arn| arn.to_string()).as_deref(),
                expected,
                "{body}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_typed_outcome(body in vec(any::<u8>(), 0..64)) {
            if let Err(error) = read_object(&body) {
                assert_eq!(error.encode().status, 400);
            }
        }
    }
}
