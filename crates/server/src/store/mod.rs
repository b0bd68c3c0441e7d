//! What is kept on disk: rooms, logging configurations, tags, keys and redeemed chat tokens.
//!
//! Promises:
//! - A write is answered only after the commit that holds it is on disk (`memory:` aside), so nothing acknowledged is
//!   lost to `kill -9` or a power cut. Writes of all requests are committed in groups by one writer.
//! - Reads never wait for the writer and see every acknowledged write.
//! - After a failed commit nothing more is acknowledged until the store has been reopened.
//!
//! It knows nothing of HTTP or JSON on the wire: these are the store's own rows.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use protocol::arn::{Arn, Scope};
use protocol::id::Id;
use protocol::time::UnixMicros;

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
    /// The order key of ListRooms: unique in the whole store, and moved by every accepted update (tagging is none).
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

/// Microseconds of the wall clock, `max(now, last + 1)`: total over all rooms, whatever the clock does.
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomFilter {
    /// Exact and non-empty.
    pub name: Option<String>,
    /// Exact and non-empty.
    pub review_handler_uri: Option<String>,
    /// One of the room's logging configurations. The store answers [`StoreError::LoggingConfigurationNotFound`] when
    /// there is none of this id in the scope.
    pub logging_configuration: Option<Id>,
}

/// A room as ListRooms shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomSummary {
    /// As in [`Room`].
    pub id: Id,
    /// As in [`Room`].
    pub name: String,
    /// As in [`Room`].
    pub create_time: UnixMicros,
    /// As in [`Room`].
    pub order_key: OrderKey,
    /// As in [`Room`].
    pub review_handler: Option<ReviewHandlerSetting>,
    /// As in [`Room`].
    pub logging_configurations: Vec<Id>,
    /// As in [`Room`].
    pub tags: Tags,
}

/// One page of a list in descending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// At most as many as were asked for.
    pub entries: Vec<T>,
    /// The position after which the next page begins; `None` when the list ends here, so that no page is ever
    /// promised and then found empty (unless rooms were deleted meanwhile).
    pub next: Option<OrderKey>,
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

/// Why the store could not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// No room of this id in this scope.
    RoomNotFound(Id),
    /// No logging configuration of this id in this scope.
    LoggingConfigurationNotFound(Id),
    /// The logging configuration is attached to a room.
    LoggingConfigurationInUse(Id),
    /// A resource would have more tags than are allowed.
    TooManyTags(Id),
    /// The store itself failed; the text is for the server's log, not for a client. Nothing was changed, or it is
    /// not known whether it was (a commit that failed half-way).
    Unavailable(Arc<str>),
}

/// Where the store lives (`store.url`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// Files in this folder, which is made when it is missing.
    Folder(PathBuf),
    /// Nowhere: gone when the process ends (`memory:`).
    Memory,
}

/// A handle to the store; clones share one store.
#[derive(Clone)]
pub enum Store {
    // Embedded(embedded::Embedded)
}

/// What a tag operation is about: a room or a logging configuration of one's own scope.
pub type Taggable = Arn;

/// The operations. Ids and order keys are made inside, by the writer; `now` comes from the wall clock there.
#[allow(unused_variables, reason = "contract")]
impl Store {
    pub async fn open(location: &Location) -> Result<Self, StoreError> {
        todo!()
    }
    /// Flushes and closes; later calls answer `Unavailable`.
    pub async fn close(&self) {
        todo!()
    }

    pub async fn create_room(&self, scope: &Scope, room: NewRoom) -> Result<Room, StoreError> {
        todo!()
    }
    pub async fn get_room(&self, scope: &Scope, id: Id) -> Result<Room, StoreError> {
        todo!()
    }
    pub async fn update_room(&self, scope: &Scope, id: Id, change: RoomChange) -> Result<Room, StoreError> {
        todo!()
    }
    pub async fn delete_room(&self, scope: &Scope, id: Id) -> Result<(), StoreError> {
        todo!()
    }
    /// At most `limit` rooms with an order key below `after` (all when `None`), newest first.
    pub async fn list_rooms(
        &self,
        scope: &Scope,
        filter: &RoomFilter,
        after: Option<OrderKey>,
        limit: usize,
    ) -> Result<Page<RoomSummary>, StoreError> {
        todo!()
    }

    pub async fn create_logging_configuration(
        &self,
        scope: &Scope,
        new: NewLoggingConfiguration,
    ) -> Result<LoggingConfiguration, StoreError> {
        todo!()
    }
    pub async fn get_logging_configuration(
        &self,
        scope: &Scope,
        id: Id,
    ) -> Result<LoggingConfiguration, StoreError> {
        todo!()
    }
    pub async fn update_logging_configuration(
        &self,
        scope: &Scope,
        id: Id,
        change: LoggingConfigurationChange,
    ) -> Result<LoggingConfiguration, StoreError> {
        todo!()
    }
    pub async fn delete_logging_configuration(&self, scope: &Scope, id: Id) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn list_logging_configurations(
        &self,
        scope: &Scope,
        after: Option<OrderKey>,
        limit: usize,
    ) -> Result<Page<LoggingConfiguration>, StoreError> {
        todo!()
    }

    /// `resource` must be of the caller's own scope (the caller checks).
    pub async fn tags(&self, resource: &Taggable) -> Result<Tags, StoreError> {
        todo!()
    }
    /// Adds or replaces; moves nothing in any list.
    pub async fn tag(&self, resource: &Taggable, tags: Tags) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn untag(&self, resource: &Taggable, keys: Vec<String>) -> Result<(), StoreError> {
        todo!()
    }

    /// All keys of a purpose, oldest first; makes the first one when there is none.
    pub async fn keys(&self, purpose: KeyPurpose) -> Result<Vec<StoredKey>, StoreError> {
        todo!()
    }
    /// Adds a new key that seals from now on, and forgets those made before `forget_before`.
    pub async fn rotate_key(
        &self,
        purpose: KeyPurpose,
        forget_before: UnixMicros,
    ) -> Result<Vec<StoredKey>, StoreError> {
        todo!()
    }

    /// Marks a chat token as used: true for the first caller ever (across restarts and `kill -9`), false for every
    /// other. Does not wait for an fsync. `expires` is the token's own expiry, after which it need not be known.
    pub async fn redeem(&self, token_id: u128, expires: UnixMicros) -> Result<bool, StoreError> {
        todo!()
    }
}
