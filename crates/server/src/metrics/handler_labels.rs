//! Labels that users make: the first ones have series of their own, the rest share one.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::limit::metrics::USER_MADE_LABELS_MAX;

/// Stands for all that have no series of their own.
const OTHER: &str = "other";

/// The ARNs of handlers that have series of their own.
#[derive(Debug, Default)]
pub(super) struct HandlerLabels {
    known: Mutex<HashSet<Arc<str>>>,
}

impl HandlerLabels {
    /// The label for a handler.
    pub(super) fn label(&self, handler: &Arc<str>) -> Arc<str> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(handler) {
            return Arc::clone(handler);
        }
        if known.len() >= USER_MADE_LABELS_MAX {
            return OTHER.into();
        }
        known.insert(Arc::clone(handler));
        Arc::clone(handler)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::HandlerLabels;

    #[test]
    fn the_first_hundred_are_themselves() {
        let labels = HandlerLabels::default();
        for number in 0..100 {
            let handler: Arc<str> = format!("arn {number}").into();
            assert_eq!(labels.label(&handler), handler);
        }
        assert_eq!(&*labels.label(&"arn 100".into()), "other");
        assert_eq!(&*labels.label(&"arn 99".into()), "arn 99");
    }
}
