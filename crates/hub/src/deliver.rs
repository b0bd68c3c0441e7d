//! From a frame in a shard's inbox to its members' sockets.

use std::cmp::Reverse;

use crate::audience::{Encoding, Gathered, Offer, Progress, blocked_since, write_log};
use crate::message::{Delivery, Effect, Now, Written};
use crate::session::{Private, Seat};
use crate::{Hub, slot};

impl Hub {
    /// Appends a frame to its room's log and sees to it that a pass will take it to the members.
    pub(crate) fn deliver(&mut self, now: Now, delivery: &Delivery) {
        if let Some(disconnect) = &delivery.disconnect {
            self.note_kick(&delivery.room, disconnect);
        }
        let Some(audiences) = self.audiences_by_room.get(&delivery.room).copied() else { return };
        for index in audiences.into_iter().flatten() {
            self.append(now, index, delivery);
        }
    }

    fn append(&mut self, now: Now, index: usize, delivery: &Delivery) {
        let audience = &mut self.audiences[index];
        audience.log.append(match audience.encoding {
            Encoding::Plain => &delivery.frame,
            Encoding::Deflated => delivery.deflated(self.deflater.get_or_insert_default()),
        });
        audience.gathered.add(delivery.published_nanos);
        self.counters.deliveries[delivery.cause as usize] += audience.members.len() as u64;
        self.schedule(now.nanos, index);
        let Some(disconnect) = &delivery.disconnect else { return };
        let members = self.audiences[index].members.iter();
        let victims: Vec<u32> = members
            .map(|member| member.connection)
            .filter(|connection| disconnect.ends(self.sessions[slot(*connection)].entry))
            .collect();
        for connection in victims {
            self.close(now, connection, disconnect.close_frame.clone());
        }
    }

    /// The first frame to a quiet room leaves at once; those that follow within the window gather.
    fn schedule(&mut self, now_nanos: u64, index: usize) {
        let window = self.settings.coalescing_window_nanos;
        let audience = &mut self.audiences[index];
        if audience.scheduled {
            return;
        }
        audience.scheduled = true;
        match audience.passed_at.map(|passed_at| passed_at + window) {
            Some(due) if due > now_nanos => self.waiting.push(Reverse((due, index))),
            _ => self.ready.push_back(index),
        }
    }

    /// When the next pass is due, in monotonic nanoseconds: 0 when one can go on at once, `None` when none waits.
    #[must_use]
    pub fn next_due(&self) -> Option<u64> {
        if !self.ready.is_empty() || !self.urgent.is_empty() {
            return Some(0);
        }
        let pass_due = self.waiting.peek().map(|Reverse((due, _))| *due);
        let held_until = self.held.peek().map(|Reverse((until, ..))| *until);
        let paused_until = self.paused.front().map(|(until, _)| *until);
        pass_due.into_iter().chain(held_until).chain(paused_until).min()
    }

    /// Writes what is due: first to single connections, then room by room for about `quantum_nanos` in all, so that the
    /// caller can look at its sockets in between. The next flush goes on where this one has stopped, so each room has its
    /// turn.
    ///
    /// Single connections are all served, since a pass may not overtake what is to come before it (a greeting, an ERROR).
    /// They are as many as the caller's last look at its sockets and messages gave rise to, or a sweep.
    ///
    /// `write` puts bytes into the socket of a connection; `clock` reads the monotonic nanoseconds.
    pub fn flush<W, C>(&mut self, quantum_nanos: u64, clock: &C, write: &mut W)
    where
        W: FnMut(u32, &[u8]) -> Written,
        C: Fn() -> u64,
    {
        let now_nanos = clock();
        self.let_go(now_nanos);
        self.end_pauses(now_nanos);
        let mut failed = Vec::new();
        let mut lagging = Vec::new();
        let mut offer =
            Offer { write, clock, deadline_nanos: u64::MAX, failed: &mut failed, lagging: &mut lagging };
        for connection in std::mem::take(&mut self.urgent) {
            self.flush_connection(connection, &mut offer);
        }
        let deadline_nanos = clock() + quantum_nanos;
        offer.deadline_nanos = deadline_nanos;
        while let Some(Reverse((due, index))) = self.waiting.peek().copied()
            && due <= now_nanos
        {
            self.waiting.pop();
            self.ready.push_back(index);
        }
        for _ in 0..self.ready.len() {
            self.run_ready(&mut offer);
            if clock() >= deadline_nanos {
                break;
            }
        }
        for connection in failed {
            self.remove(connection);
        }
        for connection in lagging {
            self.fall_behind(now_nanos, connection);
        }
    }

    fn run_ready<W, C>(&mut self, offer: &mut Offer<'_, W, C>)
    where
        W: FnMut(u32, &[u8]) -> Written,
        C: Fn() -> u64,
    {
        let Some(index) = self.ready.pop_front() else { return };
        let audience = &mut self.audiences[index];
        if !audience.is_passing() {
            audience.passed_at = Some((offer.clock)());
            audience.passing = std::mem::take(&mut audience.gathered);
        }
        match audience.run_pass(offer) {
            Progress::Yielded => self.ready.push_back(index),
            Progress::Done => {
                audience.scheduled = false;
                let Gathered { frames, since_nanos } = audience.passing;
                if frames > 0 {
                    let nanos = (offer.clock)().saturating_sub(since_nanos);
                    self.counters.pass_frames.observe(frames);
                    self.counters.pass_micros.observe(nanos / 1_000);
                }
                if audience.members.is_empty() {
                    self.forget_if_empty(index);
                } else if audience.log.head() > audience.log.flushed() {
                    self.schedule((offer.clock)(), index);
                }
            }
        }
    }

    /// Writes all that waits for one connection: the room's frames up to now, its own frames at their places.
    fn flush_connection<W, C>(&mut self, connection: u32, offer: &mut Offer<'_, W, C>)
    where
        W: FnMut(u32, &[u8]) -> Written,
        C: Fn() -> u64,
    {
        let Some(session) = self.sessions.get_mut(slot(connection)) else { return };
        if session.held {
            // What was to be written was for an earlier connection with this index.
            return;
        }
        match session.seat {
            Some(Seat { audience, member }) => {
                let audience = &mut self.audiences[audience];
                let member = &mut audience.members[member];
                let was_blocked = member.blocked_since_ms;
                member.blocked_since_ms = 0;
                let head = audience.log.head();
                while member.blocked_since_ms == 0 {
                    let next = session.private.as_ref().and_then(|private| private.frames.front());
                    let Some(at) = next.map(|(at, _)| *at) else {
                        write_log(member, &audience.log, head, offer);
                        break;
                    };
                    write_log(member, &audience.log, at, offer);
                    if member.blocked_since_ms == 0 && !write_private(&mut session.private, connection, offer)
                    {
                        member.blocked_since_ms = blocked_since((offer.clock)());
                    }
                }
                if member.blocked_since_ms != 0 && was_blocked != 0 {
                    // Behind since then, whatever it has taken meanwhile.
                    member.blocked_since_ms = was_blocked;
                }
                audience.blocked += usize::from(member.blocked_since_ms != 0);
                if was_blocked != 0 {
                    audience.blocked -= 1;
                    audience.release_kept();
                }
            }
            None => {
                while session.private.is_some() && write_private(&mut session.private, connection, offer) {}
            }
        }
        if session.take_shut_down() {
            self.effects.push_back(Effect::ShutDown(connection));
        }
    }

    /// A member is further behind than it may be: it is dropped, unless its greeting is still held.
    pub(crate) fn fall_behind(&mut self, now_nanos: u64, connection: u32) {
        if !self.greet(now_nanos, connection) {
            self.drop_slow(connection);
        }
    }

    /// Without a Close frame, so that the official SDKs come back.
    pub(crate) fn drop_slow(&mut self, connection: u32) {
        if self.sessions.contains(slot(connection)) {
            self.counters.slow_readers_dropped += 1;
            self.remove(connection);
        }
    }
}

/// Writes the first private frame; false when the socket is full. A broken socket counts as done: it is removed.
fn write_private<W, C>(slot: &mut Option<Box<Private>>, connection: u32, offer: &mut Offer<'_, W, C>) -> bool
where
    W: FnMut(u32, &[u8]) -> Written,
    C: Fn() -> u64,
{
    let Some(private) = slot else { return true };
    if let Some((_, bytes)) = private.frames.front() {
        while private.offset < bytes.len() {
            match (offer.write)(connection, &bytes[private.offset..]) {
                Written::Bytes(count) => private.offset += count,
                Written::Blocked => return false,
                Written::Failed => {
                    offer.failed.push(connection);
                    break;
                }
            }
        }
        private.bytes -= bytes.len() as u64;
        private.frames.pop_front();
        private.offset = 0;
    }
    if private.frames.is_empty() {
        *slot = None;
    }
    true
}
