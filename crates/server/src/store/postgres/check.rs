//! Verifies that the store agrees with itself: postings against rooms, and references. All questions are about one state
//! of the database, however long they take, and hold up nobody; servers may be at work meanwhile.

use std::collections::HashSet;

use deadpool_postgres::{Client, Transaction};
use protocol::arn::Scope;
use protocol::id::Id;
use protocol::limit::postgres::ROOMS_PER_READ_MAX;
use protocol::limit::store::DISCREPANCIES_MAX;

use super::super::discrepancy::Shown;
use super::super::facet::Facet;
use super::super::{Checked, Discrepancy, Room};
use super::connections::begin_snapshot;
use super::failure::Failure;
use super::rooms::RoomPlace;
use super::{logging_configurations, posting, rooms, row};

/// Looks at everything.
pub(super) async fn check(mut client: Client) -> Result<Checked, Failure> {
    let transaction = begin_snapshot(&mut client).await?;
    // All of a table is no range of an index.
    transaction.batch_execute("SET LOCAL enable_seqscan = on; SET LOCAL enable_sort = on").await?;
    let mut checked = Checked::default();
    check_rooms(&transaction, &mut checked).await?;
    check_postings(&transaction, &mut checked).await?;
    Ok(checked)
}

/// Each room can be read, is in every list that it belongs to, and has logging configurations that exist.
async fn check_rooms(transaction: &Transaction<'_>, checked: &mut Checked) -> Result<(), Failure> {
    let mut place = RoomPlace::default();
    loop {
        let found = rooms::next(transaction, &place, ROOMS_PER_READ_MAX).await?;
        let mut readable = Vec::with_capacity(found.len());
        checked.rooms += found.len() as u64;
        let is_last = found.len() < ROOMS_PER_READ_MAX;
        for (next_place, room) in found {
            place = next_place;
            match room {
                Ok(room) => readable.push(room),
                Err(error) => checked.add(Discrepancy::DamagedFile(format!("a row of table room: {error}"))),
            }
        }
        check_lists(transaction, &readable, checked).await?;
        check_references(transaction, &readable, checked).await?;
        if is_last {
            return Ok(());
        }
    }
}

async fn check_lists(
    transaction: &Transaction<'_>,
    rooms: &[Room],
    checked: &mut Checked,
) -> Result<(), Failure> {
    let wanted: Vec<(&Room, Vec<Facet<'_>>)> =
        rooms.iter().map(|room| (room, Facet::all_of_room(room))).collect();
    for (room_number, facet_number, found) in posting::find_all(transaction, &wanted).await? {
        let (room, facets) = &wanted[room_number];
        let shown = match found.as_ref().map(row::summary) {
            None => Shown::Nothing,
            Some(Ok(summary)) => Shown::Summary(summary),
            Some(Err(_)) => Shown::Unreadable,
        };
        checked.compare(&room.summary(), facets[facet_number], &shown);
    }
    Ok(())
}

async fn check_references(
    transaction: &Transaction<'_>,
    rooms: &[Room],
    checked: &mut Checked,
) -> Result<(), Failure> {
    let references: HashSet<(&Scope, Id)> = rooms
        .iter()
        .flat_map(|room| room.logging_configurations.iter().map(|&id| (&room.scope, id)))
        .collect();
    let references: Vec<(&Scope, Id)> = references.into_iter().collect();
    let existing = logging_configurations::existing(transaction, &references).await?;
    let existing: HashSet<(Scope, Id)> = existing.into_iter().collect();
    for room in rooms {
        for &id in &room.logging_configurations {
            if !existing.contains(&(room.scope.clone(), id)) {
                let missing =
                    Discrepancy::LoggingConfigurationMissing { room: room.id, logging_configuration: id };
                checked.add(missing);
            }
        }
    }
    Ok(())
}

/// Each posting is that of a room which belongs where it is listed.
async fn check_postings(transaction: &Transaction<'_>, checked: &mut Checked) -> Result<(), Failure> {
    let row = transaction.query_one("SELECT count(*) FROM posting", &[]).await?;
    checked.postings = u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or(0);
    let strays = "SELECT listed.room, by_name, by_handler, by_logging
         FROM (SELECT *, substr(entry, 1, 12) AS room FROM posting) AS listed
              LEFT JOIN room ON room.account_id = listed.account_id AND room.region = listed.region
                            AND room.id = listed.room
         WHERE room.id IS NULL
            OR room.order_key <> listed.order_key
            OR by_name NOT IN ('', room.name)
            OR by_handler NOT IN ('', coalesce(room.handler_uri, ''))
            OR by_logging <> ''
               AND strpos(',' || room.logging_configurations || ',', ',' || by_logging || ',') = 0
         LIMIT $1";
    let limit = i64::try_from(DISCREPANCIES_MAX).unwrap_or(i64::MAX);
    for found in transaction.query(strays, &[&limit]).await? {
        let text = |column| row::get::<String>(&found, column);
        let (name, handler_uri, logging_configuration) =
            (text("by_name")?, text("by_handler")?, text("by_logging")?);
        let facet =
            Facet { name: &name, handler_uri: &handler_uri, logging_configuration: &logging_configuration };
        checked.add_stray(row::id(&found, "room").ok(), facet);
    }
    Ok(())
}
