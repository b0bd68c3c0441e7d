//! The spools of a data folder: one for each logging configuration, each a folder of segments and what is known of their
//! shipping.
//!
//! ```text
//! chatlog/shipping.lock                      held by the process that ships
//! chatlog/writer-GENERATION.lock             held while a process may write segments of that generation
//! chatlog/tail-PROCESS/                      what a `grandstand logs tail` has still to show of what is removed
//! chatlog/spool/ACCOUNT_REGION_ID/           the spool of a logging configuration
//!         GENERATION-LANE-NUMBER.records     a segment: only one shard of one process writes to it
//!         progress.json                      how far its records have been shipped
//!         destination.json                   where they went last
//! ```
//!
//! # What is durable when
//! A record is with the kernel before it is published. Within about a tenth of a second it is on disk, with the names of its
//! segment and of all folders above it; with `chatlog.fsync = "always"` that is so before it is published.
//!
//! # Who may read which bytes
//! The process that writes a segment reads what its shard has committed. Every other one reads whole records as far as they are
//! not withheld (see `record`); of a process that has ended, all whole records.
//!
//! # Who removes, and when
//! The process that ships, and nobody else: whole segments, when all of their records are shipped. One that is still written to
//! is sealed for that when it is larger than [`SHIPPED_BYTES_MAX`], when the spool has half of what it may have, or when nothing
//! was written to the spool for a while. When its logging configuration is deleted, too, the spool itself goes ([`Spools::retire`]).
//!
//! # Limits
//! - Disk: `chatlog.spool_mib_max` for each spool; a segment has at most a 64th of that, so that what is shipped and not yet
//!   removed is little of it.
//! - Descriptors: `SEGMENTS_OPEN_MAX` segments of all shards, whatever the number of spools; each opens the file when it needs
//!   it. A reader, and the syncer, have one file open while they use it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use protocol::arn::{Arn, ResourceKind, Scope};
use protocol::id::Id;
use protocol::limit::chat_log::{
    COMPLAINT_INTERVAL_SECONDS, SEGMENT_BYTES_MAX, SEGMENTS_OF_A_FULL_SPOOL, SHIPPED_BYTES_MAX,
};
use tokio::sync::Notify;

use super::folders::{list, make_folder, sync_folder, sync_way_to};
use super::generation::Generations;
use super::lock;
use super::progress::{self, Progress};
use super::segment::{Segment, SegmentName};
use super::tail::TailFolders;
use crate::clock;
use crate::metrics::Metrics;
use crate::store::Destination;

/// Below the data folder.
pub(super) const FOLDER_NAME: &str = "chatlog";
const SPOOLS_NAME: &str = "spool";
const SHIPPING_LOCK: &str = "shipping.lock";

/// Whose spool it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SpoolKey {
    /// Owner of the logging configuration, and of the rooms that use it.
    pub(super) scope: Arc<Scope>,
    /// The logging configuration.
    pub(super) configuration: Id,
}

impl SpoolKey {
    /// Reads the name of a folder; `None` when it is none of a spool.
    #[must_use]
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (account_id, rest) = name.split_once('_')?;
        let (region, id) = rest.split_once('_')?;
        let scope = Scope { account_id: account_id.into(), region: region.into() };
        let key = Self { scope: Arc::new(scope), configuration: Id::parse(id)? };
        // The ARN says what account and region may be.
        Arn::parse(&key.arn().to_string()).is_some().then_some(key)
    }

    /// The logging configuration's.
    #[must_use]
    pub(super) fn arn(&self) -> Arn {
        Arn::new((*self.scope).clone(), ResourceKind::LoggingConfiguration, self.configuration)
    }
}

/// The name of the folder. Neither account nor region nor id has an underscore.
impl fmt::Display for SpoolKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}_{}_{}", self.scope.account_id, self.scope.region, self.configuration)
    }
}

/// The spool of one logging configuration.
pub(super) struct Spool {
    /// Whose.
    pub(super) key: SpoolKey,
    /// Where.
    pub(super) folder: PathBuf,
    data_dir: Arc<Path>,
    /// What its segments have on disk.
    bytes: AtomicU64,
    /// What they may have.
    bytes_max: u64,
    /// The segments of this process that are still there.
    live: Mutex<BTreeMap<SegmentName, Arc<Segment>>>,
    /// Nothing is written to it any more: whoever has something to write asks for the spool anew. Set while `live` is locked.
    is_retired: AtomicBool,
    /// Records have come to the disk.
    pub(super) written: Notify,
    /// The logging configuration was changed, or the server stops: what waits is to be tried now.
    pub(super) hurried: Notify,
    /// The time of the first record that is not shipped, in milliseconds since 1970; 0: none.
    pub(super) oldest_ms: AtomicU64,
    /// The names of the folders above it are on disk.
    is_rooted: AtomicBool,
    /// Where its records went last, as far as this process knows.
    destination: Mutex<LastDestination>,
    /// When its last trouble was logged, in seconds of the monotonic clock and one.
    complained_at: AtomicU64,
}

/// Where records went last.
#[derive(Default)]
struct LastDestination {
    known: Option<Destination>,
    /// The file says so, too.
    is_saved: bool,
}

impl Spool {
    fn new(data_dir: Arc<Path>, key: SpoolKey, bytes_max: u64) -> Self {
        Self {
            folder: data_dir.join(FOLDER_NAME).join(SPOOLS_NAME).join(key.to_string()),
            key,
            data_dir,
            bytes: AtomicU64::new(0),
            bytes_max,
            live: Mutex::default(),
            is_retired: AtomicBool::new(false),
            written: Notify::new(),
            hurried: Notify::new(),
            oldest_ms: AtomicU64::new(0),
            is_rooted: AtomicBool::new(false),
            destination: Mutex::default(),
            complained_at: AtomicU64::new(0),
        }
    }

    /// Whether there is place for so many bytes more.
    #[must_use]
    pub(super) fn has_place_for(&self, bytes: u64) -> bool {
        self.bytes().saturating_add(bytes) <= self.bytes_max
    }

    /// With so many bytes it is full enough for all that waits to be shipped, and for what was shipped to go.
    #[must_use]
    pub(super) fn bytes_wanted(&self) -> u64 {
        self.bytes_max / 2
    }

    /// How large its segments get, in bytes.
    #[must_use]
    pub(super) fn segment_bytes_max(&self) -> u64 {
        SEGMENT_BYTES_MAX.min(self.bytes_max / SEGMENTS_OF_A_FULL_SPOOL)
    }

    /// What its segments have on disk, in bytes.
    #[must_use]
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// So many bytes were written.
    pub(super) fn grow(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A segment that this process has begun, and that is still there.
    #[must_use]
    pub(super) fn live_segment(&self, name: SegmentName) -> Option<Arc<Segment>> {
        lock(&self.live).get(&name).cloned()
    }

    /// Seals what of these generations there is, as soon as no shard is just writing to it; whether all of it is sealed.
    fn seal_soon(&self, generations: &[u64]) -> bool {
        let live = lock(&self.live);
        let concerned = live.iter().filter(|(name, _)| generations.contains(&name.generation));
        // Each of them, whatever the others say.
        concerned.filter(|(_, segment)| !segment.seal_soon()).count() == 0
    }

    /// Whether nothing is written to it any more.
    #[must_use]
    pub(super) fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Acquire)
    }

    /// A segment that was shipped up to `bytes` is sealed, if that is all it has and there is a reason to be rid of it.
    pub(super) fn seal_if_shipped(&self, name: SegmentName, bytes: u64) {
        let is_wanted = bytes >= SHIPPED_BYTES_MAX || self.bytes() >= self.bytes_wanted();
        if is_wanted && let Some(segment) = self.live_segment(name) {
            segment.seal_at(bytes);
        }
    }

    /// Brings the names of its files to the disk, and the first time those of the folders that it is in.
    pub(super) fn sync_names(&self) -> io::Result<()> {
        if self.is_rooted.load(Ordering::Acquire) {
            return sync_folder(&self.folder);
        }
        sync_way_to(&self.folder, &self.data_dir)?;
        self.is_rooted.store(true, Ordering::Release);
        Ok(())
    }

    /// Remembers where its records go, for when its logging configuration is deleted before all have gone there. Nothing is
    /// written when the file says so already: on a full disk that could not be done.
    ///
    /// # Errors
    /// Those of the file system; then this process knows, and the next one may not.
    pub(super) fn remember(&self, destination: &Destination) -> io::Result<()> {
        let mut last = lock(&self.destination);
        if last.known.is_none() {
            // What cannot be read is written anew.
            last.known = progress::load_destination(&self.folder).unwrap_or_default();
            last.is_saved = last.known.is_some();
        }
        if last.known.as_ref() != Some(destination) {
            *last = LastDestination { known: Some(destination.clone()), is_saved: false };
        }
        if !last.is_saved {
            make_folder(&self.folder)?;
            progress::save_destination(&self.folder, destination)?;
            last.is_saved = true;
        }
        Ok(())
    }

    /// Where its records went last; `None` when that is not known.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn last_destination(&self) -> io::Result<Option<Destination>> {
        let mut last = lock(&self.destination);
        if last.known.is_none() {
            last.known = progress::load_destination(&self.folder)?;
            last.is_saved = last.known.is_some();
        }
        Ok(last.known.clone())
    }

    /// Its segments with their lengths, in the order in which they are read. Counts their bytes anew.
    ///
    /// # Errors
    /// Those of the file system; a folder that is not there has none.
    pub(super) fn segments(&self) -> io::Result<Vec<(SegmentName, u64)>> {
        let mut segments = Vec::new();
        for entry in list(&self.folder)? {
            let Some(name) = entry.file_name().to_str().and_then(SegmentName::parse) else { continue };
            match entry.metadata() {
                Ok(metadata) => segments.push((name, metadata.len())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        segments.sort_unstable();
        self.bytes.store(segments.iter().map(|(_, bytes)| bytes).sum(), Ordering::Relaxed);
        Ok(segments)
    }

    /// Removes a segment of which all is shipped. Where nobody is to see it any more its disk is free at once, also while a
    /// shard has it open.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn remove(&self, name: SegmentName, bytes: u64, is_kept: bool) -> io::Result<()> {
        let path = self.folder.join(name.to_string());
        // Somebody may have linked it to somewhere else, to keep it.
        let is_linked = fs::metadata(&path).is_ok_and(|metadata| metadata.nlink() > 1);
        if !is_kept && !is_linked && self.live_segment(name).is_some() {
            // If it fails, the disk is free when the shard has closed it.
            let _ = OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(0));
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        lock(&self.live).remove(&name);
        // The other end of `grow`; it is counted anew now and then.
        let _ = self
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |all| Some(all.saturating_sub(bytes)));
        Ok(())
    }

    /// Whether a trouble of this spool is to be logged: not more often than every few seconds.
    #[must_use]
    pub(super) fn may_complain(&self) -> bool {
        let now = clock::monotonic_nanos() / 1_000_000_000 + 1;
        let last = self.complained_at.load(Ordering::Relaxed);
        let is_due = last == 0 || now >= last + COMPLAINT_INTERVAL_SECONDS;
        if is_due {
            self.complained_at.store(now, Ordering::Relaxed);
        }
        is_due
    }
}

/// A segment that was just begun.
pub(super) struct BegunSegment {
    /// What it is called.
    pub(super) name: SegmentName,
    /// As others see it.
    pub(super) segment: Arc<Segment>,
    /// To write to it.
    pub(super) file: File,
}

/// All spools of a data folder that are known to this process.
pub(super) struct Spools {
    data_dir: Arc<Path>,
    bytes_max: u64,
    known: Mutex<HashMap<SpoolKey, Arc<Spool>>>,
    /// How many spools were retired.
    pub(super) retired: AtomicU64,
    /// Who writes what.
    pub(super) generations: Generations,
    /// Who shows what is written, and is to see it before it is removed.
    pub(super) tails: TailFolders,
    /// Segments that the shards have open.
    pub(super) open_segments: AtomicUsize,
    /// There is a spool that was not known before.
    pub(super) found: Notify,
    /// Where troubles are counted.
    pub(super) metrics: Arc<Metrics>,
}

impl Spools {
    /// Those of a data folder, each of which may have so many bytes on disk. Nothing is made there before there is a record.
    #[must_use]
    pub(super) fn new(data_dir: &Path, bytes_max: u64, metrics: Arc<Metrics>) -> Self {
        let root = data_dir.join(FOLDER_NAME);
        Self {
            data_dir: data_dir.into(),
            bytes_max,
            known: Mutex::default(),
            retired: AtomicU64::new(0),
            generations: Generations::new(root.clone()),
            tails: TailFolders::new(root),
            open_segments: AtomicUsize::new(0),
            found: Notify::new(),
            metrics,
        }
    }

    /// The spool of a logging configuration.
    pub(super) fn spool(&self, key: &SpoolKey) -> Arc<Spool> {
        let mut known = lock(&self.known);
        if let Some(spool) = known.get(key) {
            return Arc::clone(spool);
        }
        let spool = Arc::new(Spool::new(Arc::clone(&self.data_dir), key.clone(), self.bytes_max));
        known.insert(key.clone(), Arc::clone(&spool));
        drop(known);
        self.found.notify_one();
        spool
    }

    /// The spool of a logging configuration, if it is known.
    #[must_use]
    pub(super) fn known_spool(&self, key: &SpoolKey) -> Option<Arc<Spool>> {
        lock(&self.known).get(key).cloned()
    }

    /// Is rid of a spool whose logging configuration was deleted, if there is nothing in it: its folder, too. Whether it was. To
    /// be called again after an error; if there is another spool in its place by then, the folder is that one's.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn retire(&self, spool: &Spool) -> io::Result<bool> {
        let is_other = |known: &Arc<Spool>| !ptr::eq(Arc::as_ptr(known), spool);
        if self.known_spool(&spool.key).as_ref().is_some_and(is_other) {
            return Ok(true);
        }
        {
            let live = lock(&spool.live);
            // What is sealed, and not there any more, was removed by another process.
            if !live.values().all(|segment| segment.is_sealed()) || !spool.segments()?.is_empty() {
                return Ok(false);
            }
            spool.is_retired.store(true, Ordering::Release);
        }
        {
            let mut known = lock(&self.known);
            if known.get(&spool.key).is_some_and(is_other) {
                return Ok(true);
            }
            known.remove(&spool.key);
        }
        self.retired.fetch_add(1, Ordering::Release);
        progress::forget(&spool.folder)?;
        Ok(true)
    }

    /// All spools that are known.
    #[must_use]
    pub(super) fn all(&self) -> Vec<Arc<Spool>> {
        lock(&self.known).values().cloned().collect()
    }

    /// Looks into the folder for spools that are not known, and counts the bytes of all.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn look(&self) -> io::Result<()> {
        self.find()?;
        self.all().iter().try_for_each(|spool| spool.segments().map(drop))
    }

    /// Looks into the folder for spools that are not known.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn find(&self) -> io::Result<()> {
        for entry in list(&self.data_dir.join(FOLDER_NAME).join(SPOOLS_NAME))? {
            if let Some(key) = entry.file_name().to_str().and_then(SpoolKey::parse) {
                drop(self.spool(&key));
            }
        }
        Ok(())
    }

    /// Begins a segment of a lane, the number of which is counted by the lane; its file is open for writing, and its shard is
    /// writing to it.
    ///
    /// # Errors
    /// Those of the file system, and of [`Generations::own`].
    pub(super) fn begin_segment(&self, spool: &Spool, lane: u8, number: u64) -> io::Result<BegunSegment> {
        let mut live = lock(&spool.live);
        if spool.is_retired() {
            return Err(io::Error::other("its logging configuration was deleted"));
        }
        // While `live` is locked: who seals all of a generation that is an earlier one by now finds this one, too.
        let name = SegmentName { generation: self.generation()?, lane, number };
        make_folder(&spool.folder)?;
        let (segment, file) = Segment::create(&spool.folder, name)?;
        let segment = Arc::new(segment);
        spool.grow(segment.committed_bytes());
        live.insert(name, Arc::clone(&segment));
        Ok(BegunSegment { name, segment, file })
    }

    /// The generation of what this process writes. The first who asks takes it.
    ///
    /// # Errors
    /// See [`Generations::own`].
    pub(super) fn generation(&self) -> io::Result<u64> {
        self.generations.own(|| self.survey())
    }

    /// Looks for what processes before have left, so that the first record need not wait for that.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn prepare(&self) -> io::Result<()> {
        self.generations.known_to_be_above(self.survey()?);
        Ok(())
    }

    /// The highest generation of which there are segments, or of which is noted how far they were shipped.
    fn survey(&self) -> io::Result<u64> {
        self.find()?;
        let mut highest = 0;
        for spool in self.all() {
            let segments = spool.segments()?;
            let progress = Progress::load(&spool.folder)?.unwrap_or_default();
            let shipped = progress.shipped.into_keys().map(|(generation, _)| generation);
            let all = segments.into_iter().map(|(name, _)| name.generation).chain(shipped);
            highest = all.fold(highest, u64::max);
        }
        Ok(highest)
    }

    /// This process gives way to another one, whose records are to come after its own.
    pub(super) fn give_way(&self) {
        if let Err(error) = self.generation() {
            tracing::error!(%error, "what is published before this process ends will not be in the chat logs");
        }
        self.generations.give_way();
    }

    /// It did not come to that, and the other process has ended: what is published from here on comes behind what that one has
    /// published. May block on the disk.
    pub(super) fn go_on(&self) {
        if let Err(error) = self.generations.go_on() {
            tracing::error!(%error, "chat logs of a process that did not take over may come behind those of this one");
        }
        self.release_earlier();
    }

    /// Releases the generations that this process had before, unless a shard is still writing a record in one of them: then it
    /// is to be tried again.
    pub(super) fn release_earlier(&self) {
        let earlier = self.generations.earlier();
        if earlier.is_empty() {
            return;
        }
        // Nothing is begun in them any more, so what is there now is all. Each spool, whatever the others say.
        if self.all().iter().filter(|spool| !spool.seal_soon(&earlier)).count() == 0 {
            self.generations.release(&earlier);
        }
    }

    /// Takes the lock of the process that ships; `None` while another one has it, or there is nothing to ship at all.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn try_to_ship(&self) -> io::Result<Option<File>> {
        let path = self.data_dir.join(FOLDER_NAME).join(SHIPPING_LOCK);
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}
