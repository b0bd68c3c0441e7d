//! Shows what a room publishes while it does, out of the spools of a data folder: of a server that may be running, without
//! a word to it.
//!
//! A tail has a folder of its own beside the spools, and holds its lock while it runs. Whoever removes a segment that is shipped
//! links it into the folder of each tail first ([`TailFolders::show`]), and the tail removes it when it has read it.
//!
//! Promises:
//! - Each record that is published from the beginning on is shown once, whatever the number of logging configurations that it
//!   was written for, and however fast it is shipped and removed.
//! - Its folder takes [`TAIL_BYTES_MAX`] of disk, however long it does not look; beyond it records are missed, and it says so
//!   ([`Tail::has_missed`]). Its memory is bounded, too: it reads a segment at a time.
//! - Nothing else is changed. The folder of a tail that was killed is removed by the next tail, or with the next segment.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use protocol::arn::Scope;
use protocol::id::Id;
use protocol::limit::chat_log::TAIL_BYTES_MAX;

use super::folders::{list, make_folder};
use super::progress::LaneName;
use super::reader::next_record;
use super::record::{Found, MARK, decode};
use super::segment::SegmentName;
use super::spool::{SpoolKey, Spools};
use crate::metrics::Metrics;
use crate::uuid::uuid;

/// So many records are remembered as shown: more than are written between two looks.
const SHOWN_MAX: usize = 100_000;
const FOLDER_PREFIX: &str = "tail-";
/// Before that, while it has no lock yet.
const UNFINISHED_PREFIX: &str = "new-";
const UNFINISHED_TIME_MAX: Duration = Duration::from_secs(60);
const LOCK_NAME: &str = "lock";
/// It is there when something could not be kept for the tail.
const MISSED_NAME: &str = "missed";
/// Between the name of a spool and that of its segment; neither has one.
const SEPARATOR: char = '~';

/// The folders of the tails that run, as whoever removes segments sees them.
pub(super) struct TailFolders {
    root: PathBuf,
}

impl TailFolders {
    /// Those in the folder `root`.
    #[must_use]
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Lets all tails keep a segment that is about to be removed; whether one of them does. Trouble with a tail keeps nobody
    /// else.
    pub(super) fn show(&self, spool: &SpoolKey, name: SegmentName, segment: &Path) -> bool {
        let mut is_kept = false;
        for folder in self.all() {
            if !is_held(&folder) {
                // Its process has ended.
                let _ = fs::remove_dir_all(&folder);
                continue;
            }
            let bytes_of = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
            let kept: u64 =
                list(&folder).unwrap_or_default().iter().map(|entry| bytes_of(&entry.path())).sum();
            let is_full = kept + bytes_of(segment) > TAIL_BYTES_MAX;
            if is_full || fs::hard_link(segment, folder.join(format!("{spool}{SEPARATOR}{name}"))).is_err() {
                // If that fails, too, nobody can be told.
                let _ = File::create(folder.join(MISSED_NAME));
            } else {
                is_kept = true;
            }
        }
        is_kept
    }

    /// Removes the folders of tails that have ended without doing so.
    pub(super) fn tidy_up(&self) {
        let unfinished = self.all_with(UNFINISHED_PREFIX).into_iter().filter(|folder| is_old(folder));
        for folder in self.all().into_iter().chain(unfinished).filter(|folder| !is_held(folder)) {
            let _ = fs::remove_dir_all(folder);
        }
    }

    /// Makes a folder for a tail, and takes its lock.
    fn make(&self) -> io::Result<(PathBuf, File)> {
        self.tidy_up();
        let name = format!("{FOLDER_PREFIX}{}", uuid());
        // It gets its name when it is locked: one that is not held is removed by whoever sees it.
        let (unfinished, folder) =
            (self.root.join(format!("{UNFINISHED_PREFIX}{name}")), self.root.join(name));
        make_folder(&unfinished)?;
        let lock = unfinished.join(LOCK_NAME);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(lock)?;
        file.lock()?;
        fs::rename(unfinished, &folder)?;
        Ok((folder, file))
    }

    fn all(&self) -> Vec<PathBuf> {
        self.all_with(FOLDER_PREFIX)
    }

    fn all_with(&self, prefix: &str) -> Vec<PathBuf> {
        let is_one =
            |entry: &fs::DirEntry| entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix));
        list(&self.root)
            .unwrap_or_default()
            .iter()
            .filter(|entry| is_one(entry))
            .map(fs::DirEntry::path)
            .collect()
    }
}

/// Whether a folder was made so long ago that its tail has its lock by now, or has ended.
fn is_old(folder: &Path) -> bool {
    let age = fs::metadata(folder).and_then(|metadata| metadata.modified()).map(|time| time.elapsed());
    matches!(age, Ok(Ok(age)) if age >= UNFINISHED_TIME_MAX)
}

/// Whether somebody may hold the lock of a tail's folder: only one that is known to be free, or gone, is held by nobody.
fn is_held(folder: &Path) -> bool {
    match File::open(folder.join(LOCK_NAME)) {
        Ok(file) => file.try_lock_shared().is_err(),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// Who owns the chat logs of a data folder, or what else its server has made there. The folder itself may be of whoever has
/// set up the machine.
fn owner(data_dir: &Path) -> io::Result<u32> {
    let chat_logs = fs::metadata(data_dir.join(super::spool::FOLDER_NAME));
    if let Ok(chat_logs) = chat_logs {
        return Ok(chat_logs.uid());
    }
    let files = list(data_dir)?.into_iter().filter_map(|entry| entry.metadata().ok());
    let mut own = files.filter(fs::Metadata::is_file);
    own.next().map_or_else(|| fs::metadata(data_dir), Ok).map(|metadata| metadata.uid())
}

/// See the module.
pub struct Tail {
    spools: Spools,
    scope: Scope,
    room: Id,
    /// Where segments are kept for it that are removed from their spools.
    folder: PathBuf,
    _lock: File,
    /// How far each lane of each spool was read.
    places: HashMap<(SpoolKey, LaneName), Place>,
    /// The records that were shown last, by lane and number.
    shown: HashSet<(LaneName, u64)>,
    shown_in_order: VecDeque<(LaneName, u64)>,
}

/// A place in a lane.
#[derive(Clone, Copy)]
struct Place {
    name: SegmentName,
    offset: u64,
}

/// A segment to be read.
struct Source {
    name: SegmentName,
    /// It is kept for this tail, so all of it is there.
    is_kept: bool,
}

/// Records by lane and number, so in the order of the room.
type Records = BTreeMap<(LaneName, u64), Box<str>>;

impl Tail {
    /// Shows what is published in a room from now on.
    ///
    /// # Errors
    /// Those of the file system; the data folder has to be there, and its server to run as `user`, too, which this runs as:
    /// of what another one makes there, the server could write and see nothing.
    pub fn new(data_dir: &Path, scope: &Scope, room: Id, user: u32) -> io::Result<Self> {
        // Nothing is made where no server is.
        fs::read_dir(data_dir)?;
        let owner = owner(data_dir)?;
        if owner != user {
            let text = format!(
                "they belong to the user with the id {owner}, and to nobody else ({user} has called)"
            );
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        let spools = Spools::new(data_dir, u64::MAX, Arc::new(Metrics::new(0)));
        let (folder, lock) = spools.tails.make()?;
        let mut tail = Self {
            spools,
            scope: scope.clone(),
            room,
            folder,
            _lock: lock,
            places: HashMap::new(),
            shown: HashSet::new(),
            shown_in_order: VecDeque::new(),
        };
        tail.look(true)?;
        Ok(tail)
    }

    /// What was published since the last look, as it is delivered.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn new_records(&mut self) -> io::Result<Vec<Box<str>>> {
        self.look(false)
    }

    /// Whether there was too much to be kept since this was asked last: records were not shown.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn has_missed(&mut self) -> io::Result<bool> {
        match fs::remove_file(self.folder.join(MISSED_NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            removed => removed.map(|()| true),
        }
    }

    fn look(&mut self, is_first: bool) -> io::Result<Vec<Box<str>>> {
        self.spools.find()?;
        let mut found = BTreeMap::new();
        let mut spools = self.spools.all();
        spools.retain(|spool| *spool.key.scope == self.scope);
        for spool in spools {
            let there: Vec<SegmentName> = spool.segments()?.into_iter().map(|(name, _)| name).collect();
            // After what is there: what is removed in between is seen here.
            let kept = self.kept_of(&spool.key)?;
            let mut all: Vec<SegmentName> = there.into_iter().chain(kept.iter().copied()).collect();
            all.sort_unstable();
            all.dedup();
            let source = |name: &SegmentName| Source { name: *name, is_kept: kept.contains(name) };
            for lane in
                all.chunk_by(|one, other| (one.generation, one.lane) == (other.generation, other.lane))
            {
                // What was written before the first look is not shown, and not read but for its end.
                let lane = if is_first { &lane[lane.len() - 1..] } else { lane };
                let lane: Vec<Source> = lane.iter().map(source).collect();
                self.read_lane(&spool.key, &spool.folder, &lane, &mut found)?;
            }
        }
        self.drop_strangers()?;
        Ok(self.not_shown(found))
    }

    /// The segments of a spool that are kept for this tail.
    fn kept_of(&self, spool: &SpoolKey) -> io::Result<HashSet<SegmentName>> {
        let entries = list(&self.folder)?;
        let name_of = |entry: &fs::DirEntry| {
            let name = entry.file_name();
            let (key, segment) = name.to_str()?.split_once(SEPARATOR)?;
            (key == spool.to_string()).then(|| SegmentName::parse(segment)).flatten()
        };
        Ok(entries.iter().filter_map(name_of).collect())
    }

    /// Removes what is kept of the spools of others.
    fn drop_strangers(&self) -> io::Result<()> {
        for entry in list(&self.folder)? {
            let name = entry.file_name();
            let Some((key, _)) = name.to_str().and_then(|name| name.split_once(SEPARATOR)) else { continue };
            if SpoolKey::parse(key).is_none_or(|key| *key.scope != self.scope) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn read_lane(
        &mut self,
        spool: &SpoolKey,
        folder: &Path,
        lane: &[Source],
        found: &mut Records,
    ) -> io::Result<()> {
        let Some(first) = lane.first() else { return Ok(()) };
        let key = (spool.clone(), (first.name.generation, first.name.lane));
        for (index, source) in lane.iter().enumerate() {
            let kept = self.folder.join(format!("{spool}{SEPARATOR}{}", source.name));
            let begin = Place { name: source.name, offset: MARK.len() as u64 };
            let mut place =
                self.places.get(&key).copied().filter(|place| place.name >= source.name).unwrap_or(begin);
            if place.name == source.name {
                let file = match File::open(folder.join(source.name.to_string())) {
                    // It was removed a moment ago, and is kept since before that.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => File::open(&kept),
                    opened => opened,
                };
                match file {
                    // It could not be kept.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    file => place.read(&file?, self.room, source.is_kept || index + 1 < lane.len(), found)?,
                }
                self.places.insert(key.clone(), place);
            }
            if source.is_kept {
                fs::remove_file(kept)?;
            }
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

impl Drop for Tail {
    fn drop(&mut self) {
        // Whoever sees it later removes it.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Place {
    /// Reads all records that there are; of a segment that is not final, those that are published.
    fn read(&mut self, file: &File, room: Id, is_final: bool, found: &mut Records) -> io::Result<()> {
        let length = file.metadata()?.len();
        while self.offset < length {
            let mut bytes = vec![0; usize::try_from(length - self.offset).unwrap_or(usize::MAX)];
            let read = read_at_most(file, &mut bytes, self.offset)?;
            let mut rest = &bytes[..read];
            loop {
                let (record, bytes) = match decode(rest) {
                    Found::Record(record, bytes) => (record, bytes),
                    Found::Withheld(record, bytes) if is_final => (record, bytes),
                    _ => break,
                };
                rest = &rest[bytes..];
                self.offset += bytes as u64;
                if record.room == room {
                    let lane = (self.name.generation, self.name.lane);
                    found.insert((lane, record.number), record.json);
                }
            }
            if !is_final {
                return Ok(());
            }
            // Damage is passed over.
            self.offset = next_record(file, self.offset + 1, length)?;
        }
        Ok(())
    }
}

/// Fills `bytes` as far as the file goes: it may have become shorter.
fn read_at_most(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], offset + read as u64)? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}
