//! Places for connections, and who gives way when none is left.
//!
//! Promise: whoever asks for something that is carried out is let in, however many others hold connections open and say nothing,
//! or half of something, or what they may not ask. When all places are taken, a newcomer gets that of a connection that is idle,
//! which is closed. Half of the places are for strangers, who have not been seen to ask for anything that was carried out: as long
//! as they have that many, the one of them who came first goes, and otherwise whoever of the others is idle for longest. So strangers
//! cannot drive out who is known, nor, before many more have come, a newcomer who is about to ask.
//!
//! Never cut off is a request from the moment when it is carried out ([`Seat::begin`]) until its answer has been handed to the
//! kernel. A connection that is closed before has had nothing carried out of what it sent last, so its client may ask again.
//!
//! Limit: as many places as there are, and one connection that waits for one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// How often the log says that there are no places left.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// A request of the connection is carried out.
const UNDER_WAY: u64 = u64::MAX;
/// It has an answer, which is not out yet.
const ANSWERED: u64 = u64::MAX - 1;
/// The connection gives way.
const LEAVING: u64 = u64::MAX - 2;
/// Set in the number of a moment: something was carried out for the connection before.
const KNOWN: u64 = 1 << 62;

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
    /// Numbers go up with time.
    next_number: AtomicU64,
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
    /// The number of the moment since when the connection is idle, or one of the constants.
    idle_since: AtomicU64,
    leave: Notify,
    room: Arc<Room>,
}

impl Places {
    pub(super) fn new(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), room: Arc::default(), told_at: None }
    }

    /// A place, as soon as there is one. It may be given up half-way.
    pub(super) async fn take(&mut self) -> Place {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => self.wait().await,
        };
        let seat = Seat::new(&self.room);
        let number = self.room.next_number();
        self.room.seats().insert(number, seat.clone());
        Place { seat, number, room: Arc::clone(&self.room), _permit: permit }
    }

    /// `None` only if nobody counts places any more, which never happens.
    async fn wait(&mut self) -> Option<OwnedSemaphorePermit> {
        if self.told_at.is_none_or(|told_at| told_at.elapsed() >= TELL_EVERY) {
            self.told_at = Some(Instant::now());
            tracing::warn!(
                "all connections of a port are in use; the ones that are idle for longest give way"
            );
        }
        let room = &self.room;
        // Before the first look: whoever is idle after it says so.
        room.newcomer_waits.store(true, SeqCst);
        let mut someone_leaves = room.make_room();
        let mut free = std::pin::pin!(Arc::clone(&self.free).acquire_owned());
        let permit = loop {
            tokio::select! {
                permit = free.as_mut() => break permit.ok(),
                () = room.someone_idle.notified(), if !someone_leaves => someone_leaves = room.make_room(),
            }
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
    /// Asks somebody who is idle to leave; false when nobody is.
    fn make_room(&self) -> bool {
        let seats = self.seats();
        loop {
            let idle =
                || seats.values().map(|seat| (seat.idle_since(), seat)).filter(|(since, _)| *since < LEAVING);
            let strangers = || idle().filter(|(since, _)| since & KNOWN == 0);
            let known = || idle().filter(|(since, _)| since & KNOWN != 0);
            let longest = |(since, _): &(u64, &Seat)| *since;
            let are_many = 2 * strangers().count() >= seats.len();
            let known = known().min_by_key(longest).filter(|_| !are_many);
            let chosen = known.or_else(|| strangers().min_by_key(longest));
            let Some((since, seat)) = chosen else { return false };
            // It may have begun something this very moment.
            if seat.0.idle_since.compare_exchange(since, LEAVING, SeqCst, SeqCst).is_ok() {
                seat.0.leave.notify_one();
                return true;
            }
        }
    }

    fn next_number(&self) -> u64 {
        self.next_number.fetch_add(1, SeqCst)
    }

    fn seats(&self) -> MutexGuard<'_, HashMap<u64, Seat>> {
        // Nothing in here can panic half-way.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    fn new(room: &Arc<Room>) -> Self {
        let (idle_since, room) = (AtomicU64::new(room.next_number()), Arc::clone(room));
        Self(Arc::new(State { idle_since, leave: Notify::new(), room }))
    }

    fn idle_since(&self) -> u64 {
        self.0.idle_since.load(SeqCst)
    }

    /// A request of the connection is about to be carried out, and will be answered. False: the connection is being closed, and
    /// nothing may be carried out any more.
    #[must_use]
    pub fn begin(&self) -> bool {
        let begin = |since| (since != LEAVING).then_some(UNDER_WAY);
        self.0.idle_since.fetch_update(SeqCst, SeqCst, begin).is_ok()
    }

    /// What was begun, if anything was, has an answer.
    pub(super) fn answered(&self) {
        let _ = self.0.idle_since.compare_exchange(UNDER_WAY, ANSWERED, SeqCst, SeqCst);
    }

    /// All that there was to be written is written.
    pub(super) fn flushed(&self) {
        let State { idle_since, room, .. } = &*self.0;
        if self.idle_since() == ANSWERED {
            idle_since.store(room.next_number() | KNOWN, SeqCst);
            if room.newcomer_waits.load(SeqCst) {
                room.someone_idle.notify_one();
            }
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
mod tests {
    use futures_util::FutureExt;

    use super::{Place, Places};

    /// The next place, if nobody has to be waited for.
    fn take_now(places: &mut Places) -> Option<Place> {
        places.take().now_or_never()
    }

    fn has_to_leave(place: &Place) -> bool {
        place.seat.told_to_leave().now_or_never().is_some()
    }

    /// Carries out a request, answer included.
    fn ask(place: &Place) {
        assert!(place.seat.begin());
        place.seat.answered();
        place.seat.flushed();
    }

    /// Which of them give way to a newcomer that finds no place.
    fn who_leaves<const N: usize>(places: &mut Places, taken: [&Place; N]) -> [bool; N] {
        assert!(take_now(places).is_none());
        taken.map(has_to_leave)
    }

    #[tokio::test]
    async fn while_strangers_have_half_of_the_places_the_first_of_them_gives_way() {
        let mut places = Places::new(4);
        let [a, b, c, d] = [0; 4].map(|_| take_now(&mut places).expect("a place"));
        ask(&a);
        ask(&c);
        assert_eq!(who_leaves(&mut places, [&a, &b, &c, &d]), [false, true, false, false]);
        drop(b);
        let e = take_now(&mut places).expect("the place that has become free");
        assert_eq!(who_leaves(&mut places, [&a, &c, &d, &e]), [false, false, true, false]);
    }

    #[tokio::test]
    async fn otherwise_whoever_of_the_known_is_idle_for_longest() {
        let mut places = Places::new(3);
        let [a, b, c] = [0; 3].map(|_| take_now(&mut places).expect("a place"));
        [&a, &b, &a].into_iter().for_each(ask);
        assert_eq!(who_leaves(&mut places, [&a, &b, &c]), [false, true, false]);
    }

    #[tokio::test]
    async fn strangers_are_all_that_can_leave_when_the_others_are_busy() {
        let mut places = Places::new(3);
        let [a, b, c] = [0; 3].map(|_| take_now(&mut places).expect("a place"));
        assert!(a.seat.begin() && b.seat.begin());
        assert_eq!(who_leaves(&mut places, [&a, &b, &c]), [false, false, true]);
    }

    #[tokio::test]
    async fn nothing_is_cut_off_between_its_beginning_and_the_last_byte_of_its_answer() {
        let mut places = Places::new(1);
        let busy = places.take().await;
        assert!(busy.seat.begin());
        let mut next = std::pin::pin!(places.take());
        let mut looks = |busy: &Place| (next.as_mut().now_or_never().is_some(), has_to_leave(busy));
        assert_eq!(looks(&busy), (false, false));
        busy.seat.flushed();
        assert_eq!(looks(&busy), (false, false), "what goes out before an answer is none");
        busy.seat.answered();
        assert_eq!(looks(&busy), (false, false));
        busy.seat.flushed();
        assert_eq!(looks(&busy), (false, true), "whoever waits hears of it");
        assert!(!busy.seat.begin(), "nothing begins on a connection that is being closed");
        drop(busy);
        assert!(next.await.seat.begin());
    }
}
