//! Labels that users make: the first ones have series of their own, the rest share one.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::limit::metrics::USER_MADE_LABELS_MAX;

/// Stands for all that have no series of their own.
const OTHER: &str = "other";

/// The values that have series of their own.
#[derive(Debug, Default)]
pub(super) struct UserLabels {
    known: Mutex<HashSet<Arc<str>>>,
}

impl UserLabels {
    /// The label for a value, such as the ARN of a handler.
    pub(super) fn label(&self, value: &Arc<str>) -> Arc<str> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(value) {
            return Arc::clone(value);
        }
        if known.len() >= USER_MADE_LABELS_MAX {
            return OTHER.into();
        }
        known.insert(Arc::clone(value));
        Arc::clone(value)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::UserLabels;

    #[test]
    fn the_first_hundred_are_themselves() {
        let labels = UserLabels::default();
        for number in 0..100 {
            let handler: Arc<str> = format!("arn {number}").into();
            assert_eq!(labels.label(&handler), handler);
        }
        assert_eq!(&*labels.label(&"arn 100".into()), "other");
        assert_eq!(&*labels.label(&"arn 99".into()), "arn 99");
    }
}
