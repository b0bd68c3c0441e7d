//! A copy of the store in one file, made while a server may be at work in it.
//!
//! A reading transaction of another connection sees one state and holds up nobody; the server's log only cannot start
//! over until it ends. The copy is made under another name and gets its own when it is whole and on disk, so that a
//! backup of that name is one.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf, absolute};

use rusqlite::ErrorCode;

use super::super::{Location, StoreError};
use super::database::{Database, OpenError, cannot, existing, sync_folder};
use super::schema;

/// What the name of a backup that is being made ends in.
const UNFINISHED_ENDING: &str = ".unfinished";

/// See [`super::super::Store::back_up`]. Blocks on the disk.
pub(in super::super) fn back_up(location: &Location, file: &Path) -> Result<(), StoreError> {
    let database = Database::File(existing(location)?);
    // An absolute path cannot look like one of SQLite's `file:` addresses.
    let file = absolute(file).map_err(|error| cannot("create", file, &error))?;
    refuse_existing(&file)?;
    let unfinished = unfinished_path(&file);
    let handle = create(&unfinished)?;
    let made = copy(&database, &unfinished).and_then(|()| {
        refuse_existing(&file)?;
        finish(&handle, &unfinished, &file).map_err(|error| cannot("write", &file, &error))
    });
    if made.is_err() {
        // When it cannot be removed, the next backup of this name says so.
        drop(fs::remove_file(&unfinished));
    }
    made
}

/// A backup is never written over, least of all by a worse one.
fn refuse_existing(file: &Path) -> Result<(), StoreError> {
    if file.symlink_metadata().is_ok() {
        return Err(StoreError::unavailable(format!("{} exists; name a new file", file.display())));
    }
    Ok(())
}

fn unfinished_path(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(UNFINISHED_ENDING);
    PathBuf::from(path)
}

/// An empty file, readable by its owner only, which SQLite then fills.
fn create(path: &Path) -> Result<File, StoreError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => Ok(file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let path = path.display();
            let cause =
                format!("{path} exists: another backup is writing it, or was cut off; then remove it");
            Err(StoreError::unavailable(cause))
        }
        Err(error) => Err(cannot("create", path, &error)),
    }
}

fn copy(database: &Database, to: &Path) -> Result<(), StoreError> {
    let name = database.name();
    let text = to.to_str();
    let text = text.ok_or_else(|| StoreError::unavailable("the name of a backup must be valid UTF-8"))?;
    let copied = || -> Result<(), OpenError> {
        database.reader()?.with(|connection| {
            schema::require_known(connection, &name)?;
            connection.execute("VACUUM INTO ?1", [text])?;
            Ok(())
        })
    };
    copied().map_err(|error| match error {
        OpenError::Sqlite(error) => {
            let advice = match error.sqlite_error_code() {
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                    "; once the server is stopped, `grandstand check` says what of the store is damaged"
                }
                _ => "",
            };
            StoreError::unavailable(format!("cannot copy {name} to {}: {error}{advice}", to.display()))
        }
        OpenError::Store(error) => error,
    })
}

fn finish(handle: &File, unfinished: &Path, file: &Path) -> io::Result<()> {
    handle.sync_all()?;
    fs::rename(unfinished, file)?;
    file.parent().map_or(Ok(()), sync_folder)
}
