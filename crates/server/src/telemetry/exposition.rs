//! The text of `GET /metrics`, read back: it is the one thing that has all metrics, whoever counts them.
//!
//! It is our own text, so it is well formed; a line that could not be read would be left out.

use std::borrow::Cow;

/// A metric and all its series.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Family<'a> {
    /// As `docs/metrics.md` has it: without `_total`.
    pub(super) name: &'a str,
    pub(super) meaning: &'a str,
    pub(super) points: Points<'a>,
}

/// The series of a metric.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Points<'a> {
    /// What only grows.
    Counter(Vec<(Labels<'a>, Number)>),
    /// What is.
    Gauge(Vec<(Labels<'a>, Number)>),
    /// How many were how large.
    Histogram(Vec<(Labels<'a>, Distribution)>),
}

/// Names and values.
pub(super) type Labels<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// A value, in the type that it is counted in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Whole(i64),
    Real(f64),
}

/// One series of a histogram.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Distribution {
    pub(super) count: u64,
    pub(super) sum: f64,
    /// Upper bounds, each in its bucket; the last bucket has none.
    pub(super) bounds: Vec<f64>,
    /// What is in each bucket: one more than there are bounds.
    pub(super) counts: Vec<u64>,
    /// What is in all buckets so far.
    below: u64,
}

/// All metrics in `text`. Those without a series are left out.
pub(super) fn read(text: &str) -> Vec<Family<'_>> {
    let mut families: Vec<Family<'_>> = Vec::new();
    let mut meaning = "";
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            match comment.split_once(' ') {
                Some(("HELP", help)) => meaning = help.split_once(' ').map_or("", |(_, help)| help),
                Some(("TYPE", kind)) => families.extend(family(kind, meaning)),
                _ => {}
            }
        } else if let (Some(family), Some(sample)) = (families.last_mut(), Sample::read(line)) {
            family.take(sample);
        }
    }
    families.retain(|family| !family.points.is_empty());
    families
}

/// A metric as its comments announce it.
fn family<'a>(kind: &'a str, meaning: &'a str) -> Option<Family<'a>> {
    let (name, kind) = kind.split_once(' ')?;
    let points = match kind {
        "counter" => Points::Counter(Vec::new()),
        "histogram" => Points::Histogram(Vec::new()),
        _ => Points::Gauge(Vec::new()),
    };
    // The point is put there by whoever writes the text.
    Some(Family { name, meaning: meaning.strip_suffix('.').unwrap_or(meaning), points })
}

impl Points<'_> {
    fn is_empty(&self) -> bool {
        match self {
            Self::Counter(points) | Self::Gauge(points) => points.is_empty(),
            Self::Histogram(points) => points.is_empty(),
        }
    }
}

impl<'a> Family<'a> {
    fn take(&mut self, sample: Sample<'a>) {
        let Some(part) = sample.name.strip_prefix(self.name) else { return };
        match &mut self.points {
            Points::Counter(points) if part == "_total" => points.extend(sample.number()),
            Points::Gauge(points) if part.is_empty() => points.extend(sample.number()),
            Points::Histogram(points) => take_distribution(points, part, sample),
            Points::Counter(_) | Points::Gauge(_) => {}
        }
    }
}

fn take_distribution<'a>(points: &mut Vec<(Labels<'a>, Distribution)>, part: &str, mut sample: Sample<'a>) {
    let bound = sample.labels.iter().position(|(name, _)| *name == "le").map(|at| sample.labels.remove(at).1);
    if points.last().is_none_or(|(labels, _)| *labels != sample.labels) {
        points.push((sample.labels, Distribution::default()));
    }
    let Some((_, distribution)) = points.last_mut() else { return };
    match (part, bound) {
        ("_count", None) => distribution.count = sample.value.parse().unwrap_or_default(),
        ("_sum", None) => distribution.sum = sample.value.parse().unwrap_or_default(),
        ("_bucket", Some(bound)) => {
            let below: u64 = sample.value.parse().unwrap_or_default();
            distribution.counts.push(below.saturating_sub(distribution.below));
            distribution.below = below;
            distribution.bounds.extend(bound.parse::<f64>().ok().filter(|bound| bound.is_finite()));
        }
        _ => {}
    }
}

/// One line.
struct Sample<'a> {
    name: &'a str,
    labels: Labels<'a>,
    value: &'a str,
}

impl<'a> Sample<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let name_length = line.find(['{', ' '])?;
        let (name, mut rest) = line.split_at(name_length);
        let mut labels = Vec::new();
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner;
            while !rest.starts_with('}') {
                let (label, quoted) = rest.trim_start_matches(',').split_once("=\"")?;
                let (value, behind) = unquote(quoted)?;
                labels.push((label, value));
                rest = behind;
            }
            rest = &rest[1..];
        }
        let value = rest.split_ascii_whitespace().next()?;
        Some(Self { name, labels, value })
    }

    fn number(self) -> Option<(Labels<'a>, Number)> {
        let whole = self.value.parse().ok().map(Number::Whole);
        let number = whole.or_else(|| self.value.parse().ok().map(Number::Real))?;
        Some((self.labels, number))
    }
}

/// The value up to its closing quotation mark, and what follows that.
fn unquote(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((place, letter)) = letters.next() {
        match letter {
            '"' if value.len() == place => return Some((Cow::Borrowed(&text[..place]), &text[place + 1..])),
            '"' => return Some((Cow::Owned(value), &text[place + 1..])),
            '\\' => value.push(match letters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{Family, Number, Points, read};
    use crate::metrics::{ApiRequest, Metrics, PREFIX, ReviewError};

    fn find<'a>(families: &'a [Family<'a>], name: &str) -> &'a Points<'a> {
        &families.iter().find(|family| family.name == format!("{PREFIX}_{name}")).unwrap().points
    }

    #[test]
    fn every_series_of_the_registry_is_read() {
        let metrics = Metrics::new(2);
        metrics.api_requests.get_or_create(&ApiRequest { operation: "GetRoom", result: "ok" }).inc_by(7);
        metrics.handshakes_waiting.set(-1);
        let odd = "a \"quoted\\ } name\",\nand more";
        metrics.count_review_error(ReviewError::Invocation, &Arc::from(odd));
        metrics.store.committed(3, Duration::from_micros(100));
        metrics.store.committed(1, Duration::from_millis(100));
        let text = metrics.encode().unwrap();
        let families = read(&text);

        let Points::Counter(requests) = find(&families, "api_requests") else { panic!("{families:?}") };
        let labels = vec![("operation", "GetRoom".into()), ("result", "ok".into())];
        assert_eq!(*requests, [(labels, Number::Whole(7))]);
        let Points::Gauge(waiting) = find(&families, "handshakes_waiting") else { panic!("{families:?}") };
        assert_eq!(*waiting, [(vec![], Number::Whole(-1))]);
        let Points::Counter(errors) = find(&families, "review_invocation_errors") else {
            panic!("{families:?}")
        };
        assert_eq!(*errors, [(vec![("handler", odd.into())], Number::Whole(1))]);
        let Points::Counter(seconds) = find(&families, "process_processor_seconds") else {
            panic!("{families:?}")
        };
        assert!(matches!(seconds[..], [(_, Number::Real(_))]), "{seconds:?}");

        let Points::Histogram(commits) = find(&families, "store_commit_seconds") else {
            panic!("{families:?}")
        };
        let [(labels, commits)] = &commits[..] else { panic!("{commits:?}") };
        assert!(
            labels.is_empty() && commits.count == 2 && (commits.sum - 0.1001).abs() < 1e-9,
            "{commits:?}"
        );
        assert_eq!((commits.counts.len(), commits.counts.iter().sum::<u64>()), (commits.bounds.len() + 1, 2));
        let place = commits.bounds.iter().position(|bound| *bound >= 0.0001).unwrap();
        assert!(commits.counts[place] == 1 && commits.bounds.is_sorted(), "{commits:?}");

        let in_text = text.lines().filter(|line| !line.starts_with('#')).count();
        let series: usize = families
            .iter()
            .map(|family| match &family.points {
                Points::Counter(points) | Points::Gauge(points) => points.len(),
                Points::Histogram(points) => points.iter().map(|(_, all)| 2 + all.counts.len()).sum(),
            })
            .sum();
        assert_eq!(series, in_text);
    }

    #[test]
    fn names_and_meanings_are_those_of_the_list() {
        let metrics = Metrics::new(1);
        let text = metrics.encode().unwrap();
        let manual = metrics.catalogue().manual();
        for Family { name, meaning, .. } in read(&text) {
            assert!(
                manual.contains(&format!("| `{name}` |")) && manual.contains(&format!("| {meaning} |")),
                "{name}: {meaning}"
            );
        }
    }

    #[test]
    fn what_is_no_line_of_a_metric_is_left_out() {
        for text in [
            "",
            "x 1",
            "# TYPE x counter\nx_total{a=\"b} 1",
            "# TYPE x counter\nx_total",
            "# TYPE x gauge\nx many",
        ] {
            assert_eq!(read(text), [], "{text}");
        }
    }
}
