//! What becomes of a room, a logging configuration or a set of tags when it is made or changed; the same for every engine.

use protocol::arn::Scope;
use protocol::id::Id;
use protocol::limit::member::TAGS_MAX;

use super::{
    LoggingConfiguration, LoggingConfigurationChange, NewLoggingConfiguration, NewRoom, OrderKey,
    ReviewHandlerChange, ReviewHandlerSetting, Room, RoomChange, StoreError, Tags,
};

impl NewRoom {
    /// The room that is made of it. The order key is also the time of its creation.
    pub(super) fn into_room(self, scope: &Scope, id: Id, order_key: OrderKey) -> Room {
        Room {
            scope: scope.clone(),
            id,
            name: self.name,
            create_time: order_key,
            order_key,
            message_rate_max: self.message_rate_max,
            message_length_max: self.message_length_max,
            review_handler: self.review_handler,
            logging_configurations: self.logging_configurations,
            tags: self.tags,
        }
    }
}

impl NewLoggingConfiguration {
    /// The logging configuration that is made of it. The order key is also the time of its creation.
    pub(super) fn into_logging_configuration(
        self,
        scope: &Scope,
        id: Id,
        order_key: OrderKey,
    ) -> LoggingConfiguration {
        LoggingConfiguration {
            scope: scope.clone(),
            id,
            name: self.name,
            create_time: order_key,
            order_key,
            destination: self.destination,
            tags: self.tags,
        }
    }
}

impl Room {
    /// Applies an UpdateRoom. The order key is the caller's to move.
    pub(super) fn apply(&mut self, change: RoomChange) {
        let RoomChange { name, message_rate_max, message_length_max, review_handler, logging_configurations } =
            change;
        replace(&mut self.name, name);
        replace(&mut self.message_rate_max, message_rate_max);
        replace(&mut self.message_length_max, message_length_max);
        replace(&mut self.logging_configurations, logging_configurations);
        match review_handler {
            None => {}
            Some(ReviewHandlerChange::Remove) => self.review_handler = None,
            Some(ReviewHandlerChange::Set { uri, fallback }) => match (&mut self.review_handler, uri) {
                (Some(handler), uri) => {
                    replace(&mut handler.uri, uri);
                    replace(&mut handler.fallback, fallback);
                }
                (none, Some(uri)) => {
                    *none = Some(ReviewHandlerSetting { uri, fallback: fallback.unwrap_or_default() });
                }
                (None, None) => {}
            },
        }
    }
}

impl LoggingConfiguration {
    /// Applies an UpdateLoggingConfiguration. The order key is the caller's to move.
    pub(super) fn apply(&mut self, change: LoggingConfigurationChange) {
        let LoggingConfigurationChange { name, destination } = change;
        replace(&mut self.name, name);
        replace(&mut self.destination, destination);
    }
}

fn replace<T>(member: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *member = new;
    }
}

/// A change of a resource's tags.
#[derive(Clone)]
pub(super) enum TagChange {
    /// Adds or replaces.
    Set(Tags),
    /// Removes those that are there.
    Remove(Vec<String>),
}

impl TagChange {
    /// The tags after the change of resource `id`, which had `tags`.
    pub(super) fn apply(self, id: Id, mut tags: Tags) -> Result<Tags, StoreError> {
        match self {
            Self::Set(new) => {
                tags.extend(new);
                if tags.len() > TAGS_MAX {
                    return Err(StoreError::TooManyTags(id));
                }
            }
            Self::Remove(keys) => tags.retain(|key, _| !keys.contains(key)),
        }
        Ok(tags)
    }
}
