//! Patience with a store that is away for a moment.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::StoreError;

/// How long to wait before the store is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks the store again and again while it cannot answer, for at most `time`. For what a client must not be refused for a
/// reason that passes.
///
/// # Errors
/// Those of the store.
pub async fn held<T, F>(time: Duration, ask: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let deadline = Instant::now() + time;
    loop {
        match ask().await {
            Err(StoreError::Unavailable(_)) if Instant::now() < deadline => sleep(PAUSE).await,
            outcome => return outcome,
        }
    }
}
