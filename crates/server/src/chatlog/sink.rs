//! Where records go: S3, CloudWatch Logs or Firehose, at AWS (or whatever speaks like it) or as folders of the same names.

use std::fmt;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use protocol::limit::chat_log::{ANSWER_BYTES_MAX, CALL_SECONDS_MAX};
use tokio::time::Instant;

use super::attempt::Taken;
use super::folder::FolderSink;
use super::parcel::Parcel;
use super::record::Record;
use super::spool::SpoolKey;
use super::{cloudwatch_logs, firehose, s3};
use crate::aws::{AwsCall, AwsClient, AwsError, AwsService};
use crate::metrics::DestinationError;
use crate::store::Destination;
use crate::telemetry::{Span, SpanKind, Telemetry};

/// Codes of AWS that say who may not, beside those of the statuses 401 and 403.
const DENIALS: [&str; 7] = [
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "UnrecognizedClientException",
];

/// The way to the destinations of logging configurations; clones share it.
#[derive(Clone)]
pub(super) struct Sink {
    /// Stands for the services that are not at AWS.
    pub(super) folder: FolderSink,
    /// Calls the others.
    pub(super) client: AwsClient,
    /// Those that are at AWS, or whatever speaks like it.
    pub(super) are_aws: ServiceSet,
    /// Has a span for each parcel.
    pub(super) telemetry: Telemetry,
}

/// Some of the three services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ServiceSet {
    pub(super) s3: bool,
    pub(super) cloudwatch_logs: bool,
    pub(super) firehose: bool,
}

/// What is on its way to a destination.
pub(super) struct Consignment {
    /// Whose.
    pub(super) key: SpoolKey,
    /// Where to.
    pub(super) destination: Destination,
    /// The batch.
    pub(super) records: Arc<[Record]>,
    /// The beginning of the window of an object of S3, in seconds since 1970.
    pub(super) window_s: u64,
    /// Which try this is, of those in a row that have failed.
    pub(super) attempt: u32,
    /// The lock of the process that ships: it is not given back while anything is on its way.
    pub(super) _turn: Arc<File>,
    /// What the destination has taken of the batch, kept from one try to the next.
    pub(super) taken: Arc<Taken>,
}

/// Why a parcel did not arrive. Never says what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SinkError {
    /// What it counts as.
    pub(super) kind: DestinationError,
    /// For the log.
    pub(super) text: String,
}

impl SinkError {
    /// A failure of no special kind.
    #[must_use]
    pub(super) fn other(text: impl Into<String>) -> Self {
        Self { kind: DestinationError::Other, text: text.into() }
    }

    /// Whether it will be so until somebody changes something.
    #[must_use]
    pub(super) fn is_lasting(&self) -> bool {
        self.kind != DestinationError::Other
    }
}

impl fmt::Display for SinkError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl From<AwsError> for SinkError {
    fn from(error: AwsError) -> Self {
        let kind = match &error {
            AwsError::Refused { status, code, .. } => match (*status, code.as_str()) {
                (404, _) | (_, "NoSuchBucket" | "ResourceNotFoundException") => {
                    DestinationError::ResourceNotFound
                }
                (401 | 403, _) => DestinationError::AccessDenied,
                (_, code) if DENIALS.contains(&code) => DestinationError::AccessDenied,
                _ => DestinationError::Other,
            },
            _ => DestinationError::Other,
        };
        Self { kind, text: error.to_string() }
    }
}

impl Sink {
    /// Whether a destination waits a while for records to gather, since each call costs.
    #[must_use]
    pub(super) fn gathers(&self, destination: &Destination) -> bool {
        match destination {
            Destination::S3(_) => self.are_aws.s3,
            Destination::CloudWatchLogs(_) => self.are_aws.cloudwatch_logs,
            Destination::Firehose(_) => self.are_aws.firehose,
        }
    }

    /// Sends a parcel; answers how many of its records the destination will never take.
    ///
    /// # Errors
    /// See [`SinkError`]; the parcel is to be sent again.
    pub(super) async fn send(
        &self,
        consignment: &Arc<Consignment>,
        parcel: &Parcel,
    ) -> Result<u64, SinkError> {
        let mut span = self.begin_span(consignment, parcel);
        let sent = self.carry(consignment, parcel).await;
        match &sent {
            Ok(rejected) => span.say("grandstand.chatlog.rejected_records", || *rejected),
            Err(error) => {
                span.say("error.type", || match error.kind {
                    DestinationError::AccessDenied => "access_denied",
                    DestinationError::ResourceNotFound => "resource_not_found",
                    DestinationError::Other => "other",
                });
                span.fail();
            }
        }
        sent
    }

    fn begin_span(&self, consignment: &Consignment, parcel: &Parcel) -> Span {
        let is_called = self.gathers(&consignment.destination);
        let kind = if is_called { SpanKind::Client } else { SpanKind::Internal };
        let mut span = self.telemetry.begin(kind, "ship chat log");
        span.say("grandstand.chatlog.destination", || match &consignment.destination {
            Destination::S3(_) => "s3",
            Destination::CloudWatchLogs(_) => "cloudwatch_logs",
            Destination::Firehose(_) => "firehose",
        });
        span.say("grandstand.chatlog.folder", || !is_called);
        span.say("grandstand.logging_configuration.arn", || consignment.key.arn().to_string());
        span.say("grandstand.chatlog.records", || parcel.records.len() as u64);
        span.say("grandstand.chatlog.bytes", || {
            parcel.records.iter().map(|place| consignment.records[*place].json.len() as u64).sum::<u64>()
        });
        span.say("grandstand.chatlog.attempt", || u64::from(consignment.attempt));
        span
    }

    async fn carry(&self, consignment: &Arc<Consignment>, parcel: &Parcel) -> Result<u64, SinkError> {
        if !self.gathers(&consignment.destination) {
            return self.folder.send(consignment, parcel).await.map(|()| 0);
        }
        match &consignment.destination {
            Destination::S3(bucket) => s3::put(&self.client, consignment, parcel, bucket).await.map(|()| 0),
            Destination::CloudWatchLogs(group) => {
                cloudwatch_logs::put(&self.client, consignment, parcel, group).await
            }
            Destination::Firehose(stream) => {
                firehose::put(&self.client, consignment, parcel, stream).await.map(|()| 0)
            }
        }
    }
}

/// A call of a JSON operation, such as `Logs_20140328.PutLogEvents`.
pub(super) async fn call_json(
    client: &AwsClient,
    service: AwsService,
    region: &str,
    target: &str,
    body: Vec<u8>,
) -> Result<Bytes, AwsError> {
    let call = AwsCall {
        service,
        region,
        method: Method::POST,
        path: "/",
        headers: &[("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target)],
        body: body.into(),
        deadline: deadline(),
        answer_bytes_max: ANSWER_BYTES_MAX,
    };
    Ok(client.call(call).await?.body)
}

/// When a call that begins now has to be answered.
pub(super) fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(CALL_SECONDS_MAX)
}

/// Appends a JSON string.
pub(super) fn push_json(json: &mut Vec<u8>, text: &str) {
    // A string can always be written to memory.
    let _ = serde_json::to_writer(json, text);
}

#[cfg(test)]
mod tests {
    use super::{AwsError, SinkError};
    use crate::metrics::DestinationError;

    #[test]
    fn errors_of_aws_count_as_what_they_are() {
        for (status, code, kind) in [
            (403, "AccessDenied", DestinationError::AccessDenied),
            (400, "AccessDeniedException", DestinationError::AccessDenied),
            (400, "UnrecognizedClientException", DestinationError::AccessDenied),
            (403, "SignatureDoesNotMatch", DestinationError::AccessDenied),
            (404, "NoSuchBucket", DestinationError::ResourceNotFound),
            (400, "ResourceNotFoundException", DestinationError::ResourceNotFound),
            (400, "ThrottlingException", DestinationError::Other),
            (503, "SlowDown", DestinationError::Other),
        ] {
            let error = SinkError::from(AwsError::Refused { status, code: code.to_owned() });
            assert_eq!(error.kind, kind, "{code}");
            assert_eq!(error.text, format!("status {status}, {code}"));
            assert_eq!(error.is_lasting(), kind != DestinationError::Other);
        }
        assert_eq!(SinkError::from(AwsError::TimedOut).kind, DestinationError::Other);
    }
}
