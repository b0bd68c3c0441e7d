//! The chat log, as a hub sees it: somewhere to note what a room is about to publish, before anybody gets it.
//!
//! Promises: each MESSAGE and EVENT of a room with logging configurations is noted once, on the room's home shard, in the
//! room's order, before its frame is handed to the bus and before whoever asked for it hears that it was done; also when
//! nobody is there to get it. A room without any costs one comparison. What cannot be noted is published all the same
//! unless the log itself says no ([`Unlogged`]).

use std::fmt;

use protocol::chat_log::RecordKind;
use protocol::id::Id;
use protocol::limit::member::LOGGING_CONFIGURATIONS_PER_ROOM_MAX;
use protocol::time::Timestamp;

use crate::message::RoomKey;

/// The logging configurations of a room, in its order. They belong to the room's scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoggingConfigurations([Option<Id>; LOGGING_CONFIGURATIONS_PER_ROOM_MAX]);

impl LoggingConfigurations {
    /// The first three of `ids`, each once: a room has no more.
    #[must_use]
    pub fn new(ids: &[Id]) -> Self {
        let mut places = [None; LOGGING_CONFIGURATIONS_PER_ROOM_MAX];
        let mut count = 0;
        for id in ids {
            if count < places.len() && !places.contains(&Some(*id)) {
                places[count] = Some(*id);
                count += 1;
            }
        }
        Self(places)
    }

    /// Whether the room is not logged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0[0].is_none()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Id> + '_ {
        self.0.iter().flatten().copied()
    }
}

/// What is about to be published.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Where.
    pub room: &'a RoomKey,
    /// Who is to get it: not empty.
    pub configurations: &'a LoggingConfigurations,
    /// MESSAGE or EVENT.
    pub kind: RecordKind,
    /// Its `SendTime`.
    pub time: Timestamp,
    /// The frame's text, as subscribers get it.
    pub payload: &'a str,
}

/// The entry could not be noted, and may not be published without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unlogged;

/// Where entries go. Called on the shard's thread, in the order in which rooms publish.
pub struct ChatLog(Box<Note>);

type Note = dyn FnMut(&Entry<'_>) -> Result<(), Unlogged> + Send;

impl ChatLog {
    /// Entries go to `note`.
    pub fn new(note: impl FnMut(&Entry<'_>) -> Result<(), Unlogged> + Send + 'static) -> Self {
        Self(Box::new(note))
    }

    /// Notes an entry.
    pub(crate) fn note(&mut self, entry: &Entry<'_>) -> Result<(), Unlogged> {
        (self.0)(entry)
    }
}

/// Nothing is noted.
impl Default for ChatLog {
    fn default() -> Self {
        Self::new(|_entry| Ok(()))
    }
}

impl fmt::Debug for ChatLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ChatLog")
    }
}
