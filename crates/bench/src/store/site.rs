//! Where the stores under test are: in folders, or in schemas of a PostgreSQL database.
//!
//! With a store that was filled to the end goes a note of what that took: a file in its folder, or the comment on its
//! schema. So a store that is there is used as it is.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use server::store::Location;
use tempfile::TempDir;

use super::database::Schema;
use crate::failure::Failure;
use crate::os;
use crate::server::Grandstand;

const NOTE_FILE_NAME: &str = "filled.json";

/// Where the stores of a run are.
pub enum Sites {
    /// Each in a folder that goes with the run.
    Temporary,
    /// Each in a folder of its own in this one.
    Folder(PathBuf),
    /// Each in a schema of its own of a database.
    Database {
        /// The address.
        url: String,
        /// What makes the database forget its pages, for a shell.
        forget_command: Option<String>,
    },
}

/// Where one store is.
pub enum Site {
    /// The embedded engine's files.
    Folder {
        /// The folder, which may be missing.
        path: PathBuf,
        /// What it is in, if that goes with it.
        _temporary: Option<TempDir>,
    },
    /// The PostgreSQL engine's tables.
    Schema {
        /// The schema, which may be missing.
        schema: Box<Schema>,
        /// What makes the database forget its pages, for a shell.
        forget_command: Option<String>,
        /// What a server has beside its store.
        data_folder: TempDir,
    },
}

impl Sites {
    /// Where the store of so many rooms is, or is to be made.
    ///
    /// # Errors
    /// The system's; an address that is none.
    pub fn of(&self, rooms: u64) -> Result<Site, Failure> {
        let temporary = || tempfile::tempdir().map_err(Failure::io("make a folder"));
        Ok(match self {
            Self::Temporary => {
                let folder = temporary()?;
                Site::Folder { path: folder.path().join("store"), _temporary: Some(folder) }
            }
            Self::Folder(folder) => Site::Folder { path: folder.join(rooms.to_string()), _temporary: None },
            Self::Database { url, forget_command } => Site::Schema {
                schema: Box::new(Schema::new(url, rooms)?),
                forget_command: forget_command.clone(),
                data_folder: temporary()?,
            },
        })
    }
}

impl Site {
    /// What a store is opened with.
    #[must_use]
    pub fn location(&self) -> Location {
        match self {
            Self::Folder { path, .. } => Location::Folder(path.clone()),
            Self::Schema { schema, .. } => Location::Postgres(Box::new(schema.url().clone())),
        }
    }

    /// The command that serves the store on free ports.
    #[must_use]
    pub fn command(&self, grandstand: &Grandstand) -> Command {
        match self {
            Self::Folder { path, .. } => grandstand.command(path),
            Self::Schema { schema, data_folder, .. } => {
                let mut command = grandstand.command(data_folder.path());
                command.env("GRANDSTAND_STORE_URL", schema.url_text());
                command
            }
        }
    }

    /// Sees to it that a store can be made here.
    pub(super) async fn prepare(&self) -> Result<(), Failure> {
        match self {
            Self::Folder { .. } => Ok(()),
            Self::Schema { schema, .. } => schema.create().await,
        }
    }

    /// The note on a store that was filled to the end.
    pub(super) async fn note(&self) -> Result<Option<Value>, Failure> {
        let note = match self {
            Self::Folder { path, .. } => match fs::read_to_string(path.join(NOTE_FILE_NAME)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                note => Some(note.map_err(Failure::io("read the note on the store"))?),
            },
            Self::Schema { schema, .. } => schema.note().await?,
        };
        Ok(note.map(|note| serde_json::from_str(&note).unwrap_or_default()))
    }

    /// Notes that the store is full.
    pub(super) async fn keep_note(&self, note: &Value) -> Result<(), Failure> {
        match self {
            Self::Folder { path, .. } => fs::write(path.join(NOTE_FILE_NAME), note.to_string())
                .map_err(Failure::io("note that the store is full")),
            Self::Schema { schema, .. } => schema.keep_note(&note.to_string()).await,
        }
    }

    /// Bytes of the store: its files, or its tables with their indexes.
    pub(super) async fn bytes(&self) -> Result<u64, Failure> {
        match self {
            Self::Folder { path, .. } => folder_bytes(path),
            Self::Schema { schema, .. } => schema.bytes().await,
        }
    }

    /// How often a database has flushed its log to disk so far; `None` for a store in files, which counts by itself. To be
    /// asked when no store is open.
    pub(super) async fn log_flushes(&self) -> Result<Option<u64>, Failure> {
        match self {
            Self::Folder { .. } => Ok(None),
            Self::Schema { schema, .. } => schema.log_flushes().await.map(Some),
        }
    }

    /// Has the kernel, and the database, forget what they hold of a closed store's files.
    pub(super) fn forget(&self) -> Result<(), Failure> {
        let path = match self {
            Self::Folder { path, .. } => path,
            Self::Schema { forget_command: Some(command), .. } => return have_forgotten(command),
            Self::Schema { forget_command: None, .. } => {
                let refusal = "a database's pages are not made cold from here: give --forget-command, or leave out --cold-repeats";
                return Err(Failure::Arguments(refusal.to_owned()));
            }
        };
        for path in files(path)? {
            let file = File::open(path).map_err(Failure::io("open a file of the store"))?;
            os::forget(&file).map_err(Failure::io("drop a file from the kernel's cache"))?;
        }
        Ok(())
    }
}

fn have_forgotten(command: &str) -> Result<(), Failure> {
    let status = Command::new("sh").args(["-c", command]).status();
    let status = status.map_err(Failure::io("run the command that makes the database forget"))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::Arguments(format!("the command that makes the database forget ended with {status}")))
}

fn folder_bytes(folder: &Path) -> Result<u64, Failure> {
    let bytes = files(folder)?.iter().map(|path| Ok(fs::metadata(path)?.len())).sum::<io::Result<u64>>();
    bytes.map_err(Failure::io("look at the store's files"))
}

/// The files of a folder, without those of folders in it.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let list = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    let mut paths = list().map_err(Failure::io("list the store's folder"))?;
    paths.retain(|path| path.is_file());
    Ok(paths)
}
