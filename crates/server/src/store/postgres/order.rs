//! Where order keys come from: `max(now, last + 1)`, `now` being the database's clock and `last` the head of the very
//! list, read by the transaction that writes when it has all its locks. Several rooms that one transaction writes have
//! keys one after the other.
//!
//! - Writes of a scope that do not overlap in time sort in order, on whatever servers: the later one reads the clock after
//!   the earlier one was committed, and if that clock has stepped back meanwhile, it finds the earlier one in the list.
//! - Nobody waits for anybody: there is no row that all writers write. `last` is read from the index, as the first row of a
//!   page of ListRooms is.
//! - Transactions that overlap may see the same clock and the same head, or clocks so close that their keys overlap. The
//!   second then finds a key taken (a unique index), and is tried again. So an order key alone names a place in a list, as
//!   in every engine, and a page ends at one.
//! - While the clock is behind the head, all would want the same keys. They keep a random distance from it, of at most a
//!   millisecond, so that the clock catches up; it is a multiple of how many they take, so that of those who take
//!   equally many only who has drawn the same number is in another's way.
//! - A write that is answered late (a slow commit) has the key of its beginning, and comes to light among older entries. A
//!   walk through the list that has passed that place does not see it, as it would not have if the write had been later.

use deadpool_postgres::GenericClient;
use protocol::arn::Scope;

use super::failure::Failure;
use super::pipeline::{Step, values};

/// An SQL expression: the next order key of the scope `$1`, `$2` in a table, of which all rows of a list meet a condition,
/// for who takes so many (an SQL expression too, of an integer up to 1,000). (`max` would read a
/// whole list where the database does not see that its last entry will do.)
macro_rules! next_order_key {
    ($table:literal, $condition:literal, $count:literal) => {
        concat!(
            "(SELECT CASE WHEN last >= now THEN last + 1 + ",
            $count,
            " * floor(random() * (1000 / ",
            $count,
            "))::bigint ELSE now END
              FROM (SELECT order_clock() AS now,
                           (SELECT order_key FROM ",
            $table,
            " WHERE account_id = $1 AND region = $2 AND order_key < 9223372036854775807",
            $condition,
            " ORDER BY order_key DESC LIMIT 1) AS last) AS clock)"
        )
    };
}

pub(super) use next_order_key;

/// Asks for the first of the next order keys of rooms, for who takes so many.
pub(super) async fn next_room_order_keys<'a>(
    client: &impl GenericClient,
    scope: &'a Scope,
    count: usize,
) -> Result<Step<'a>, Failure> {
    let statement = concat!(
        "SELECT ",
        next_order_key!("posting", " AND by_name = '' AND by_handler = '' AND by_logging = ''", "$3::bigint")
    );
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    Step::new(client, statement, values![&*scope.account_id, &*scope.region, count]).await
}
