//! The span of a request.
//!
//! It is made when the request has ended: it has no parts, and a `traceparent` is believed only of those whose signature was right, so
//! that strangers cannot have everything kept.

use std::time::Instant;

use hyper::HeaderMap;

use super::receive::Refusal;
use super::{Asked, Success};
use crate::telemetry::{Parent, SpanKind, Telemetry};

/// A request that is under way.
pub(super) struct Tracer<'a> {
    /// `None`: there are no spans.
    telemetry: Option<&'a Telemetry>,
    started: Instant,
    parent: Option<Parent>,
}

impl<'a> Tracer<'a> {
    /// Of a request that has come at `started`, with these headers if they could be read.
    pub(super) fn begin(telemetry: &'a Telemetry, started: Instant, headers: Option<&HeaderMap>) -> Self {
        let telemetry = Some(telemetry).filter(|telemetry| telemetry.has_spans());
        let parent = telemetry.and(headers).and_then(Parent::of);
        Self { telemetry, started, parent }
    }

    /// The request was answered.
    pub(super) fn end(self, asked: Option<&Asked>, request_id: &str, outcome: &Result<Success, Refusal>) {
        let Some(telemetry) = self.telemetry else { return };
        let name = asked.map_or("unknown operation", |asked| asked.operation.name());
        let parent = self.parent.filter(|_| asked.is_some());
        let mut span = telemetry.resume(SpanKind::Server, name, self.started.into(), parent);
        if !span.is_kept() {
            return;
        }
        span.say("rpc.system", || "aws-api");
        span.say("rpc.service", || "ivschat");
        if let Some(asked) = asked {
            span.say("rpc.method", || asked.operation.name());
            span.say("cloud.region", || asked.region.as_deref().unwrap_or_default().to_owned());
        }
        span.say("aws.request_id", || request_id.to_owned());
        let (status, error) = match outcome {
            Ok(success) => (success.status, None),
            Err(refusal) => {
                let (name, status) = refusal.error.code().name_and_status();
                (status, Some(name))
            }
        };
        span.say("http.response.status_code", || u64::from(status));
        if let Some(error) = error {
            span.say("error.type", || error);
        }
        // What is the client's own fault is none of the server's.
        if status >= 500 {
            span.fail();
        }
    }
}
