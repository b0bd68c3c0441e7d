//! What the store keeps and takes: its own rows, which know nothing of the wire, but for what lists carry ready to be
//! written ([`RoomSummary::details`]).

use std::collections::BTreeMap;
use std::fmt;

use protocol::arn::{Arn, Scope};
use protocol::control::constraint::FallbackResult;
use protocol::control::room::RoomDetails;
use protocol::id::{Id, IdList};
use protocol::time::UnixMicros;

use super::column::tags_text;

/// A room as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Owner.
    pub scope: Scope,
    /// Unique within its scope.
    pub id: Id,
    /// May be empty; not unique.
    pub name: String,
    /// When it was created.
    pub create_time: UnixMicros,
    /// The order key of ListRooms: unique in its scope, and moved by every accepted update (tagging is none).
    /// `updateTime` on the wire is its millisecond.
    pub order_key: OrderKey,
    /// Messages per second over all senders.
    pub message_rate_max: u32,
    /// Code points of a message.
    pub message_length_max: u32,
    /// `None` when the room has no handler.
    pub review_handler: Option<ReviewHandlerSetting>,
    /// At most three, in the caller's order, of the same scope.
    pub logging_configurations: Vec<Id>,
    /// At most 50.
    pub tags: Tags,
}

/// Microseconds of the wall clock, made so that no two rooms of a scope have the same, and no two logging
/// configurations: it says where an entry stands in its lists, and a page ends at one. How, is each engine's matter.
pub type OrderKey = UnixMicros;

/// Tag keys and values, sorted by key.
pub type Tags = BTreeMap<String, String>;

/// A room's message review handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewHandlerSetting {
    /// ARN of the handler; never empty.
    pub uri: String,
    /// The verdict when the handler gives none.
    pub fallback: Fallback,
}

/// The verdict on a message that its handler did not review.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Fallback {
    /// The message is delivered as it was sent.
    #[default]
    Allow,
    /// The message is refused.
    Deny,
}

impl From<Fallback> for FallbackResult {
    fn from(fallback: Fallback) -> Self {
        match fallback {
            Fallback::Allow => Self::Allow,
            Fallback::Deny => Self::Deny,
        }
    }
}

/// A room to be created; limits and patterns have been checked.
#[derive(Clone, Debug, Default)]
pub struct NewRoom {
    /// May be empty.
    pub name: String,
    /// Messages per second.
    pub message_rate_max: u32,
    /// Code points.
    pub message_length_max: u32,
    /// The handler, if any.
    pub review_handler: Option<ReviewHandlerSetting>,
    /// Must exist in the same scope; no id twice.
    pub logging_configurations: Vec<Id>,
    /// At most 50.
    pub tags: Tags,
}

/// A change of a room: `None` leaves a member as it is.
#[derive(Clone, Debug, Default)]
pub struct RoomChange {
    /// The new name.
    pub name: Option<String>,
    /// Messages per second.
    pub message_rate_max: Option<u32>,
    /// Code points.
    pub message_length_max: Option<u32>,
    /// What becomes of the handler.
    pub review_handler: Option<ReviewHandlerChange>,
    /// The whole new list; empty clears it.
    pub logging_configurations: Option<Vec<Id>>,
}

/// A change of a room's message review handler.
#[derive(Clone, Debug)]
pub enum ReviewHandlerChange {
    /// The room has no handler any more.
    Remove,
    /// What is `None` stays as it is. A fallback for a room that has no handler, and gets none, changes nothing.
    Set {
        /// The new handler.
        uri: Option<String>,
        /// The new fallback result.
        fallback: Option<Fallback>,
    },
}

/// Which rooms ListRooms wants: those that meet every condition which is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RoomFilter {
    /// Exact and non-empty.
    pub name: Option<String>,
    /// Exact and non-empty.
    pub review_handler_uri: Option<String>,
    /// One of the room's logging configurations. The store answers [`LoggingConfigurationNotFound`] when there is none
    /// of this id in the scope.
    ///
    /// [`LoggingConfigurationNotFound`]: super::StoreError::LoggingConfigurationNotFound
    pub logging_configuration: Option<Id>,
}

/// A room as ListRooms shows it: as it lies in the row that is being read, so that nothing is made of it that is not
/// wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomSummary<'a> {
    /// As in [`Room`].
    pub id: Id,
    /// As in [`Room`].
    pub create_time: UnixMicros,
    /// As in [`Room`].
    pub order_key: OrderKey,
    /// As in [`Room`].
    pub logging_configurations: IdList<'a>,
    /// Name, review handler and tags of [`Room`], as answers have them.
    pub details: RoomDetails<'a>,
}

impl Room {
    /// What ListRooms shows of the room.
    #[must_use]
    pub fn summary(&self) -> RoomSummary<'static> {
        RoomSummary {
            id: self.id,
            create_time: self.create_time,
            order_key: self.order_key,
            logging_configurations: IdList::of(&self.logging_configurations),
            details: details(&self.name, self.review_handler.as_ref(), &tags_text(&self.tags)),
        }
    }
}

/// The details of a room, whose `tags` are one JSON object in which they are sorted by key.
pub(super) fn details(
    name: &str,
    review_handler: Option<&ReviewHandlerSetting>,
    tags: &str,
) -> RoomDetails<'static> {
    let handler = review_handler.map(|handler| (handler.uri.as_str(), handler.fallback.into()));
    RoomDetails::new(name, handler, tags)
}

impl RoomSummary<'_> {
    /// The same, to be kept.
    #[must_use]
    pub fn into_owned(self) -> RoomSummary<'static> {
        RoomSummary {
            id: self.id,
            create_time: self.create_time,
            order_key: self.order_key,
            logging_configurations: self.logging_configurations.into_owned(),
            details: self.details.into_owned(),
        }
    }
}

/// A logging configuration as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggingConfiguration {
    /// Owner.
    pub scope: Scope,
    /// Unique within its scope.
    pub id: Id,
    /// May be empty; not unique.
    pub name: String,
    /// When it was created.
    pub create_time: UnixMicros,
    /// Order of ListLoggingConfigurations, as for rooms.
    pub order_key: OrderKey,
    /// Where chat logs go.
    pub destination: Destination,
    /// At most 50.
    pub tags: Tags,
}

/// Where chat logs go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// An S3 bucket, by name.
    S3(String),
    /// A CloudWatch Logs log group, by name.
    CloudWatchLogs(String),
    /// A Firehose delivery stream, by name.
    Firehose(String),
}

/// A logging configuration to be created.
#[derive(Clone, Debug)]
pub struct NewLoggingConfiguration {
    /// May be empty.
    pub name: String,
    /// Where chat logs go.
    pub destination: Destination,
    /// At most 50.
    pub tags: Tags,
}

/// A change of a logging configuration: `None` leaves a member as it is.
#[derive(Clone, Debug, Default)]
pub struct LoggingConfigurationChange {
    /// The new name.
    pub name: Option<String>,
    /// The new destination.
    pub destination: Option<Destination>,
}

/// A secret key that the store keeps, with the number by which what it sealed names it.
#[derive(Clone)]
pub struct StoredKey {
    /// Ascending; the highest seals, all others only open.
    pub id: u32,
    /// When it was made.
    pub create_time: UnixMicros,
    /// The key itself.
    pub secret: zeroize::Zeroizing<[u8; 32]>,
}

/// What a stored key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPurpose {
    /// Chat tokens.
    ChatToken,
    /// `nextToken`.
    PageToken,
}

impl fmt::Debug for StoredKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StoredKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The use of a chat token by one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redemption {
    /// The token's own random id.
    pub token_id: u128,
    /// The token's expiry, after which its use need not be known: a token that expired long ago is refused anyway.
    pub expires: UnixMicros,
    /// Random, and the client's own: who asks again because an answer was lost is recognized by it.
    pub claim: u128,
}

/// What other servers on the same database did to a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomNews {
    /// It was updated; this is what it is now.
    Changed(Box<Room>),
    /// It was deleted.
    Deleted(Scope, Id),
}

/// What a tag operation is about: a room or a logging configuration of one's own scope.
pub type Taggable = Arn;
