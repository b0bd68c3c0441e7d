//! Traces and metrics for a receiver of OpenTelemetry (OTLP over HTTP), if the settings name one.
//!
//! A span is begun with [`Telemetry::begin`] and ends when it is dropped; then it waits in a queue. One task takes spans from there to
//! the receiver (`traces`), and another one reads the registry of metrics now and then and takes that (`readings`); a
//! [`courier`] of its own carries what each of them has.
//!
//! Promises:
//! - Without an endpoint there is no task, no queue and no span. With one, nothing is done per delivery of a message, and a span
//!   that is not kept costs a random number.
//! - Nobody ever waits for the receiver, whatever it does: beyond [`SPANS_WAITING_MAX`] spans are lost, and counted.
//! - What is exported has no content of a message, no token, no user id, no attribute that users have, and no secret.
//! - At the end what is left is exported for at most as long as [`Exporting::finish`] is told.

mod context;
mod courier;
mod exposition;
mod otlp;
mod protobuf;
mod readings;
mod sampler;
mod span;
#[cfg(test)]
mod tests;
mod traces;

use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use protocol::limit::telemetry::SPANS_WAITING_MAX;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::context::{SpanContext, SpanId, TraceId};
use self::courier::{Courier, Signal};
use self::otlp::Resource;
use self::sampler::Sampler;
use self::span::Outbox;
pub use self::span::{AttributeValue, Parent, Span, SpanKind, TRACEPARENT};
use crate::config::{OtlpExporter, Sampling, TelemetryConfig};
use crate::metrics::Metrics;
use crate::outgoing::{Caller, Trust, TrustError};

/// Begins spans; clones are the same. By default there are none.
#[derive(Clone, Debug, Default)]
pub struct Telemetry(Option<Arc<Tracing>>);

#[derive(Debug)]
struct Tracing {
    sampler: Sampler,
    outbox: Arc<Outbox>,
}

/// The tasks that export; they are cut off when this is dropped.
#[derive(Debug)]
pub struct Exporting {
    stop: CancellationToken,
    tasks: Vec<AbortOnDropHandle<()>>,
}

/// Begins to export what the settings say, if they say so. Must be called within a runtime.
///
/// # Errors
/// The file of authorities that the settings name cannot be used.
pub fn start(
    config: &TelemetryConfig,
    metrics: &Arc<Metrics>,
) -> Result<(Telemetry, Option<Exporting>), TrustError> {
    let (traces, readings) = (endpoint(config, Signal::Traces), endpoint(config, Signal::Metrics));
    if traces.is_none() && readings.is_none() {
        return Ok((Telemetry::default(), None));
    }
    let resource = Resource::new(config);
    let certificates = config.otlp_certificate_file.as_ref().map(|file| file.display().to_string());
    let trust = Trust::from_variables(|name| certificates.clone().or_else(|| std::env::var(name).ok()));
    if certificates.is_some() {
        trust.load_now()?;
    }
    // One call for each kind of export.
    let caller = Caller::with_calls_per_origin_max(trust, 2);
    let stop = CancellationToken::new();
    let mut tasks = Vec::new();
    let mut telemetry = Telemetry::default();
    if let Some(uri) = traces {
        let (sender, receiver) = mpsc::channel(SPANS_WAITING_MAX);
        let outbox = Arc::new(Outbox { sender, metrics: Arc::clone(&metrics.telemetry) });
        telemetry = Telemetry(Some(Arc::new(Tracing { sampler: sampler(config), outbox })));
        let courier =
            Courier::new(config, Signal::Traces, uri, caller.clone(), &metrics.telemetry, stop.clone());
        let task =
            traces::export(receiver, courier, resource.clone(), Arc::clone(&metrics.telemetry), stop.clone());
        tasks.push(AbortOnDropHandle::new(tokio::spawn(task)));
    }
    if let Some(uri) = readings {
        let courier = Courier::new(config, Signal::Metrics, uri, caller, &metrics.telemetry, stop.clone());
        let interval = Duration::from_millis(config.metrics_interval_ms);
        let task = readings::export(Arc::clone(metrics), courier, resource, interval, stop.clone());
        tasks.push(AbortOnDropHandle::new(tokio::spawn(task)));
    }
    Ok((telemetry, Some(Exporting { stop, tasks })))
}

/// Where the exports of a kind go, if anywhere.
fn endpoint(config: &TelemetryConfig, signal: Signal) -> Option<Uri> {
    let (exporter, own, path) = match signal {
        Signal::Traces => (config.traces_exporter, &config.otlp_traces_endpoint, "v1/traces"),
        Signal::Metrics => (config.metrics_exporter, &config.otlp_metrics_endpoint, "v1/metrics"),
    };
    if config.disabled || exporter == OtlpExporter::None {
        return None;
    }
    let shared = || {
        let shared = config.otlp_endpoint.as_ref()?.to_string();
        format!("{}/{path}", shared.trim_end_matches('/')).parse().ok()
    };
    own.clone().or_else(shared)
}

fn sampler(config: &TelemetryConfig) -> Sampler {
    let kind = config.traces_sampler;
    let ratio = match kind.rest {
        Sampling::All => 1.0,
        Sampling::None => 0.0,
        Sampling::Ratio => config.sampling_ratio,
    };
    Sampler::new(kind.follows_parent, ratio)
}

impl Telemetry {
    /// Whether there are spans at all.
    #[must_use]
    pub fn has_spans(&self) -> bool {
        self.0.is_some()
    }

    /// Begins a span that is part of nobody else's.
    #[must_use]
    pub fn begin(&self, kind: SpanKind, name: &'static str) -> Span {
        self.resume(kind, name, Instant::now(), None)
    }

    /// A span that has begun at `begin`, perhaps as a part of somebody's.
    #[must_use]
    pub fn resume(&self, kind: SpanKind, name: &'static str, begin: Instant, parent: Option<Parent>) -> Span {
        let Some(tracing) = &self.0 else { return Span::default() };
        let above = parent.as_ref().map(|parent| parent.context);
        let trace_id = above.map(|above| above.trace_id).or_else(TraceId::fresh);
        let (Some(trace_id), Some(span_id)) = (trace_id, SpanId::fresh()) else { return Span::default() };
        let is_sampled = tracing.sampler.keeps(trace_id, above);
        let context = SpanContext { trace_id, span_id, is_sampled };
        if !is_sampled {
            return Span::unkept(context);
        }
        Span::kept(context, (kind, name), begin, parent, Arc::clone(&tracing.outbox))
    }
}

impl Exporting {
    /// Exports what is left, for so long at most, and stops.
    pub async fn finish(self, time_max: Duration) {
        self.stop.cancel();
        let all = async {
            for task in self.tasks {
                // A panic was already reported by the panic hook.
                let _ = task.await;
            }
        };
        if timeout(time_max, all).await.is_err() {
            tracing::warn!("not all telemetry could be exported in time; the rest is lost");
        }
    }
}
