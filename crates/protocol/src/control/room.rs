//! CreateRoom, GetRoom, ListRooms, UpdateRoom, DeleteRoom.

use serde_json::Value;

use super::constraint::{self, FallbackResult};
use super::field::{Failed, Members};
use super::{StringMap, read_body};
use crate::arn::{Arn, ArnStem, ResourceKind, Scope};
use crate::error::ApiError;
use crate::id::Id;
use crate::limit::member::PAGE_SIZE_MAX;
use crate::time::Timestamp;

/// A room in an answer seldom takes more, in bytes.
const ROOM_BYTES_USUAL: usize = 500;

/// CreateRoom. What is `None` gets its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateRoomRequest {
    /// Name.
    pub name: Option<String>,
    /// Messages per second over all senders.
    pub maximum_message_rate_per_second: Option<u32>,
    /// Code points of a message.
    pub maximum_message_length: Option<u32>,
    /// Message review handler.
    pub message_review_handler: Option<MessageReviewHandler>,
    /// Tags.
    pub tags: StringMap,
    /// Logging configurations, no two the same.
    pub logging_configurations: Vec<Arn>,
}

impl CreateRoomRequest {
    /// Reads the request.
    ///
    /// # Errors
    ///
    /// ValidationException.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        read_body(body, |members| {
            let name = members.optional("name", constraint::name);
            let rate = members.optional("maximumMessageRatePerSecond", constraint::message_rate);
            let length = members.optional("maximumMessageLength", constraint::message_length);
            let handler = read_handler(members);
            let tags = members.optional("tags", constraint::tags);
            let logging_configurations = read_logging_configurations(members);
            Ok(Self {
                name: name?,
                maximum_message_rate_per_second: rate?,
                maximum_message_length: length?,
                message_review_handler: handler?,
                tags: tags?.unwrap_or_default(),
                logging_configurations: logging_configurations?.unwrap_or_default(),
            })
        })
    }
}

/// A message review handler as a request gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageReviewHandler {
    /// ARN of the handler; empty means none.
    pub uri: Option<String>,
    /// The verdict when the handler gives none.
    pub fallback_result: Option<FallbackResult>,
}

fn read_handler(members: &mut Members<'_>) -> Result<Option<MessageReviewHandler>, Failed> {
    members.optional("messageReviewHandler", |field| {
        field.structure(|members| {
            let uri = members.optional("uri", constraint::handler_uri);
            let fallback_result = members.optional("fallbackResult", constraint::fallback_result);
            Ok(MessageReviewHandler { uri: uri?, fallback_result: fallback_result? })
        })
    })
}

fn read_logging_configurations(members: &mut Members<'_>) -> Result<Option<Vec<Arn>>, Failed> {
    members.optional("loggingConfigurationIdentifiers", constraint::logging_configuration_identifiers)
}

/// GetRoom, DeleteRoom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomIdentifierRequest {
    /// ARN of the room.
    pub identifier: Arn,
}

impl RoomIdentifierRequest {
    /// Reads the request.
    ///
    /// # Errors
    ///
    /// ValidationException.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        read_body(body, |members| {
            Ok(Self { identifier: members.required("identifier", constraint::room_identifier)? })
        })
    }
}

/// UpdateRoom. What is `None` stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateRoomRequest {
    /// ARN of the room.
    pub identifier: Arn,
    /// Name.
    pub name: Option<String>,
    /// Messages per second over all senders.
    pub maximum_message_rate_per_second: Option<u32>,
    /// Code points of a message.
    pub maximum_message_length: Option<u32>,
    /// Message review handler; an empty uri takes the handler away.
    pub message_review_handler: Option<MessageReviewHandler>,
    /// The whole new list; empty clears it.
    pub logging_configurations: Option<Vec<Arn>>,
}

impl UpdateRoomRequest {
    /// Reads the request.
    ///
    /// # Errors
    ///
    /// ValidationException.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        read_body(body, |members| {
            let identifier = members.required("identifier", constraint::room_identifier);
            let name = members.optional("name", constraint::name);
            let rate = members.optional("maximumMessageRatePerSecond", constraint::message_rate);
            let length = members.optional("maximumMessageLength", constraint::message_length);
            let handler = read_handler(members);
            let logging_configurations = read_logging_configurations(members);
            Ok(Self {
                identifier: identifier?,
                name: name?,
                maximum_message_rate_per_second: rate?,
                maximum_message_length: length?,
                message_review_handler: handler?,
                logging_configurations: logging_configurations?,
            })
        })
    }
}

/// ListRooms: rooms that meet every condition which is given. An empty text is no condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRoomsRequest {
    /// Exact name.
    pub name: Option<String>,
    /// Exact ARN of the handler.
    pub message_review_handler_uri: Option<String>,
    /// One of the room's logging configurations.
    pub logging_configuration: Option<Arn>,
    /// Where the page begins; not opened yet.
    pub next_token: Option<String>,
    /// Most rooms of the page.
    pub page_size: Option<usize>,
}

impl ListRoomsRequest {
    /// Reads the request.
    ///
    /// # Errors
    ///
    /// ValidationException. An empty `loggingConfigurationIdentifier` is one: the model wants a character at least,
    /// other than for the texts that may be empty.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        read_body(body, |members| {
            let name = members.optional("name", constraint::name);
            let uri = members.optional("messageReviewHandlerUri", constraint::handler_uri);
            let logging_configuration = members
                .optional("loggingConfigurationIdentifier", constraint::logging_configuration_identifier);
            let next_token = members.optional("nextToken", constraint::page_token);
            let page_size = members.optional("maxResults", constraint::page_size);
            Ok(Self {
                name: name?.filter(|text| !text.is_empty()),
                message_review_handler_uri: uri?.filter(|text| !text.is_empty()),
                logging_configuration: logging_configuration?,
                next_token: next_token?.filter(|text| !text.is_empty()),
                page_size: page_size?,
            })
        })
    }
}

/// A room in an answer. It borrows, and is written as JSON piece by piece: a page of ListRooms has up to fifty, which
/// are on their way from the store to the client, and whatever is made for each of them costs as much as reading it.
#[derive(Clone, Copy, Debug)]
pub struct RoomSummary<'a> {
    /// Id.
    pub id: Id,
    /// May be empty.
    pub name: &'a str,
    /// When it was created.
    pub create_time: Timestamp,
    /// When it was created or last updated.
    pub update_time: Timestamp,
    /// Absent when there is none.
    pub review_handler: Option<ReviewHandlerSummary<'a>>,
    /// Absent when there is none.
    pub logging_configurations: &'a [Id],
    /// Always there: a JSON object of texts, written as it is.
    pub tags: &'a str,
}

/// A message review handler in an answer.
#[derive(Clone, Copy, Debug)]
pub struct ReviewHandlerSummary<'a> {
    /// ARN of the handler.
    pub uri: &'a str,
    /// The verdict when the handler gives none.
    pub fallback_result: FallbackResult,
}

impl RoomSummary<'_> {
    /// Writes the members, without the braces around them.
    fn write_members(&self, arns: &ArnStem, body: &mut Vec<u8>) {
        let (arns, id) = (arns.as_str(), self.id.as_str());
        let room = ResourceKind::Room.as_str();
        write_all(body, [r#""arn":""#, arns, room, "/", id, r#"","id":""#, id, r#"","name":"#]);
        write_text(body, self.name);
        let (create_time, update_time) = (self.create_time.to_millis(), self.update_time.to_millis());
        write_all(
            body,
            [r#","createTime":""#, create_time.as_str(), r#"","updateTime":""#, update_time.as_str()],
        );
        body.push(b'"');
        if let Some(ReviewHandlerSummary { uri, fallback_result }) = self.review_handler {
            write_all(body, [r#","messageReviewHandler":{"uri":"#]);
            write_text(body, uri);
            write_all(body, [r#","fallbackResult":""#, fallback_result.as_str(), r#""}"#]);
        }
        if let Some((first, rest)) = self.logging_configurations.split_first() {
            let kind = ResourceKind::LoggingConfiguration.as_str();
            write_all(body, [r#","loggingConfigurationIdentifiers":[""#, arns, kind, "/", first.as_str()]);
            for id in rest {
                write_all(body, [r#"",""#, arns, kind, "/", id.as_str()]);
            }
            write_all(body, [r#""]"#]);
        }
        write_all(body, [r#","tags":"#, self.tags]);
    }
}

/// The answer to CreateRoom, GetRoom and UpdateRoom.
#[derive(Clone, Copy, Debug)]
pub struct RoomResponse<'a> {
    /// What a list shows as well.
    pub summary: RoomSummary<'a>,
    /// Messages per second over all senders.
    pub maximum_message_rate_per_second: u32,
    /// Code points of a message.
    pub maximum_message_length: u32,
}

impl RoomResponse<'_> {
    /// The JSON of the answer; `scope` is the room's.
    #[must_use]
    pub fn encode(&self, scope: &Scope) -> Vec<u8> {
        let mut body = Vec::with_capacity(ROOM_BYTES_USUAL);
        body.push(b'{');
        self.summary.write_members(&ArnStem::new(scope), &mut body);
        let (rate, length) =
            (self.maximum_message_rate_per_second.to_string(), self.maximum_message_length.to_string());
        let members =
            [r#","maximumMessageRatePerSecond":"#, &rate, r#","maximumMessageLength":"#, &length, "}"];
        write_all(&mut body, members);
        body
    }
}

/// The answer to ListRooms while it is written: room by room, latest update first, and then the end.
#[derive(Clone, Debug)]
pub struct ListRoomsResponse {
    arns: ArnStem,
    body: Vec<u8>,
    rooms: usize,
}

impl ListRoomsResponse {
    /// Begins the answer about rooms of `scope`, of which there will be `rooms_max` at most.
    #[must_use]
    pub fn new(scope: &Scope, rooms_max: usize) -> Self {
        let mut body = Vec::with_capacity(rooms_max.min(PAGE_SIZE_MAX) * ROOM_BYTES_USUAL);
        write_all(&mut body, [r#"{"rooms":["#]);
        Self { arns: ArnStem::new(scope), body, rooms: 0 }
    }

    /// Writes the next room.
    pub fn push(&mut self, room: &RoomSummary<'_>) {
        self.body.extend_from_slice(if self.rooms > 0 { b",{" } else { b"{" });
        room.write_members(&self.arns, &mut self.body);
        self.body.push(b'}');
        self.rooms += 1;
    }

    /// How many rooms there are so far.
    #[must_use]
    pub fn rooms(&self) -> usize {
        self.rooms
    }

    /// Ends the answer; there is no token on the last page.
    #[must_use]
    pub fn finish(mut self, next_token: Option<&str>) -> Vec<u8> {
        self.body.push(b']');
        if let Some(token) = next_token {
            write_all(&mut self.body, [r#","nextToken":"#]);
            write_text(&mut self.body, token);
        }
        self.body.push(b'}');
        self.body
    }
}

fn write_all<const N: usize>(body: &mut Vec<u8>, parts: [&str; N]) {
    for part in parts {
        body.extend_from_slice(part.as_bytes());
    }
}

/// Writes a JSON string.
fn write_text(body: &mut Vec<u8>, text: &str) {
    // Written without a way out of the loop, so that the compiler looks at many bytes at a time.
    let needs_escape =
        text.bytes().fold(false, |found, byte| found | (byte < b' ') | (byte == b'"') | (byte == b'\\'));
    if needs_escape {
        body.extend_from_slice(Value::from(text).to_string().as_bytes());
    } else {
        write_all(body, ["\"", text, "\""]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use serde_json::{Value, from_slice, json};

    use super::{ListRoomsResponse, ReviewHandlerSummary, RoomResponse, RoomSummary};
    use crate::arn::Scope;
    use crate::control::constraint::FallbackResult;
    use crate::id::Id;
    use crate::time::Timestamp;

    fn scope() -> Scope {
        Scope { account_id: "123456789012".into(), region: "eu-west-1".into() }
    }

    fn room<'a>(name: &'a str, uri: Option<&'a str>, ids: &'a [Id], tags: &'a str) -> RoomSummary<'a> {
        RoomSummary {
            id: Id::from_random(0),
            name,
            create_time: Timestamp::from_seconds(1),
            update_time: Timestamp::from_seconds(2),
            review_handler: uri
                .map(|uri| ReviewHandlerSummary { uri, fallback_result: FallbackResult::Deny }),
            logging_configurations: ids,
            tags,
        }
    }

    fn read(body: &[u8]) -> Value {
        from_slice(body).unwrap_or_default()
    }

    #[test]
    fn a_room_has_all_its_members() {
        let ids = [Id::from_random(1), Id::from_random(2)];
        let response = RoomResponse {
            summary: room("lobby", Some("arn:f"), &ids, r#"{"stage":"test"}"#),
            maximum_message_rate_per_second: 10,
            maximum_message_length: 500,
        };
        let expected = json!({
            "arn": "arn:aws:ivschat:eu-west-1:123456789012:room/AAAAAAAAAAAA",
            "id": "AAAAAAAAAAAA",
            "name": "lobby",
            "createTime": "1970-01-01T00:00:01.000Z",
            "updateTime": "1970-01-01T00:00:02.000Z",
            "messageReviewHandler": {"uri": "arn:f", "fallbackResult": "DENY"},
            "loggingConfigurationIdentifiers": [
                "arn:aws:ivschat:eu-west-1:123456789012:logging-configuration/BAAAAAAAAAAA",
                "arn:aws:ivschat:eu-west-1:123456789012:logging-configuration/CAAAAAAAAAAA",
            ],
            "tags": {"stage": "test"},
            "maximumMessageRatePerSecond": 10,
            "maximumMessageLength": 500,
        });
        assert_eq!(read(&response.encode(&scope())), expected);
    }

    #[test]
    fn what_is_not_there_is_absent() {
        let mut response = ListRoomsResponse::new(&scope(), 2);
        assert_eq!(read(&response.clone().finish(None)), json!({"rooms": []}));
        response.push(&room("", None, &[], "{}"));
        response.push(&room("b", None, &[], "{}"));
        let rooms = |name| {
            json!({
                "arn": "arn:aws:ivschat:eu-west-1:123456789012:room/AAAAAAAAAAAA",
                "id": "AAAAAAAAAAAA",
                "name": name,
                "createTime": "1970-01-01T00:00:01.000Z",
                "updateTime": "1970-01-01T00:00:02.000Z",
                "tags": {},
            })
        };
        assert_eq!(response.rooms(), 2);
        let expected = json!({"rooms": [rooms(""), rooms("b")], "nextToken": "t"});
        assert_eq!(read(&response.finish(Some("t"))), expected);
    }

    proptest! {
        #[test]
        fn any_text_is_written_so_that_it_can_be_read_back(name in any::<String>(), uri in "[\"\\\\\u{0}-\u{7f}é]{1,9}") {
            let mut response = ListRoomsResponse::new(&scope(), 1);
            response.push(&room(&name, Some(&uri), &[], "{}"));
            let rooms = &read(&response.finish(None))["rooms"];
            assert_eq!(rooms[0]["name"], name);
            assert_eq!(rooms[0]["messageReviewHandler"]["uri"], uri);
        }
    }
}
