//! What becomes of chat logs. Logging configurations are made by users, so their labels are bounded.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::register;
use super::user_labels::UserLabels;

/// The metrics of chat logs.
#[derive(Debug)]
pub struct ChatLogMetrics {
    labels: UserLabels,
    /// `grandstand_chatlog_records_total`: records written to spools; one for each logging configuration of a room.
    pub records: Counter,
    /// `grandstand_chatlog_records_lost_total{logging_configuration}`: records that were published and will never be delivered.
    lost: Family<ConfigurationLabel, Counter>,
    /// `grandstand_chatlog_write_failures_total`: records that the file system did not take.
    pub write_failures: Counter,
    /// `grandstand_chatlog_sync_failures_total`: syncs of spools that failed.
    pub sync_failures: Counter,
    /// `grandstand_chatlog_damaged_bytes_total`: bytes of spools that were no records, and were cut off.
    pub damaged_bytes: Counter,
    /// `grandstand_chatlog_spool_bytes`: what spools have on disk.
    pub spool_bytes: Gauge,
    /// `grandstand_chatlog_oldest_unshipped_seconds`: the age of the oldest record that no destination has yet; 0: none.
    pub oldest_unshipped_seconds: Gauge,
    /// `grandstand_log_destination_errors_total{logging_configuration}`: deliveries that failed, for whatever reason.
    errors: Family<ConfigurationLabel, Counter>,
    /// `grandstand_log_destination_access_denied_errors_total{logging_configuration}`: those that the destination denied.
    denied: Family<ConfigurationLabel, Counter>,
    /// `grandstand_log_destination_resource_not_found_errors_total{logging_configuration}`: those without a destination.
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
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            labels: UserLabels::default(),
            records: register(registry, "chatlog_records", "Chat log records written to spools"),
            lost: register(registry, "chatlog_records_lost", "Chat log records that will never be delivered"),
            write_failures: register(
                registry,
                "chatlog_write_failures",
                "Chat log records that could not be written",
            ),
            sync_failures: register(
                registry,
                "chatlog_sync_failures",
                "Syncs of chat log spools that failed",
            ),
            damaged_bytes: register(
                registry,
                "chatlog_damaged_bytes",
                "Bytes of chat log spools that were cut off",
            ),
            spool_bytes: register(registry, "chatlog_spool_bytes", "What chat log spools have on disk"),
            oldest_unshipped_seconds: register(
                registry,
                "chatlog_oldest_unshipped_seconds",
                "Age of the oldest chat log record that is not delivered",
            ),
            errors: register(registry, "log_destination_errors", "Deliveries of chat logs that failed"),
            denied: register(
                registry,
                "log_destination_access_denied_errors",
                "Deliveries of chat logs that were denied",
            ),
            not_found: register(
                registry,
                "log_destination_resource_not_found_errors",
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
        ConfigurationLabel { logging_configuration: self.labels.label(&configuration.into()) }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::{ChatLogMetrics, DestinationError};

    #[test]
    fn failures_are_counted_by_logging_configuration_and_beyond_a_hundred_together() {
        let mut registry = Registry::with_prefix("grandstand");
        let metrics = ChatLogMetrics::new(&mut registry);
        metrics.fail("first", DestinationError::AccessDenied);
        metrics.fail("first", DestinationError::ResourceNotFound);
        for number in 0..200 {
            metrics.fail(&format!("configuration{number}"), DestinationError::Other);
        }
        metrics.lose("first", 7);
        let mut text = String::new();
        assert!(encode(&mut text, &registry).is_ok());
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
