//! The same message again and again, in a room.
//!
//! What counts is the time right before a message, whenever it comes: there is no border between two windows at which the
//! count would begin anew. Memory is fixed: a message has one place in a table, by its hash, and takes it from whoever had it
//! before. So two that share a place may each be forgotten too early, and none is ever taken for another.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Mutex, PoisonError};

use protocol::limit::review::{FLOOD_BYTES, FLOOD_TIMES_MAX};
use serde::Deserialize;

use super::Message;
use super::normal::Normal;

/// Times are kept in tenths of a second: so they last for thirteen years.
const TICK_NANOS: u64 = 100_000_000;
const SECOND_TICKS: u32 = 10;

/// Who sends, as far as that matters here.
#[derive(Deserialize)]
struct Sender<'a> {
    #[serde(rename = "UserId", borrow)]
    user_id: std::borrow::Cow<'a, str>,
}

/// The messages that came last: for each place the hash of one, and when it came, the latest first.
struct Table {
    hashes: Vec<u64>,
    /// In ticks from 1 on; 0: it did not come. There are as many for each place as may come without being a flood.
    times: Vec<u32>,
}

/// See the module.
pub(super) struct Flood {
    times: usize,
    within_ticks: u32,
    of_everybody: bool,
    hasher: RandomState,
    table: Mutex<Table>,
}

impl Flood {
    pub(super) fn new(times: u32, within_seconds: u32, of_everybody: bool) -> Result<Self, String> {
        if !(2..=FLOOD_TIMES_MAX).contains(&times) || within_seconds == 0 {
            return Err(format!("`times` must be from 2 to {FLOOD_TIMES_MAX}, and `within_s` 1 or more"));
        }
        let times = times as usize;
        let places = FLOOD_BYTES / (size_of::<u64>() + (times - 1) * size_of::<u32>());
        let table = Mutex::new(Table { hashes: vec![0; places], times: vec![0; places * (times - 1)] });
        let within_ticks = within_seconds.saturating_mul(SECOND_TICKS);
        Ok(Self { times, within_ticks, of_everybody, hasher: RandomState::new(), table })
    }

    /// Counts the message; whether it has come often enough to be a flood.
    pub(super) fn is_found(&self, message: &Message<'_>, normal: &Normal<'_>, now_nanos: u64) -> bool {
        let hash = self.hash(message, normal);
        let now = u32::try_from(now_nanos / TICK_NANOS).unwrap_or(u32::MAX).saturating_add(1);
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let Table { hashes, times } = &mut *table;
        let place = usize::try_from(hash % hashes.len() as u64).unwrap_or(0);
        let before = &mut times[place * (self.times - 1)..][..self.times - 1];
        if hashes[place] != hash {
            hashes[place] = hash;
            before.fill(0);
        }
        let first = before.last().copied().unwrap_or(0);
        before.rotate_right(1);
        before[0] = now;
        first != 0 && now.saturating_sub(first) < self.within_ticks
    }

    fn hash(&self, message: &Message<'_>, normal: &Normal<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        message.room.hash(&mut hasher);
        normal.text().trim_end().hash(&mut hasher);
        if !self.of_everybody {
            let sender: Option<Sender<'_>> = serde_json::from_str(message.sender).ok();
            sender.as_ref().map(|sender| sender.user_id.as_ref()).hash(&mut hasher);
        }
        hasher.finish()
    }
}
