//! Proves how spools are shipped to folders: where to, when, and what becomes of them when their logging configuration is
//! changed or deleted.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use protocol::id::Id;
use protocol::limit::chat_log::BATCH_BYTES_MAX;
use protocol::time::Timestamp;
use tokio::time::{Instant, sleep, timeout};

use super::super::folder::FolderSink;
use super::super::sink::{ServiceSet, Sink};
use super::super::{ChatLogs, Shipping};
use super::{Process, RULES, id, note, note_at, scope};
use crate::aws::{AwsClient, AwsSettings};
use crate::outgoing::{Caller, Trust};
use crate::store::{Destination, Location, LoggingConfigurationChange, NewLoggingConfiguration, Store};
use crate::telemetry::Telemetry;

pub(super) const DEADLINE: Duration = Duration::from_secs(60);
pub(super) const WINDOW_S: u64 = 300;
/// A moment in a window that is long over.
const LONG_AGO: Timestamp = Timestamp::from_seconds(1_665_769_205);

fn sink(data_dir: &Path) -> Sink {
    let caller = Caller::new(Trust::from_variables(|_| None));
    let client = AwsClient::new(AwsSettings::from_variables([]), caller);
    Sink {
        folder: FolderSink::new(data_dir),
        client,
        are_aws: ServiceSet::default(),
        telemetry: Telemetry::default(),
    }
}

pub(super) async fn configuration(store: &Store, destination: Destination) -> Id {
    let new = NewLoggingConfiguration { name: String::new(), destination, tags: Default::default() };
    store.create_logging_configuration(&scope(), new).await.unwrap().id
}

fn ship(process: &Process, store: &Store, data_dir: &Path) -> Shipping {
    Shipping::start(process.spools.clone(), store.clone(), sink(data_dir), WINDOW_S, DEADLINE)
}

/// Waits for something that another thread brings about.
pub(super) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < end, "not in time: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

/// All files below a folder that have their name for good.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    let mut all: Vec<PathBuf> = entries.flat_map(|entry| below(entry.unwrap().path())).collect();
    all.retain(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.'));
    all
}

#[tokio::test]
async fn each_destination_gets_the_records_of_its_rooms_under_its_names() {
    let folder = tempfile::tempdir().unwrap();
    let (process, store) = (Process::start(folder.path()), Store::open(&Location::Memory).await.unwrap());
    let all = [
        configuration(&store, Destination::S3("bucket".to_owned())).await,
        configuration(&store, Destination::CloudWatchLogs("/aws/group".to_owned())).await,
        configuration(&store, Destination::Firehose("stream".to_owned())).await,
    ];
    let shipping = ship(&process, &store, folder.path());
    let mut lane = process.lane(0, RULES);
    for (room, text) in [(1, "a"), (2, "b"), (1, "c")] {
        note_at(&mut lane, room, &all, text, LONG_AGO).unwrap();
    }
    let destinations = folder.path().join("destinations");
    let stream = |room| {
        destinations.join(format!("cloudwatch-logs/aws/group/aws/IVSChatLogs/1.0/room_{}.ndjson", id(room)))
    };
    until("all streams", || {
        lines(&stream(1)) == 2
            && lines(&stream(2)) == 1
            && lines(&destinations.join("firehose/stream.ndjson")) == 3
    })
    .await;
    let bucket = destinations.join("s3/bucket");
    until("an object for each room", || files(&bucket).len() >= 2).await;
    for path in files(&bucket) {
        let path = path.to_str().unwrap();
        let form = format!(
            "AWSLogs/123456789012/IVSChatLogs/1.0/us-west-2/room_{}",
            &path[path.find("room_").unwrap() + 5..][..12]
        );
        assert!(
            path.contains(&form) && path.contains("/2022/10/14/17/") && path.contains("_20221014T1740Z_"),
            "{path}"
        );
        assert!(path.ends_with(".log.gz"));
    }
    let text = fs::read_to_string(stream(1)).unwrap();
    let expected =
        r#"{"event_timestamp":"2022-10-14T17:40:05.000Z","type":"MESSAGE","payload":"a","version":"1.0"}"#;
    assert_eq!(text.lines().next(), Some(expected));
    shipping.stop().await;
}

#[tokio::test]
async fn an_object_waits_for_the_end_of_its_window_or_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let (process, store) = (Process::start(folder.path()), Store::open(&Location::Memory).await.unwrap());
    let (s3, logs) = (
        configuration(&store, Destination::S3("bucket".to_owned())).await,
        configuration(&store, Destination::CloudWatchLogs("group".to_owned())).await,
    );
    // The window began in 1970, and ends when as much time has passed again.
    let now = crate::clock::now();
    let spools = process.spools.clone();
    let shipping =
        Shipping::start(spools, store.clone(), sink(folder.path()), 2 * now.as_seconds(), DEADLINE);
    let mut lane = process.lane(0, RULES);
    note_at(&mut lane, 1, &[s3, logs], "a", now).unwrap();
    let stream = folder
        .path()
        .join(format!("destinations/cloudwatch-logs/group/aws/IVSChatLogs/1.0/room_{}.ndjson", id(1)));
    until("the log stream", || lines(&stream) == 1).await;
    let bucket = folder.path().join("destinations/s3/bucket");
    assert_eq!(files(&bucket), [] as [PathBuf; 0], "more may come into the object");
    drop(lane);
    shipping.finish(DEADLINE).await;
    assert_eq!(files(&bucket).len(), 1, "nothing is left to wait for");
}

#[tokio::test]
async fn what_waits_goes_where_the_configuration_says_by_then() {
    let folder = tempfile::tempdir().unwrap();
    let (process, store) = (Process::start(folder.path()), Store::open(&Location::Memory).await.unwrap());
    let wrong = configuration(&store, Destination::CloudWatchLogs("wrong".to_owned())).await;
    // A file where the folder of this group belongs.
    fs::create_dir_all(folder.path().join("destinations/cloudwatch-logs")).unwrap();
    fs::write(folder.path().join("destinations/cloudwatch-logs/wrong"), b"").unwrap();
    let shipping = ship(&process, &store, folder.path());
    let mut lane = process.lane(0, RULES);
    note(&mut lane, 1, &[wrong], "a").unwrap();
    let errors = format!("grandstand_log_destination_errors_total{{logging_configuration=\"{wrong}\"}}");
    until("a failure", || process.spools.metrics.encode().unwrap().contains(&errors)).await;
    let change = LoggingConfigurationChange {
        name: None,
        destination: Some(Destination::CloudWatchLogs("right".to_owned())),
    };
    store.update_logging_configuration(&scope(), wrong, change).await.unwrap();
    process.spools.spool(&super::key(wrong)).hurried.notify_one();
    let stream = folder
        .path()
        .join(format!("destinations/cloudwatch-logs/right/aws/IVSChatLogs/1.0/room_{}.ndjson", id(1)));
    until("the right stream", || lines(&stream) == 1).await;
    shipping.stop().await;
}

#[tokio::test]
async fn what_is_left_of_a_deleted_configuration_goes_where_it_went_last() {
    let folder = tempfile::tempdir().unwrap();
    let (process, store) = (Process::start(folder.path()), Store::open(&Location::Memory).await.unwrap());
    let (kept, unknown) = (configuration(&store, Destination::Firehose("stream".to_owned())).await, id(99));
    let mut lane = process.lane(0, RULES);
    let stream = folder.path().join("destinations/firehose/stream.ndjson");
    let shipping = ship(&process, &store, folder.path());
    note(&mut lane, 1, &[kept], "a").unwrap();
    until("the first record", || lines(&stream) == 1).await;
    store.delete_logging_configuration(&scope(), kept).await.unwrap();
    note(&mut lane, 1, &[kept, unknown], "b").unwrap();
    until("the last record", || lines(&stream) == 2).await;
    until("the loss of what never had a destination", || process.lost(unknown) == 1).await;
    assert_eq!(process.lost(kept), 0);
    shipping.stop().await;
}

#[tokio::test]
async fn a_configuration_that_is_deleted_before_anything_was_shipped_still_has_a_destination() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Location::Memory).await.unwrap();
    let configuration = configuration(&store, Destination::Firehose("stream".to_owned())).await;
    let stream = folder.path().join("destinations/firehose/stream.ndjson");
    {
        let process = Process::start(folder.path());
        let logs = ChatLogs {
            spools: process.spools.clone(),
            syncer: process.syncer.clone(),
            rules: RULES,
            sink: sink(folder.path()),
            window_s: WINDOW_S,
        };
        note(&mut process.lane(0, RULES), 1, &[configuration], "a").unwrap();
        logs.configuration_goes(&store, &scope(), configuration).await;
        store.delete_logging_configuration(&scope(), configuration).await.unwrap();
    }
    // Also when the process ends before it ships anything.
    let process = Process::start(folder.path());
    let shipping = ship(&process, &store, folder.path());
    until("the record", || lines(&stream) == 1 || process.lost(configuration) > 0).await;
    assert_eq!(process.lost(configuration), 0);
    shipping.stop().await;
}

#[tokio::test]
async fn nothing_is_shipped_while_another_process_does_and_all_of_it_after_that() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Process::start(folder.path()), Process::start(folder.path()));
    let store = Store::open(&Location::Memory).await.unwrap();
    let configuration = configuration(&store, Destination::Firehose("stream".to_owned())).await;
    let stream = folder.path().join("destinations/firehose/stream.ndjson");
    let mut old_lane = old.lane(0, RULES);
    let first = ship(&old, &store, folder.path());
    note(&mut old_lane, 1, &[configuration], "1").unwrap();
    until("the first record", || lines(&stream) == 1).await;
    let second = ship(&new, &store, folder.path());
    first.stop().await;
    // The old process still writes: connections that it has not closed yet.
    note(&mut old_lane, 1, &[configuration], "2").unwrap();
    note(&mut new.lane(0, RULES), 1, &[configuration], "3").unwrap();
    drop((old_lane, old));
    until("all of it", || lines(&stream) == 3).await;
    let text = fs::read_to_string(stream).unwrap();
    let order: Vec<usize> =
        (1..4).map(|number| text.find(&format!("\"payload\":\"{number}\"")).unwrap()).collect();
    assert!(order.is_sorted(), "{text}");
    timeout(DEADLINE, second.stop()).await.unwrap();
}

#[tokio::test]
async fn a_destination_that_cannot_be_remembered_gets_its_records_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (process, store) = (Process::start(folder.path()), Store::open(&Location::Memory).await.unwrap());
    let configuration = configuration(&store, Destination::Firehose("stream".to_owned())).await;
    let mut lane = process.lane(0, RULES);
    note(&mut lane, 1, &[configuration], "a").unwrap();
    let spool = process.spools.spool(&super::key(configuration));
    // As on a full disk, the file cannot be made.
    let in_the_way = spool.folder.join("destination.json.new");
    fs::create_dir(&in_the_way).unwrap();
    let shipping = ship(&process, &store, folder.path());
    let stream = folder.path().join("destinations/firehose/stream.ndjson");
    until("the record", || lines(&stream) == 1).await;
    // This process knows it.
    store.delete_logging_configuration(&scope(), configuration).await.unwrap();
    note(&mut lane, 1, &[configuration], "b").unwrap();
    until("the record of the deleted configuration", || lines(&stream) == 2).await;
    shipping.stop().await;
}

#[test]
fn a_destination_that_was_remembered_is_not_written_down_again_by_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let destination = |name: &str| Destination::S3(name.to_owned());
    let spool = || Process::start(folder.path()).spools.spool(&super::key(id(1)));
    spool().remember(&destination("one")).unwrap();
    let next = spool();
    let in_the_way = next.folder.join("destination.json.new");
    fs::create_dir(&in_the_way).unwrap();
    next.remember(&destination("one")).unwrap();
    next.remember(&destination("two")).unwrap_err();
    assert_eq!(next.last_destination().unwrap(), Some(destination("two")));
    fs::remove_dir(in_the_way).unwrap();
    next.remember(&destination("two")).unwrap();
    assert_eq!(spool().last_destination().unwrap(), Some(destination("two")));
}

#[tokio::test]
async fn nothing_stays_of_a_deleted_configuration_that_has_nothing_left() {
    let folder = tempfile::tempdir().unwrap();
    let (process, store) = (Process::start(folder.path()), Store::open(&Location::Memory).await.unwrap());
    let stream = |name: &str| folder.path().join(format!("destinations/firehose/{name}.ndjson"));
    let mut all = Vec::new();
    for name in ["kept", "deleted"] {
        all.push(configuration(&store, Destination::Firehose(name.to_owned())).await);
    }
    let [kept, deleted] = all[..] else { panic!("there are two") };
    let mut lane = process.lane(0, RULES);
    let shipping = ship(&process, &store, folder.path());
    note(&mut lane, 1, &all, "a").unwrap();
    until("the records", || lines(&stream("kept")) == 1 && lines(&stream("deleted")) == 1).await;
    store.delete_logging_configuration(&scope(), deleted).await.unwrap();
    let spool = process.spools.spool(&super::key(deleted));
    // Minutes go by while nobody has anything to do; the store has a clock of its own.
    tokio::time::pause();
    for _ in 0..1_000 {
        sleep(Duration::from_secs(10)).await;
        store.get_logging_configuration(&scope(), kept).await.unwrap();
    }
    tokio::time::resume();
    until("its end", || process.spools.known_spool(&super::key(deleted)).is_none()).await;
    until("the end of its folder", || !spool.folder.exists()).await;
    assert!(process.spools.known_spool(&super::key(kept)).is_some());
    assert!(process.spools.spool(&super::key(kept)).folder.exists());
    // A room that has not heard of it yet.
    note(&mut lane, 1, &all, "b").unwrap();
    assert_eq!(process.spools.open_segments.load(Ordering::Relaxed), 2);
    until("the last record", || lines(&stream("kept")) == 2).await;
    until("the loss of what has no destination any more", || process.lost(deleted) == 1).await;
    shipping.stop().await;
    drop(lane);
    assert_eq!(process.spools.open_segments.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_small_spool_that_fills_does_not_wait_for_the_end_of_a_window() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::with_spools_of(folder.path(), 256 * 1_024);
    let store = Store::open(&Location::Memory).await.unwrap();
    let s3 = configuration(&store, Destination::S3("bucket".to_owned())).await;
    let now = crate::clock::now();
    let shipping = Shipping::start(
        process.spools.clone(),
        store.clone(),
        sink(folder.path()),
        2 * now.as_seconds(),
        DEADLINE,
    );
    let mut lanes = [process.lane(0, RULES), process.lane(1, RULES)];
    let text = "x".repeat(4_000);
    // More than half of it, and nothing is lost.
    for _ in 0..20 {
        for lane in &mut lanes {
            note_at(lane, 1, &[s3], &text, now).unwrap();
        }
    }
    until("objects", || !files(&folder.path().join("destinations/s3/bucket")).is_empty()).await;
    shipping.stop().await;
}

#[tokio::test]
async fn who_waits_for_a_window_does_not_look_all_the_time_and_hears_when_there_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let (process, store) = (Process::start(folder.path()), Store::open(&Location::Memory).await.unwrap());
    let s3 = configuration(&store, Destination::S3("bucket".to_owned())).await;
    let now = crate::clock::now();
    let spools = process.spools.clone();
    let shipping =
        Shipping::start(spools, store.clone(), sink(folder.path()), 2 * now.as_seconds(), DEADLINE);
    let mut lane = process.lane(0, RULES);
    note_at(&mut lane, 1, &[s3], "a", now).unwrap();
    let spool = process.spools.spool(&super::key(s3));
    until("a look", || spool.oldest_ms.load(Ordering::Relaxed) > 0).await;
    // Whoever looks says what is the oldest.
    spool.oldest_ms.store(0, Ordering::Relaxed);
    tokio::time::pause();
    sleep(Duration::from_secs(20)).await;
    tokio::time::resume();
    assert_eq!(spool.oldest_ms.load(Ordering::Relaxed), 0, "nothing has changed");
    let text = "x".repeat(200_000);
    for _ in 0..BATCH_BYTES_MAX.div_ceil(text.len()) {
        note_at(&mut lane, 1, &[s3], &text, now).unwrap();
    }
    until("an object", || files(&folder.path().join("destinations/s3/bucket")).len() == 1).await;
    shipping.stop().await;
}
