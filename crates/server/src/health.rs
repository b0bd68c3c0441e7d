//! Whether the server is ready, and what it says about it on all three ports: `GET /health/live` and
//! `GET /health/ready`, without authentication.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// Where the server is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not everything has been built yet.
    Starting,
    /// Requests are answered.
    Ready,
    /// The server is stopping: what is under way ends, and new work should go elsewhere.
    Draining,
}

/// The phase of this server, and whether it has its store; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<State>);

#[derive(Debug, Default)]
struct State {
    phase: AtomicU8,
    is_store_away: AtomicBool,
}

/// The answer to a health request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthReport {
    /// HTTP status.
    pub status: u16,
    /// JSON.
    pub body: &'static str,
}

impl Readiness {
    /// Enters a phase.
    pub fn enter(&self, phase: Phase) {
        self.0.phase.store(phase as u8, Ordering::Release);
    }

    /// The store cannot be reached, or can again. Requests are taken all the same: they say so themselves, or wait.
    pub fn store_is_away(&self, is_away: bool) {
        self.0.is_store_away.store(is_away, Ordering::Release);
    }

    /// The phase now; [`Phase::Starting`] at first.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.0.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    /// The answer, if `method` and `path` ask for the server's health.
    #[must_use]
    pub fn report(&self, method: &str, path: &str) -> Option<HealthReport> {
        if !matches!(method, "GET" | "HEAD") {
            return None;
        }
        match (path, self.phase()) {
            ("/health/live", _) => Some(HealthReport { status: 200, body: "{\"status\":\"live\"}" }),
            ("/health/ready", Phase::Ready) if self.0.is_store_away.load(Ordering::Acquire) => {
                Some(HealthReport { status: 503, body: "{\"status\":\"store-away\"}" })
            }
            ("/health/ready", Phase::Ready) => {
                Some(HealthReport { status: 200, body: "{\"status\":\"ready\"}" })
            }
            ("/health/ready", Phase::Starting) => {
                Some(HealthReport { status: 503, body: "{\"status\":\"starting\"}" })
            }
            ("/health/ready", Phase::Draining) => {
                Some(HealthReport { status: 503, body: "{\"status\":\"draining\"}" })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Phase, Readiness};

    #[test]
    fn a_server_is_ready_between_starting_and_draining() {
        let readiness = Readiness::default();
        let status = |path: &str| readiness.report("GET", path).map(|report| report.status);
        assert_eq!((status("/health/live"), status("/health/ready")), (Some(200), Some(503)));
        readiness.clone().enter(Phase::Ready);
        assert_eq!((status("/health/live"), status("/health/ready")), (Some(200), Some(200)));
        readiness.store_is_away(true);
        assert_eq!((status("/health/live"), status("/health/ready")), (Some(200), Some(503)));
        readiness.store_is_away(false);
        assert_eq!(status("/health/ready"), Some(200));
        readiness.enter(Phase::Draining);
        assert_eq!((status("/health/live"), status("/health/ready")), (Some(200), Some(503)));
        assert_eq!(status("/health"), None);
        assert_eq!(readiness.report("POST", "/health/live"), None);
    }
}
