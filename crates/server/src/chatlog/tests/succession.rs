//! Proves who may read and remove what, when processes take each other's place: their order, what one has not published, and
//! the turn to ship.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::super::lane::Rules;
use super::super::reader::Reader;
use super::super::record::{LENGTH_BYTES, encode, withheld_length};
use super::super::spool::BegunSegment;
use super::{Process, RULES, id, key, note, ship_all};

/// What a spool of the process has on disk.
fn only_segment(process: &Process) -> std::path::PathBuf {
    let spool = process.spools.spool(&key(id(1)));
    let (name, _) = spool.segments().unwrap().remove(0);
    spool.folder.join(name.to_string())
}

/// As a power cut may do it: they were never synced.
fn lose_locks(data_dir: &Path) {
    for entry in fs::read_dir(data_dir.join("chatlog")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "lock") {
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn no_later_generation_is_read_while_an_earlier_one_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Process::start(folder.path()), Process::start(folder.path()));
    let (mut old_lane, mut new_lane) = (old.lane(0, RULES), new.lane(1, RULES));
    note(&mut old_lane, 1, &[id(1)], "1").unwrap();
    note(&mut new_lane, 1, &[id(1)], "3").unwrap();
    let mut reader = new.reader(id(1));
    assert_eq!(ship_all(&mut reader).len(), 1);
    note(&mut old_lane, 1, &[id(1)], "2").unwrap();
    assert_eq!(ship_all(&mut reader), [(id(1), "2".to_owned())]);
    drop((old_lane, old));
    assert_eq!(ship_all(&mut reader), [(id(1), "3".to_owned())]);
}

#[test]
fn only_one_process_ships() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Process::start(folder.path()), Process::start(folder.path()));
    assert!(old.spools.try_to_ship().unwrap().is_none(), "there is nothing to ship");
    note(&mut old.lane(0, RULES), 1, &[id(1)], "1").unwrap();
    let lock = old.spools.try_to_ship().unwrap();
    assert!(lock.is_some() && new.spools.try_to_ship().unwrap().is_none());
    drop(lock);
    assert!(new.spools.try_to_ship().unwrap().is_some());
}

#[test]
fn the_old_process_comes_first_though_the_new_one_is_the_first_to_publish() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Process::start(folder.path()), Process::start(folder.path()));
    let (mut old_lane, mut new_lane) = (old.lane(0, RULES), new.lane(0, RULES));
    old.spools.give_way();
    note(&mut new_lane, 1, &[id(1)], "2").unwrap();
    let mut reader = new.reader(id(1));
    assert_eq!(ship_all(&mut reader), [], "the old process may still publish something");
    note(&mut old_lane, 1, &[id(1)], "1").unwrap();
    assert_eq!(ship_all(&mut reader), [(id(1), "1".to_owned())]);
    drop((old_lane, old));
    assert_eq!(ship_all(&mut reader), [(id(1), "2".to_owned())]);
}

#[test]
fn who_has_given_way_without_a_generation_gets_none_until_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let mut lane = process.lane(0, RULES);
    // A file where a folder belongs.
    let in_the_way = folder.path().join("chatlog");
    fs::write(&in_the_way, b"").unwrap();
    process.spools.give_way();
    fs::remove_file(in_the_way).unwrap();
    note(&mut lane, 1, &[id(1)], "it would come behind those of the next process").unwrap();
    assert_eq!(process.lost(id(1)), 1);
    process.spools.go_on();
    note(&mut lane, 1, &[id(1)], "kept").unwrap();
    assert_eq!(ship_all(&mut process.reader(id(1))), [(id(1), "kept".to_owned())]);
}

/// Starts another process that takes over, notes a text, and ends before it was ready; the old one goes on.
fn fail_to_take_over(old: &Process, data_dir: &Path, text: &str) {
    old.spools.give_way();
    let new = Process::start(data_dir);
    note(&mut new.lane(0, RULES), 1, &[id(1)], text).unwrap();
    drop(new);
    old.spools.go_on();
}

#[test]
fn what_a_process_has_logged_that_did_not_take_over_arrives_where_it_belongs_while_the_old_one_lives() {
    for is_shipped_before in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let old = Process::start(folder.path());
        let (mut lane, mut silent_lane) = (old.lane(0, RULES), old.lane(1, RULES));
        note(&mut silent_lane, 2, &[id(1)], "0").unwrap();
        note(&mut lane, 1, &[id(1)], "1").unwrap();
        let mut arrived = Vec::new();
        if is_shipped_before {
            arrived.extend(ship_all(&mut old.reader(id(1))));
        }
        for texts in [["2", "3"], ["4", "5"]] {
            fail_to_take_over(&old, folder.path(), texts[0]);
            note(&mut lane, 1, &[id(1)], texts[1]).unwrap();
        }
        // Whoever ships.
        let other = Process::start(folder.path());
        arrived.extend(ship_all(&mut if is_shipped_before { &other } else { &old }.reader(id(1))));
        let texts: Vec<String> = arrived.iter().map(|(_, text)| text.clone()).collect();
        let in_order: Vec<&String> = texts.iter().filter(|text| *text != "0").collect();
        assert_eq!(in_order, ["1", "2", "3", "4", "5"]);
        assert_eq!(texts.len(), 6, "the one of the lane that says nothing more, too");
        note(&mut silent_lane, 2, &[id(1)], "6").unwrap();
        assert_eq!(ship_all(&mut old.reader(id(1))), [(id(2), "6".to_owned())]);
    }
}

#[test]
fn who_goes_on_behind_a_process_that_has_logged_nothing_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let old = Process::start(folder.path());
    let mut lane = old.lane(0, RULES);
    note(&mut lane, 1, &[id(1)], "1").unwrap();
    old.spools.give_way();
    drop(Process::start(folder.path()));
    old.spools.go_on();
    note(&mut lane, 1, &[id(1)], "2").unwrap();
    assert_eq!(old.spools.spool(&key(id(1))).segments().unwrap().len(), 1);
}

#[test]
fn a_record_that_is_being_written_while_the_process_goes_on_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let old = Process::start(folder.path());
    let spool = old.spools.spool(&key(id(1)));
    let BegunSegment { segment, file, .. } = old.spools.begin_segment(&spool, 0, 1).unwrap();
    fail_to_take_over(&old, folder.path(), "2");
    let mut bytes = Vec::new();
    encode(id(1), 5, 1, r#"{"payload":"1"}"#, &mut bytes);
    file.write_all_at(&bytes, segment.committed_bytes()).unwrap();
    let mut reader = old.reader(id(1));
    assert_eq!(ship_all(&mut reader), [], "it may still be published");
    segment.end(bytes.len() as u64);
    assert!(!segment.begin(), "it was the last");
    segment.end(0);
    old.spools.release_earlier();
    assert_eq!(ship_all(&mut reader), [(id(1), "1".to_owned()), (id(1), "2".to_owned())]);
}

#[test]
fn no_generation_is_used_again_though_its_lock_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let numbers = || (0..4).map(|number| (id(1), number.to_string())).collect::<Vec<_>>();
    // Once with segments that are left, and once with nothing but what is noted of their shipping.
    for is_shipped in [false, true] {
        let mut arrived = Vec::new();
        for number in 0..4 {
            let process = Process::start(folder.path());
            let mut lane = process.lane(0, RULES);
            if is_shipped {
                // So that the place that is noted is far from the beginning.
                for _ in 0..number {
                    note(&mut lane, 9, &[id(2)], "of another room").unwrap();
                }
            }
            note(&mut lane, 1, &[id(1)], &number.to_string()).unwrap();
            if is_shipped {
                arrived.extend(ship_all(&mut process.reader(id(1))));
            }
            drop((lane, process));
            lose_locks(folder.path());
        }
        arrived.extend(ship_all(&mut Process::start(folder.path()).reader(id(1))));
        assert_eq!(arrived, numbers());
    }
}

#[test]
fn what_another_process_has_not_published_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, reader) = (Process::start(folder.path()), Process::start(folder.path()));
    let mut lane = writer.lane(0, Rules { refuses: true, ..RULES });
    note(&mut lane, 1, &[id(1)], "first").unwrap();
    let path = only_segment(&writer);
    let before = fs::read(&path).unwrap();
    // A record of which another spool has not taken its part yet, as the lane writes it.
    let mut withheld = Vec::new();
    encode(id(1), 5, 2, r#"{"payload":"taken back"}"#, &mut withheld);
    let length = withheld_length(&withheld);
    withheld[..LENGTH_BYTES].copy_from_slice(&length);
    fs::write(&path, [&before[..], &withheld].concat()).unwrap();
    let mut shipping = reader.reader(id(1));
    assert_eq!(ship_all(&mut shipping), [(id(1), "first".to_owned())]);
    // It is taken back, and the next one is in its place.
    fs::write(&path, before).unwrap();
    note(&mut lane, 1, &[id(1)], &"longer than what was there before it".repeat(10)).unwrap();
    assert_eq!(ship_all(&mut shipping).len(), 1);
    drop((lane, writer));
    assert_eq!(ship_all(&mut shipping), []);
    assert_eq!(reader.metric("damaged_bytes_total"), 0);
}

#[test]
fn a_record_that_was_synced_and_not_yet_published_when_the_power_was_cut_counts() {
    let folder = tempfile::tempdir().unwrap();
    {
        let process = Process::start(folder.path());
        note(&mut process.lane(0, Rules { syncs_always: true, ..RULES }), 1, &[id(1)], "synced").unwrap();
        // That it is published was written later, and not synced.
        let mut bytes = fs::read(only_segment(&process)).unwrap();
        let length = withheld_length(&bytes[8..]);
        bytes[8..8 + LENGTH_BYTES].copy_from_slice(&length);
        fs::write(only_segment(&process), bytes).unwrap();
    }
    assert_eq!(ship_all(&mut Process::start(folder.path()).reader(id(1))), [(id(1), "synced".to_owned())]);
}

#[test]
fn the_turn_to_ship_ends_with_the_last_work_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Process::start(folder.path()), Process::start(folder.path()));
    note(&mut old.lane(0, RULES), 1, &[id(1)], "1").unwrap();
    let turn = Arc::new(old.spools.try_to_ship().unwrap().unwrap());
    let spool = old.spools.spool(&key(id(1)));
    // A worker that was cut off has work under way in its reader.
    let under_way = Reader::open(old.spools, spool, Some(Arc::clone(&turn))).unwrap();
    drop(turn);
    assert!(new.spools.try_to_ship().unwrap().is_none());
    drop(under_way);
    assert!(new.spools.try_to_ship().unwrap().is_some());
}
