//! The way into a room: carries requests to its home shard, and what the home shard publishes to the inbox of every
//! shard with members. Control plane and edge know only this; they never see each other.
//!
//! A one-node server takes the same path as a cluster will, with [`Bus::Local`].

mod inbox;

use std::sync::Arc;

use hub::chat_log::LoggingConfigurations;
use hub::inspect::{Asked, Inspection, RoomFigures};
use hub::message::{
    Delivery, Message, Reply, RoomKey, RoomSettings, ShardIndex, ShardSet, Unpublished, Verdict,
};
use hub::review::{Outcome, ReviewSettings, Ticket};
use protocol::arn::Scope;
use protocol::id::Id;
use tokio::sync::oneshot;

pub use hub::message::Publication;

pub use self::inbox::{Inbox, InboxReader, inbox};
use crate::store::{Fallback, ReviewHandlerSetting, Room};

/// Why a room did not publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// Too much is under way; try again.
    Busy,
    /// The chat log cannot be written, and the room may not go on without.
    Unlogged,
    /// The server is stopping.
    Closed,
}

/// A handle to the bus; clones share it.
#[derive(Clone)]
pub enum Bus {
    /// All shards are of this process.
    Local(Local),
}

/// The inboxes of this process's shards.
#[derive(Clone)]
pub struct Local {
    shards: Arc<[Inbox]>,
}

impl Bus {
    /// A bus between these shards, in the order of their index.
    #[must_use]
    pub fn local(shards: Vec<Inbox>) -> Self {
        Self::Local(Local { shards: shards.into() })
    }

    /// Publishes in `room` and answers the id of the event once the room has ordered it.
    ///
    /// # Errors
    /// [`PublishError::Busy`] when the room's home shard, or one with members, has too much under way;
    /// [`PublishError::Unlogged`] when the room may not go on without its chat log, and that cannot be written.
    pub async fn publish(&self, room: &Room, publication: Publication) -> Result<Id, PublishError> {
        let (sender, receiver) = oneshot::channel();
        let reply = Reply::new(move |result| {
            // The receiver is gone when the caller has given up; then nobody wants the answer.
            let _ = sender.send(result);
        });
        let settings = Box::new(room_settings(room));
        let room = room_key(&room.scope, room.id);
        let home = self.home(&room);
        let message = Message::Publish { room, settings, publication: Box::new(publication), reply };
        self.inbox(home).push_request(message).map_err(|_full| PublishError::Busy)?;
        match receiver.await {
            Ok(Ok(id)) => Ok(id),
            Ok(Err(Unpublished::Busy)) => Err(PublishError::Busy),
            Ok(Err(Unpublished::Unlogged)) => Err(PublishError::Unlogged),
            Err(_stopped) => Err(PublishError::Closed),
        }
    }

    /// Tells open connections of a room about an accepted UpdateRoom. Call it after the commit, before the answer.
    pub async fn room_changed(&self, room: &Room) {
        let key = room_key(&room.scope, room.id);
        let home = self.home(&key);
        self.inbox(home).push(Message::RoomChanged { room: key, settings: room_settings(room) }).await;
    }

    /// Tells open connections that their room is gone (they stay open; publishing gets 404 from now on).
    pub async fn room_deleted(&self, scope: &Scope, id: Id) {
        let room = room_key(scope, id);
        let home = self.home(&room);
        self.inbox(home).push(Message::RoomDeleted { room }).await;
    }

    /// Tells a room what has come of a review.
    pub async fn reviewed(&self, room: RoomKey, ticket: Ticket, outcome: Outcome) {
        let home = self.home(&room);
        self.inbox(home).push(Message::Reviewed { room, ticket, outcome }).await;
    }

    /// Rooms may have changed, or be gone, without a word of it: has all that are open here read again.
    pub async fn rooms_in_doubt(&self) {
        let Self::Local(local) = self;
        for inbox in local.shards.iter() {
            inbox.push(Message::RoomsInDoubt).await;
        }
    }

    /// How rooms stand on this process's shards, each of which answers for itself; one that is stopping does not.
    pub async fn inspect(&self, asked: Asked) -> Vec<RoomFigures> {
        let Self::Local(local) = self;
        let mut answers = Vec::new();
        for inbox in local.shards.iter() {
            let (sender, answer) = oneshot::channel();
            let deliver = move |figures| {
                // Whoever asked may have gone.
                let _ = sender.send(figures);
            };
            let inspection = Inspection { asked, answer: Box::new(deliver) };
            inbox.push(Message::Inspect(inspection)).await;
            answers.push(answer);
        }
        let mut figures = Vec::new();
        for answer in answers {
            figures.extend(answer.await.unwrap_or_default());
        }
        figures
    }

    /// Carries a frame to the shards that have members of its room: calls `send` for each of this process.
    pub fn deliver(
        &self,
        shards: ShardSet,
        delivery: &Arc<Delivery>,
        mut send: impl FnMut(ShardIndex, Message),
    ) {
        let Self::Local(local) = self;
        for (index, _) in (0..).zip(local.shards.iter()) {
            if shards.contains(index) {
                send(index, Message::Deliver(Arc::clone(delivery)));
            }
        }
    }

    /// The shards whose inbox is so full that rooms with members there should not publish.
    #[must_use]
    pub fn pressed(&self) -> ShardSet {
        let Self::Local(local) = self;
        let mut pressed = ShardSet::default();
        for (index, inbox) in (0..).zip(local.shards.iter()) {
            if inbox.is_pressed() {
                pressed.insert(index);
            }
        }
        pressed
    }

    /// The inbox of a shard.
    #[must_use]
    pub fn inbox(&self, shard: ShardIndex) -> &Inbox {
        let Self::Local(local) = self;
        &local.shards[usize::from(shard)]
    }

    /// The home shard of a room.
    #[must_use]
    pub fn home(&self, room: &RoomKey) -> ShardIndex {
        let Self::Local(local) = self;
        room.home(ShardIndex::try_from(local.shards.len()).unwrap_or(ShardIndex::MAX))
    }
}

/// The name by which shards know a room.
#[must_use]
pub fn room_key(scope: &Scope, id: Id) -> RoomKey {
    RoomKey { scope: Arc::new(scope.clone()), id }
}

/// What a room's sequencer must know of its settings.
#[must_use]
pub fn room_settings(room: &Room) -> RoomSettings {
    RoomSettings {
        version: room.order_key,
        message_length_max: room.message_length_max,
        message_rate_max: room.message_rate_max,
        review: room.review_handler.as_ref().map(review_settings),
        logging_configurations: LoggingConfigurations::new(&room.logging_configurations),
    }
}

fn review_settings(handler: &ReviewHandlerSetting) -> ReviewSettings {
    let fallback = match handler.fallback {
        Fallback::Allow => Verdict::Allow,
        Fallback::Deny => Verdict::Deny,
    };
    ReviewSettings { handler: handler.uri.as_str().into(), fallback }
}
