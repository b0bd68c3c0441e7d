//! The secret keys that seal chat tokens and page tokens, and their rotation.
//!
//! Promises:
//! - The newest key seals; every key of the ring opens.
//! - A key seals for about [`KEY_SEALS_SECONDS`], and opens for at least [`KEY_OPENS_SECONDS`] after another one took
//!   its place, however late that happened; so no chat token dies before its time.
//! - Of several servers on one store, one rotates; the others learn of the new key when they meet it, or when it would be
//!   their turn.
//! - Keys never show in `Debug`.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use protocol::limit::token::{KEY_LOOK_INTERVAL_MS, KEY_OPENS_SECONDS, KEY_SEALS_SECONDS};
use protocol::time::{Timestamp, UnixMicros};
use protocol::token::TokenKey;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::store::{KeyPurpose, Store, StoreError, StoredKey};

/// How long to wait after the store could not rotate, in seconds.
const RETRY_SECONDS: u64 = 60;

/// The keys of one purpose; clones share them.
#[derive(Clone)]
pub struct KeyRing {
    purpose: KeyPurpose,
    /// Oldest first. Replaced as a whole, so a reader holds the lock only to copy a pointer.
    keys: Arc<RwLock<Arc<[StoredKey]>>>,
    /// When it was last looked for keys that others have made. Whoever looks holds the lock.
    last_look: Arc<Mutex<Option<Instant>>>,
}

impl KeyRing {
    /// Loads the keys of a purpose; makes the first one when there is none.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn load(store: &Store, purpose: KeyPurpose) -> Result<Self, StoreError> {
        let keys: Arc<[StoredKey]> = store.keys(purpose).await?.into();
        Ok(Self { purpose, keys: Arc::new(RwLock::new(keys)), last_look: Arc::default() })
    }

    /// All keys, oldest first.
    #[must_use]
    pub fn keys(&self) -> Arc<[StoredKey]> {
        // A pointer is replaced or it is not: what a panicking thread leaves behind is good.
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// All keys, oldest first, as chat tokens want them: the last one seals.
    #[must_use]
    pub fn token_keys(&self) -> Vec<TokenKey> {
        self.keys().iter().map(|key| TokenKey::new(key.id, key.secret.clone())).collect()
    }

    /// Looks whether another server on the same store has made a key, unless that was done a moment ago.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn look_again(&self, store: &Store) -> Result<(), StoreError> {
        if !store.is_shared() {
            return Ok(());
        }
        let mut last_look = self.last_look.lock().await;
        let interval = Duration::from_millis(KEY_LOOK_INTERVAL_MS);
        if last_look.is_some_and(|time| time.elapsed() < interval) {
            return Ok(());
        }
        self.replace(store.keys(self.purpose).await?);
        *last_look = Some(Instant::now());
        Ok(())
    }

    fn replace(&self, keys: Vec<StoredKey>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
    }

    /// Rotates whenever it is time, until `stop`. May be dropped at any point: the store rotates as a whole or not at
    /// all, and the next start loads what it has.
    pub async fn rotate_until(self, store: Store, stop: CancellationToken) {
        let mut wait = self.time_to_rotation(clock::now());
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            wait = match self.rotate_if_due(&store, clock::now()).await {
                Ok(()) => self.time_to_rotation(clock::now()),
                Err(error) => {
                    tracing::error!(purpose = ?self.purpose, ?error, "keys could not be rotated");
                    Duration::from_secs(RETRY_SECONDS)
                }
            };
        }
    }

    async fn rotate_if_due(&self, store: &Store, now: Timestamp) -> Result<(), StoreError> {
        if !self.time_to_rotation(now).is_zero() {
            return Ok(());
        }
        // Another server may have done it.
        self.replace(store.keys(self.purpose).await?);
        if !self.time_to_rotation(now).is_zero() {
            return Ok(());
        }
        let forget_before = forget_before(&self.keys(), now);
        let keys = store.rotate_key(self.purpose, forget_before).await?;
        tracing::info!(purpose = ?self.purpose, keys = keys.len(), "keys rotated");
        self.replace(keys);
        Ok(())
    }

    fn time_to_rotation(&self, now: Timestamp) -> Duration {
        let made =
            self.keys().last().map_or(Timestamp::default(), |key| Timestamp::from_micros(key.create_time));
        let due = made.plus_seconds(KEY_SEALS_SECONDS);
        Duration::from_nanos(due.as_nanos().saturating_sub(now.as_nanos()))
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<u32> = self.keys().iter().map(|key| key.id).collect();
        formatter
            .debug_struct("KeyRing")
            .field("purpose", &self.purpose)
            .field("ids", &ids)
            .finish_non_exhaustive()
    }
}

/// Keys made before this are of no use any more: the one made then took over long enough ago.
fn forget_before(keys: &[StoredKey], now: Timestamp) -> UnixMicros {
    let long_enough_ago = now.as_nanos().saturating_sub(KEY_OPENS_SECONDS * 1_000_000_000);
    let made = keys.iter().map(|key| key.create_time);
    made.filter(|&time| time <= Timestamp::from_nanos(long_enough_ago).as_micros()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use protocol::time::{Timestamp, UnixMicros};
    use zeroize::Zeroizing;

    use super::{KeyRing, StoredKey, forget_before};
    use crate::clock;
    use crate::store::{KeyPurpose, Location, Store};

    const HOUR: u64 = 3_600;

    #[track_caller]
    fn check(made_hours: &[u64], now_hours: u64, kept_from_hours: u64) {
        let micros = |hours: u64| -> UnixMicros { Timestamp::from_seconds(hours * HOUR).as_micros() };
        let keys: Vec<StoredKey> = made_hours
            .iter()
            .map(|&hours| StoredKey { id: 1, create_time: micros(hours), secret: Zeroizing::new([0; 32]) })
            .collect();
        let forgotten = forget_before(&keys, Timestamp::from_seconds(now_hours * HOUR));
        assert_eq!(forgotten, micros(kept_from_hours), "{made_hours:?} at {now_hours}");
    }

    #[test]
    fn a_key_is_kept_until_its_successor_is_old_enough() {
        check(&[], 100, 0);
        check(&[10], 100, 10);
        check(&[10, 34], 58, 34);
        // The successor is an hour old: what the older key sealed may still be alive.
        check(&[10, 99], 100, 10);
        check(&[10, 98], 100, 98);
    }

    #[tokio::test]
    #[allow(clippy::expect_used, reason = "tests")]
    async fn a_ring_rotates_when_its_newest_key_is_a_day_old() {
        let store = Store::open(&Location::Memory).await.expect("a store in memory");
        let ring = KeyRing::load(&store, KeyPurpose::ChatToken).await.expect("keys");
        let ids = |ring: &KeyRing| ring.keys().iter().map(|key| key.id).collect::<Vec<u32>>();
        let first = ids(&ring);
        assert_eq!(first.len(), 1);
        let now = clock::now();
        ring.rotate_if_due(&store, now.plus_seconds(23 * HOUR)).await.expect("rotation");
        assert_eq!(ids(&ring), first);
        // What the first key has sealed still opens, and every clone of the ring knows the second.
        let clone = ring.clone();
        ring.rotate_if_due(&store, now.plus_seconds(25 * HOUR)).await.expect("rotation");
        assert_eq!((ids(&clone).len(), ids(&clone).first()), (2, first.first()));
        assert_eq!(clone.token_keys().len(), 2);
        let loaded = KeyRing::load(&store, KeyPurpose::ChatToken).await.expect("keys");
        assert_eq!(ids(&loaded), ids(&ring));
        assert!(!format!("{ring:?}").contains("secret"));
    }
}
