//! The pages and files that name metrics have those that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use server::metrics::{Metrics, PREFIX};

fn file(path: &str) -> (PathBuf, String) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    let text = fs::read_to_string(&path).unwrap_or_default();
    (path, text)
}

#[test]
fn the_list_of_metrics_is_up_to_date() {
    let (_, page) = file("docs/metrics.md");
    assert!(
        page == Metrics::new(1).catalogue().manual(),
        "docs/metrics.md is stale; run: cargo run -- metrics-docs > docs/metrics.md"
    );
}

/// Names as Prometheus has them: with the ending that goes with the kind.
fn known() -> BTreeSet<String> {
    let metrics = Metrics::new(1);
    metrics
        .catalogue()
        .names()
        .flat_map(|(name, kind)| match kind {
            "counter" => vec![format!("{name}_total")],
            "histogram" => vec![format!("{name}_bucket"), format!("{name}_sum"), format!("{name}_count")],
            _ => vec![name],
        })
        .collect()
}

/// All words of a text that begin like a metric.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let beginning = format!("{PREFIX}_");
    words.filter(|word| word.starts_with(&beginning)).map(str::to_owned).collect()
}

#[test]
fn dashboard_and_alerts_name_metrics_that_there_are() {
    let known = known();
    for path in ["contrib/grafana-dashboard.json", "contrib/prometheus-alerts.yml"] {
        let (path, text) = file(path);
        let named = named(&text);
        assert!(named.len() > 5, "{} names {named:?}", path.display());
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{} names metrics that there are not: {unknown:?}", path.display());
    }
}

#[test]
fn the_dashboard_shows_every_metric() {
    let (path, text) = file("contrib/grafana-dashboard.json");
    let shown = named(&text);
    // Of a histogram its buckets are enough.
    let missing: Vec<String> = known()
        .into_iter()
        .filter(|name| !shown.contains(name) && !name.ends_with("_sum") && !name.ends_with("_count"))
        .collect();
    assert!(missing.is_empty(), "{} does not show {missing:?}", path.display());
}
