//! Histograms that are counted elsewhere, as Prometheus has them.

use std::fmt;
use std::sync::Arc;

use hub::histogram::Histogram;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::{Catalogue, Figures};

/// How what was counted is shown.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    /// What of the counted unit is one of the shown.
    per_unit: f64,
    /// The first bucket that is shown; those before it are in it.
    smallest: u64,
}

/// Times are counted in microseconds and shown in seconds; nobody asks for less than 64 us.
pub(super) const MICROS: Scale = Scale { per_unit: 1e6, smallest: 64 };
/// As they are.
pub(super) const NUMBERS: Scale = Scale { per_unit: 1.0, smallest: 1 };

/// A histogram that is read when somebody asks.
pub(super) struct Sizes<const BUCKETS: usize, R> {
    name: &'static str,
    meaning: &'static str,
    scale: Scale,
    read: R,
}

impl<const BUCKETS: usize, R> Sizes<BUCKETS, R>
where
    R: Fn() -> Histogram<BUCKETS> + Send + Sync + 'static,
{
    /// Adds to `list` what `read` finds.
    pub(super) fn add(
        list: &mut Catalogue,
        name: &'static str,
        meaning: &'static str,
        scale: Scale,
        read: R,
    ) {
        list.add_histogram(name, meaning, Self { name, meaning, scale, read });
    }
}

impl Sizes<0, ()> {
    /// What the passes of all shards took.
    pub(super) fn add_publishing(list: &mut Catalogue, shards: &Arc<[Arc<Figures>]>) {
        let (of_times, of_frames) = (Arc::clone(shards), Arc::clone(shards));
        Sizes::add(
            list,
            "publish_seconds",
            "From publishing a frame to the end of the pass that wrote it to the members' sockets: the oldest frame of each pass",
            MICROS,
            move || sum(&of_times, |counters| counters.pass_micros),
        );
        Sizes::add(
            list,
            "write_batch_frames",
            "Frames that a pass wrote to each member at once",
            NUMBERS,
            move || sum(&of_frames, |counters| counters.pass_frames),
        );
    }
}

fn sum<const BUCKETS: usize>(
    shards: &[Arc<Figures>],
    of: impl Fn(&hub::Counters) -> Histogram<BUCKETS>,
) -> Histogram<BUCKETS> {
    let mut all = Histogram::default();
    shards.iter().for_each(|shard| all.add(&of(&shard.latest().counters)));
    all
}

impl<const BUCKETS: usize, R> fmt::Debug for Sizes<BUCKETS, R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Sizes").field(&self.name).finish()
    }
}

impl<const BUCKETS: usize, R> Collector for Sizes<BUCKETS, R>
where
    R: Fn() -> Histogram<BUCKETS> + Send + Sync + 'static,
{
    #[allow(clippy::cast_precision_loss, reason = "beyond 2^53 the last digits matter to nobody")]
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let histogram = (self.read)();
        let mut buckets: Vec<(f64, u64)> = Vec::new();
        let mut below = 0;
        for (size, count) in histogram.buckets() {
            if size < self.scale.smallest {
                below += count;
            } else {
                buckets.push((size as f64 / self.scale.per_unit, count + std::mem::take(&mut below)));
            }
        }
        if let Some((bound, _)) = buckets.last_mut() {
            *bound = f64::INFINITY;
        }
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = histogram.sum() as f64 / self.scale.per_unit;
        let mut metric = encoder.encode_descriptor(self.name, self.meaning, None, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}
