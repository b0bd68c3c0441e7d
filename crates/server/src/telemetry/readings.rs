//! Takes the registry of metrics to the receiver, now and then.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::courier::Courier;
use super::exposition;
use super::otlp::{self, Resource};
use crate::clock;
use crate::metrics::Metrics;

/// Exports all metrics at once, every `period` and at the end. One that is not taken is tried again until it is time for the next,
/// which says more.
pub(super) async fn export(
    metrics: Arc<Metrics>,
    mut courier: Courier,
    resource: Resource,
    period: Duration,
    stop: CancellationToken,
) {
    // Counters have begun with the process.
    let begin_nanos = clock::now().as_nanos();
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_last = stop.run_until_cancelled(ticks.tick()).await.is_none();
        match metrics.encode() {
            Ok(text) => {
                let families = exposition::read(&text);
                let now_nanos = clock::now().as_nanos();
                // The clock may have been set back meanwhile, and nothing begins after it is read.
                let request = otlp::metrics(&resource, &families, begin_nanos.min(now_nanos), now_nanos);
                // How it ended is in the metrics, too.
                let _ = courier.deliver(request, period).await;
            }
            Err(error) => tracing::error!(%error, "the metrics cannot be read"),
        }
        if is_last {
            return;
        }
    }
}
