//! Work that does not end with whoever waits for it.
//!
//! A connection that takes longer to be made than a caller has time is as good for the next caller, and one whose answer
//! is late is good again once that has been read. To give both up with their caller would mean that nobody who is far away
//! is ever reached: each call would begin with nothing, and have as little time as the one before.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use protocol::limit::outgoing::LATE_MS_MAX;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

const LATE_TIME_MAX: Duration = Duration::from_millis(LATE_MS_MAX);

/// A future that goes on in a task of its own when it is dropped before its end, for at most [`LATE_MS_MAX`], if each of
/// `rooms` has room for one more such task. What comes of it then is dropped.
pub(super) struct Lasting<T: Send + 'static> {
    /// `None` once it has ended, or is being polled.
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    rooms: Vec<Arc<Semaphore>>,
}

impl<T: Send + 'static> Lasting<T> {
    pub(super) fn new(work: impl Future<Output = T> + Send + 'static, rooms: Vec<Arc<Semaphore>>) -> Self {
        Self { work: Some(Box::pin(work)), rooms }
    }
}

impl<T: Send + 'static> Future for Lasting<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // What panics is not put back.
        let Some(mut work) = self.work.take() else { return Poll::Pending };
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            self.work = Some(work);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Lasting<T> {
    fn drop(&mut self) {
        let (Some(work), Ok(runtime)) = (self.work.take(), Handle::try_current()) else { return };
        let permits = self.rooms.iter().map(|room| Arc::clone(room).try_acquire_owned());
        let Ok(permits) = permits.collect::<Result<Vec<OwnedSemaphorePermit>, _>>() else { return };
        runtime.spawn(async move {
            let _ended_or_not = timeout(LATE_TIME_MAX, work).await;
            drop(permits);
        });
    }
}
