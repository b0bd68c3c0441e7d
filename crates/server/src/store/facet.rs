//! Which postings a room has: one for each question of ListRooms that it answers.
//!
//! A question is a subset of {name, handler uri, one logging configuration}. A room answers at most 2 x 2 x 4 = 16 of
//! them, and each is a list of its own, so that any filter combination is one range read.

use std::fmt;

use protocol::id::Id;

use super::{Room, RoomFilter};

/// One question of ListRooms: the conditions that are given. An empty text is no condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Facet<'a> {
    pub(super) name: &'a str,
    pub(super) handler_uri: &'a str,
    pub(super) logging_configuration: &'a str,
}

impl<'a> Facet<'a> {
    /// What `filter` asks for.
    pub(super) fn of_filter(filter: &'a RoomFilter) -> Self {
        Self {
            name: filter.name.as_deref().unwrap_or_default(),
            handler_uri: filter.review_handler_uri.as_deref().unwrap_or_default(),
            logging_configuration: filter.logging_configuration.as_ref().map_or("", Id::as_str),
        }
    }

    /// Every question that `room` answers, no one twice.
    pub(super) fn all_of_room(room: &'a Room) -> Vec<Self> {
        let names = with_no_condition([room.name.as_str()]);
        let handler_uris =
            with_no_condition(room.review_handler.as_ref().map(|handler| handler.uri.as_str()));
        let logging_configurations = with_no_condition(room.logging_configurations.iter().map(Id::as_str));
        let mut facets = Vec::with_capacity(names.len() * handler_uris.len() * logging_configurations.len());
        for &name in &names {
            for &handler_uri in &handler_uris {
                for &logging_configuration in &logging_configurations {
                    facets.push(Self { name, handler_uri, logging_configuration });
                }
            }
        }
        facets
    }
}

impl fmt::Display for Facet<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conditions = [
            ("name", self.name),
            ("handler", self.handler_uri),
            ("logging configuration", self.logging_configuration),
        ];
        formatter.write_str("the list of all rooms")?;
        let given = conditions.iter().filter(|(_, value)| !value.is_empty());
        for ((what, value), word) in given.zip(["with", "and", "and"]) {
            write!(formatter, " {word} {what} {value:?}")?;
        }
        Ok(())
    }
}

/// The values that can be asked for, each once, and "no condition" before them.
fn with_no_condition<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut choices = vec![""];
    for value in values {
        if !choices.contains(&value) {
            choices.push(value);
        }
    }
    choices
}
