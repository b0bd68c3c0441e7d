//! The rooms that a store is filled with: made from their number alone, so that every fill of a size is the same.
//!
//! Names are shared by many (`lobby`, `general`), by about twenty (`event-...`), by one in a thousand (`launch`), by
//! nobody, or absent. A third of the rooms has a review handler, and each has up to three logging configurations and
//! three tags. Of each condition of ListRooms there is a common and a rare value, and there are two common ones that
//! hardly ever meet: `general` and [`COMMON_HANDLER`].

use protocol::id::Id;
use server::store::{Fallback, NewRoom, ReviewHandlerSetting, RoomFilter, Tags};

/// The handler of most rooms that have one.
const COMMON_HANDLER: &str = "arn:aws:lambda:us-west-2:123456789012:function:review";
/// The handler of the rooms that have one and not the common one.
const OTHER_HANDLER: &str = "arn:aws:lambda:us-west-2:123456789012:function:strict";
/// The handler of one room in about a thousand.
const RARE_HANDLER: &str = "arn:aws:lambda:us-west-2:123456789012:function:trial";
/// Logging configurations; the first is common, the last rare.
pub(super) const LOGGING_CONFIGURATIONS: usize = 10;

/// What rooms are made of beside their number.
#[derive(Clone)]
pub(super) struct Population {
    /// [`LOGGING_CONFIGURATIONS`] ids that exist.
    pub(super) logging_configurations: Vec<Id>,
}

impl Population {
    /// The room of a number.
    #[must_use]
    pub(super) fn room(&self, number: u64) -> NewRoom {
        let mut dice = Dice(number);
        let name = match dice.roll(1_000) {
            0 => "launch".to_owned(),
            1..=50 => "lobby".to_owned(),
            51..=100 => "general".to_owned(),
            101..=400 => format!("event-{}", number / 67),
            401..=450 => String::new(),
            _ => format!("Room number {number}"),
        };
        let handler = match dice.roll(3_000) {
            0..=2 => Some(RARE_HANDLER),
            3..=200 => Some(OTHER_HANDLER),
            // The two hardly ever meet.
            201..=999 if name == "general" && dice.roll(2_500) > 0 => Some(OTHER_HANDLER),
            201..=999 => Some(COMMON_HANDLER),
            _ => None,
        };
        let fallback = if dice.roll(4) == 0 { Fallback::Deny } else { Fallback::Allow };
        NewRoom {
            name,
            message_rate_max: 10,
            message_length_max: 500,
            review_handler: handler.map(|uri| ReviewHandlerSetting { uri: uri.to_owned(), fallback }),
            logging_configurations: self.some_logging_configurations(&mut dice),
            tags: some_tags(&mut dice),
        }
    }

    fn some_logging_configurations(&self, dice: &mut Dice) -> Vec<Id> {
        let mut ids = Vec::new();
        for _ in 0..dice.roll(4) {
            let number = match dice.roll(1_000) {
                0 => LOGGING_CONFIGURATIONS - 1,
                1..=500 => 0,
                other => 1 + other % (LOGGING_CONFIGURATIONS - 2),
            };
            let id = self.logging_configurations[number];
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids
    }

    /// Every combination of conditions that is measured, with its name.
    #[must_use]
    pub(super) fn filters(&self) -> Vec<(&'static str, RoomFilter)> {
        let (common, rare) = (self.logging_configurations[0], self.logging_configurations[9]);
        let filter = |name: Option<&str>, handler: Option<&str>, logging_configuration| RoomFilter {
            name: name.map(str::to_owned),
            review_handler_uri: handler.map(str::to_owned),
            logging_configuration,
        };
        vec![
            ("none", filter(None, None, None)),
            ("name, common", filter(Some("lobby"), None, None)),
            ("name, rare", filter(Some("launch"), None, None)),
            ("handler, common", filter(None, Some(COMMON_HANDLER), None)),
            ("handler, rare", filter(None, Some(RARE_HANDLER), None)),
            ("logging, common", filter(None, None, Some(common))),
            ("logging, rare", filter(None, None, Some(rare))),
            ("name and handler, common", filter(Some("lobby"), Some(COMMON_HANDLER), None)),
            ("name and handler that hardly meet", filter(Some("general"), Some(COMMON_HANDLER), None)),
            ("name and logging, common", filter(Some("lobby"), None, Some(common))),
            ("handler and logging, common", filter(None, Some(COMMON_HANDLER), Some(common))),
            ("all three, common", filter(Some("lobby"), Some(COMMON_HANDLER), Some(common))),
            ("all three, hardly meeting", filter(Some("general"), Some(COMMON_HANDLER), Some(common))),
        ]
    }
}

fn some_tags(dice: &mut Dice) -> Tags {
    let wanted = [("team", "live"), ("stage", "production"), ("cost-centre", "4711")];
    let count = if dice.roll(3) == 0 { 1 + dice.roll(3) } else { 0 };
    wanted.iter().take(count).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Numbers that look random and depend on nothing but the first one (SplitMix64).
struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    fn roll(&mut self, sides: u64) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % sides).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use protocol::id::Id;

    use super::{LOGGING_CONFIGURATIONS, Population};

    #[test]
    fn every_condition_has_common_and_rare_values() {
        let ids = (0..LOGGING_CONFIGURATIONS as u128).map(|number| Id::from_random(number << 64 | number));
        let population = Population { logging_configurations: ids.collect() };
        let mut found: HashMap<&str, u32> = HashMap::new();
        for number in 0..100_000 {
            let room = population.room(number);
            for (name, filter) in population.filters() {
                let handler = room.review_handler.as_ref().map(|handler| &handler.uri);
                let fits = filter.name.as_ref().is_none_or(|name| *name == room.name)
                    && filter.review_handler_uri.as_ref().is_none_or(|uri| Some(uri) == handler)
                    && filter
                        .logging_configuration
                        .is_none_or(|id| room.logging_configurations.contains(&id));
                *found.entry(name).or_default() += u32::from(fits);
            }
        }
        let expected = [
            ("none", 100_000..=100_000),
            ("name, common", 4_000..=6_000),
            ("name, rare", 50..=150),
            ("handler, common", 22_000..=28_000),
            ("handler, rare", 50..=150),
            ("logging, common", 40_000..=60_000),
            ("logging, rare", 50..=300),
            ("name and handler, common", 1_000..=1_700),
            ("name and handler that hardly meet", 0..=10),
            ("all three, common", 400..=1_000),
        ];
        for (name, range) in expected {
            assert!(range.contains(&found[name]), "{name}: {}", found[name]);
        }
    }
}
