//! Message review: asks the handler of a room about a message, within a time limit, and tells the room's home the outcome.
//!
//! The handler of an ARN is what the file of `review.handlers_file` says: [`rules`] in this process, or a [`webhook`]. All
//! others are functions of AWS [`lambda`].
//!
//! Promises:
//! - Each review that is begun ends in one outcome, within the time limit and a moment, whatever the handler does. Whatever
//!   is no verdict is [`Outcome::Failed`]: the room's fallback result stands.
//! - Reviews run on the runtime, never on a shard, and none waits for another: how many there are is bounded by the hub.
//! - No text of a message, and nothing that a handler says, gets into the log.

mod breaker;
mod handlers;
mod lambda;
pub mod rules;
mod webhook;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hub::message::RoomKey;
use hub::review::{Outcome, ReviewRequest};
use protocol::arn::{Arn, ResourceKind};
use protocol::review::{ReviewResponse, ReviewedMessage, parse_review_response};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use self::breaker::Breaker;
pub use self::handlers::HandlersFileError;
use self::handlers::load;
use self::lambda::Lambda;
use self::rules::{Rules, Ruling};
use self::webhook::Webhook;
use crate::aws::{AwsClient, AwsSettings};
use crate::bus::Bus;
use crate::clock;
use crate::config::ReviewConfig;
use crate::metrics::{Metrics, ReviewError};
use crate::outgoing::{Caller, Trust};
use crate::telemetry::{Span, SpanKind, Telemetry};

/// The longest answer of a handler, in bytes: content and attributes as long as they may be, all escaped, fit in.
const ANSWER_BYTES_MAX: usize = 64 * 1_024;

/// Whoever reviews the messages of a room.
enum ReviewHandler {
    /// Rules of the configuration.
    Rules(Box<Rules>),
    /// Somebody's HTTP server.
    Webhook(Webhook),
}

/// Has messages reviewed; clones are the same.
#[derive(Clone)]
pub struct Reviewer(Arc<Parts>);

struct Parts {
    handlers: std::collections::HashMap<Box<str>, ReviewHandler>,
    lambda: Lambda,
    /// Whether what functions need has been looked for.
    is_prepared: AtomicBool,
    time_limit: Duration,
    breaker: Breaker,
    bus: Bus,
    metrics: Arc<Metrics>,
    telemetry: Telemetry,
    runtime: Handle,
}

impl fmt::Debug for Reviewer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reviewer").finish_non_exhaustive()
    }
}

impl Reviewer {
    /// A reviewer as the configuration wants it. Must be called within a runtime, on which reviews will run.
    ///
    /// # Errors
    /// The file of handlers cannot be used.
    pub fn new(config: &ReviewConfig, bus: Bus, metrics: Arc<Metrics>) -> Result<Self, HandlersFileError> {
        Self::with_telemetry(config, bus, metrics, Telemetry::default())
    }

    /// A reviewer that has a span for each review.
    ///
    /// # Errors
    /// As for [`Reviewer::new`].
    pub fn with_telemetry(
        config: &ReviewConfig,
        bus: Bus,
        metrics: Arc<Metrics>,
        telemetry: Telemetry,
    ) -> Result<Self, HandlersFileError> {
        let settings = AwsSettings::of_process();
        let trust = Trust::from_variables(|name| settings.get(name).map(str::to_owned));
        // All functions of a region have one origin: no review waits for another there.
        let calls_max = usize::try_from(config.in_flight_per_node_max).unwrap_or(usize::MAX);
        let caller = Caller::with_calls_per_origin_max(trust, calls_max);
        let handlers = match &config.handlers_file {
            Some(file) => load(file, &caller)?,
            None => std::collections::HashMap::new(),
        };
        Ok(Self(Arc::new(Parts {
            handlers,
            lambda: Lambda::new(AwsClient::new(settings, caller)),
            is_prepared: AtomicBool::new(false),
            time_limit: Duration::from_millis(config.timeout_ms),
            breaker: Breaker::new(config.breaker_failures, Duration::from_millis(config.breaker_pause_ms)),
            bus,
            metrics,
            telemetry,
            runtime: Handle::current(),
        })))
    }

    /// Begins a review; its outcome goes to the room's home. Never blocks.
    pub fn begin(&self, request: ReviewRequest) {
        let Parts { runtime, time_limit, .. } = &*self.0;
        let deadline = Instant::now() + *time_limit;
        let reviewer = self.clone();
        runtime.spawn(async move {
            let (room, ticket, handler) =
                (request.room.clone(), request.ticket, Arc::clone(&request.handler));
            let parts = Arc::clone(&reviewer.0);
            // In a task of its own: a review that panics has an outcome, too.
            let review = tokio::spawn(async move { parts.observed(&request, deadline).await });
            let outcome = reviewer.0.outcome(review, &handler).await;
            reviewer.0.bus.reviewed(room, ticket, outcome).await;
        });
    }

    /// Somebody has come into a room with this handler: what it takes to ask it is looked for, so that the first message
    /// need not wait for that. Never blocks.
    pub fn prepare(&self, handler: &str) {
        let parts = &self.0;
        if !parts.handlers.contains_key(handler) && !parts.is_prepared.swap(true, Ordering::Relaxed) {
            let reviewer = self.clone();
            parts.runtime.spawn(async move { reviewer.0.lambda.prepare().await });
        }
    }

    /// Whether the handler of an ARN can be asked at all: a function must be there and may be invoked.
    pub async fn may_ask(&self, handler: &str) -> bool {
        self.0.handlers.contains_key(handler) || self.0.lambda.may_invoke(handler).await
    }
}

/// Why there is no answer to read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum AskError {
    /// Nobody can be asked: there is neither an endpoint for functions nor anybody to ask as.
    NotConfigured,
    /// Nothing has come in time.
    TimedOut,
    /// The answer has more than [`ANSWER_BYTES_MAX`].
    TooLong,
    /// The answer is no verdict: why not.
    NoResponse(String),
    /// The review itself has failed.
    Panicked,
    /// Why not, without a word of what the handler has said.
    Failed(String),
}

impl fmt::Display for AskError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConfigured => {
                formatter.write_str("there is no endpoint of Lambda and there are no AWS credentials")
            }
            Self::TimedOut => formatter.write_str("no answer in time"),
            Self::TooLong => formatter.write_str("the answer is too long"),
            Self::Panicked => formatter.write_str("the review has panicked"),
            Self::NoResponse(cause) | Self::Failed(cause) => formatter.write_str(cause),
        }
    }
}

impl AskError {
    /// How it is counted: as the service does, which takes an answer that is too long for one that is none.
    const fn kind(&self) -> ReviewError {
        match self {
            Self::TooLong | Self::NoResponse(_) => ReviewError::ResponseValidation,
            Self::NotConfigured | Self::TimedOut | Self::Panicked | Self::Failed(_) => {
                ReviewError::Invocation
            }
        }
    }

    /// What its span calls it.
    const fn type_name(&self) -> &'static str {
        match (self, self.kind()) {
            (Self::TimedOut, _) => "timeout",
            (_, ReviewError::ResponseValidation) => "invalid_response",
            (_, ReviewError::Invocation) => "invocation",
        }
    }
}

impl Parts {
    /// A review, and its span.
    async fn observed(&self, request: &ReviewRequest, deadline: Instant) -> Outcome {
        let (kind, handler) = match self.handlers.get(&*request.handler) {
            Some(ReviewHandler::Rules(_)) => (SpanKind::Internal, "rules"),
            Some(ReviewHandler::Webhook(_)) => (SpanKind::Client, "webhook"),
            None => (SpanKind::Client, "lambda"),
        };
        let mut span = self.telemetry.begin(kind, "review message");
        let outcome = self.review(request, deadline, &mut span).await;
        span.say("grandstand.review.handler.kind", || handler);
        span.say("grandstand.review.handler.arn", || request.handler.to_string());
        span.say("grandstand.room.arn", || room_arn(&request.room));
        span.say("grandstand.review.outcome", || match &outcome {
            Outcome::Allowed => "allowed",
            Outcome::Changed { .. } => "changed",
            Outcome::Denied { .. } => "denied",
            Outcome::Failed => "failed",
        });
        span.say("grandstand.review.fallback", || outcome == Outcome::Failed);
        outcome
    }

    async fn review(&self, request: &ReviewRequest, deadline: Instant, span: &mut Span) -> Outcome {
        let handler = self.handlers.get(&*request.handler);
        if let Some(ReviewHandler::Rules(rules)) = handler {
            return match rules.rule(&said(request), clock::monotonic_nanos()) {
                Ruling::Allow => Outcome::Allowed,
                Ruling::Mask { content, attributes } => Outcome::Changed { content, attributes },
                Ruling::Deny { reason } => Outcome::Denied { reason: reason.map(str::to_owned) },
            };
        }
        if self.breaker.is_open(&request.handler) {
            self.metrics.count_review_error(ReviewError::Invocation, &request.handler);
            fail(span, "breaker_open");
            return Outcome::Failed;
        }
        let (traceparent, trace_id) = (span.traceparent(), span.amazon_trace_id());
        let body = message(request, &room_arn(&request.room));
        let ask = async {
            match handler {
                Some(ReviewHandler::Webhook(webhook)) => webhook.ask(body, deadline, traceparent).await,
                _ => self.lambda.ask(&request.room.scope, &request.handler, body, deadline, trace_id).await,
            }
        };
        let answer = timeout_at(deadline, Box::pin(ask)).await.unwrap_or(Err(AskError::TimedOut));
        self.read(request, answer, span)
    }

    /// What an answer, or none, comes to.
    fn read(
        &self,
        request: &ReviewRequest,
        answer: Result<bytes::Bytes, AskError>,
        span: &mut Span,
    ) -> Outcome {
        let response = answer.and_then(|answer| {
            let response = parse_review_response(&answer, request.message_length_max);
            response.map_err(|error| AskError::NoResponse(error.to_string()))
        });
        match response {
            Ok(response) => {
                self.breaker.succeeded(&request.handler);
                outcome(response, request)
            }
            Err(error) => {
                fail(span, error.type_name());
                self.failed(&request.handler, &error)
            }
        }
    }

    /// The outcome of a review, however it ends.
    async fn outcome(&self, review: JoinHandle<Outcome>, handler: &Arc<str>) -> Outcome {
        review.await.unwrap_or_else(|_panic| self.failed(handler, &AskError::Panicked))
    }

    /// Counts a review that has come to nothing, and tells of it.
    fn failed(&self, handler: &Arc<str>, error: &AskError) -> Outcome {
        self.metrics.count_review_error(error.kind(), handler);
        // What is not set up was told once for all handlers, and costs no time.
        if *error != AskError::NotConfigured && self.breaker.failed(handler) {
            tracing::warn!(
                %handler,
                cause = %error,
                "a message was not reviewed: its room's fallback result stands; this is not said again for a minute"
            );
        }
        Outcome::Failed
    }
}

/// The span of a review that has failed.
fn fail(span: &mut Span, error_type: &'static str) {
    span.say("error.type", || error_type);
    span.fail();
}

fn outcome(response: ReviewResponse, request: &ReviewRequest) -> Outcome {
    match response {
        ReviewResponse::Allow { content, attributes: None } if content == request.content => Outcome::Allowed,
        ReviewResponse::Allow { content, attributes } => Outcome::Changed { content, attributes },
        ReviewResponse::Deny { reason } => Outcome::Denied { reason },
    }
}

fn room_arn(room: &RoomKey) -> String {
    Arn::new((*room.scope).clone(), ResourceKind::Room, room.id).to_string()
}

fn said(request: &ReviewRequest) -> rules::Message<'_> {
    let ReviewRequest { content, attributes, room, sender, .. } = request;
    rules::Message { content, attributes: attributes.as_ref(), room, sender }
}

fn message(request: &ReviewRequest, room_arn: &str) -> String {
    let message = ReviewedMessage {
        content: &request.content,
        message_id: request.message_id,
        room_arn,
        attributes: request.attributes.as_ref(),
        sender: &request.sender,
        client: request.client,
    };
    message.encode()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use hub::review::Outcome;

    use super::Reviewer;
    use crate::bus::Bus;
    use crate::config::{Sources, load};
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn a_review_that_panics_is_counted_and_told_by_its_handler() {
        let metrics = Arc::new(Metrics::new(1));
        let config = load(&Sources::default()).unwrap().config;
        let reviewer = Reviewer::new(&config.review, Bus::local(Vec::new()), Arc::clone(&metrics)).unwrap();
        let handler: Arc<str> = "arn:x".into();
        let review = tokio::spawn(async { panic!("a planted panic") });
        assert_eq!(reviewer.0.outcome(review, &handler).await, Outcome::Failed);
        let counted = "grandstand_review_invocation_errors_total{handler=\"arn:x\"} 1\n";
        assert!(metrics.encode().unwrap().contains(counted));
        assert!(!reviewer.0.breaker.failed(&handler), "it was told just now");
    }
}
