//! What the standard library does not offer of the operating system. The only file here with `unsafe`: each call
//! passes plain numbers, or a buffer of ours with its length, to a libc function that keeps nothing.
//!
//! Pinning and segment counts are Linux's; elsewhere they do nothing, and the figures that need them are 0.

#![allow(unsafe_code, reason = "libc calls that neither std nor mio wraps; see the module's documentation")]

use std::io;
use std::os::fd::AsRawFd;

use crate::failure::Failure;

/// Puts the calling thread, and all threads and processes it starts from now on, on `cores`.
///
/// # Errors
/// The system's, for instance when there is no such core.
#[cfg(target_os = "linux")]
pub fn pin(cores: &[usize]) -> io::Result<()> {
    // SAFETY: a `cpu_set_t` is plain bits, for which all zeros is a valid (the empty) value; CPU_SET ignores cores
    // beyond its size; the pointer and the size belong to the same local value.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for core in cores {
            libc::CPU_SET(*core, &mut set);
        }
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Does nothing: this system cannot pin.
///
/// # Errors
/// Never.
#[cfg(not(target_os = "linux"))]
pub fn pin(_cores: &[usize]) -> io::Result<()> {
    Ok(())
}

/// Lets other threads go first on the cores of the calling thread, from now on.
///
/// # Errors
/// The system's.
#[cfg(target_os = "linux")]
pub fn go_last() -> io::Result<()> {
    const NICE: libc::c_int = 10;
    // SAFETY: no memory is passed. On Linux the number 0 stands for the calling thread alone.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Does nothing: elsewhere it would be the whole process that goes last.
///
/// # Errors
/// Never.
#[cfg(not(target_os = "linux"))]
pub fn go_last() -> io::Result<()> {
    Ok(())
}

/// Raises the number of files that this process and those it starts may open to the most that is allowed; the number.
///
/// # Errors
/// The system's.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a local value of the right type, both times.
    let result = unsafe {
        match libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) {
            0 => {
                limit.rlim_cur = limit.rlim_max;
                libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
            }
            failed => failed,
        }
    };
    if result == 0 { Ok(limit.rlim_cur) } else { Err(io::Error::last_os_error()) }
}

/// Success, if a process that may open so many files may have so many connections besides what else it opens.
///
/// # Errors
/// [`Failure::Arguments`].
pub fn allow_connections(connections: u64, descriptors: u64) -> Result<(), Failure> {
    const DESCRIPTORS_SPARED: u64 = 500;
    let most = descriptors.saturating_sub(DESCRIPTORS_SPARED);
    if connections <= most {
        return Ok(());
    }
    Err(Failure::Arguments(format!("this system allows at most {most} connections")))
}

/// Asks a process to end.
///
/// # Errors
/// The system's.
pub fn terminate(pid: u32) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: no memory is passed.
    let result = unsafe { libc::kill(pid, libc::SIGTERM) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// TCP segments with data that a socket has received. On the loopback interface that is the number of the sender's
/// writes, as long as no write is larger than 64 KiB.
#[cfg(target_os = "linux")]
#[must_use]
pub fn data_segments_received(socket: &impl AsRawFd) -> u64 {
    /// Where `tcpi_data_segs_in` is in the kernel's `struct tcp_info`, which is longer than libc's.
    const AT: usize = 152;
    let mut info = [0_u8; 256];
    let mut length: libc::socklen_t = 256;
    // SAFETY: the kernel writes at most `length` bytes, which is the size of the local buffer.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    match info[AT..AT + 4] {
        [a, b, c, d] if result == 0 => u64::from(u32::from_ne_bytes([a, b, c, d])),
        _ => 0,
    }
}

/// 0: this system does not say.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn data_segments_received(_socket: &impl AsRawFd) -> u64 {
    0
}

/// Has the kernel forget what it holds of a file that is on disk.
///
/// # Errors
/// The system's.
#[cfg(target_os = "linux")]
pub fn forget(file: &std::fs::File) -> io::Result<()> {
    // What was never written back cannot be forgotten.
    file.sync_all()?;
    // SAFETY: no memory is passed.
    let error = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Does nothing: this system cannot be asked to.
///
/// # Errors
/// Never.
#[cfg(not(target_os = "linux"))]
pub fn forget(_file: &std::fs::File) -> io::Result<()> {
    Ok(())
}

/// Processor time that the calling thread has used so far, in nanoseconds.
///
/// # Errors
/// The system's.
pub fn thread_processor_nanos() -> io::Result<u64> {
    clock_nanos(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Processor time that all threads of this process have used so far, in nanoseconds.
///
/// # Errors
/// The system's.
pub fn process_processor_nanos() -> io::Result<u64> {
    clock_nanos(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn clock_nanos(clock: libc::clockid_t) -> io::Result<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a local value of the right type.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    match (result, seconds, nanos) {
        (0, Ok(seconds), Ok(nanos)) => Ok(seconds * 1_000_000_000 + nanos),
        _ => Err(io::Error::last_os_error()),
    }
}
