//! What other servers did to rooms: whoever updates or deletes one leaves a note in the same transaction, and all servers
//! look for notes several times a second.
//!
//! A note bears the number of its transaction, and comes to light with the commit. Each look remembers the database's
//! snapshot, which says of every transaction whether it had ended by then; so the next look finds exactly what has come
//! to light since, however late its commit, and reads hardly more: one range of an index, from the oldest
//! transaction on that was under way at the last look. (One that writes for minutes, in whichever database of that
//! server, has looks read the notes of all that time again; they still tell each once.)
//!
//! That holds as long as one session lasts. A database that recovers from a crash, and a standby that takes over, give numbers
//! out again whose transactions they have lost; no session outlives either. So whoever looks in another session than last time
//! may have missed some, and so may whoever could not look for [`NEWS_KEPT_SECONDS`], for which notes are kept at least (up to
//! some three times as long). It is told so, and reads the rooms that it has open again, all of them. What a
//! standby lost is not undone in rooms that are open: they keep the newer settings until they are changed again.

use std::time::{Duration, Instant};

use deadpool_postgres::{Client, GenericClient};
use protocol::arn::Scope;
use protocol::id::Id;
use protocol::limit::postgres::{
    NEWS_KEPT_SECONDS, ROOMS_PER_READ_MAX, SWEEP_INTERVAL_SECONDS, SWEEP_ROWS_MAX,
};
use protocol::time::UnixMicros;
use tokio_postgres::Row;

use super::super::{Room, RoomNews};
use super::connections::Parameter;
use super::failure::{Failure, Unreadable};
use super::pipeline::{Step, values};
use super::row;

const MICROS_PER_SECOND: i64 = 1_000_000;

/// Leaves notes that these rooms have changed, or are gone.
pub(super) async fn add<'a>(
    client: &impl GenericClient,
    scope: &'a Scope,
    rooms: &[&'a Room],
) -> Result<Step<'a>, Failure> {
    let statement = "INSERT INTO room_change (account_id, region, room)
                     SELECT $1, $2, room FROM unnest($3::text[]) AS changed (room)";
    let ids: Vec<&str> = rooms.iter().map(|room| room.id.as_str()).collect();
    Step::new(client, statement, values![&*scope.account_id, &*scope.region, ids]).await
}

/// How far a look has seen.
#[derive(Clone)]
pub(super) struct Sight {
    /// Which transactions had ended, in the database's own words.
    snapshot: String,
    /// The database's clock, which goes on while this machine sleeps.
    time: UnixMicros,
    /// This machine's, which never steps.
    seen: Instant,
    /// The process at the other end, and when it began.
    session: (i32, UnixMicros),
}

impl Sight {
    /// Of any row of a look.
    fn of_row(row: &Row) -> Result<Self, Unreadable> {
        Ok(Self {
            snapshot: row::get(row, "snapshot")?,
            time: row::get(row, "time")?,
            seen: Instant::now(),
            session: (row::get(row, "process")?, row::get(row, "session_start")?),
        })
    }

    /// Whether notes may have come and gone between the last look and this one, or numbers of transactions have another
    /// meaning. A clock that has stepped back does not say how long it has been.
    fn has_gap_since(&self, last: &Self) -> bool {
        self.session != last.session
            || !(0..=NEWS_KEPT_SECONDS * MICROS_PER_SECOND).contains(&(self.time - last.time))
            || self.seen.duration_since(last.seen) > Duration::from_secs(NEWS_KEPT_SECONDS.unsigned_abs())
    }
}

/// What a look has found.
pub(super) struct Looked {
    /// For the next look.
    pub(super) sight: Sight,
    /// The rooms that new notes are about.
    pub(super) rooms: Vec<RoomNews>,
    /// Some may have been missed since the last look.
    pub(super) has_gap: bool,
}

/// Looks for notes that have come to light since the last look, and reads their rooms. The first look finds nothing.
pub(super) async fn look(client: Client, last: Option<&Sight>) -> Result<Looked, Failure> {
    // All of a statement sees one snapshot, and this is it. No note that it sees is beyond its end; those which came with
    // a copy of another database server's store may be.
    let statement = "SELECT snapshot, time, process, session_start, is_standby, account_id, region, room
                     FROM (SELECT pg_current_snapshot()::text AS snapshot, order_clock() AS time,
                                  pg_backend_pid() AS process, pg_is_in_recovery() AS is_standby,
                                  (SELECT (extract(epoch from backend_start) * 1000000)::bigint
                                   FROM pg_stat_get_activity(pg_backend_pid())) AS session_start)
                          AS look
                     LEFT JOIN (SELECT account_id, region, room FROM room_change
                                WHERE transaction >= pg_snapshot_xmin((SELECT $1::text::pg_snapshot))
                                  AND transaction < pg_snapshot_xmax((SELECT pg_current_snapshot()))
                                  AND NOT pg_visible_in_snapshot(transaction, (SELECT $1::text::pg_snapshot)))
                          AS new ON TRUE";
    let statement = client.prepare_cached(statement).await?;
    let rows = client.query(&statement, &[&last.map(|last| &last.snapshot)]).await?;
    let first =
        rows.first().ok_or_else(|| Failure::Unavailable("a look has seen nothing at all".to_owned()))?;
    if row::get(first, "is_standby")? {
        // Its snapshots do not say who is under way; and nothing can be written there.
        return Err(Failure::Unavailable("the database is a standby, and does not take writes".to_owned()));
    }
    let sight = Sight::of_row(first)?;
    let mut noted = Vec::new();
    for row in &rows {
        // The only row may be there for its sight.
        if row::get::<Option<String>>(row, "room")?.is_some() {
            noted.push((row::scope(row)?, row::id(row, "room")?));
        }
    }
    noted.sort();
    noted.dedup();
    let mut rooms = Vec::with_capacity(noted.len());
    for part in noted.chunks(ROOMS_PER_READ_MAX) {
        rooms.extend(read(&client, part).await?);
    }
    let has_gap = last.is_some_and(|last| sight.has_gap_since(last));
    Ok(Looked { sight, rooms, has_gap })
}

/// The rooms as they are now.
async fn read(client: &Client, noted: &[(Scope, Id)]) -> Result<Vec<RoomNews>, Failure> {
    let statement = "SELECT wanted.account_id, wanted.region, wanted.room, id, name, create_time, order_key,
                            message_rate_max, message_length_max, handler_uri, handler_fallback,
                            logging_configurations, tags
                     FROM unnest($1::text[], $2::text[], $3::text[]) AS wanted (account_id, region, room)
                     LEFT JOIN LATERAL (
                         SELECT * FROM room
                         WHERE room.account_id = wanted.account_id AND room.region = wanted.region
                           AND room.id = wanted.room
                         OFFSET 0) AS room ON TRUE";
    let statement = client.prepare_cached(statement).await?;
    let parameters: [Parameter<'_>; 3] = [
        &noted.iter().map(|(scope, _)| &*scope.account_id).collect::<Vec<_>>(),
        &noted.iter().map(|(scope, _)| &*scope.region).collect::<Vec<_>>(),
        &noted.iter().map(|(_, id)| id.as_str()).collect::<Vec<_>>(),
    ];
    let rows = client.query(&statement, &parameters).await?;
    Ok(rows
        .iter()
        .map(|found| {
            let scope = row::scope(found)?;
            match row::get::<Option<String>>(found, "id")? {
                Some(_) => Ok(RoomNews::Changed(Box::new(row::room(found, scope)?))),
                None => Ok(RoomNews::Deleted(scope, row::id(found, "room")?)),
            }
        })
        .collect::<Result<_, Unreadable>>()?)
}

/// Says which notes are old: those that a look has seen long ago.
#[derive(Default)]
pub(super) struct Ageing {
    /// What was seen then, and when that was by the clock of this machine.
    seen: Option<(Sight, Instant)>,
}

impl Ageing {
    /// Takes note of a look. Answers an earlier one, if all that it has seen is old by now.
    pub(super) fn old(&mut self, sight: &Sight, now: Instant) -> Option<&Sight> {
        let (seen, time) = self.seen.get_or_insert_with(|| (sight.clone(), now));
        // A little longer than others count on: their clocks may differ.
        let kept = Duration::from_secs(NEWS_KEPT_SECONDS.unsigned_abs() + SWEEP_INTERVAL_SECONDS);
        (now.duration_since(*time) >= kept).then_some(&*seen)
    }

    /// All that was old has been dropped, or it cannot be said any more what that is.
    pub(super) fn begin_anew(&mut self) {
        self.seen = None;
    }
}

/// Drops notes that were there at that look; a part of them only, if there are many. Answers how many.
pub(super) async fn sweep(client: Client, seen: &Sight) -> Result<u64, Failure> {
    let statement = "DELETE FROM room_change WHERE (transaction, account_id, region, room) IN (
                         SELECT transaction, account_id, region, room FROM room_change
                         WHERE transaction < pg_snapshot_xmax((SELECT $1::text::pg_snapshot))
                           AND pg_visible_in_snapshot(transaction, (SELECT $1::text::pg_snapshot))
                         ORDER BY transaction LIMIT $2)";
    let statement = client.prepare_cached(statement).await?;
    Ok(client.execute(&statement, &[&seen.snapshot, &SWEEP_ROWS_MAX]).await?)
}
