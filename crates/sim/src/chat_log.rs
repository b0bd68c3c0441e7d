//! What the chat logs of rooms must hold: exactly what the room has published, as its subscribers get it, in its order, once
//! for each of its logging configurations, whether anybody was there or not; nothing that was refused, and nothing of a room
//! without any.
//!
//! A frame is known to be published where its room's home hands it to the bus, and an event where the control plane is told so:
//! by then its record must be there, so that it survives whatever becomes of the node. When a node is killed it may leave
//! records that nobody heard of, behind all others of their room; they must be what would have been published.

use std::collections::BTreeMap;

use hub::chat_log::LoggingConfigurations;
use protocol::id::Id;

use crate::auditor::{Auditor, author, content};
use crate::checkers::{Checker, Violation, ensure};
use crate::frames::member;
use crate::node::CHANGED_CONTENT;
use crate::spool::Kept;

/// A room, as far as its log is concerned.
#[derive(Clone, Copy, Debug)]
pub struct LoggedRoom {
    /// Which.
    pub id: Id,
    /// Its logging configurations.
    pub configurations: LoggingConfigurations,
}

/// Places in logs, each of a logging configuration and a room.
type Places = Vec<((Id, Id), usize)>;

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct LogBook {
    /// By logging configuration and room: how many records are accounted for.
    known: BTreeMap<(Id, Id), usize>,
    /// Events that the control plane was told of, by their ids, whose frame has not been seen: where their records are.
    told: BTreeMap<String, Places>,
    /// Records that are known.
    pub records: usize,
    /// Records of what was published and reached nobody, since nobody was there.
    pub unheard: usize,
    /// Records that a killed node has left, and that were never published.
    pub orphans: usize,
}

impl LogBook {
    /// The control plane was told that an event of this id is published.
    ///
    /// # Errors
    /// [`Checker::ChatLog`].
    pub fn on_told(&mut self, kept: &Kept, room: LoggedRoom, id: &str) -> Result<(), Violation> {
        let mut places = Vec::new();
        for configuration in room.configurations.iter() {
            let key = (configuration, room.id);
            let place = self.known.get(&key).copied().unwrap_or(0);
            let record = kept.log(configuration, room.id).get(place);
            let is_it = record.is_some_and(|record| member(record, "Id") == id);
            ensure(is_it, Checker::ChatLog, || {
                format!("event {id} is not record {place} of {key:?}: {record:?}")
            })?;
            self.account_for(key, place);
            places.push((key, place));
        }
        self.unheard += places.len();
        self.told.insert(id.to_owned(), places);
        Ok(())
    }

    /// A room's home has published a frame.
    ///
    /// # Errors
    /// [`Checker::ChatLog`].
    pub fn on_published(&mut self, kept: &Kept, room: LoggedRoom, json: &str) -> Result<(), Violation> {
        let told = self.told.remove(member(json, "Id"));
        self.unheard -= told.as_ref().map_or(0, Vec::len);
        for configuration in room.configurations.iter() {
            let key = (configuration, room.id);
            let place = told.iter().flatten().find(|(of, _)| *of == key).map(|(_, place)| *place);
            let place = place.unwrap_or_else(|| self.known.get(&key).copied().unwrap_or(0));
            let record = kept.log(configuration, room.id).get(place);
            ensure(record.is_some_and(|record| is_record_of(record, json)), Checker::ChatLog, || {
                format!("record {place} of {key:?} is {record:?}, and published is {json}")
            })?;
            if told.is_none() {
                self.account_for(key, place);
            }
        }
        Ok(())
    }

    fn account_for(&mut self, key: (Id, Id), place: usize) {
        self.known.insert(key, place + 1);
        self.records += 1;
    }

    /// Everything that was published is booked: there must be nothing else.
    ///
    /// # Errors
    /// [`Checker::ChatLog`].
    pub fn on_tick(&self, kept: &Kept) -> Result<(), Violation> {
        for (key, length) in kept.lengths() {
            let known = self.known.get(&key).copied().unwrap_or(0);
            ensure(length == known, Checker::ChatLog, || {
                let log = kept.log(key.0, key.1).get(known.min(length)..);
                format!(
                    "{known} frames were published, and the log {key:?} has {length}; behind them {log:?}"
                )
            })?;
        }
        Ok(())
    }

    /// The node was killed. Only rooms whose home was killed within a frame may have more in their logs, which is what would
    /// have been published.
    ///
    /// # Errors
    /// [`Checker::ChatLog`], [`Checker::Review`].
    pub fn on_killed(
        &mut self,
        kept: &Kept,
        auditor: &Auditor,
        is_home_killed: impl Fn(Id) -> bool,
    ) -> Result<(), Violation> {
        for (key, length) in kept.lengths() {
            let known = self.known.get(&key).copied().unwrap_or(0);
            ensure(length == known || length > known && is_home_killed(key.1), Checker::ChatLog, || {
                format!(
                    "{known} frames were published, and the log {key:?} of a home that was not killed has {length}"
                )
            })?;
            for record in &kept.log(key.0, key.1)[known..] {
                ensure(would_be_published(auditor, record), Checker::ChatLog, || {
                    format!("the log {key:?} has what nobody would have published: {record}")
                })?;
                self.orphans += 1;
            }
            self.known.insert(key, length);
        }
        Ok(())
    }
}

/// Whether a record is that of a frame, as it is to be delivered.
fn is_record_of(record: &str, json: &str) -> bool {
    let sent = member(json, "SendTime");
    let sent = sent.trim_end_matches('Z');
    let (seconds, fraction) = sent.split_once('.').unwrap_or((sent, ""));
    let kind = member(json, "Type");
    record
        == format!(
            r#"{{"event_timestamp":"{seconds}.{fraction:0<3.3}Z","type":"{kind}","payload":{json},"version":"1.0"}}"#
        )
}

fn would_be_published(auditor: &Auditor, record: &str) -> bool {
    let (id, request_id) = (member(record, "Id"), member(record, "RequestId"));
    let is_message = record.contains(r#""type":"MESSAGE""#);
    let words = if auditor.changed.contains(id) { CHANGED_CONTENT.to_owned() } else { content(request_id) };
    let is_asked_for = author(request_id).is_none()
        || auditor
            .author(request_id)
            .and_then(|book| book.asks.get(request_id))
            .is_some_and(|ask| !ask.invalid);
    is_asked_for && !auditor.denied.contains(id) && (!is_message || member(record, "Content") == words)
}

#[cfg(test)]
mod tests {
    use super::is_record_of;

    #[test]
    fn a_record_is_the_frame_with_its_time_in_milliseconds() {
        for (sent, stamp) in [
            ("2022-12-02T08:25:51Z", "2022-12-02T08:25:51.000Z"),
            ("2022-12-02T08:25:51.02Z", "2022-12-02T08:25:51.020Z"),
            ("2022-12-02T08:25:51.123456789Z", "2022-12-02T08:25:51.123Z"),
        ] {
            let json = format!(r#"{{"Type":"EVENT","SendTime":"{sent}"}}"#);
            let record = |payload: &str| {
                format!(
                    r#"{{"event_timestamp":"{stamp}","type":"EVENT","payload":{payload},"version":"1.0"}}"#
                )
            };
            assert!(is_record_of(&record(&json), &json));
            assert!(!is_record_of(&record("{}"), &json));
        }
    }
}
