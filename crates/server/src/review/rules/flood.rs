//! The same message again and again, in a room.
//!
//! Memory is fixed: a message has one place in a table, by its hash, and takes it from whoever had it before. So two that
//! share a place may each be forgotten too early, and none is ever taken for another.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Mutex, PoisonError};

use protocol::limit::review::FLOOD_MESSAGES_MAX;
use serde::Deserialize;

use super::Message;
use super::normal::Normal;

const SECOND_NANOS: u64 = 1_000_000_000;

/// Who sends, as far as that matters here.
#[derive(Deserialize)]
struct Sender<'a> {
    #[serde(rename = "UserId", borrow)]
    user_id: std::borrow::Cow<'a, str>,
}

/// What is known of one message.
#[derive(Clone, Copy, Default)]
struct Seen {
    hash: u64,
    /// When its time began, in seconds.
    since: u32,
    count: u32,
}

/// See the module.
pub(super) struct Flood {
    times: u32,
    within_seconds: u32,
    of_everybody: bool,
    hasher: RandomState,
    table: Mutex<Vec<Seen>>,
}

impl Flood {
    pub(super) fn new(times: u32, within_seconds: u32, of_everybody: bool) -> Result<Self, String> {
        if times < 2 || within_seconds == 0 {
            return Err("`times` must be 2 or more, and `within_s` 1 or more".to_owned());
        }
        let table = Mutex::new(vec![Seen::default(); FLOOD_MESSAGES_MAX]);
        Ok(Self { times, within_seconds, of_everybody, hasher: RandomState::new(), table })
    }

    /// Counts the message; whether it has come often enough to be a flood.
    pub(super) fn is_found(&self, message: &Message<'_>, normal: &Normal<'_>, now_nanos: u64) -> bool {
        let mut hasher = self.hasher.build_hasher();
        message.room.hash(&mut hasher);
        normal.text().trim_end().hash(&mut hasher);
        if !self.of_everybody {
            let sender: Option<Sender<'_>> = serde_json::from_str(message.sender).ok();
            sender.map(|sender| sender.user_id.into_owned()).hash(&mut hasher);
        }
        // Places that nobody has taken have 0.
        let hash = hasher.finish() | 1 << 63;
        let now = u32::try_from(now_nanos / SECOND_NANOS).unwrap_or(u32::MAX);
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let place = usize::try_from(hash % table.len() as u64).unwrap_or(0);
        let seen = &mut table[place];
        if seen.hash != hash || now.saturating_sub(seen.since) >= self.within_seconds {
            *seen = Seen { hash, since: now, count: 0 };
        }
        seen.count = seen.count.saturating_add(1);
        seen.count >= self.times
    }
}
