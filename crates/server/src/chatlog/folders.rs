//! Folders of chat logs: made for their owner only, and their names brought to the disk.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The entries of a folder; none when it is not there.
pub(super) fn list(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
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

/// Brings the names of a folder's files to the disk.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The folders that have to be synced for a file in `folder` to be found again, from that one up to the one that the data
/// folder is in: it, too, may have been made for this file.
pub(super) fn folders_to_sync(folder: &Path, data_dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = folder
        .ancestors()
        .take_while(|ancestor| ancestor.starts_with(data_dir) && *ancestor != data_dir)
        .chain([data_dir])
        .map(Path::to_owned)
        .collect();
    match data_dir.parent() {
        // A relative path of one part.
        Some(parent) if parent.as_os_str().is_empty() => all.push(PathBuf::from(".")),
        Some(parent) => all.push(parent.to_owned()),
        None => {}
    }
    all
}

/// Brings the names to the disk that lead to the files of `folder`. The folder around the data folder need not be readable
/// for whoever runs the server; whoever made the data folder in it has to see to that one then.
pub(super) fn sync_way_to(folder: &Path, data_dir: &Path) -> io::Result<()> {
    for one in folders_to_sync(folder, data_dir) {
        match sync_folder(&one) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !one.starts_with(data_dir) => {}
            synced => synced?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::folders_to_sync;

    #[test]
    fn every_folder_from_a_file_to_the_one_around_the_data_folder_is_synced() {
        for (folder, data_dir, expected) in [
            ("/a/data/x/y", "/a/data", &["/a/data/x/y", "/a/data/x", "/a/data", "/a"][..]),
            ("data/x", "data", &["data/x", "data", "."]),
            ("/a/data", "/a/data", &["/a/data", "/a"]),
        ] {
            let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(folders_to_sync(Path::new(folder), Path::new(data_dir)), expected);
        }
    }
}
