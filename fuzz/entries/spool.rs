//! What is in a file of a chat log's spool, whatever a disk has made of it.

use server::chatlog::record::{Found, LENGTH_BYTES, decode, encode, withheld_length};

/// What comes of the inputs that are kept: every branch is reached.
pub(crate) const OUTCOMES: &[&str] = &["record", "withheld", "part", "damage"];

/// What is read is what was written: there are no other bytes for the same records.
pub(crate) fn run(data: &[u8]) -> Vec<String> {
    let mut outcomes = Vec::new();
    let mut rest = data;
    loop {
        let (record, length, is_withheld) = match decode(rest) {
            Found::Record(record, length) => (record, length, false),
            Found::Withheld(record, length) => (record, length, true),
            Found::Part => {
                outcomes.push("part".to_owned());
                return outcomes;
            }
            Found::Damage => {
                outcomes.push("damage".to_owned());
                return outcomes;
            }
        };
        let mut again = Vec::new();
        encode(record.room, record.time_ms, record.number, &record.json, &mut again);
        if is_withheld {
            let withheld = withheld_length(&again);
            again[..LENGTH_BYTES].copy_from_slice(&withheld);
        }
        assert_eq!(again, rest[..length]);
        // With less of it, it is the beginning of a record, and nothing else.
        assert_eq!(decode(&rest[..length - 1]), Found::Part);
        rest = &rest[length..];
        outcomes.push(if is_withheld { "withheld" } else { "record" }.to_owned());
    }
}
