//! What the system says of the process: memory, descriptors, processor time. Linux tells in `/proc`; elsewhere these stay zero.

use std::fs;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Catalogue;

/// The unit of times in `/proc/self/stat`, per second: fixed on all Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;
/// Positions behind the name in parentheses, from 0: processor time in user mode and in the kernel.
const USER_TICKS_AT: usize = 11;

/// See the module.
#[derive(Debug)]
pub(super) struct ProcessFigures {
    resident_bytes: Gauge,
    open_descriptors: Gauge,
    descriptors_max: Gauge,
    processor_seconds: Counter<f64, AtomicU64>,
}

impl ProcessFigures {
    pub(super) fn add_to(list: &mut Catalogue) -> Self {
        Self {
            resident_bytes: list.add(
                "process_resident_memory_bytes",
                &[],
                "Memory of the process that is not paged out",
            ),
            open_descriptors: list.add(
                "process_open_descriptors",
                &[],
                "File descriptors that are open: one for each connection, and some",
            ),
            descriptors_max: list.add(
                "process_descriptors_max",
                &[],
                "File descriptors that the process may have open",
            ),
            processor_seconds: list.add(
                "process_processor_seconds",
                &[],
                "Processor time of the process, in user mode and in the kernel",
            ),
        }
    }

    /// Reads them all. What cannot be read stays as it was.
    pub(super) fn read(&self) {
        if let Some(bytes) = status_kib("VmRSS:").map(|kib| kib * 1_024) {
            self.resident_bytes.set(bytes);
        }
        if let Some(count) = open_descriptors() {
            self.open_descriptors.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        if let Some(max) = descriptors_max() {
            self.descriptors_max.set(max);
        }
        if let Some(seconds) = processor_seconds() {
            self.processor_seconds.inner().store(seconds.to_bits(), Ordering::Relaxed);
        }
    }
}

fn status_kib(name: &str) -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The kernel counts them since Linux 6.2; before it they are counted here, one by one.
fn open_descriptors() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    match fs::metadata(FOLDER).ok()?.len() {
        // Without the one that reads them.
        0 => Some(fs::read_dir(FOLDER).ok()?.count() as u64 - 1),
        count => Some(count),
    }
}

fn descriptors_max() -> Option<i64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn processor_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut ticks = fields.split(' ').skip(USER_TICKS_AT).map(str::parse::<f64>);
    Some((ticks.next()?.ok()? + ticks.next()?.ok()?) / TICKS_PER_SECOND)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{ProcessFigures, processor_seconds};
    use crate::metrics::Catalogue;

    #[test]
    fn the_system_tells_them_all() {
        let figures = ProcessFigures::add_to(&mut Catalogue::new());
        figures.read();
        assert!(figures.resident_bytes.get() > 100 * 1_024);
        assert!(figures.open_descriptors.get() >= 3);
        assert!(figures.descriptors_max.get() >= figures.open_descriptors.get());
        assert!(processor_seconds().is_some());
    }
}
