//! How rooms stand, for whoever looks into a running server. Looks at every room of the shard once, which for 100,000 of them takes
//! some milliseconds.

use std::fmt;

use protocol::id::Id;

use crate::Hub;
use crate::message::{Now, RoomKey, ShardIndex};

/// Which rooms are asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// That with this id, in whichever account and region.
    Room(Id),
    /// So many that publish most, each at its home shard.
    Busiest(usize),
}

/// A question, and where the answer goes.
pub struct Inspection {
    /// Which rooms.
    pub asked: Asked,
    /// Called once, on the shard's thread: it must not block.
    pub answer: Box<dyn FnOnce(Vec<RoomFigures>) + Send>,
}

impl fmt::Debug for Inspection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Inspection").field(&self.asked).finish()
    }
}

/// How a room stands on one shard.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomFigures {
    /// The room.
    pub room: RoomKey,
    /// The shard.
    pub shard: ShardIndex,
    /// What its home knows; `None` on other shards.
    pub home: Option<HomeFigures>,
    /// Members on this shard that have been let in.
    pub members: usize,
    /// Those of them whose socket has not taken all that was offered.
    pub blocked_members: usize,
    /// Memory of its log on this shard, in bytes.
    pub log_bytes: usize,
}

/// What the sequencer of a room knows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HomeFigures {
    /// Members on all shards, those on their way included.
    pub members: u64,
    /// Frames published since the room has been open here.
    pub frames: u64,
    /// The same for a second, in the last whole ten.
    pub frames_per_second: f64,
    /// The room's own limit, in messages per second.
    pub message_rate_max: u32,
    /// The room was deleted; its members are still connected.
    pub is_deleted: bool,
}

impl Hub {
    pub(crate) fn inspect(&self, now: Now, asked: Asked) -> Vec<RoomFigures> {
        match asked {
            Asked::Room(id) => {
                let homes = self.homes.keys();
                let mut rooms: Vec<&RoomKey> =
                    homes.chain(self.audiences_by_room.keys()).filter(|room| room.id == id).collect();
                rooms.dedup();
                rooms.into_iter().map(|room| self.figures(now, room)).collect()
            }
            Asked::Busiest(count) => {
                let mut rooms: Vec<(f64, &RoomKey)> = self
                    .homes
                    .iter()
                    .map(|(room, home)| (home.traffic.frames_per_second(now.nanos), room))
                    .collect();
                if rooms.len() > count {
                    rooms.select_nth_unstable_by(count, |(one, _), (other, _)| other.total_cmp(one));
                    rooms.truncate(count);
                }
                rooms.into_iter().map(|(_, room)| self.figures(now, room)).collect()
            }
        }
    }

    fn figures(&self, now: Now, room: &RoomKey) -> RoomFigures {
        let audiences = self.audiences_by_room.get(room).into_iter().flatten().flatten();
        let audiences = audiences.filter_map(|index| self.audiences.get(*index));
        let mut figures = RoomFigures {
            room: room.clone(),
            shard: self.settings.shard,
            home: self.homes.get(room).map(|home| home.figures(now.nanos)),
            members: 0,
            blocked_members: 0,
            log_bytes: 0,
        };
        for audience in audiences {
            figures.members += audience.members.len();
            figures.blocked_members += audience.blocked;
            figures.log_bytes += audience.log.capacity_bytes();
        }
        figures
    }
}
