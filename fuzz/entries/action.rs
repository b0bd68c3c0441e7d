//! What a client's message asks for.

use protocol::id::Id;
use protocol::limit::edge::MESSAGE_BYTES_MAX;
use protocol::limit::member::{
    ATTRIBUTES_BYTES_MAX, REASON_LENGTH_MAX, REQUEST_ID_BYTES_MAX, USER_ID_LENGTH_MAX,
};
use protocol::messaging::{Action, Moderation, Request, encode_error, parse_request};
use serde_json::{Map, Value, json};

/// What comes of the inputs that are kept: every branch is reached.
pub(crate) const OUTCOMES: &[&str] = &[
    "SEND_MESSAGE",
    "DELETE_MESSAGE",
    "DISCONNECT_USER",
    "400 a message must be a JSON object",
    "400 Action is required",
    "400 Action must be one of SEND_MESSAGE, DELETE_MESSAGE, DISCONNECT_USER",
    "400 Action must be a string",
    "400 Content is required and must not be empty",
    "400 Id must be 12 letters or digits",
    "400 Reason must have 1 to 256 characters",
    "400 Attributes must be an object of strings",
    "413 Attributes must have at most 1024 bytes, keys and values together",
    "413 Reason must have 1 to 256 characters",
    "413 RequestId must have at most 256 bytes",
    "413 UserId must have at most 128 characters",
];

/// What is accepted is within all limits, and means the same when it is written in the plainest way; what is refused can
/// be answered.
pub(crate) fn run(data: &[u8]) -> Vec<String> {
    let Ok(text) = std::str::from_utf8(data) else { return Vec::new() };
    if text.len() > MESSAGE_BYTES_MAX {
        return Vec::new();
    }
    match parse_request(text) {
        Ok(request) => {
            let (name, members) = plain(&request);
            assert!(request.request_id.len() <= REQUEST_ID_BYTES_MAX);
            assert_eq!(parse_request(&Value::Object(members).to_string()), Ok(request));
            vec![name.to_owned()]
        }
        Err((refusal, request_id)) => {
            let frame = encode_error(Id::from_random(1), &request_id, &refusal);
            let frame: Result<Value, _> = serde_json::from_str(&frame);
            assert!(frame.is_ok_and(|frame| frame["RequestId"] == request_id));
            vec![format!("{} {}", refusal.code.as_u16(), refusal.message)]
        }
    }
}

/// The action's name, and the request as the documentation has it.
fn plain(request: &Request) -> (&'static str, Map<String, Value>) {
    let (name, members) = match &request.action {
        Action::SendMessage { content, attributes } => {
            assert!(!content.is_empty());
            let bytes: usize = attributes.iter().flatten().map(|(key, value)| key.len() + value.len()).sum();
            assert!(bytes <= ATTRIBUTES_BYTES_MAX);
            ("SEND_MESSAGE", json!({ "Content": content, "Attributes": attributes }))
        }
        Action::Moderate(Moderation::DeleteMessage { message_id, reason }) => {
            check_reason(reason.as_deref());
            ("DELETE_MESSAGE", json!({ "Id": message_id.to_string(), "Reason": reason }))
        }
        Action::Moderate(Moderation::DisconnectUser { user_id, reason }) => {
            assert!((1..=USER_ID_LENGTH_MAX).contains(&user_id.chars().count()));
            check_reason(reason.as_deref());
            ("DISCONNECT_USER", json!({ "UserId": user_id, "Reason": reason }))
        }
    };
    let mut members = members.as_object().cloned().unwrap_or_default();
    members.insert("Action".to_owned(), name.into());
    members.insert("RequestId".to_owned(), request.request_id.as_str().into());
    (name, members)
}

fn check_reason(reason: Option<&str>) {
    assert!(reason.is_none_or(|reason| (1..=REASON_LENGTH_MAX).contains(&reason.chars().count())));
}
