//! SendEvent, DeleteMessage, DisconnectUser: what the application's own server says in a room.

use serde::Serialize;

use super::{Sensitive, StringMap, constraint, read_body};
use crate::arn::Arn;
use crate::error::ApiError;
use crate::id::Id;

/// SendEvent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendEventRequest {
    /// ARN of the room.
    pub room: Arn,
    /// The application's name for the event.
    pub event_name: String,
    /// What comes with it; `None` when nothing was given.
    pub attributes: Option<StringMap>,
}

impl SendEventRequest {
    /// Reads the request.
    ///
    /// # Errors
    ///
    /// ValidationException.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        read_body(body, |members| {
            let room = members.required("roomIdentifier", constraint::room_identifier);
            let event_name = members.required("eventName", constraint::event_name);
            let attributes = members.optional("attributes", constraint::event_attributes);
            Ok(Self { room: room?, event_name: event_name?, attributes: attributes? })
        })
    }
}

/// DeleteMessage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteMessageRequest {
    /// ARN of the room.
    pub room: Arn,
    /// The message to be hidden; nobody checks that there was one.
    pub id: Id,
    /// Why.
    pub reason: Option<String>,
}

impl DeleteMessageRequest {
    /// Reads the request.
    ///
    /// # Errors
    ///
    /// ValidationException.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        read_body(body, |members| {
            let room = members.required("roomIdentifier", constraint::room_identifier);
            let id = members.required("id", constraint::message_id);
            let reason = members.optional("reason", constraint::reason);
            Ok(Self { room: room?, id: id?, reason: reason? })
        })
    }
}

/// DisconnectUser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisconnectUserRequest {
    /// ARN of the room.
    pub room: Arn,
    /// Whose connections are closed.
    pub user_id: Sensitive<String>,
    /// Why.
    pub reason: Option<String>,
}

impl DisconnectUserRequest {
    /// Reads the request.
    ///
    /// # Errors
    ///
    /// ValidationException.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        read_body(body, |members| {
            let room = members.required("roomIdentifier", constraint::room_identifier);
            let user_id = members.required("userId", constraint::user_id);
            let reason = members.optional("reason", constraint::reason);
            Ok(Self { room: room?, user_id: Sensitive(user_id?), reason: reason? })
        })
    }
}

/// The answer to SendEvent and DeleteMessage.
#[derive(Clone, Debug, Serialize)]
pub struct EventResponse {
    /// Id of the event that went to the room.
    pub id: String,
}
