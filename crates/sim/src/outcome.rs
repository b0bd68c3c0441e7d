//! How a run ends: with numbers, with a broken rule, or with a panic; always so that it can be seen again.

use std::fmt;

use crate::checkers::Violation;

/// What a run without a violation was like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// See [`crate::trace`].
    pub trace: u64,
    /// Things that happened.
    pub events: u64,
    /// Clients that joined.
    pub clients: usize,
    /// Frames that rooms published.
    pub published: usize,
    /// Frames that clients read.
    pub heard: usize,
    /// Slow readers that were dropped.
    pub dropped: u64,
    /// Messages that were refused since too many were under review.
    pub reviews_refused: u64,
    /// Messages that took their room's fallback result.
    pub fallbacks: u64,
    /// Records that chat logs hold.
    pub logged: usize,
    /// … of events that nobody was there to hear.
    pub logged_unheard: usize,
    /// … that a killed node has left, and never published.
    pub logged_orphans: usize,
    /// Requests that were refused since they could not be logged.
    pub unlogged: usize,
    /// How often the node was killed.
    pub kills: u64,
}

/// A run that broke a rule. Its text says how to see it again.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The scenario's name.
    pub scenario: &'static str,
    /// The seed.
    pub seed: u64,
    /// The rule.
    pub violation: Violation,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, seed, violation } = self;
        write!(formatter, "{violation}\nto see it again: --scenario {scenario} --seed {seed}")
    }
}

/// Says which run it was when a hub panics.
pub(crate) struct TellsSeed {
    pub(crate) scenario: &'static str,
    pub(crate) seed: u64,
}

impl Drop for TellsSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to see it again: --scenario {} --seed {}", self.scenario, self.seed);
        }
    }
}
