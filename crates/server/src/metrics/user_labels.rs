//! Labels that users make: the first ones have series of their own, the rest share one.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::limit::metrics::USER_MADE_LABELS_MAX;

/// Stands for all that have no series of their own.
const OTHER: &str = "other";

/// The values of one label that have series of their own.
#[derive(Debug, Default)]
pub(super) struct UserLabels {
    known: Mutex<HashSet<Arc<str>>>,
}

impl UserLabels {
    /// The label for a value.
    pub(super) fn label(&self, value: &str) -> Arc<str> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = known.get(value) {
            return Arc::clone(value);
        }
        if known.len() >= USER_MADE_LABELS_MAX {
            return OTHER.into();
        }
        let value: Arc<str> = value.into();
        known.insert(Arc::clone(&value));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::UserLabels;

    #[test]
    fn the_first_hundred_are_themselves() {
        let labels = UserLabels::default();
        for number in 0..100 {
            let value = format!("arn {number}");
            assert_eq!(*labels.label(&value), *value);
        }
        assert_eq!(&*labels.label("arn 100"), "other");
        assert_eq!(&*labels.label("arn 99"), "arn 99");
    }
}
