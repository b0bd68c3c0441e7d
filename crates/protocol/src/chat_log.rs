//! What a chat log looks like where it is delivered: the record of a message or an event, and the names under which S3
//! and CloudWatch Logs keep them.
//!
//! Order of keys and form of names are those observed on the service, and in the examples of its guide.

use crate::arn::Scope;
use crate::id::Id;
use crate::time::Timestamp;

/// The version that records and names bear.
const VERSION: &str = "1.0";

/// What a record is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// A MESSAGE frame.
    Message,
    /// An EVENT frame, of the application or `aws:…`.
    Event,
}

impl RecordKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "MESSAGE",
            Self::Event => "EVENT",
        }
    }
}

/// One record, without a line's end. `payload` is the frame as subscribers get it; `time` is its `SendTime`, of which a
/// record has the milliseconds.
#[must_use]
pub fn encode_record(kind: RecordKind, time: Timestamp, payload: &str) -> String {
    let mut json = String::with_capacity(payload.len() + 112);
    json.push_str("{\"event_timestamp\":\"");
    json.push_str(time.to_millis().as_str());
    json.push_str("\",\"type\":\"");
    json.push_str(kind.as_str());
    json.push_str("\",\"payload\":");
    json.push_str(payload);
    json.push_str(",\"version\":\"");
    json.push_str(VERSION);
    json.push_str("\"}");
    json
}

/// The key of an object with records of a room. `window` is the beginning of the time that the object is for; `hash` tells
/// objects of one minute apart. (The guide's template lacks the `T` and `Z` that its example has.)
#[must_use]
pub fn object_key(scope: &Scope, room: Id, window: Timestamp, hash: u32) -> String {
    let (account, region) = (&scope.account_id, &scope.region);
    let stamp = window.to_amz_text();
    let (year, month, day, hour) = (&stamp[..4], &stamp[4..6], &stamp[6..8], &stamp[9..11]);
    let minute = &stamp[..13];
    format!(
        "AWSLogs/{account}/IVSChatLogs/{VERSION}/{region}/room_{room}/{year}/{month}/{day}/{hour}/\
         {account}_IVSChatLogs_{VERSION}_{region}_room_{room}_{minute}Z_{hash:08x}.log.gz"
    )
}

/// The log stream of a room: one per room.
#[must_use]
pub fn log_stream_name(room: Id) -> String {
    format!("aws/IVSChatLogs/{VERSION}/room_{room}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{RecordKind, encode_record, log_stream_name, object_key};
    use crate::arn::Scope;
    use crate::id::Id;
    use crate::time::Timestamp;

    fn room() -> Id {
        Id::parse("abc123DEF456").unwrap()
    }

    #[test]
    fn a_record_has_the_keys_of_the_service_in_their_order() {
        let time = Timestamp::from_nanos(1_672_929_212_894_999_999);
        assert_eq!(
            encode_record(RecordKind::Message, time, r#"{"Type":"MESSAGE","Id":"x"}"#),
            r#"{"event_timestamp":"2023-01-05T14:33:32.894Z","type":"MESSAGE","payload":{"Type":"MESSAGE","Id":"x"},"version":"1.0"}"#
        );
        assert!(
            encode_record(RecordKind::Event, time, "{}").contains(r#""type":"EVENT","payload":{},"version""#)
        );
    }

    #[test]
    fn names_are_those_of_the_guide() {
        let scope = Scope { account_id: "123456789012".into(), region: "us-west-2".into() };
        let window = Timestamp::parse_amz("20221014T174000Z").unwrap();
        assert_eq!(
            object_key(&scope, room(), window, 0x1766_dcbc),
            "AWSLogs/123456789012/IVSChatLogs/1.0/us-west-2/room_abc123DEF456/2022/10/14/17/\
             123456789012_IVSChatLogs_1.0_us-west-2_room_abc123DEF456_20221014T1740Z_1766dcbc.log.gz"
        );
        assert_eq!(log_stream_name(room()), "aws/IVSChatLogs/1.0/room_abc123DEF456");
    }
}
