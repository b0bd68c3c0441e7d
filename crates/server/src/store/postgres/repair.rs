//! Puts right what can be derived: postings from the rooms.
//!
//! It asks nothing about what is wrong and makes all of them anew, in one transaction, so it cannot miss anything and no
//! server ever sees the lists half-made. Meanwhile nobody else can write; reads go on and see what was before.

use deadpool_postgres::Client;
use protocol::limit::postgres::ROOMS_PER_READ_MAX;

use super::super::Room;
use super::connections::{begin, commit};
use super::failure::Failure;
use super::rooms::RoomPlace;
use super::{posting, rooms};

/// See the module. A room that cannot be read is an error, and then nothing is changed: the postings may be the last
/// that is left of it.
pub(super) async fn repair(mut client: Client) -> Result<(), Failure> {
    let transaction = begin(&mut client).await?;
    transaction
        .batch_execute(
            "SET LOCAL statement_timeout = 0;
             LOCK TABLE room, posting IN SHARE ROW EXCLUSIVE MODE;
             DELETE FROM posting",
        )
        .await?;
    let mut place = RoomPlace::default();
    loop {
        let found = rooms::next(&transaction, &place, ROOMS_PER_READ_MAX).await?;
        let is_last = found.len() < ROOMS_PER_READ_MAX;
        let mut rooms = Vec::with_capacity(found.len());
        for (next_place, room) in found {
            place = next_place;
            rooms.push(room?);
        }
        let listed: Vec<&Room> = rooms.iter().collect();
        posting::insert(&transaction, &listed).await?.run(&transaction).await?;
        if is_last {
            return commit(transaction).await;
        }
    }
}
