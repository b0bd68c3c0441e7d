//! Places for connections, and who gives way when none is left.
//!
//! Promise: nobody keeps others out by holding connections open and saying nothing, or half of something, or what they may not ask.
//! When all places are taken, a newcomer gets that of a connection that is idle, which is closed. Half of the places are for
//! strangers, of whom no request was proved to be somebody's ([`Seat::known`]). As long as they have that many, the first of them
//! goes that has had [`STRANGER_MS_MIN`] to ask; otherwise whoever of the others is idle for longest. So strangers cannot
//! drive out more of those who are known than have more than half of the places.
//!
//! Never cut off is a request from the moment when all of it has arrived ([`Seat::begin`]) until its answer has been handed to the
//! kernel, unless it is a stranger's who does not read it. On a connection that is closed before, nothing was done about what its
//! client sent last, so that may be asked again; who sends requests without waiting for the answers may have had some of them.
//!
//! Limits: as many places as there are, and one connection that waits for one. Strangers who come back whenever they are closed hold
//! newcomers up when there are more of them in [`STRANGER_MS_MIN`] than half of the places. A known client that does not read
//! its answers keeps its place until its connection's time is up.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::limit::control::STRANGER_MS_MIN;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use crate::clock;

/// How often the log says that there are no places left.
const TELL_EVERY: Duration = Duration::from_secs(60);
const STRANGER_TIME_MIN: Duration = Duration::from_millis(STRANGER_MS_MIN);

/// A request of the connection is carried out.
const UNDER_WAY: u64 = u64::MAX;
/// It has an answer, which is not out yet.
const ANSWERED: u64 = u64::MAX - 1;
/// The connection gives way.
const LEAVING: u64 = u64::MAX - 2;

/// All places of a port.
pub(super) struct Places {
    free: Arc<Semaphore>,
    room: Arc<Room>,
    told_at: Option<Instant>,
}

/// What everybody in there knows.
#[derive(Default)]
struct Room {
    /// By the number that they came with.
    seats: Mutex<HashMap<u64, Seat>>,
    seats_so_far: AtomicU64,
    /// Somebody has no place yet,
    newcomer_waits: AtomicBool,
    /// and wants to hear of this.
    someone_idle: Notify,
}

/// A place that is taken; free again when this is dropped.
pub(super) struct Place {
    pub(super) seat: Seat,
    number: u64,
    room: Arc<Room>,
    _permit: Option<OwnedSemaphorePermit>,
}

/// What a connection and its requests know of its place. Among the extensions of every request.
#[derive(Clone)]
pub struct Seat(Arc<State>);

struct State {
    /// Nanoseconds of the monotonic clock since when the connection has its place.
    seated_at: u64,
    /// Nanoseconds of the monotonic clock since when the connection is idle, or one of the constants.
    idle_since: AtomicU64,
    /// A request of the connection was proved to be somebody's.
    is_known: AtomicBool,
    leave: Notify,
    room: Arc<Room>,
}

/// Who may be asked to leave.
#[derive(Default)]
struct Candidates<'a> {
    known: Option<(u64, &'a Seat)>,
    stranger: Option<(u64, &'a Seat)>,
    strangers: usize,
}

impl Places {
    pub(super) fn new(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), room: Arc::default(), told_at: None }
    }

    /// A place, as soon as there is one. May be given up half-way.
    pub(super) async fn take(&mut self) -> Place {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => self.wait().await,
        };
        self.place(permit)
    }

    /// A place beyond those that there are, for a connection that cannot be left to wait.
    pub(super) fn extra(&self) -> Place {
        self.place(None)
    }

    fn place(&self, permit: Option<OwnedSemaphorePermit>) -> Place {
        let seat = Seat::new(&self.room);
        let number = self.room.seats_so_far.fetch_add(1, SeqCst);
        self.room.seats().insert(number, seat.clone());
        Place { seat, number, room: Arc::clone(&self.room), _permit: permit }
    }

    /// `None` only if nobody counts places any more, which never happens.
    async fn wait(&mut self) -> Option<OwnedSemaphorePermit> {
        if self.told_at.is_none_or(|told_at| told_at.elapsed() >= TELL_EVERY) {
            self.told_at = Some(Instant::now());
            tracing::warn!("all connections of a port are in use; idle ones make room for new ones");
        }
        let room = &self.room;
        // Before the first look: whoever is idle after it says so.
        room.newcomer_waits.store(true, SeqCst);
        let mut someone_leaves = room.make_room(clock::monotonic_nanos());
        let mut free = pin!(Arc::clone(&self.free).acquire_owned());
        let permit = loop {
            tokio::select! {
                biased;
                permit = free.as_mut() => break permit.ok(),
                () = room.someone_idle.notified(), if !someone_leaves => {}
                // By then a stranger has had its time.
                () = sleep(STRANGER_TIME_MIN), if !someone_leaves => {}
            }
            someone_leaves = room.make_room(clock::monotonic_nanos());
        };
        room.newcomer_waits.store(false, SeqCst);
        permit
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.seats().remove(&self.number);
    }
}

impl Room {
    /// Asks somebody who is idle to leave; false when nobody is who may be asked.
    fn make_room(&self, now: u64) -> bool {
        let seats = self.seats();
        loop {
            let candidates = Candidates::among(seats.values(), now);
            let Some((since, seat)) = candidates.choose(seats.len()) else { return false };
            // It may have begun something this very moment.
            if seat.0.idle_since.compare_exchange(since, LEAVING, SeqCst, SeqCst).is_ok() {
                seat.0.leave.notify_one();
                return true;
            }
        }
    }

    fn seats(&self) -> MutexGuard<'_, HashMap<u64, Seat>> {
        // Nothing in here can panic half-way.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Candidates<'a> {
    fn among(seats: impl Iterator<Item = &'a Seat>, now: u64) -> Self {
        let mut candidates = Self::default();
        for seat in seats {
            let since = seat.0.idle_since.load(SeqCst);
            let is_known = seat.0.is_known.load(SeqCst);
            let first = if is_known { &mut candidates.known } else { &mut candidates.stranger };
            let is_idle = since < LEAVING || (since == ANSWERED && !is_known);
            let may_go = is_idle && (is_known || since == ANSWERED || seat.has_had_time(now));
            if may_go && first.is_none_or(|(first, _)| since < first) {
                *first = Some((since, seat));
            }
            candidates.strangers += usize::from(is_idle && !is_known);
        }
        candidates
    }

    /// Of so many who have a place.
    fn choose(self, seats: usize) -> Option<(u64, &'a Seat)> {
        if 2 * self.strangers >= seats { self.stranger } else { self.known.or(self.stranger) }
    }
}

impl Seat {
    fn new(room: &Arc<Room>) -> Self {
        let now = clock::monotonic_nanos();
        Self(Arc::new(State {
            seated_at: now,
            idle_since: AtomicU64::new(now),
            is_known: AtomicBool::new(false),
            leave: Notify::new(),
            room: Arc::clone(room),
        }))
    }

    /// To ask for the first time. What counts is not since when it is idle: who asks in vain now and then would never have had it.
    fn has_had_time(&self, now: u64) -> bool {
        now.saturating_sub(self.0.seated_at) >= STRANGER_MS_MIN * 1_000_000
    }

    /// All of a request has arrived, and it will be answered. False: the connection is being closed, and nothing may be done about
    /// the request any more.
    #[must_use]
    pub fn begin(&self) -> bool {
        let begin = |since| (since != LEAVING).then_some(UNDER_WAY);
        self.0.idle_since.fetch_update(SeqCst, SeqCst, begin).is_ok()
    }

    /// The request is proved to be somebody's.
    pub fn known(&self) {
        self.0.is_known.store(true, SeqCst);
    }

    /// What was begun, if anything was, has an answer.
    pub(super) fn answered(&self) {
        let _ = self.0.idle_since.compare_exchange(UNDER_WAY, ANSWERED, SeqCst, SeqCst);
    }

    /// All that there was to be written is written.
    pub(super) fn flushed(&self) {
        let State { idle_since, room, .. } = &*self.0;
        let idle = idle_since.compare_exchange(ANSWERED, clock::monotonic_nanos(), SeqCst, SeqCst);
        if idle.is_ok() && room.newcomer_waits.load(SeqCst) {
            room.someone_idle.notify_one();
        }
    }

    /// The connection has to give way.
    pub(super) async fn told_to_leave(&self) {
        self.0.leave.notified().await;
    }
}

/// A place of its own.
#[cfg(test)]
impl Default for Seat {
    fn default() -> Self {
        Self::new(&Arc::default())
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "tests")]
mod tests {
    use std::sync::atomic::Ordering::SeqCst;

    use futures_util::FutureExt;
    use protocol::limit::control::STRANGER_MS_MIN;

    use super::{Place, Places, Seat};
    use crate::clock;

    /// Places that are all taken.
    fn full<const N: usize>() -> (Places, [Place; N]) {
        let mut places = Places::new(N);
        let taken = [0; N].map(|_| places.take().now_or_never().expect("a place"));
        (places, taken)
    }

    /// Carries out a request, answer included.
    fn ask(place: &Place) {
        assert!(place.seat.begin());
        place.seat.known();
        place.seat.answered();
        place.seat.flushed();
    }

    /// Since when each of them is idle: in this order.
    fn in_order<const N: usize>(taken: [&Place; N]) {
        for (since, place) in taken.into_iter().enumerate() {
            place.seat.0.idle_since.store(since as u64, SeqCst);
        }
    }

    fn is_told_to_leave(place: &Place) -> bool {
        place.seat.told_to_leave().now_or_never().is_some()
    }

    /// Which of them give way to a newcomer, after all strangers have had their time.
    fn who_leaves<const N: usize>(places: &Places, taken: [&Place; N]) -> [bool; N] {
        places.room.make_room(clock::monotonic_nanos() + STRANGER_MS_MIN * 1_000_000);
        taken.map(is_told_to_leave)
    }

    #[test]
    fn while_strangers_have_half_of_the_places_the_first_of_them_gives_way() {
        let (places, [a, b, c, d]) = full();
        [&a, &c].into_iter().for_each(ask);
        in_order([&a, &b, &c, &d]);
        assert_eq!(who_leaves(&places, [&a, &b, &c, &d]), [false, true, false, false]);
    }

    #[test]
    fn otherwise_whoever_of_the_known_is_idle_for_longest() {
        let (places, [a, b, c]) = full();
        [&a, &b].into_iter().for_each(ask);
        in_order([&c, &b, &a]);
        assert_eq!(who_leaves(&places, [&a, &b, &c]), [false, true, false]);
    }

    #[test]
    fn strangers_are_all_that_can_leave_when_the_others_are_busy() {
        let (places, [a, b, c]) = full();
        for place in [&a, &b] {
            assert!(place.seat.begin());
            place.seat.known();
        }
        assert_eq!(who_leaves(&places, [&a, &b, &c]), [false, false, true]);
        assert_eq!(who_leaves(&places, [&a, &b, &c]), [false; 3], "nobody twice");
    }

    #[test]
    fn a_stranger_has_time_to_ask() {
        let (places, [a]) = full();
        assert!(!places.room.make_room(clock::monotonic_nanos()));
        assert!(!is_told_to_leave(&a));
        assert_eq!(who_leaves(&places, [&a]), [true]);
    }

    #[test]
    fn who_asks_in_vain_again_and_again_has_had_its_time() {
        let mut places = Places::new(2);
        let mut take = || places.take().now_or_never().expect("a place");
        let first = take();
        while clock::monotonic_nanos() == first.seat.0.seated_at {}
        let second = take();
        let now = first.seat.0.seated_at + STRANGER_MS_MIN * 1_000_000;
        first.seat.0.idle_since.store(now, SeqCst);
        assert!(places.room.make_room(now));
        assert!(is_told_to_leave(&first), "though it has had an answer right now");
        assert!(!is_told_to_leave(&second), "though it has said nothing for longer");
    }

    #[test]
    fn a_stranger_who_does_not_read_gives_way_and_who_is_known_does_not() {
        for is_known in [false, true] {
            let (places, [a]) = full();
            assert!(a.seat.begin());
            if is_known {
                a.seat.known();
            }
            a.seat.answered();
            assert_eq!(who_leaves(&places, [&a]), [!is_known]);
        }
    }

    #[tokio::test]
    async fn nothing_is_cut_off_between_its_arrival_and_the_last_byte_of_its_answer() {
        let (mut places, [busy]) = full();
        assert!(busy.seat.begin());
        busy.seat.known();
        {
            let mut next = pin(places.take());
            let mut look = |seat: &Seat| {
                (next.as_mut().now_or_never().is_some(), seat.told_to_leave().now_or_never().is_some())
            };
            assert_eq!(look(&busy.seat), (false, false));
            busy.seat.flushed();
            assert_eq!(look(&busy.seat), (false, false), "what goes out before an answer is none");
            busy.seat.answered();
            assert_eq!(look(&busy.seat), (false, false));
            busy.seat.flushed();
            assert_eq!(look(&busy.seat), (false, true), "whoever waits hears of it");
        }
        assert!(!busy.seat.begin(), "nothing begins on a connection that is being closed");
        drop(busy);
        assert!(places.take().now_or_never().is_some_and(|place| place.seat.begin()));
    }

    fn pin<F>(future: F) -> std::pin::Pin<Box<F>> {
        Box::pin(future)
    }
}
