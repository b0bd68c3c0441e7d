//! The way into a room: carries requests to its home shard, and what the home shard publishes to the inbox of every
//! shard with members. Control plane and edge know only this; they never see each other.

use std::sync::Arc;

use protocol::arn::Arn;
use protocol::id::Id;

use crate::store::Room;

/// What the control plane asks a room to publish.
#[derive(Clone, Debug)]
pub enum Publication {
    /// SendEvent.
    Event {
        /// The caller's event name.
        name: String,
        /// The caller's attributes; `None` when there were none.
        attributes: Option<std::collections::BTreeMap<String, String>>,
    },
    /// DeleteMessage.
    DeleteMessage {
        /// The message to be hidden.
        message_id: Id,
        /// Why.
        reason: Option<String>,
    },
    /// DisconnectUser.
    DisconnectUser {
        /// Whose connections are closed.
        user_id: String,
        /// Why.
        reason: Option<String>,
    },
}

/// Why a room did not publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// Too much is under way; try again.
    Busy,
    /// The server is stopping.
    Closed,
}

/// A handle to the bus; clones share it.
#[derive(Clone)]
pub struct Bus;

#[allow(unused_variables, reason = "contract")]
impl Bus {
    /// Publishes in `room` and answers the id of the event once the room has ordered it.
    pub async fn publish(&self, room: &Room, publication: Publication) -> Result<Id, PublishError> {
        todo!()
    }
    /// Tells open connections of a room about an accepted UpdateRoom. Call it after the commit, before the answer.
    pub async fn room_changed(&self, room: &Room) {
        todo!()
    }
    /// Tells open connections that their room is gone (they stay open; publishing gets 404 from now on).
    pub async fn room_deleted(&self, room: &Arn) {
        todo!()
    }
}
