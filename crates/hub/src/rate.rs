//! Rates, kept in eight bytes each.

use std::sync::atomic::{AtomicU64, Ordering};

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

    /// Counts what an admitted request has turned out to cost: as much as so many more, which cannot be refused.
    pub fn charge(&mut self, now_nanos: u64, per_second: u32, count: u64) {
        let interval = SECOND_NANOS / u64::from(per_second.max(1));
        self.0 = self.0.max(now_nanos) + interval * count;
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

/// A [`Rate`] with its limit, shared by several threads without a lock. All of them count time from one origin.
#[derive(Debug)]
pub struct SharedRate {
    per_second: u32,
    arrival: AtomicU64,
}

impl SharedRate {
    /// Admits so many requests per second.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        Self { per_second, arrival: AtomicU64::default() }
    }

    /// Admits a request at `now` (monotonic nanoseconds), or not.
    pub fn admit(&self, now_nanos: u64) -> bool {
        let next = |arrival| {
            let mut rate = Rate(arrival);
            rate.admit(now_nanos, self.per_second).then_some(rate.0)
        };
        self.arrival.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    /// How many requests per second are admitted.
    #[must_use]
    pub fn per_second(&self) -> u32 {
        self.per_second
    }

    /// Whether nothing is remembered any more at `now`.
    #[must_use]
    pub fn is_idle(&self, now_nanos: u64) -> bool {
        Rate(self.arrival.load(Ordering::Relaxed)).is_idle(now_nanos)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    use super::{Rate, SECOND_NANOS, SharedRate};

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

    #[test]
    fn threads_that_share_a_rate_are_admitted_no_oftener_than_one() {
        let rate = SharedRate::new(100);
        for now in [5 * SECOND_NANOS, 6 * SECOND_NANOS] {
            assert!(rate.is_idle(now));
            let admitted = AtomicU32::new(0);
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        let count = (0..100).filter(|_| rate.admit(now)).count();
                        admitted.fetch_add(u32::try_from(count).unwrap_or(u32::MAX), Ordering::Relaxed);
                    });
                }
            });
            assert_eq!(admitted.into_inner(), rate.per_second());
            assert!(!rate.is_idle(now));
        }
    }
}
