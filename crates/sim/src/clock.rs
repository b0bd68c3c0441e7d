//! Virtual time: it stands still until the simulation moves it.

use std::cell::Cell;

use hub::message::Now;
use protocol::time::Timestamp;

/// One millisecond, in nanoseconds.
pub const MILLISECOND: u64 = 1_000_000;
/// One second, in nanoseconds.
pub const SECOND: u64 = 1_000_000_000;

/// The monotonic clock does not begin at 0, so that nothing relies on it.
const START: u64 = 1_000 * SECOND;
/// What the wall clock shows at [`START`]: 2022-12-02T08:25:51Z.
const WALL_AT_START: u64 = 1_669_969_551 * SECOND;

/// See the module's documentation.
#[derive(Debug)]
pub struct Clock(Cell<u64>);

impl Clock {
    /// A clock at its beginning.
    #[must_use]
    pub fn new() -> Self {
        Self(Cell::new(START))
    }

    /// Monotonic nanoseconds.
    #[must_use]
    pub fn nanos(&self) -> u64 {
        self.0.get()
    }

    /// Both clocks, as a hub wants them.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { nanos: self.nanos(), wall: wall_at(self.nanos()) }
    }

    /// Lets `nanos` go by.
    pub fn advance(&self, nanos: u64) {
        self.0.set(self.nanos() + nanos);
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// What the wall clock shows at an instant of the monotonic one.
#[must_use]
pub fn wall_at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(WALL_AT_START + nanos - START)
}
