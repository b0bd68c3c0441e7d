//! How much a room publishes, for whoever looks into a running server.

use crate::SECOND_NANOS;

/// What is counted together, in seconds.
const PERIOD_SECONDS: u32 = 10;

/// The frames that a room has published since its home was made.
#[derive(Debug, Default)]
pub struct Traffic {
    frames: u64,
    /// The number of the period in which the last frame was published.
    period: u64,
    /// Frames of that period.
    current: u32,
    /// Frames of the period before it.
    previous: u32,
}

impl Traffic {
    /// One more.
    pub fn note(&mut self, now_nanos: u64) {
        let period = period(now_nanos);
        self.previous = self.before(period);
        if self.period != period {
            (self.period, self.current) = (period, 0);
        }
        self.current = self.current.saturating_add(1);
        self.frames += 1;
    }

    /// All of them.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// How many a second in the last whole ten seconds.
    #[must_use]
    pub fn frames_per_second(&self, now_nanos: u64) -> f64 {
        f64::from(self.before(period(now_nanos))) / f64::from(PERIOD_SECONDS)
    }

    /// Frames of the period before this one.
    fn before(&self, period: u64) -> u32 {
        match period - self.period.min(period) {
            0 => self.previous,
            1 => self.current,
            _ => 0,
        }
    }
}

fn period(now_nanos: u64) -> u64 {
    now_nanos / (u64::from(PERIOD_SECONDS) * SECOND_NANOS)
}

#[cfg(test)]
mod tests {
    use super::Traffic;
    use crate::SECOND_NANOS;

    #[test]
    fn the_rate_is_that_of_the_last_whole_period() {
        let mut traffic = Traffic::default();
        for second in 0..10 {
            traffic.note(second * SECOND_NANOS);
            traffic.note(second * SECOND_NANOS);
        }
        let rate = |traffic: &Traffic, second: u64| traffic.frames_per_second(second * SECOND_NANOS);
        assert_eq!(rate(&traffic, 9), 0.0);
        assert_eq!(rate(&traffic, 10), 2.0);
        traffic.note(12 * SECOND_NANOS);
        assert_eq!(rate(&traffic, 19), 2.0);
        assert_eq!(rate(&traffic, 20), 0.1);
        assert_eq!(rate(&traffic, 30), 0.0);
        traffic.note(45 * SECOND_NANOS);
        assert_eq!(rate(&traffic, 45), 0.0);
        assert_eq!(traffic.frames(), 22);
    }
}
