//! Whether the database lets us in, as all who connect to it from here know it together.
//!
//! Promises:
//! - Once an attempt to connect has failed, all are refused at once, but for one now and then that tries.
//! - The first that succeeds opens the gate for all, so whoever says that the database is back lets requests through.
//! - What an attempt met that began before another one succeeded is over, so its failure closes nothing.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use protocol::limit::postgres::RECONNECT_MS;

use super::super::worker::lock;

/// See the module. Open at first.
#[derive(Default)]
pub(super) struct Gate(Mutex<State>);

#[derive(Default)]
struct State {
    /// How often somebody succeeded.
    successes: u64,
    closed: Option<Closed>,
}

struct Closed {
    /// When somebody may try again.
    next_attempt: Instant,
    /// What the last attempt met.
    cause: String,
}

/// An attempt to connect that is under way.
pub(super) struct Attempt {
    /// Those before it.
    successes: u64,
}

impl Gate {
    /// Lets an attempt through; or says what the last one met, when it is too early for another.
    pub(super) fn enter(&self, now: Instant) -> Result<Attempt, String> {
        let State { successes, closed } = &mut *lock(&self.0);
        if let Some(Closed { next_attempt, cause }) = closed {
            if now < *next_attempt {
                return Err(cause.clone());
            }
            // The others wait for what comes of it; not for ever, since it may be given up without a word.
            *next_attempt = now + Duration::from_millis(RECONNECT_MS);
        }
        Ok(Attempt { successes: *successes })
    }

    /// Somebody is connected.
    pub(super) fn open(&self) {
        let mut state = lock(&self.0);
        state.successes += 1;
        state.closed = None;
    }

    /// An attempt has failed.
    pub(super) fn close(&self, attempt: &Attempt, cause: &str, now: Instant) {
        let mut state = lock(&self.0);
        if state.successes == attempt.successes {
            let next_attempt = now + Duration::from_millis(RECONNECT_MS);
            state.closed = Some(Closed { next_attempt, cause: cause.to_owned() });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::{Duration, Instant};

    use protocol::limit::postgres::RECONNECT_MS;

    use super::Gate;

    const PAUSE: Duration = Duration::from_millis(RECONNECT_MS);

    #[test]
    fn after_a_failure_all_are_refused_but_for_one_now_and_then() {
        let (gate, now) = (Gate::default(), Instant::now());
        let refused = |after| gate.enter(now + after).err();
        assert_eq!(refused(Duration::ZERO), None, "open at first");
        gate.close(&gate.enter(now).unwrap(), "no route", now);
        assert_eq!(refused(PAUSE / 2).as_deref(), Some("no route"));
        assert_eq!(refused(PAUSE), None, "one tries");
        assert!(refused(PAUSE).is_some() && refused(PAUSE * 3 / 2).is_some(), "and nobody else");
        assert_eq!(refused(PAUSE * 2), None, "another one, if nothing is heard of the first");
    }

    #[test]
    fn who_succeeds_opens_it_for_all() {
        let (gate, now) = (Gate::default(), Instant::now());
        gate.close(&gate.enter(now).unwrap(), "no route", now);
        gate.open();
        assert!(gate.enter(now).is_ok() && gate.enter(now).is_ok());
    }

    #[test]
    fn a_failure_that_began_before_a_success_closes_nothing() {
        let (gate, now) = (Gate::default(), Instant::now());
        let slow = gate.enter(now).unwrap();
        gate.open();
        gate.close(&slow, "no route", now);
        assert!(gate.enter(now).is_ok());
        gate.close(&gate.enter(now).unwrap(), "no route", now);
        assert!(gate.enter(now).is_err(), "and a later one does");
    }
}
