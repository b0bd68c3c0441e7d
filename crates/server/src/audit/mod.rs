//! The audit log: who changed what, one line of JSON each, in the form of CloudTrail's records.
//!
//! Promises:
//! - The line of a change is written (`write(2)`, so it survives `kill -9`) before its answer leaves.
//! - Chat tokens, attributes, content, and the user ids that requests name are not in it ([`event`] says what is).
//! - A file that cannot be written is told in the server's log and by a metric; the server goes on. A file that hangs holds answers up for
//!   [`AUDIT_WRITE_SECONDS_MAX`]. What was moderated over a socket waits for nobody: beyond [`AUDIT_LINES_WAITING_MAX`]
//!   its line is lost. Both are told and counted, too.
//! - A file that was moved away, as log rotation does, is made anew by the first line that comes a second later, or more.

pub mod event;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use protocol::limit::audit::{AUDIT_BATCH_BYTES_MAX, AUDIT_LINES_WAITING_MAX, AUDIT_WRITE_SECONDS_MAX};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::metrics::AuditMetrics;

/// How often it is looked whether the file was moved away.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a caller waits for its line.
const WRITE_TIME_MAX: Duration = Duration::from_secs(AUDIT_WRITE_SECONDS_MAX);

/// The audit log; share it behind an `Arc`.
#[derive(Debug)]
pub struct Audit {
    lines: mpsc::Sender<Line>,
    metrics: Arc<AuditMetrics>,
    /// It was told that lines are lost, and none has been written since.
    is_loss_told: AtomicBool,
}

#[derive(Debug)]
enum Line {
    /// To be written; whoever waits is told once it is, or never will be.
    Text(Vec<u8>, Option<oneshot::Sender<()>>),
    /// Somebody waits until all that came before is.
    Mark(oneshot::Sender<()>),
}

impl Audit {
    /// Opens the file, to which lines are appended, and starts the thread that writes.
    ///
    /// # Errors
    /// The system's: the file cannot be made or opened.
    pub fn open(path: &Path, metrics: Arc<AuditMetrics>) -> io::Result<Self> {
        let file = AuditFile::open(path)?;
        let (lines, waiting) = mpsc::channel(AUDIT_LINES_WAITING_MAX);
        let counted = Arc::clone(&metrics);
        let run = move || write_lines(waiting, file, &counted);
        thread::Builder::new().name("audit".to_owned()).spawn(run)?;
        Ok(Self { lines, metrics, is_loss_told: AtomicBool::new(false) })
    }

    /// Writes a line; back once it is written, is known to be lost, or has taken too long.
    pub async fn write(&self, text: Vec<u8>) {
        let (settled, settling) = oneshot::channel();
        let written = async {
            self.lines.send(Line::Text(text, Some(settled))).await.is_ok() && settling.await.is_ok()
        };
        self.count_loss(timeout(WRITE_TIME_MAX, written).await == Ok(true));
    }

    /// Has a line written soon, and waits for nothing.
    pub fn note(&self, text: Vec<u8>) {
        self.count_loss(self.lines.try_send(Line::Text(text, None)).is_ok());
    }

    /// Waits until all is written that was noted before, within limits: what the end of the server waits for.
    pub async fn settle(&self) {
        let (settled, settling) = oneshot::channel();
        let all = async { self.lines.send(Line::Mark(settled)).await.is_ok() && settling.await.is_ok() };
        if timeout(WRITE_TIME_MAX, all).await != Ok(true) {
            tracing::error!("the audit log may lack the last lines");
        }
    }

    /// Counts a line that was not handed over or not settled in time. (It may be written all the same.) Said once in a row.
    fn count_loss(&self, is_well: bool) {
        if !is_well {
            self.metrics.lost.inc();
        }
        if !self.is_loss_told.swap(!is_well, Relaxed) && !is_well {
            tracing::error!("the audit log is too slow, or has stopped: lines of it are lost");
        }
    }
}

/// Writes what waits, all of it at once, until nobody will say any more.
fn write_lines(mut waiting: mpsc::Receiver<Line>, mut file: AuditFile, metrics: &AuditMetrics) {
    let mut batch = Vec::new();
    let mut settled = Vec::new();
    while let Some(first) = waiting.blocking_recv() {
        let mut next = Some(first);
        let mut count = 0;
        while let Some(line) = next {
            match line {
                Line::Text(text, caller) => {
                    batch.extend_from_slice(&text);
                    batch.push(b'\n');
                    count += 1;
                    settled.extend(caller);
                }
                Line::Mark(caller) => settled.push(caller),
            }
            next = if batch.len() < AUDIT_BATCH_BYTES_MAX { waiting.try_recv().ok() } else { None };
        }
        match file.append(&batch) {
            Ok(()) => metrics.lines.inc_by(count),
            Err(error) => {
                tracing::error!(%error, file = %file.path.display(), lines = count, "the audit log cannot be written");
                metrics.lost.inc_by(count)
            }
        };
        batch.clear();
        for caller in settled.drain(..) {
            // It may have gone.
            let _ = caller.send(());
        }
    }
}

/// The file, wherever its name leads.
struct AuditFile {
    path: PathBuf,
    file: File,
    looked_at: Instant,
    /// It ends in the middle of a line.
    torn: bool,
}

impl AuditFile {
    fn open(path: &Path) -> io::Result<Self> {
        // Only its owner reads who did what.
        let file = OpenOptions::new().append(true).read(true).create(true).mode(0o600).open(path)?;
        let torn = is_torn(&file);
        Ok(Self { path: path.to_owned(), file, looked_at: Instant::now(), torn })
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.looked_at.elapsed() > LOOK_INTERVAL && !self.is_in_place() {
            match Self::open(&self.path) {
                Ok(file) => *self = file,
                // Better in the old place than nowhere.
                Err(error) => {
                    let file = self.path.display();
                    tracing::error!(%error, %file, "the audit log was moved away and cannot be made anew");
                }
            }
        }
        if self.torn {
            // What a full disk has cut off must not be the beginning of another line.
            self.file.write_all(b"\n")?;
            self.torn = false;
        }
        let written = self.file.write_all(lines);
        self.torn = written.is_err() && is_torn(&self.file);
        written
    }

    /// Whether the name still leads to the open file.
    fn is_in_place(&mut self) -> bool {
        self.looked_at = Instant::now();
        let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        match (self.path.metadata().map(identity), self.file.metadata().map(identity)) {
            (Ok(named), Ok(open)) => named == open,
            _ => false,
        }
    }
}

/// Whether a file ends in the middle of a line: what a full disk has cut off. Never for what is no file.
fn is_torn(file: &File) -> bool {
    let mut last = [b'\n'];
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    if length > 0 && file.read_at(&mut last, length - 1).is_err() {
        return false;
    }
    last != [b'\n']
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;
    use std::sync::Arc;
    use std::time::Instant;

    use tempfile::TempDir;

    use super::{Audit, AuditFile, LOOK_INTERVAL};
    use crate::metrics::AuditMetrics;

    fn metrics() -> Arc<AuditMetrics> {
        Arc::default()
    }

    #[tokio::test]
    async fn a_line_is_in_the_file_when_its_writer_goes_on() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("audit.log");
        fs::write(&path, "before\n").unwrap();
        let metrics = metrics();
        let audit = Audit::open(&path, Arc::clone(&metrics)).unwrap();
        for number in 0..100 {
            audit.write(format!("line {number}").into_bytes()).await;
            let text = fs::read_to_string(&path).unwrap();
            assert!(
                text.starts_with("before\nline 0\n") && text.ends_with(&format!("line {number}\n")),
                "{text}"
            );
        }
        audit.note(b"noted".to_vec());
        audit.settle().await;
        assert!(fs::read_to_string(&path).unwrap().ends_with("line 99\nnoted\n"));
        assert_eq!((metrics.lines.get(), metrics.lost.get()), (101, 0));
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_counted_and_holds_nobody_up() {
        let metrics = metrics();
        let audit = Audit::open("/dev/full".as_ref(), Arc::clone(&metrics)).unwrap();
        audit.write(b"one".to_vec()).await;
        audit.write(b"two".to_vec()).await;
        assert_eq!((metrics.lines.get(), metrics.lost.get()), (0, 2));
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew() {
        let folder = TempDir::new().unwrap();
        let (path, moved) = (folder.path().join("audit.log"), folder.path().join("audit.log.1"));
        let mut file = AuditFile::open(&path).unwrap();
        file.append(b"one\n").unwrap();
        fs::rename(&path, &moved).unwrap();
        file.looked_at = Instant::now().checked_sub(2 * LOOK_INTERVAL).unwrap();
        file.append(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "one\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
    }

    #[test]
    fn what_was_cut_off_is_the_beginning_of_no_other_line() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("audit.log");
        fs::write(&path, "one\n{\"half").unwrap();
        AuditFile::open(&path).unwrap().append(b"two\n").unwrap();
        AuditFile::open(&path).unwrap().append(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\n{\"half\ntwo\nthree\n");
    }

    #[test]
    fn a_place_that_cannot_be_written_to_is_an_error_at_once() {
        assert!(Audit::open("/proc/no/audit.log".as_ref(), metrics()).is_err());
    }
}
