//! What travels over a chat socket: three actions from the client, three kinds of frame to it.
//!
//! Key order and conventions of the frames are those observed on the service: `Attributes` is `null` where the sender
//! gave none, `Sender.Attributes` is `{}` where the token had none, `RequestId` is `""` where there was none, keys of
//! attributes are in byte order. Nothing here knows a room's settings; see `hub` for those.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::capability::Capability;
use crate::id::Id;
use crate::limit::member;
use crate::time::Timestamp;

/// Attributes of a message, an event or a user.
pub type Attributes = BTreeMap<String, String>;

/// What a client asks for over its socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Comes back in the frame that answers; empty when the client gave none.
    pub request_id: String,
    /// What is to be done.
    pub action: Action,
}

/// The three socket actions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// `SEND_MESSAGE`. The content is not empty; its length is the room's to judge.
    SendMessage {
        /// The text, untouched.
        content: String,
        /// `None` when the sender gave none.
        attributes: Option<Attributes>,
    },
    /// `DELETE_MESSAGE` or `DISCONNECT_USER`.
    Moderate(Moderation),
}

/// What a moderator wants of a room, over a socket or through the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moderation {
    /// Asks all clients to hide a message. Whether the message exists is not checked.
    DeleteMessage {
        /// The message.
        message_id: Id,
        /// Why.
        reason: Option<String>,
    },
    /// Closes all connections of a user in the room.
    DisconnectUser {
        /// The user.
        user_id: String,
        /// Why; the victim sees it as the close reason.
        reason: Option<String>,
    },
}

impl Action {
    /// What the chat token must allow for this action.
    #[must_use]
    pub const fn capability(&self) -> Capability {
        match self {
            Self::SendMessage { .. } => Capability::SendMessage,
            Self::Moderate(Moderation::DeleteMessage { .. }) => Capability::DeleteMessage,
            Self::Moderate(Moderation::DisconnectUser { .. }) => Capability::DisconnectUser,
        }
    }
}

/// Codes of ERROR frames. Source: "Error messages" of the messaging API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// 400: malformed, or a member that is not what it may be. Also content over the room's maximum.
    Invalid,
    /// 401: the session has ended. The web SDK reconnects with a fresh token at once.
    Unauthorized,
    /// 403: the token lacks the capability.
    Forbidden,
    /// 404: the room does not exist any more.
    NotFound,
    /// 406: rejected in message review.
    Rejected,
    /// 413: a member is too large.
    TooLarge,
    /// 429: over the connection's or the room's rate.
    RateExceeded,
    /// 500: the server failed.
    Internal,
}

impl ErrorCode {
    /// The number on the wire.
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Rejected => 406,
            Self::TooLarge => 413,
            Self::RateExceeded => 429,
            Self::Internal => 500,
        }
    }
}

/// Why a request was not carried out: what the ERROR frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The class.
    pub code: ErrorCode,
    /// For a person.
    pub message: Cow<'static, str>,
}

impl Refusal {
    /// A refusal with a fixed text.
    #[must_use]
    pub const fn new(code: ErrorCode, message: &'static str) -> Self {
        Self { code, message: Cow::Borrowed(message) }
    }
}

/// Content over the room's maximum. The text is the service's own, and clients compare it.
pub const MESSAGE_TOO_LONG: Refusal = Refusal::new(ErrorCode::Invalid, "Message exceeds maximum length");
/// Over a rate. The text is the service's own, and clients compare it.
pub const RATE_EXCEEDED: Refusal = Refusal::new(ErrorCode::RateExceeded, "rate limit exceeded");
/// The room was deleted.
pub const ROOM_NOT_FOUND: Refusal = Refusal::new(ErrorCode::NotFound, "The room does not exist");
/// The room's chat log cannot be written, and the room may not go on without (`chatlog.on_failure = "refuse"`).
pub const CHAT_LOG_UNAVAILABLE: Refusal =
    Refusal::new(ErrorCode::Internal, "The chat log of the room cannot be written");
/// The session has ended.
pub const SESSION_EXPIRED: Refusal = Refusal::new(ErrorCode::Unauthorized, "The session has expired");
/// The review handler gave no verdict and the room's fallback result is DENY.
pub const REVIEW_DENIED: Refusal = Refusal::new(ErrorCode::Rejected, "The message was rejected in review");

/// The refusal of an action that the token does not allow.
#[must_use]
pub fn forbidden(capability: Capability) -> Refusal {
    let message = format!("Forbidden: the chat token does not have the capability {}", capability.as_str());
    Refusal { code: ErrorCode::Forbidden, message: Cow::Owned(message) }
}

/// Reads one text message of a client.
///
/// Member names are compared without regard to case and unknown members are ignored, as the service does; `null` is
/// the same as absent; of a name given twice, in whatever spelling, the last one counts.
///
/// # Errors
/// The refusal to send, with the RequestId it answers (empty if none could be read).
pub fn parse_request(text: &str) -> Result<Request, (Refusal, String)> {
    let parsed: Result<Members, _> =
        serde_json::from_str(text).or_else(|_| serde_json::from_str(&replace_lone_surrogates(text)));
    let Ok(mut members) = parsed else {
        return Err((invalid("a message must be a JSON object"), String::new()));
    };
    let request_id = match optional_text(members.request_id.take(), "RequestId") {
        Ok(request_id) => request_id.unwrap_or_default(),
        Err(refusal) => return Err((refusal, String::new())),
    };
    if request_id.len() > member::REQUEST_ID_BYTES_MAX {
        return Err((too_large("RequestId must have at most 256 bytes"), request_id));
    }
    match members.into_action() {
        Ok(action) => Ok(Request { request_id, action }),
        Err(refusal) => Err((refusal, request_id)),
    }
}

/// The text with each escaped half of a surrogate pair made U+FFFD, where the other half is missing. A browser sends
/// such halves when an application cuts a text in the middle of an emoji; refusing them would leave the SDK's promise
/// unanswered, as the RequestId could not be read either.
fn replace_lone_surrogates(text: &str) -> String {
    let mut repaired = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        repaired.push_str(before);
        let (whole, length) = match (code_unit(escape), escape.get(6..).and_then(code_unit)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => (true, 12),
            (Some(0xD800..=0xDFFF), _) => (false, 6),
            _ => (true, escape.char_indices().nth(2).map_or(escape.len(), |(end, _)| end)),
        };
        repaired.push_str(if whole { &escape[..length] } else { "\\ufffd" });
        rest = &escape[length..];
    }
    repaired.push_str(rest);
    repaired
}

/// The code unit of the escape (`\u` and four digits) at the beginning of `escape`, if there is one.
fn code_unit(escape: &str) -> Option<u16> {
    let digits = escape.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

/// The members that any action has, as they were sent. They are taken in while the text is read: a map in between would
/// forget in which order two spellings of one name came.
#[derive(Default)]
struct Members {
    action: Option<Value>,
    request_id: Option<Value>,
    content: Option<Value>,
    attributes: Option<Value>,
    id: Option<Value>,
    user_id: Option<Value>,
    reason: Option<Value>,
}

impl Members {
    /// Where the value of a member is kept; `None` for a name that no action has.
    fn slot(&mut self, name: &str) -> Option<&mut Option<Value>> {
        let slots = [
            ("action", &mut self.action),
            ("requestid", &mut self.request_id),
            ("content", &mut self.content),
            ("attributes", &mut self.attributes),
            ("id", &mut self.id),
            ("userid", &mut self.user_id),
            ("reason", &mut self.reason),
        ];
        slots.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, slot)| slot)
    }

    fn into_action(self) -> Result<Action, Refusal> {
        let Some(action) = optional_text(self.action, "Action")? else {
            return Err(invalid("Action is required"));
        };
        match action.as_str() {
            "SEND_MESSAGE" => Ok(Action::SendMessage {
                content: required_text(self.content, "Content")?,
                attributes: optional_attributes(self.attributes)?,
            }),
            "DELETE_MESSAGE" => Ok(Action::Moderate(Moderation::DeleteMessage {
                message_id: Id::parse(&required_text(self.id, "Id")?)
                    .ok_or_else(|| invalid("Id must be 12 letters or digits"))?,
                reason: optional_reason(self.reason)?,
            })),
            "DISCONNECT_USER" => Ok(Action::Moderate(Moderation::DisconnectUser {
                user_id: user_id(self.user_id)?,
                reason: optional_reason(self.reason)?,
            })),
            _ => Err(invalid("Action must be one of SEND_MESSAGE, DELETE_MESSAGE, DISCONNECT_USER")),
        }
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Members, A::Error> {
        let mut members = Members::default();
        while let Some(name) = object.next_key::<String>()? {
            // Also what is unknown is read as a value, since its nesting must have a limit.
            let value: Value = object.next_value()?;
            if let Some(slot) = members.slot(&name) {
                *slot = Some(value).filter(|value| !value.is_null());
            }
        }
        Ok(members)
    }
}

fn invalid(message: &'static str) -> Refusal {
    Refusal::new(ErrorCode::Invalid, message)
}

fn too_large(message: &'static str) -> Refusal {
    Refusal::new(ErrorCode::TooLarge, message)
}

fn optional_text(value: Option<Value>, name: &'static str) -> Result<Option<String>, Refusal> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => {
            Err(Refusal { code: ErrorCode::Invalid, message: Cow::Owned(format!("{name} must be a string")) })
        }
    }
}

fn required_text(value: Option<Value>, name: &'static str) -> Result<String, Refusal> {
    match optional_text(value, name)? {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(Refusal {
            code: ErrorCode::Invalid,
            message: Cow::Owned(format!("{name} is required and must not be empty")),
        }),
    }
}

fn user_id(value: Option<Value>) -> Result<String, Refusal> {
    let user_id = required_text(value, "UserId")?;
    if user_id.chars().count() > member::USER_ID_LENGTH_MAX {
        return Err(too_large("UserId must have at most 128 characters"));
    }
    Ok(user_id)
}

fn optional_reason(value: Option<Value>) -> Result<Option<String>, Refusal> {
    let reason = optional_text(value, "Reason")?;
    match reason.as_ref().map(|reason| reason.chars().count()) {
        Some(0) => Err(invalid("Reason must have 1 to 256 characters")),
        Some(length) if length > member::REASON_LENGTH_MAX => {
            Err(too_large("Reason must have 1 to 256 characters"))
        }
        _ => Ok(reason),
    }
}

fn optional_attributes(value: Option<Value>) -> Result<Option<Attributes>, Refusal> {
    let object = match value {
        None => return Ok(None),
        Some(Value::Object(object)) => object,
        Some(_) => return Err(invalid("Attributes must be an object of strings")),
    };
    let attributes = attributes_from(object)?;
    let bytes: usize = attributes.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > member::ATTRIBUTES_BYTES_MAX {
        return Err(too_large("Attributes must have at most 1024 bytes, keys and values together"));
    }
    Ok(Some(attributes))
}

fn attributes_from(object: Map<String, Value>) -> Result<Attributes, Refusal> {
    object
        .into_iter()
        .map(|(key, value)| match value {
            Value::String(value) => Ok((key, value)),
            _ => Err(invalid("Attributes must be an object of strings")),
        })
        .collect()
}

/// The `Sender` member of a MESSAGE frame: made once per connection, since it is the same in all its messages.
#[must_use]
pub fn encode_sender(user_id: &str, attributes: &Attributes) -> String {
    let mut json = String::with_capacity(64);
    json.push_str("{\"UserId\":");
    push_string(&mut json, user_id);
    json.push_str(",\"Attributes\":");
    push_attributes(&mut json, Some(attributes));
    json.push('}');
    json
}

/// A MESSAGE frame. `sender` is the JSON of [`encode_sender`].
#[must_use]
pub fn encode_message(
    id: Id,
    request_id: &str,
    attributes: Option<&Attributes>,
    content: &str,
    send_time: Timestamp,
    sender: &str,
) -> String {
    let mut json = String::with_capacity(192 + content.len() + sender.len());
    push_head(&mut json, "MESSAGE", id, request_id);
    json.push_str(",\"Attributes\":");
    push_attributes(&mut json, attributes);
    json.push_str(",\"Content\":");
    push_string(&mut json, content);
    json.push_str(",\"SendTime\":\"");
    json.push_str(&send_time.to_nanos_text());
    json.push_str("\",\"Sender\":");
    json.push_str(sender);
    json.push('}');
    json
}

/// An EVENT frame.
#[must_use]
pub fn encode_event(
    id: Id,
    request_id: &str,
    event_name: &str,
    attributes: Option<&Attributes>,
    send_time: Timestamp,
) -> String {
    let mut json = String::with_capacity(256);
    push_head(&mut json, "EVENT", id, request_id);
    json.push_str(",\"EventName\":");
    push_string(&mut json, event_name);
    json.push_str(",\"Attributes\":");
    push_attributes(&mut json, attributes);
    json.push_str(",\"SendTime\":\"");
    json.push_str(&send_time.to_nanos_text());
    json.push_str("\"}");
    json
}

/// The event that asks clients to hide a message. `MessageID` is the old name of `MessageId`; the service sends both,
/// and the official web SDK reads the old one.
#[must_use]
pub fn encode_delete_event(
    id: Id,
    request_id: &str,
    message_id: Id,
    reason: Option<&str>,
    send_time: Timestamp,
) -> String {
    let mut attributes = Attributes::new();
    attributes.insert("MessageID".to_owned(), message_id.to_string());
    attributes.insert("MessageId".to_owned(), message_id.to_string());
    insert_reason(&mut attributes, reason);
    encode_event(id, request_id, "aws:DELETE_MESSAGE", Some(&attributes), send_time)
}

/// The event that tells everybody in a room that a user is disconnected.
#[must_use]
pub fn encode_disconnect_event(
    id: Id,
    request_id: &str,
    user_id: &str,
    reason: Option<&str>,
    send_time: Timestamp,
) -> String {
    let mut attributes = Attributes::new();
    attributes.insert("UserId".to_owned(), user_id.to_owned());
    insert_reason(&mut attributes, reason);
    encode_event(id, request_id, "aws:DISCONNECT_USER", Some(&attributes), send_time)
}

fn insert_reason(attributes: &mut Attributes, reason: Option<&str>) {
    if let Some(reason) = reason {
        attributes.insert("Reason".to_owned(), reason.to_owned());
    }
}

/// An ERROR frame; it goes to the requester only.
#[must_use]
pub fn encode_error(id: Id, request_id: &str, refusal: &Refusal) -> String {
    let mut json = String::with_capacity(160);
    push_head(&mut json, "ERROR", id, request_id);
    json.push_str(&format!(",\"ErrorCode\":{},\"ErrorMessage\":", refusal.code.as_u16()));
    push_string(&mut json, &refusal.message);
    json.push('}');
    json
}

/// The close reason at the end of a session: a small JSON error, which old raw clients tell from a moderator's text.
#[must_use]
pub fn session_end_reason() -> String {
    let mut json = format!("{{\"ErrorCode\":{},\"ErrorMessage\":", SESSION_EXPIRED.code.as_u16());
    push_string(&mut json, &SESSION_EXPIRED.message);
    json.push('}');
    json
}

fn push_head(json: &mut String, kind: &str, id: Id, request_id: &str) {
    json.push_str("{\"Type\":\"");
    json.push_str(kind);
    json.push_str("\",\"Id\":\"");
    json.push_str(id.as_str());
    json.push_str("\",\"RequestId\":");
    push_string(json, request_id);
}

pub(crate) fn push_attributes(json: &mut String, attributes: Option<&Attributes>) {
    let Some(attributes) = attributes else {
        json.push_str("null");
        return;
    };
    json.push('{');
    for (index, (key, value)) in attributes.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        push_string(json, key);
        json.push(':');
        push_string(json, value);
    }
    json.push('}');
}

/// Appends a JSON string. What needs no escape, nearly all text, is copied in one piece.
pub(crate) fn push_string(json: &mut String, text: &str) {
    json.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(|character: char| character < ' ' || matches!(character, '"' | '\\')) {
        json.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => json.push_str("\\\""),
            b'\\' => json.push_str("\\\\"),
            b'\n' => json.push_str("\\n"),
            b'\r' => json.push_str("\\r"),
            b'\t' => json.push_str("\\t"),
            control => json.push_str(&format!("\\u{control:04x}")),
        }
        rest = &rest[at + 1..];
    }
    json.push_str(rest);
    json.push('"');
}

#[cfg(test)]
#[path = "messaging_tests.rs"]
mod tests;
