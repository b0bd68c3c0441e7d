//! Message review: between a message's arrival at its room's home and its publication.
//!
//! In a room with a message review handler a SEND_MESSAGE is checked and gets its id as ever, and then waits:
//! [`Effect::Review`] asks for its review outside, and [`Message::Reviewed`](crate::message::Message::Reviewed) brings the outcome back, exactly once for each.
//! Nothing else is reviewed.
//!
//! Promises:
//! - A user's messages to a room are published, or refused, in the order in which they came to its home, on whatever of the
//!   user's connections. Reviews of one user run side by side; a message that is through waits for those before it.
//!   Nobody waits for a message of somebody else.
//! - At most so many reviews are under way in a room and on the node ([`ReviewLimits`]); beyond it a message is refused
//!   with 429, never let through. A message counts until its outcome has come and it has left the queue.
//!
//! What happens meanwhile:
//! - The sender leaves: the message was sent, and is published if it is allowed.
//! - The sender is kicked: nothing is published behind the kick of what was sent before it; nor is there an answer.
//! - The room is deleted: ERROR 404.
//! - The room's settings change: what counts are those under which the message came in; a message that came in after the
//!   handler was taken away is not reviewed, and still waits for its sender's earlier ones.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use protocol::id::Id;
use protocol::limit::review::{IN_FLIGHT_PER_NODE_MAX, IN_FLIGHT_PER_ROOM_MAX};
use protocol::messaging::{
    Action, Attributes, CHAT_LOG_UNAVAILABLE, ErrorCode, RATE_EXCEEDED, REVIEW_DENIED, ROOM_NOT_FOUND,
    Refusal, encode_message,
};

use crate::Hub;
use crate::chat_log::Unlogged;
use crate::message::{Act, Cause, Effect, Now, RoomKey, Verdict};
use crate::publish::Frame;
use crate::roll::UserKey;
use crate::room::Home;

/// How a room's messages are reviewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewSettings {
    /// The ARN of the message review handler.
    pub handler: Arc<str>,
    /// What becomes of messages that their handler did not review.
    pub fallback: Verdict,
}

/// How many reviews may be under way.
#[derive(Clone, Debug)]
pub struct ReviewLimits {
    /// In one room.
    pub per_room_max: usize,
    /// On the node: its hubs share them.
    pub places: Arc<ReviewPlaces>,
}

impl Default for ReviewLimits {
    fn default() -> Self {
        let places = Arc::new(ReviewPlaces::new(IN_FLIGHT_PER_NODE_MAX));
        Self { per_room_max: IN_FLIGHT_PER_ROOM_MAX, places }
    }
}

/// Places for reviews that are under way on a node.
#[derive(Debug)]
pub struct ReviewPlaces {
    free: AtomicUsize,
}

impl ReviewPlaces {
    /// So many places.
    #[must_use]
    pub const fn new(count: usize) -> Self {
        Self { free: AtomicUsize::new(count) }
    }

    fn take(self: &Arc<Self>) -> Option<ReviewPlace> {
        let less_one = |free: usize| free.checked_sub(1);
        self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less_one).ok()?;
        Some(ReviewPlace(Arc::clone(self)))
    }
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
struct ReviewPlace(Arc<ReviewPlaces>);

impl Drop for ReviewPlace {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::Relaxed);
    }
}

/// Names a message under review to its room's home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    user: UserKey,
    number: u64,
}

impl Ticket {
    /// The ticket of a user's message; its home numbers them.
    #[must_use]
    pub const fn new(user: UserKey, number: u64) -> Self {
        Self { user, number }
    }
}

/// A message to be reviewed.
#[derive(Clone, Debug)]
pub struct ReviewRequest {
    /// Its room, whose home is told the outcome.
    pub room: RoomKey,
    /// Goes with the outcome.
    pub ticket: Ticket,
    /// The ARN of the handler.
    pub handler: Arc<str>,
    /// The id that it will have.
    pub message_id: Id,
    /// What the sender wrote.
    pub content: String,
    /// `None` when there were none.
    pub attributes: Option<Attributes>,
    /// The `Sender` of its frame, as JSON.
    pub sender: String,
    /// Where the sender's connection comes from.
    pub client: IpAddr,
    /// The longest content that the room allows, in code points.
    pub message_length_max: u32,
}

/// What has come of a review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it was sent.
    Allowed,
    /// In other words. They are within the limits.
    Changed {
        /// Instead of what the sender wrote.
        content: String,
        /// Instead of the sender's; `None` leaves those.
        attributes: Option<Attributes>,
    },
    /// Not at all.
    Denied {
        /// The handler's, for the sender.
        reason: Option<String>,
    },
    /// The handler could not be asked, or what it said was no verdict: the room's fallback result stands.
    Failed,
}

/// A message that waits for its outcome, or for those before it.
#[derive(Debug)]
struct Waiting {
    number: u64,
    act: Act,
    id: Id,
    fallback: Verdict,
    outcome: Option<Outcome>,
    /// A kick has come after it.
    is_ended: bool,
    _place: ReviewPlace,
}

/// The messages of one room that are under review.
#[derive(Debug, Default)]
pub struct Reviews {
    /// In the order in which they came. Nothing depends on the order of users, and keys are hashes already.
    by_user: HashMap<UserKey, VecDeque<Waiting>, BuildHasherDefault<DefaultHasher>>,
    count: usize,
    /// The number of the latest ticket.
    latest: u64,
}

impl Reviews {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether messages of the user wait.
    pub(crate) fn has(&self, user: UserKey) -> bool {
        self.by_user.contains_key(&user)
    }

    fn add(&mut self, waiting: Waiting) {
        self.count += 1;
        self.by_user.entry(waiting.act.entry.user).or_default().push_back(waiting);
    }

    /// Nothing that the user has sent so far is to be published.
    pub(crate) fn end(&mut self, user: UserKey) {
        // They keep their places until their outcomes come: as long as they cost something outside.
        for waiting in self.by_user.get_mut(&user).into_iter().flatten() {
            waiting.is_ended = true;
        }
    }

    /// Notes an outcome, and gives what is through now and waits for nothing else.
    fn settle(&mut self, ticket: Ticket, outcome: Outcome) -> Vec<Waiting> {
        let Some(queue) = self.by_user.get_mut(&ticket.user) else { return Vec::new() };
        if let Some(waiting) = queue.iter_mut().find(|waiting| waiting.number == ticket.number) {
            waiting.outcome = Some(outcome);
        }
        let through = queue.iter().take_while(|waiting| waiting.outcome.is_some()).count();
        let through: Vec<Waiting> = queue.drain(..through).collect();
        if queue.is_empty() {
            self.by_user.remove(&ticket.user);
        }
        self.count -= through.len();
        through
    }
}

impl Hub {
    /// How many messages wait for their review, in the rooms whose home is here.
    #[must_use]
    pub fn reviews_waiting(&self) -> usize {
        self.reviews_waiting
    }

    /// Puts a message that may be published into the queue of its sender, and asks for its review unless the room has no
    /// handler any more.
    pub(crate) fn review(&mut self, act: &Act, review: Option<ReviewSettings>) -> Result<(), Refusal> {
        let Action::SendMessage { content, attributes } = &act.request.action else { return Ok(()) };
        let id = self.next_id();
        let limits = &self.settings.reviews;
        let home = self.homes.get_mut(&act.room).ok_or(ROOM_NOT_FOUND)?;
        let room_has_place = home.reviews.count < limits.per_room_max;
        let Some(place) = room_has_place.then(|| limits.places.take()).flatten() else {
            self.counters.reviews_refused += 1;
            return Err(RATE_EXCEEDED);
        };
        home.reviews.latest += 1;
        let number = home.reviews.latest;
        let (fallback, outcome) = match &review {
            Some(review) => (review.fallback, None),
            None => (Verdict::Allow, Some(Outcome::Allowed)),
        };
        if let Some(review) = review {
            self.effects.push_back(Effect::Review(Box::new(ReviewRequest {
                room: act.room.clone(),
                ticket: Ticket::new(act.entry.user, number),
                handler: review.handler,
                message_id: id,
                content: content.clone(),
                attributes: attributes.clone(),
                sender: act.sender.clone(),
                client: act.client,
                message_length_max: home.settings().map_or(0, |settings| settings.message_length_max),
            })));
        }
        let act = act.clone();
        home.reviews.add(Waiting { number, act, id, fallback, outcome, is_ended: false, _place: place });
        self.reviews_waiting += 1;
        Ok(())
    }

    /// The outcome of a review has come: publishes or refuses all that was waiting for it. Also while a shard with members
    /// takes no more deliveries: what was accepted before is bounded, and nothing new is.
    pub(crate) fn reviewed(&mut self, now: Now, room: &RoomKey, ticket: Ticket, outcome: Outcome) {
        let Some(home) = self.homes.get_mut(room) else { return };
        for waiting in home.reviews.settle(ticket, outcome) {
            self.reviews_waiting -= 1;
            self.conclude(now, waiting);
        }
    }

    fn conclude(&mut self, now: Now, waiting: Waiting) {
        let Waiting { act, id, fallback, outcome, is_ended, .. } = waiting;
        if is_ended {
            return;
        }
        let request_id = &act.request.request_id;
        let settings = self.homes.get(&act.room).and_then(Home::settings);
        let Some(configurations) = settings.map(|settings| settings.logging_configurations) else {
            self.refuse_under(id, act.connection, request_id, &ROOM_NOT_FOUND);
            return;
        };
        let Action::SendMessage { content, attributes } = &act.request.action else { return };
        let (content, changed) = match self.verdict(&outcome, fallback) {
            Ok(changed) => changed.unwrap_or((content, None)),
            Err(refusal) => return self.refuse_under(id, act.connection, request_id, &refusal),
        };
        let attributes = changed.or(attributes.as_ref());
        let json = encode_message(id, request_id, attributes, content, act.received, &act.sender);
        let frame = Frame { cause: Cause::SendMessage, time: act.received, json };
        match self.note(&act.room, configurations, &frame) {
            Ok(()) => self.send_out(now, &act.room, &frame, None),
            Err(Unlogged) => self.refuse_under(id, act.connection, request_id, &CHAT_LOG_UNAVAILABLE),
        }
    }

    /// What is to be published instead of what was sent, if anything; or why nothing is.
    fn verdict<'a>(
        &mut self,
        outcome: &'a Option<Outcome>,
        fallback: Verdict,
    ) -> Result<Option<(&'a String, Option<&'a Attributes>)>, Refusal> {
        match outcome {
            Some(Outcome::Allowed) => Ok(None),
            Some(Outcome::Changed { content, attributes }) => Ok(Some((content, attributes.as_ref()))),
            Some(Outcome::Denied { reason: Some(reason) }) => {
                Err(Refusal { code: ErrorCode::Rejected, message: reason.clone().into() })
            }
            Some(Outcome::Denied { reason: None }) => Err(REVIEW_DENIED),
            Some(Outcome::Failed) | None => {
                self.counters.review_fallbacks += 1;
                if fallback == Verdict::Deny { Err(REVIEW_DENIED) } else { Ok(None) }
            }
        }
    }
}
