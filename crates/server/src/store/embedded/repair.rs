//! Puts right what can be derived: postings from the rooms, the order clock from the order keys.
//!
//! It asks nothing about what is wrong and makes both anew, so it cannot miss anything; and it does so in one
//! transaction, so the store is never without its lists, not even after a power cut.

use super::super::StoreError;
use super::writer::Group;
use super::{order_clock, posting, rooms};

/// See the module. A room that cannot be read is an error, and then nothing is changed: the postings may be the last
/// that is left of it.
pub(super) fn repair(group: &mut Group<'_>) -> Result<(), StoreError> {
    let connection = group.connection;
    posting::delete_all(connection)?;
    rooms::for_each(connection, |scope, room| posting::insert(connection, scope, &room?))?;
    group.order.advance_to(order_clock::highest_key(connection)?);
    Ok(())
}
