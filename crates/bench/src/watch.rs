//! What a running server says of itself, and the kernel of it, looked at once a second by a thread that goes last.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use protocol::limit::edge::LAG_MS_MAX;

use crate::client::Clock;
use crate::failure::Failure;
use crate::os;
use crate::process::Memory;
use crate::server::Server;

const PAUSE: Duration = Duration::from_secs(1);
/// A viewer to whom the server cannot write is dropped after [`LAG_MS_MAX`]; in this many looks after the end that has
/// been seen, even on a busy machine.
const LOOKS_AFTER_THE_END: u64 = LAG_MS_MAX / 1_000 + 10;
/// The kernel's list of all sockets is long: it is looked at every so manieth time only.
const SEND_QUEUES_EVERY: u64 = 5;
/// Of what `/proc/net/sockstat` counts in; the same on all processors that Linux has 4 KiB pages on.
const PAGE_BYTES: u64 = 4_096;
const DROPPED_AS_SLOW: &str = "grandstand_slow_readers_dropped_total";
const DROPPED_AS_DEAD: &str = "grandstand_dead_peers_dropped_total";

/// Watches one server.
#[derive(Debug)]
pub struct Watch {
    pid: u32,
    admin: SocketAddr,
    edge: SocketAddr,
    clock: Clock,
    drops_expected: u64,
    resident_bytes: u64,
    tcp_bytes: u64,
}

/// What has been seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// By how much the server's resident memory was larger than at the beginning, at most.
    pub resident_growth_bytes: u64,
    /// By how much the kernel's memory for all TCP sockets of this machine, both ends, was larger, at most. The kernel
    /// counts it in shares of up to 1 MiB for each core.
    pub tcp_growth_bytes: u64,
    /// The most that waited in the send queue of one connection, in bytes of payload.
    pub send_queue_bytes_max: u64,
    /// Connections dropped for being too far behind.
    pub dropped_as_slow: u64,
    /// Connections dropped because nothing was heard of them.
    pub dropped_as_dead: u64,
    /// When the first drop of either kind was seen.
    pub first_drop_nanos: Option<u64>,
    /// When the last one was.
    pub last_drop_nanos: Option<u64>,
}

impl Watch {
    /// Begins with the memory there is now. So many connections will be dropped, if all goes well.
    ///
    /// # Errors
    /// The server has no metrics, or this is no Linux.
    pub fn new(server: &Server, clock: Clock, drops_expected: u64) -> Result<Self, Failure> {
        Ok(Self {
            pid: server.pid(),
            admin: server.admin()?,
            edge: server.edge,
            clock,
            drops_expected,
            resident_bytes: Memory::read(server.pid())?.resident_bytes,
            tcp_bytes: tcp_bytes()?,
        })
    }

    /// Watches until it hears that all is over, and then until all drops that are expected have been seen, but not for
    /// long.
    ///
    /// # Errors
    /// The server does not answer, and the system's.
    pub fn until(&self, over: &Receiver<()>) -> Result<Seen, Failure> {
        os::go_last().map_err(Failure::io("let the crowd go first"))?;
        let mut seen = Seen::default();
        let mut looks_left = None;
        for look in 0_u64.. {
            self.look(&mut seen)?;
            if look.is_multiple_of(SEND_QUEUES_EVERY) {
                seen.send_queue_bytes_max = seen.send_queue_bytes_max.max(self.longest_send_queue()?);
            }
            if let Some(left) = &mut looks_left {
                *left -= 1;
                if *left == 0 || seen.dropped_as_slow + seen.dropped_as_dead >= self.drops_expected {
                    break;
                }
            }
            match over.recv_timeout(PAUSE) {
                Ok(()) => looks_left = Some(LOOKS_AFTER_THE_END),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok(seen)
    }

    fn look(&self, seen: &mut Seen) -> Result<(), Failure> {
        let resident_bytes = Memory::read(self.pid)?.resident_bytes;
        seen.resident_growth_bytes =
            seen.resident_growth_bytes.max(resident_bytes.saturating_sub(self.resident_bytes));
        seen.tcp_growth_bytes = seen.tcp_growth_bytes.max(tcp_bytes()?.saturating_sub(self.tcp_bytes));
        let metrics = self.metrics().map_err(Failure::io("ask for metrics"))?;
        let unreadable = || Failure::Unreadable { path: format!("http://{}/metrics", self.admin) };
        let slow = counter(&metrics, DROPPED_AS_SLOW).ok_or_else(unreadable)?;
        let dead = counter(&metrics, DROPPED_AS_DEAD).ok_or_else(unreadable)?;
        if slow + dead > seen.dropped_as_slow + seen.dropped_as_dead {
            let now = self.clock.nanos();
            seen.first_drop_nanos.get_or_insert(now);
            seen.last_drop_nanos = Some(now);
        }
        (seen.dropped_as_slow, seen.dropped_as_dead) = (slow, dead);
        Ok(())
    }

    fn metrics(&self) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.admin)?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Bytes that wait to be sent, or to be acknowledged, on the connection to the edge that has most of them.
    fn longest_send_queue(&self) -> Result<u64, Failure> {
        let sockets = fs::read_to_string("/proc/net/tcp").map_err(Failure::io("list sockets"))?;
        let of_edge = sockets.lines().filter_map(|line| send_queue(line, self.edge.port()));
        Ok(of_edge.max().unwrap_or(0))
    }
}

/// The value of a counter without labels.
fn counter(metrics: &str, name: &str) -> Option<u64> {
    metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The bytes in the send queue of a connection of a line of `/proc/net/tcp`, if its own port is that. A socket that listens
/// has none.
fn send_queue(line: &str, port: u16) -> Option<u64> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (_, own_port) = fields.next()?.split_once(':')?;
    let (send_queue, _) = fields.nth(2)?.split_once(':')?;
    let is_own = u16::from_str_radix(own_port, 16) == Ok(port);
    is_own.then(|| u64::from_str_radix(send_queue, 16).ok())?
}

/// The kernel's memory for all TCP sockets.
fn tcp_bytes() -> Result<u64, Failure> {
    let path = "/proc/net/sockstat";
    let text = fs::read_to_string(path).map_err(Failure::io("read the memory of sockets"))?;
    let tcp = text.lines().find_map(|line| line.strip_prefix("TCP: "));
    let pages =
        tcp.and_then(|tcp| tcp.split(' ').skip_while(|word| *word != "mem").nth(1)?.parse::<u64>().ok());
    pages.map(|pages| pages * PAGE_BYTES).ok_or_else(|| Failure::Unreadable { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::{counter, send_queue};

    #[test]
    fn counters_and_queues_are_found_where_they_are() {
        let metrics = "# TYPE drops counter\ndrops_total 17\ndrops_total_of_others 3\n";
        assert_eq!(counter(metrics, "drops_total"), Some(17));
        assert_eq!(counter(metrics, "drops"), None);
        let line = "  12: 0100007F:1F90 0100007F:A0B4 01 0003F2A0:00000000 01:00000014 00000000  0  0 1 2";
        assert_eq!((send_queue(line, 8_080), send_queue(line, 8_081)), (Some(0x3_F2A0), None));
    }
}
