//! What becomes of the lines of the audit log.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;

use super::Catalogue;

/// The metrics of the audit log.
#[derive(Debug, Default)]
pub struct AuditMetrics {
    /// Lines written.
    pub lines: Counter,
    /// Lines that will never be.
    pub lost: Counter,
}

impl AuditMetrics {
    pub(super) fn add_to(list: &mut Catalogue) -> Arc<Self> {
        Arc::new(Self {
            lines: list.add("audit_lines", &[], "Lines written to the audit log"),
            lost: list.add("audit_lines_lost", &[], "Lines of the audit log that could not be written"),
        })
    }
}
