//! Proves what a destination gets that does not take everything at once: nothing twice, and all of it in the end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::id::Id;
use protocol::limit::chat_log::{
    BATCH_BYTES_MAX, LOG_EVENTS_SPAN_MS_MAX, SHIPMENT_UNIT_BYTES, SHIPMENT_UNITS_MAX,
};
use protocol::time::Timestamp;
use serde_json::{Value, json};

use super::fake::{self, Answer, all_taken, texts, throttled};
use super::shipping::{DEADLINE, WINDOW_S, configuration, until};
use super::{Process, RULES, id, note, note_at};
use crate::chatlog::{Shipping, lock};
use crate::store::{Destination, Location, Store};

/// A throttled delivery stream takes this many calls, and then refuses so many.
const CALLS_TAKEN: usize = 7;
const CALLS_REFUSED: usize = 2;

#[tokio::test]
async fn a_throttled_stream_gets_every_record_of_all_lanes_once() {
    let folder = tempfile::tempdir().unwrap();
    let (process, store) = (Process::start(folder.path()), Store::open(&Location::Memory).await.unwrap());
    let configuration: Id = configuration(&store, Destination::Firehose("stream".to_owned())).await;
    let mut lanes = [process.lane(0, RULES), process.lane(1, RULES)];
    // Twenty calls for each lane: 500 records are taken by one.
    for number in 0..10_000 {
        for (index, lane) in lanes.iter_mut().enumerate() {
            note(lane, index as u128, &[configuration], &format!("{index} {number}")).unwrap();
        }
    }
    let [busy, other] = lanes;
    let busy = Mutex::new(busy);
    let (arrived, noted) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(20_000)));
    let (calls, spring) = (AtomicUsize::new(0), Arc::clone(&noted));
    let shelf = Arc::clone(&arrived);
    let sink = fake::sink(move |request| {
        if calls.fetch_add(1, Ordering::Relaxed) % (CALLS_TAKEN + CALLS_REFUSED) >= CALLS_TAKEN {
            // There is always something in the first lane, too.
            if spring.load(Ordering::Relaxed) < 20_040 {
                note(
                    &mut lock(&busy),
                    0,
                    &[configuration],
                    &format!("0 more {}", spring.load(Ordering::Relaxed)),
                )
                .unwrap();
                spring.fetch_add(1, Ordering::Relaxed);
            }
            return throttled();
        }
        lock(&shelf).extend(texts(request));
        all_taken(request)
    })
    .await;
    let shipping = Shipping::start(process.spools.clone(), store, sink, WINDOW_S, DEADLINE);
    let is_there = |text: &str| lock(&arrived).iter().any(|arrived| arrived == text);
    until("the last record of each lane", || is_there("0 9999") && is_there("1 9999")).await;
    until("all records", || lock(&arrived).len() >= noted.load(Ordering::Relaxed)).await;
    shipping.stop().await;
    let mut all = std::mem::take(&mut *lock(&arrived));
    for lane in ["0", "1"] {
        let numbers =
            all.iter().filter_map(|text| text.strip_prefix(&format!("{lane} "))?.parse::<u32>().ok());
        assert!(numbers.is_sorted(), "the records of a room are in order");
    }
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(count, all.len(), "none comes twice");
    drop(other);
}

#[tokio::test]
async fn a_lane_whose_records_are_refused_holds_back_no_other_one() {
    let folder = tempfile::tempdir().unwrap();
    let (process, store) = (Process::start(folder.path()), Store::open(&Location::Memory).await.unwrap());
    let configuration = configuration(&store, Destination::Firehose("stream".to_owned())).await;
    let mut lanes = [process.lane(0, RULES), process.lane(1, RULES), process.lane(2, RULES)];
    for (lane, text) in lanes.iter_mut().zip(["refused", "1", "2"]) {
        note(lane, 1, &[configuration], text).unwrap();
    }
    let (arrived, is_mended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let (shelf, switch) = (Arc::clone(&arrived), Arc::clone(&is_mended));
    let sink = fake::sink(move |request| {
        let texts = texts(request);
        if texts[0] == "refused" && !switch.load(Ordering::Relaxed) {
            return throttled();
        }
        lock(&shelf).extend(texts);
        all_taken(request)
    })
    .await;
    let shipping = Shipping::start(process.spools.clone(), store, sink, WINDOW_S, DEADLINE);
    until("the records of the others", || lock(&arrived).len() == 2).await;
    is_mended.store(true, Ordering::Relaxed);
    until("the other record", || lock(&arrived).len() == 3).await;
    shipping.stop().await;
    assert_eq!(*lock(&arrived), ["1", "2", "refused"]);
    assert_eq!(process.lost(id(1)), 0);
}

/// What the events of a PutLogEvents say, with their times.
fn events(request: &Value) -> Vec<(u64, String)> {
    let event = |event: &Value| {
        let record: Value = serde_json::from_str(event["message"].as_str().unwrap()).unwrap();
        (event["timestamp"].as_u64().unwrap(), record["payload"].as_str().unwrap().to_owned())
    };
    request["logEvents"].as_array().unwrap().iter().map(event).collect()
}

#[tokio::test]
async fn a_clock_that_was_ahead_for_a_moment_costs_no_record_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let (process, store) = (Process::start(folder.path()), Store::open(&Location::Memory).await.unwrap());
    let configuration = configuration(&store, Destination::CloudWatchLogs("group".to_owned())).await;
    let mut lane = process.lane(0, RULES);
    let now_s = crate::clock::now().as_seconds();
    let day_s = 24 * 3_600;
    let times = [now_s - day_s / 2, now_s + 3 * day_s, now_s - 60, now_s - 59];
    for (number, time) in times.into_iter().enumerate() {
        note_at(&mut lane, 1, &[configuration], &number.to_string(), Timestamp::from_seconds(time)).unwrap();
    }
    let arrived = Arc::new(Mutex::new(Vec::new()));
    let shelf = Arc::clone(&arrived);
    let sink = fake::sink(move |request| {
        lock(&shelf).push(events(request));
        Some((200, json!({})))
    })
    .await;
    let shipping = Shipping::start(process.spools.clone(), store, sink, WINDOW_S, DEADLINE);
    until("all events", || lock(&arrived).iter().map(Vec::len).sum::<usize>() == times.len()).await;
    shipping.stop().await;
    let latest_ms = crate::clock::now().as_nanos() / 1_000_000;
    let calls = std::mem::take(&mut *lock(&arrived));
    for call in &calls {
        assert!(call.iter().map(|(time, _)| *time).is_sorted(), "{call:?}");
        assert!(call[call.len() - 1].0 - call[0].0 < LOG_EVENTS_SPAN_MS_MAX, "{call:?}");
        assert!(call.iter().all(|(time, _)| *time <= latest_ms), "AWS takes none of {call:?} that is ahead");
    }
    let texts: Vec<String> = calls.into_iter().flatten().map(|(_, text)| text).collect();
    assert_eq!(texts, ["0", "1", "2", "3"]);
}

/// A deleted configuration whose destination answers one call after the other so, and then takes everything; whether its one
/// record has arrived, or was given up after so long a denial.
async fn arrives_in_the_end(answers: Vec<Answer>, denial_max: Duration) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let (process, store) = (Process::start(folder.path()), Store::open(&Location::Memory).await.unwrap());
    let configuration = configuration(&store, Destination::Firehose("stream".to_owned())).await;
    note(&mut process.lane(0, RULES), 1, &[configuration], "last").unwrap();
    let spool = process.spools.spool(&super::key(configuration));
    spool.remember(&Destination::Firehose("stream".to_owned())).unwrap();
    store.delete_logging_configuration(&super::scope(), configuration).await.unwrap();
    let (arrived, answers) = (Arc::new(AtomicUsize::new(0)), Mutex::new(answers.into_iter()));
    let shelf = Arc::clone(&arrived);
    let sink = fake::sink(move |request| {
        let next = lock(&answers).next();
        next.unwrap_or_else(|| {
            shelf.fetch_add(texts(request).len(), Ordering::Relaxed);
            all_taken(request)
        })
    })
    .await;
    let shipping = Shipping::start(process.spools.clone(), store, sink, WINDOW_S, denial_max);
    let outcome = || (arrived.load(Ordering::Relaxed), process.lost(configuration));
    until("its end", || outcome() != (0, 0)).await;
    shipping.stop().await;
    assert!([(1, 0), (0, 1)].contains(&outcome()), "{:?}", outcome());
    outcome() == (1, 0)
}

#[tokio::test]
async fn what_a_deleted_configuration_has_left_is_given_up_when_it_is_denied_for_long_and_without_a_break() {
    let denied = || Some((400, json!({"__type": "AccessDeniedException", "message": "no"})));
    let short = Duration::from_millis(400);
    assert!(!arrives_in_the_end(vec![denied(); 100], short).await, "it is denied for long");
    // The third call is more than that after the first one.
    assert!(
        arrives_in_the_end(vec![denied(), throttled(), denied()], short).await,
        "nobody knows for how long"
    );
}

/// As many as take all there is of memory for batches, each with one that has as much as it may have.
const HOLES: usize = SHIPMENT_UNITS_MAX as usize * SHIPMENT_UNIT_BYTES / BATCH_BYTES_MAX + 1;

/// Destinations that take so many calls, then refuse one, and then do not answer any more; whether another one, which was
/// refused once if it `comes_back`, gets its record before one of those is given up.
async fn is_held_back(calls_taken: usize, comes_back: bool) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let (process, store) = (Process::start(folder.path()), Store::open(&Location::Memory).await.unwrap());
    let mut holes = Vec::new();
    for number in 0..HOLES {
        holes.push(configuration(&store, Destination::Firehose(format!("hole-{number}"))).await);
    }
    let other = configuration(&store, Destination::Firehose("other".to_owned())).await;
    let mut lane = process.lane(0, RULES);
    let text = "x".repeat(200_000);
    for _ in 0..BATCH_BYTES_MAX.div_ceil(text.len()) {
        for three in holes.chunks(3) {
            note(&mut lane, 1, three, &text).unwrap();
        }
    }
    let (calls, held, arrived) =
        (Mutex::new(HashMap::new()), Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (waiting, shelf) = (Arc::clone(&held), Arc::clone(&arrived));
    let sink = fake::sink(move |request| {
        let stream = request["DeliveryStreamName"].as_str().unwrap();
        let mut calls = lock(&calls);
        let count: &mut usize = calls.entry(stream.to_owned()).or_default();
        *count += 1;
        let taken = if stream == "other" { 0 } else { calls_taken };
        match (stream, *count) {
            ("other", count) if count > 1 || !comes_back => {
                shelf.fetch_add(1, Ordering::Relaxed);
                all_taken(request)
            }
            (_, count) if count <= taken => all_taken(request),
            (_, count) if count == taken + 1 => throttled(),
            _ => {
                waiting.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    })
    .await;
    let shipping = Shipping::start(process.spools.clone(), store, sink, WINDOW_S, DEADLINE);
    let failures = |id: Id| process.failures(id);
    until("a refusal of each", || holes.iter().all(|hole| failures(*hole) == 1)).await;
    until("calls that are not answered", || held.load(Ordering::Relaxed) >= 2).await;
    note(&mut lane, 2, &[other], "other").unwrap();
    until("the other record", || arrived.load(Ordering::Relaxed) == 1).await;
    let is_held_back = holes.iter().any(|hole| failures(*hole) > 1);
    shipping.stop().await;
    is_held_back
}

#[tokio::test]
async fn destinations_that_take_a_little_and_then_hang_hold_back_none_that_is_well() {
    assert!(!is_held_back(1, false).await);
}

#[tokio::test]
async fn destinations_that_never_answer_hold_back_none_that_comes_back_however_much_waits_for_them() {
    assert!(!is_held_back(0, true).await);
}
