//! How soon another server on the same database hears of a change, while writers write.

use std::time::{Duration, Instant};

use protocol::arn::Scope;
use protocol::id::Id;
use server::store::{NewRoom, News, OrderKey, RoomChange, RoomNews, Store, Watch};
use tokio::time::timeout;

use super::site::Site;
use crate::failure::Failure;
use crate::report::Spread;

/// Much longer than news may take.
const NEWS_TIME_MAX: Duration = Duration::from_secs(10);
/// Longer than it takes to look once. What is changed before the first look is no news.
const FIRST_LOOK_TIME: Duration = Duration::from_secs(1);

/// One server that changes a room, and another one that hears of it.
pub(super) struct Pair {
    writer: Store,
    reader: Store,
    watch: Watch,
    scope: Scope,
    room: Id,
}

impl Pair {
    /// Two more servers on the store.
    pub(super) async fn start(site: &Site, scope: &Scope) -> Result<Self, Failure> {
        let (writer, reader) = (Store::open(&site.location()).await?, Store::open(&site.location()).await?);
        let new = NewRoom { name: "watched".to_owned(), ..NewRoom::default() };
        let room = writer.create_room(scope, new).await?.id;
        let mut pair = Self { watch: reader.watch(), writer, reader, scope: scope.clone(), room };
        loop {
            let order_key = pair.change().await?;
            if timeout(FIRST_LOOK_TIME, pair.heard_of(order_key)).await.is_ok() {
                return Ok(pair);
            }
        }
    }

    /// Changes the room again and again: milliseconds from each acknowledgement until the other server knows. A change comes
    /// right after a look, so it waits for all of the time between two.
    pub(super) async fn measure(&mut self, until: impl Fn() -> bool) -> Result<Option<Spread>, Failure> {
        let mut millis = Vec::new();
        while !until() {
            let order_key = self.change().await?;
            let changed_at = Instant::now();
            timeout(NEWS_TIME_MAX, self.heard_of(order_key))
                .await
                .map_err(|_| Failure::Arguments("another server never heard of a change".to_owned()))?;
            millis.push(changed_at.elapsed().as_secs_f64() * 1e3);
        }
        Ok(Spread::of(&millis))
    }

    /// Removes the room.
    pub(super) async fn end(self) -> Result<(), Failure> {
        self.writer.delete_room(&self.scope, self.room).await?;
        self.writer.close().await;
        self.reader.close().await;
        Ok(())
    }

    async fn change(&self) -> Result<OrderKey, Failure> {
        Ok(self.writer.update_room(&self.scope, self.room, RoomChange::default()).await?.order_key)
    }

    async fn heard_of(&mut self, order_key: OrderKey) {
        let is_it = |news: &RoomNews| matches!(news, RoomNews::Changed(room) if room.id == self.room && room.order_key >= order_key);
        loop {
            if let News::Rooms(rooms) = self.watch.next().await
                && rooms.iter().any(is_it)
            {
                return;
            }
        }
    }
}
