//! Everything that counters show at one instant of a play, and what two such readings say of the time between them.

use crate::client::Traffic;
use crate::failure::Failure;
use crate::peers::RunningPeer;
use crate::play::Play;
use crate::process::{CoreTime, ProcessorTime};

/// Of so many receivers the kernel is asked how many segments they got.
const SEGMENT_SAMPLE: usize = 500;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Reading {
    /// On the play's clock.
    pub at_nanos: u64,
    /// The server's threads.
    pub server: ProcessorTime,
    /// This process.
    pub client: ProcessorTime,
    /// All cores, whoever used them.
    pub cores: CoreTime,
    /// What the crowd has read.
    pub traffic: Traffic,
    /// Messages that all receivers got together.
    pub received: u64,
    /// Segments that some receivers got together.
    pub sampled_segments: u64,
    /// Messages that the same receivers got together.
    pub sampled_received: u64,
}

impl Reading {
    /// Reads all counters.
    ///
    /// # Errors
    /// The server has ended, or this is no Linux.
    pub fn take(play: &Play, running: &RunningPeer) -> Result<Self, Failure> {
        let (crowd, verifier) = (play.crowd(), play.verifier());
        let receivers = crowd.len();
        let sample = (0..receivers).step_by((receivers / SEGMENT_SAMPLE).max(1));
        Ok(Self {
            at_nanos: play.clock().nanos(),
            server: ProcessorTime::read(running.server.pid())?,
            client: ProcessorTime::read(std::process::id())?,
            cores: CoreTime::read()?,
            traffic: crowd.traffic(),
            received: verifier.received(),
            sampled_segments: sample.clone().map(|index| crowd.data_segments_received(index)).sum(),
            sampled_received: sample.map(|index| verifier.received_by(index)).sum(),
        })
    }

    /// Messages received per second since an earlier reading.
    #[must_use]
    pub fn deliveries_per_s(&self, earlier: &Self) -> f64 {
        (self.received - earlier.received) as f64 * 1e9 / (self.at_nanos - earlier.at_nanos) as f64
    }

    /// How busy the server, this process and others kept the cores since an earlier reading, in percent of one core.
    #[must_use]
    pub fn shares(&self, earlier: &Self) -> [(&'static str, f64); 3] {
        let elapsed_nanos = (self.at_nanos - earlier.at_nanos) as f64;
        let percent = |nanos: u64| 100.0 * nanos as f64 / elapsed_nanos;
        let server_nanos = self.server.since(earlier.server).run_nanos;
        let client_nanos = self.client.since(earlier.client).run_nanos;
        let machine_nanos = self.cores.busy_since(&earlier.cores, &[]);
        [
            ("server_core_percent", percent(server_nanos)),
            ("client_core_percent", percent(client_nanos)),
            ("others_core_percent", percent(machine_nanos.saturating_sub(server_nanos + client_nanos))),
        ]
    }
}
