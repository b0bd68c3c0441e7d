//! The list of all metrics: what `GET /metrics` shows, and what `docs/metrics.md` says of each.

use std::fmt::{self, Write};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Metric, Registry};

/// What the name of every metric begins with.
pub const PREFIX: &str = "grandstand";

const OPENING: &str = "\
# Metrics

`GET /metrics` on the admin port (`http://127.0.0.1:4582/metrics`) answers in the text format of OpenMetrics, which Prometheus reads.
Counters are shown with `_total` behind their name, and histograms as `_bucket`, `_sum` and `_count`. All begin at zero with the process. A metric with
labels is shown once it has a value. Labels have few values, all made by the server; of those that users make, the first 100 get
their own and all others are `other`.

[A dashboard for Grafana](../contrib/grafana-dashboard.json) and [alerts for Prometheus](../contrib/prometheus-alerts.yml) use them.

This page is made by `grandstand metrics-docs`.

| name | kind | labels | meaning |
| --- | --- | --- | --- |
";

/// The list, while it is made and when it is asked for.
#[derive(Debug)]
pub struct Catalogue {
    registry: Registry,
    entries: Vec<Entry>,
}

/// One metric.
#[derive(Debug)]
struct Entry {
    name: &'static str,
    kind: &'static str,
    labels: &'static [&'static str],
    meaning: &'static str,
}

impl Catalogue {
    /// A list of nothing.
    pub(super) fn new() -> Self {
        Self { registry: Registry::with_prefix(PREFIX), entries: Vec::new() }
    }

    /// Adds a metric with these labels; one line says what it means.
    pub(super) fn add<M: Metric + Clone + Default>(
        &mut self,
        name: &'static str,
        labels: &'static [&'static str],
        meaning: &'static str,
    ) -> M {
        let metric = M::default();
        self.entries.push(Entry { name, kind: kind(metric.metric_type()), labels, meaning });
        self.registry.register(name, meaning, metric.clone());
        metric
    }

    /// Adds a histogram that `collector` makes when it is asked for.
    pub(super) fn add_histogram(
        &mut self,
        name: &'static str,
        meaning: &'static str,
        collector: impl Collector,
    ) {
        self.entries.push(Entry { name, kind: kind(MetricType::Histogram), labels: &[], meaning });
        self.registry.register_collector(Box::new(collector));
    }

    /// All metrics as text.
    pub(super) fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// The name and the kind of each: `counter`, `gauge` or `histogram`.
    pub fn names(&self) -> impl Iterator<Item = (String, &'static str)> + '_ {
        self.entries.iter().map(|entry| (format!("{PREFIX}_{}", entry.name), entry.kind))
    }

    /// The whole page `docs/metrics.md`.
    #[must_use]
    pub fn manual(&self) -> String {
        let mut page = OPENING.to_owned();
        for Entry { name, kind, labels, meaning } in &self.entries {
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            // Writing to a string cannot fail.
            let _ = writeln!(page, "| `{PREFIX}_{name}` | {kind} | {} | {meaning} |", labels.join(", "));
        }
        page
    }
}

/// What Prometheus calls it.
const fn kind(metric_type: MetricType) -> &'static str {
    match metric_type {
        MetricType::Counter => "counter",
        MetricType::Gauge => "gauge",
        MetricType::Histogram => "histogram",
        MetricType::Info | MetricType::Unknown => "other",
    }
}
