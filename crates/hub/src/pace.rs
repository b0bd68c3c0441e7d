//! How often users join, so that joins in a hot loop can be slowed down. A broken application that opens a connection
//! whenever one ends would otherwise do so hundreds of times a second, and refusing makes official SDKs give up.
//!
//! Promises: a user who joins a room at most [`JOIN_BURST`] times at once, and not more than [`JOINS_PER_SECOND`] for
//! long, is never slowed down; nobody for longer than [`JOIN_HOLD_MS_MAX`]; a user is remembered for less than ten
//! seconds after the last join, and at most [`JOIN_PACES_MAX`] users are.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

use protocol::limit::edge::{JOIN_BURST, JOIN_HOLD_MS_MAX, JOIN_PACES_MAX, JOINS_PER_SECOND};

use crate::MILLISECOND_NANOS;
use crate::rate::Rate;
use crate::roll::UserKey;

/// See the module.
#[derive(Debug, Default)]
pub struct JoinPaces(HashMap<UserKey, Rate, BuildHasherDefault<DefaultHasher>>);

impl JoinPaces {
    /// Counts a join, and answers for how many milliseconds to hold its greeting.
    pub fn delay_ms(&mut self, now_nanos: u64, user: UserKey) -> u64 {
        if self.0.len() >= JOIN_PACES_MAX && !self.0.contains_key(&user) {
            return 0;
        }
        let rate = self.0.entry(user).or_default();
        let wait_nanos_max = JOIN_HOLD_MS_MAX * MILLISECOND_NANOS;
        rate.delay(now_nanos, JOINS_PER_SECOND, JOIN_BURST, wait_nanos_max).div_ceil(MILLISECOND_NANOS)
    }

    /// Forgets those who have not joined lately, and gives back the memory of a crowd.
    pub fn forget_idle(&mut self, now_nanos: u64) {
        self.0.retain(|_, rate| !rate.is_idle(now_nanos));
        self.0.shrink_to(2 * self.0.len());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use protocol::arn::Scope;
    use protocol::id::Id;
    use protocol::limit::edge::{JOIN_BURST, JOIN_PACES_MAX};

    use super::JoinPaces;
    use crate::SECOND_NANOS;
    use crate::message::RoomKey;
    use crate::roll::{Roll, UserKey};

    fn users(count: usize) -> Vec<UserKey> {
        let scope = Scope { account_id: "123456789012".into(), region: "us-west-2".into() };
        let room = RoomKey { scope: Arc::new(scope), id: Id::from_random(1) };
        let roll = Roll::new([1; 32]);
        (0..count).map(|number| roll.user(&room, &number.to_string())).collect()
    }

    #[test]
    fn only_so_many_users_are_remembered_and_not_for_long() {
        let users = users(JOIN_PACES_MAX + 1);
        let mut paces = JoinPaces::default();
        for user in &users {
            assert_eq!(paces.delay_ms(1, *user), 0);
        }
        assert_eq!(paces.0.len(), JOIN_PACES_MAX);
        let (first, last) = (users[0], users[JOIN_PACES_MAX]);
        for _ in 1..JOIN_BURST {
            assert_eq!(paces.delay_ms(1, first), 0);
        }
        assert_eq!(paces.delay_ms(1, first), 100);
        for _ in 0..100 {
            assert_eq!(paces.delay_ms(1, last), 0, "there is no room to remember this one");
        }
        paces.forget_idle(SECOND_NANOS);
        assert_eq!(paces.0.len(), 1);
        paces.forget_idle(10 * SECOND_NANOS);
        assert_eq!(paces.0.capacity(), 0);
    }
}
