//! What is in a file of a chat log's spool, whatever a disk has made of it.

use server::chatlog::record::{Found, decode, encode};

/// What comes of the inputs that are kept: every branch is reached.
pub(crate) const OUTCOMES: &[&str] = &["record", "part", "damage"];

/// What is read is what was written: there are no other bytes for the same records.
pub(crate) fn run(data: &[u8]) -> Vec<String> {
    let mut outcomes = Vec::new();
    let mut rest = data;
    loop {
        match decode(rest) {
            Found::Record(record, length) => {
                let mut again = Vec::new();
                encode(record.room, record.time_ms, record.number, &record.json, &mut again);
                assert_eq!(again, rest[..length]);
                // With less of it, it is the beginning of a record, and nothing else.
                assert_eq!(decode(&rest[..length - 1]), Found::Part);
                rest = &rest[length..];
                outcomes.push("record".to_owned());
            }
            Found::Part => {
                outcomes.push("part".to_owned());
                return outcomes;
            }
            Found::Damage => {
                outcomes.push("damage".to_owned());
                return outcomes;
            }
        }
    }
}
