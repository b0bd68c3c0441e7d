//! What was measured, where, and with what: text for people, lines of JSON for programs.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use serde_json::{Map, Value, json};
use server::config::DatabaseUrl;

use crate::failure::Failure;
use crate::peers::Peer;
use crate::picture;

/// Named numbers of one run, in the order they are to be shown. The unit is the last part of the name.
pub type Figures = Vec<(&'static str, f64)>;

/// One measured run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Counted from 1.
    pub round: u64,
    /// Which peer.
    pub peer: &'static str,
    /// What came out; empty when the run was void.
    pub figures: Figures,
}

/// Median, least and most of some numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle one; the mean of the middle two when there is an even number.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
}

impl Spread {
    /// `None` when there are no numbers.
    #[must_use]
    pub fn of(numbers: &[f64]) -> Option<Self> {
        let mut sorted = numbers.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let (upper, lower) = (sorted.len() / 2, (sorted.len() - 1) / 2);
        Some(Self { median: f64::midpoint(sorted[lower], sorted[upper]), least, most })
    }

    /// `median [least-most]`, with as many digits as mean something.
    #[must_use]
    pub fn to_text(self) -> String {
        let Self { median, least, most } = self;
        let digits = digits(most);
        format!("{median:.digits$} [{least:.digits$}-{most:.digits$}]")
    }
}

/// How many digits of a number of this size mean something.
fn digits(number: f64) -> usize {
    match number.abs() {
        number if number >= 1_000.0 => 0,
        number if number >= 100.0 => 1,
        number if number >= 1.0 => 2,
        _ => 3,
    }
}

/// The 95 % interval of a median: between which of `numbers` the median of all such numbers lies with at least that
/// probability, however they are distributed, since each lies above it as often as below. `None` for fewer than six.
#[must_use]
pub fn median_interval(numbers: &[f64]) -> Option<(f64, f64)> {
    const OUTSIDE_EACH_SIDE_MAX: f64 = 0.025;
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len();
    // The probability that of so many tosses of a coin exactly `below` show heads, and that no more do.
    let mut exactly = 0.5_f64.powi(i32::try_from(count).ok()?);
    let mut at_most = exactly;
    let mut interval = None;
    for below in 0..count / 2 {
        if at_most > OUTSIDE_EACH_SIDE_MAX {
            break;
        }
        interval = Some((sorted[below], sorted[count - 1 - below]));
        exactly *= (count - below) as f64 / (below + 1) as f64;
        at_most += exactly;
    }
    interval
}

/// The machine and the versions that a result belongs to.
#[derive(Clone, Debug)]
pub struct Surroundings {
    facts: Vec<(&'static str, String)>,
}

impl Surroundings {
    /// Looks around. What cannot be found out is `unknown`.
    #[must_use]
    pub fn read() -> Self {
        let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let processors = file("/proc/cpuinfo");
        let model = processors.lines().find(|line| line.starts_with("model name")).unwrap_or_default();
        let model = model.split_once(": ").map_or("unknown", |(_, model)| model);
        // Not `available_parallelism`, which counts only the cores that the load generator is pinned to.
        let cores = processors.lines().filter(|line| line.starts_with("processor")).count();
        let changed = !output("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty();
        let commit = output("git", &["rev-parse", "--short=12", "HEAD"]);
        let facts = vec![
            ("cores", cores.to_string()),
            ("processor", model.to_owned()),
            ("kernel", file("/proc/sys/kernel/osrelease").trim().to_owned()),
            ("rustc", output("rustc", &["--version"])),
            ("commit", if changed { format!("{commit} with changes") } else { commit }),
            ("command", std::env::args().skip(1).map(without_password).collect::<Vec<_>>().join(" ")),
        ];
        let unknown = |text: String| if text.is_empty() { "unknown".to_owned() } else { text };
        Self { facts: facts.into_iter().map(|(name, text)| (name, unknown(text))).collect() }
    }

    fn to_json(&self) -> Value {
        self.facts.iter().map(|(name, text)| ((*name).to_owned(), json!(text))).collect::<Map<_, _>>().into()
    }

    /// One fact a line.
    #[must_use]
    pub fn to_text(&self) -> String {
        let lines = self.facts.iter().map(|(name, text)| format!("{name}: {text}\n"));
        lines.collect()
    }
}

/// The argument as it may be shown to anybody: of a database's address, not the password.
fn without_password(argument: String) -> String {
    match DatabaseUrl::parse(argument.strip_prefix("--url=").unwrap_or(&argument)) {
        Ok(url) => url.to_string(),
        Err(_) => argument,
    }
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// All runs of one command.
#[derive(Clone, Debug, Default)]
pub struct Report {
    runs: Vec<Run>,
}

impl Report {
    /// Adds the outcome of a run, and says it on standard error. A void run has no figures, but is counted.
    ///
    /// # Errors
    /// Failures that do not mean that the run is void.
    pub fn add_outcome(
        &mut self,
        round: u64,
        peer: &'static str,
        outcome: Result<Figures, Failure>,
    ) -> Result<(), Failure> {
        match outcome {
            Err(failure) if failure.is_void() => {
                eprintln!("round {round} {peer}: {failure}");
                self.runs.push(Run { round, peer, figures: Figures::new() });
                Ok(())
            }
            outcome => outcome.map(|figures| self.add(Run { round, peer, figures })),
        }
    }

    /// Adds a run, and says so on standard error.
    pub fn add(&mut self, run: Run) {
        let shown = run.figures.iter().take(4).map(|(name, value)| format!("{name} {value:.2}"));
        let shown: Vec<String> = shown.collect();
        eprintln!("round {} {}: {}", run.round, run.peer, shown.join(", "));
        self.runs.push(run);
    }

    /// A table with a row per figure and a column per peer: medians, least and most of all rounds; below it, for each
    /// of `ratios` and each other peer, `subject`'s figure divided by that peer's of the same round: median, least and
    /// most over the rounds, the [`median_interval`], and the ratios of all rounds in their order.
    #[must_use]
    pub fn to_text(&self, subject: &str, ratios: &[&str]) -> String {
        let peers = self.peers();
        let valid = self.runs.iter().find(|run| !run.figures.is_empty());
        let names = valid.map(|run| &run.figures).into_iter().flatten().map(|(name, _)| *name);
        let mut text = format!("{:<28}", "median [least-most]");
        for peer in &peers {
            text.push_str(&format!("{peer:>30}"));
        }
        text.push('\n');
        for name in names {
            text.push_str(&format!("{name:<28}"));
            for peer in &peers {
                let spread = Spread::of(&self.values(peer, name)).map(Spread::to_text).unwrap_or_default();
                text.push_str(&format!("{spread:>30}"));
            }
            text.push('\n');
        }
        text.push_str(&format!("{:<28}", "void runs"));
        for peer in &peers {
            let (void, all) = self.void_runs(peer);
            text.push_str(&format!("{:>30}", format!("{void} of {all}")));
        }
        text.push('\n');
        for name in ratios {
            for peer in peers.iter().filter(|peer| **peer != subject) {
                let ratios = self.ratios(subject, peer, name);
                let Some(spread) = Spread::of(&ratios) else { continue };
                let digits = digits(spread.most);
                text.push_str(&format!("{name} of {subject} / {peer}: {}", spread.to_text()));
                if let Some((from, to)) = median_interval(&ratios) {
                    text.push_str(&format!(", 95 % interval {from:.digits$}-{to:.digits$}"));
                }
                let rounds: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.digits$}")).collect();
                text.push_str(&format!("; rounds: {}\n", rounds.join(" ")));
            }
        }
        text
    }

    /// Machine and versions first, then a line per run, added to a file.
    ///
    /// # Errors
    /// The system's.
    pub fn append(&self, surroundings: &Surroundings, path: &Path) -> Result<(), Failure> {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut lines =
            json!({ "at": since_epoch.as_secs(), "surroundings": surroundings.to_json() }).to_string();
        lines.push('\n');
        for run in &self.runs {
            let figures = run.figures.iter().map(|(name, value)| ((*name).to_owned(), json!(value)));
            let figures: Map<_, _> = figures.collect();
            let line = json!({ "round": run.round, "peer": run.peer, "figures": figures });
            lines.push_str(&line.to_string());
            lines.push('\n');
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(Failure::io("make the report's folder"))?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path);
        let mut file = file.map_err(Failure::io("open the report"))?;
        file.write_all(lines.as_bytes()).map_err(Failure::io("write the report"))
    }

    /// Prints surroundings and table, and appends everything to the file.
    ///
    /// # Errors
    /// The system's.
    pub fn publish(&self, subject: &str, ratios: &[&str], path: &Path) -> Result<(), Failure> {
        let surroundings = Surroundings::read();
        println!("{}\n{}", surroundings.to_text(), self.to_text(subject, ratios));
        self.append(&surroundings, path)
    }

    /// Success, unless a run of Grandstand was void. A peer may lose what it likes: that is its result.
    ///
    /// # Errors
    /// [`Failure::VoidRuns`].
    pub fn verdict(&self) -> Result<(), Failure> {
        let (void, all) = self.void_runs(Peer::Grandstand.name());
        if void == 0 { Ok(()) } else { Err(Failure::VoidRuns { void, all }) }
    }

    /// How many runs of a peer were void, and how many there were.
    #[must_use]
    pub fn void_runs(&self, peer: &str) -> (usize, usize) {
        let runs = self.runs.iter().filter(|run| run.peer == peer);
        (runs.clone().filter(|run| run.figures.is_empty()).count(), runs.count())
    }

    /// The figures of these names in all rounds of each peer, as [`picture::of_rounds`] draws them.
    #[must_use]
    pub fn panels<'a>(&self, names: &[&'a str]) -> Vec<(&'a str, Vec<picture::Row>)> {
        let peers = self.peers();
        let rows = |name| peers.iter().map(|peer| ((*peer).to_owned(), self.values(peer, name))).collect();
        names.iter().map(|name| (*name, rows(name))).collect()
    }

    fn peers(&self) -> Vec<&'static str> {
        let mut peers: Vec<&str> = self.runs.iter().map(|run| run.peer).collect();
        peers.sort_unstable();
        peers.dedup();
        peers
    }

    fn values(&self, peer: &str, name: &str) -> Vec<f64> {
        self.runs.iter().filter(|run| run.peer == peer).filter_map(|run| value(run, name)).collect()
    }

    fn ratios(&self, subject: &str, peer: &str, name: &str) -> Vec<f64> {
        let own = self.runs.iter().filter(|run| run.peer == subject);
        let ratios = own.filter_map(|run| {
            let other = self.runs.iter().find(|other| other.peer == peer && other.round == run.round)?;
            Some(value(run, name)? / value(other, name)?)
        });
        ratios.filter(|ratio| ratio.is_finite()).collect()
    }
}

/// The figure of this name.
pub(crate) fn value(run: &Run, name: &str) -> Option<f64> {
    run.figures.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::{Report, Run, Spread, median_interval, without_password};
    use crate::failure::Failure;

    #[test]
    fn a_spread_is_median_least_and_most() {
        let spread = |numbers: &[f64]| Spread::of(numbers).map(Spread::to_text);
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[3.0, 1.0, 2.0]).as_deref(), Some("2.00 [1.00-3.00]"));
        assert_eq!(spread(&[400.0, 100.0]).as_deref(), Some("250.0 [100.0-400.0]"));
        assert_eq!(spread(&[0.1251]).as_deref(), Some("0.125 [0.125-0.125]"));
    }

    #[test]
    fn no_report_has_the_password_of_a_database() {
        for (argument, shown) in [
            ("postgres://chat:hunter2@db/rooms", "postgres://chat@db:5432/rooms"),
            ("--url=postgres://chat:hunter2@db:1/rooms", "postgres://chat@db:1/rooms"),
            ("--rooms", "--rooms"),
        ] {
            assert_eq!(without_password(argument.to_owned()), shown);
        }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let mut report = Report::default();
        for (round, ours, theirs) in [(1, 2.0, 1.0), (2, 30.0, 10.0), (3, 8.0, 2.0)] {
            report.add(Run { round, peer: "ours", figures: vec![("cpu_us", ours)] });
            report.add(Run { round, peer: "theirs", figures: vec![("cpu_us", theirs)] });
        }
        let text = report.to_text("ours", &["cpu_us"]);
        assert!(
            text.contains("cpu_us of ours / theirs: 3.00 [2.00-4.00]; rounds: 2.00 3.00 4.00\n"),
            "{text}"
        );
        assert!(text.contains("8.00 [2.00-30.00]"), "{text}");
    }

    #[test]
    fn the_interval_of_a_median_is_that_of_the_sign_test() {
        // Of n tosses at most k heads: (0.5^n times the sum of the binomials) is at most 2.5 % up to k = 0, 0, 1, 3.
        for (count, expected) in [(6, (1.0, 6.0)), (8, (1.0, 8.0)), (9, (2.0, 8.0)), (15, (4.0, 12.0))] {
            let numbers: Vec<f64> = (1..=count).rev().map(f64::from).collect();
            assert_eq!(median_interval(&numbers), Some(expected));
        }
        assert_eq!(median_interval(&[1.0, 2.0, 3.0, 4.0, 5.0]), None);
        let mut report = Report::default();
        for round in 1..=6_u32 {
            let figure = |value: u32| vec![("cpu_us", f64::from(value))];
            report.add(Run { round: u64::from(round), peer: "ours", figures: figure(round) });
            report.add(Run { round: u64::from(round), peer: "theirs", figures: figure(1) });
        }
        let text = report.to_text("ours", &["cpu_us"]);
        assert!(
            text.contains(
                "cpu_us of ours / theirs: 3.50 [1.00-6.00], 95 % interval 1.00-6.00; rounds: 1.00 2.00"
            ),
            "{text}"
        );
    }

    #[test]
    fn void_runs_are_counted_and_other_failures_end_the_benchmark() {
        let mut report = Report::default();
        let void = Failure::Closed { connection: 1, reason: String::new() };
        assert!(report.add_outcome(1, "ours", Err(void)).is_ok());
        assert!(report.add_outcome(2, "ours", Ok(vec![("cpu_us", 2.0)])).is_ok());
        assert!(report.add_outcome(3, "ours", Err(Failure::Arguments(String::new()))).is_err());
        assert_eq!(report.void_runs("ours"), (1, 2));
        assert!(report.verdict().is_ok(), "a peer's void run is its result");
        let void = Failure::Closed { connection: 1, reason: String::new() };
        assert!(report.add_outcome(1, "grandstand", Err(void)).is_ok());
        assert!(matches!(report.verdict(), Err(Failure::VoidRuns { void: 1, all: 1 })));
        let text = report.to_text("", &[]);
        assert!(text.contains("1 of 2") && text.contains("2.00 [2.00-2.00]"), "{text}");
    }
}
