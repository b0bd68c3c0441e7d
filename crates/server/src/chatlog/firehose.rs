//! Firehose: each record is a line of JSON. A stream may take some records of a batch and others not; the others are sent
//! again, so records of one batch may get there in another order (as Firehose itself promises none).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::limit::chat_log::{FIREHOSE_TRIES_MAX, RETRY_MS_MIN};
use serde_json::Value;
use tokio::time::sleep;

use super::parcel::Parcel;
use super::sink::{Consignment, SinkError, call_json, push_json};
use crate::aws::{AwsClient, AwsService};

const PUT_RECORD_BATCH: &str = "Firehose_20150804.PutRecordBatch";

/// Puts the records of a parcel into a stream, those that it did not take once more, and so on for a few times. What was
/// taken is remembered beyond this.
///
/// # Errors
/// See [`SinkError`].
pub(super) async fn put(
    client: &AwsClient,
    consignment: &Consignment,
    parcel: &Parcel,
    stream: &str,
) -> Result<(), SinkError> {
    let region = &consignment.key.scope.region;
    let mut left = parcel.records.clone();
    for number in 0..FIREHOSE_TRIES_MAX {
        if number > 0 {
            sleep(Duration::from_millis(RETRY_MS_MIN << number)).await;
        }
        let body = body(consignment, &left, stream);
        let answer = call_json(client, AwsService::Firehose, region, PUT_RECORD_BATCH, body).await?;
        let Some(failed) = failed(&answer, left.len()) else {
            return Err(SinkError::other("the answer to PutRecordBatch makes no sense"));
        };
        let (again, taken): (Vec<_>, Vec<_>) = left.iter().zip(failed).partition(|(_, failed)| *failed);
        consignment.taken.add(taken.into_iter().map(|(index, _)| *index));
        left = again.into_iter().map(|(index, _)| *index).collect();
        if left.is_empty() {
            return Ok(());
        }
    }
    Err(SinkError::other("the stream takes only some of the records"))
}

fn body(consignment: &Consignment, left: &[usize], stream: &str) -> Vec<u8> {
    let mut body = b"{\"DeliveryStreamName\":".to_vec();
    push_json(&mut body, stream);
    body.extend_from_slice(b",\"Records\":[");
    for (count, index) in left.iter().enumerate() {
        if count > 0 {
            body.push(b',');
        }
        body.extend_from_slice(b"{\"Data\":\"");
        // Firehose puts records together as they are: without an end, lines would run into each other.
        let line = format!("{}\n", consignment.records[*index].json);
        body.extend_from_slice(STANDARD.encode(line).as_bytes());
        body.extend_from_slice(b"\"}");
    }
    body.extend_from_slice(b"]}");
    body
}

/// Which of so many records failed; `None` when the answer does not say of each what became of it.
fn failed(answer: &[u8], records: usize) -> Option<Vec<bool>> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let count = answer["FailedPutCount"].as_u64()?;
    let each = answer["RequestResponses"].as_array()?;
    let is_there = |one: &Value, name: &str| one.get(name).is_some_and(|value| !value.is_null());
    let is_told = each.iter().all(|one| is_there(one, "ErrorCode") || is_there(one, "RecordId"));
    let failed: Vec<bool> = each.iter().map(|one| is_there(one, "ErrorCode")).collect();
    let is_counted = failed.iter().filter(|failed| **failed).count() as u64 == count;
    (failed.len() == records && is_told && is_counted).then_some(failed)
}

#[cfg(test)]
mod tests {
    use super::failed;

    #[test]
    fn an_answer_says_of_each_record_whether_it_failed() {
        for (answer, expected) in [
            (
                r#"{"FailedPutCount":0,"RequestResponses":[{"RecordId":"a"},{"RecordId":"b"}]}"#,
                Some(vec![false, false]),
            ),
            (
                r#"{"FailedPutCount":1,"RequestResponses":[{"RecordId":"a"},{"ErrorCode":"ServiceUnavailableException"}]}"#,
                Some(vec![false, true]),
            ),
            (r#"{"FailedPutCount":1,"RequestResponses":[{"ErrorCode":"x"}]}"#, None),
            (r#"{"FailedPutCount":0,"RequestResponses":[]}"#, None),
            (r#"{"FailedPutCount":0,"RequestResponses":[{"RecordId":"a"},{}]}"#, None),
            (r#"{"FailedPutCount":2,"RequestResponses":[{"RecordId":"a"},{"ErrorCode":"x"}]}"#, None),
            (r#"{}"#, None),
            ("<html>Welcome</html>", None),
            ("", None),
        ] {
            assert_eq!(failed(answer.as_bytes(), 2), expected, "{answer}");
        }
    }
}
