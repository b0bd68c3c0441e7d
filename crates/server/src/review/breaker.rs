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

impl Failures {
    /// Whether nothing is lost when it is forgotten.
    fn is_over(&self, now: Instant) -> bool {
        let is_open = self.not_before.is_some_and(|not_before| now < not_before);
        !is_open && self.told_at.is_none_or(|told_at| now - told_at >= TOLD_EVERY)
    }
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

    /// Notes a failure, if there is room for one more handler; whether it is to be told.
    pub(super) fn failed(&self, handler: &Arc<str>) -> bool {
        let now = Instant::now();
        let mut handlers = self.handlers();
        if handlers.len() >= FAILING_HANDLERS_MAX && !handlers.contains_key(handler) {
            handlers.retain(|_, failures| !failures.is_over(now));
            if handlers.len() >= FAILING_HANDLERS_MAX {
                // Nobody reads more lines a minute, and who has many handlers must not have others' called again.
                return false;
            }
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

    use protocol::limit::review::FAILING_HANDLERS_MAX;

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

    #[test]
    fn many_failing_handlers_close_nobodys_breaker_and_are_told_of_up_to_a_limit() {
        let breaker = Breaker::new(1, Duration::from_secs(3_600));
        breaker.failed(&"arn".into());
        let told = (0..2 * FAILING_HANDLERS_MAX).filter(|number| breaker.failed(&format!("{number}").into()));
        assert_eq!(told.count(), FAILING_HANDLERS_MAX - 1);
        assert!(breaker.is_open("arn"));
    }
}
