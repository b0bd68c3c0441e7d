//! What a message review handler is asked, and what it answers: JSON, the same for every kind of handler. Source: "Chat
//! Message Review Handler" of the user guide.
//!
//! Names of members are in Pascal case in requests, and compared without regard to case in responses, as the service does
//! elsewhere. Members that nobody knows are ignored.

use std::fmt;
use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::id::Id;
use crate::limit::member::ATTRIBUTES_BYTES_MAX;
use crate::messaging::{Attributes, push_attributes, push_string};

/// A message as its handler is shown it.
#[derive(Clone, Copy, Debug)]
pub struct ReviewedMessage<'a> {
    /// What the sender wrote.
    pub content: &'a str,
    /// The id that the message will have.
    pub message_id: Id,
    /// Where it is to be published.
    pub room_arn: &'a str,
    /// `None` when the sender gave none: `null`, as in the frames.
    pub attributes: Option<&'a Attributes>,
    /// [`crate::messaging::encode_sender`].
    pub sender: &'a str,
    /// Where the sender is. Handlers alone are told.
    pub client: IpAddr,
}

impl ReviewedMessage<'_> {
    /// The request.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut json = String::with_capacity(256 + self.content.len() + self.sender.len());
        json.push_str("{\"Content\":");
        push_string(&mut json, self.content);
        json.push_str(",\"MessageId\":\"");
        json.push_str(self.message_id.as_str());
        json.push_str("\",\"RoomArn\":");
        push_string(&mut json, self.room_arn);
        json.push_str(",\"Attributes\":");
        push_attributes(&mut json, self.attributes);
        json.push_str(",\"Sender\":");
        // The sender is an object with members; this is one more.
        json.push_str(self.sender.strip_suffix('}').unwrap_or_default());
        json.push_str(",\"Ip\":\"");
        json.push_str(&self.client.to_string());
        json.push_str("\"}}");
        json
    }
}

/// What a handler says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReviewResponse {
    /// Publish this.
    Allow {
        /// Within the room's limit.
        content: String,
        /// `None`: the sender's stay.
        attributes: Option<Attributes>,
    },
    /// Publish nothing.
    Deny {
        /// `Attributes.Reason`, for the sender.
        reason: Option<String>,
    },
}

/// Why an answer is no response: the fallback result stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReviewResponseError {
    /// No JSON, or no object.
    Malformed,
    /// `ReviewResult` is neither `ALLOW` nor `DENY`.
    UnknownResult,
    /// `Content` is no text of 1 to as many code points as the room allows.
    Content,
    /// `Attributes` is no object of texts with 1 KB at most.
    Attributes,
}

impl fmt::Display for ReviewResponseError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Malformed => "the answer is no JSON object",
            Self::UnknownResult => "ReviewResult is neither ALLOW nor DENY",
            Self::Content => "Content is missing, empty or longer than the room allows",
            Self::Attributes => "Attributes is no object of texts with at most 1024 bytes",
        })
    }
}

impl std::error::Error for ReviewResponseError {}

/// Reads an answer. `Content` counts only with `ALLOW`, and so does what is wrong with `Attributes`: a handler that says
/// `DENY` has denied, and the sender is told no reason then.
///
/// # Errors
/// See [`ReviewResponseError`].
pub fn parse_review_response(
    json: &[u8],
    message_length_max: u32,
) -> Result<ReviewResponse, ReviewResponseError> {
    let Ok(Value::Object(object)) = serde_json::from_slice(json) else {
        return Err(ReviewResponseError::Malformed);
    };
    let (mut result, mut content, mut attributes) = (None, None, None);
    for (name, value) in object {
        match name.to_ascii_lowercase().as_str() {
            "reviewresult" => result = Some(value),
            "content" => content = Some(value),
            "attributes" => attributes = Some(value),
            _ => {}
        }
    }
    let is_allowed = match result.as_ref().and_then(Value::as_str) {
        Some("ALLOW") => true,
        Some("DENY") => false,
        _ => return Err(ReviewResponseError::UnknownResult),
    };
    let attributes = match attributes {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => texts(object).map(Some),
        Some(_) => Err(ReviewResponseError::Attributes),
    };
    if !is_allowed {
        let attributes = attributes.unwrap_or_default().unwrap_or_default();
        let reason = attributes.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("Reason"));
        let reason = reason.map(|(_, reason)| reason).filter(|reason| !reason.is_empty());
        return Ok(ReviewResponse::Deny { reason });
    }
    let attributes = attributes?;
    let Some(Value::String(content)) = content else { return Err(ReviewResponseError::Content) };
    let length_max = usize::try_from(message_length_max).unwrap_or(usize::MAX);
    if content.is_empty() || content.chars().count() > length_max {
        return Err(ReviewResponseError::Content);
    }
    Ok(ReviewResponse::Allow { content, attributes })
}

fn texts(object: Map<String, Value>) -> Result<Attributes, ReviewResponseError> {
    let text = |(name, value)| match value {
        Value::String(value) => Ok((name, value)),
        _ => Err(ReviewResponseError::Attributes),
    };
    let attributes: Attributes = object.into_iter().map(text).collect::<Result<_, _>>()?;
    let bytes: usize = attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes <= ATTRIBUTES_BYTES_MAX { Ok(attributes) } else { Err(ReviewResponseError::Attributes) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{ReviewResponse, ReviewResponseError, ReviewedMessage, parse_review_response};
    use crate::id::Id;
    use crate::messaging::{Attributes, encode_sender};

    #[test]
    fn a_request_has_the_members_of_the_service() {
        let attributes = Attributes::from([("k".to_owned(), "v".to_owned())]);
        let mut message = ReviewedMessage {
            content: "say \"hi\"",
            message_id: Id::parse("M2YcHkgffEvU").unwrap(),
            room_arn: "arn:aws:ivschat:us-west-2:123456789012:room/g1H2I3j4k5L6",
            attributes: Some(&attributes),
            sender: &encode_sender("u1", &attributes),
            client: [203, 0, 113, 7].into(),
        };
        let json = message.encode();
        let expected = r#"{"Content":"say \"hi\"","MessageId":"M2YcHkgffEvU","RoomArn":"arn:aws:ivschat:us-west-2:123456789012:room/g1H2I3j4k5L6","Attributes":{"k":"v"},"Sender":{"UserId":"u1","Attributes":{"k":"v"},"Ip":"203.0.113.7"}}"#;
        assert_eq!(json, expected);
        message.attributes = None;
        assert!(message.encode().contains(r#""Attributes":null,"Sender""#));
    }

    fn check(json: &str, expected: &Result<ReviewResponse, ReviewResponseError>) {
        assert_eq!(parse_review_response(json.as_bytes(), 5), *expected, "{json}");
    }

    #[test]
    fn a_response_is_read_as_the_guide_says() {
        let allow =
            |content: &str, attributes| Ok(ReviewResponse::Allow { content: content.to_owned(), attributes });
        let deny = |reason: Option<&str>| Ok(ReviewResponse::Deny { reason: reason.map(str::to_owned) });
        let lang = Attributes::from([("lang".to_owned(), "en".to_owned())]);
        check(r#"{"ReviewResult":"ALLOW","Content":"hi"}"#, &allow("hi", None));
        check(r#"{"reviewResult":"ALLOW","content":"hi","attributes":null,"more":1}"#, &allow("hi", None));
        let full = r#"{"ReviewResult":"ALLOW","Content":"ÄÖÜßẞ","Attributes":{"lang":"en"}}"#;
        check(full, &allow("ÄÖÜßẞ", Some(lang)));
        check(
            r#"{"ReviewResult":"ALLOW","Content":"hi","Attributes":{}}"#,
            &allow("hi", Some(Attributes::new())),
        );
        check(r#"{"ReviewResult":"DENY"}"#, &deny(None));
        check(r#"{"ReviewResult":"DENY","Content":"","Attributes":{"Reason":""}}"#, &deny(None));
        check(r#"{"ReviewResult":"DENY","Content":5,"Attributes":{"Reason":"rude"}}"#, &deny(Some("rude")));
    }

    #[test]
    fn what_is_no_response_is_told_apart() {
        for json in ["", "null", "[]", "\"ALLOW\"", "{", "\u{fffd}"] {
            check(json, &Err(ReviewResponseError::Malformed));
        }
        for json in
            ["{}", r#"{"ReviewResult":"MAYBE"}"#, r#"{"ReviewResult":true}"#, r#"{"ReviewResult":"allow"}"#]
        {
            check(json, &Err(ReviewResponseError::UnknownResult));
        }
        for content in
            ["", r#","Content":"""#, r#","Content":"123456""#, r#","Content":null"#, r#","Content":1"#]
        {
            check(&format!(r#"{{"ReviewResult":"ALLOW"{content}}}"#), &Err(ReviewResponseError::Content));
        }
        let long = "x".repeat(1_024);
        for attributes in ["1", r#"{"a":1}"#, &format!(r#"{{"a":"{long}"}}"#)] {
            let json = format!(r#"{{"ReviewResult":"ALLOW","Content":"hi","Attributes":{attributes}}}"#);
            check(&json, &Err(ReviewResponseError::Attributes));
        }
    }

    #[test]
    fn a_deny_with_malformed_attributes_is_a_deny_without_a_reason() {
        let long = "x".repeat(1_024);
        for attributes in
            ["1", r#"{"Reason":"rude","a":1}"#, r#"{"Reason":1}"#, &format!(r#"{{"Reason":"{long}"}}"#)]
        {
            let json = format!(r#"{{"ReviewResult":"DENY","Attributes":{attributes}}}"#);
            check(&json, &Ok(ReviewResponse::Deny { reason: None }));
        }
    }
}
