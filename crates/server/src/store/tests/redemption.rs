//! A chat token is used once: under race, across restarts and kills, with torn files and full disks.

use std::fs::{self, OpenOptions};
use std::future::{Future, poll_fn};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::task::Poll;

use tempfile::TempDir;

use super::super::{Location, Settings, Store};
use super::{benches, is_unavailable, open, redeem};

const TOKENS: u128 = 200;
const RACERS: usize = 50;
const MINUTE: i64 = 60_000_000;

/// Expiries that fall into several buckets. A token has one expiry, however often it is asked for.
fn expiry(token_id: u128) -> i64 {
    static NOW: LazyLock<i64> = LazyLock::new(|| crate::clock::now().as_micros());
    *NOW + i64::try_from(token_id % 4).unwrap() * 15 * MINUTE
}

async fn race(store: &Store) -> usize {
    let mut racers = Vec::new();
    for _ in 0..RACERS {
        let store = store.clone();
        racers.push(tokio::spawn(async move {
            let mut won = 0;
            for token_id in 0..TOKENS {
                won += usize::from(redeem(&store, token_id, expiry(token_id)).await.unwrap());
            }
            won
        }));
    }
    let mut winners = 0;
    for racer in racers {
        winners += racer.await.unwrap();
    }
    winners
}

fn bucket_files(folder: &TempDir) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.path().join("redemptions")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_racers_for_each_of_two_hundred_tokens_one_wins() {
    for bench in benches().await {
        assert_eq!(race(&bench.store).await, 200);
        assert_eq!(race(&bench.store).await, 0);
    }
}

/// A copy of the files of a running store is what a `kill -9` leaves.
#[tokio::test]
async fn a_used_token_stays_used_after_a_close_a_drop_and_a_kill() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await;
    assert_eq!(race(&store).await, 200);
    let killed = TempDir::new().unwrap();
    fs::create_dir(killed.path().join("redemptions")).unwrap();
    for file in bucket_files(&folder) {
        fs::copy(&file, killed.path().join("redemptions").join(file.file_name().unwrap())).unwrap();
    }
    assert_eq!(race(&open(killed.path()).await).await, 0);
    store.close().await;
    drop(store);
    for _ in 0..2 {
        assert_eq!(race(&open(folder.path()).await).await, 0);
    }
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_what_follows_is_kept() {
    for torn_bytes in [1, 23, 24, 25, 4_096] {
        let folder = TempDir::new().unwrap();
        let expires = expiry(0);
        let store = open(folder.path()).await;
        assert_eq!(redeem(&store, 1, expires).await, Ok(true));
        store.close().await;
        let file = bucket_files(&folder).remove(0);
        // Zeros are what a block reads as that a power cut kept from the disk.
        OpenOptions::new().append(true).open(&file).unwrap().write_all(&vec![0; torn_bytes]).unwrap();
        let store = open(folder.path()).await;
        assert_eq!(redeem(&store, 1, expires).await, Ok(false));
        assert_eq!(redeem(&store, 2, expires).await, Ok(true));
        store.close().await;
        let store = open(folder.path()).await;
        assert_eq!(redeem(&store, 2, expires).await, Ok(false), "after {torn_bytes} torn bytes");
        assert_eq!(redeem(&store, 0, expires).await, Ok(true), "zeros are no token");
    }
}

#[tokio::test]
async fn a_bucket_is_dropped_whole_when_it_is_past_and_its_tokens_stay_refused() {
    let clock = Arc::new(AtomicI64::new(1_700_000_000_000_000));
    let now = Arc::clone(&clock);
    let settings = Settings { now: Arc::new(move || now.load(Relaxed)), ..Settings::default() };
    let folder = TempDir::new().unwrap();
    let location = Location::Folder(folder.path().to_owned());
    let store = Store::open_with(&location, settings).await.unwrap();
    let start = clock.load(Relaxed);
    assert_eq!(redeem(&store, 1, start + MINUTE).await, Ok(true));
    assert_eq!(bucket_files(&folder).len(), 1);
    clock.fetch_add(60 * MINUTE, Relaxed);
    assert_eq!(redeem(&store, 2, start + 61 * MINUTE).await, Ok(true));
    let left = bucket_files(&folder);
    assert_eq!(left.len(), 1, "the new bucket took the place of the old");
    assert_eq!(redeem(&store, 1, start + MINUTE).await, Ok(false));
    clock.fetch_add(-60 * MINUTE, Relaxed);
    assert_eq!(redeem(&store, 1, start + MINUTE).await, Ok(false), "even when the clock steps back");
    assert_eq!(redeem(&store, 3, start + MINUTE).await, Ok(false), "it might have been used");
}

#[tokio::test]
async fn a_redemption_that_cannot_be_written_lets_nobody_in() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await;
    let redemptions = folder.path().join("redemptions");
    fs::remove_dir(&redemptions).unwrap();
    let expires = expiry(0);
    assert!(is_unavailable(&redeem(&store, 1, expires).await));
    assert!(is_unavailable(&redeem(&store, 1, expires).await), "and not the next one either");
    fs::create_dir(&redemptions).unwrap();
    assert_eq!(redeem(&store, 1, expires).await, Ok(true), "it recovers when the cause goes");
    assert_eq!(redeem(&store, 1, expires).await, Ok(false));
}

#[tokio::test]
async fn a_token_is_not_used_up_by_who_hangs_up_while_it_cannot_be_written() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path()).await;
    let redemptions = folder.path().join("redemptions");
    fs::remove_dir(&redemptions).unwrap();
    let expires = expiry(0);
    for token_id in 0..TOKENS {
        let mut given_up = pin!(redeem(&store, token_id, expires));
        // It is under way now, and nearly always nobody is there any more when it ends.
        let begun = poll_fn(|context| Poll::Ready(given_up.as_mut().poll(context))).await;
        assert!(!matches!(begun, Poll::Ready(Ok(_))));
    }
    // Redemptions are written in order, so those before have failed when this one has.
    assert!(is_unavailable(&redeem(&store, TOKENS, expires).await));
    fs::create_dir(&redemptions).unwrap();
    for token_id in 0..TOKENS {
        assert_eq!(redeem(&store, token_id, expires).await, Ok(true));
    }
}

#[tokio::test]
async fn what_somebody_else_put_into_the_folder_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let expires = expiry(0);
    let store = open(folder.path()).await;
    assert_eq!(redeem(&store, 1, expires).await, Ok(true));
    store.close().await;
    let redemptions = folder.path().join("redemptions");
    // A bucket of long ago, and one of this very hour, if they were files.
    let strays = ["600", "9999999999600", "lost+found"].map(|name| redemptions.join(name));
    for stray in &strays {
        fs::create_dir(stray).unwrap();
    }
    let files = ["7", "1700000401", "notes.txt"].map(|name| redemptions.join(name));
    for file in &files {
        fs::write(file, "theirs").unwrap();
    }
    let store = open(folder.path()).await;
    assert_eq!(redeem(&store, 1, expires).await, Ok(false));
    assert!(strays.iter().all(|stray| stray.is_dir()));
    assert!(files.iter().all(|file| fs::read(file).unwrap() == b"theirs"));
}

#[tokio::test]
async fn a_bucket_that_cannot_be_read_stops_the_start_and_is_named() {
    let folder = TempDir::new().unwrap();
    open(folder.path()).await.close().await;
    // Without it, used tokens would work again. Nobody can open a link to itself, not even root.
    let bucket = folder.path().join("redemptions/9999999999600");
    symlink(&bucket, &bucket).unwrap();
    let location = Location::Folder(folder.path().to_owned());
    let refused = Store::open_with(&location, Settings::default()).await.err().unwrap();
    assert!(refused.to_string().contains(bucket.to_str().unwrap()), "{refused}");
}
