//! The lines of the audit log: CloudTrail's record of an API call, and the same of what a moderator does over a socket.
//!
//! What the model of the service marks as sensitive (chat tokens, user ids) is hidden, and so is what rooms are told (attributes,
//! content), with CloudTrail's own words.

use std::net::IpAddr;

use bytes::Bytes;
use hub::message::Moderated;
use protocol::arn::{Arn, ResourceKind, Scope};
use protocol::limit::audit::AUDIT_BODY_BYTES_MAX;
use protocol::messaging::Moderation;
use protocol::time::Timestamp;
use serde_json::{Map, Value, json};

/// CloudTrail's words in the place of what it does not show.
const HIDDEN: &str = "HIDDEN_DUE_TO_SECURITY_REASONS";

/// Members that are hidden.
const HIDDEN_MEMBERS: [&str; 4] = ["token", "userId", "attributes", "content"];

/// Members of requests and answers that are shown. A name that is none of the model's is hidden: it may be another one misspelt.
const SHOWN_MEMBERS: [&str; 25] = [
    "arn",
    "capabilities",
    "createTime",
    "destinationConfiguration",
    "eventName",
    "fallbackResult",
    "id",
    "identifier",
    "loggingConfigurationIdentifiers",
    "maximumMessageLength",
    "maximumMessageRatePerSecond",
    "messageReviewHandler",
    "name",
    "reason",
    "resourceArn",
    "roomIdentifier",
    "sessionDurationInMinutes",
    "sessionExpirationTime",
    "state",
    "tagKeys",
    "tags",
    "tokenExpirationTime",
    "updateTime",
    "uri",
    "version",
];

/// What calls act on: these need no room that others have left.
const ACTED_ON_MEMBERS: [&str; 4] = ["identifier", "roomIdentifier", "id", "arn"];

/// What of them can be right, in bytes: an ARN of the model has 128 characters at most.
const ACTED_ON_BYTES_MAX: usize = 1_024;

/// The member that says that others are left out. CloudTrail's name for it.
const OMITTED: &str = "omitted";

/// The version of CloudTrail's record format that this is like.
const EVENT_VERSION: &str = "1.09";

/// A request to the control plane, by somebody who is known.
#[derive(Debug)]
pub struct Call {
    /// Name of the operation.
    pub operation: &'static str,
    /// The caller's account, and the region of the request.
    pub scope: Scope,
    /// What the request was signed with.
    pub access_key_id: Box<str>,
    /// Where it came from.
    pub client: Option<IpAddr>,
    /// As it came.
    pub user_agent: String,
    /// The members of the request, as JSON.
    pub body: Bytes,
    /// The ARN in the path of a tag operation.
    pub resource_arn: Option<String>,
    /// The keys in the query of UntagResource.
    pub tag_keys: Vec<String>,
}

/// How a call ended.
#[derive(Debug)]
pub enum Ending {
    /// With the members of its answer, as JSON; empty if there are none.
    Success(Bytes),
    /// With an error of this name and text.
    Failure(&'static str, String),
}

impl Call {
    /// The line of a call that has ended.
    #[must_use]
    pub fn to_line(&self, request_id: &str, event_id: &str, now: Timestamp, ending: &Ending) -> Vec<u8> {
        let account = &self.scope.account_id;
        let mut event = head(self.operation, &self.scope, now, event_id);
        let mut put = |name: &str, value: Value| event.insert(name.to_owned(), value);
        put(
            "userIdentity",
            json!({
                "type": "Root",
                "principalId": account,
                "arn": format!("arn:aws:iam::{account}:root"),
                "accountId": account,
                "accessKeyId": self.access_key_id,
            }),
        );
        put("sourceIPAddress", self.client.map_or(Value::Null, |client| json!(client.to_string())));
        put("userAgent", json!(self.user_agent));
        let mut parameters = members(&self.body);
        if let Some(arn) = &self.resource_arn {
            let known = parameters.get_or_insert_default();
            known.insert("resourceArn".to_owned(), json!(arn));
            if !self.tag_keys.is_empty() {
                known.insert("tagKeys".to_owned(), json!(self.tag_keys));
            }
        }
        put("requestParameters", json!(parameters));
        match ending {
            Ending::Success(body) => put("responseElements", json!(members(body))),
            Ending::Failure(name, text) => {
                put("errorCode", json!(name));
                put("errorMessage", json!(shown(text)));
                put("responseElements", Value::Null)
            }
        };
        put("requestID", json!(request_id));
        put("eventType", json!("AwsApiCall"));
        into_line(event)
    }
}

/// The line of what the user of a chat token has done over a socket, as a moderator of the room. Their user id is the answer to
/// "who", so it is shown.
#[must_use]
pub fn moderation_line(moderated: &Moderated, event_id: &str, now: Timestamp) -> Vec<u8> {
    let Moderated { room, sender, client, request_id, moderation } = moderated;
    let sender: Value = serde_json::from_str(sender).unwrap_or_default();
    let user_id = sender["UserId"].as_str().unwrap_or_default();
    let scope = &*room.scope;
    let (operation, mut parameters) = match moderation {
        Moderation::DeleteMessage { message_id, reason } => {
            ("DeleteMessage", json!({"id": message_id.as_str(), "reason": reason}))
        }
        Moderation::DisconnectUser { reason, .. } => {
            ("DisconnectUser", json!({"userId": HIDDEN, "reason": reason}))
        }
    };
    parameters["roomIdentifier"] = json!(Arn::new(scope.clone(), ResourceKind::Room, room.id).to_string());
    let mut event = head(operation, scope, now, event_id);
    let mut put = |name: &str, value: Value| event.insert(name.to_owned(), value);
    put("userIdentity", json!({"type": "ChatUser", "principalId": user_id, "accountId": scope.account_id}));
    put("sourceIPAddress", json!(client.to_string()));
    put("requestID", json!(Some(request_id).filter(|id| !id.is_empty())));
    put("requestParameters", parameters);
    put("responseElements", Value::Null);
    put("eventType", json!("ChatAction"));
    into_line(event)
}

/// What all lines have.
fn head(operation: &str, scope: &Scope, now: Timestamp, event_id: &str) -> Map<String, Value> {
    let members = [
        ("eventVersion", json!(EVENT_VERSION)),
        ("eventTime", json!(now.to_millis_text())),
        ("eventSource", json!("ivschat.amazonaws.com")),
        ("eventName", json!(operation)),
        ("awsRegion", json!(scope.region)),
        ("eventID", json!(event_id)),
        ("readOnly", json!(false)),
        ("managementEvent", json!(true)),
        ("recipientAccountId", json!(scope.account_id)),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The members of a body, without what is hidden; nothing of one that has none or is no JSON. What there is no room for is left
/// out, which [`OMITTED`] says, but never what was acted on: nobody hides that behind something long.
fn members(body: &[u8]) -> Option<Map<String, Value>> {
    let Ok(Value::Object(members)) = serde_json::from_slice::<Value>(body) else { return None };
    let mut left = AUDIT_BODY_BYTES_MAX;
    let mut shown = Map::new();
    for (name, value) in members {
        let value = if SHOWN_MEMBERS.contains(&&*name) { value } else { json!(HIDDEN) };
        let length = name.len() + value.to_string().len();
        if ACTED_ON_MEMBERS.contains(&&*name) && length <= ACTED_ON_BYTES_MAX {
            shown.insert(name, value);
            continue;
        }
        match left.checked_sub(length) {
            Some(rest) => {
                left = rest;
                shown.insert(name, value)
            }
            None => shown.insert(OMITTED.to_owned(), json!(true)),
        };
    }
    Some(shown)
}

/// The text of an error, unless it is about what is hidden: it may then name a part of that.
fn shown(text: &str) -> &str {
    if HIDDEN_MEMBERS.iter().any(|hidden| text.contains(hidden)) { HIDDEN } else { text }
}

fn into_line(event: Map<String, Value>) -> Vec<u8> {
    Value::Object(event).to_string().into_bytes()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use hub::message::{Moderated, RoomKey};
    use protocol::arn::{Arn, ResourceKind, Scope};
    use protocol::id::Id;
    use protocol::limit::audit::AUDIT_BODY_BYTES_MAX;
    use protocol::messaging::{Attributes, Moderation, encode_sender};
    use protocol::time::Timestamp;
    use serde_json::{Value, json};

    use super::{Call, Ending, HIDDEN, moderation_line};

    fn scope() -> Scope {
        Scope { account_id: "123456789012".into(), region: "eu-west-1".into() }
    }

    fn call(body: &'static str) -> Call {
        Call {
            operation: "CreateChatToken",
            scope: scope(),
            access_key_id: "AKIDEXAMPLE".into(),
            client: Some([192, 0, 2, 7].into()),
            user_agent: "aws-cli".to_owned(),
            body: Bytes::from_static(body.as_bytes()),
            resource_arn: None,
            tag_keys: Vec::new(),
        }
    }

    fn line(call: &Call, ending: &Ending) -> Value {
        let line = call.to_line("request", "event", Timestamp::from_micros(0), ending);
        assert!(!line.contains(&b'\n'));
        serde_json::from_slice(&line).unwrap()
    }

    #[test]
    fn what_is_sensitive_is_hidden_and_the_rest_is_shown() {
        let call = call(
            r#"{"roomIdentifier":"arn:room","userId":"ann","attributes":{"a":"secret"},"capabilities":["SEND_MESSAGE"]}"#,
        );
        let line = line(
            &call,
            &Ending::Success(Bytes::from_static(br#"{"token":"v1.secret","tokenExpirationTime":"t"}"#)),
        );
        let expected = json!({
            "eventVersion": "1.09",
            "eventTime": "1970-01-01T00:00:00.000Z",
            "eventSource": "ivschat.amazonaws.com",
            "eventName": "CreateChatToken",
            "awsRegion": "eu-west-1",
            "eventID": "event",
            "eventType": "AwsApiCall",
            "readOnly": false,
            "managementEvent": true,
            "recipientAccountId": "123456789012",
            "sourceIPAddress": "192.0.2.7",
            "userAgent": "aws-cli",
            "requestID": "request",
            "userIdentity": {
                "type": "Root",
                "principalId": "123456789012",
                "arn": "arn:aws:iam::123456789012:root",
                "accountId": "123456789012",
                "accessKeyId": "AKIDEXAMPLE",
            },
            "requestParameters": {
                "roomIdentifier": "arn:room",
                "userId": HIDDEN,
                "attributes": HIDDEN,
                "capabilities": ["SEND_MESSAGE"],
            },
            "responseElements": {"token": HIDDEN, "tokenExpirationTime": "t"},
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn a_failure_has_its_name_and_a_body_that_is_none_is_left_out() {
        let mut call = call("no JSON");
        call.resource_arn = Some("arn:room".to_owned());
        call.tag_keys = vec!["k".to_owned()];
        let line = line(&call, &Ending::Failure("ValidationException", "why".to_owned()));
        assert_eq!(line["requestParameters"], json!({"resourceArn": "arn:room", "tagKeys": ["k"]}));
        assert_eq!(
            (&line["errorCode"], &line["errorMessage"]),
            (&json!("ValidationException"), &json!("why"))
        );
        assert_eq!(line["responseElements"], Value::Null);
    }

    #[test]
    fn neither_a_misspelt_name_nor_an_error_shows_what_is_hidden() {
        let told = "Request member: attributes.secret failed to satisfy the constraints".to_owned();
        let line = line(&call(r#"{"user_id":"ann"}"#), &Ending::Failure("ValidationException", told));
        assert_eq!(line["requestParameters"], json!({"user_id": HIDDEN}));
        assert_eq!(line["errorMessage"], HIDDEN);
    }

    #[test]
    fn what_was_acted_on_is_shown_whatever_else_is_too_long() {
        let long = "x".repeat(AUDIT_BODY_BYTES_MAX);
        let almost = &long[..AUDIT_BODY_BYTES_MAX - 64];
        for pad in [
            format!(r#""a":1,"name":"{long}""#),
            format!(r#""{long}":1,"a":1"#),
            format!(r#""a":1,"arn":"{long}""#),
            format!(r#""a":1,"arn":"{almost}","id":"{almost}""#),
        ] {
            let call = Call { body: format!(r#"{{{pad},"identifier":"arn:room"}}"#).into(), ..call("") };
            let line = line(&call, &Ending::Success(Bytes::new()));
            let shown = &line["requestParameters"];
            let expected = (&json!("arn:room"), &json!(HIDDEN), &json!(true));
            assert_eq!((&shown["identifier"], &shown["a"], &shown["omitted"]), expected);
        }
    }

    #[test]
    fn a_moderator_is_shown_and_who_was_disconnected_is_not() {
        let room = RoomKey { scope: Arc::new(scope()), id: Id::from_random(1) };
        let arn = Arn::new(scope(), ResourceKind::Room, room.id).to_string();
        let moderated = Moderated {
            room,
            sender: encode_sender("mod", &Attributes::new()),
            client: [192, 0, 2, 7].into(),
            request_id: "request".to_owned(),
            moderation: Moderation::DisconnectUser { user_id: "victim".into(), reason: Some("spam".into()) },
        };
        let line = moderation_line(&moderated, "event", Timestamp::from_micros(0));
        let line: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(line["userIdentity"]["principalId"], "mod");
        assert_eq!(line["sourceIPAddress"], "192.0.2.7");
        assert_eq!(line["requestID"], "request");
        assert_eq!(
            line["requestParameters"],
            json!({"roomIdentifier": arn, "userId": HIDDEN, "reason": "spam"})
        );
    }
}
