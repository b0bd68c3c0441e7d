//! How a batch is divided into what goes to a destination in one piece: an object of S3, one PutLogEvents, one
//! PutRecordBatch.
//!
//! Promises: what is left of the same batch is always divided in the same way; every parcel is within the limits of its service; parcels of one chain are sent one after the other, which keeps the order in each room.

use protocol::id::Id;
use protocol::limit::chat_log::{
    FIREHOSE_BYTES_MAX, FIREHOSE_RECORDS_MAX, LOG_EVENT_OVERHEAD_BYTES, LOG_EVENTS_BYTES_MAX, LOG_EVENTS_MAX,
    LOG_EVENTS_SPAN_MS_MAX,
};

use super::record::Record;
use crate::store::Destination;

/// What PutRecordBatch has around each record's data, in bytes, generously.
const FIREHOSE_RECORD_FRAME_BYTES: usize = 16;
/// … and around all of them, with the name of the stream.
const FIREHOSE_FRAME_BYTES: usize = 256;

/// Records of a batch that go out in one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parcel {
    /// The room of all of them; of the first, where rooms are mixed.
    pub(super) room: Id,
    /// Their places in the batch, in order; at least one.
    pub(super) records: Vec<usize>,
    /// No event of it is earlier for CloudWatch Logs, in milliseconds since 1970: the room's events in the parcels before.
    pub(super) not_before_ms: u64,
}

/// Divides those records of a batch that are `left`, by place, into chains of parcels.
#[must_use]
pub(super) fn divide(destination: &Destination, records: &[Record], left: &[usize]) -> Vec<Vec<Parcel>> {
    match destination {
        Destination::S3(_) => by_room(records, left).into_iter().map(|parcel| vec![parcel]).collect(),
        Destination::CloudWatchLogs(_) => {
            by_room(records, left).into_iter().map(|parcel| log_events(&parcel, records)).collect()
        }
        Destination::Firehose(_) => {
            let all = firehose_batches(records, left);
            if all.is_empty() { Vec::new() } else { vec![all] }
        }
    }
}

/// One parcel for each room, in the order of their first records.
fn by_room(records: &[Record], left: &[usize]) -> Vec<Parcel> {
    let mut parcels: Vec<Parcel> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for (index, record) in left.iter().map(|index| (*index, &records[*index])) {
        let place = *places.entry(record.room).or_insert_with(|| {
            parcels.push(Parcel { room: record.room, records: Vec::new(), not_before_ms: 0 });
            parcels.len() - 1
        });
        parcels[place].records.push(index);
    }
    parcels
}

/// The times of the events of a parcel: PutLogEvents takes none that is earlier than the one before it, who reads the stream
/// gets events in the order of their times, and messages are published in an order that is not quite that of theirs. The
/// record itself keeps its own.
#[must_use]
pub(super) fn event_times(parcel: &Parcel, records: &[Record]) -> Vec<u64> {
    let mut latest = parcel.not_before_ms;
    let time = |index: &usize| {
        latest = records[*index].time_ms.max(latest);
        latest
    };
    parcel.records.iter().map(time).collect()
}

/// Divides the records of a room for PutLogEvents.
fn log_events(room: &Parcel, records: &[Record]) -> Vec<Parcel> {
    let times = event_times(room, records);
    let mut parcels: Vec<Parcel> = Vec::new();
    let (mut bytes, mut first_time) = (0, 0);
    for (index, time) in room.records.iter().zip(times) {
        let event_bytes = records[*index].json.len() + LOG_EVENT_OVERHEAD_BYTES;
        match parcels.last_mut() {
            Some(parcel)
                if parcel.records.len() < LOG_EVENTS_MAX
                    && bytes + event_bytes <= LOG_EVENTS_BYTES_MAX
                    && time - first_time < LOG_EVENTS_SPAN_MS_MAX =>
            {
                bytes += event_bytes;
                parcel.records.push(*index);
            }
            _ => {
                (bytes, first_time) = (event_bytes, time);
                parcels.push(Parcel { room: room.room, records: vec![*index], not_before_ms: time });
            }
        }
    }
    parcels
}

/// Divides records for PutRecordBatch, whatever their rooms.
fn firehose_batches(records: &[Record], left: &[usize]) -> Vec<Parcel> {
    let mut parcels: Vec<Parcel> = Vec::new();
    let mut bytes = 0;
    for (index, record) in left.iter().map(|index| (*index, &records[*index])) {
        // In Base64, with a line's end.
        let record_bytes = (record.json.len() + 1).div_ceil(3) * 4 + FIREHOSE_RECORD_FRAME_BYTES;
        match parcels.last_mut() {
            Some(parcel)
                if parcel.records.len() < FIREHOSE_RECORDS_MAX
                    && bytes + record_bytes <= FIREHOSE_BYTES_MAX =>
            {
                bytes += record_bytes;
                parcel.records.push(index);
            }
            _ => {
                bytes = FIREHOSE_FRAME_BYTES + record_bytes;
                parcels.push(Parcel { room: record.room, records: vec![index], not_before_ms: 0 });
            }
        }
    }
    parcels
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::proptest;
    use protocol::id::Id;
    use protocol::limit::chat_log::{
        FIREHOSE_BYTES_MAX, FIREHOSE_RECORDS_MAX, LOG_EVENT_OVERHEAD_BYTES, LOG_EVENTS_BYTES_MAX,
        LOG_EVENTS_MAX, LOG_EVENTS_SPAN_MS_MAX,
    };

    use super::{Parcel, Record, divide, event_times};
    use crate::store::Destination;

    fn all_of(records: &[Record]) -> Vec<usize> {
        (0..records.len()).collect()
    }

    fn record(room: u128, time_ms: u64, bytes: usize) -> Record {
        Record { room: Id::from_random(room), time_ms, number: 0, json: "x".repeat(bytes).into() }
    }

    /// Every record that is left is in one parcel, and those of a room are in order in one chain.
    fn check_chains(chains: &[Vec<Parcel>], records: &[Record], left: &[usize]) {
        let mut all: Vec<usize> = Vec::new();
        for chain in chains {
            let places: Vec<usize> = chain.iter().flat_map(|parcel| parcel.records.clone()).collect();
            assert!(places.is_sorted() && chain.iter().all(|parcel| !parcel.records.is_empty()));
            all.extend(places);
        }
        all.sort_unstable();
        assert_eq!(all, left);
        let rooms = |chain: &[Parcel]| {
            let places = chain.iter().flat_map(|parcel| &parcel.records);
            places.map(|index| records[*index].room).collect::<std::collections::HashSet<_>>()
        };
        for (index, chain) in chains.iter().enumerate() {
            assert!(chains[index + 1..].iter().all(|other| rooms(other).is_disjoint(&rooms(chain))));
        }
    }

    proptest! {
        #[test]
        fn every_record_is_in_one_parcel_and_rooms_are_in_order(
            made in vec((0..4_u128, 0..200_000_000_u64, 0..3_000_usize, 0..5_u8), 0..300),
        ) {
            let left: Vec<usize> = (0..made.len()).filter(|place| made[*place].3 > 0).collect();
            let records: Vec<Record> =
                made.into_iter().map(|(room, time_ms, bytes, _)| record(room, time_ms, bytes)).collect();
            for destination in [Destination::S3, Destination::CloudWatchLogs, Destination::Firehose] {
                let chains = divide(&destination("d".to_owned()), &records, &left);
                check_chains(&chains, &records, &left);
            }
            for chain in divide(&Destination::CloudWatchLogs(String::new()), &records, &all_of(&records)) {
                let mut all = Vec::new();
                for parcel in chain {
                    let times = event_times(&parcel, &records);
                    assert!(times[times.len() - 1] - times[0] < LOG_EVENTS_SPAN_MS_MAX);
                    all.extend(times);
                }
                assert!(all.is_sorted(), "events of a room are read in the order of their times");
            }
        }
    }

    #[test]
    fn no_put_log_events_is_too_large() {
        for (count, bytes) in
            [(10_001_usize, 1_usize), (25_000, 10), (9, 131_046), (8, 131_046), (2_500, 500)]
        {
            let records: Vec<Record> = (0..count).map(|_| record(1, 5, bytes)).collect();
            let chains = divide(&Destination::CloudWatchLogs(String::new()), &records, &all_of(&records));
            check_chains(&chains, &records, &all_of(&records));
            let parcels: Vec<usize> = chains[0].iter().map(|parcel| parcel.records.len()).collect();
            assert!(parcels.iter().all(|length| {
                *length <= LOG_EVENTS_MAX
                    && length * (bytes + LOG_EVENT_OVERHEAD_BYTES) <= LOG_EVENTS_BYTES_MAX
            }));
            let fits = LOG_EVENTS_MAX.min(LOG_EVENTS_BYTES_MAX / (bytes + LOG_EVENT_OVERHEAD_BYTES));
            assert_eq!(parcels.len(), count.div_ceil(fits), "no more of them than it takes");
        }
    }

    #[test]
    fn no_put_record_batch_is_too_large() {
        for (count, bytes) in [(501, 10), (1_000, 10), (100, 100_000)] {
            let records: Vec<Record> = (0..count).map(|_| record(1, 5, bytes)).collect();
            let chains = divide(&Destination::Firehose(String::new()), &records, &all_of(&records));
            check_chains(&chains, &records, &all_of(&records));
            for parcel in &chains[0] {
                assert!(parcel.records.len() <= FIREHOSE_RECORDS_MAX);
                assert!(parcel.records.len() * (bytes + 1) * 4 / 3 <= FIREHOSE_BYTES_MAX);
            }
        }
    }
}
