//! Pages of lists, and how the rooms of one are shown while they are read.

use super::record::{OrderKey, RoomSummary};

/// What becomes of the rooms of a page: it is shown them one by one, newest first, while they are read.
pub trait RoomSink: Send + 'static {
    /// The next room.
    fn take(&mut self, room: RoomSummary<'_>);
}

/// Keeps them.
impl RoomSink for Vec<RoomSummary<'static>> {
    fn take(&mut self, room: RoomSummary<'_>) {
        self.push(room.into_owned());
    }
}

/// One page of a list in descending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<Entries> {
    /// At most as many as were asked for.
    pub entries: Entries,
    /// The position after which the next page begins; `None` when the list ends here, so that no page is ever
    /// promised and then found empty (unless rooms were deleted meanwhile).
    pub next: Option<OrderKey>,
}

impl<T> Page<Vec<T>> {
    /// A page of `limit` out of entries of which one more was read, so that it is known whether there is a next page.
    pub(super) fn cut(mut entries: Vec<T>, limit: usize, order_key: impl Fn(&T) -> OrderKey) -> Self {
        let more = entries.len() > limit;
        entries.truncate(limit);
        let next = entries.last().filter(|_| more).map(order_key);
        Self { entries, next }
    }
}

/// A page of rooms while it is read: as [`Page::cut`], but nothing is kept of its rooms here.
pub(super) struct RoomPage<S> {
    sink: S,
    rooms_left: usize,
    last: Option<OrderKey>,
    next: Option<OrderKey>,
}

impl<S: RoomSink> RoomPage<S> {
    /// Of `limit` rooms at most.
    pub(super) fn new(sink: S, limit: usize) -> Self {
        Self { sink, rooms_left: limit, last: None, next: None }
    }

    /// The next room that was read; the one too many says that there is a next page.
    pub(super) fn take(&mut self, room: RoomSummary<'_>) {
        if self.rooms_left == 0 {
            self.next = self.last;
            return;
        }
        self.rooms_left -= 1;
        self.last = Some(room.order_key);
        self.sink.take(room);
    }

    /// Whether there was no room.
    pub(super) fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// All were read.
    pub(super) fn finish(self) -> Page<S> {
        Page { entries: self.sink, next: self.next }
    }
}
