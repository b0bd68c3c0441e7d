//! Durations, counted in buckets no wider than 1.6 % of their value, in constant memory.

/// Buckets per power of two.
const STEPS: u64 = 64;
const STEPS_LOG2: u32 = 6;
/// Enough for every `u64`.
const BUCKETS: usize = 64 * (64 - 6 + 1);

/// How often each duration occurred.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    longest: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, longest: 0 }
    }
}

impl Histogram {
    /// Counts a duration.
    pub fn add(&mut self, nanos: u64) {
        if let Some(bucket) = self.buckets.get_mut(bucket_of(nanos)) {
            *bucket += 1;
        }
        self.count += 1;
        self.longest = self.longest.max(nanos);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest, exactly.
    #[must_use]
    pub fn longest(&self) -> u64 {
        self.longest
    }

    /// The duration that `per_mille` of 1,000 do not exceed, rounded up to the end of its bucket; 0 when there is none.
    #[must_use]
    pub fn percentile(&self, per_mille: u64) -> u64 {
        let rank = (self.count * per_mille).div_ceil(1_000).max(1);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return last_of(index).min(self.longest);
            }
        }
        self.longest
    }
}

/// Values below 64 have a bucket each; above, each power of two is cut into 64.
fn bucket_of(value: u64) -> usize {
    let bucket = if value < STEPS {
        value
    } else {
        let shift = value.ilog2() - STEPS_LOG2;
        u64::from(shift) * STEPS + (value >> shift)
    };
    usize::try_from(bucket).unwrap_or(BUCKETS - 1)
}

/// The largest value of a bucket.
fn last_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    let step = u128::from(bucket % STEPS + STEPS + 1);
    u64::try_from((step << shift) - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use super::{Histogram, bucket_of, last_of};

    #[test]
    fn a_bucket_is_never_wider_than_its_sixty_fourth() {
        let mut values: Vec<u64> = (0..2_000).collect();
        values.extend((0..64).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1]));
        values.push(u64::MAX);
        for value in values {
            let last = last_of(bucket_of(value));
            assert!(last >= value && last - value <= value / 64, "{value} in a bucket up to {last}");
            assert_eq!(bucket_of(last), bucket_of(value));
        }
        assert_eq!(bucket_of(last_of(bucket_of(1_000)) + 1), bucket_of(1_000) + 1);
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(500), 0);
        for value in 1..=10_000 {
            histogram.add(value * 1_000);
        }
        for (per_mille, wanted) in [(500, 5_000_000_u64), (990, 9_900_000), (999, 9_990_000)] {
            let got = histogram.percentile(per_mille);
            assert!(got >= wanted && got <= wanted + wanted / 64, "{per_mille}: {got}");
        }
        assert_eq!((histogram.percentile(1_000), histogram.longest()), (10_000_000, 10_000_000));
        assert_eq!(histogram.count(), 10_000);
    }
}
