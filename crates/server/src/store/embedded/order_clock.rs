//! Where order keys come from.

use protocol::time::UnixMicros;
use rusqlite::Connection;

use super::super::{Clock, OrderKey};

/// Gives out order keys: microseconds of the wall clock, `max(now, last + 1)`. A clock that steps back, or two
/// writes in one microsecond, therefore do no harm: keys are unique and ascend.
pub(super) struct OrderClock {
    last: OrderKey,
    now: Clock,
}

impl OrderClock {
    /// Goes on after the last key that was committed.
    pub(super) fn load(connection: &Connection, now: Clock) -> rusqlite::Result<Self> {
        let last = connection.query_row("SELECT last_order_key FROM order_clock", [], |row| row.get(0))?;
        Ok(Self { last, now })
    }

    /// The next key.
    pub(super) fn next(&mut self) -> OrderKey {
        self.last = (self.now)().max(self.last.saturating_add(1));
        self.last
    }

    /// The last key that was given out.
    pub(super) fn last(&self) -> OrderKey {
        self.last
    }

    /// The wall clock, which may step back.
    pub(super) fn now(&self) -> UnixMicros {
        (self.now)()
    }

    /// Keeps the last key, so that a later start goes on after it even if what had it was deleted.
    pub(super) fn save(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.prepare_cached("UPDATE order_clock SET last_order_key = ?1")?.execute([self.last])?;
        Ok(())
    }
}
