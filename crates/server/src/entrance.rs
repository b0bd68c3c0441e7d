//! A listening socket that lets connections in only while there are descriptors to spare.
//!
//! A process that is out of descriptors can write no chat log, read no file and call nobody, so the last ones are kept from
//! connections. Whoever connects then waits in the kernel's queue, until others have gone; nobody is refused.
//!
//! The system gives each new descriptor the lowest number that is free. So connections that have only numbers below a bound
//! leave all others to whoever else needs some, and how many there are need not be counted.
//!
//! Limit: what is kept is for so many calls as there usually are at once. Thousands of reviews by handlers that are slow, or
//! hundreds of destinations that do not answer, may take the descriptors of files, too.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use protocol::limit::descriptors::{KEPT_PERCENT_MAX, OF_CALLS, OF_OTHERS, OF_WATCHERS};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

/// How long accepting pauses before it is looked again.
const PAUSE: Duration = Duration::from_millis(50);
/// Log lines about that are so far apart at least.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// How many descriptors connections may take, of all that the process may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Of clients.
    pub clients_max: u64,
    /// … and with those who look after the server, whom a crowd of clients does not keep out.
    pub watchers_max: u64,
}

impl Shares {
    /// Those of a process that may have so many descriptors, and of them so many files of chat logs.
    #[must_use]
    pub fn of(descriptors: u64, files: u64) -> Self {
        let kept = (files + OF_CALLS + OF_OTHERS + OF_WATCHERS).min(descriptors / 100 * KEPT_PERCENT_MAX);
        // Not the first of those that are kept: whatever is opened next has these numbers.
        Self { clients_max: descriptors - kept, watchers_max: descriptors - OF_OTHERS.min(kept / 4) }
    }
}

/// See the module.
pub struct Entrance {
    listener: Arc<TcpListener>,
    /// No connection gets a descriptor with this number or a higher one, but one that comes in a moment when several do.
    bound: u64,
    complained_at: Option<Instant>,
}

impl Entrance {
    /// Lets connections in through `listener` that leave all but `descriptors_max` descriptors to others.
    #[must_use]
    pub fn new(listener: Arc<TcpListener>, descriptors_max: u64) -> Self {
        Self { listener, bound: descriptors_max, complained_at: None }
    }

    /// The next connection, as soon as there is place for it. Nothing is lost when this is dropped.
    pub async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let accepted = match self.has_place() {
                Ok(true) => self.listener.accept().await,
                Ok(false) => {
                    Err(io::Error::other("the descriptors that are left are kept for files and calls"))
                }
                Err(error) => Err(error),
            };
            match accepted {
                Ok(connection) => return connection,
                Err(error) => {
                    if self.complained_at.is_none_or(|at| at.elapsed() >= COMPLAINT_INTERVAL) {
                        self.complained_at = Some(Instant::now());
                        tracing::warn!(%error, "cannot accept a connection; those that come wait");
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Whether the next descriptor is one that a connection may have.
    fn has_place(&self) -> io::Result<bool> {
        let next = self.listener.as_fd().try_clone_to_owned()?;
        Ok(u64::try_from(next.as_raw_fd()).is_ok_and(|number| number < self.bound))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::{Entrance, Shares};

    #[test]
    fn what_is_kept_from_connections_is_a_part_of_few_descriptors_and_no_more_than_is_needed_of_many() {
        for (descriptors, clients_max, watchers_max) in [
            (3, 3, 3),
            (400, 300, 375),
            (1_024, 774, 962),
            (1_048_576, 1_048_576 - 608, 1_048_576 - 64),
            (u64::MAX, u64::MAX - 608, u64::MAX - 64),
        ] {
            assert_eq!(Shares::of(descriptors, 256), Shares { clients_max, watchers_max }, "{descriptors}");
        }
    }

    #[tokio::test]
    async fn nobody_is_let_in_while_only_kept_descriptors_are_left() {
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let _waiting = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        // The standard streams are below it, and nothing else.
        let mut shut = Entrance::new(Arc::clone(&listener), 3);
        assert!(shut.accept().now_or_never().is_none());
        let mut open = Entrance::new(listener, u64::MAX);
        open.accept().await;
    }
}
