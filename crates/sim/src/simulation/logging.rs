//! Rooms that are logged, and a node that is killed.

use hub::chat_log::LoggingConfigurations;
use hub::message::RoomKey;
use protocol::id::Id;

use super::Simulation;
use crate::chat_log::LoggedRoom;
use crate::checkers::Violation;

impl Simulation {
    /// Every second room that is ever joined is a big one.
    pub(super) fn make_some_big(&mut self) {
        for room in (0..self.scenario.rooms - self.scenario.empty_rooms).step_by(2) {
            self.make_big(room);
        }
    }

    /// The node was killed while a shard was at work: another process takes its place, and everybody has to come back.
    pub(super) fn start_again(&mut self, shard: usize) -> Result<(), Violation> {
        self.kills += 1;
        self.trace.note(("killed", self.node.clock().nanos(), shard));
        let home_of = |id: Id| self.rooms.iter().find(|room| room.id == id).map(|room| self.node.home(room));
        self.log_book
            .on_killed(&self.node.spools().kept(), &self.auditor, |id| home_of(id) == Some(shard))?;
        self.node.start_again();
        self.network.lose_all();
        self.auditor.book_killed();
        self.handshakes.clear();
        self.replaced.clear();
        self.phantoms.iter_mut().for_each(Vec::clear);
        self.make_some_big();
        Ok(())
    }

    /// Rooms have none, one or all.
    pub(super) fn logging_of(&self, room: usize) -> LoggingConfigurations {
        let all = &self.logging_configurations;
        LoggingConfigurations::new(match room % 4 {
            _ if !self.scenario.is_logged => &[],
            0 => &all[..1],
            1 => &[],
            2 => all,
            _ => &all[1..2],
        })
    }

    /// A room, as its log knows it.
    pub(super) fn logged_room(&self, key: &RoomKey) -> LoggedRoom {
        let room = self.rooms.iter().position(|room| room == key).unwrap_or(0);
        LoggedRoom { id: key.id, configurations: self.logging_of(room) }
    }

    /// A frame was published: its record must be there.
    pub(super) fn check_log(&mut self, room: &RoomKey, json: &str) -> Result<(), Violation> {
        let room = self.logged_room(room);
        let mut kept = self.node.spools().kept();
        self.log_book.on_published(&kept, room, json)?;
        if room.configurations.is_empty() {
            kept.log_unlogged(self.logging_configurations[0], room.id, json);
        }
        Ok(())
    }
}
