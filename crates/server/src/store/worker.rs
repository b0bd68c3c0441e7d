//! A bounded queue into named threads: how work that waits for a disk, or takes long, leaves the async runtime.
//!
//! Threads of our own, not the runtime's blocking pool: that pool's queue has no bound, a thread of ours keeps its
//! database connection and prepared statements to itself without a pool to lock, and the hop costs the same.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::StoreError;

/// Locks `mutex`; a thread that panicked while it held the lock does not take the others down.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One or several threads that take work from one bounded queue. Dropping it stops them.
pub(super) struct Workers<T> {
    queue: Mutex<Option<SyncSender<T>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl<T: Send + 'static> Workers<T> {
    /// Starts one thread, called `name`, that owns the receiving end of a queue of `waiting_max`.
    pub(super) fn start_one(
        name: &str,
        waiting_max: usize,
        run: impl FnOnce(Receiver<T>) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, work) = sync_channel(waiting_max);
        let thread = Builder::new().name(name.to_owned()).spawn(move || run(work))?;
        Ok(Self { queue: Mutex::new(Some(queue)), threads: Mutex::new(vec![thread]) })
    }

    /// Starts a thread for each of `states`; each piece of work goes to whichever is free.
    pub(super) fn start_many<S: Send + 'static>(
        name: &str,
        waiting_max: usize,
        states: Vec<S>,
        work_off: fn(&mut S, T),
    ) -> io::Result<Self> {
        let (queue, work) = sync_channel(waiting_max);
        let work: Arc<Mutex<Receiver<T>>> = Arc::new(Mutex::new(work));
        let workers = Self { queue: Mutex::new(Some(queue)), threads: Mutex::default() };
        for (number, mut state) in states.into_iter().enumerate() {
            let work = Arc::clone(&work);
            let run = move || {
                while let Some(piece) = take(&work) {
                    work_off(&mut state, piece);
                }
            };
            // When this fails, `workers` is dropped and stops those that were started.
            let thread = Builder::new().name(format!("{name}-{number}")).spawn(run)?;
            lock(&workers.threads).push(thread);
        }
        Ok(workers)
    }

    /// Hands work over, without ever waiting: a full queue is refused, for whoever waits behind thousands of others
    /// is better served by a quick answer.
    pub(super) fn submit(&self, work: T) -> Result<(), StoreError> {
        let queue = lock(&self.queue);
        let Some(queue) = queue.as_ref() else {
            return Err(StoreError::unavailable("the store is closed"));
        };
        queue.try_send(work).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::unavailable("too many requests wait for the store"),
            TrySendError::Disconnected(_) => StoreError::unavailable("the store has stopped"),
        })
    }

    /// Takes no more work, lets the threads finish what waits, and returns when they have ended. Blocks meanwhile.
    pub(super) fn stop(&self) {
        lock(&self.queue).take();
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the store ended in a panic");
            }
        }
    }
}

/// The next piece of work; `None` when the queue is closed and empty. Only one thread waits at the queue, the others
/// wait for its place.
fn take<T>(work: &Mutex<Receiver<T>>) -> Option<T> {
    lock(work).recv().ok()
}

impl<T> Drop for Workers<T> {
    fn drop(&mut self) {
        lock(&self.queue).take();
        for thread in std::mem::take(&mut *lock(&self.threads)) {
            // A panic was already reported by the panic hook.
            drop(thread.join());
        }
    }
}
