//! The wall clock, for what runs in the server; the pure crates are told the time.

use std::time::{SystemTime, UNIX_EPOCH};

use protocol::time::Timestamp;

/// Now. A clock that stands before 1970 reads 1970.
#[must_use]
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))
}
