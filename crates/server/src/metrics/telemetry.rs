//! What becomes of what is exported to an OpenTelemetry receiver.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::Catalogue;

/// The metrics of telemetry.
#[derive(Debug, Default)]
pub struct TelemetryMetrics {
    /// Spans that a receiver has taken.
    pub spans_exported: Counter,
    spans_lost: Family<ByReason, Counter>,
    exports: Family<Export, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Export {
    signal: &'static str,
    result: &'static str,
}

/// Why a span never arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanLoss {
    /// Too many wait.
    QueueFull,
    /// The receiver was away for too long.
    Away,
    /// The receiver has refused all of an export.
    Refused,
    /// The receiver has taken the rest of an export.
    Rejected,
    /// The server ends.
    Stopped,
}

impl TelemetryMetrics {
    pub(super) fn add_to(list: &mut Catalogue) -> Arc<Self> {
        Arc::new(Self {
            spans_exported: list.add(
                "telemetry_spans_exported",
                &[],
                "Spans that the OpenTelemetry receiver has taken",
            ),
            spans_lost: list.add(
                "telemetry_spans_lost",
                &["reason"],
                "Spans that will never reach the OpenTelemetry receiver: too many waited (`queue_full`), it was away for too long (`away`), has refused them with others (`refused`) or by themselves (`rejected`), or the server ends (`stopped`)",
            ),
            exports: list.add(
                "telemetry_exports",
                &["signal", "result"],
                "Exports of `traces` and `metrics` to the OpenTelemetry receiver, each try: `ok`, `partial` (some of it was not taken), `away` (it is tried again) or `refused`",
            ),
        })
    }

    /// So many spans are lost.
    pub fn lose_spans(&self, loss: SpanLoss, spans: u64) {
        let reason = match loss {
            SpanLoss::QueueFull => "queue_full",
            SpanLoss::Away => "away",
            SpanLoss::Refused => "refused",
            SpanLoss::Rejected => "rejected",
            SpanLoss::Stopped => "stopped",
        };
        self.spans_lost.get_or_create(&ByReason { reason }).inc_by(spans);
    }

    /// How many are lost so far for this reason; for tests.
    #[cfg(test)]
    pub(crate) fn lost(&self, reason: &'static str) -> u64 {
        self.spans_lost.get_or_create(&ByReason { reason }).get()
    }

    /// An export was tried.
    pub fn tried(&self, signal: &'static str, result: &'static str) {
        self.exports.get_or_create(&Export { signal, result }).inc();
    }
}
