//! Which chat tokens have been used: single use, across restarts and `kill -9`.
//!
//! Memory decides who is first; a winner is told only after a record of it was handed to the kernel, so it survives
//! the process however that ends. There is no fsync each: `sync` follows, and a power cut may forget the last moments.
//!
//! Layout: `redemptions/END` holds the tokens that expire in the [`REDEMPTION_BUCKET_SECONDS`] before `END` (seconds
//! since 1970), as records of 24 bytes: the token's id (16, big-endian) and a checksum of it (8, big-endian). A torn
//! record at the end, or one that the kernel never wrote, fails its checksum and is passed over. One bucket after its
//! end a file is dropped whole; a token as old as that is refused whether it was ever seen or not.
//!
//! Memory: at most 39 bytes a token (16 of id and 1 of the table's own, in a table that is between 7/16 and 7/8 full),
//! and half as much again while a table grows; at most [`REDEMPTIONS_KNOWN_MAX`] tokens.

mod sync;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, DirBuilder, DirEntry, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};

use protocol::limit::store::{
    REDEMPTION_BUCKET_SECONDS, REDEMPTIONS_KNOWN_MAX, REDEMPTIONS_PER_WRITE_MAX, REDEMPTIONS_WAITING_MAX,
};
use protocol::time::UnixMicros;
use tokio::sync::oneshot;

use self::sync::{Shared, Syncer};
use super::worker::{Workers, lock};
use super::{Clock, Location, StoreError};

const FOLDER_NAME: &str = "redemptions";
const RECORD_BYTES: usize = 24;
const MICROS_PER_SECOND: i64 = 1_000_000;

/// The end of a bucket, in seconds since 1970.
pub(super) type BucketEnd = i64;

/// The bucket in which a token that expires then is kept.
pub(super) fn bucket_of(expires: UnixMicros) -> BucketEnd {
    let number = expires.div_euclid(REDEMPTION_BUCKET_SECONDS * MICROS_PER_SECOND);
    number.saturating_add(1).saturating_mul(REDEMPTION_BUCKET_SECONDS)
}

/// The earliest bucket that is still known.
fn first_kept(now: UnixMicros) -> BucketEnd {
    bucket_of(now).saturating_sub(REDEMPTION_BUCKET_SECONDS)
}

/// The used chat tokens.
pub(super) struct Redemptions {
    now: Clock,
    known: Arc<Mutex<Known>>,
    /// `None` in memory.
    recorder: Option<Workers<Record>>,
}

/// A winner that waits to be told.
struct Record {
    claim: Claim,
    first_kept: BucketEnd,
    recorded: oneshot::Sender<()>,
}

/// A token that nobody else may use. Whoever drops this before the token's record is written gives the token back, also
/// when its user has hung up meanwhile.
struct Claim {
    token_id: u128,
    bucket: BucketEnd,
    known: Arc<Mutex<Known>>,
    is_written: bool,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.is_written {
            lock(&self.known).remove(self.bucket, self.token_id);
        }
    }
}

impl Redemptions {
    /// Loads what is on disk.
    pub(super) fn open(location: &Location, now: Clock) -> Result<Self, StoreError> {
        let mut known = Known { first_kept: first_kept(now()), buckets: HashMap::new() };
        let recorder = match location.folder()? {
            None => None,
            Some(folder) => {
                let folder = folder.join(FOLDER_NAME);
                let started = start_recorder(folder.clone(), &mut known);
                Some(started.map_err(|error| {
                    StoreError::unavailable(format!("cannot use {}: {error}", folder.display()))
                })?)
            }
        };
        Ok(Self { now, known: Arc::new(Mutex::new(known)), recorder })
    }

    /// True for the first caller ever. After an error nobody has used the token, and the caller may try again; others
    /// who tried meanwhile were told false.
    pub(super) async fn redeem(&self, token_id: u128, expires: UnixMicros) -> Result<bool, StoreError> {
        let bucket = bucket_of(expires);
        let first_kept = {
            let mut known = lock(&self.known);
            known.forget((self.now)());
            if known.is_used(bucket, token_id) {
                return Ok(false);
            }
            if known.count() >= REDEMPTIONS_KNOWN_MAX {
                return Err(StoreError::unavailable(
                    "there are too many used chat tokens that have not expired",
                ));
            }
            known.insert(bucket, token_id);
            known.first_kept
        };
        let Some(recorder) = &self.recorder else {
            return Ok(true);
        };
        let (recorded, outcome) = oneshot::channel();
        let claim = Claim { token_id, bucket, known: Arc::clone(&self.known), is_written: false };
        recorder.submit(Record { claim, first_kept, recorded })?;
        let lost = |_| StoreError::unavailable("a redemption could not be written");
        outcome.await.map(|()| true).map_err(lost)
    }

    /// How many are known.
    pub(super) fn count(&self) -> u64 {
        lock(&self.known).count() as u64
    }

    /// The buckets in which there are any.
    pub(super) fn buckets(&self) -> Vec<BucketEnd> {
        lock(&self.known).buckets.keys().copied().collect()
    }

    /// The tokens of a bucket.
    pub(super) fn tokens_of(&self, bucket: BucketEnd) -> Vec<u128> {
        lock(&self.known).buckets.get(&bucket).into_iter().flatten().copied().collect()
    }

    /// Writes what waits and closes the files. Blocks meanwhile.
    pub(super) fn stop(&self) {
        if let Some(recorder) = &self.recorder {
            recorder.stop();
        }
    }
}

/// What is known in memory.
struct Known {
    /// Never goes back, even if the clock does: what was forgotten once stays refused.
    first_kept: BucketEnd,
    buckets: HashMap<BucketEnd, HashSet<u128>>,
}

impl Known {
    fn forget(&mut self, now: UnixMicros) {
        let first_kept = first_kept(now);
        if first_kept > self.first_kept {
            self.first_kept = first_kept;
            self.buckets.retain(|&end, _| end >= first_kept);
        }
    }

    /// For a token that nobody could use after all.
    fn remove(&mut self, bucket: BucketEnd, token_id: u128) {
        if let Some(tokens) = self.buckets.get_mut(&bucket) {
            tokens.remove(&token_id);
        }
    }

    /// Whether the token is known, or so old that it might have been.
    fn is_used(&self, bucket: BucketEnd, token_id: u128) -> bool {
        bucket < self.first_kept || self.buckets.get(&bucket).is_some_and(|known| known.contains(&token_id))
    }

    fn insert(&mut self, bucket: BucketEnd, token_id: u128) {
        self.buckets.entry(bucket).or_default().insert(token_id);
    }

    /// There are few buckets.
    fn count(&self) -> usize {
        self.buckets.values().map(HashSet::len).sum()
    }
}

fn start_recorder(folder: PathBuf, known: &mut Known) -> io::Result<Workers<Record>> {
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    // The folder's own name is to be on the disk, too.
    folder.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())?;
    let syncer = Syncer::start(folder.clone())?;
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        let path = entry.path();
        let Some(end) = bucket_end(&entry) else {
            tracing::warn!(path = %path.display(), "this holds no used chat tokens: it is left alone, and may go");
            continue;
        };
        if end < known.first_kept {
            fs::remove_file(&path).map_err(|error| naming(&path, &error))?;
            continue;
        }
        let (file, token_ids) = BucketFile::open(&path).map_err(|error| naming(&path, &error))?;
        known.buckets.entry(end).or_default().extend(token_ids);
        // An earlier process may have ended before it had synced all.
        syncer.sync_soon(&file.shared);
        files.insert(end, file);
    }
    let mut recorder = Recorder { files: BucketFiles { folder, files }, syncer, has_failed: false };
    let run = move |records: Receiver<Record>| {
        while let Ok(first) = records.recv() {
            let batch = std::iter::once(first).chain(records.try_iter()).take(REDEMPTIONS_PER_WRITE_MAX);
            recorder.record(batch.collect());
        }
    };
    Workers::start_one("store-redemption", REDEMPTIONS_WAITING_MAX, run)
}

/// Which bucket an entry of the folder is; `None` for what somebody else has put there.
fn bucket_end(entry: &DirEntry) -> Option<BucketEnd> {
    let end = entry.file_name().to_str()?.parse::<BucketEnd>().ok()?;
    let is_bucket = end % REDEMPTION_BUCKET_SECONDS == 0 && !entry.path().is_dir();
    is_bucket.then_some(end)
}

/// An error of the system that says which file it is about.
fn naming(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn bucket_path(folder: &Path, end: BucketEnd) -> PathBuf {
    folder.join(end.to_string())
}

/// Writes records, a batch of each bucket at once. A thread of its own: a write may wait when the disk is behind.
struct Recorder {
    files: BucketFiles,
    syncer: Syncer,
    /// Whether the last batch could not be written: said once, since whoever waits for it asks again and again.
    has_failed: bool,
}

impl Recorder {
    fn record(&mut self, batch: Vec<Record>) {
        if let Some(first_kept) = batch.iter().map(|record| record.first_kept).max() {
            self.files.drop_before(first_kept);
        }
        let mut by_bucket: BTreeMap<BucketEnd, Vec<Record>> = BTreeMap::new();
        for record in batch {
            by_bucket.entry(record.claim.bucket).or_default().push(record);
        }
        for (end, records) in by_bucket {
            let token_ids = records.iter().map(|record| record.claim.token_id);
            let written = self.files.append(end, token_ids).map(|file| self.syncer.sync_soon(&file.shared));
            self.report(&written);
            for mut record in records {
                record.claim.is_written = written.is_ok();
                if record.claim.is_written {
                    // The caller may have gone; the token is used all the same.
                    let _ = record.recorded.send(());
                }
            }
        }
    }

    fn report(&mut self, written: &io::Result<()>) {
        match written {
            Err(error) if !self.has_failed => {
                tracing::error!(%error, "cannot write which chat tokens were used; nobody is let in until it can");
            }
            Ok(()) if self.has_failed => tracing::info!("can write again which chat tokens were used"),
            _ => {}
        }
        self.has_failed = written.is_err();
    }
}

/// The files of all buckets that are written to.
pub(super) struct BucketFiles {
    folder: PathBuf,
    files: BTreeMap<BucketEnd, BucketFile>,
}

impl BucketFiles {
    /// Those of a store that is not open, in its folder.
    pub(super) fn create(store_folder: &Path) -> io::Result<Self> {
        let folder = store_folder.join(FOLDER_NAME);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(Self { folder, files: BTreeMap::new() })
    }

    /// Writes records to the file of a bucket, which it answers.
    pub(super) fn append(
        &mut self,
        end: BucketEnd,
        token_ids: impl Iterator<Item = u128>,
    ) -> io::Result<&BucketFile> {
        let file = match self.files.entry(end) {
            Entry::Occupied(file) => file.into_mut(),
            Entry::Vacant(vacant) => {
                let (file, _) = BucketFile::open(&bucket_path(&self.folder, end))?;
                vacant.insert(file)
            }
        };
        let bytes: Vec<u8> = token_ids.flat_map(encode).collect();
        file.append(&bytes)?;
        Ok(file)
    }

    /// Brings all that was written to the disk, names included.
    pub(super) fn sync(&self) -> io::Result<()> {
        for file in self.files.values() {
            file.shared.file.sync_all()?;
        }
        File::open(&self.folder)?.sync_all()?;
        self.folder.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    }

    fn drop_before(&mut self, first_kept: BucketEnd) {
        while let Some(entry) = self.files.first_entry().filter(|entry| *entry.key() < first_kept) {
            let path = bucket_path(&self.folder, *entry.key());
            drop(entry.remove());
            if let Err(error) = fs::remove_file(&path) {
                // Harmless: the next start tries again.
                tracing::warn!(%error, path = %path.display(), "cannot remove a file of used chat tokens");
            }
        }
    }
}

/// The file of a bucket.
pub(super) struct BucketFile {
    shared: Arc<Shared>,
    /// Where the next record goes. A write that failed half-way does not move it, so the next one writes over it.
    length: u64,
}

impl BucketFile {
    /// Opens a file, makes it when it is missing, and reads the tokens in it.
    fn open(path: &Path) -> io::Result<(Self, Vec<u128>)> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (records, torn) = bytes.as_chunks::<RECORD_BYTES>();
        let token_ids: Vec<u128> = records.iter().filter_map(decode).collect();
        let lost = records.len() - token_ids.len();
        if lost > 0 || !torn.is_empty() {
            tracing::warn!(path = %path.display(), lost, torn_bytes = torn.len(), "passed over torn redemptions");
        }
        let length = (bytes.len() - torn.len()) as u64;
        Ok((Self { shared: Shared::new(file), length }, token_ids))
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.shared.file.write_all_at(bytes, self.length)?;
        self.length += bytes.len() as u64;
        Ok(())
    }
}

fn encode(token_id: u128) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    let (id, sum) = record.split_at_mut(16);
    id.copy_from_slice(&token_id.to_be_bytes());
    sum.copy_from_slice(&checksum(token_id).to_be_bytes());
    record
}

/// `None` for a record that was not written whole.
fn decode(record: &[u8; RECORD_BYTES]) -> Option<u128> {
    let (id, sum) = record.split_first_chunk::<16>()?;
    let token_id = u128::from_be_bytes(*id);
    (sum == checksum(token_id).to_be_bytes()).then_some(token_id)
}

/// FNV-1a of 64 bits: it tells what was torn, not what was forged (who can write this folder owns the server). Zeros,
/// which is what a block that was never written reads as, do not have the checksum zero.
fn checksum(token_id: u128) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    token_id.to_be_bytes().iter().fold(OFFSET_BASIS, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(PRIME))
}
