//! Which spans there are, what they say of themselves to others, and that none waits for anybody. What a receiver gets is tested with
//! real ones in `conformance/raw/test_telemetry.py`.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderMap;
use protocol::limit::telemetry::{BATCH_SPANS_MAX, EXPORT_SECONDS_MAX, GATHER_MS, SPANS_WAITING_MAX};
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::courier::{Courier, Signal};
use super::otlp::Resource;
use super::sampler::Sampler;
use super::span::{Finished, Outbox};
use super::traces::{export, gather};
use super::{AttributeValue, Parent, SpanKind, TRACEPARENT, Telemetry, Tracing, endpoint, start};
use crate::config::{Sources, TelemetryConfig, load};
use crate::metrics::{Metrics, TelemetryMetrics};
use crate::outgoing::{Caller, Trust};

const ABOVE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn telemetry(sampler: Sampler, waiting_max: usize) -> (Telemetry, Receiver<Finished>, Arc<TelemetryMetrics>) {
    let (sender, receiver) = mpsc::channel(waiting_max);
    let metrics = Arc::<TelemetryMetrics>::default();
    let outbox = Arc::new(Outbox { sender, metrics: Arc::clone(&metrics) });
    (Telemetry(Some(Arc::new(Tracing { sampler, outbox }))), receiver, metrics)
}

fn parent(traceparent: &str) -> Option<Parent> {
    let mut headers = HeaderMap::new();
    headers.insert(TRACEPARENT, traceparent.parse().unwrap());
    Parent::of(&headers)
}

fn config(variables: &[(&str, &str)]) -> TelemetryConfig {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    load(&Sources { variables, ..Sources::default() }).unwrap().config.telemetry
}

#[test]
fn without_an_endpoint_nothing_is_begun() {
    let metrics = Arc::new(Metrics::new(1));
    // Outside of any runtime, a task would be a panic.
    for variables in [&[][..], &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"), ("OTEL_SDK_DISABLED", "true")]]
    {
        let (telemetry, exporting) = start(&config(variables), &metrics).unwrap();
        assert!(exporting.is_none() && !telemetry.has_spans());
        let span = telemetry.begin(SpanKind::Server, "x");
        assert!(!span.is_kept() && span.traceparent().is_none());
        assert!(span.amazon_trace_id().is_none());
    }
}

#[test]
fn each_kind_of_export_has_its_address() {
    let at = |variables: &[(&str, &str)]| {
        let config = config(variables);
        [Signal::Traces, Signal::Metrics].map(|signal| endpoint(&config, signal).map(|uri| uri.to_string()))
    };
    let some = |text: &str| Some(text.to_owned());
    let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
    assert_eq!(
        at(&[base]),
        [some("http://collector:4318/v1/traces"), some("http://collector:4318/v1/metrics")]
    );
    let prefixed = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector/otlp/");
    assert_eq!(at(&[prefixed])[0], some("https://collector/otlp/v1/traces"));
    let own = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://prometheus/api/v1/otlp/v1/metrics");
    assert_eq!(at(&[own]), [None, some(own.1)]);
    assert_eq!(at(&[base, own]), [some("http://collector:4318/v1/traces"), some(own.1)]);
    assert_eq!(at(&[base, ("OTEL_TRACES_EXPORTER", "none")])[0], None);
    assert_eq!(at(&[base, ("OTEL_METRICS_EXPORTER", "none")])[1], None);
}

#[test]
fn a_span_is_part_of_its_parent() {
    let (telemetry, mut spans, _) = telemetry(Sampler::new(true, 0.0), 8);
    let begin = Instant::now();
    let mut span = telemetry.resume(SpanKind::Server, "GetRoom", begin, parent(ABOVE));
    let below = span.traceparent().unwrap();
    span.say("answer", || 42_u64);
    span.fail();
    drop(span);
    let span = spans.try_recv().unwrap();
    assert_eq!(span.parent, parent(ABOVE).map(|parent| parent.context.span_id));
    assert_eq!(span.context.to_string(), below.to_str().unwrap());
    assert_eq!((&below.to_str().unwrap()[..36], &below.to_str().unwrap()[52..]), (&ABOVE[..36], "-01"));
    assert_ne!(below, ABOVE);
    assert_eq!(span.attributes, [("answer", AttributeValue::Number(42))]);
    assert!(span.has_failed && span.end_nanos >= span.begin_nanos);
}

#[test]
fn a_span_that_nobody_keeps_tells_its_parts_so_and_makes_nothing() {
    let (telemetry, mut spans, metrics) = telemetry(Sampler::new(true, 1.0), 8);
    let unkept = parent(&ABOVE.replace("-01", "-00"));
    let mut span = telemetry.resume(SpanKind::Server, "GetRoom", Instant::now(), unkept);
    span.say("answer", || -> u64 { unreachable!("nobody hears it") });
    assert!(span.traceparent().unwrap().to_str().unwrap().ends_with("-00"));
    drop(span);
    assert!(spans.try_recv().is_err() && metrics.lost("queue_full") == 0);
}

#[test]
fn spans_that_are_too_many_are_lost_and_counted() {
    let (telemetry, mut spans, metrics) = telemetry(Sampler::new(true, 1.0), SPANS_WAITING_MAX);
    for _ in 0..SPANS_WAITING_MAX + 3 {
        drop(telemetry.begin(SpanKind::Client, "x"));
    }
    assert_eq!((spans.len(), metrics.lost("queue_full")), (SPANS_WAITING_MAX, 3));
    spans.close();
    drop(telemetry.begin(SpanKind::Client, "x"));
    assert_eq!(metrics.lost("stopped"), 1);
}

#[tokio::test(start_paused = true)]
async fn spans_gather_until_they_are_many_or_it_is_time() {
    let (telemetry, mut spans, _) = telemetry(Sampler::new(true, 1.0), SPANS_WAITING_MAX);
    let stop = CancellationToken::new();
    let begin = |count| (0..count).for_each(|_| drop(telemetry.begin(SpanKind::Client, "x")));
    let start = Instant::now();
    begin(BATCH_SPANS_MAX + 3);
    assert_eq!((gather(&mut spans, &stop).await.len(), start.elapsed()), (BATCH_SPANS_MAX, Duration::ZERO));
    let (batch, ()) = tokio::join!(gather(&mut spans, &stop), async {
        tokio::time::advance(Duration::from_millis(GATHER_MS - 1)).await;
        begin(4);
    });
    assert_eq!((batch.len(), start.elapsed()), (7, Duration::from_millis(GATHER_MS)));
}

#[tokio::test(start_paused = true)]
async fn at_the_end_what_is_left_does_not_wait() {
    let (telemetry, mut spans, metrics) = telemetry(Sampler::new(true, 1.0), SPANS_WAITING_MAX);
    let stop = CancellationToken::new();
    let start = Instant::now();
    (0..BATCH_SPANS_MAX + 2).for_each(|_| drop(telemetry.begin(SpanKind::Client, "x")));
    stop.cancel();
    let mut batches = Vec::new();
    for _ in 0..3 {
        batches.push(gather(&mut spans, &stop).await.len());
    }
    assert_eq!((batches, start.elapsed()), (vec![BATCH_SPANS_MAX, 2, 0], Duration::ZERO));
    drop(telemetry.begin(SpanKind::Client, "x"));
    assert_eq!(metrics.lost("stopped"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_takes_for_a_minute_is_lost_and_counted() {
    let (telemetry, spans, metrics) = telemetry(Sampler::new(true, 1.0), SPANS_WAITING_MAX);
    let stop = CancellationToken::new();
    // Nobody listens there, or nobody answers in time: it is all the same.
    let config = config(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")]);
    let caller = Caller::new(Trust::from_variables(|_| None));
    let uri = endpoint(&config, Signal::Traces).unwrap();
    let courier = Courier::new(&config, Signal::Traces, uri, caller, &metrics, stop.clone());
    (0..3).for_each(|_| drop(telemetry.begin(SpanKind::Client, "x")));
    let gathered = Duration::from_millis(GATHER_MS);
    let exporting = export(spans, courier, Resource::new(&config), Arc::clone(&metrics), stop);
    tokio::pin!(exporting);
    let almost = gathered + Duration::from_secs(EXPORT_SECONDS_MAX - 1);
    assert!(timeout(almost, &mut exporting).await.is_err() && metrics.lost("away") == 0);
    // The last try may take as long as a try may take.
    let last = Duration::from_secs(2) + Duration::from_millis(config.otlp_timeout_ms);
    assert!(timeout(last, &mut exporting).await.is_err());
    assert_eq!((metrics.lost("away"), metrics.spans_exported.get()), (3, 0));
}
