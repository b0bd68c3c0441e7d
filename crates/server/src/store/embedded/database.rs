//! The database file (or the one in memory) and the connections to it.
//!
//! In a folder every thread has a connection of its own: SQLite's write-ahead log lets readers go on while the writer
//! commits. In memory there is no such log, so all share one connection behind a lock; a read may then wait for a
//! group of writes, which takes microseconds when no disk is involved.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::limit::store::{READER_CACHE_KIB, STATEMENTS_PER_CONNECTION, WRITER_CACHE_KIB};
use protocol::limit::transfer::CACHE_KIB;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::super::worker::lock;
use super::super::{Location, StoreError};
use super::checksum::{PAGE_BYTES, Page, is_checked};
use super::{order_clock, schema, vfs};

/// The database in a data folder.
const FILE_NAME: &str = "grandstand.db";

/// Its write-ahead log, which SQLite calls so.
const LOG_FILE_NAME: &str = "grandstand.db-wal";

/// A database that is being made.
const UNFINISHED_FILE_NAME: &str = "grandstand.db.new";

/// Locked by the server that uses a data folder; holds its process id.
const LOCK_FILE_NAME: &str = "lock";

/// How long a connection waits when SQLite recovers the log or opens and closes it; nothing else makes one wait.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Where connections lead.
pub(super) enum Database {
    /// To a file.
    File(PathBuf),
    /// To the one connection that there is.
    Memory(Arc<Mutex<Connection>>),
}

/// A connection, or a share of one.
pub(super) enum Handle {
    /// One's own.
    Own(Connection),
    /// Everybody's.
    Shared(Arc<Mutex<Connection>>),
}

impl Handle {
    /// Works with the connection.
    pub(super) fn with<T>(&self, work: impl FnOnce(&Connection) -> T) -> T {
        match self {
            Self::Own(connection) => work(connection),
            Self::Shared(connection) => work(&lock(connection)),
        }
    }
}

/// Why a database cannot be opened.
pub(super) enum OpenError {
    /// What SQLite says; it does not name the file.
    Sqlite(rusqlite::Error),
    /// What we say.
    Store(StoreError),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl OpenError {
    /// For whoever has to do something about it.
    fn about(self, path: &Path) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Sqlite(error) => {
                let advice = advice(&error);
                StoreError::unavailable(format!("cannot use {}: {error}{advice}", path.display()))
            }
        }
    }
}

/// What to do about an error, to be put behind it.
pub(super) fn advice(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            "; the file is damaged, or none of ours: put a copy of an earlier day in its place, or move it away, \
             together with its companions in -wal and -shm, to begin with an empty store"
        }
        Some(ErrorCode::DiskFull) => "; make room on its disk",
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            "; the server's user must be able to read and write it, and its folder"
        }
        Some(ErrorCode::SystemIoFailure) => "; look into the system's log whether the disk is well",
        _ => "",
    }
}

/// The database in a folder that has one.
pub(super) fn existing(location: &Location) -> Result<PathBuf, StoreError> {
    let Some(folder) = location.folder()? else {
        let cause = "`store.url` is `memory:`: such a store is nowhere but in its server, and ends with it";
        return Err(StoreError::unavailable(cause));
    };
    let path = folder.join(FILE_NAME);
    match path.try_exists() {
        Ok(true) => Ok(path),
        Ok(false) => Err(StoreError::unavailable(format!(
            "there is no store in {}: no file {FILE_NAME}; name the data folder that has it",
            folder.display()
        ))),
        Err(error) => Err(cannot("open", &path, &error)),
    }
}

/// Refuses a folder that has a database, or the log of one that was moved away: SQLite would take it for that of the next.
pub(super) fn require_none(folder: &Path) -> Result<(), StoreError> {
    for name in [FILE_NAME, LOG_FILE_NAME] {
        let path = folder.join(name);
        match path.symlink_metadata() {
            Ok(_) => {
                let cause = format!(
                    "there is a store in {} already: its file {name}; nothing was changed; name another folder",
                    folder.display()
                );
                return Err(StoreError::unavailable(cause));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(cannot("look for", &path, &error)),
        }
    }
    Ok(())
}

impl Database {
    /// Opens the database, makes it when it is missing, and brings it to the newest schema. Also answers the first
    /// connection that may write. An error names the file.
    pub(super) fn open(location: &Location) -> Result<(Self, Handle), StoreError> {
        match location.folder()? {
            None => {
                let connection = Connection::open_in_memory()?;
                configure(&connection, WRITER_CACHE_KIB)?;
                let database = Self::Memory(Arc::new(Mutex::new(connection)));
                database.prepare().map_err(|error| error.about(Path::new("the store in memory")))
            }
            Some(folder) => {
                let path = folder.join(FILE_NAME);
                if path.exists() {
                    add_trailers(folder, &path).map_err(|error| error.about(&path))?;
                } else {
                    create(folder, |_| Ok(()))?;
                }
                Self::File(path.clone()).prepare().map_err(|error| error.about(&path))
            }
        }
    }

    fn prepare(self) -> Result<(Self, Handle), OpenError> {
        let writer = self.writer()?;
        writer.with(|connection| {
            schema::migrate(connection, &self.name())?;
            // No write can be dated without it; asked for here, an error names the file.
            order_clock::last_saved(connection)?;
            // What a log holds that an earlier process left behind may be in the kernel's cache only (its last fsync
            // may have failed, and Linux then forgets that the pages were dirty). Copying it all over into the main
            // file writes and syncs it anew, before anything is built upon it.
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
            Ok::<_, OpenError>(())
        })?;
        Ok((self, writer))
    }

    /// What to call it in a message.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Memory(_) => "the store in memory".to_owned(),
        }
    }

    /// A connection that may write. There must be one at a time.
    pub(super) fn writer(&self) -> rusqlite::Result<Handle> {
        match self {
            Self::File(path) => Ok(Handle::Own(open_writer(path)?)),
            Self::Memory(connection) => Ok(Handle::Shared(Arc::clone(connection))),
        }
    }

    /// A connection that only reads.
    pub(super) fn reader(&self) -> rusqlite::Result<Handle> {
        match self {
            Self::File(path) => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let connection = vfs::open(path, flags)?;
                configure(&connection, READER_CACHE_KIB)?;
                Ok(Handle::Own(connection))
            }
            Self::Memory(connection) => Ok(Handle::Shared(Arc::clone(connection))),
        }
    }

    /// Whether reads never wait for the writer.
    pub(super) fn has_free_readers(&self) -> bool {
        match self {
            Self::File(_) => true,
            Self::Memory(_) => false,
        }
    }
}

fn open_writer(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = vfs::open(path, flags)?;
    configure(&connection, WRITER_CACHE_KIB)?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    // FULL syncs the log at each commit; NORMAL, SQLite's usual advice with a log, would not.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Only this makes macOS write through the drive's own cache; elsewhere it means nothing.
    connection.pragma_update(None, "fullfsync", true)?;
    // The writer itself decides when to copy the log back, after it has answered.
    connection.query_row("PRAGMA wal_autocheckpoint = 0", [], |_| Ok(()))?;
    Ok(connection)
}

/// The database of a store that is not open, to be changed by tests in ways in which a store never would.
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
pub(in super::super) fn open_behind_its_back(folder: &Path) -> Connection {
    vfs::open(&folder.join(FILE_NAME), OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap()
}

fn configure(connection: &Connection, cache_kib: i64) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_PER_CONNECTION);
    // Plans do not depend on what is looked for. Without this, SQLite prepares a statement anew whenever the value of
    // its LIMIT is bound, which took two fifths of the time of a page.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "trusted_schema", false)
}

/// Makes a database with what `fill` puts into it. (SQLite's own way would sync a dozen times.) Nobody sees it before all
/// of that is on the disk, so it needs no journal: what goes wrong leaves no database at all. An error names the file.
pub(super) fn create(
    folder: &Path,
    fill: impl FnOnce(&Connection) -> Result<(), OpenError>,
) -> Result<(), StoreError> {
    let path = folder.join(FILE_NAME);
    let made = make_whole(folder, &path, |unfinished| {
        let connection = vfs::open(unfinished, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        vfs::reserve(&connection)?;
        configure(&connection, CACHE_KIB)?;
        connection.query_row("PRAGMA journal_mode = OFF", [], |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        schema::migrate(&connection, &path.display().to_string())?;
        fill(&connection)?;
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        Ok(connection.close().map_err(|(_, error)| error)?)
    });
    made.map_err(|error| error.about(&path))
}

/// Makes a new file of one whose pages have no trailers yet, as an earlier server made it. Any other file is left as
/// it is.
fn add_trailers(folder: &Path, path: &Path) -> Result<(), OpenError> {
    let mut first_page: Page = [0; PAGE_BYTES];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut first_page));
    // What cannot be read is refused with SQLite's reason, and what is no database too.
    if read.is_err() || is_checked(&first_page) {
        return Ok(());
    }
    let connection = open_writer(path)?;
    if schema::require_known(&connection, &path.display().to_string()).is_err() {
        return Ok(());
    }
    // No log may be left behind that belongs to the old file: the last connection to be closed removes it.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    make_whole(folder, path, |unfinished| {
        vfs::reserve(&connection)?;
        connection.execute("VACUUM INTO ?1", [unfinished.to_str()])?;
        Ok(connection.close().map_err(|(_, error)| error)?)
    })?;
    tracing::info!("gave the pages of the store checksums");
    Ok(())
}

/// Has `make` fill an empty file of another name, syncs it once and gives it the name `path`: so there is a whole file
/// or none, or the one that was there before. What an earlier try left behind when it was killed is written over. An error
/// of the very last step, which brings the name to the disk, leaves the new file there.
fn make_whole(
    folder: &Path,
    path: &Path,
    make: impl FnOnce(&Path) -> Result<(), OpenError>,
) -> Result<(), OpenError> {
    let unfinished = folder.join(UNFINISHED_FILE_NAME);
    let cannot_create = |error: io::Error| cannot("create", path, &error);
    // SQLite gives the mode of this file to those that it adds beside it.
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished);
    let file = opened.map_err(cannot_create)?;
    let made = make(&unfinished).and_then(|()| {
        file.sync_all().map_err(cannot_create)?;
        Ok(fs::rename(&unfinished, path).map_err(cannot_create)?)
    });
    if made.is_err() {
        // It may be large, and what it lacked may be room.
        drop(fs::remove_file(&unfinished));
    }
    made?;
    Ok(sync_folder(folder).map_err(cannot_create)?)
}

/// Makes new entries of a folder survive a power cut.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// A data folder that no other server uses, until this value is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(super) struct ClaimedFolder {
    _lock: File,
}

impl ClaimedFolder {
    /// Makes the folder when it is missing, readable by its owner only, and claims it.
    pub(super) fn claim(path: &Path) -> Result<Self, StoreError> {
        let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.is_dir();
        let missing: Vec<&Path> = path.ancestors().take_while(is_missing).collect();
        if !missing.is_empty() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(|error| cannot("create", path, &error))?;
        }
        for folder in missing {
            if let Some(parent) = folder.canonicalize().ok().as_deref().and_then(Path::parent) {
                sync_folder(parent).map_err(|error| cannot("sync", parent, &error))?;
            }
        }
        let lock_path = path.join(LOCK_FILE_NAME);
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path);
        let mut file = opened.map_err(|error| cannot("open", &lock_path, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(path, &mut file)),
            Err(TryLockError::Error(error)) => return Err(cannot("lock", &lock_path, &error)),
        }
        let noted = note_process(&mut file);
        noted.map_err(|error| cannot("write", &lock_path, &error))?;
        Ok(Self { _lock: file })
    }
}

fn note_process(lock_file: &mut File) -> io::Result<()> {
    lock_file.set_permissions(Permissions::from_mode(0o600))?;
    lock_file.set_len(0)?;
    lock_file.rewind()?;
    writeln!(lock_file, "{}", std::process::id())
}

fn in_use(path: &Path, lock_file: &mut File) -> StoreError {
    let mut process = String::new();
    // The number only helps the reader of the message; without it the message still says what is wrong.
    let known = lock_file.read_to_string(&mut process).is_ok_and(|_| !process.trim().is_empty());
    let process = if known { format!(" (process {})", process.trim()) } else { String::new() };
    StoreError::unavailable(format!("another server{process} uses the data folder {}", path.display()))
}

pub(super) fn cannot(verb: &str, path: &Path, error: &io::Error) -> StoreError {
    StoreError::unavailable(format!("cannot {verb} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rusqlite::ffi::{Error, SQLITE_FULL, SQLITE_IOERR_FSYNC};

    use super::OpenError;

    #[track_caller]
    fn check(code: i32, advice: &str) {
        let error = OpenError::Sqlite(rusqlite::Error::SqliteFailure(Error::new(code), None));
        let said = error.about(Path::new("data/grandstand.db")).to_string();
        assert!(said.starts_with("cannot use data/grandstand.db: ") && said.ends_with(advice), "{said}");
    }

    #[test]
    fn what_the_disk_lacks_is_told() {
        check(SQLITE_FULL, "; make room on its disk");
        check(SQLITE_IOERR_FSYNC, "whether the disk is well");
    }
}
