//! The home of a room: its sequencer.
//!
//! Everything that a room publishes passes here, on one shard, whatever socket or operation it comes from. So ids,
//! times, the room's rate and the order that all receivers see need no lock.
//!
//! A home lives while the room has members on this node, and a little longer while its rate remembers something.

use std::sync::Arc;

use protocol::limit::edge::HOME_SHARD_MEMBERS_MAX;
use protocol::messaging::Action;

use crate::account::AccountRates;
use crate::inspect::HomeFigures;
use crate::message::{RoomSettings, ShardIndex, ShardSet};
use crate::rate::Rate;
use crate::review::Reviews;
use crate::traffic::Traffic;

/// The sequencer's state of one room.
#[derive(Debug)]
pub struct Home {
    settings: RoomSettings,
    /// The store has confirmed the settings since this home was made, or since they were in doubt: none was missed
    /// meanwhile.
    confirmed: bool,
    deleted: bool,
    rate: Rate,
    /// Shared with the account's other rooms.
    account: Option<Arc<AccountRates>>,
    /// How many members each shard has, by its index.
    members: Box<[u32]>,
    /// What it has published.
    pub traffic: Traffic,
    /// Messages under review.
    pub(crate) reviews: Reviews,
}

impl Home {
    /// A home for a room that has none on this node of `shards` shards. Its settings may already be out of date, so
    /// they are to be read again now that updates are heard of.
    #[must_use]
    pub fn new(settings: RoomSettings, account: Option<Arc<AccountRates>>, shards: ShardIndex) -> Self {
        Self {
            settings,
            confirmed: false,
            deleted: false,
            rate: Rate::default(),
            account,
            members: vec![0; usize::from(shards)].into(),
            traffic: Traffic::default(),
            reviews: Reviews::default(),
        }
    }

    /// Takes new settings unless those in force are newer.
    pub fn change(&mut self, settings: RoomSettings) {
        self.confirmed = true;
        if settings.version >= self.settings.version {
            self.settings = settings;
        }
    }

    /// Newer settings may have been missed.
    pub fn doubt(&mut self) {
        // A room that is gone does not come back.
        self.confirmed = self.deleted;
    }

    /// The room is gone for good: ids are never used again.
    pub fn delete(&mut self) {
        self.confirmed = true;
        self.deleted = true;
    }

    /// The settings in force; `None` when the room was deleted.
    #[must_use]
    pub fn settings(&self) -> Option<&RoomSettings> {
        (!self.deleted).then_some(&self.settings)
    }

    /// Whether the settings still have to be read again.
    #[must_use]
    pub fn is_unconfirmed(&self) -> bool {
        !self.confirmed
    }

    /// Admits an action under the rates that there are for it, or not: messages have the room's own, and every action
    /// may have one of the account's.
    pub fn admit(&mut self, now_nanos: u64, action: &Action) -> bool {
        let is_message = matches!(action, Action::SendMessage { .. });
        (!is_message || self.rate.admit(now_nanos, self.settings.message_rate_max))
            && self.account.as_ref().is_none_or(|account| account.of(action).admit(now_nanos))
    }

    /// Chooses the shard for a new member and counts it there: the home shard while the room is small, so that a
    /// message touches one thread; later the shard that has the fewest.
    pub fn place(&mut self, home: ShardIndex) -> ShardIndex {
        let total: u32 = self.members.iter().sum();
        let shard = if total < HOME_SHARD_MEMBERS_MAX {
            home
        } else {
            let fewest = self.members.iter().enumerate().min_by_key(|(_, count)| **count);
            fewest.and_then(|(shard, _)| ShardIndex::try_from(shard).ok()).unwrap_or(home)
        };
        self.enter(shard);
        shard
    }

    /// Counts a member on `shard`.
    pub fn enter(&mut self, shard: ShardIndex) {
        if let Some(count) = self.members.get_mut(usize::from(shard)) {
            *count += 1;
        }
    }

    /// A member of `shard` has left.
    pub fn leave(&mut self, shard: ShardIndex) {
        if let Some(count) = self.members.get_mut(usize::from(shard)) {
            *count = count.saturating_sub(1);
        }
    }

    /// How the room stands.
    #[must_use]
    pub fn figures(&self, now_nanos: u64) -> HomeFigures {
        HomeFigures {
            members: self.members.iter().copied().map(u64::from).sum(),
            frames: self.traffic.frames(),
            frames_per_second: self.traffic.frames_per_second(now_nanos),
            message_rate_max: self.settings.message_rate_max,
            is_deleted: self.deleted,
        }
    }

    /// The shards that have members.
    #[must_use]
    pub fn audience(&self) -> ShardSet {
        let mut set = ShardSet::default();
        for (shard, count) in self.members.iter().enumerate() {
            if *count > 0 {
                set.insert(ShardIndex::try_from(shard).unwrap_or(0));
            }
        }
        set
    }

    /// Whether nothing would be lost without this home.
    #[must_use]
    pub fn is_idle(&self, now_nanos: u64) -> bool {
        self.members.iter().all(|count| *count == 0)
            && self.reviews.is_empty()
            && self.rate.is_idle(now_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::Home;
    use crate::chat_log::LoggingConfigurations;
    use crate::message::RoomSettings;

    fn settings(version: i64) -> RoomSettings {
        RoomSettings {
            version,
            message_length_max: 500,
            message_rate_max: 10,
            review: None,
            logging_configurations: LoggingConfigurations::default(),
        }
    }

    #[test]
    fn older_settings_never_win_and_a_deleted_room_stays_so() {
        let mut home = Home::new(settings(5), None, 2);
        assert!(home.is_unconfirmed());
        home.change(settings(4));
        assert_eq!(home.settings(), Some(&settings(5)));
        home.change(settings(6));
        assert_eq!(home.settings(), Some(&settings(6)));
        home.delete();
        home.change(settings(7));
        assert_eq!(home.settings(), None);
    }

    #[test]
    fn a_small_room_stays_at_home_and_a_big_one_spreads() {
        let mut home = Home::new(settings(0), None, 2);
        for _ in 0..256 {
            assert_eq!(home.place(1), 1);
        }
        for _ in 0..256 {
            assert_eq!(home.place(1), 0);
        }
        assert!(home.audience().contains(0) && home.audience().contains(1));
        for _ in 0..256 {
            home.leave(0);
            home.leave(1);
        }
        assert!(home.is_idle(0));
    }
}
