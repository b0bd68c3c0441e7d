//! Who brings writes of rooms to the database: what many ask for at the same time is one [`group`], a transaction
//! with one commit.
//!
//! Nobody waits for company: a write that finds a writer free goes at once. While all writers are at work, those that come
//! wait and are the next group. So groups grow with the load, and with the time that the database takes.
//!
//! Invariants:
//! - A write is answered when its group has been committed; when it is not known whether it has been, all of the group are told
//!   that the store is not available. A caller that has gone does not undo its write.
//! - Nobody waits for longer than a request may: a write that no writer has begun in time is taken back.
//! - A room is in one group at a time; what else is to be done to it waits its turn.
//! - What a group has left over is done alone, on a connection that is none of the groups'.
//! - A group is of one scope, whose lists then have one head.

use std::collections::{HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::slice;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use protocol::arn::Scope;
use protocol::id::Id;
use protocol::limit::postgres::{
    CONNECTION_WAIT_MS_MAX, GROUP_WRITES_MAX, REQUESTS_WAITING_MAX, WRITERS_MAX, WRITES_ALONE_MAX,
};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::super::worker::lock;
use super::super::{Room, StoreError};
use super::Meters;
use super::connections::Connections;
use super::group::{self, Outcome, Patience, RoomWrite};

/// What a caller is told: the room as it is after the write, or as it was when it was deleted.
type Answer = Result<Room, StoreError>;

/// See the module.
pub(super) struct Writer {
    /// One for each group. A group waits for one only while the database ends a transaction that was given up.
    group_connections: Connections,
    /// For writes that are done alone, and may have to wait for others who write.
    connections: Arc<Connections>,
    /// To these: some are left for those who write something else than rooms.
    turns_alone: Semaphore,
    meters: Arc<Meters>,
    queue: Mutex<Queue>,
}

/// What is to be done.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// The number of the next one that waits.
    next_number: u64,
    /// Tasks that look at the queue: each writes group after group.
    writers: usize,
    /// Rooms that are being written.
    busy: HashSet<Id>,
}

/// A write that has not been done.
struct Waiting {
    number: u64,
    scope: Scope,
    write: RoomWrite,
    caller: oneshot::Sender<Answer>,
}

impl Writer {
    /// A writer that has [`WRITERS_MAX`] connections for its groups.
    pub(super) fn new(
        group_connections: Connections,
        connections: Arc<Connections>,
        meters: Arc<Meters>,
    ) -> Self {
        let turns_alone = Semaphore::new(WRITES_ALONE_MAX);
        Self { group_connections, connections, turns_alone, meters, queue: Mutex::default() }
    }

    #[cfg(test)]
    pub(super) fn group_connections(&self) -> &Connections {
        &self.group_connections
    }

    /// What waits is refused.
    pub(super) fn close(&self) {
        self.group_connections.close();
    }

    /// Has a write done, and answers when it is on disk.
    pub(super) async fn write(self: &Arc<Self>, scope: &Scope, write: RoomWrite) -> Answer {
        let (caller, mut answer) = oneshot::channel();
        let number = self.enqueue(scope, write, caller)?;
        loop {
            match timeout(Duration::from_millis(CONNECTION_WAIT_MS_MAX), &mut answer).await {
                Ok(answered) => return answered.unwrap_or_else(|_| Err(ended_early())),
                Err(_) if self.withdraw(number) => {
                    return Err(StoreError::unavailable(
                        "the database does not keep up with what is written",
                    ));
                }
                // It is being written, which takes no longer than it may.
                Err(_) => {}
            }
        }
    }

    fn enqueue(
        self: &Arc<Self>,
        scope: &Scope,
        write: RoomWrite,
        caller: oneshot::Sender<Answer>,
    ) -> Result<u64, StoreError> {
        let mut queue = lock(&self.queue);
        if queue.waiting.len() >= REQUESTS_WAITING_MAX {
            return Err(StoreError::unavailable("too many requests wait for the database"));
        }
        let number = queue.next_number;
        queue.next_number += 1;
        queue.waiting.push_back(Waiting { number, scope: scope.clone(), write, caller });
        self.call_writer(&mut queue);
        Ok(number)
    }

    /// Sees to it that somebody looks at the queue.
    fn call_writer(self: &Arc<Self>, queue: &mut Queue) {
        if queue.writers < WRITERS_MAX {
            queue.writers += 1;
            tokio::spawn(Arc::clone(self).serve());
        }
    }

    /// Takes back a write that nobody has begun.
    fn withdraw(&self, number: u64) -> bool {
        let mut queue = lock(&self.queue);
        let place = queue.waiting.iter().position(|waiting| waiting.number == number);
        place.is_some_and(|place| queue.waiting.remove(place).is_some())
    }

    /// Writes group after group, until there is nothing that could be written.
    async fn serve(self: Arc<Self>) {
        loop {
            let group = {
                let mut queue = lock(&self.queue);
                let group = queue.take_group();
                if group.is_empty() {
                    queue.writers -= 1;
                    return;
                }
                group
            };
            self.write_group(group).await;
        }
    }

    async fn write_group(self: &Arc<Self>, group: Vec<Waiting>) {
        let answers = self.write_all(&self.group_connections, &group, Patience::None).await;
        for (waiting, answer) in group.into_iter().zip(answers) {
            match answer {
                Some(answer) => self.answer(waiting, answer),
                None => {
                    tokio::spawn(Arc::clone(self).write_alone(waiting));
                }
            }
        }
    }

    async fn write_alone(self: Arc<Self>, waiting: Waiting) {
        let turn = timeout(Duration::from_millis(CONNECTION_WAIT_MS_MAX), self.turns_alone.acquire()).await;
        let answer = if let Ok(Ok(_turn)) = turn {
            let answers = self.write_all(&self.connections, slice::from_ref(&waiting), Patience::Waits).await;
            answers.into_iter().flatten().next().unwrap_or_else(|| Err(ended_early()))
        } else {
            Err(StoreError::unavailable("too many writes wait for rooms that others have locked"))
        };
        self.answer(waiting, answer);
        // Others may have waited for the room, and no writer for them.
        self.call_writer(&mut lock(&self.queue));
    }

    /// Answers for each write what its caller is told, or nothing if it was left over.
    async fn write_all(
        &self,
        connections: &Connections,
        group: &[Waiting],
        patience: Patience,
    ) -> Vec<Option<Answer>> {
        let Some(Waiting { scope, .. }) = group.first() else { return Vec::new() };
        let writes: Vec<&RoomWrite> = group.iter().map(|waiting| &waiting.write).collect();
        let begin = Instant::now();
        let written = connections.run(|client| group::write(client, scope, &writes, patience));
        match AssertUnwindSafe(written).catch_unwind().await.unwrap_or_else(|_| Err(ended_early())) {
            Ok(outcomes) => {
                self.meters.groups.committed(group.len(), begin.elapsed());
                self.meters.commits.fetch_add(1, Relaxed);
                outcomes.into_iter().map(answer).collect()
            }
            Err(error) => group.iter().map(|_| Some(Err(error.clone()))).collect(),
        }
    }

    fn answer(&self, waiting: Waiting, answer: Answer) {
        if let Some(id) = waiting.write.room() {
            lock(&self.queue).busy.remove(id);
        }
        if !matches!(answer, Err(StoreError::Unavailable(_))) {
            self.meters.writes.fetch_add(1, Relaxed);
        }
        // The caller may have gone; the write stands all the same.
        let _ = waiting.caller.send(answer);
    }
}

impl Queue {
    /// The next writes that can be done together; none if there is nothing that can be done now.
    fn take_group(&mut self) -> Vec<Waiting> {
        let mut group: Vec<Waiting> = Vec::new();
        let mut passed_over = Vec::new();
        while group.len() < GROUP_WRITES_MAX {
            let Some(next) = self.waiting.pop_front() else { break };
            let fits = group.first().is_none_or(|first| first.scope == next.scope);
            if fits && next.write.room().is_none_or(|&id| self.busy.insert(id)) {
                group.push(next);
            } else {
                passed_over.push(next);
            }
        }
        for waiting in passed_over.into_iter().rev() {
            self.waiting.push_front(waiting);
        }
        group
    }
}

fn answer(outcome: Outcome) -> Option<Answer> {
    match outcome {
        Outcome::Created(room) | Outcome::Tagged(room) | Outcome::Deleted(room) => Some(Ok(room)),
        Outcome::Updated { after, .. } => Some(Ok(after)),
        Outcome::Refused(refusal) => Some(Err(refusal)),
        Outcome::LeftOver => None,
    }
}

/// Nobody knows how far it has come.
fn ended_early() -> StoreError {
    StoreError::unavailable("the write ended early; it may have been committed")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::super::super::NewRoom;
    use super::super::super::tests::{home, scope};
    use super::{GROUP_WRITES_MAX, Id, Queue, RoomWrite, Scope, Waiting, oneshot};

    fn queue(writes: Vec<(Scope, RoomWrite)>) -> Queue {
        let waiting = (0..).zip(writes).map(|(number, (scope, write))| Waiting {
            number,
            scope,
            write,
            caller: oneshot::channel().0,
        });
        Queue { waiting: waiting.collect(), ..Queue::default() }
    }

    fn take(queue: &mut Queue) -> Vec<u64> {
        queue.take_group().iter().map(|waiting| waiting.number).collect()
    }

    fn create(scope: Scope) -> (Scope, RoomWrite) {
        (scope, RoomWrite::Create(NewRoom::default()))
    }

    fn delete(id: &str) -> (Scope, RoomWrite) {
        (home(), RoomWrite::Delete(Id::parse(id).unwrap()))
    }

    #[test]
    fn a_group_is_what_has_waited_longest() {
        let mut queue = queue((0..=GROUP_WRITES_MAX).map(|_| create(home())).collect());
        let max = GROUP_WRITES_MAX as u64;
        assert_eq!(take(&mut queue), (0..max).collect::<Vec<_>>());
        assert_eq!(take(&mut queue), [max]);
        assert!(take(&mut queue).is_empty());
    }

    #[test]
    fn a_group_is_of_one_scope() {
        let elsewhere = || scope("123456789012", "eu-west-1");
        let mut queue = queue(vec![create(home()), create(elsewhere()), create(home()), create(elsewhere())]);
        assert_eq!(take(&mut queue), [0, 2]);
        assert_eq!(take(&mut queue), [1, 3]);
    }

    #[test]
    fn a_room_is_in_one_group_at_a_time() {
        let (a, b) = ("aaaaaaaaaaaa", "bbbbbbbbbbbb");
        let mut queue = queue(vec![delete(a), delete(a), delete(b), delete(a)]);
        assert_eq!(take(&mut queue), [0, 2]);
        assert!(take(&mut queue).is_empty(), "both rooms are being written");
        queue.busy.clear();
        assert_eq!(take(&mut queue), [1]);
        queue.busy.clear();
        assert_eq!(take(&mut queue), [3]);
    }
}
