//! Shows what a room publishes while it does, out of the spools of a data folder: of a server that may be running, without
//! a word to it.
//!
//! Promises: each record that is written from the beginning on is shown once, whatever the number of logging configurations that
//! it was written for; nothing is changed.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use protocol::arn::Scope;
use protocol::id::Id;

use super::progress::LaneName;
use super::record::{Found, MARK, decode};
use super::segment::SegmentName;
use super::spool::{Spool, SpoolKey, Spools};
use crate::metrics::Metrics;

/// So many records are remembered as shown: more than are written between two looks.
const SHOWN_MAX: usize = 100_000;

/// See the module.
pub struct Tail {
    spools: Spools,
    scope: Scope,
    room: Id,
    /// How far each lane of each spool was read.
    places: HashMap<(SpoolKey, LaneName), Place>,
    /// The records that were shown last, by lane and number.
    shown: HashSet<(LaneName, u64)>,
    shown_in_order: VecDeque<(LaneName, u64)>,
}

/// A place in a lane. The file is kept open: what is in it can still be read when it is removed.
struct Place {
    name: SegmentName,
    file: File,
    offset: u64,
}

/// Records by lane and number, so in the order of the room.
type Records = BTreeMap<(LaneName, u64), Box<str>>;

impl Tail {
    /// Shows what is written for a room from now on.
    ///
    /// # Errors
    /// Those of the file system; a folder that is not there yet is none.
    pub fn new(data_dir: &Path, scope: &Scope, room: Id) -> io::Result<Self> {
        let mut tail = Self {
            spools: Spools::new(data_dir, Arc::new(Metrics::new(0))),
            scope: scope.clone(),
            room,
            places: HashMap::new(),
            shown: HashSet::new(),
            shown_in_order: VecDeque::new(),
        };
        tail.look(true)?;
        Ok(tail)
    }

    /// What was written since the last look, as it is delivered.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn new_records(&mut self) -> io::Result<Vec<Box<str>>> {
        self.look(false)
    }

    fn look(&mut self, is_first: bool) -> io::Result<Vec<Box<str>>> {
        self.spools.look()?;
        let mut found = BTreeMap::new();
        let mut spools = self.spools.all();
        spools.retain(|spool| *spool.key.scope == self.scope);
        for spool in spools {
            let names: Vec<SegmentName> = spool.segments()?.into_iter().map(|(name, _)| name).collect();
            for lane in
                names.chunk_by(|one, other| (one.generation, one.lane) == (other.generation, other.lane))
            {
                // What was written before the first look is not shown, and not read but for its end.
                let lane = if is_first { &lane[lane.len() - 1..] } else { lane };
                self.read_lane(&spool, lane, &mut found)?;
            }
        }
        Ok(self.not_shown(found))
    }

    fn read_lane(&mut self, spool: &Spool, lane: &[SegmentName], found: &mut Records) -> io::Result<()> {
        let Some(first) = lane.first() else { return Ok(()) };
        let key = (spool.key.clone(), (first.generation, first.lane));
        if let Some(place) = self.places.get_mut(&key) {
            place.read(self.room, found)?;
        }
        for name in lane {
            if self.places.get(&key).is_some_and(|place| place.name >= *name) {
                continue;
            }
            let file = match File::open(spool.folder.join(name.to_string())) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file?,
            };
            let mut place = Place { name: *name, file, offset: MARK.len() as u64 };
            place.read(self.room, found)?;
            self.places.insert(key.clone(), place);
        }
        Ok(())
    }

    /// Those that were not shown yet; they are now.
    fn not_shown(&mut self, found: Records) -> Vec<Box<str>> {
        let mut new = Vec::new();
        for (record, json) in found {
            if self.shown.insert(record) {
                self.shown_in_order.push_back(record);
                new.push(json);
            }
        }
        while self.shown_in_order.len() > SHOWN_MAX
            && let Some(forgotten) = self.shown_in_order.pop_front()
        {
            self.shown.remove(&forgotten);
        }
        new
    }
}

impl Place {
    /// Reads all whole records that there are.
    fn read(&mut self, room: Id, found: &mut Records) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        let left = usize::try_from(length.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; left];
        let mut read = 0;
        while read < left {
            match self.file.read_at(&mut bytes[read..], self.offset + read as u64)? {
                0 => break,
                more => read += more,
            }
        }
        let mut rest = &bytes[..read];
        while let Found::Record(record, length) = decode(rest) {
            rest = &rest[length..];
            self.offset += length as u64;
            if record.room == room {
                let lane = (self.name.generation, self.name.lane);
                found.insert((lane, record.number), record.json);
            }
        }
        Ok(())
    }
}
