//! Which traces are kept: as the parent says, where there is one, and else a share of them, by their ids.

use super::context::{SpanContext, TraceId};

/// A sampler of the OpenTelemetry specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sampler {
    /// Whoever is part of a trace is kept when the rest of it is.
    pub(super) follows_parent: bool,
    /// Traces whose number is below this are kept; numbers have 63 bits, so [`ALL`] is above all of them.
    threshold: u64,
}

/// More than any number of a trace.
const ALL: u64 = 1 << 63;

impl Sampler {
    /// Keeps a share of the traces, from 0 to 1.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 2^63 fits in")]
    #[allow(clippy::cast_precision_loss, reason = "2^63 is exact")]
    pub(super) fn new(follows_parent: bool, ratio: f64) -> Self {
        Self { follows_parent, threshold: (ratio.clamp(0.0, 1.0) * ALL as f64) as u64 }
    }

    /// Whether a span of this trace is kept. Whoever else has the same ratio, and the rule of the OpenTelemetry libraries, keeps the
    /// same traces.
    pub(super) fn keeps(self, trace_id: TraceId, parent: Option<SpanContext>) -> bool {
        if let Some(parent) = parent.filter(|_| self.follows_parent) {
            return parent.is_sampled;
        }
        let [.., a, b, c, d, e, f, g, h] = trace_id.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1 < self.threshold
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::{SpanContext, SpanId, TraceId};
    use super::Sampler;

    fn trace(number: u64) -> TraceId {
        TraceId((u128::from(u64::MAX) << 64 | u128::from(number)).to_be_bytes())
    }

    #[test]
    fn a_share_is_kept_by_the_lower_half_of_the_id() {
        for (ratio, number, is_kept) in [
            (1.0, u64::MAX, true),
            (0.0, 0, false),
            (0.5, u64::MAX / 2, true),
            (0.5, u64::MAX / 2 + 1, false),
            (0.25, u64::MAX / 4, true),
            (0.25, u64::MAX / 4 + 1, false),
        ] {
            assert_eq!(Sampler::new(true, ratio).keeps(trace(number), None), is_kept, "{ratio} {number}");
        }
    }

    #[test]
    fn of_many_traces_it_is_about_that_share() {
        let sampler = Sampler::new(true, 0.1);
        let kept = (0..20_000).filter_map(|_| TraceId::fresh()).filter(|id| sampler.keeps(*id, None)).count();
        // Seven standard deviations on each side.
        assert!((1_700..=2_300).contains(&kept), "{kept}");
    }

    #[test]
    fn the_parent_decides_where_it_is_followed() {
        for (follows_parent, ratio, is_sampled, is_kept) in [
            (true, 0.0, true, true),
            (true, 1.0, false, false),
            (false, 0.0, true, false),
            (false, 1.0, false, true),
        ] {
            let parent = SpanContext { trace_id: trace(7), span_id: SpanId([1; 8]), is_sampled };
            let sampler = Sampler::new(follows_parent, ratio);
            assert_eq!(sampler.keeps(trace(7), Some(parent)), is_kept);
        }
    }
}
