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

/// The key of a parcel's object. It comes from the window, the logging configuration and the first record alone, so that one
/// that is written again writes over the first.
#[must_use]
pub(super) fn key(consignment: &Consignment, parcel: &Parcel) -> String {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(consignment.key.configuration.as_bytes());
    if let Some(first) = parcel.records.first() {
        hasher.update(consignment.records[*first].json.as_bytes());
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
