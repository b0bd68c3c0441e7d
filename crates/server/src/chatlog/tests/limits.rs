//! Proves that a spool keeps its limits: of disk, so that what is shipped makes place, and of descriptors.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use protocol::id::Id;
use protocol::limit::chat_log::SEGMENTS_OPEN_MAX;

use super::super::lane::Rules;
use super::{Process, RULES, id, key, note, ship_all};

#[test]
fn a_full_spool_takes_records_again_as_soon_as_they_are_shipped_however_small_it_is() {
    for bytes_max in [4_000, 64_000, 1_000_000] {
        let folder = tempfile::tempdir().unwrap();
        let process = Process::with_spools_of(folder.path(), bytes_max);
        let mut lanes = [process.lane(0, RULES), process.lane(1, RULES)];
        let spool = process.spools.spool(&key(id(1)));
        let text = "x".repeat(usize::try_from(bytes_max / 20).unwrap());
        let mut reader = process.reader(id(1));
        for round in 0..5 {
            let lost_before = process.lost(id(1));
            let mut noted = 0;
            while process.lost(id(1)) == lost_before {
                note(&mut lanes[noted % 2], 1, &[id(1)], &text).unwrap();
                noted += 1;
                assert!(spool.bytes() <= bytes_max && noted < 100);
            }
            assert!(noted >= 10, "round {round}: there was place for {noted} records only");
            assert_eq!(ship_all(&mut reader).len(), noted - 1);
        }
    }
}

#[test]
fn a_spool_that_rests_keeps_nothing_that_is_shipped() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let mut lane = process.lane(0, RULES);
    let spool = process.spools.spool(&key(id(1)));
    let mut reader = process.reader(id(1));
    for text in ["1", "2"] {
        note(&mut lane, 1, &[id(1)], text).unwrap();
        reader.retire().unwrap();
        assert_eq!(ship_all(&mut reader), [(id(1), text.to_owned())], "what is not shipped stays");
        assert_eq!(spool.segments().unwrap().len(), 1, "more may come soon");
        reader.retire().unwrap();
        assert_eq!((spool.segments().unwrap().len(), spool.bytes()), (0, 0));
        let on_disk: u64 = open_files(folder.path())
            .iter()
            .map(|file| fs::metadata(file).map_or(0, |file| file.len()))
            .sum();
        assert_eq!(on_disk, 0, "nor does a file that the shard has open");
    }
}

/// The files below a folder that this process has open, where the system shows them.
fn open_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let open = open.map(|entry| entry.unwrap().path());
    open.filter(|file| fs::read_link(file).is_ok_and(|target| target.starts_with(folder))).collect()
}

#[test]
fn however_many_spools_are_written_to_few_files_are_open_and_none_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let configurations: Vec<Id> = (0..SEGMENTS_OPEN_MAX as u128 + 50).map(id).collect();
    let mut lane = process.lane(0, Rules { refuses: true, ..RULES });
    for round in ["1", "2", "3"] {
        for three in configurations.chunks(3) {
            note(&mut lane, 1, three, round).unwrap();
            assert!(process.spools.open_segments.load(Ordering::Relaxed) <= SEGMENTS_OPEN_MAX + 1);
        }
    }
    // Beside those: the lock of the generation, and one that the syncer syncs.
    assert!(open_files(folder.path()).len() <= SEGMENTS_OPEN_MAX + 4);
    for configuration in &configurations {
        assert_eq!(process.spools.spool(&key(*configuration)).segments().unwrap().len(), 1);
        let texts: Vec<String> =
            ship_all(&mut process.reader(*configuration)).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["1", "2", "3"]);
    }
    drop(lane);
    assert_eq!(process.spools.open_segments.load(Ordering::Relaxed), 0);
}

#[test]
fn damage_costs_the_record_that_it_is_in_and_is_counted_once() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let mut lane = process.lane(0, RULES);
    for text in ["1", "2", "3"] {
        note(&mut lane, 1, &[id(1)], text).unwrap();
    }
    let spool = process.spools.spool(&key(id(1)));
    let (name, length) = spool.segments().unwrap().remove(0);
    let path = spool.folder.join(name.to_string());
    let mut bytes = fs::read(&path).unwrap();
    let record = (length - 8) / 3;
    bytes[usize::try_from(8 + record + record / 2).unwrap()] ^= 1;
    fs::write(&path, bytes).unwrap();
    let mut reader = process.reader(id(1));
    // A destination that takes nothing lets it be read over and over.
    for _ in 0..3 {
        let stretch = reader.look().unwrap().remove(0);
        let batch = reader.read(&stretch, &super::EVERYTHING).unwrap();
        assert_eq!(batch.records.len(), 2);
    }
    let texts: Vec<String> = ship_all(&mut reader).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["1", "3"]);
    assert_eq!(process.metric("damaged_bytes_total"), record);
}

#[test]
fn what_somebody_has_linked_to_somewhere_else_is_not_emptied() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let mut lane = process.lane(0, RULES);
    note(&mut lane, 1, &[id(1)], "1").unwrap();
    let spool = process.spools.spool(&key(id(1)));
    let path = spool.folder.join(spool.segments().unwrap()[0].0.to_string());
    let (kept, bytes) = (folder.path().join("kept"), fs::read(&path).unwrap());
    fs::hard_link(&path, &kept).unwrap();
    let mut reader = process.reader(id(1));
    assert_eq!(ship_all(&mut reader).len(), 1);
    reader.retire().unwrap();
    assert!(!path.exists());
    assert_eq!(fs::read(kept).unwrap(), bytes);
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_whose_name_cannot_be_brought_to_the_disk_is_not_left_for_each_record() {
    use std::os::fd::AsRawFd;

    let folder = tempfile::tempdir().unwrap();
    let open = fs::File::open(folder.path()).unwrap();
    // The folder around it is none that can be synced.
    let process = Process::start(Path::new(&format!("/proc/self/fd/{}", open.as_raw_fd())));
    let mut lane = process.lane(0, Rules { syncs_always: true, ..RULES });
    for lost in 1..4 {
        note(&mut lane, 1, &[id(1)], "it is lost").unwrap();
        assert_eq!(process.lost(id(1)), lost);
    }
    let spool = process.spools.spool(&key(id(1)));
    assert_eq!((spool.bytes(), spool.segments().unwrap().len()), (0, 0));
}
