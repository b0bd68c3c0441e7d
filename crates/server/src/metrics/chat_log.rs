//! What becomes of chat logs. Logging configurations are made by users, so their labels are bounded.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::Catalogue;
use super::user_labels::UserLabels;

/// The metrics of chat logs.
#[derive(Debug)]
pub struct ChatLogMetrics {
    labels: UserLabels,
    /// Records written to spools; one for each logging configuration of a room.
    pub records: Counter,
    /// Records that were published and will never be delivered.
    lost: Family<ConfigurationLabel, Counter>,
    /// Records that the file system did not take.
    pub write_failures: Counter,
    /// Syncs of spools that failed.
    pub sync_failures: Counter,
    /// Bytes of spools that were no records, and were passed over.
    pub damaged_bytes: Counter,
    /// What spools have on disk.
    pub spool_bytes: Gauge,
    /// The age of the oldest record that no destination has yet; 0: none.
    pub oldest_unshipped_seconds: Gauge,
    /// Deliveries that failed, for whatever reason.
    errors: Family<ConfigurationLabel, Counter>,
    /// Those that the destination denied.
    denied: Family<ConfigurationLabel, Counter>,
    /// Those without a destination.
    not_found: Family<ConfigurationLabel, Counter>,
}

/// Why a delivery failed, as far as there is a metric of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationError {
    /// The destination denies access.
    AccessDenied,
    /// There is no such destination.
    ResourceNotFound,
    /// Anything else.
    Other,
}

/// Labels of what is counted for each logging configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConfigurationLabel {
    /// Its id, or `other`.
    logging_configuration: Arc<str>,
}

impl ChatLogMetrics {
    pub(super) fn add_to(list: &mut Catalogue) -> Self {
        let by_configuration: &'static [&'static str] = &["logging_configuration"];
        Self {
            labels: UserLabels::default(),
            records: list.add(
                "chatlog_records",
                &[],
                "Chat log records written to spools, one for each logging configuration of a room",
            ),
            lost: list.add(
                "chatlog_records_lost",
                by_configuration,
                "Chat log records of what was published that will never be delivered",
            ),
            write_failures: list.add(
                "chatlog_write_failures",
                &[],
                "Chat log records that the file system did not take",
            ),
            sync_failures: list.add("chatlog_sync_failures", &[], "Syncs of chat log spools that failed"),
            damaged_bytes: list.add(
                "chatlog_damaged_bytes",
                &[],
                "Bytes of chat log spools that were no records, and were passed over",
            ),
            spool_bytes: list.add("chatlog_spool_bytes", &[], "What chat log spools have on disk"),
            oldest_unshipped_seconds: list.add(
                "chatlog_oldest_unshipped_seconds",
                &[],
                "Age of the oldest chat log record that a destination does not have yet; 0: none",
            ),
            errors: list.add(
                "log_destination_errors",
                by_configuration,
                "Deliveries of chat logs that failed, for whatever reason",
            ),
            denied: list.add(
                "log_destination_access_denied_errors",
                by_configuration,
                "Deliveries of chat logs that the destination denied",
            ),
            not_found: list.add(
                "log_destination_resource_not_found_errors",
                by_configuration,
                "Deliveries of chat logs to destinations that do not exist",
            ),
        }
    }

    /// So many records of a logging configuration are lost.
    pub fn lose(&self, configuration: &str, records: u64) {
        self.lost.get_or_create(&self.label(configuration)).inc_by(records);
    }

    /// A delivery for a logging configuration has failed.
    pub fn fail(&self, configuration: &str, error: DestinationError) {
        let label = self.label(configuration);
        self.errors.get_or_create(&label).inc();
        match error {
            DestinationError::AccessDenied => self.denied.get_or_create(&label).inc(),
            DestinationError::ResourceNotFound => self.not_found.get_or_create(&label).inc(),
            DestinationError::Other => 0,
        };
    }

    fn label(&self, configuration: &str) -> ConfigurationLabel {
        ConfigurationLabel { logging_configuration: self.labels.label(configuration) }
    }
}

#[cfg(test)]
mod tests {
    use super::{ChatLogMetrics, DestinationError};
    use crate::metrics::Catalogue;

    #[test]
    fn failures_are_counted_by_logging_configuration_and_beyond_a_hundred_together() {
        let mut list = Catalogue::new();
        let metrics = ChatLogMetrics::add_to(&mut list);
        metrics.fail("first", DestinationError::AccessDenied);
        metrics.fail("first", DestinationError::ResourceNotFound);
        for number in 0..200 {
            metrics.fail(&format!("configuration{number}"), DestinationError::Other);
        }
        metrics.lose("first", 7);
        let text = list.encode().unwrap_or_default();
        for line in [
            "grandstand_log_destination_errors_total{logging_configuration=\"first\"} 2\n",
            "grandstand_log_destination_errors_total{logging_configuration=\"other\"} 101\n",
            "grandstand_log_destination_access_denied_errors_total{logging_configuration=\"first\"} 1\n",
            "grandstand_log_destination_resource_not_found_errors_total{logging_configuration=\"first\"} 1\n",
            "grandstand_chatlog_records_lost_total{logging_configuration=\"first\"} 7\n",
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
    }
}
