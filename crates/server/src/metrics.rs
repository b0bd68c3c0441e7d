//! Every metric of the server, its labels and its meaning. `GET /metrics` on the admin port shows them in the text
//! format of OpenMetrics, and `docs/metrics.md` lists them ([`Catalogue`]).
//!
//! Labels come from closed sets, or are the first hundred that users make and then `other`, so the number of series is bounded. What happens on a shard is counted there
//! ([`Figures`]) and summed up when somebody asks; so is what the store counts ([`StoreMeters`]), and what the system says of the process.

mod audit;
mod catalogue;
mod chat_log;
mod figures;
mod process;
mod sizes;
mod store_meters;
mod telemetry;
mod user_labels;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hub::message::Cause;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

pub use self::audit::AuditMetrics;
pub use self::catalogue::{Catalogue, PREFIX};
pub use self::chat_log::{ChatLogMetrics, DestinationError};
pub use self::figures::{Figures, Latest};
use self::process::ProcessFigures;
use self::sizes::Sizes;
pub use self::store_meters::StoreMeters;
pub use self::telemetry::{SpanLoss, TelemetryMetrics};
use self::user_labels::UserLabels;

/// The metrics; share them behind an `Arc`. What each means is said where it is added to the catalogue.
#[derive(Debug)]
pub struct Metrics {
    catalogue: Catalogue,
    shards: Arc<[Arc<Figures>]>,
    /// What the store counts.
    pub store: Arc<StoreMeters>,
    /// What the audit log counts.
    pub audit: Arc<AuditMetrics>,
    /// Requests to the control plane that were answered.
    pub api_requests: Family<ApiRequest, Counter>,
    /// Handshakes of the messaging edge that were refused.
    pub handshakes_refused: Family<HandshakeRefusal, Counter>,
    /// Handshakes after which the client was let in.
    pub handshakes_admitted: Counter,
    /// Handshakes that are under way, or held.
    pub handshakes_waiting: Gauge,
    connections: Gauge,
    messaging_requests: Family<ByAction, Counter>,
    deliveries: Family<ByAction, Counter>,
    slow_readers_dropped: Counter,
    dead_peers_dropped: Counter,
    pauses: Counter,
    review_fallbacks: Counter,
    /// What becomes of chat logs.
    pub chat_log: ChatLogMetrics,
    reviews_refused: Counter,
    reviews_waiting: Gauge,
    review_invocation_errors: Family<ReviewHandlerLabel, Counter>,
    review_response_validation_errors: Family<ReviewHandlerLabel, Counter>,
    handler_labels: UserLabels,
    /// What becomes of what is exported.
    pub telemetry: Arc<TelemetryMetrics>,
    process: ProcessFigures,
}

/// Labels of [`Metrics::api_requests`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ApiRequest {
    /// Name of the operation; `none` when the request got no as far as that.
    pub operation: &'static str,
    /// `ok`, or the name of the error.
    pub result: &'static str,
}

/// Labels of [`Metrics::handshakes_refused`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HandshakeRefusal {
    /// The HTTP status of the answer.
    pub status: u16,
    /// What the client was told.
    pub reason: &'static str,
}

/// Labels of what is counted by action.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByAction {
    /// Name of the action, or `none`.
    action: &'static str,
}

/// Labels of the errors of message review.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReviewHandlerLabel {
    /// The ARN of the handler, or `other`.
    handler: Arc<str>,
}

/// What went wrong with a review, as the service's own metrics tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReviewError {
    /// The handler could not be asked, failed, or took too long.
    Invocation,
    /// What it said is no response.
    ResponseValidation,
}

impl Metrics {
    /// The metrics of a server with so many shards.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        let shards: Arc<[Arc<Figures>]> = (0..shards).map(|_| Arc::default()).collect();
        let mut list = Catalogue::new();
        let connections = list.add("connections", &[], "Open chat connections");
        let messaging_requests = list.add(
            "messaging_requests",
            &["action"],
            "What chat clients and the control plane asked rooms for, also in vain; `none` was no action at all",
        );
        let deliveries = list.add(
            "deliveries",
            &["action"],
            "Frames times the connections they went to, by what they were published for",
        );
        Sizes::add_publishing(&mut list, &shards);
        let metrics = Self {
            connections,
            messaging_requests,
            deliveries,
            handshakes_waiting: list.add("handshakes_waiting", &[], "Chat handshakes that are under way, or held"),
            handshakes_admitted: list.add("handshakes_admitted", &[], "Chat handshakes after which the client was let in: chat tokens used"),
            handshakes_refused: list.add(
                "handshakes_refused",
                &["status", "reason"],
                "Chat handshakes that were refused: with which HTTP status, and what the client was told",
            ),
            slow_readers_dropped: list.add("slow_readers_dropped", &[], "Connections dropped for being too far behind their room"),
            dead_peers_dropped: list.add("dead_peers_dropped", &[], "Connections dropped because nothing was heard of them any more"),
            pauses: list.add("connection_pauses", &[], "Times a connection with too many frames was not read for a while"),
            review_fallbacks: list.add("review_fallbacks", &[], "Messages that took their room's fallback result"),
            chat_log: ChatLogMetrics::add_to(&mut list),
            reviews_refused: list.add(
                "reviews_refused",
                &[],
                "Messages refused with 429 because too many were under review",
            ),
            reviews_waiting: list.add("reviews_waiting", &[], "Messages under review"),
            review_invocation_errors: list.add(
                "review_invocation_errors",
                &["handler"],
                "Reviews whose handler is missing, failed or took too long, by the handler's ARN",
            ),
            review_response_validation_errors: list.add(
                "review_response_validation_errors",
                &["handler"],
                "Reviews whose handler answered with what is no response, by the handler's ARN",
            ),
            handler_labels: UserLabels::default(),
            api_requests: list.add(
                "api_requests",
                &["operation", "result"],
                "Control-plane requests that were answered; the result is `ok` or the error's name. CreateChatToken counts the chat tokens issued",
            ),
            store: StoreMeters::add_to(&mut list),
            audit: AuditMetrics::add_to(&mut list),
            telemetry: TelemetryMetrics::add_to(&mut list),
            process: ProcessFigures::add_to(&mut list),
            catalogue: list,
            shards,
        };
        metrics.sum_up();
        metrics
    }

    /// The figures of a shard, for its own use.
    #[must_use]
    pub fn shard(&self, index: usize) -> Arc<Figures> {
        self.shards.get(index).cloned().unwrap_or_default()
    }

    /// The list of all metrics.
    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Counts a review that has failed.
    pub fn count_review_error(&self, error: ReviewError, handler: &Arc<str>) {
        let family = match error {
            ReviewError::Invocation => &self.review_invocation_errors,
            ReviewError::ResponseValidation => &self.review_response_validation_errors,
        };
        let handler = self.handler_labels.label(handler);
        family.get_or_create(&ReviewHandlerLabel { handler }).inc();
    }

    /// All metrics as text.
    ///
    /// # Errors
    ///
    /// Never, as long as memory lasts.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        self.sum_up();
        self.process.read();
        self.catalogue.encode()
    }

    fn sum_up(&self) {
        let latest: Vec<Latest> = self.shards.iter().map(|shard| shard.latest()).collect();
        let sum = |count: &dyn Fn(&hub::Counters) -> u64| {
            latest.iter().map(|shard| count(&shard.counters)).sum::<u64>()
        };
        let set = |counter: &Counter, value: u64| counter.inner().store(value, Ordering::Relaxed);
        let connections = latest.iter().map(|shard| shard.connections).sum::<u64>();
        self.connections.set(i64::try_from(connections).unwrap_or(i64::MAX));
        set(&self.slow_readers_dropped, sum(&|shard| shard.slow_readers_dropped));
        set(&self.dead_peers_dropped, sum(&|shard| shard.dead_peers_dropped));
        set(&self.pauses, sum(&|shard| shard.pauses));
        set(&self.review_fallbacks, sum(&|shard| shard.review_fallbacks));
        set(&self.reviews_refused, sum(&|shard| shard.reviews_refused));
        let reviews_waiting = latest.iter().map(|shard| shard.reviews_waiting).sum::<u64>();
        self.reviews_waiting.set(i64::try_from(reviews_waiting).unwrap_or(i64::MAX));
        let none = sum(&|shard| shard.invalid_requests);
        set(&self.messaging_requests.get_or_create(&ByAction { action: "none" }), none);
        for cause in Cause::ALL {
            let label = ByAction { action: cause.action() };
            set(&self.messaging_requests.get_or_create(&label), sum(&|shard| shard.requests[cause as usize]));
            set(&self.deliveries.get_or_create(&label), sum(&|shard| shard.deliveries[cause as usize]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ApiRequest, HandshakeRefusal, Metrics};

    #[test]
    fn metrics_are_shown_as_text() {
        let metrics = Metrics::new(2);
        metrics.api_requests.get_or_create(&ApiRequest { operation: "GetRoom", result: "ok" }).inc();
        metrics.handshakes_refused.get_or_create(&HandshakeRefusal { status: 403, reason: "no" }).inc();
        let text = metrics.encode().unwrap_or_default();
        for line in [
            "grandstand_api_requests_total{operation=\"GetRoom\",result=\"ok\"} 1\n",
            "grandstand_handshakes_refused_total{status=\"403\",reason=\"no\"} 1\n",
            "grandstand_connections 0\n",
            "grandstand_messaging_requests_total{action=\"SEND_MESSAGE\"} 0\n",
            "grandstand_deliveries_total{action=\"SEND_EVENT\"} 0\n",
            "grandstand_slow_readers_dropped_total 0\n",
            "grandstand_publish_seconds_bucket{le=\"+Inf\"} 0\n",
            "grandstand_store_commit_seconds_count 0\n",
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
    }
}
