//! Writes of rooms, several in one transaction, and the postings kept in step with them.
//!
//! The first exchange with the database locks and reads what the writes need; each is then decided upon, and what is refused
//! has changed nothing; the second exchange changes the rows, those of all writes in the same statements (new tags aside, which have one a room).
//!
//! Who changes a room locks its row first, so changes of one room come one after the other. Who gives a room logging
//! configurations locks theirs against being deleted. Rooms are locked before logging configurations, always, and several
//! of either in the order of their ids.
//!
//! A group does not wait for others who have locked what one of its writes needs: it leaves that write over, which is then
//! done alone, and waits. So nobody is held up by what others do to somebody else's room. What is missing is left over too,
//! since it looks the same, and so are all writes of a group of which the database has refused one.

use std::collections::{BTreeSet, HashMap, HashSet};

use deadpool_postgres::Client;
use protocol::arn::Scope;
use protocol::id::Id;

use super::super::change::TagChange;
use super::super::random::random_id;
use super::super::{NewRoom, OrderKey, Room, RoomChange, StoreError};
use super::failure::{Failure, Unreadable};
use super::order::next_room_order_keys;
use super::pipeline::{Step, Transaction};
use super::{logging_configurations, news, posting, rooms, row};

/// What somebody wants to be done to a room.
pub(super) enum RoomWrite {
    /// All its logging configurations must exist.
    Create(NewRoom),
    /// It moves to the head of every list that it is in.
    Update(Id, RoomChange),
    /// It stays where it is.
    ChangeTags(Id, TagChange),
    Delete(Id),
}

impl RoomWrite {
    /// The room that must be there.
    pub(super) fn room(&self) -> Option<&Id> {
        match self {
            Self::Create(_) => None,
            Self::Update(id, _) | Self::ChangeTags(id, _) | Self::Delete(id) => Some(id),
        }
    }

    /// Those that the room gets.
    fn logging_configurations(&self) -> &[Id] {
        match self {
            Self::Create(new) => &new.logging_configurations,
            Self::Update(_, change) => change.logging_configurations.as_deref().unwrap_or_default(),
            Self::ChangeTags(..) | Self::Delete(_) => &[],
        }
    }

    fn needs_order_key(&self) -> bool {
        matches!(self, Self::Create(_) | Self::Update(..))
    }
}

/// What became of a write.
pub(super) enum Outcome {
    Created(Room),
    Updated {
        before: Room,
        after: Room,
    },
    /// The room with its new tags.
    Tagged(Room),
    /// The room as it was.
    Deleted(Room),
    Refused(StoreError),
    /// It has not been done, and is to be done alone.
    LeftOver,
}

/// Whether somebody waits for what others have locked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// A group: it leaves over what it would have to wait for.
    None,
    /// A write that is done alone.
    Waits,
}

/// Does writes of different rooms of one scope. Answers what became of each, when that is on disk.
pub(super) async fn write(
    client: Client,
    scope: &Scope,
    writes: &[&RoomWrite],
    patience: Patience,
) -> Result<Vec<Outcome>, Failure> {
    let (transaction, known) = Known::begin(client, scope, writes, patience).await?;
    let outcomes = known.decide(scope, writes);
    match end(transaction, scope, &outcomes).await {
        Ok(()) => Ok(outcomes),
        // It cannot be said which of them it is about.
        Err(Failure::Unacceptable(_)) if patience == Patience::None => {
            Ok(writes.iter().map(|_| Outcome::LeftOver).collect())
        }
        Err(failure) => Err(failure),
    }
}

async fn end(transaction: Transaction, scope: &Scope, outcomes: &[Outcome]) -> Result<(), Failure> {
    let steps = Changes::of(outcomes).steps(transaction.client()?, scope).await?;
    if steps.is_empty() { transaction.roll_back().await } else { transaction.commit(steps).await }
}

/// What writes have to know, and have locked.
struct Known {
    /// Of whoever locked it.
    patience: Patience,
    rooms: HashMap<Id, Result<Room, Unreadable>>,
    logging_configurations: HashSet<Id>,
    /// Of those from here on.
    next_order_key: OrderKey,
}

impl Known {
    async fn begin(
        client: Client,
        scope: &Scope,
        writes: &[&RoomWrite],
        patience: Patience,
    ) -> Result<(Transaction, Self), Failure> {
        // All who lock several do so in one order, so none has what another one waits for.
        let rooms: BTreeSet<&str> = writes.iter().filter_map(|write| write.room().map(Id::as_str)).collect();
        let rooms: Vec<&str> = rooms.into_iter().collect();
        let logging_configurations: BTreeSet<&str> =
            writes.iter().flat_map(|write| write.logging_configurations()).map(Id::as_str).collect();
        let logging_configurations: Vec<&str> = logging_configurations.into_iter().collect();
        let order_keys = writes.iter().filter(|write| write.needs_order_key()).count();
        let needs = [!rooms.is_empty(), !logging_configurations.is_empty(), order_keys > 0];
        let mut steps = Vec::new();
        if needs[0] {
            steps.push(rooms::lock(&client, scope, rooms, patience).await?);
        }
        if needs[1] {
            steps.push(logging_configurations::hold(&client, scope, logging_configurations, patience).await?);
        }
        // Last: the clock is read, and the head of the list looked at, when whoever was there before has finished.
        if needs[2] {
            steps.push(next_room_order_keys(&client, scope, order_keys).await?);
        }
        let (transaction, answers) = Transaction::begin(client, steps).await?;
        let mut answers = answers.into_iter();
        let [locked, held, first] =
            needs.map(|is_needed| if is_needed { answers.next().unwrap_or_default() } else { Vec::new() });
        let known = Self {
            patience,
            rooms: locked
                .iter()
                .map(|found| Ok((row::id(found, "id")?, row::room(found, scope.clone()))))
                .collect::<Result<_, Unreadable>>()?,
            logging_configurations: held
                .iter()
                .map(|found| row::id(found, "id"))
                .collect::<Result<_, Unreadable>>()?,
            next_order_key: first.first().map_or(Ok(0), |row| row.try_get(0))?,
        };
        Ok((transaction, known))
    }

    /// In the order of the writes, which is that of their order keys.
    fn decide(mut self, scope: &Scope, writes: &[&RoomWrite]) -> Vec<Outcome> {
        writes
            .iter()
            .map(|write| match self.decide_one(scope, write) {
                Ok(outcome) => outcome,
                Err(StoreError::RoomNotFound(_) | StoreError::LoggingConfigurationNotFound(_))
                    if self.patience == Patience::None =>
                {
                    Outcome::LeftOver
                }
                Err(refusal) => Outcome::Refused(refusal),
            })
            .collect()
    }

    fn decide_one(&mut self, scope: &Scope, write: &RoomWrite) -> Result<Outcome, StoreError> {
        Ok(match write {
            RoomWrite::Create(new) => {
                self.require(&new.logging_configurations)?;
                Outcome::Created(new.clone().into_room(scope, random_id()?, self.take_order_key()))
            }
            RoomWrite::Update(id, change) => {
                let before = self.take_room(*id)?;
                self.require(write.logging_configurations())?;
                let mut after = before.clone();
                after.apply(change.clone());
                after.order_key = self.take_order_key();
                Outcome::Updated { before, after }
            }
            RoomWrite::ChangeTags(id, change) => {
                let mut room = self.take_room(*id)?;
                room.tags = change.clone().apply(*id, room.tags)?;
                Outcome::Tagged(room)
            }
            RoomWrite::Delete(id) => Outcome::Deleted(self.take_room(*id)?),
        })
    }

    fn take_room(&mut self, id: Id) -> Result<Room, StoreError> {
        Ok(self.rooms.remove(&id).ok_or(StoreError::RoomNotFound(id))??)
    }

    /// Refuses what is not there.
    fn require(&self, logging_configurations: &[Id]) -> Result<(), StoreError> {
        match logging_configurations.iter().find(|id| !self.logging_configurations.contains(id)) {
            Some(&missing) => Err(StoreError::LoggingConfigurationNotFound(missing)),
            None => Ok(()),
        }
    }

    fn take_order_key(&mut self) -> OrderKey {
        self.next_order_key += 1;
        self.next_order_key - 1
    }
}

/// What outcomes mean for the tables.
#[derive(Default)]
struct Changes<'a> {
    created: Vec<&'a Room>,
    /// As they are now.
    replaced: Vec<&'a Room>,
    deleted: Vec<&'a Room>,
    /// As they were: no list shows that any more.
    unlisted: Vec<&'a Room>,
    /// New in all their lists.
    listed: Vec<&'a Room>,
    /// Where they were in all their lists.
    retagged: Vec<&'a Room>,
    /// What other servers want to know.
    noted: Vec<&'a Room>,
}

impl<'a> Changes<'a> {
    fn of(outcomes: &'a [Outcome]) -> Self {
        let mut changes = Self::default();
        for outcome in outcomes {
            match outcome {
                Outcome::Created(room) => {
                    changes.created.push(room);
                    changes.listed.push(room);
                }
                Outcome::Updated { before, after } => {
                    changes.replaced.push(after);
                    changes.unlisted.push(before);
                    changes.listed.push(after);
                    changes.noted.push(after);
                }
                Outcome::Tagged(room) => {
                    changes.replaced.push(room);
                    changes.retagged.push(room);
                }
                Outcome::Deleted(room) => {
                    changes.deleted.push(room);
                    changes.unlisted.push(room);
                    changes.noted.push(room);
                }
                Outcome::Refused(_) | Outcome::LeftOver => {}
            }
        }
        changes
    }

    async fn steps(self, client: &Client, scope: &'a Scope) -> Result<Vec<Step<'a>>, Failure> {
        let mut steps = Vec::new();
        if !self.created.is_empty() {
            steps.push(rooms::insert(client, &self.created).await?);
        }
        if !self.replaced.is_empty() {
            steps.push(rooms::replace(client, &self.replaced).await?);
        }
        if !self.deleted.is_empty() {
            steps.push(rooms::delete(client, scope, &self.deleted).await?);
        }
        if !self.unlisted.is_empty() {
            steps.push(posting::delete(client, &self.unlisted).await?);
        }
        if !self.listed.is_empty() {
            steps.push(posting::insert(client, &self.listed).await?);
        }
        for room in self.retagged {
            steps.push(posting::update(client, room).await?);
        }
        if !self.noted.is_empty() {
            steps.push(news::add(client, scope, &self.noted).await?);
        }
        Ok(steps)
    }
}
