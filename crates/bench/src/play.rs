//! A crowd that publishes and listens for some time, and the verdict on all that it heard.
//!
//! The time is cut into phases without gaps; each has latencies of its own, and whoever measures is told when one begins.
//! A message belongs to the phase in which it was published. After the last phase the crowd listens until everything has
//! arrived; a play in which a connection is closed, or a receiver lacks, doubles, reorders or alters anything, is void.
//!
//! Publishers are members of their room too: what they receive is counted and verified like any delivery.

use std::time::Duration;

use mio::Events;

use crate::client::{Clock, Crowd, Received, events};
use crate::failure::Failure;
use crate::histogram::Histogram;
use crate::peers::Peer;
use crate::verify::{Script, Verifier};

pub(crate) const SECOND_NANOS: u64 = 1_000_000_000;
/// After the last message is published, stragglers get this long; then they count as lost.
const STRAGGLERS_NANOS: u64 = 10 * SECOND_NANOS;
/// After everything has arrived, the crowd listens this much longer for what should not come.
const ENCORE_NANOS: u64 = SECOND_NANOS / 5;
/// The load generator looks at its schedule without sleeping when a message is due this soon. Its own processor time
/// therefore says what it costs only where messages are far apart; above a few hundred per second it mostly spins.
const SPIN_NANOS: u64 = 1_000_000;
/// The longest sleep of a closed loop, which is woken by whatever it waits for.
const CLOSED_LOOP_SLEEP: Duration = Duration::from_millis(10);

/// When the next message is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At fixed instants, whatever the server does (an open loop). Latency counts from the instant a message was due, so
    /// that a server which stalls is charged for all that had to wait.
    Steady {
        /// When the first is due.
        start_nanos: u64,
        /// Messages per second in all rooms together.
        rate: u64,
    },
    /// As soon as the crowd as a whole is less than so many messages behind (a closed loop). Latency counts from the
    /// instant a message was sent, and is mostly the time it waits for those before it.
    Saturated {
        /// At least 1.
        messages_in_flight: u64,
    },
}

/// When each message is due, and which phase it belongs to.
#[derive(Debug)]
struct Timetable {
    pace: Pace,
    /// How long each phase lasts.
    phase_seconds: Vec<u64>,
    /// The first message of each phase, as far as they are known; at the end also the number of all messages.
    firsts: Vec<u64>,
    /// Of a closed loop: when each message was sent.
    sent_nanos: Vec<u64>,
}

impl Timetable {
    fn new(pace: Pace, phase_seconds: &[u64]) -> Self {
        let firsts = match pace {
            Pace::Steady { rate, .. } => {
                let mut seconds_before = 0;
                let ends = phase_seconds.iter().map(|seconds| {
                    seconds_before += seconds;
                    seconds_before * rate
                });
                std::iter::once(0).chain(ends).collect()
            }
            Pace::Saturated { .. } => Vec::new(),
        };
        Self { pace, phase_seconds: phase_seconds.to_vec(), firsts, sent_nanos: Vec::new() }
    }

    fn due_nanos(&self, sequence: u64) -> u64 {
        match self.pace {
            Pace::Steady { start_nanos, rate } => {
                let offset = u128::from(sequence) * u128::from(SECOND_NANOS) / u128::from(rate);
                start_nanos + u64::try_from(offset).unwrap_or(u64::MAX)
            }
            // A message that was never sent is due now, and found out by the verifier.
            Pace::Saturated { .. } => {
                let sent = usize::try_from(sequence).ok().and_then(|index| self.sent_nanos.get(index));
                sent.copied().unwrap_or(u64::MAX)
            }
        }
    }

    fn phase_of(&self, sequence: u64) -> usize {
        self.firsts.iter().skip(1).take_while(|first| **first <= sequence).count()
    }

    /// How many messages there are in all phases that have been played.
    fn messages(&self) -> u64 {
        self.firsts.last().copied().unwrap_or(0)
    }
}

/// What listens to the crowd.
struct Listener {
    timetable: Timetable,
    verifier: Verifier,
    /// By phase.
    latencies: Vec<Histogram>,
}

impl Listener {
    fn take(&mut self, received: &Received<'_>) -> Result<(), Failure> {
        let sequence = self.verifier.take(received.connection, received.payload).map_err(Failure::Void)?;
        if let Some(latency) = self.latencies.get_mut(self.timetable.phase_of(sequence)) {
            latency.add(received.at_nanos.saturating_sub(self.timetable.due_nanos(sequence)));
        }
        Ok(())
    }
}

/// See the module's documentation.
pub struct Play {
    peer: Peer,
    script: Script,
    clock: Clock,
    crowd: Crowd,
    listener: Listener,
    /// By phase.
    lateness: Vec<Histogram>,
}

impl Play {
    /// A play of a crowd that has joined as `script` says, and whose instants are those of `clock`.
    #[must_use]
    pub fn new(
        peer: Peer,
        script: Script,
        (clock, crowd): (Clock, Crowd),
        pace: Pace,
        phase_seconds: &[u64],
    ) -> Self {
        let listener = Listener {
            timetable: Timetable::new(pace, phase_seconds),
            verifier: Verifier::new(script, crowd.len()),
            latencies: vec![Histogram::default(); phase_seconds.len()],
        };
        Self {
            peer,
            script,
            clock,
            crowd,
            listener,
            lateness: vec![Histogram::default(); phase_seconds.len()],
        }
    }

    /// Plays all phases. `enter` is called with the number of each phase when it begins, and once more with their count
    /// when the last one is over, before stragglers are waited for.
    ///
    /// # Errors
    /// The play is void, or `enter` failed.
    pub fn perform<E>(&mut self, mut enter: E) -> Result<(), Failure>
    where
        E: FnMut(usize, &Self) -> Result<(), Failure>,
    {
        match self.listener.timetable.pace {
            Pace::Steady { .. } => self.keep_time(&mut enter)?,
            Pace::Saturated { messages_in_flight } => {
                self.keep_busy(messages_in_flight.max(1), &mut enter)?;
            }
        }
        enter(self.listener.latencies.len(), self)?;
        self.listen_for_stragglers()?;
        let published = self.listener.timetable.messages();
        self.listener.verifier.judge(published).map_err(Failure::Void)
    }

    fn keep_time<E>(&mut self, enter: &mut E) -> Result<(), Failure>
    where
        E: FnMut(usize, &Self) -> Result<(), Failure>,
    {
        let mut events = events();
        for phase in 0..self.listener.latencies.len() {
            let (first, end) =
                (self.listener.timetable.firsts[phase], self.listener.timetable.firsts[phase + 1]);
            self.listen_until(self.listener.timetable.due_nanos(first), &mut events)?;
            enter(phase, self)?;
            for sequence in first..end {
                let due = self.listener.timetable.due_nanos(sequence);
                self.listen_until(due, &mut events)?;
                self.lateness[phase].add(self.clock.nanos().saturating_sub(due));
                self.publish(sequence)?;
            }
        }
        self.listen_until(self.listener.timetable.due_nanos(self.listener.timetable.messages()), &mut events)
    }

    fn keep_busy<E>(&mut self, messages_in_flight: u64, enter: &mut E) -> Result<(), Failure>
    where
        E: FnMut(usize, &Self) -> Result<(), Failure>,
    {
        let mut events = events();
        let mut published = 0;
        for phase in 0..self.listener.latencies.len() {
            enter(phase, self)?;
            self.listener.timetable.firsts.push(published);
            let until = self.clock.nanos() + self.listener.timetable.phase_seconds[phase] * SECOND_NANOS;
            while self.clock.nanos() < until {
                let received = self.listener.verifier.received();
                while self.deliveries_of(published) < received + self.deliveries_of(messages_in_flight) {
                    self.listener.timetable.sent_nanos.push(self.clock.nanos());
                    self.publish(published)?;
                    published += 1;
                }
                let listener = &mut self.listener;
                let mut take = |received: Received<'_>| listener.take(&received);
                self.crowd.turn(&mut events, CLOSED_LOOP_SLEEP, &mut take)?;
            }
        }
        self.listener.timetable.firsts.push(published);
        Ok(())
    }

    fn publish(&mut self, sequence: u64) -> Result<(), Failure> {
        let publisher = self.peer.publisher(&self.script, sequence);
        self.crowd.send(publisher, &self.peer.publication(&self.script, sequence))
    }

    fn listen_until(&mut self, until_nanos: u64, events: &mut Events) -> Result<(), Failure> {
        loop {
            let left = until_nanos.saturating_sub(self.clock.nanos());
            if left == 0 {
                return Ok(());
            }
            // The poller counts in milliseconds and rounds up: so it sleeps short of the instant and spins the rest.
            let timeout = Duration::from_millis(left.saturating_sub(SPIN_NANOS) / 1_000_000);
            let listener = &mut self.listener;
            self.crowd.turn(events, timeout, &mut |received| listener.take(&received))?;
        }
    }

    fn listen_for_stragglers(&mut self) -> Result<(), Failure> {
        let mut events = events();
        let wanted = self.deliveries_of(self.listener.timetable.messages());
        let give_up_at = self.clock.nanos() + STRAGGLERS_NANOS;
        while self.listener.verifier.received() < wanted && self.clock.nanos() < give_up_at {
            let soon = self.clock.nanos() + SECOND_NANOS / 100;
            self.listen_until(soon, &mut events)?;
        }
        self.listen_until(self.clock.nanos() + ENCORE_NANOS, &mut events)
    }

    /// How many deliveries so many messages make: all rooms have as many members.
    fn deliveries_of(&self, messages: u64) -> u64 {
        messages * (self.crowd.len() as u64 / self.script.rooms)
    }

    /// The crowd that plays.
    #[must_use]
    pub fn crowd(&self) -> &Crowd {
        &self.crowd
    }

    /// What has been received so far.
    #[must_use]
    pub fn verifier(&self) -> &Verifier {
        &self.listener.verifier
    }

    /// The instants that everything is measured in.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Latencies of the messages of a phase that there is.
    #[must_use]
    pub fn latency(&self, phase: usize) -> &Histogram {
        &self.listener.latencies[phase]
    }

    /// By how much messages of a phase that there is were sent after they were due: the load generator's own delay. A
    /// closed loop has none.
    #[must_use]
    pub fn lateness(&self, phase: usize) -> &Histogram {
        &self.lateness[phase]
    }
}

#[cfg(test)]
mod tests {
    use super::{Pace, SECOND_NANOS, Timetable};

    #[test]
    fn messages_are_due_evenly_and_without_drift() {
        let timetable = Timetable::new(Pace::Steady { start_nanos: 1_000, rate: 30 }, &[2, 10]);
        assert_eq!((timetable.firsts.as_slice(), timetable.messages()), ([0, 60, 360].as_slice(), 360));
        assert_eq!(timetable.due_nanos(0), 1_000);
        assert_eq!(timetable.due_nanos(60), 2 * SECOND_NANOS + 1_000);
        assert_eq!(timetable.due_nanos(360), 12 * SECOND_NANOS + 1_000);
    }

    #[test]
    fn a_message_belongs_to_the_phase_it_was_published_in() {
        let steady = Timetable::new(Pace::Steady { start_nanos: 0, rate: 10 }, &[0, 1, 2]);
        assert_eq!([0, 9, 10, 29].map(|sequence| steady.phase_of(sequence)), [1, 1, 2, 2]);
        let mut closed = Timetable::new(Pace::Saturated { messages_in_flight: 4 }, &[1, 1]);
        closed.firsts.push(0);
        closed.sent_nanos = vec![5, 7, 11];
        assert_eq!((closed.phase_of(2), closed.due_nanos(2)), (0, 11));
        closed.firsts.push(2);
        assert_eq!((closed.phase_of(1), closed.phase_of(2)), (0, 1));
    }
}
