//! Generations: which process wrote what, and which of them still may.
//!
//! A process that writes segments has a generation of its own, and holds the lock `writer-GENERATION.lock` while it lives. Only
//! one that has given way to another one, and goes on after all, may need a second one: what it begins from then on is of a new
//! generation, and it releases the lock of the one before as soon as no shard writes to that any more.
//!
//! Promises:
//! - No number is used twice: not even when a power cut has forgotten the lock of one whose segments are still there, or whose
//!   shipping is still noted.
//! - A process that takes another one's place has a higher number: before it is told to, the old one takes its own, and a
//!   process that has given way takes none any more. So records of the old process come before those of the new one; and if that
//!   ends and the old one goes on, what that one begins then comes behind them.
//! - What nobody writes any more does not change: its lock is free.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Mutex;

use super::folders::{list, make_folder};
use super::lock;

const LOCK_PREFIX: &str = "writer-";
const LOCK_SUFFIX: &str = ".lock";

/// The generations of a data folder, as one process sees them.
pub(super) struct Generations {
    root: PathBuf,
    own: Mutex<Own>,
}

/// What is this process's.
#[derive(Default)]
struct Own {
    /// Its number and its lock, from its first record on.
    taken: Option<(u64, File)>,
    /// Those that it had before; nothing is begun in them any more. Their locks are held until nothing is written, either.
    earlier: Vec<(u64, File)>,
    /// The highest that anything on disk was known to be of, beside the locks; `None` before anybody has looked.
    floor: Option<u64>,
    has_given_way: bool,
}

impl Generations {
    /// Those whose locks are in the folder `root`. Nothing is made there before there is a record.
    #[must_use]
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, own: Mutex::default() }
    }

    /// This process's. The first who asks takes it; `survey` then says which is the highest that anything else on disk tells
    /// of, unless that is known.
    ///
    /// # Errors
    /// Those of the file system; and when the process has given way before it had any.
    pub(super) fn own(&self, survey: impl FnOnce() -> io::Result<u64>) -> io::Result<u64> {
        let mut own = lock(&self.own);
        if let Some((generation, _)) = own.taken {
            return Ok(generation);
        }
        if own.has_given_way {
            return Err(io::Error::other("this process has given way to another one"));
        }
        let floor = match own.floor {
            Some(floor) => floor,
            None => survey()?,
        };
        own.floor = Some(floor);
        make_folder(&self.root)?;
        loop {
            let generation = self.last()?.max(floor) + 1;
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.path(generation)) {
                Ok(file) => {
                    file.lock()?;
                    own.taken = Some((generation, file));
                    return Ok(generation);
                }
                // Another process was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What is on disk beside the locks was looked through: the highest generation that it tells of.
    pub(super) fn known_to_be_above(&self, floor: u64) {
        lock(&self.own).floor = Some(floor);
    }

    /// This process gives way to another one. While it does it takes no generation.
    pub(super) fn give_way(&self) {
        lock(&self.own).has_given_way = true;
    }

    /// It goes on after all, and the other one has ended. If that had a generation, this one's is an earlier one from here on:
    /// what it begins next comes behind it.
    ///
    /// # Errors
    /// Those of the file system; then it goes on with the generation that it has.
    pub(super) fn go_on(&self) -> io::Result<()> {
        let mut own = lock(&self.own);
        own.has_given_way = false;
        let last = self.last()?;
        let taken = own.taken.take_if(|(generation, _)| *generation < last);
        own.earlier.extend(taken);
        Ok(())
    }

    /// Those of this process in which nothing is begun any more, and that it has not released.
    pub(super) fn earlier(&self) -> Vec<u64> {
        lock(&self.own).earlier.iter().map(|(generation, _)| *generation).collect()
    }

    /// Nothing more is written in these generations: they are as those of a process that has ended.
    pub(super) fn release(&self, generations: &[u64]) {
        lock(&self.own).earlier.retain(|(generation, _)| !generations.contains(generation));
    }

    fn is_written(&self, generation: u64) -> io::Result<bool> {
        if self.is_own(generation) {
            return Ok(true);
        }
        match File::open(self.path(generation)) {
            Ok(file) => match file.try_lock_shared() {
                Ok(()) => Ok(false),
                Err(TryLockError::WouldBlock) => Ok(true),
                Err(TryLockError::Error(error)) => Err(error),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The first generation of which a process may still write segments; also this one's.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn first_written(&self) -> io::Result<Option<u64>> {
        self.first_written_of(|_| true)
    }

    /// Whether another process may write segments.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn has_others(&self) -> io::Result<bool> {
        Ok(self.first_written_of(|generation| !self.is_own(generation))?.is_some())
    }

    fn first_written_of(&self, concerns: impl Fn(u64) -> bool) -> io::Result<Option<u64>> {
        let mut all = self.all()?;
        all.sort_unstable();
        for generation in all.into_iter().filter(|generation| concerns(*generation)) {
            if self.is_written(generation)? {
                return Ok(Some(generation));
            }
        }
        Ok(None)
    }

    /// Forgets the locks of processes that have ended. The last one stays, so that numbers go up.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn tidy_up(&self) -> io::Result<()> {
        let last = self.last()?;
        for generation in self.all()?.into_iter().filter(|generation| *generation < last) {
            if !self.is_written(generation)? {
                fs::remove_file(self.path(generation))?;
            }
        }
        Ok(())
    }

    fn is_own(&self, generation: u64) -> bool {
        let own = lock(&self.own);
        own.taken.iter().chain(&own.earlier).any(|(number, _)| *number == generation)
    }

    fn path(&self, generation: u64) -> PathBuf {
        self.root.join(format!("{LOCK_PREFIX}{generation:010}{LOCK_SUFFIX}"))
    }

    fn last(&self) -> io::Result<u64> {
        Ok(self.all()?.into_iter().max().unwrap_or(0))
    }

    fn all(&self) -> io::Result<Vec<u64>> {
        let number =
            |name: &str| name.strip_prefix(LOCK_PREFIX)?.strip_suffix(LOCK_SUFFIX)?.parse::<u64>().ok();
        let names = list(&self.root)?.into_iter().map(|entry| entry.file_name());
        Ok(names.filter_map(|name| number(name.to_str()?)).collect())
    }
}
