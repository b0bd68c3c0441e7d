//! What a check of the store says, and the part of it that is the same for every engine.

use std::fmt;

use protocol::id::Id;
use protocol::limit::store::DISCREPANCIES_MAX;

use super::RoomSummary;
use super::facet::Facet;

/// What a check has looked at, and what was wrong.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Checked {
    /// Rooms that were looked at.
    pub rooms: u64,
    /// Postings (a room's places in the lists of ListRooms) that were looked at.
    pub postings: u64,
    /// What does not agree, at most [`protocol::limit::store::DISCREPANCIES_MAX`]; empty when all is well.
    pub discrepancies: Vec<Discrepancy>,
}

/// What a check finds where a room should be listed.
pub(super) enum Shown<'a> {
    /// There is no posting.
    Nothing,
    /// There is one, but it cannot be read.
    Unreadable,
    /// What ListRooms would show.
    Summary(RoomSummary<'a>),
}

impl Checked {
    /// Takes a finding down, if there is room for it.
    pub(super) fn add(&mut self, discrepancy: Discrepancy) {
        if self.discrepancies.len() < DISCREPANCIES_MAX {
            self.discrepancies.push(discrepancy);
        }
    }

    /// Takes down that a list has a posting which does not belong there; `room` is whose it is, if that can be read.
    pub(super) fn add_stray(&mut self, room: Option<Id>, list: Facet<'_>) {
        let list = list.to_string();
        self.add(match room {
            Some(room) => Discrepancy::PostingStray { room, list },
            None => Discrepancy::DamagedFile(format!("a row of table posting, in {list}: it names no room")),
        });
    }

    /// Compares what a list shows of a room with what the room is.
    pub(super) fn compare(&mut self, room: &RoomSummary<'_>, facet: Facet<'_>, shown: &Shown<'_>) {
        let list = || facet.to_string();
        match shown {
            Shown::Summary(summary) if summary == room => {}
            Shown::Nothing => self.add(Discrepancy::PostingMissing { room: room.id, list: list() }),
            Shown::Unreadable | Shown::Summary(_) => {
                self.add(Discrepancy::PostingDiffers { room: room.id, list: list() });
            }
        }
    }
}

/// Something in which the store does not agree with itself. `list` names the list by its conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discrepancy {
    /// A page or a row cannot be read as what it should be.
    DamagedFile(String),
    /// A room is not in a list in which it belongs.
    PostingMissing {
        /// The room.
        room: Id,
        /// The list.
        list: String,
    },
    /// A list shows something else than the room.
    PostingDiffers {
        /// The room.
        room: Id,
        /// The list.
        list: String,
    },
    /// A list has a room that does not belong there, not at that place, or does not exist.
    PostingStray {
        /// The room.
        room: Id,
        /// The list.
        list: String,
    },
    /// A room has a logging configuration that does not exist.
    LoggingConfigurationMissing {
        /// The room.
        room: Id,
        /// What is missing.
        logging_configuration: Id,
    },
    /// An order key is ahead of the clock that gives them out, so it might be given out again.
    OrderClockBehind,
}

impl fmt::Display for Discrepancy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DamagedFile(what) => write!(formatter, "the file is damaged: {what}"),
            Self::PostingMissing { room, list } => write!(formatter, "room {room} is missing in {list}"),
            Self::PostingDiffers { room, list } => {
                write!(formatter, "room {room} is shown in {list} as something that it is not")
            }
            Self::PostingStray { room, list } => {
                write!(formatter, "room {room} is in {list}, where it does not belong or not at that place")
            }
            Self::LoggingConfigurationMissing { room, logging_configuration } => {
                write!(
                    formatter,
                    "room {room} has the logging configuration {logging_configuration}, which does not exist"
                )
            }
            Self::OrderClockBehind => formatter.write_str(
                "the clock that orders rooms and logging configurations is behind what it has dated",
            ),
        }
    }
}
