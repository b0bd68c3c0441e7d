//! What accounts have used of their quotas: the limits profile `aws`. In the others there are no [`Quotas`] at all.
//!
//! Promises:
//! - Each account has its own quotas in each region, and each operation its own rate.
//! - A rate is a bucket that holds one second's worth and is refilled evenly.
//! - What is remembered is bounded: at most [`ACCOUNTS_MAX`] accounts times regions; see there.
//!
//! Everything is of this process: it begins anew with each start, and other nodes count for themselves.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hub::account::AccountRates;
use hub::rate::SharedRate;
use protocol::arn::Scope;
use protocol::operation::Operation;
use protocol::quota::{ACCOUNTS_MAX, AdjustableQuotas, requests_per_second};
use tokio::sync::{MutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::clock;

/// The quotas of all accounts.
pub struct Quotas {
    figures: AdjustableQuotas,
    allowances: Mutex<HashMap<Scope, Arc<Allowance>>>,
    /// For those who come when there is no room for one of their own.
    crowd: Arc<Allowance>,
}

/// What one account may do in one region, and how much of it is left.
pub struct Allowance {
    figures: AdjustableQuotas,
    /// By [`Operation::number`].
    requests: [SharedRate; Operation::ALL.len()],
    rates: Arc<AccountRates>,
    connections: Arc<Semaphore>,
    creation: tokio::sync::Mutex<()>,
}

/// A chat connection that counts towards its account's quota until it is dropped.
pub struct ConnectionPlace(#[expect(dead_code, reason = "held for its end")] OwnedSemaphorePermit);

impl Quotas {
    /// Nothing has been used yet.
    #[must_use]
    pub fn new(figures: AdjustableQuotas) -> Self {
        Self { figures, allowances: Mutex::default(), crowd: Arc::new(Allowance::new(figures)) }
    }

    /// What the account of `scope` is allowed in its region.
    #[must_use]
    pub fn allowance(&self, scope: &Scope) -> Arc<Allowance> {
        let mut allowances = self.allowances.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = allowances.get(scope) {
            return Arc::clone(known);
        }
        if allowances.len() >= ACCOUNTS_MAX {
            let now_nanos = clock::monotonic_nanos();
            allowances.retain(|_, allowance| !allowance.is_unused(now_nanos));
        }
        if allowances.len() >= ACCOUNTS_MAX {
            return Arc::clone(&self.crowd);
        }
        let allowance = Arc::new(Allowance::new(self.figures));
        allowances.insert(scope.clone(), Arc::clone(&allowance));
        allowance
    }
}

impl Allowance {
    fn new(figures: AdjustableQuotas) -> Self {
        let connections = usize::try_from(figures.connections).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            figures,
            requests: Operation::ALL.map(|operation| SharedRate::new(requests_per_second(operation))),
            rates: Arc::new(AccountRates::new(&figures)),
            connections: Arc::new(Semaphore::new(connections)),
            creation: tokio::sync::Mutex::default(),
        }
    }

    /// Admits a request at `now` (nanoseconds of [`clock::monotonic_nanos`]).
    ///
    /// # Errors
    /// The rate that is used up, in requests per second.
    pub fn admit(&self, operation: Operation, now_nanos: u64) -> Result<(), u32> {
        admit(&self.requests[operation.number()], now_nanos)?;
        match operation {
            Operation::DeleteMessage => admit(self.rates.delete_message(), now_nanos),
            Operation::DisconnectUser => admit(self.rates.disconnect_user(), now_nanos),
            _ => Ok(()),
        }
    }

    /// The rates of what happens in the account's rooms.
    #[must_use]
    pub fn rates(&self) -> &Arc<AccountRates> {
        &self.rates
    }

    /// A place for one more chat connection; `None` when there are as many as may be.
    #[must_use]
    pub fn connect(&self) -> Option<ConnectionPlace> {
        Arc::clone(&self.connections).try_acquire_owned().ok().map(ConnectionPlace)
    }

    /// Waits for its turn to create something that is counted: between counting and creating nobody else may. Others
    /// wait until the guard is dropped.
    pub async fn creation(&self) -> MutexGuard<'_, ()> {
        self.creation.lock().await
    }

    /// The quotas that AWS would raise on request.
    #[must_use]
    pub fn figures(&self) -> &AdjustableQuotas {
        &self.figures
    }

    /// Whether a new one would allow just the same.
    fn is_unused(self: &Arc<Self>, now_nanos: u64) -> bool {
        Arc::strong_count(self) == 1
            && Arc::strong_count(&self.rates) == 1
            && Arc::strong_count(&self.connections) == 1
            && self.requests.iter().all(|rate| rate.is_idle(now_nanos))
            && self.rates.is_idle(now_nanos)
    }
}

fn admit(rate: &SharedRate, now_nanos: u64) -> Result<(), u32> {
    if rate.admit(now_nanos) { Ok(()) } else { Err(rate.per_second()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use protocol::arn::Scope;
    use protocol::operation::Operation;
    use protocol::quota::{ACCOUNTS_MAX, AdjustableQuotas, requests_per_second};

    use super::Quotas;

    const SECOND_NANOS: u64 = 1_000_000_000;

    fn scope(region: usize) -> Scope {
        Scope { account_id: "123456789012".into(), region: format!("region-{region}").into() }
    }

    #[test]
    fn each_operation_has_its_own_rate_in_each_region() {
        let quotas = Quotas::new(AdjustableQuotas::default());
        for region in 0..2 {
            let allowance = quotas.allowance(&scope(region));
            for operation in Operation::ALL {
                let per_second = requests_per_second(operation);
                for _ in 0..per_second {
                    assert_eq!(allowance.admit(operation, SECOND_NANOS), Ok(()), "{operation:?}");
                }
                assert_eq!(allowance.admit(operation, SECOND_NANOS), Err(per_second), "{operation:?}");
                assert_eq!(allowance.admit(operation, 2 * SECOND_NANOS), Ok(()), "{operation:?}");
            }
        }
    }

    #[test]
    fn moderation_counts_towards_the_rate_of_the_edge_as_well() {
        let figures = AdjustableQuotas {
            delete_message_requests_per_second: 2,
            disconnect_user_requests_per_second: 2,
            ..AdjustableQuotas::default()
        };
        let allowance = Quotas::new(figures).allowance(&scope(0));
        for (operation, rate) in [
            (Operation::DeleteMessage, allowance.rates().delete_message()),
            (Operation::DisconnectUser, allowance.rates().disconnect_user()),
        ] {
            assert!(rate.admit(SECOND_NANOS));
            assert_eq!(allowance.admit(operation, SECOND_NANOS), Ok(()));
            assert_eq!(allowance.admit(operation, SECOND_NANOS), Err(2), "{operation:?}");
        }
    }

    #[test]
    fn connections_count_until_they_end() {
        let figures = AdjustableQuotas { connections: 2, ..AdjustableQuotas::default() };
        let quotas = Quotas::new(figures);
        let (here, there) = (quotas.allowance(&scope(0)), quotas.allowance(&scope(1)));
        let [first, second] = [here.connect().unwrap(), here.connect().unwrap()];
        assert!(here.connect().is_none());
        assert!(there.connect().is_some());
        drop(first);
        let third = here.connect().unwrap();
        assert!(here.connect().is_none());
        drop((second, third));
    }

    #[test]
    fn so_many_accounts_are_remembered_and_the_rest_share_one_allowance() {
        let quotas = Quotas::new(AdjustableQuotas::default());
        let in_use: Vec<_> = (0..ACCOUNTS_MAX).map(|region| quotas.allowance(&scope(region))).collect();
        let [one, other] = [ACCOUNTS_MAX, ACCOUNTS_MAX + 1].map(|region| quotas.allowance(&scope(region)));
        assert!(Arc::ptr_eq(&one, &other));
        let connection = in_use[0].connect();
        let rates = Arc::clone(in_use[1].rates());
        drop(in_use);
        let own = quotas.allowance(&scope(ACCOUNTS_MAX));
        assert!(!Arc::ptr_eq(&one, &own));
        let mut kept: Vec<_> = quotas.allowances.lock().unwrap().keys().cloned().collect();
        kept.sort();
        assert_eq!(kept, [scope(0), scope(1), scope(ACCOUNTS_MAX)], "who is in use stays");
        drop((connection, rates));
    }
}
