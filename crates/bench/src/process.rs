//! What Linux says of a process: processor time and memory.

use std::fs;

use crate::failure::Failure;

/// Clock ticks of `/proc/*/stat` per second: 100 on every Linux, whatever the kernel's own rate.
const TICKS_PER_SECOND: u64 = 100;

/// Processor time that a process has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessorTime {
    /// Scheduler run time of all threads that are alive, in nanoseconds: exact.
    pub run_nanos: u64,
    /// Of it in user space, in ticks of 10 ms: sampled.
    pub user_ticks: u64,
    /// Of it in the kernel, in ticks of 10 ms: sampled.
    pub system_ticks: u64,
}

impl ProcessorTime {
    /// Reads the time of a process.
    ///
    /// # Errors
    /// There is no such process, or no Linux.
    pub fn read(pid: u32) -> Result<Self, Failure> {
        let run_nanos = run_nanos_of_threads(pid, "")?;
        let unreadable = |path: &str| Failure::Unreadable { path: path.to_owned() };
        let path = format!("/proc/{pid}/stat");
        let text = fs::read_to_string(&path).map_err(Failure::io("read processor time"))?;
        // The second field is the name in brackets, which may hold anything; the fields after it are numbers.
        let (_, fields) = text.rsplit_once(')').ok_or_else(|| unreadable(&path))?;
        match (number(fields, 11), number(fields, 12)) {
            (Some(user_ticks), Some(system_ticks)) => Ok(Self { run_nanos, user_ticks, system_ticks }),
            _ => Err(unreadable(&path)),
        }
    }

    /// The time used since an earlier reading.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            run_nanos: self.run_nanos.saturating_sub(earlier.run_nanos),
            user_ticks: self.user_ticks.saturating_sub(earlier.user_ticks),
            system_ticks: self.system_ticks.saturating_sub(earlier.system_ticks),
        }
    }

    /// The part of the run time spent in user space, from 0 to 1, as sampled.
    #[must_use]
    pub fn user_share(self) -> f64 {
        let ticks = self.user_ticks + self.system_ticks;
        if ticks == 0 { 0.0 } else { self.user_ticks as f64 / ticks as f64 }
    }
}

/// Scheduler run time of those threads of a process that are alive and whose names begin so, in nanoseconds.
///
/// # Errors
/// There is no such process, or no Linux.
pub fn run_nanos_of_threads(pid: u32, name: &str) -> Result<u64, Failure> {
    let mut run_nanos = 0;
    let folder = format!("/proc/{pid}/task");
    for task in fs::read_dir(&folder).map_err(Failure::io("list threads"))? {
        let path = task.map_err(Failure::io("list threads"))?.path();
        // A thread may have ended since the folder was listed.
        let Ok(text) = fs::read_to_string(path.join("schedstat")) else { continue };
        let is_meant =
            name.is_empty() || fs::read_to_string(path.join("comm")).is_ok_and(|own| own.starts_with(name));
        if is_meant {
            run_nanos += number(&text, 0).ok_or_else(|| Failure::Unreadable { path: folder.clone() })?;
        }
    }
    Ok(run_nanos)
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// In RAM, shared pages included.
    pub resident_bytes: u64,
    /// Of it heap, stacks and other memory that no file backs.
    pub anonymous_bytes: u64,
}

impl Memory {
    /// Reads the memory of a process.
    ///
    /// # Errors
    /// There is no such process, or no Linux.
    pub fn read(pid: u32) -> Result<Self, Failure> {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).map_err(Failure::io("read memory"))?;
        let kibibytes =
            |name: &str| text.lines().find(|line| line.starts_with(name)).and_then(|line| number(line, 1));
        match (kibibytes("Rss:"), kibibytes("Anonymous:")) {
            (Some(resident), Some(anonymous)) => {
                Ok(Self { resident_bytes: resident * 1_024, anonymous_bytes: anonymous * 1_024 })
            }
            _ => Err(Failure::Unreadable { path }),
        }
    }
}

/// Time that cores have been busy with anything since the machine started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoreTime {
    /// Nanoseconds per core, in steps of 10 ms.
    pub busy_nanos: Vec<u64>,
}

impl CoreTime {
    /// Reads the time of all cores.
    ///
    /// # Errors
    /// No Linux.
    pub fn read() -> Result<Self, Failure> {
        let text = fs::read_to_string("/proc/stat").map_err(Failure::io("read core time"))?;
        let cores = text.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "));
        // user nice system idle iowait irq softirq: all but idle and iowait is busy; what a hypervisor stole is not.
        let busy = |line: &str| [1, 2, 3, 6, 7].iter().filter_map(|field| number(line, *field)).sum::<u64>();
        Ok(Self { busy_nanos: cores.map(|line| busy(line) * (1_000_000_000 / TICKS_PER_SECOND)).collect() })
    }

    /// What `cores` were busy since an earlier reading, in nanoseconds; all cores when the list is empty.
    #[must_use]
    pub fn busy_since(&self, earlier: &Self, cores: &[usize]) -> u64 {
        let pairs = self.busy_nanos.iter().zip(&earlier.busy_nanos).enumerate();
        pairs
            .filter(|(core, _)| cores.is_empty() || cores.contains(core))
            .map(|(_, (now, then))| now.saturating_sub(*then))
            .sum()
    }
}

/// The number in a field of text, counted from 0.
fn number(text: &str, field: usize) -> Option<u64> {
    text.split_ascii_whitespace().nth(field)?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use std::hint::black_box;
    use std::time::{Duration, Instant};

    use super::{CoreTime, Memory, ProcessorTime};

    #[test]
    fn work_shows_as_processor_time_and_a_buffer_as_memory() {
        let pid = std::process::id();
        let (time, memory, cores) =
            (ProcessorTime::read(pid).unwrap(), Memory::read(pid).unwrap(), CoreTime::read().unwrap());
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(60) {
            black_box(began);
        }
        let buffer = black_box(vec![1_u8; 32 << 20]);
        let used = ProcessorTime::read(pid).unwrap().since(time);
        assert!(used.run_nanos > 10_000_000, "{used:?}");
        let grown = Memory::read(pid).unwrap().anonymous_bytes - memory.anonymous_bytes;
        assert!(grown >= 32 << 20, "{grown}");
        assert!(CoreTime::read().unwrap().busy_since(&cores, &[]) >= 10_000_000);
        drop(buffer);
    }
}
