//! CloudWatch Logs: a log stream for each room, made when it is missing; the group has to be there.

use serde_json::Value;

use super::parcel::{Parcel, event_times};
use super::sink::{Consignment, SinkError, call_json, push_json};
use crate::aws::{AwsClient, AwsError, AwsService};
use crate::clock;

const PUT_LOG_EVENTS: &str = "Logs_20140328.PutLogEvents";
const CREATE_LOG_STREAM: &str = "Logs_20140328.CreateLogStream";

/// Puts the events of a parcel into the stream of its room; answers how many were rejected for good.
///
/// # Errors
/// See [`SinkError`].
pub(super) async fn put(
    client: &AwsClient,
    consignment: &Consignment,
    parcel: &Parcel,
    group: &str,
) -> Result<u64, SinkError> {
    let region = &consignment.key.scope.region;
    let stream = protocol::chat_log::log_stream_name(parcel.room);
    let body = put_body(consignment, parcel, group, &stream, clock::now().as_nanos() / 1_000_000);
    let call = |target, body| call_json(client, AwsService::CloudWatchLogs, region, target, body);
    let put = match call(PUT_LOG_EVENTS, body.clone()).await {
        Err(error) if is(&error, "ResourceNotFoundException") => {
            let created = call(CREATE_LOG_STREAM, names(group, &stream, b"")).await;
            match created {
                // When the group is missing, this says so.
                Err(error) if !is(&error, "ResourceAlreadyExistsException") => return Err(error.into()),
                _ => call(PUT_LOG_EVENTS, body).await,
            }
        }
        put => put,
    };
    match put {
        Ok(answer) => rejected(&answer, parcel.records.len())
            .ok_or_else(|| SinkError::other("the answer to PutLogEvents makes no sense")),
        // Older stores say so of what they have already.
        Err(error) if is(&error, "DataAlreadyAcceptedException") => Ok(0),
        Err(error) => Err(error.into()),
    }
}

fn is(error: &AwsError, name: &str) -> bool {
    matches!(error, AwsError::Refused { code, .. } if code == name)
}

/// A request that begins with the two names; `rest` comes before its end.
fn names(group: &str, stream: &str, rest: &[u8]) -> Vec<u8> {
    let mut body = b"{\"logGroupName\":".to_vec();
    push_json(&mut body, group);
    body.extend_from_slice(b",\"logStreamName\":");
    push_json(&mut body, stream);
    body.extend_from_slice(rest);
    body.push(b'}');
    body
}

/// No event is later than `now_ms`: of a batch, the service takes none that is two hours ahead, and those behind a record of
/// a clock that was ahead have its time.
fn put_body(consignment: &Consignment, parcel: &Parcel, group: &str, stream: &str, now_ms: u64) -> Vec<u8> {
    let mut events = b",\"logEvents\":[".to_vec();
    let times = event_times(parcel, &consignment.records).into_iter().map(|time| time.min(now_ms));
    for (count, (index, time)) in parcel.records.iter().zip(times).enumerate() {
        if count > 0 {
            events.push(b',');
        }
        events.extend_from_slice(format!("{{\"timestamp\":{time},\"message\":").as_bytes());
        push_json(&mut events, &consignment.records[*index].json);
        events.push(b'}');
    }
    events.push(b']');
    names(group, stream, &events)
}

/// How many of so many events were too old, too new, or beyond what the group keeps: to send them again would not help.
/// `None` when it is no answer of the service: whoever else answers with 200 has taken nothing.
fn rejected(answer: &[u8], events: usize) -> Option<u64> {
    let answer = serde_json::from_slice::<Value>(answer).ok().filter(Value::is_object)?;
    let info = &answer["rejectedLogEventsInfo"];
    let place = |name: &str| info.get(name).and_then(Value::as_u64);
    let events = events as u64;
    let old = place("tooOldLogEventEndIndex").max(place("expiredLogEventEndIndex")).unwrap_or(0).min(events);
    let new_start = place("tooNewLogEventStartIndex").unwrap_or(events).clamp(old, events);
    Some(old + (events - new_start))
}

#[cfg(test)]
mod tests {
    use super::rejected;

    #[test]
    fn rejected_events_are_counted() {
        for (answer, expected) in [
            ("{}", 0),
            (r#"{"nextSequenceToken":"1"}"#, 0),
            (r#"{"rejectedLogEventsInfo":{"tooOldLogEventEndIndex":3}}"#, 3),
            (r#"{"rejectedLogEventsInfo":{"expiredLogEventEndIndex":4,"tooOldLogEventEndIndex":3}}"#, 4),
            (r#"{"rejectedLogEventsInfo":{"tooNewLogEventStartIndex":7}}"#, 3),
            (r#"{"rejectedLogEventsInfo":{"tooNewLogEventStartIndex":0,"tooOldLogEventEndIndex":10}}"#, 10),
            (r#"{"rejectedLogEventsInfo":{"tooOldLogEventEndIndex":99}}"#, 10),
        ] {
            assert_eq!(rejected(answer.as_bytes(), 10), Some(expected), "{answer}");
        }
    }

    #[test]
    fn who_answers_with_something_else_has_taken_nothing() {
        for answer in ["", "<html>Welcome</html>", "null", "[]", "\"ok\""] {
            assert_eq!(rejected(answer.as_bytes(), 10), None, "{answer}");
        }
    }
}
