//! How far the records of a spool have been shipped, and where they went last.
//!
//! The one is written when a destination has taken a batch, in one piece: after a crash it is what it was before or after. Where
//! it cannot be read, what is still in the spool is shipped once more. The other is written before anything goes there.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::store::Destination;

const FILE_NAME: &str = "progress.json";
const UNFINISHED_NAME: &str = "progress.json.new";
const DESTINATION_NAME: &str = "destination.json";
const DESTINATION_UNFINISHED_NAME: &str = "destination.json.new";

/// A place in a lane: the number of a segment, and bytes from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub(super) struct Position {
    /// The segment.
    pub(super) segment: u64,
    /// Bytes.
    pub(super) offset: u64,
}

/// A generation, and one of its lanes.
pub(super) type LaneName = (u64, u8);

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// By lane, the first byte that has not been shipped.
    pub(super) shipped: BTreeMap<LaneName, Position>,
}

/// As it is in the file.
#[derive(Serialize, Deserialize)]
struct Kept {
    shipped: Vec<KeptLane>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KeptDestination {
    S3(String),
    CloudWatchLogs(String),
    Firehose(String),
}

#[derive(Serialize, Deserialize)]
struct KeptLane {
    generation: u64,
    lane: u8,
    #[serde(flatten)]
    position: Position,
}

impl Progress {
    /// Reads what is known of a spool; `None` when that cannot be read.
    ///
    /// # Errors
    /// Those of the file system; what is not there is no error.
    pub(super) fn load(folder: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read(folder.join(FILE_NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Self::default())),
            text => text?,
        };
        let Ok(kept) = serde_json::from_slice::<Kept>(&text) else { return Ok(None) };
        let shipped = kept.shipped.into_iter().map(|kept| ((kept.generation, kept.lane), kept.position));
        Ok(Some(Self { shipped: shipped.collect() }))
    }

    /// Writes it down: it is on disk when this returns.
    ///
    /// # Errors
    /// Those of the file system; then it is as it was.
    pub(super) fn save(&self, folder: &Path) -> io::Result<()> {
        let lane = |(&(generation, lane), &position): (&LaneName, &Position)| KeptLane {
            generation,
            lane,
            position,
        };
        let kept = Kept { shipped: self.shipped.iter().map(lane).collect() };
        replace(folder, UNFINISHED_NAME, FILE_NAME, &serde_json::to_vec(&kept)?)
    }
}

/// Where the records of a spool went last, as it was saved; `None` when it was not, or cannot be read.
///
/// # Errors
/// Those of the file system; what is not there is no error.
pub(super) fn load_destination(folder: &Path) -> io::Result<Option<Destination>> {
    let text = match fs::read(folder.join(DESTINATION_NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    Ok(serde_json::from_slice(&text).ok().map(|destination| match destination {
        KeptDestination::S3(name) => Destination::S3(name),
        KeptDestination::CloudWatchLogs(name) => Destination::CloudWatchLogs(name),
        KeptDestination::Firehose(name) => Destination::Firehose(name),
    }))
}

/// Writes down where the records of a spool go: it is on disk when this returns.
///
/// # Errors
/// Those of the file system; then it is as it was.
pub(super) fn save_destination(folder: &Path, destination: &Destination) -> io::Result<()> {
    let kept = match destination.clone() {
        Destination::S3(name) => KeptDestination::S3(name),
        Destination::CloudWatchLogs(name) => KeptDestination::CloudWatchLogs(name),
        Destination::Firehose(name) => KeptDestination::Firehose(name),
    };
    replace(folder, DESTINATION_UNFINISHED_NAME, DESTINATION_NAME, &serde_json::to_vec(&kept)?)
}

/// Removes all of this, and the folder, when there is nothing else in it.
///
/// # Errors
/// Those of the file system; what is not there is no error.
pub(super) fn forget(folder: &Path) -> io::Result<()> {
    let is_gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    for name in [FILE_NAME, UNFINISHED_NAME, DESTINATION_NAME, DESTINATION_UNFINISHED_NAME] {
        fs::remove_file(folder.join(name))
            .or_else(|error| if is_gone(&error) { Ok(()) } else { Err(error) })?;
    }
    match fs::remove_dir(folder) {
        // Somebody has begun to write there again.
        Err(error) if is_gone(&error) || error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => removed,
    }
}

/// Puts `bytes` into the file `name`, in one piece; `unfinished` is what it is called before that. Both it and its name are
/// on disk when this returns.
pub(super) fn replace(folder: &Path, unfinished: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let unfinished = folder.join(unfinished);
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(&unfinished, folder.join(name))?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Position, Progress, load_destination, save_destination};
    use crate::store::Destination;

    #[test]
    fn progress_is_read_as_it_was_saved() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Progress::load(folder.path()).unwrap(), Some(Progress::default()));
        for offset in [99, 100] {
            let progress = Progress {
                shipped: [((3, 1), Position { segment: 7, offset }), ((4, 0), Position::default())].into(),
            };
            progress.save(folder.path()).unwrap();
            assert_eq!(Progress::load(folder.path()).unwrap(), Some(progress));
        }
        std::fs::write(folder.path().join("progress.json"), b"{\"shi").unwrap();
        assert_eq!(Progress::load(folder.path()).unwrap(), None);
    }

    #[test]
    fn a_destination_is_read_as_it_was_saved() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load_destination(folder.path()).unwrap(), None);
        for make in [Destination::S3, Destination::CloudWatchLogs, Destination::Firehose] {
            let destination = make("a name".to_owned());
            save_destination(folder.path(), &destination).unwrap();
            assert_eq!(load_destination(folder.path()).unwrap(), Some(destination));
        }
    }
}
