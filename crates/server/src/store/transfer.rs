//! The way of a whole store into another one, whatever the engines of the two are.
//!
//! Promises:
//! - The new store is there when all is in it, and on disk; until then there is none, whatever goes wrong. A place that
//!   has one is refused.
//! - The old one is read as it is at one moment, and not changed.
//! - However much it keeps, a few batches of it are in memory (and the used chat tokens of a folder, as in its server).
//!
//! Who reads sends batches through a bounded queue and ends with [`Batch::End`]; [`copy`] counts what passes, and lets the
//! end pass only when as much has come as the reader had announced; who writes makes the store be there only at the end.
//! Postings are not sent: they follow from the rooms, and whoever writes a room makes them as always.

use std::fmt;

use protocol::limit::transfer::BATCHES_WAITING_MAX;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::redemption::BucketEnd;
use super::{KeyPurpose, Location, LoggingConfiguration, OrderKey, Room, Store, StoreError, StoredKey};

/// All that there are secret keys for.
pub(super) const KEY_PURPOSES: [KeyPurpose; 2] = [KeyPurpose::ChatToken, KeyPurpose::PageToken];

/// How much a store keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Contents {
    /// Rooms of all scopes.
    pub rooms: u64,
    /// Logging configurations of all scopes.
    pub logging_configurations: u64,
    /// Secret keys of all purposes.
    pub keys: u64,
    /// Chat tokens that were used. A store forgets them some time after they have expired.
    pub used_tokens: u64,
}

impl Contents {
    fn count(&mut self, batch: &Batch) {
        match batch {
            Batch::LoggingConfigurations(entries) => self.logging_configurations += entries.len() as u64,
            Batch::Rooms(rooms) => self.rooms += rooms.len() as u64,
            Batch::Keys(_, keys) => self.keys += keys.len() as u64,
            Batch::UsedTokens(_, token_ids) => self.used_tokens += token_ids.len() as u64,
            Batch::Contents(_) | Batch::OrderClock(_) | Batch::End => {}
        }
    }
}

impl fmt::Display for Contents {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rooms, logging_configurations, keys, used_tokens } = self;
        write!(
            formatter,
            "{rooms} rooms, {logging_configurations} logging configurations, {keys} secret keys and \
             {used_tokens} used chat tokens"
        )
    }
}

/// A part of what a store keeps.
pub(super) enum Batch {
    /// How much is to come. Always the first.
    Contents(Contents),
    /// These come before the rooms that have them.
    LoggingConfigurations(Vec<LoggingConfiguration>),
    /// With whatever they are made of, order keys and times included.
    Rooms(Vec<Room>),
    /// Of one purpose, with their numbers.
    Keys(KeyPurpose, Vec<StoredKey>),
    /// Ids of tokens that expire in one bucket. Whose they were when they were used is not told: nobody waits for the
    /// answer any more.
    UsedTokens(BucketEnd, Vec<u128>),
    /// The last order key that was given out; only of a store that keeps it, and only for one that does.
    OrderClock(OrderKey),
    /// That was all.
    End,
}

/// See [`Store::copy_to`].
pub(super) async fn copy(
    source: &Store,
    target: &Location,
    progress: impl FnMut(&Contents, &Contents),
) -> Result<Contents, StoreError> {
    let (export, exported) = channel(BATCHES_WAITING_MAX);
    let (import, imported) = channel(BATCHES_WAITING_MAX);
    let reading = Box::pin(source.export(export));
    let writing = Box::pin(Store::import(target, imported));
    let (read, passed, written) = tokio::join!(reading, pass_on(exported, import, progress), writing);
    let Passed { contents, is_wanted } = passed?;
    // Who gives up first makes the other one give up, and only the first knows why.
    if is_wanted { read.and(written) } else { written.and(read) }.map(|()| contents)
}

/// What has passed from one store to another.
struct Passed {
    contents: Contents,
    /// Whether it was taken as long as there was any.
    is_wanted: bool,
}

/// Counts what passes, and has `progress` know how much that is, and of how much.
async fn pass_on(
    mut exported: Receiver<Batch>,
    import: Sender<Batch>,
    mut progress: impl FnMut(&Contents, &Contents),
) -> Result<Passed, StoreError> {
    let (mut contents, mut announced) = (Contents::default(), Contents::default());
    while let Some(batch) = exported.recv().await {
        match &batch {
            Batch::Contents(all) => announced = *all,
            Batch::End if contents != announced => {
                let cause = format!("there are {announced}, and only {contents} could be read");
                return Err(StoreError::unavailable(cause));
            }
            batch => contents.count(batch),
        }
        progress(&contents, &announced);
        if import.send(batch).await.is_err() {
            return Ok(Passed { contents, is_wanted: false });
        }
    }
    Ok(Passed { contents, is_wanted: true })
}

/// Why no store is copied to memory.
pub(super) fn kept_nowhere() -> StoreError {
    StoreError::unavailable("a store at `memory:` is nowhere but in its server, and ends with it")
}

/// What a reader is told that reads for nobody.
pub(super) fn unwanted<T>(_: T) -> StoreError {
    StoreError::unavailable("nobody takes any more what is read")
}

/// What a writer says whose batches ended before [`Batch::End`].
pub(super) fn cut_off() -> StoreError {
    StoreError::unavailable("the copy was cut off")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Batch, Contents, channel, pass_on};

    #[tokio::test]
    async fn the_end_passes_only_when_as_much_has_come_as_was_announced() {
        for (announced, is_whole) in [(2, true), (3, false), (1, false)] {
            let (export, exported) = channel(8);
            let (import, mut imported) = channel(8);
            let all = Contents { used_tokens: announced, ..Contents::default() };
            for batch in [Batch::Contents(all), Batch::UsedTokens(600, vec![1, 2]), Batch::End] {
                export.send(batch).await.ok().unwrap();
            }
            drop(export);
            let mut heard = Vec::new();
            let passed =
                pass_on(exported, import, |done, all| heard.push((done.used_tokens, all.used_tokens))).await;
            assert_eq!(passed.is_ok(), is_whole, "{announced}");
            let mut has_ended = false;
            while let Some(batch) = imported.recv().await {
                has_ended = matches!(batch, Batch::End);
            }
            assert_eq!(has_ended, is_whole, "{announced}");
            assert_eq!(heard[..2], [(0, announced), (2, announced)]);
        }
    }
}
