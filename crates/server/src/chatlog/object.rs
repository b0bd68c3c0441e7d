//! The objects of S3: which window a record belongs to, what an object is called, what is in it.

use std::io::{self, Write};

use flate2::{Compression, GzBuilder};
use protocol::chat_log::object_key;
use protocol::time::Timestamp;

use super::parcel::Parcel;
use super::sink::Consignment;

/// The beginning of the window that a time lies in, in seconds since 1970.
#[must_use]
pub(super) const fn window_of(time_ms: u64, interval_s: u64) -> u64 {
    let seconds = time_ms / 1_000;
    seconds - seconds % interval_s
}

/// The key of a parcel's object. It comes from the window, the logging configuration and all that is in the object: one that is
/// written again writes over the first, and no other one does. A try whose outcome is not known may be carried out at any time
/// later, also behind one that has more of the same records.
#[must_use]
pub(super) fn key(consignment: &Consignment, parcel: &Parcel) -> String {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(consignment.key.configuration.as_bytes());
    for index in &parcel.records {
        hasher.update(consignment.records[*index].json.as_bytes());
        hasher.update(b"\n");
    }
    let window = Timestamp::from_seconds(consignment.window_s);
    object_key(&consignment.key.scope, parcel.room, window, hasher.finalize())
}

/// What is in it: lines of JSON, compressed. The same for the same records.
///
/// # Errors
/// Never, as long as memory lasts.
pub(super) fn body(consignment: &Consignment, parcel: &Parcel) -> io::Result<Vec<u8>> {
    let mut compressed = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
    for index in &parcel.records {
        compressed.write_all(consignment.records[*index].json.as_bytes())?;
        compressed.write_all(b"\n")?;
    }
    compressed.finish()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use protocol::arn::Scope;
    use protocol::id::Id;

    use super::{body, key};
    use crate::chatlog::attempt::Taken;
    use crate::chatlog::parcel::Parcel;
    use crate::chatlog::record::Record;
    use crate::chatlog::sink::Consignment;
    use crate::chatlog::spool::SpoolKey;
    use crate::store::Destination;

    fn consignment(configuration: u128, attempt: u32) -> Consignment {
        let scope = Scope { account_id: "123456789012".into(), region: "us-west-2".into() };
        let record = |number: u64| Record {
            room: Id::from_random(1),
            time_ms: 1_665_769_205_000 + number,
            number,
            json: format!("{{\"number\":{number}}}").into(),
        };
        Consignment {
            key: SpoolKey { scope: Arc::new(scope), configuration: Id::from_random(configuration) },
            destination: Destination::S3("bucket".to_owned()),
            records: (0..6).map(record).collect(),
            window_s: 1_665_769_200,
            attempt,
            _turn: Arc::new(tempfile::tempfile().unwrap()),
            taken: Arc::<Taken>::default(),
        }
    }

    fn parcel(records: &[usize]) -> Parcel {
        Parcel { room: Id::from_random(1), records: records.to_vec(), not_before_ms: 0 }
    }

    #[test]
    fn objects_have_one_name_when_and_only_when_they_have_the_same_records() {
        let (first, again) = (consignment(7, 1), consignment(7, 2));
        let mut names = HashSet::new();
        let parcels: [&[usize]; 7] =
            [&[0], &[0, 1], &[0, 1, 2, 3], &[0, 2, 3], &[1, 2, 3], &[0, 1, 2, 3, 4, 5], &[0, 1, 2, 5]];
        for records in parcels {
            let parcel = parcel(records);
            let name = key(&first, &parcel);
            assert_eq!(name, key(&again, &parcel), "a retry writes over");
            assert_eq!(body(&first, &parcel).unwrap(), body(&again, &parcel).unwrap());
            assert!(names.insert(name), "{records:?} would write over another object");
        }
        assert!(names.insert(key(&consignment(8, 1), &parcel(&[0]))), "another logging configuration");
    }
}
