//! The roll of a home shard: which users have how many connections to the rooms whose home it is, and whom a kick has
//! ended.
//!
//! Every connection is entered when its room's home places it, and struck off when it has left its room. In between its
//! [`Entry`] goes with it: each thing it asks for shows it. Entries are numbered, so "before the kick" and "after it"
//! are a comparison, on whatever shard a connection lives and however long it was on its way there.
//!
//! Invariants: a user's count is the number of its entries that have not been struck off; a kick is remembered as long
//! as one of the entries that it ended has not been struck off, and no longer. So there are never more kicks than
//! connections, and no other limit is needed: a user who is not there leaves no trace, and one who comes back after a
//! kick has a higher number.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

use crate::message::RoomKey;

/// A user of a room, in eight bytes: a hash of both under a key of the home shard's own, so that nobody can choose ids
/// that share one. Of a million users two do with a probability of 1 in 37 million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UserKey(u64);

/// A connection's entry in the roll of its room's home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose connection it is.
    pub user: UserKey,
    /// Later entries of one home shard have higher numbers; the first has 1.
    pub number: u64,
}

/// The latest kick of a user who still has connections from before.
#[derive(Debug)]
struct Kick {
    /// Entries up to this number are ended.
    number: u64,
    /// So many of them have not been struck off.
    entries: u32,
    /// The Close frame with the moderator's reason.
    close_frame: Box<[u8]>,
}

/// By user. Nothing depends on the order, and keys are hashes already.
type ByUser<T> = HashMap<UserKey, T, BuildHasherDefault<DefaultHasher>>;

/// See the module.
#[derive(Debug)]
pub struct Roll {
    /// Has taken in the key.
    keyed: DefaultHasher,
    /// The number of the latest entry.
    latest: u64,
    counts: ByUser<u32>,
    kicks: ByUser<Kick>,
}

impl Roll {
    /// An empty roll whose hashes depend on `seed`.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        let mut keyed = DefaultHasher::new();
        keyed.write(&seed);
        Self { keyed, latest: 0, counts: HashMap::default(), kicks: HashMap::default() }
    }

    /// The key of a user of a room.
    #[must_use]
    pub fn user(&self, room: &RoomKey, user_id: &str) -> UserKey {
        let mut hasher = self.keyed.clone();
        room.hash(&mut hasher);
        user_id.hash(&mut hasher);
        UserKey(hasher.finish())
    }

    /// Enters a connection of the user, and answers how many the user had before.
    pub fn enter(&mut self, user: UserKey) -> (Entry, u32) {
        self.latest += 1;
        let count = self.counts.entry(user).or_insert(0);
        let before = *count;
        *count += 1;
        (Entry { user, number: self.latest }, before)
    }

    /// Strikes off a connection that has left its room.
    pub fn strike_off(&mut self, entry: Entry) {
        if let Some(count) = self.counts.get_mut(&entry.user) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&entry.user);
            }
        }
        if let Some(kick) = self.kicks.get_mut(&entry.user)
            && entry.number <= kick.number
        {
            kick.entries -= 1;
            if kick.entries == 0 {
                self.kicks.remove(&entry.user);
            }
        }
    }

    /// Ends all connections of a user that have been entered up to now: all up to the number in the answer.
    pub fn kick(&mut self, user: UserKey, close_frame: &[u8]) -> u64 {
        if let Some(entries) = self.counts.get(&user).copied() {
            // What an earlier kick has ended this one ends too.
            self.kicks.insert(user, Kick { number: self.latest, entries, close_frame: close_frame.into() });
        }
        self.latest
    }

    /// The Close frame of the kick that has ended this connection, if one has.
    #[must_use]
    pub fn close_frame(&self, entry: Entry) -> Option<&[u8]> {
        let kick = self.kicks.get(&entry.user).filter(|kick| entry.number <= kick.number);
        kick.map(|kick| &*kick.close_frame)
    }

    /// Whether nobody is on the roll, and no kick is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.kicks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::collection::vec;
    use proptest::{prop_assert, prop_assert_eq, proptest};
    use protocol::arn::Scope;
    use protocol::id::Id;

    use super::{Entry, Roll};
    use crate::message::RoomKey;

    fn room(number: u128) -> RoomKey {
        let scope = Scope { account_id: "123456789012".into(), region: "us-west-2".into() };
        RoomKey { scope: Arc::new(scope), id: Id::from_random(number) }
    }

    #[test]
    fn a_user_is_known_by_room_id_and_seed() {
        let roll = Roll::new([1; 32]);
        assert_eq!(roll.user(&room(1), "ann"), roll.user(&room(1), "ann"));
        assert_ne!(roll.user(&room(1), "ann"), roll.user(&room(2), "ann"));
        assert_ne!(roll.user(&room(1), "ann"), roll.user(&room(1), "ben"));
        assert_ne!(roll.user(&room(1), "ann"), Roll::new([2; 32]).user(&room(1), "ann"));
    }

    #[test]
    fn a_kick_ends_what_was_there_and_is_forgotten_with_the_last_of_it() {
        let mut roll = Roll::new([1; 32]);
        let [ann, ben] = ["ann", "ben"].map(|user_id| roll.user(&room(1), user_id));
        let [(old, 0), (other, 0)] = [ann, ben].map(|user| roll.enter(user)) else {
            panic!("nobody is there")
        };
        assert_eq!(roll.kick(ann, b"out"), other.number);
        let (new, before) = roll.enter(ann);
        assert_eq!(before, 1);
        assert_eq!(roll.close_frame(old), Some(b"out".as_slice()));
        assert_eq!((roll.close_frame(new), roll.close_frame(other)), (None, None));
        roll.strike_off(old);
        assert!(roll.kicks.is_empty() && roll.counts.contains_key(&ann));
        roll.strike_off(new);
        roll.strike_off(other);
        roll.kick(ann, b"nobody is there");
        assert!(roll.is_empty());
    }

    proptest! {
        /// Against an oracle that simply keeps all entries and all kicks.
        #[test]
        fn counts_and_kicks_are_those_of_the_entries(steps in vec((0..4_usize, 0..3_usize, 0..20_usize), 0..200)) {
            let mut roll = Roll::new([1; 32]);
            let users: Vec<_> = (0..3).map(|user| roll.user(&room(1), &format!("{user}"))).collect();
            let mut entries: Vec<(Entry, Option<usize>)> = Vec::new();
            for (number, (action, user, choice)) in steps.into_iter().enumerate() {
                let user = users[user];
                match action {
                    0 | 1 => {
                        let had = entries.iter().filter(|(entry, _)| entry.user == user).count();
                        let (entry, before) = roll.enter(user);
                        prop_assert_eq!(before as usize, had);
                        entries.push((entry, None));
                    }
                    2 if !entries.is_empty() => {
                        let (entry, _) = entries.swap_remove(choice % entries.len());
                        roll.strike_off(entry);
                    }
                    _ => {
                        roll.kick(user, number.to_string().as_bytes());
                        let ended = entries.iter_mut().filter(|(entry, _)| entry.user == user);
                        ended.for_each(|(_, kick)| *kick = Some(number));
                    }
                }
                for (entry, kick) in &entries {
                    let expected = kick.map(|number| number.to_string().into_bytes());
                    prop_assert_eq!(roll.close_frame(*entry), expected.as_deref());
                }
                for user in &users {
                    let count = entries.iter().filter(|(entry, _)| entry.user == *user).count();
                    prop_assert_eq!(roll.counts.get(user).map_or(0, |count| *count as usize), count);
                }
                prop_assert!(roll.kicks.len() <= entries.len());
            }
            entries.into_iter().for_each(|(entry, _)| roll.strike_off(entry));
            prop_assert!(roll.is_empty());
        }
    }
}
