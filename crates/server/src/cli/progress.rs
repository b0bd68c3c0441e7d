//! How far a long command is, on the standard error: a bar on a terminal, elsewhere a line now and then.

use std::io::Write;
use std::time::{Duration, Instant};

/// How often the bar is drawn.
const BAR_INTERVAL: Duration = Duration::from_millis(200);
/// How often a line is written where there is no bar.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// Characters of a full bar.
const WIDTH: u64 = 40;

/// How far the command is. What cannot be shown is not missed.
pub(super) struct Progress<W> {
    output: W,
    is_terminal: bool,
    begin: Instant,
    /// When it was shown last.
    shown: Duration,
    done: u64,
    all: u64,
}

impl<W: Write> Progress<W> {
    /// Begins now.
    pub(super) fn start(output: W, is_terminal: bool) -> Self {
        Self { output, is_terminal, begin: Instant::now(), shown: Duration::ZERO, done: 0, all: 0 }
    }

    /// So many rooms are done. Shown if that is due.
    pub(super) fn advance(&mut self, done: u64, all: u64) {
        (self.done, self.all) = (done, all);
        self.show_when_due(self.begin.elapsed());
    }

    fn show_when_due(&mut self, elapsed: Duration) {
        let interval = if self.is_terminal { BAR_INTERVAL } else { LINE_INTERVAL };
        if self.all > 0 && elapsed >= self.shown + interval {
            self.shown = elapsed;
            self.show(elapsed);
        }
    }

    /// Shown a last time, so that what is written next begins a line.
    pub(super) fn end(mut self) {
        if self.all == 0 {
            return;
        }
        self.show(self.begin.elapsed());
        if self.is_terminal {
            drop(writeln!(self.output));
        }
    }

    fn show(&mut self, elapsed: Duration) {
        let Self { done, all, .. } = *self;
        let per_second = u128::from(done) * 1_000 / elapsed.as_millis().max(1);
        let figures = format!("{done} of {all} rooms, {per_second} per second");
        drop(if self.is_terminal {
            // Whatever was longer before is cleared.
            write!(self.output, "\r[{}] {figures}\x1b[K", bar(done, all)).and_then(|()| self.output.flush())
        } else {
            writeln!(self.output, "{figures}")
        });
    }
}

fn bar(done: u64, all: u64) -> String {
    let full = (u128::from(done.min(all)) * u128::from(WIDTH)).checked_div(u128::from(all));
    let full = full.map_or(WIDTH, |full| u64::try_from(full).unwrap_or(WIDTH));
    (0..WIDTH).map(|place| if place < full { '#' } else { '-' }).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Duration;

    use super::{Progress, bar};

    /// What is written over a minute in which ten rooms per second are done, looked at ten times a second.
    fn shown_in_a_minute(is_terminal: bool) -> String {
        let mut output = Vec::new();
        let mut progress = Progress::start(&mut output, is_terminal);
        for tenth in 1..=600 {
            (progress.done, progress.all) = (tenth, 600);
            progress.show_when_due(Duration::from_millis(tenth * 100));
        }
        progress.end();
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn a_terminal_gets_one_line_that_is_drawn_again() {
        let shown = shown_in_a_minute(true);
        assert_eq!(shown.matches('\n').count(), 1);
        assert!(shown.matches('\r').count() > 200, "{shown}");
        assert!(shown.contains("[####################--------------------] 300 of 600 rooms, 10 per second"));
    }

    #[test]
    fn a_file_gets_few_lines() {
        let lines: Vec<String> = shown_in_a_minute(false).lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 7, "each ten seconds, and the end: {lines:?}");
        assert_eq!(lines[0], "100 of 600 rooms, 10 per second");
        assert!(lines[6].starts_with("600 of 600 rooms, "));
    }

    #[test]
    fn a_bar_is_full_when_all_is_done() {
        for (done, all, full) in [(0, 0, 40), (0, 7, 0), (1, 2, 20), (6, 7, 34), (7, 7, 40), (9, 7, 40)] {
            let bar = bar(done, all);
            assert_eq!((bar.matches('#').count(), bar.len()), (full, 40), "{done} of {all}");
        }
    }
}
