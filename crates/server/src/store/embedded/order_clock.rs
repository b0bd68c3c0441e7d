//! Where order keys come from.

use protocol::time::UnixMicros;
use rusqlite::Connection;

use super::super::{Clock, OrderKey};

/// The last key that was kept.
pub(super) fn last_saved(connection: &Connection) -> rusqlite::Result<OrderKey> {
    connection.query_row("SELECT last_order_key FROM order_clock", [], |row| row.get(0))
}

/// Keeps `key` as the last one.
pub(super) fn save_last(connection: &Connection, key: OrderKey) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE order_clock SET last_order_key = ?1")?.execute([key])?;
    Ok(())
}

/// The highest order key in the store; zero when there is none.
pub(super) fn highest_key(connection: &Connection) -> rusqlite::Result<OrderKey> {
    connection.query_row(
        "SELECT max(coalesce((SELECT max(order_key) FROM room), 0),
                    coalesce((SELECT max(order_key) FROM logging_configuration), 0))",
        [],
        |row| row.get(0),
    )
}

/// Gives out order keys: microseconds of the wall clock, `max(now, last + 1)`. A clock that steps back, or two
/// writes in one microsecond, therefore do no harm: keys are unique and ascend.
pub(super) struct OrderClock {
    last: OrderKey,
    now: Clock,
}

impl OrderClock {
    /// Goes on after the last key that was committed.
    pub(super) fn load(connection: &Connection, now: Clock) -> rusqlite::Result<Self> {
        Ok(Self { last: last_saved(connection)?, now })
    }

    /// The next key.
    pub(super) fn next(&mut self) -> OrderKey {
        self.last = (self.now)().max(self.last.saturating_add(1));
        self.last
    }

    /// Goes on after `key`, if that is later than the last one.
    pub(super) fn advance_to(&mut self, key: OrderKey) {
        self.last = self.last.max(key);
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
        save_last(connection, self.last)
    }
}
