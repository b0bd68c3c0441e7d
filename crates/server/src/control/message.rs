//! SendEvent, DeleteMessage, DisconnectUser: they go to the room's home shard, like everything that happens in a room.

use protocol::arn::{Arn, Scope};
use protocol::control::Empty;
use protocol::control::message::{
    DeleteMessageRequest, DisconnectUserRequest, EventResponse, SendEventRequest,
};
use protocol::error::ApiError;
use protocol::id::Id;
use protocol::limit::edge::INBOX_REQUESTS_MAX;
use protocol::messaging::Moderation;

use super::{ControlPlane, room};
use crate::bus::{Publication, PublishError};

pub(super) async fn send_event(
    control: &ControlPlane,
    scope: &Scope,
    request: SendEventRequest,
) -> Result<EventResponse, ApiError> {
    let publication = Publication::Event { name: request.event_name, attributes: request.attributes };
    let id = publish(control, scope, &request.room, publication).await?;
    Ok(EventResponse { id: id.to_string() })
}

/// Nobody looks whether there was such a message: the service answers the id of an event, too.
pub(super) async fn delete(
    control: &ControlPlane,
    scope: &Scope,
    request: DeleteMessageRequest,
) -> Result<EventResponse, ApiError> {
    let publication =
        Publication::Moderation(Moderation::DeleteMessage { message_id: request.id, reason: request.reason });
    let id = publish(control, scope, &request.room, publication).await?;
    Ok(EventResponse { id: id.to_string() })
}

/// A user without connections is no error.
pub(super) async fn disconnect_user(
    control: &ControlPlane,
    scope: &Scope,
    request: DisconnectUserRequest,
) -> Result<Empty, ApiError> {
    let publication = Publication::Moderation(Moderation::DisconnectUser {
        user_id: request.user_id.0,
        reason: request.reason,
    });
    publish(control, scope, &request.room, publication).await?;
    Ok(Empty {})
}

async fn publish(
    control: &ControlPlane,
    scope: &Scope,
    room: &Arn,
    publication: Publication,
) -> Result<Id, ApiError> {
    let found = room::find(control, scope, room).await?;
    control.bus.publish(&found, publication).await.map_err(|error| match error {
        PublishError::Busy => {
            ApiError::throttled(room.id_text(), u32::try_from(INBOX_REQUESTS_MAX).unwrap_or(u32::MAX))
        }
        PublishError::Unlogged => ApiError::unavailable("the chat log of the room cannot be written"),
        PublishError::Closed => ApiError::unavailable("the bus is closed"),
    })
}
