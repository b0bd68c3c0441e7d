//! The audit log: who changed what, one line of JSON each, in the form of CloudTrail's records.
//!
//! Promises:
//! - The line of a change is written (`write(2)`, so it survives `kill -9`) before its answer leaves.
//! - No chat token, user id, attribute or content is in it ([`event`]).
//! - A file that cannot be written is told in the server's log and by a metric; the server goes on. What was moderated over a
//!   socket waits for nobody: beyond [`AUDIT_LINES_WAITING_MAX`] its line is lost, which is told and counted, too.
//! - A file that was moved away, as log rotation does, is made anew within a second.

pub mod event;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use protocol::limit::audit::{AUDIT_BATCH_BYTES_MAX, AUDIT_LINES_WAITING_MAX};
use tokio::sync::{mpsc, oneshot};

use crate::metrics::AuditMetrics;

/// How often it is looked whether the file was moved away.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The audit log; share it behind an `Arc`. Dropping it writes what waits.
#[derive(Debug)]
pub struct Audit {
    /// `None` only while it is dropped.
    lines: Option<mpsc::Sender<Line>>,
    metrics: Arc<AuditMetrics>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Line {
    text: Vec<u8>,
    /// Told once the line is written, or never will be.
    settled: Option<oneshot::Sender<()>>,
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
        let writer = thread::Builder::new().name("audit".to_owned()).spawn(run)?;
        Ok(Self { lines: Some(lines), metrics, writer: Some(writer) })
    }

    /// Writes a line; back once it is written, or is known to be lost.
    pub async fn write(&self, text: Vec<u8>) {
        let (settled, settling) = oneshot::channel();
        if let Some(lines) = &self.lines {
            // Either fails when the thread is gone, which has then said why.
            if lines.send(Line { text, settled: Some(settled) }).await.is_ok() {
                let _ = settling.await;
            }
        }
    }

    /// Has a line written soon, and waits for nothing.
    pub fn note(&self, text: Vec<u8>) {
        let Some(lines) = &self.lines else { return };
        if lines.try_send(Line { text, settled: None }).is_err() {
            self.metrics.lost.inc();
            tracing::error!("the audit log is too slow; a line of it is lost");
        }
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        drop(self.lines.take());
        if let Some(writer) = self.writer.take() {
            // A panic there was told when it happened.
            let _ = writer.join();
        }
    }
}

/// Writes what waits, all of it at once, until nobody will say any more.
fn write_lines(mut waiting: mpsc::Receiver<Line>, mut file: AuditFile, metrics: &AuditMetrics) {
    let mut batch = Vec::new();
    let mut settled = Vec::new();
    while let Some(first) = waiting.blocking_recv() {
        let mut next = Some(first);
        while let Some(line) = next {
            batch.extend_from_slice(&line.text);
            batch.push(b'\n');
            settled.push(line.settled);
            next = if batch.len() < AUDIT_BATCH_BYTES_MAX { waiting.try_recv().ok() } else { None };
        }
        match file.append(&batch) {
            Ok(()) => metrics.lines.inc_by(settled.len() as u64),
            Err(error) => {
                tracing::error!(%error, file = %file.path.display(), lines = settled.len(), "the audit log cannot be written");
                metrics.lost.inc_by(settled.len() as u64)
            }
        };
        batch.clear();
        for caller in settled.drain(..).flatten() {
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
    /// Where the last whole line ends, if a later one was written in part.
    torn: bool,
}

impl AuditFile {
    fn open(path: &Path) -> io::Result<Self> {
        // Only its owner reads who did what.
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        Ok(Self { path: path.to_owned(), file, looked_at: Instant::now(), torn: false })
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.looked_at.elapsed() > LOOK_INTERVAL && !self.is_in_place() {
            *self = Self::open(&self.path)?;
        }
        if self.torn {
            // What a full disk has cut off must not be the beginning of another line.
            self.file.write_all(b"\n")?;
            self.torn = false;
        }
        let written = self.file.write_all(lines);
        self.torn = written.is_err();
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
        drop(audit);
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
    fn a_place_that_cannot_be_written_to_is_an_error_at_once() {
        assert!(Audit::open("/proc/no/audit.log".as_ref(), metrics()).is_err());
    }
}
