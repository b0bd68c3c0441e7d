//! Proves that a tail shows what is published, once and in order, however fast it is shipped and removed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use protocol::limit::chat_log::TAIL_BYTES_MAX;

use super::super::Tail;
use super::super::record::{LENGTH_BYTES, withheld_length};
use super::{Process, RULES, id, key, note, scope, ship_all};

/// What records say.
fn said(records: &[Box<str>]) -> Vec<String> {
    let text = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap()["payload"].clone();
    records.iter().map(|json| text(json).as_str().unwrap().to_owned()).collect()
}

/// What tails have in their folders.
fn kept(data_dir: &Path) -> usize {
    let folders = fs::read_dir(data_dir.join("chatlog")).unwrap().map(|entry| entry.unwrap().path());
    let tails = folders.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("tail-"));
    tails.map(|folder| fs::read_dir(folder).unwrap().count()).sum()
}

/// A tail of the first room.
fn tail_of(data_dir: &Path) -> std::io::Result<Tail> {
    Tail::new(data_dir, &scope(), id(1), fs::metadata(data_dir).unwrap().uid())
}

#[test]
fn a_tail_shows_each_record_of_its_room_once_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let mut lane = process.lane(0, RULES);
    let (one, other) = (id(1), id(2));
    note(&mut lane, 1, &[one, other], "before").unwrap();
    let mut tail = tail_of(folder.path()).unwrap();
    for text in ["a", "b"] {
        note(&mut lane, 1, &[one, other], text).unwrap();
        note(&mut lane, 2, &[one], "of another room").unwrap();
    }
    assert_eq!(said(&tail.new_records().unwrap()), ["a", "b"]);
    assert!(tail.new_records().unwrap().is_empty());
    // Another process, and with it another generation.
    note(&mut Process::start(folder.path()).lane(0, RULES), 1, &[other], "c").unwrap();
    note(&mut lane, 1, &[one], "d").unwrap();
    let mut last = said(&tail.new_records().unwrap());
    last.sort_unstable();
    assert_eq!(last, ["c", "d"]);
}

#[test]
fn a_tail_shows_once_and_in_order_what_is_published_when_nobody_has_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let old = Process::start(folder.path());
    let mut lane = old.lane(0, RULES);
    let both = [id(1), id(2)];
    let mut tail = tail_of(folder.path()).unwrap();
    note(&mut lane, 1, &both, "1").unwrap();
    old.spools.give_way();
    note(&mut Process::start(folder.path()).lane(0, RULES), 1, &both, "2").unwrap();
    old.spools.go_on();
    note(&mut lane, 1, &both, "3").unwrap();
    assert_eq!(ship_all(&mut old.reader(id(1))).len(), 3);
    assert_eq!(said(&tail.new_records().unwrap()), ["1", "2", "3"]);
    assert_eq!(ship_all(&mut old.reader(id(2))).len(), 3);
    assert!(tail.new_records().unwrap().is_empty());
}

#[test]
fn what_is_shipped_and_removed_between_two_looks_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    // So small that each record has a segment of its own, which is removed when it is shipped.
    let process = Process::with_spools_of(folder.path(), 4_000);
    let mut lane = process.lane(0, RULES);
    let mut reader = process.reader(id(1));
    let mut tail = tail_of(folder.path()).unwrap();
    let mut expected = Vec::new();
    for number in 0..100 {
        note(&mut lane, 1, &[id(1)], &number.to_string()).unwrap();
        expected.push(number.to_string());
        assert_eq!(ship_all(&mut reader).len(), 1);
    }
    let spool = process.spools.spool(&key(id(1)));
    assert_eq!(spool.segments().unwrap(), [], "nothing is left to be read in the spool");
    // And some that is still there.
    note(&mut lane, 1, &[id(1)], "last").unwrap();
    expected.push("last".to_owned());
    assert_eq!(said(&tail.new_records().unwrap()), expected);
    assert!(!tail.has_missed().unwrap());
    assert_eq!(kept(folder.path()), 1, "its lock: what was shown is not kept");
    drop(tail);
    assert_eq!(kept(folder.path()), 0);
}

#[test]
fn a_tail_that_does_not_look_keeps_so_much_and_says_that_it_missed_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let mut lane = process.lane(0, RULES);
    let mut reader = process.reader(id(1));
    let mut tail = tail_of(folder.path()).unwrap();
    let text = "x".repeat(250_000);
    let count = usize::try_from(TAIL_BYTES_MAX).unwrap() * 3 / 2 / text.len();
    for _ in 0..count {
        note(&mut lane, 1, &[id(1)], &text).unwrap();
    }
    assert_eq!(ship_all(&mut reader).len(), count);
    let shown = tail.new_records().unwrap().len();
    assert!((count / 2..count).contains(&shown), "{shown} of {count}");
    assert!(tail.has_missed().unwrap());
    assert!(!tail.has_missed().unwrap(), "it is told once");
    note(&mut lane, 1, &[id(1)], "later").unwrap();
    assert_eq!(said(&tail.new_records().unwrap()), ["later"]);
}

#[test]
fn a_tail_shows_nothing_that_is_not_published() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    let mut lane = process.lane(0, RULES);
    let mut tail = tail_of(folder.path()).unwrap();
    note(&mut lane, 1, &[id(1)], "a").unwrap();
    let spool = process.spools.spool(&key(id(1)));
    let path = spool.folder.join(spool.segments().unwrap()[0].0.to_string());
    let published = fs::read(&path).unwrap();
    let mut withheld = published.clone();
    let length = withheld_length(&published[8..]);
    withheld[8..8 + LENGTH_BYTES].copy_from_slice(&length);
    fs::write(&path, withheld).unwrap();
    assert!(tail.new_records().unwrap().is_empty());
    fs::write(&path, published).unwrap();
    assert_eq!(said(&tail.new_records().unwrap()), ["a"]);
}

#[test]
fn what_a_killed_tail_has_left_is_removed_by_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path());
    note(&mut process.lane(0, RULES), 1, &[id(1)], "a").unwrap();
    let left = folder.path().join("chatlog/tail-of-a-process-that-was-killed");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("lock"), b"").unwrap();
    let [killed, beginning] =
        ["killed", "beginning"].map(|name| folder.path().join(format!("chatlog/new-tail-{name}")));
    for unfinished in [&killed, &beginning] {
        fs::create_dir(unfinished).unwrap();
    }
    let long_ago = SystemTime::now() - Duration::from_secs(90);
    fs::File::open(&killed).unwrap().set_modified(long_ago).unwrap();
    let tail = tail_of(folder.path()).unwrap();
    assert!(!left.exists() && !killed.exists());
    assert!(beginning.exists(), "it may get its lock in a moment");
    assert_eq!(kept(folder.path()), 1);
    drop(tail);
}

#[test]
fn who_is_not_the_user_of_the_server_is_told_who_that_is_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("grandstand.db"), b"").unwrap();
    let owner = fs::metadata(folder.path()).unwrap().uid();
    for is_logged in [false, true] {
        let process = Process::start(folder.path());
        if is_logged {
            note(&mut process.lane(0, RULES), 1, &[id(1)], "a").unwrap();
        }
        let refused = Tail::new(folder.path(), &scope(), id(1), owner + 1).err().unwrap();
        assert!(refused.to_string().contains(&format!("the id {owner}")), "{refused}");
        assert_eq!(folder.path().join("chatlog").exists(), is_logged);
    }
    assert_eq!(kept(folder.path()), 0);
    tail_of(folder.path()).unwrap();
}

#[test]
fn a_tail_whose_lock_cannot_be_looked_at_keeps_what_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::with_spools_of(folder.path(), 4_000);
    note(&mut process.lane(0, RULES), 1, &[id(1)], "a").unwrap();
    // A link that leads to itself cannot be opened, whoever asks.
    let tail = folder.path().join("chatlog/tail-of-somebody");
    fs::create_dir(&tail).unwrap();
    std::os::unix::fs::symlink("lock", tail.join("lock")).unwrap();
    assert_eq!(ship_all(&mut process.reader(id(1))).len(), 1);
    process.reader(id(1)).look().unwrap();
    assert_eq!(kept(folder.path()), 2, "its lock, and what it has not seen");
}
