//! What other servers did to rooms: whoever updates or deletes one leaves a note in the same transaction, and all servers
//! look for notes several times a second.
//!
//! A note is dated when it is written, and comes to light with the commit, so notes need not come to light in the order of
//! their dates. Each look therefore goes back [`NEWS_DELAY_SECONDS_MAX`], and passes over what it has seen. It reads one
//! range of an index, which is as long as much was changed in that time: nothing where nobody updates rooms, and tens of
//! thousands of notes where thousands are updated every second, so that looks then take a good part of the database's time.
//!
//! Notes are kept for [`NEWS_KEPT_SECONDS`]. A server that could not look for longer may have missed some, and is told so: it
//! reads the rooms that it has open again, all of them.
//!
//! Limit: a note whose commit takes longer than the delay is seen by nobody. No try of a request takes so long; but when the
//! disk of the database stalls, or a standby that it waits for, a commit may come long after its request was answered with
//! an error. Other servers then learn of that change with the next one.

use std::collections::BTreeSet;

use deadpool_postgres::{Client, GenericClient};
use protocol::arn::Scope;
use protocol::id::Id;
use protocol::limit::postgres::{
    NEWS_DELAY_SECONDS_MAX, NEWS_KEPT_SECONDS, ROOMS_PER_READ_MAX, SWEEP_ROWS_MAX,
};
use protocol::time::UnixMicros;

use super::super::{Room, RoomNews};
use super::connections::Parameter;
use super::failure::{Failure, Unreadable};
use super::pipeline::{Step, values};
use super::row;

const MICROS_PER_SECOND: i64 = 1_000_000;

/// A note: when, whose, which.
type Note = (UnixMicros, Scope, Id);

/// What one server has seen.
#[derive(Default)]
pub(super) struct Seen {
    /// The database's clock at the last look; `None` before the first.
    last_look: Option<UnixMicros>,
    /// As far back as looks go.
    notes: BTreeSet<Note>,
}

/// Leaves notes that these rooms have changed, or are gone.
pub(super) async fn add<'a>(
    client: &impl GenericClient,
    scope: &'a Scope,
    rooms: &[&'a Room],
) -> Result<Step<'a>, Failure> {
    let statement = "INSERT INTO room_change (change_time, account_id, region, room)
                     SELECT order_clock(), $1, $2, room FROM unnest($3::text[]) AS changed (room)
                     ON CONFLICT DO NOTHING";
    let ids: Vec<&str> = rooms.iter().map(|room| room.id.as_str()).collect();
    Step::new(client, statement, values![&*scope.account_id, &*scope.region, ids]).await
}

/// What a look has found.
#[derive(Default)]
pub(super) struct Looked {
    /// For the next look.
    pub(super) seen: Seen,
    /// The rooms that new notes are about.
    pub(super) rooms: Vec<RoomNews>,
    /// Between the last look and this one notes may have been dropped.
    pub(super) has_gap: bool,
}

/// Looks for notes, and reads their rooms. The first look finds nothing: what was before is no news.
pub(super) async fn look(client: Client, seen: &Seen) -> Result<Looked, Failure> {
    let statement = client.prepare_cached("SELECT order_clock()").await?;
    let now: UnixMicros = client.query_one(&statement, &[]).await?.try_get(0)?;
    let Some(last_look) = seen.last_look else {
        return Ok(Looked { seen: Seen { last_look: Some(now), ..Seen::default() }, ..Looked::default() });
    };
    let since = last_look - NEWS_DELAY_SECONDS_MAX * MICROS_PER_SECOND;
    let notes = notes_since(&client, since).await?;
    let mut new: Vec<&Note> = notes.difference(&seen.notes).collect();
    new.sort_by_key(|(_, scope, id)| (scope, *id));
    new.dedup_by_key(|(_, scope, id)| (scope, *id));
    let mut rooms = Vec::new();
    for part in new.chunks(ROOMS_PER_READ_MAX) {
        rooms.extend(read(&client, part).await?);
    }
    // A clock that has stepped back a little does not make old notes new. One that has stepped back far, that of a standby
    // which took over, dates notes long before those that were looked at.
    let has_stepped_back = last_look - now > NEWS_DELAY_SECONDS_MAX * MICROS_PER_SECOND / 2;
    Ok(Looked {
        seen: Seen { last_look: Some(if has_stepped_back { now } else { now.max(last_look) }), notes },
        rooms,
        has_gap: has_stepped_back || now - last_look > NEWS_KEPT_SECONDS * MICROS_PER_SECOND,
    })
}

async fn notes_since(client: &Client, since: UnixMicros) -> Result<BTreeSet<Note>, Failure> {
    let statement = "SELECT change_time, account_id, region, room FROM room_change WHERE change_time > $1";
    let statement = client.prepare_cached(statement).await?;
    let rows = client.query(&statement, &[&since]).await?;
    Ok(rows
        .iter()
        .map(|found| Ok((row::get(found, "change_time")?, row::scope(found)?, row::id(found, "room")?)))
        .collect::<Result<_, Unreadable>>()?)
}

/// The rooms as they are now.
async fn read(client: &Client, notes: &[&Note]) -> Result<Vec<RoomNews>, Failure> {
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
        &notes.iter().map(|(_, scope, _)| &*scope.account_id).collect::<Vec<_>>(),
        &notes.iter().map(|(_, scope, _)| &*scope.region).collect::<Vec<_>>(),
        &notes.iter().map(|(.., id)| id.as_str()).collect::<Vec<_>>(),
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

/// Drops old notes; a part of them only, if there are many. Answers how many.
pub(super) async fn sweep(client: Client) -> Result<u64, Failure> {
    let statement = "DELETE FROM room_change WHERE (change_time, account_id, region, room) IN (
                         SELECT change_time, account_id, region, room FROM room_change
                         WHERE change_time < (SELECT order_clock() - $1::bigint) ORDER BY change_time LIMIT $2)";
    let statement = client.prepare_cached(statement).await?;
    let kept_micros = (NEWS_KEPT_SECONDS + NEWS_DELAY_SECONDS_MAX) * MICROS_PER_SECOND;
    Ok(client.execute(&statement, &[&kept_micros, &SWEEP_ROWS_MAX]).await?)
}
