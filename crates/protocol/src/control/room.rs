//! CreateRoom, GetRoom, ListRooms, UpdateRoom, DeleteRoom.

use std::borrow::Cow;

use serde_json::Value;

use super::constraint::{self, FallbackResult};
use super::field::{Failed, Members};
use super::{StringMap, read_body};
use crate::arn::{Arn, ArnStem, ResourceKind, Scope};
use crate::error::ApiError;
use crate::id::{Id, IdList};
use crate::limit::member::PAGE_SIZE_MAX;
use crate::time::Timestamp;

/// A room in an answer seldom takes more, in bytes.
const ROOM_BYTES_USUAL: usize = 500;
/// What [`RoomDetails`] begin with.
const NAME_MEMBER: &str = r#""name":"#;
/// What comes before the tags, with which they end.
const TAGS_MEMBER: &str = r#","tags":"#;

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
    /// When it was created.
    pub create_time: Timestamp,
    /// When it was created or last updated.
    pub update_time: Timestamp,
    /// Absent when there is none.
    pub logging_configurations: &'a IdList<'a>,
    /// All else.
    pub details: &'a RoomDetails<'a>,
}

/// What a room's owner has said about it: its name, its message review handler and its tags, as the JSON members that they
/// are in answers.
///
/// The store keeps them in this form beside each place that a room has in its lists, since making them anew for each page
/// of ListRooms would cost as much as reading them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomDetails<'a>(Cow<'a, str>);

impl<'a> RoomDetails<'a> {
    /// Writes them. A handler is its ARN and the verdict when it gives none; `tags` are a JSON object of texts, which is
    /// written as it is.
    #[must_use]
    pub fn new(
        name: &str,
        review_handler: Option<(&str, FallbackResult)>,
        tags: &str,
    ) -> RoomDetails<'static> {
        let mut members = String::from(NAME_MEMBER);
        push_text(&mut members, name);
        if let Some((uri, fallback_result)) = review_handler {
            members.push_str(r#","messageReviewHandler":{"uri":"#);
            push_text(&mut members, uri);
            members.extend([r#","fallbackResult":""#, fallback_result.as_str(), r#""}"#]);
        }
        members.push_str(TAGS_MEMBER);
        members.push_str(tags);
        RoomDetails(members.into())
    }

    /// Takes what [`Self::as_str`] gave. `None` for a text that does not begin and end like it: whether all between is as
    /// it was, is to be known by whoever kept it.
    #[must_use]
    pub fn from_kept(text: &'a str) -> Option<Self> {
        (text.starts_with(NAME_MEMBER) && text.ends_with('}')).then_some(Self(Cow::Borrowed(text)))
    }

    /// Whether a text is what [`Self::as_str`] gives when there are no `tags`, not even an empty object.
    #[must_use]
    pub fn lack_tags(text: &str) -> bool {
        text.starts_with(NAME_MEMBER) && text.ends_with(TAGS_MEMBER)
    }

    /// Makes a text that [lacks](Self::lack_tags) its tags whole.
    #[must_use]
    pub fn with_tags(text: &str, tags: &str) -> RoomDetails<'static> {
        RoomDetails(Cow::Owned([text, tags].concat()))
    }

    /// The members, to be kept.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same with a text of its own.
    #[must_use]
    pub fn into_owned(self) -> RoomDetails<'static> {
        RoomDetails(Cow::Owned(self.0.into_owned()))
    }
}

impl RoomSummary<'_> {
    /// Writes the members, without the braces around them.
    fn write_members(&self, stems: &Stems, body: &mut Vec<u8>) {
        body.extend_from_slice(&stems.room);
        body.extend_from_slice(&self.first_members());
        let mut stem = &stems.first_logging_configuration;
        for id in self.logging_configurations.iter() {
            body.extend_from_slice(stem);
            body.extend_from_slice(id.as_bytes());
            stem = &stems.next_logging_configuration;
        }
        if !self.logging_configurations.is_empty() {
            body.extend_from_slice(br#""],"#);
        }
        body.extend_from_slice(self.details.as_str().as_bytes());
    }

    /// The end of the ARN, and the members that are always as long: filled into a form, since a page has fifty of them.
    fn first_members(&self) -> [u8; FIRST_MEMBERS.len()] {
        let mut members = *FIRST_MEMBERS;
        members[0..12].copy_from_slice(self.id.as_bytes());
        members[20..32].copy_from_slice(self.id.as_bytes());
        members[48..72].copy_from_slice(self.create_time.to_millis().as_bytes());
        members[88..112].copy_from_slice(self.update_time.to_millis().as_bytes());
        members
    }
}

/// See [`RoomSummary::first_members`], which knows the places of what is filled in.
const FIRST_MEMBERS: &[u8; 114] =
    br#"............","id":"............","createTime":"........................","updateTime":"........................","#;

/// What comes before the ids in an answer, made once for all its rooms.
#[derive(Clone, Debug)]
struct Stems {
    /// Before that of the room.
    room: Box<[u8]>,
    /// Before that of the first of its logging configurations.
    first_logging_configuration: Box<[u8]>,
    /// Before those of the others.
    next_logging_configuration: Box<[u8]>,
}

impl Stems {
    fn new(scope: &Scope) -> Self {
        let arns = ArnStem::new(scope);
        let stem = |before: &str, kind: ResourceKind| {
            let parts = [before, arns.as_str(), kind.as_str(), "/"];
            parts.concat().into_bytes().into_boxed_slice()
        };
        let kind = ResourceKind::LoggingConfiguration;
        Self {
            room: stem(r#""arn":""#, ResourceKind::Room),
            first_logging_configuration: stem(r#""loggingConfigurationIdentifiers":[""#, kind),
            next_logging_configuration: stem(r#"",""#, kind),
        }
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
        self.summary.write_members(&Stems::new(scope), &mut body);
        let Self { maximum_message_rate_per_second: rate, maximum_message_length: length, .. } = self;
        let members = format!(r#","maximumMessageRatePerSecond":{rate},"maximumMessageLength":{length}}}"#);
        body.extend_from_slice(members.as_bytes());
        body
    }
}

/// The answer to ListRooms while it is written: room by room, latest update first, and then the end.
#[derive(Clone, Debug)]
pub struct ListRoomsResponse {
    stems: Stems,
    body: Vec<u8>,
    rooms: usize,
}

impl ListRoomsResponse {
    /// Begins the answer about rooms of `scope`, of which there will be `rooms_max` at most.
    #[must_use]
    pub fn new(scope: &Scope, rooms_max: usize) -> Self {
        let mut body = Vec::with_capacity(rooms_max.min(PAGE_SIZE_MAX) * ROOM_BYTES_USUAL);
        body.extend_from_slice(br#"{"rooms":["#);
        Self { stems: Stems::new(scope), body, rooms: 0 }
    }

    /// Writes the next room.
    pub fn push(&mut self, room: &RoomSummary<'_>) {
        self.body.extend_from_slice(if self.rooms > 0 { b",{" } else { b"{" });
        room.write_members(&self.stems, &mut self.body);
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
            let mut member = String::from(r#","nextToken":"#);
            push_text(&mut member, token);
            self.body.extend_from_slice(member.as_bytes());
        }
        self.body.push(b'}');
        self.body
    }
}

/// Writes a JSON string.
fn push_text(text: &mut String, value: &str) {
    if value.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        text.push_str(&Value::from(value).to_string());
    } else {
        text.extend(["\"", value, "\""]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use serde_json::{Value, from_slice, json};

    use super::{ListRoomsResponse, RoomDetails, RoomResponse, RoomSummary};
    use crate::arn::Scope;
    use crate::control::constraint::FallbackResult;
    use crate::id::{Id, IdList};
    use crate::time::Timestamp;

    fn scope() -> Scope {
        Scope { account_id: "123456789012".into(), region: "eu-west-1".into() }
    }

    fn details(name: &str, uri: Option<&str>, tags: &str) -> RoomDetails<'static> {
        RoomDetails::new(name, uri.map(|uri| (uri, FallbackResult::Deny)), tags)
    }

    fn room<'a>(logging_configurations: &'a IdList<'_>, details: &'a RoomDetails<'_>) -> RoomSummary<'a> {
        RoomSummary {
            id: Id::from_random(0),
            create_time: Timestamp::from_seconds(1),
            update_time: Timestamp::from_seconds(2),
            logging_configurations,
            details,
        }
    }

    fn read(body: &[u8]) -> Value {
        from_slice(body).unwrap_or_default()
    }

    #[test]
    fn a_room_has_all_its_members() {
        let ids = IdList::of(&[Id::from_random(1), Id::from_random(2)]);
        let details = details("lobby", Some("arn:f"), r#"{"stage":"test"}"#);
        let response = RoomResponse {
            summary: room(&ids, &details),
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
        let none = IdList::default();
        response.push(&room(&none, &details("", None, "{}")));
        response.push(&room(&none, &details("b", None, "{}")));
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

    #[test]
    fn what_cannot_have_been_kept_is_not_taken() {
        let kept = details("lobby", None, "{}");
        assert_eq!(RoomDetails::from_kept(kept.as_str()).as_ref(), Some(&kept));
        for text in ["", "no JSON", r#"{"name":"lobby","tags":{}}"#, r#""name":"lobby","tags":{"#] {
            assert_eq!(RoomDetails::from_kept(text), None, "{text}");
        }
        assert!(!RoomDetails::lack_tags(kept.as_str()));
        let lacking = details("lobby", None, "");
        assert!(
            RoomDetails::lack_tags(lacking.as_str()) && RoomDetails::from_kept(lacking.as_str()).is_none()
        );
        assert_eq!(RoomDetails::with_tags(lacking.as_str(), "{}"), kept);
    }

    proptest! {
        #[test]
        fn any_text_is_written_so_that_it_can_be_read_back(
            name in any::<String>(),
            uri in "[\"\\\\\u{0}-\u{7f}é]{1,9}",
        ) {
            let mut response = ListRoomsResponse::new(&scope(), 1);
            let details = details(&name, Some(&uri), "{}");
            response.push(&room(&IdList::default(), &details));
            let room = &read(&response.finish(None))["rooms"][0];
            assert_eq!(room["name"], name);
            assert_eq!(room["messageReviewHandler"]["uri"], uri);
        }
    }
}
