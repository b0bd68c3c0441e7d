//! Every metric of the server, its labels and its meaning. `GET /metrics` on the admin port shows them in the text
//! format of Prometheus.
//!
//! Labels come from closed sets, so the number of series is bounded.

use std::fmt;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The metrics; share them behind an `Arc`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// `grandstand_api_requests_total{operation,result}`: requests to the control plane that were answered.
    pub api_requests: Family<ApiRequest, Counter>,
    /// `grandstand_connections`: open chat connections.
    pub connections: Gauge,
    /// `grandstand_deliveries_total`: frames that were written to a connection.
    pub deliveries: Counter,
    /// `grandstand_slow_readers_dropped_total`: connections that fell too far behind their room.
    pub slow_readers_dropped: Counter,
    /// `grandstand_handshakes_refused_total{status}`: handshakes of the messaging edge that were refused.
    pub handshakes_refused: Family<HandshakeRefusal, Counter>,
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

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("grandstand");
        let api_requests = Family::default();
        registry.register("api_requests", "Control-plane requests answered", api_requests.clone());
        let connections = Gauge::default();
        registry.register("connections", "Open chat connections", connections.clone());
        let deliveries = Counter::default();
        registry.register("deliveries", "Frames written to a connection", deliveries.clone());
        let slow_readers_dropped = Counter::default();
        registry.register(
            "slow_readers_dropped",
            "Connections dropped because they fell too far behind their room",
            slow_readers_dropped.clone(),
        );
        let handshakes_refused = Family::default();
        registry.register("handshakes_refused", "Chat handshakes refused", handshakes_refused.clone());
        Self { registry, api_requests, connections, deliveries, slow_readers_dropped, handshakes_refused }
    }
}

impl Metrics {
    /// All metrics as text.
    ///
    /// # Errors
    ///
    /// Never, as long as memory lasts.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::{ApiRequest, HandshakeRefusal, Metrics};

    #[test]
    fn metrics_are_shown_as_text() {
        let metrics = Metrics::default();
        metrics.api_requests.get_or_create(&ApiRequest { operation: "GetRoom", result: "ok" }).inc();
        metrics.handshakes_refused.get_or_create(&HandshakeRefusal { status: 401 }).inc();
        metrics.connections.set(2);
        let text = metrics.encode().unwrap_or_default();
        for line in [
            "grandstand_api_requests_total{operation=\"GetRoom\",result=\"ok\"} 1\n",
            "grandstand_handshakes_refused_total{status=\"401\"} 1\n",
            "grandstand_connections 2\n",
            "grandstand_deliveries_total 0\n",
            "grandstand_slow_readers_dropped_total 0\n",
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
    }
}
