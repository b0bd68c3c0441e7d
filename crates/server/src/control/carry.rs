//! Work that ends whatever becomes of those who wait for it.
//!
//! Promises: it is done where it is waited for, which costs nothing; when nobody waits any more, because the client went
//! away, the rest of it is done in a task of its own. A panic is its outcome, and disturbs nobody else. Whoever waits for
//! `requests` to end waits for it too.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// The work panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Panicked;

/// Waits for the outcome of some work.
pub(super) struct CarriedThrough<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    /// `None` once there is an outcome.
    work: Option<(Pin<Box<F>>, TaskTrackerToken)>,
}

impl<F> CarriedThrough<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    /// Begins with `work` when it is waited for.
    pub(super) fn new(requests: &TaskTracker, work: F) -> Self {
        Self { work: Some((Box::pin(work), requests.token())) }
    }
}

impl<F> Future for CarriedThrough<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some((work, _)) = &mut self.work else { return Poll::Ready(Err(Panicked)) };
        let polled = poll_caught(work.as_mut(), context);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

/// The outcome of some work that is a part of another's. A panic is one, too.
pub(super) async fn caught<F: Future>(work: F) -> Result<F::Output, Panicked> {
    let mut work = pin!(work);
    poll_fn(|context| poll_caught(work.as_mut(), context)).await
}

/// Does some of the work. It must not be polled again after a panic; what that leaves behind is dropped with the work.
fn poll_caught<F: Future>(work: Pin<&mut F>, context: &mut Context<'_>) -> Poll<Result<F::Output, Panicked>> {
    match catch_unwind(AssertUnwindSafe(|| work.poll(context))) {
        Ok(polled) => polled.map(Ok),
        Err(_) => Poll::Ready(Err(Panicked)),
    }
}

impl<F> Drop for CarriedThrough<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn drop(&mut self) {
        // Without a runtime, the server has ended, and nothing can be carried through any more.
        if let (Some((work, token)), Ok(runtime)) = (self.work.take(), Handle::try_current()) {
            runtime.spawn(async move {
                work.await;
                drop(token);
            });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;
    use tokio_util::task::TaskTracker;

    use super::{CarriedThrough, Panicked};

    #[tokio::test]
    async fn work_that_nobody_waits_for_goes_on_where_it_was() {
        let (requests, gate) = (TaskTracker::new(), Arc::new(Semaphore::new(0)));
        let passed = Arc::clone(&gate);
        let work = async move {
            passed.acquire().await.unwrap().forget();
            passed.acquire().await.unwrap().forget();
            passed.close();
        };
        let mut waited_for = CarriedThrough::new(&requests, work);
        gate.add_permits(1);
        assert!(futures_util::poll!(&mut waited_for).is_pending());
        drop(waited_for);
        requests.close();
        assert_eq!(requests.len(), 1);
        gate.add_permits(1);
        requests.wait().await;
        assert!(gate.is_closed());
    }

    #[tokio::test]
    async fn an_outcome_is_there_once_and_nothing_is_left_of_the_work() {
        let requests = TaskTracker::new();
        assert_eq!(CarriedThrough::new(&requests, async { 7 }).await, Ok(7));
        assert_eq!(requests.len(), 0);
    }

    #[tokio::test]
    async fn a_panic_is_an_outcome() {
        let requests = TaskTracker::new();
        let under_way = requests.clone();
        let panicking = async move { assert!(under_way.is_empty(), "on purpose: this is under way") };
        let outcome = CarriedThrough::new(&requests, panicking).await;
        assert_eq!(outcome, Err(Panicked));
        assert_eq!(requests.len(), 0);
    }
}
