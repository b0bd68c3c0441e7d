//! The listening socket of the messaging edge, and the handshakes that are under way.
//!
//! Promises: handshakes never run on a shard; a client that takes its time costs a task and nothing else; when too
//! many handshakes are unfinished the oldest is closed, so nobody can keep the door shut; when descriptors are scarce
//! accepting pauses, and goes on by itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use hub::message::ShardIndex;
use prometheus_client::metrics::gauge::Gauge;
use protocol::arn::{Arn, ResourceKind};
use protocol::limit::edge::SEND_BUFFER_BYTES;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::arrival::ArrivalSender;
use super::handshake::{Door, Outcome};
use crate::bus::Bus;
use crate::entrance::Entrance;
use crate::metrics::{HandshakeRefusal, Metrics};
use crate::telemetry::{Span, SpanKind, Telemetry};

/// See the module.
pub(super) struct Acceptor {
    pub(super) door: Door,
    pub(super) bus: Bus,
    /// The arrivals of all shards, by index.
    pub(super) shards: Arc<[ArrivalSender]>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) unfinished: Unfinished,
    pub(super) telemetry: Telemetry,
}

impl Acceptor {
    /// Accepts until `end`. Handshakes that are not done by then go on; `handshakes` knows of all.
    pub(super) async fn run(
        self: Arc<Self>,
        mut entrance: Entrance,
        end: CancellationToken,
        handshakes: TaskTracker,
    ) {
        loop {
            let (stream, peer) = tokio::select! {
                () = end.cancelled() => break,
                accepted = entrance.accept() => accepted,
            };
            self.clone().begin(stream, peer, &handshakes);
        }
    }

    fn begin(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, handshakes: &TaskTracker) {
        let acceptor = Arc::clone(&self);
        let waiting = Waiting::begin(self.metrics.handshakes_waiting.clone());
        self.unfinished.add(|number| {
            let handshake = async move {
                acceptor.carry_through(stream, peer).await;
                drop(waiting);
                acceptor.unfinished.remove(number);
            };
            handshakes.spawn(handshake).abort_handle()
        });
    }

    async fn carry_through(&self, stream: TcpStream, peer: SocketAddr) {
        if let Err(error) = prepare(&stream) {
            tracing::debug!(%peer, %error, "the socket broke at once");
            return;
        }
        let begin = Instant::now();
        match self.door.shake_hands(stream, peer.ip()).await {
            Ok(Outcome::Arrived(arrival)) => {
                let room = &arrival.join.room;
                let mut span = self.span(begin, 101);
                span.say("grandstand.room.arn", || {
                    Arn::new((*room.scope).clone(), ResourceKind::Room, room.id).to_string()
                });
                drop(span);
                self.metrics.handshakes_admitted.inc();
                let home: ShardIndex = self.bus.home(&arrival.join.room);
                self.shards[usize::from(home)].send(arrival).await;
            }
            Ok(Outcome::Refused(refusal)) => {
                let mut span = self.span(begin, refusal.status);
                span.say("error.type", || refusal.reason);
                if refusal.status >= 500 {
                    span.fail();
                }
                let labels = HandshakeRefusal { status: refusal.status, reason: refusal.reason };
                self.metrics.handshakes_refused.get_or_create(&labels).inc();
            }
            Ok(Outcome::Ended) => {}
            Err(error) => tracing::debug!(%peer, %error, "a handshake was not finished"),
        }
    }

    /// The span of a handshake that was answered with this status. What was no handshake, or came to no end, has none.
    fn span(&self, begin: Instant, status: u16) -> Span {
        let mut span = self.telemetry.resume(SpanKind::Server, "handshake", begin, None);
        span.say("http.request.method", || "GET");
        span.say("http.response.status_code", || u64::from(status));
        span
    }
}

/// Frames leave at once, and what the kernel holds for one client is bounded.
fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_send_buffer_size(SEND_BUFFER_BYTES)
}

/// Counts a handshake as waiting until it is dropped, however it ends.
struct Waiting(Gauge);

impl Waiting {
    fn begin(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The handshakes that are under way, oldest first.
pub(super) struct Unfinished {
    count_max: usize,
    handshakes: Mutex<Handshakes>,
}

#[derive(Default)]
struct Handshakes {
    next: u64,
    by_number: BTreeMap<u64, AbortHandle>,
}

impl Unfinished {
    pub(super) fn new(count_max: usize) -> Self {
        Self { count_max, handshakes: Mutex::default() }
    }

    fn add(&self, spawn: impl FnOnce(u64) -> AbortHandle) {
        // Held while the task is spawned, so that the task cannot remove itself before it has been added.
        let mut handshakes = self.handshakes.lock().unwrap_or_else(PoisonError::into_inner);
        let number = handshakes.next;
        handshakes.next += 1;
        if handshakes.by_number.len() >= self.count_max
            && let Some((_, oldest)) = handshakes.by_number.pop_first()
        {
            oldest.abort();
        }
        handshakes.by_number.insert(number, spawn(number));
    }

    fn remove(&self, number: u64) {
        self.handshakes.lock().unwrap_or_else(PoisonError::into_inner).by_number.remove(&number);
    }
}
