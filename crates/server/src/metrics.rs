//! Every metric of the server, its labels and its meaning. `GET /metrics` on the admin port shows them in the text
//! format of Prometheus.
//!
//! Labels come from closed sets, or from the first values there are and then `other`, so the number of series is bounded. What happens on a shard is counted there
//! ([`Figures`]) and summed up when somebody asks.

mod chat_log;
mod figures;
mod user_labels;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

pub use self::chat_log::{ChatLogMetrics, DestinationError};
pub use self::figures::Figures;
use self::user_labels::UserLabels;

/// The metrics; share them behind an `Arc`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    shards: Vec<Arc<Figures>>,
    /// `grandstand_api_requests_total{operation,result}`: requests to the control plane that were answered.
    pub api_requests: Family<ApiRequest, Counter>,
    /// `grandstand_handshakes_refused_total{status}`: handshakes of the messaging edge that were refused.
    pub handshakes_refused: Family<HandshakeRefusal, Counter>,
    /// `grandstand_connections`: open chat connections.
    connections: Gauge,
    /// `grandstand_messaging_requests_total{action}`: what clients asked for over their sockets, also in vain.
    messaging_requests: Family<MessagingRequest, Counter>,
    /// `grandstand_deliveries_total`: frames times the connections they went to.
    deliveries: Counter,
    /// `grandstand_slow_readers_dropped_total`: connections that fell too far behind their room.
    slow_readers_dropped: Counter,
    /// `grandstand_dead_peers_dropped_total`: connections of which nothing was heard any more.
    dead_peers_dropped: Counter,
    /// `grandstand_connection_pauses_total`: times a connection was not read for a while, having sent too many frames.
    pauses: Counter,
    /// `grandstand_review_fallbacks_total`: messages that took their room's fallback result.
    review_fallbacks: Counter,
    /// What becomes of chat logs.
    pub chat_log: ChatLogMetrics,
    /// `grandstand_reviews_refused_total`: messages refused with 429 because too many were under review.
    reviews_refused: Counter,
    /// `grandstand_reviews_waiting`: messages under review.
    reviews_waiting: Gauge,
    /// `grandstand_review_invocation_errors_total{handler}`: handlers that are missing, failed, or took too long.
    review_invocation_errors: Family<ReviewHandlerLabel, Counter>,
    /// `grandstand_review_response_validation_errors_total{handler}`: answers of handlers that are no response.
    review_response_validation_errors: Family<ReviewHandlerLabel, Counter>,
    /// The handlers that have a series of their own.
    handler_labels: UserLabels,
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
}

/// Labels of `grandstand_messaging_requests_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MessagingRequest {
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
        let mut registry = Registry::with_prefix("grandstand");
        Self {
            shards: (0..shards).map(|_| Arc::default()).collect(),
            api_requests: register(&mut registry, "api_requests", "Control-plane requests answered"),
            handshakes_refused: register(&mut registry, "handshakes_refused", "Chat handshakes refused"),
            connections: register(&mut registry, "connections", "Open chat connections"),
            messaging_requests: register(&mut registry, "messaging_requests", "Requests of chat clients"),
            deliveries: register(&mut registry, "deliveries", "Frames times connections they went to"),
            slow_readers_dropped: register(
                &mut registry,
                "slow_readers_dropped",
                "Connections too far behind",
            ),
            dead_peers_dropped: register(
                &mut registry,
                "dead_peers_dropped",
                "Connections not heard of any more",
            ),
            pauses: register(
                &mut registry,
                "connection_pauses",
                "Times a connection with too many frames was not read for a while",
            ),
            review_fallbacks: register(
                &mut registry,
                "review_fallbacks",
                "Messages not reviewed by a handler",
            ),
            chat_log: ChatLogMetrics::new(&mut registry),
            reviews_refused: register(
                &mut registry,
                "reviews_refused",
                "Messages refused because too many were under review",
            ),
            reviews_waiting: register(&mut registry, "reviews_waiting", "Messages under review"),
            review_invocation_errors: register(
                &mut registry,
                "review_invocation_errors",
                "Reviews whose handler is missing, failed or took too long",
            ),
            review_response_validation_errors: register(
                &mut registry,
                "review_response_validation_errors",
                "Reviews whose handler answered with no response",
            ),
            handler_labels: UserLabels::default(),
            registry,
        }
    }

    /// The figures of a shard, for its own use.
    #[must_use]
    pub fn shard(&self, index: usize) -> Arc<Figures> {
        self.shards.get(index).cloned().unwrap_or_default()
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
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    fn sum_up(&self) {
        let counters: Vec<hub::Counters> = self.shards.iter().map(|shard| shard.counters()).collect();
        let sum = |count: fn(&hub::Counters) -> u64| counters.iter().map(count).sum::<u64>();
        let set = |counter: &Counter, value: u64| counter.inner().store(value, Ordering::Relaxed);
        let connections = self.shards.iter().map(|shard| shard.connections()).sum::<u64>();
        self.connections.set(i64::try_from(connections).unwrap_or(i64::MAX));
        set(&self.deliveries, sum(|shard| shard.deliveries));
        set(&self.slow_readers_dropped, sum(|shard| shard.slow_readers_dropped));
        set(&self.dead_peers_dropped, sum(|shard| shard.dead_peers_dropped));
        set(&self.pauses, sum(|shard| shard.pauses));
        set(&self.review_fallbacks, sum(|shard| shard.review_fallbacks));
        set(&self.reviews_refused, sum(|shard| shard.reviews_refused));
        let reviews_waiting = self.shards.iter().map(|shard| shard.reviews_waiting()).sum::<u64>();
        self.reviews_waiting.set(i64::try_from(reviews_waiting).unwrap_or(i64::MAX));
        let requests = [
            ("SEND_MESSAGE", sum(|shard| shard.send_message_requests)),
            ("DELETE_MESSAGE", sum(|shard| shard.delete_message_requests)),
            ("DISCONNECT_USER", sum(|shard| shard.disconnect_user_requests)),
            ("none", sum(|shard| shard.invalid_requests)),
        ];
        for (action, count) in requests {
            set(&self.messaging_requests.get_or_create(&MessagingRequest { action }), count);
        }
    }
}

fn register<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

#[cfg(test)]
mod tests {
    use super::{ApiRequest, HandshakeRefusal, Metrics};

    #[test]
    fn metrics_are_shown_as_text() {
        let metrics = Metrics::new(2);
        metrics.api_requests.get_or_create(&ApiRequest { operation: "GetRoom", result: "ok" }).inc();
        metrics.handshakes_refused.get_or_create(&HandshakeRefusal { status: 401 }).inc();
        let text = metrics.encode().unwrap_or_default();
        for line in [
            "grandstand_api_requests_total{operation=\"GetRoom\",result=\"ok\"} 1\n",
            "grandstand_handshakes_refused_total{status=\"401\"} 1\n",
            "grandstand_connections 0\n",
            "grandstand_messaging_requests_total{action=\"SEND_MESSAGE\"} 0\n",
            "grandstand_deliveries_total 0\n",
            "grandstand_slow_readers_dropped_total 0\n",
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
    }
}
