//! What is remembered of handlers that fail: when that was told, and, if so configured, that they are not to be called for
//! a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::limit::review::FAILING_HANDLERS_MAX;

/// A failing handler is told of this often.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// What is known of one handler.
#[derive(Default)]
struct Failures {
    in_a_row: u64,
    not_before: Option<Instant>,
    told_at: Option<Instant>,
}

/// See the module.
pub(super) struct Breaker {
    /// So many failures in a row open it; 0: none do.
    failures_max: u64,
    /// How long it stays open.
    pause: Duration,
    /// Handlers that have failed, and have not succeeded since or were told of lately.
    handlers: Mutex<HashMap<Arc<str>, Failures>>,
}

impl Breaker {
    pub(super) fn new(failures_max: u64, pause: Duration) -> Self {
        Self { failures_max, pause, handlers: Mutex::default() }
    }

    /// Whether the handler is not to be called now. When its pause is over it is tried again, and the next failure opens
    /// the breaker once more.
    pub(super) fn is_open(&self, handler: &str) -> bool {
        self.failures_max > 0
            && self
                .handlers()
                .get(handler)
                .and_then(|failures| failures.not_before)
                .is_some_and(|not_before| Instant::now() < not_before)
    }

    pub(super) fn succeeded(&self, handler: &str) {
        if let Some(failures) = self.handlers().get_mut(handler) {
            failures.in_a_row = 0;
            failures.not_before = None;
        }
    }

    /// Notes a failure; whether it is to be told.
    pub(super) fn failed(&self, handler: &Arc<str>) -> bool {
        let now = Instant::now();
        let mut handlers = self.handlers();
        if handlers.len() >= FAILING_HANDLERS_MAX && !handlers.contains_key(handler) {
            // Whoever has so many is told a little more often.
            handlers.clear();
        }
        let failures = handlers.entry(Arc::clone(handler)).or_default();
        failures.in_a_row += 1;
        if self.failures_max > 0 && failures.in_a_row >= self.failures_max {
            failures.not_before = Some(now + self.pause);
        }
        let is_due = failures.told_at.is_none_or(|told_at| now - told_at >= TOLD_EVERY);
        if is_due {
            failures.told_at = Some(now);
        }
        is_due
    }

    fn handlers(&self) -> MutexGuard<'_, HashMap<Arc<str>, Failures>> {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::Breaker;

    #[test]
    fn it_opens_after_failures_in_a_row_and_is_off_by_default() {
        let hour = Duration::from_secs(3_600);
        let handler: Arc<str> = "arn".into();
        let (breaker, off) = (Breaker::new(2, hour), Breaker::new(0, hour));
        assert!(breaker.failed(&handler) && !breaker.failed(&handler), "told once");
        assert!(breaker.is_open("arn") && !breaker.is_open("other"));
        breaker.succeeded("arn");
        assert!(!breaker.is_open("arn"));
        breaker.failed(&handler);
        assert!(!breaker.is_open("arn"), "one in a row");
        let past = Breaker::new(1, Duration::ZERO);
        past.failed(&handler);
        assert!(!past.is_open("arn"), "the pause is over");
        for _ in 0..9 {
            off.failed(&handler);
        }
        assert!(!off.is_open("arn"));
    }
}
