//! CreateRoom, GetRoom, ListRooms, UpdateRoom, DeleteRoom.

use serde::Serialize;

use super::constraint::{self, FallbackResult};
use super::field::{Failed, Members};
use super::{StringMap, read_body};
use crate::arn::{Arn, ArnParts};
use crate::error::ApiError;
use crate::id::Id;
use crate::time::MillisText;

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

/// The answer to CreateRoom, GetRoom and UpdateRoom. An empty list or no handler is absent.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomResponse<'a> {
    /// What a list shows as well.
    #[serde(flatten)]
    pub summary: RoomSummary<'a>,
    /// Messages per second over all senders.
    pub maximum_message_rate_per_second: u32,
    /// Code points of a message.
    pub maximum_message_length: u32,
}

/// A room in the answer to ListRooms. It borrows: an answer has up to fifty, and copying their texts would take as
/// long as writing them.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomSummary<'a> {
    /// ARN.
    pub arn: ArnParts<'a>,
    /// Id.
    pub id: Id,
    /// May be empty.
    pub name: &'a str,
    /// When it was created.
    pub create_time: MillisText,
    /// When it was created or last updated.
    pub update_time: MillisText,
    /// Absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_review_handler: Option<MessageReviewHandlerResponse<'a>>,
    /// ARNs; absent when there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logging_configuration_identifiers: Vec<ArnParts<'a>>,
    /// Always there.
    pub tags: &'a StringMap,
}

/// A message review handler in an answer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageReviewHandlerResponse<'a> {
    /// ARN of the handler.
    pub uri: &'a str,
    /// `ALLOW` or `DENY`.
    pub fallback_result: &'static str,
}

/// The answer to ListRooms.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListRoomsResponse<'a> {
    /// At most a page of them, latest update first.
    pub rooms: Vec<RoomSummary<'a>>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}
