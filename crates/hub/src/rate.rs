//! Rates, kept in eight bytes each.

/// A limit of so many requests per second, as the generic cell rate algorithm keeps it: one instant, the *theoretical
/// arrival time* of the next request if all came evenly spaced.
///
/// As many as fit into one second may come at once; after that they are admitted evenly. Over any second at most twice
/// the rate passes, over a longer time the rate itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate(u64);

const SECOND_NANOS: u64 = 1_000_000_000;

impl Rate {
    /// Admits a request at `now` (monotonic nanoseconds), or not.
    pub fn admit(&mut self, now_nanos: u64, per_second: u32) -> bool {
        let interval = SECOND_NANOS / u64::from(per_second.max(1));
        let arrival = self.0.max(now_nanos);
        // The tolerance is what one second's worth of requests, less one, takes when spaced evenly.
        if arrival - now_nanos > SECOND_NANOS - interval {
            return false;
        }
        self.0 = arrival + interval;
        true
    }

    /// Counts something that cannot be refused, and answers how many nanoseconds it should wait: not at all as long as
    /// no more than `burst` come at once, then longer and longer, so that `per_second` pass, but at most `wait_nanos_max`.
    pub fn delay(&mut self, now_nanos: u64, per_second: u32, burst: u32, wait_nanos_max: u64) -> u64 {
        let interval = SECOND_NANOS / u64::from(per_second.max(1));
        let tolerance = interval * u64::from(burst.saturating_sub(1));
        let arrival = self.0.max(now_nanos);
        let wait = (arrival - now_nanos).saturating_sub(tolerance).min(wait_nanos_max);
        self.0 = (arrival + interval).min(now_nanos + tolerance + wait_nanos_max);
        wait
    }

    /// Whether nothing is remembered any more at `now`.
    #[must_use]
    pub fn is_idle(&self, now_nanos: u64) -> bool {
        self.0 <= now_nanos
    }
}

#[cfg(test)]
mod tests {
    use super::{Rate, SECOND_NANOS};

    #[test]
    fn a_second_s_worth_passes_at_once_and_then_evenly() {
        for per_second in [1, 3, 7, 10, 100] {
            let mut rate = Rate::default();
            let mut now = 5 * SECOND_NANOS;
            for _ in 0..per_second {
                assert!(rate.admit(now, per_second));
            }
            assert!(!rate.admit(now, per_second));
            now += SECOND_NANOS / u64::from(per_second) + 1;
            assert!(rate.admit(now, per_second));
            assert!(!rate.admit(now, per_second));
            assert!(rate.is_idle(now + 2 * SECOND_NANOS));
        }
    }

    #[test]
    fn who_comes_too_often_waits_longer_and_longer_up_to_a_limit() {
        let mut rate = Rate::default();
        let mut waits = |now_nanos: u64, times: usize| -> Vec<u64> {
            (0..times).map(|_| rate.delay(now_nanos, 10, 3, SECOND_NANOS / 2) * 10 / SECOND_NANOS).collect()
        };
        let now = 5 * SECOND_NANOS;
        assert_eq!(waits(now, 11), [0, 0, 0, 1, 2, 3, 4, 5, 5, 5, 5], "in tenths of a second");
        assert_eq!(waits(now + SECOND_NANOS / 5, 3), [3, 4, 5], "two have passed meanwhile");
        assert_eq!(waits(now + SECOND_NANOS, 4), [0, 0, 0, 1], "nothing is remembered");
    }
}
