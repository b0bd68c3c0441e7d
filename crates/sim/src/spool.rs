//! What shards note in chat logs, as a server keeps it: one log for each logging configuration, in which a record is before its
//! message is published and stays when the node is killed. A log that fails takes nothing; what others have taken of the same
//! record is taken back then, and the room does not publish (`chatlog.on_failure = "refuse"`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hub::chat_log::{ChatLog, Entry, Unlogged};
use protocol::chat_log::encode_record;
use protocol::id::Id;

use crate::bug::Bug;
use crate::dice::Dice;
use crate::frames::member;
use crate::node::CHANGED_CONTENT;

/// All logs of a node; clones share them.
#[derive(Clone, Debug)]
pub struct Spools(Arc<Mutex<Kept>>);

/// What is in them, and what becomes of what is noted.
#[derive(Debug)]
pub struct Kept {
    /// By logging configuration and room: records as they are delivered, in order.
    logs: BTreeMap<(Id, Id), Vec<String>>,
    /// Logs that take nothing before an instant.
    failing: BTreeMap<Id, u64>,
    now: u64,
    /// The node is killed when so many more records have been written.
    writes_left: Option<u64>,
    /// The node was killed while it wrote.
    pub is_killed: bool,
    /// The RequestIds of what was refused.
    pub refused: Vec<String>,
    bug: Option<Bug>,
    dice: Dice,
    /// For a bug: what handlers have changed, as it was said.
    originals: BTreeMap<String, String>,
    /// For a bug: what is not written yet.
    late: Vec<((Id, Id), String)>,
}

impl Spools {
    /// Empty ones.
    #[must_use]
    pub fn new(bug: Option<Bug>, dice: Dice) -> Self {
        Self(Arc::new(Mutex::new(Kept {
            logs: BTreeMap::new(),
            failing: BTreeMap::new(),
            now: 0,
            writes_left: None,
            is_killed: false,
            refused: Vec::new(),
            bug,
            dice,
            originals: BTreeMap::new(),
            late: Vec::new(),
        })))
    }

    /// A shard's way into them.
    #[must_use]
    pub fn chat_log(&self) -> ChatLog {
        let own = self.clone();
        ChatLog::new(move |entry| own.kept().note(entry))
    }

    /// A look at them. Nobody else looks meanwhile.
    pub fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// What a room's log has for a logging configuration.
    #[must_use]
    pub fn log(&self, configuration: Id, room: Id) -> &[String] {
        self.logs.get(&(configuration, room)).map_or(&[], Vec::as_slice)
    }

    /// The rooms of which there is anything, each with its logging configurations and the number of records.
    pub fn lengths(&self) -> impl Iterator<Item = ((Id, Id), usize)> {
        self.logs.iter().map(|(key, log)| (*key, log.len()))
    }

    /// It is now so late.
    pub fn set_now(&mut self, now: u64) {
        self.now = now;
    }

    /// A logging configuration's log takes nothing before an instant.
    pub fn fail(&mut self, configuration: Id, until: u64) {
        self.failing.insert(configuration, until);
    }

    /// The node is to be killed when so many more records have been written.
    pub fn kill_after(&mut self, writes: u64) {
        self.writes_left = Some(writes);
    }

    /// The node is not to be killed after all.
    pub fn spare(&mut self) {
        self.writes_left = None;
    }

    /// The node was killed, and another one has taken its place: what was with the kernel is there.
    pub fn survive(&mut self) {
        (self.is_killed, self.writes_left) = (false, None);
        self.late.clear();
    }

    /// The planted bug: what was said before a handler changed it is kept.
    pub fn remember(&mut self, message_id: String, content: String) {
        if self.bug == Some(Bug::LogOriginals) {
            self.originals.insert(message_id, content);
        }
    }

    /// The planted bug: what was not written before it was published is written now.
    pub fn write_late(&mut self) {
        for (key, record) in std::mem::take(&mut self.late) {
            self.logs.entry(key).or_default().push(record);
        }
    }

    /// The planted bug: of a room that nobody is in, nothing is kept.
    pub fn forget_last(&mut self, room: Id) {
        if self.bug == Some(Bug::ForgetUnheard) {
            let logs = self.logs.iter_mut().filter(|((_, of), _)| *of == room);
            logs.for_each(|(_, log)| drop(log.pop()));
        }
    }

    /// The planted bug: what a room without logging configurations has published is logged.
    pub fn log_unlogged(&mut self, configuration: Id, room: Id, json: &str) {
        if self.strikes(Bug::LogUnlogged, 10) {
            self.logs.entry((configuration, room)).or_default().push(json.to_owned());
        }
    }

    fn strikes(&mut self, bug: Bug, per_mille: u64) -> bool {
        self.bug == Some(bug) && self.dice.chance(per_mille)
    }

    fn note(&mut self, entry: &Entry<'_>) -> Result<(), Unlogged> {
        if self.is_killed {
            return Err(Unlogged);
        }
        let record = self.record(entry);
        let mut written = Vec::new();
        let mut is_refused = false;
        for configuration in entry.configurations.iter() {
            if let Some(left) = &mut self.writes_left {
                let Some(fewer) = left.checked_sub(1) else {
                    self.is_killed = true;
                    return Err(Unlogged);
                };
                *left = fewer;
            }
            if self.failing.get(&configuration).is_some_and(|until| self.now < *until) {
                is_refused = true;
                continue;
            }
            let key = (configuration, entry.room.id);
            self.write(key, record.clone());
            written.push(key);
        }
        if !is_refused {
            return Ok(());
        }
        for key in written {
            if !self.strikes(Bug::KeepRefused, 300) {
                self.logs.entry(key).or_default().pop();
            }
        }
        self.refused.push(member(entry.payload, "RequestId").to_owned());
        Err(Unlogged)
    }

    fn record(&self, entry: &Entry<'_>) -> String {
        let record = encode_record(entry.kind, entry.time, entry.payload);
        match self.originals.get(member(entry.payload, "Id")) {
            Some(original) => record.replace(CHANGED_CONTENT, original),
            None => record,
        }
    }

    fn write(&mut self, key: (Id, Id), record: String) {
        if self.bug == Some(Bug::LogLate) {
            self.late.push((key, record));
            return;
        }
        if self.strikes(Bug::LogTwice, 10) {
            self.logs.entry(key).or_default().push(record.clone());
        }
        let swaps = self.strikes(Bug::SwapRecords, 10);
        let log = self.logs.entry(key).or_default();
        log.push(record);
        if swaps && let [.., before, last] = log.as_mut_slice() {
            std::mem::swap(before, last);
        }
    }
}
