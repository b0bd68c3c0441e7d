//! Folders in the place of destinations: `destinations/s3/BUCKET/KEY`, `destinations/cloudwatch-logs/GROUP/STREAM.ndjson`
//! and `destinations/firehose/STREAM.ndjson` in the data folder.
//!
//! Names and contents are those of the services, so that `zcat` and `jq` show a chat. Promises: what is acknowledged is on
//! disk; a line is whole, also after a crash; no name leads out of its folder.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use protocol::chat_log::log_stream_name;
use protocol::limit::chat_log::FIREHOSE_BYTES_MAX;

use super::folders::{make_folder, sync_way_to};
use super::lock;
use super::object;
use super::parcel::Parcel;
use super::progress::replace;
use super::sink::{Consignment, SinkError};
use crate::store::Destination;

const FOLDER_NAME: &str = "destinations";
/// How much is looked at from a file's end for the end of its last whole line, in bytes; more than a line has.
const TAIL_BYTES: u64 = 512 * 1_024;
/// … and when a process before may have left lines that were never synced: more than are appended at once.
const UNSYNCED_BYTES_MAX: u64 = 2 * FIREHOSE_BYTES_MAX as u64;
/// Longest part of a name that is one folder's name, in bytes; with an ending and a mark it is less than file systems take.
const PART_BYTES_MAX: usize = 240;
/// At the end of a folder's name when the next one goes on with it. No name of a destination has it.
const GOES_ON: char = '~';
/// So many files and folders are remembered that are known to be on disk.
const SETTLED_MAX: usize = 32_768;

/// See the module.
#[derive(Clone)]
pub(super) struct FolderSink {
    data_dir: Arc<Path>,
    /// Files that this process has appended to, and folders of objects: their names are on disk, and all above.
    settled: Arc<Mutex<HashSet<PathBuf>>>,
}

impl FolderSink {
    /// Folders in a data folder. They are made when something is to go there.
    #[must_use]
    pub(super) fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.into(), settled: Arc::default() }
    }

    /// Writes a parcel.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) async fn send(
        &self,
        consignment: &Arc<Consignment>,
        parcel: &Parcel,
    ) -> Result<(), SinkError> {
        let (sink, consignment, parcel) = (self.clone(), Arc::clone(consignment), parcel.clone());
        let written = tokio::task::spawn_blocking(move || sink.write(&consignment, &parcel)).await;
        let outcome = written.unwrap_or_else(|_panic| Err(io::Error::other("the work was cut off")));
        outcome
            .map_err(|error| SinkError::other(format!("a folder of destinations cannot be written: {error}")))
    }

    fn write(&self, consignment: &Consignment, parcel: &Parcel) -> io::Result<()> {
        let root = self.data_dir.join(FOLDER_NAME);
        let path = match &consignment.destination {
            Destination::S3(bucket) => below(root.join("s3"), bucket).join(object::key(consignment, parcel)),
            Destination::CloudWatchLogs(group) => {
                let stream = format!("{}.ndjson", log_stream_name(parcel.room));
                below(root.join("cloudwatch-logs"), group).join(stream)
            }
            Destination::Firehose(stream) => below(root.join("firehose"), &format!("{stream}.ndjson")),
        };
        let folder = path.parent().ok_or(io::ErrorKind::InvalidFilename)?;
        match &consignment.destination {
            Destination::S3(_) => {
                let is_settled = self.is_settled(folder);
                put(&path, &object::body(consignment, parcel)?)?;
                if !is_settled { self.settle(folder, folder) } else { Ok(()) }
            }
            _ => {
                let is_settled = self.is_settled(&path);
                let was_there = append(&path, &lines(consignment, parcel), is_settled)?;
                if !(is_settled && was_there) { self.settle(&path, folder) } else { Ok(()) }
            }
        }
    }

    /// Whether a file or folder is known to be on disk: somebody may have removed it meanwhile.
    fn is_settled(&self, path: &Path) -> bool {
        path.exists() && lock(&self.settled).contains(path)
    }

    /// The folders above a file may be new.
    fn settle(&self, path: &Path, folder: &Path) -> io::Result<()> {
        sync_way_to(folder, &self.data_dir)?;
        let mut settled = lock(&self.settled);
        if settled.len() >= SETTLED_MAX {
            settled.clear();
        }
        settled.insert(path.to_owned());
        Ok(())
    }
}

fn lines(consignment: &Consignment, parcel: &Parcel) -> Vec<u8> {
    let records = parcel.records.iter().map(|index| &*consignment.records[*index].json);
    records.flat_map(|json| [json.as_bytes(), b"\n"]).flatten().copied().collect()
}

/// The path of a name below a folder. Names of log groups have slashes, and may have parts that mean something else to a
/// file system.
fn below(mut folder: PathBuf, name: &str) -> PathBuf {
    for mut part in name.split('/').filter(|part| !part.is_empty()) {
        // A log group may have 512 characters between two slashes, and a folder's name 255 bytes.
        while part.len() > PART_BYTES_MAX {
            let (start, rest) = part.split_at(part.floor_char_boundary(PART_BYTES_MAX));
            folder.push(format!("{start}{GOES_ON}"));
            part = rest;
        }
        match part {
            "." => folder.push("%2E"),
            ".." => folder.push("%2E%2E"),
            part => folder.push(part),
        }
    }
    folder
}

/// Puts an object there, in one piece.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(io::ErrorKind::InvalidFilename.into());
    };
    make_folder(folder)?;
    replace(folder, &format!(".{name}.unfinished"), name, bytes)
}

/// Appends whole lines, to a file that is settled if this process has appended to it. What is left at its end of lines that
/// were not written as a whole is taken off first: they were not acknowledged, and come again. They are on disk when this
/// returns; whether the file was there before, so that its name is, too.
fn append(path: &Path, lines: &[u8], is_settled: bool) -> io::Result<bool> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidFilename)?;
    make_folder(folder)?;
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    // Several logging configurations may have one destination.
    file.lock()?;
    let length = file.metadata()?.len();
    let end = if is_settled && ends_with_a_line(&file, length)? {
        length
    } else {
        end_of_lines(&mut file, length, if is_settled { TAIL_BYTES } else { UNSYNCED_BYTES_MAX })?
    };
    let written = file
        .set_len(end)
        .and_then(|()| file.write_all_at(lines, end))
        // What a sync has failed for is not on disk after another one, unless it is written again.
        .and_then(|()| file.sync_data());
    if let Err(error) = written {
        file.set_len(end)?;
        return Err(error);
    }
    Ok(length > 0)
}

/// Whether there is nothing behind the last line. What this process has appended has no gaps, so that it need not be looked
/// through again and again.
fn ends_with_a_line(file: &File, length: u64) -> io::Result<bool> {
    let mut last = [0];
    Ok(length > 0 && file.read_at(&mut last, length - 1)? == 1 && last == *b"\n")
}

/// Where the last whole line ends, before anything that a power cut has left out: zeros, of which no line has any.
fn end_of_lines(file: &mut File, length: u64, tail_bytes: u64) -> io::Result<u64> {
    let start = length.saturating_sub(tail_bytes);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let hole = tail.iter().position(|byte| *byte == 0);
    let whole = tail[..hole.unwrap_or(tail.len())].iter().rposition(|byte| *byte == b'\n');
    Ok(match whole {
        Some(at) => start + at as u64 + 1,
        // No line of ours is so long.
        None if start > 0 && hole.is_none() => length,
        None => start,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::path::PathBuf;

    use super::{append, below, put};

    #[test]
    fn no_name_leads_out_of_its_folder() {
        for (name, expected) in [
            ("/aws/ivs/chat", "root/aws/ivs/chat"),
            ("../../etc", "root/%2E%2E/%2E%2E/etc"),
            ("a/./b//c", "root/a/%2E/b/c"),
            ("..", "root/%2E%2E"),
            (&format!("a/{}/c", "b".repeat(240)), &format!("root/a/{}/c", "b".repeat(240))),
            (&"b".repeat(241), &format!("root/{}~/b", "b".repeat(240))),
            (&"b".repeat(512), &format!("root/{0}~/{0}~/{1}", "b".repeat(240), "b".repeat(32))),
        ] {
            assert_eq!(below(PathBuf::from("root"), name), PathBuf::from(expected), "{name}");
        }
    }

    #[test]
    fn lines_are_appended_and_what_a_crash_has_left_of_some_is_taken_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.ndjson");
        assert!(!append(&path, b"1\n2\n", false).unwrap());
        assert!(append(&path, b"3\n", true).unwrap());
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(whole, b"1\n2\n3\n");
        // What a process before has left may have gaps; of what this one has, only the end may be missing.
        for (torn, may_be_own) in [
            (&b"1\n2\n3\n{\"half"[..], true),
            (b"1\n2\n3\n\0\0\0", true),
            (b"1\n2\n3\n{\"a sector\0\0\0 is missing\"}\n{\"whole\"}\n", false),
        ] {
            for is_settled in [false, true].into_iter().take(1 + usize::from(may_be_own)) {
                std::fs::write(&path, torn).unwrap();
                append(&path, b"4\n", is_settled).unwrap();
                assert_eq!(std::fs::read(&path).unwrap(), b"1\n2\n3\n4\n");
            }
        }
        std::fs::write(&path, b"{\"only half a line").unwrap();
        append(&path, b"4\n", true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"4\n");
    }

    #[test]
    fn a_file_that_somebody_has_removed_is_told_from_one_that_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.ndjson");
        for _ in 0..2 {
            assert!(!append(&path, b"1\n", true).unwrap(), "its name is to be synced");
            assert!(append(&path, b"2\n", true).unwrap());
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn an_object_is_written_over_in_one_piece() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bucket/key/of/it.log.gz");
        put(&path, b"first").unwrap();
        put(&path, b"2nd").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"2nd");
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "nothing unfinished is left"
        );
    }
}
