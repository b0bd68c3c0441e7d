//! What happened, as one number: two runs with the same trace did the same things in the same order.

use std::hash::{DefaultHasher, Hash, Hasher};

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Trace {
    hasher: DefaultHasher,
    events: u64,
}

impl Trace {
    /// Notes an event.
    pub fn note(&mut self, event: impl Hash) {
        event.hash(&mut self.hasher);
        self.events += 1;
    }

    /// The number.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    /// How many events were noted.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }
}
