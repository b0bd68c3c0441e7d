//! CreateChatToken.

use serde::Serialize;

use super::{Sensitive, StringMap, constraint, read_body};
use crate::arn::Arn;
use crate::capability::Capabilities;
use crate::error::ApiError;

/// CreateChatToken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateChatTokenRequest {
    /// ARN of the room.
    pub room: Arn,
    /// The application's name for the user; neither unique nor reserved.
    pub user_id: Sensitive<String>,
    /// What the holder may do besides reading.
    pub capabilities: Capabilities,
    /// How long a session may last, counted from now, in minutes.
    pub session_minutes: Option<u32>,
    /// What is shown with each message of the user.
    pub attributes: Sensitive<StringMap>,
}

impl CreateChatTokenRequest {
    /// Reads the request.
    ///
    /// # Errors
    ///
    /// ValidationException.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        read_body(body, |members| {
            let room = members.required("roomIdentifier", constraint::room_identifier);
            let user_id = members.required("userId", constraint::user_id);
            let capabilities = members.optional("capabilities", constraint::capabilities);
            let session_minutes = members.optional("sessionDurationInMinutes", constraint::session_minutes);
            let attributes = members.optional("attributes", constraint::token_attributes);
            Ok(Self {
                room: room?,
                user_id: Sensitive(user_id?),
                capabilities: capabilities?.unwrap_or_default(),
                session_minutes: session_minutes?,
                attributes: Sensitive(attributes?.unwrap_or_default()),
            })
        })
    }
}

/// The answer to CreateChatToken.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateChatTokenResponse {
    /// Opaque; every character is legal in a WebSocket sub-protocol.
    pub token: Sensitive<String>,
    /// Until when the token opens a connection: `YYYY-MM-DDTHH:MM:SS.mmmZ`.
    pub token_expiration_time: String,
    /// When that connection ends: `YYYY-MM-DDTHH:MM:SS.mmmZ`.
    pub session_expiration_time: String,
}
