//! How often something had which size, in buckets of which each is twice as wide as the one before.

/// Counts of sizes: bucket `n` has those up to `2^n` that are in no bucket before; the last has all beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram<const BUCKETS: usize> {
    counts: [u64; BUCKETS],
    sum: u64,
}

impl<const BUCKETS: usize> Default for Histogram<BUCKETS> {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], sum: 0 }
    }
}

impl<const BUCKETS: usize> Histogram<BUCKETS> {
    /// Counts one.
    pub fn observe(&mut self, size: u64) {
        let bits = u64::BITS - size.saturating_sub(1).leading_zeros();
        let bucket = usize::try_from(bits).unwrap_or(BUCKETS).min(BUCKETS - 1);
        self.counts[bucket] += 1;
        self.sum += size;
    }

    /// Counts what another one has counted, too.
    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
        self.sum += other.sum;
    }

    /// All sizes together.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The largest size of each bucket, but for the last, and how many it has.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.counts.iter().enumerate().map(|(bucket, count)| (1 << bucket, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::Histogram;

    #[test]
    fn each_size_is_in_the_first_bucket_that_takes_it() {
        let mut histogram = Histogram::<4>::default();
        for size in [0, 1, 2, 3, 4, 5, 8, 9, u64::from(u32::MAX)] {
            histogram.observe(size);
        }
        assert_eq!(histogram.buckets().collect::<Vec<_>>(), [(1, 2), (2, 1), (4, 2), (8, 4)]);
        assert_eq!(histogram.sum(), 32 + u64::from(u32::MAX));
        let mut both = histogram;
        both.add(&histogram);
        assert_eq!(both.buckets().map(|(_, count)| count).collect::<Vec<_>>(), [4, 2, 4, 8]);
        assert_eq!(both.sum(), 2 * histogram.sum());
    }
}
