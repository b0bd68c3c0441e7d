//! Takes finished spans from the queue to the receiver, as many at once as there are.

use std::sync::Arc;
use std::time::Duration;

use protocol::limit::telemetry::{BATCH_SPANS_MAX, EXPORT_SECONDS_MAX, GATHER_MS};
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::courier::{Courier, Delivery};
use super::otlp::{self, Resource};
use super::span::Finished;
use crate::metrics::{SpanLoss, TelemetryMetrics};

/// Exports spans until it is told to stop, and then what is left.
pub(super) async fn export(
    mut spans: Receiver<Finished>,
    mut courier: Courier,
    resource: Resource,
    metrics: Arc<TelemetryMetrics>,
    stop: CancellationToken,
) {
    let time_max = Duration::from_secs(EXPORT_SECONDS_MAX);
    loop {
        let batch = gather(&mut spans, &stop).await;
        if batch.is_empty() {
            return;
        }
        let count = batch.len() as u64;
        match courier.deliver(otlp::traces(&resource, &batch), time_max).await {
            Delivery::Taken { rejected } => {
                let rejected = rejected.min(count);
                metrics.spans_exported.inc_by(count - rejected);
                if rejected > 0 {
                    metrics.lose_spans(SpanLoss::Rejected, rejected);
                }
            }
            Delivery::Refused => metrics.lose_spans(SpanLoss::Refused, count),
            Delivery::GivenUp => metrics.lose_spans(SpanLoss::Away, count),
        }
    }
}

/// The next batch: it is full, or has waited for long enough, or the end has come. None is empty before the end. Not
/// cancel-safe.
pub(super) async fn gather(spans: &mut Receiver<Finished>, stop: &CancellationToken) -> Vec<Finished> {
    let mut batch = Vec::new();
    let mut deadline = None;
    while batch.len() < BATCH_SPANS_MAX {
        let room = BATCH_SPANS_MAX - batch.len();
        let more = async {
            let received = spans.recv_many(&mut batch, room);
            match deadline {
                Some(deadline) => timeout_at(deadline, received).await.unwrap_or(0),
                None => received.await,
            }
        };
        match stop.run_until_cancelled(more).await {
            Some(0) => break,
            Some(_) => {
                deadline.get_or_insert_with(|| Instant::now() + Duration::from_millis(GATHER_MS));
            }
            None => {
                // What ends from now on is not exported any more.
                spans.close();
                while batch.len() < BATCH_SPANS_MAX {
                    let Some(span) = spans.recv().await else { break };
                    batch.push(span);
                }
                break;
            }
        }
    }
    batch
}
