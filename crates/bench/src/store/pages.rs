//! What a page of ListRooms costs: for each combination of conditions, at the first, middle and last page.

use std::time::Instant;

use protocol::arn::Scope;
use protocol::limit::member::PAGE_SIZE_MAX;
use server::store::{OrderKey, Page, RoomFilter, RoomSummary, Store};

use crate::failure::Failure;
use crate::report::Spread;

/// Where in a list a page lies, and the position after which it begins.
pub(super) struct Place {
    /// `first`, `middle` or `last`.
    pub(super) name: &'static str,
    after: Option<OrderKey>,
}

/// The first, middle and last page of a list; the last one is full if the list has a full page at all.
pub(super) async fn places(store: &Store, scope: &Scope, filter: &RoomFilter) -> Result<Vec<Place>, Failure> {
    let first = read(store, scope, filter, None).await?;
    let Some(newest) = first.entries.first().map(|room| room.order_key) else {
        return Ok(vec![Place { name: "first", after: None }]);
    };
    let mut places = vec![Place { name: "first", after: None }];
    if first.next.is_some() {
        // Order keys are microseconds, so the smallest one with a full page below it is found in about 40 steps.
        let (mut too_low, mut enough) = (0, newest);
        while enough - too_low > 1 {
            let middle = too_low + (enough - too_low) / 2;
            let full = read(store, scope, filter, Some(middle)).await?.entries.len() == PAGE_SIZE_MAX;
            (too_low, enough) = if full { (too_low, middle) } else { (middle, enough) };
        }
        let oldest = read(store, scope, filter, Some(enough)).await?;
        let oldest = oldest.entries.last().map_or(0, |room| room.order_key);
        places.push(Place { name: "middle", after: Some(oldest + (newest - oldest) / 2) });
        places.push(Place { name: "last", after: Some(enough) });
    }
    Ok(places)
}

/// Reads one page `repeats` times, and once before that; microseconds of each, and the entries of the page.
pub(super) async fn measure(
    store: &Store,
    scope: &Scope,
    filter: &RoomFilter,
    place: &Place,
    repeats: u64,
) -> Result<(Spread, usize), Failure> {
    let mut entries = read(store, scope, filter, place.after).await?.entries.len();
    let mut micros = Vec::new();
    for _ in 0..repeats {
        let begin = Instant::now();
        let page = read(store, scope, filter, place.after).await?;
        micros.push(begin.elapsed().as_secs_f64() * 1e6);
        entries = entries.min(page.entries.len());
    }
    let spread = Spread::of(&micros).ok_or_else(|| Failure::Arguments("no repeats".to_owned()))?;
    Ok((spread, entries))
}

async fn read(
    store: &Store,
    scope: &Scope,
    filter: &RoomFilter,
    after: Option<OrderKey>,
) -> Result<Page<RoomSummary>, Failure> {
    Ok(store.list_rooms(scope, filter, after, PAGE_SIZE_MAX).await?)
}
