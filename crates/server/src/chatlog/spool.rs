//! The spools of a data folder: one for each logging configuration, each a folder of segments and what is known of their
//! shipping.
//!
//! ```text
//! chatlog/shipping.lock                      held by the process that ships
//! chatlog/writer-GENERATION.lock             held by the process that writes segments of that generation
//! chatlog/spool/ACCOUNT_REGION_ID/           the spool of a logging configuration
//!         GENERATION-LANE-NUMBER.records     a segment: only one shard of one process writes to it
//!         progress.json                      how far its records have been shipped
//! ```
//!
//! Invariants: a segment of a generation whose lock nobody holds does not change any more. Whole segments are removed when
//! all of their records are shipped, by the process that ships, and by nobody else.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::arn::{Arn, ResourceKind, Scope};
use protocol::id::Id;
use protocol::limit::chat_log::COMPLAINT_INTERVAL_SECONDS;
use tokio::sync::Notify;

use super::segment::{Segment, SegmentName};
use crate::clock;
use crate::metrics::Metrics;

/// Below the data folder.
const FOLDER_NAME: &str = "chatlog";
const SPOOLS_NAME: &str = "spool";
const SHIPPING_LOCK: &str = "shipping.lock";
const WRITER_PREFIX: &str = "writer-";
const WRITER_SUFFIX: &str = ".lock";

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
    /// What its segments have on disk.
    bytes: AtomicU64,
    /// The segments that this process writes to, and those of its own that are still there.
    live: Mutex<BTreeMap<SegmentName, Arc<Segment>>>,
    /// Records have come to the disk.
    pub(super) written: Notify,
    /// The logging configuration was changed, or the server stops: what waits is to be tried now.
    pub(super) hurried: Notify,
    /// The time of the first record that is not shipped, in milliseconds since 1970; 0: none.
    pub(super) oldest_ms: AtomicU64,
    /// When its last trouble was logged, in seconds of the monotonic clock and one.
    complained_at: AtomicU64,
}

impl Spool {
    fn new(root: &Path, key: SpoolKey) -> Self {
        Self {
            folder: root.join(SPOOLS_NAME).join(key.to_string()),
            key,
            bytes: AtomicU64::new(0),
            live: Mutex::default(),
            written: Notify::new(),
            hurried: Notify::new(),
            oldest_ms: AtomicU64::new(0),
            complained_at: AtomicU64::new(0),
        }
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

    /// Begins a segment.
    pub(super) fn begin_segment(&self, name: SegmentName) -> io::Result<Arc<Segment>> {
        make_folder(&self.folder)?;
        let segment = Arc::new(Segment::create(&self.folder, name)?);
        self.grow(segment.committed_bytes());
        lock(&self.live).insert(name, Arc::clone(&segment));
        Ok(segment)
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

    /// Removes a segment of which all is shipped.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn remove(&self, name: SegmentName, bytes: u64) -> io::Result<()> {
        match fs::remove_file(self.folder.join(name.to_string())) {
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

/// All spools of a data folder that are known to this process.
pub(super) struct Spools {
    root: PathBuf,
    known: Mutex<HashMap<SpoolKey, Arc<Spool>>>,
    /// This process's generation, and its lock, from its first record on.
    writer: Mutex<Option<(u64, File)>>,
    /// There is a spool that was not known before.
    pub(super) found: Notify,
    /// Where troubles are counted.
    pub(super) metrics: Arc<Metrics>,
}

impl Spools {
    /// Those of a data folder. Nothing is made there before there is a record.
    #[must_use]
    pub(super) fn new(data_dir: &Path, metrics: Arc<Metrics>) -> Self {
        Self {
            root: data_dir.join(FOLDER_NAME),
            known: Mutex::default(),
            writer: Mutex::default(),
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
        let spool = Arc::new(Spool::new(&self.root, key.clone()));
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
        for entry in list(&self.root.join(SPOOLS_NAME))? {
            if let Some(key) = entry.file_name().to_str().and_then(SpoolKey::parse) {
                drop(self.spool(&key));
            }
        }
        self.all().iter().try_for_each(|spool| spool.segments().map(drop))
    }

    /// The generation of what this process writes. The first who asks takes its lock.
    pub(super) fn generation(&self) -> io::Result<u64> {
        let mut writer = lock(&self.writer);
        if let Some((generation, _)) = *writer {
            return Ok(generation);
        }
        make_folder(&self.root)?;
        loop {
            let generation = self.last_generation()? + 1;
            let path = self.writer_lock(generation);
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
                Ok(file) => {
                    file.lock()?;
                    *writer = Some((generation, file));
                    return Ok(generation);
                }
                // Another process was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a process may still write segments of a generation; also this one.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn is_written(&self, generation: u64) -> io::Result<bool> {
        if lock(&self.writer).as_ref().is_some_and(|(own, _)| *own == generation) {
            return Ok(true);
        }
        match File::open(self.writer_lock(generation)) {
            Ok(file) => match file.try_lock_shared() {
                Ok(()) => Ok(false),
                Err(TryLockError::WouldBlock) => Ok(true),
                Err(TryLockError::Error(error)) => Err(error),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether another process writes to these spools.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn has_other_writers(&self) -> io::Result<bool> {
        let own = lock(&self.writer).as_ref().map(|(own, _)| *own);
        for generation in self.generations()?.into_iter().filter(|generation| Some(*generation) != own) {
            if self.is_written(generation)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Forgets the locks of processes that have ended. The last one stays, so that numbers go up.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn tidy_up(&self) -> io::Result<()> {
        let last = self.last_generation()?;
        for generation in self.generations()?.into_iter().filter(|generation| *generation < last) {
            if !self.is_written(generation)? {
                fs::remove_file(self.writer_lock(generation))?;
            }
        }
        Ok(())
    }

    /// Takes the lock of the process that ships; `None` while another one has it, or there is nothing to ship at all.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn try_to_ship(&self) -> io::Result<Option<File>> {
        let path = self.root.join(SHIPPING_LOCK);
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

    fn writer_lock(&self, generation: u64) -> PathBuf {
        self.root.join(format!("{WRITER_PREFIX}{generation:010}{WRITER_SUFFIX}"))
    }

    fn last_generation(&self) -> io::Result<u64> {
        Ok(self.generations()?.into_iter().max().unwrap_or(0))
    }

    fn generations(&self) -> io::Result<Vec<u64>> {
        let number =
            |name: &str| name.strip_prefix(WRITER_PREFIX)?.strip_suffix(WRITER_SUFFIX)?.parse::<u64>().ok();
        let names = list(&self.root)?.into_iter().map(|entry| entry.file_name());
        Ok(names.filter_map(|name| number(name.to_str()?)).collect())
    }
}

/// The entries of a folder; none when it is not there.
fn list(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Makes a folder and those that it is in, for the owner only: what people say to each other is in there.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Locks `mutex`; a thread that panicked while it held the lock does not take the others down.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
