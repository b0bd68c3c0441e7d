//! Addresses of hosts, looked up by the system.
//!
//! The system's look-up cannot be stopped, and may take half a minute when its name servers do not answer. So each has a
//! thread of its own, which nothing else waits for: not the threads that read files, and not the end of the process.
//!
//! Promises:
//! - There is at most one look-up of a host at a time, whoever waits for it, and [`LOOK_UPS_MAX`] in all.
//! - Names whose last look-up was slow have at most [`LOOK_UPS_SLOW_MAX`] of them: however many are stuck, others go on.
//! - Whoever waits may give up at any time. The look-up goes on for those who still wait.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use protocol::limit::outgoing::{LOOK_UP_SLOW_MS, LOOK_UPS_MAX, LOOK_UPS_SLOW_MAX, SLOW_NAMES_MAX};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, watch};

use super::CallError;

/// How a host is looked up.
pub(super) type LookUp = fn(&str) -> io::Result<Vec<IpAddr>>;

/// What has come of a look-up; `None` while it is under way.
type Outcome = Option<Result<Arc<[IpAddr]>, String>>;

/// Look-ups that are under way, by host.
type UnderWay = Mutex<HashMap<Box<str>, watch::Receiver<Outcome>>>;

/// See the module.
pub(super) struct Names {
    look_up: LookUp,
    under_way: Arc<UnderWay>,
    permits: Arc<Semaphore>,
    slow: Arc<Slow>,
}

/// Names whose last look-up was slow.
struct Slow {
    hosts: Mutex<HashSet<Box<str>>>,
    permits: Arc<Semaphore>,
    /// A look-up that takes so long is slow.
    time_min: Duration,
}

impl Slow {
    fn new(time_min: Duration) -> Self {
        Self { hosts: Mutex::default(), permits: Arc::new(Semaphore::new(LOOK_UPS_SLOW_MAX)), time_min }
    }

    fn has(&self, host: &str) -> bool {
        lock(&self.hosts).contains(host)
    }

    fn note(&self, host: &str, time: Duration) {
        let mut hosts = lock(&self.hosts);
        if time < self.time_min {
            hosts.remove(host);
            return;
        }
        if hosts.len() >= SLOW_NAMES_MAX {
            hosts.clear();
        }
        hosts.insert(host.into());
    }
}

/// A look-up that is under way until this is dropped.
struct Turn {
    host: Box<str>,
    under_way: Arc<UnderWay>,
    outcome: watch::Sender<Outcome>,
    _permits: Vec<OwnedSemaphorePermit>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.under_way).remove(&self.host);
    }
}

/// Asks the system.
pub(super) fn ask_system(host: &str) -> io::Result<Vec<IpAddr>> {
    Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

impl Names {
    pub(super) fn new(look_up: LookUp) -> Self {
        Self {
            look_up,
            under_way: Arc::default(),
            permits: Arc::new(Semaphore::new(LOOK_UPS_MAX)),
            slow: Arc::new(Slow::new(Duration::from_millis(LOOK_UP_SLOW_MS))),
        }
    }

    /// The addresses of a host, each with the port. Cancel-safe.
    pub(super) async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, CallError> {
        if let Ok(address) = host.parse() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let unreachable = |error: &dyn std::error::Error| CallError::Unreachable(error.to_string());
        let known = lock(&self.under_way).get(host).cloned();
        let mut outcome = match known {
            Some(outcome) => outcome,
            None => {
                let permits = self.turn(host).await.map_err(|error| unreachable(&error))?;
                self.begin(host, permits).map_err(|error| unreachable(&error))?
            }
        };
        let outcome = outcome.wait_for(Option::is_some).await.map_err(|error| unreachable(&error))?.clone();
        let found = outcome.unwrap_or_else(|| Ok(Arc::default())).map_err(CallError::Unreachable)?;
        Ok(found.iter().map(|address| SocketAddr::new(*address, port)).collect())
    }

    /// Waits for room for one more look-up.
    async fn turn(&self, host: &str) -> Result<Vec<OwnedSemaphorePermit>, AcquireError> {
        let mut permits = Vec::new();
        if self.slow.has(host) {
            permits.push(Arc::clone(&self.slow.permits).acquire_owned().await?);
        }
        permits.push(Arc::clone(&self.permits).acquire_owned().await?);
        Ok(permits)
    }

    /// Begins a look-up, unless one has begun while whoever asks was waiting for the permits.
    fn begin(&self, host: &str, permits: Vec<OwnedSemaphorePermit>) -> io::Result<watch::Receiver<Outcome>> {
        let (sender, receiver) = watch::channel(None);
        {
            let mut under_way = lock(&self.under_way);
            if let Some(outcome) = under_way.get(host) {
                return Ok(outcome.clone());
            }
            under_way.insert(host.into(), receiver.clone());
        }
        let under_way = Arc::clone(&self.under_way);
        let turn = Turn { host: host.into(), under_way, outcome: sender, _permits: permits };
        let (look_up, slow) = (self.look_up, Arc::clone(&self.slow));
        // A thread that cannot be made drops the turn.
        thread::Builder::new().name("look-up".to_owned()).spawn(move || {
            let began = Instant::now();
            let found = look_up(&turn.host);
            slow.note(&turn.host, began.elapsed());
            let found = found.map(Arc::from).map_err(|error| error.to_string());
            turn.outcome.send_replace(Some(found));
        })?;
        Ok(receiver)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeMap;
    use std::io;
    use std::net::IpAddr;
    use std::sync::{Arc, Condvar, Mutex};
    use std::time::Duration;

    use protocol::limit::outgoing::{LOOK_UPS_MAX, LOOK_UPS_SLOW_MAX};
    use tokio::time::timeout;

    use super::{Names, Slow};
    use crate::outgoing::CallError;

    /// Name servers that say nothing until they are told to: how often each host was asked for, and whether they may.
    struct Servers {
        asked: Mutex<(BTreeMap<String, usize>, bool)>,
        changed: Condvar,
    }

    impl Servers {
        const fn new() -> Self {
            Self { asked: Mutex::new((BTreeMap::new(), false)), changed: Condvar::new() }
        }

        /// An answer at once for hosts that are `quick`, else when `release` was called.
        fn look_up(&self, host: &str) -> io::Result<Vec<IpAddr>> {
            let mut asked = self.asked.lock().unwrap();
            *asked.0.entry(host.to_owned()).or_default() += 1;
            self.changed.notify_all();
            while !asked.1 && !host.starts_with("quick") {
                asked = self.changed.wait(asked).unwrap();
            }
            if host == "quick.missing" {
                Err(io::Error::other("no such host"))
            } else {
                Ok(vec![[127, 0, 0, 1].into()])
            }
        }

        fn release(&self) {
            self.asked.lock().unwrap().1 = true;
            self.changed.notify_all();
        }

        fn hold(&self) {
            self.asked.lock().unwrap().1 = false;
        }

        fn asked_for(&self) -> BTreeMap<String, usize> {
            self.asked.lock().unwrap().0.clone()
        }
    }

    /// So long that a look-up which is not stuck is through; whoever is too early is no failure here.
    const A_WHILE: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_stuck_look_up_is_shared_and_holds_up_no_other_host() {
        static SERVERS: Servers = Servers::new();
        let names = Names::new(|host| SERVERS.look_up(host));
        for _ in 0..3 {
            assert!(timeout(A_WHILE, names.addresses("stuck", 1)).await.is_err());
        }
        assert_eq!(names.addresses("quick", 7).await.unwrap(), [([127, 0, 0, 1], 7).into()]);
        let missing = names.addresses("quick.missing", 7).await;
        assert_eq!(missing, Err(CallError::Unreachable("no such host".to_owned())));
        assert_eq!(names.addresses("192.0.2.1", 7).await.unwrap(), [([192, 0, 2, 1], 7).into()]);
        SERVERS.release();
        assert_eq!(names.addresses("stuck", 1).await.unwrap().len(), 1);
        // The last one may have found the look-up of the first ones over.
        let mut asked = SERVERS.asked_for();
        assert!(asked.remove("stuck").is_some_and(|times| times <= 2), "{asked:?}");
        assert_eq!(asked, BTreeMap::from([("quick".to_owned(), 1), ("quick.missing".to_owned(), 1)]));
    }

    #[tokio::test]
    async fn there_are_so_many_look_ups_at_once_and_whoever_waits_for_a_turn_may_give_up() {
        static SERVERS: Servers = Servers::new();
        let names = Names::new(|host| SERVERS.look_up(host));
        for number in 0..=LOOK_UPS_MAX {
            assert!(timeout(A_WHILE, names.addresses(&format!("host {number}"), 1)).await.is_err());
        }
        assert_eq!(names.permits.available_permits(), 0);
        let last = format!("host {LOOK_UPS_MAX}");
        assert!(!SERVERS.asked_for().contains_key(&last));
        SERVERS.release();
        assert_eq!(names.addresses(&last, 1).await.unwrap().len(), 1);
        assert_eq!(SERVERS.asked_for()[&last], 1);
    }

    #[tokio::test]
    async fn names_that_were_slow_leave_room_for_others() {
        static SERVERS: Servers = Servers::new();
        // However quick they are: it is slow.
        let slow = Arc::new(Slow::new(Duration::ZERO));
        let names = Names { slow, ..Names::new(|host| SERVERS.look_up(host)) };
        SERVERS.release();
        let hosts: Vec<String> = (0..LOOK_UPS_MAX).map(|number| format!("host {number}")).collect();
        for host in &hosts {
            assert_eq!(names.addresses(host, 1).await.unwrap().len(), 1);
        }
        SERVERS.hold();
        for host in &hosts {
            assert!(timeout(A_WHILE, names.addresses(host, 1)).await.is_err());
        }
        assert_eq!(names.permits.available_permits(), LOOK_UPS_MAX - LOOK_UPS_SLOW_MAX);
        assert_eq!(names.addresses("quick", 7).await.unwrap().len(), 1);
        SERVERS.release();
        assert_eq!(names.addresses(&hosts[LOOK_UPS_MAX - 1], 1).await.unwrap().len(), 1);
    }

    #[test]
    fn a_name_is_slow_until_it_is_quick_again() {
        let slow = Slow::new(Duration::from_secs(1));
        slow.note("a", Duration::from_secs(2));
        slow.note("b", Duration::from_millis(999));
        assert!(slow.has("a") && !slow.has("b"));
        slow.note("a", Duration::ZERO);
        assert!(!slow.has("a"));
    }
}
