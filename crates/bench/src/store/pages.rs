//! What a page of ListRooms costs: for each combination of conditions, at the first, middle and last page.

use std::hint::black_box;
use std::time::Instant;

use protocol::arn::Scope;
use protocol::control::room::ListRoomsResponse;
use protocol::limit::member::PAGE_SIZE_MAX;
use server::store::{OrderKey, Page, RoomFilter, RoomSummary, Store};

use super::population::Population;
use crate::failure::Failure;
use crate::os;
use crate::report::{Figures, Spread};

/// Where in a list a page lies, and the position after which it begins.
pub(super) struct Place {
    /// `first`, `middle` or `last`.
    pub(super) name: &'static str,
    pub(super) after: Option<OrderKey>,
}

/// The first, middle and last page of a list; the last one is full if the list has a full page at all.
pub(super) async fn places(store: &Store, scope: &Scope, filter: &RoomFilter) -> Result<Vec<Place>, Failure> {
    let first = rooms(store, scope, filter, None).await?;
    let Some(newest) = first.entries.first().map(|room| room.order_key) else {
        return Ok(vec![Place { name: "first", after: None }]);
    };
    let mut places = vec![Place { name: "first", after: None }];
    if first.next.is_some() {
        // Order keys are microseconds, so the smallest one with a full page below it is found in about 40 steps.
        let (mut too_low, mut enough) = (0, newest);
        while enough - too_low > 1 {
            let middle = too_low + (enough - too_low) / 2;
            let full = rooms(store, scope, filter, Some(middle)).await?.entries.len() == PAGE_SIZE_MAX;
            (too_low, enough) = if full { (too_low, middle) } else { (middle, enough) };
        }
        let oldest = rooms(store, scope, filter, Some(enough)).await?;
        let oldest = oldest.entries.last().map_or(0, |room| room.order_key);
        places.push(Place { name: "middle", after: Some(oldest + (newest - oldest) / 2) });
        places.push(Place { name: "last", after: Some(enough) });
    }
    Ok(places)
}

/// What a table of pages begins with.
pub(super) fn print_head(times: &str) {
    println!("{:<36}{:<8}{:>8}  {times}", "conditions", "page", "rooms");
}

/// Reads every page for every combination of conditions, warm, and prints what each costs.
pub(super) async fn measure_all(
    store: &Store,
    scope: &Scope,
    population: &Population,
    repeats: u64,
) -> Result<Figures, Failure> {
    let mut figures = Figures::new();
    print_head("us a page, warm: median [least-most]; processor time");
    for (name, filter) in population.filters() {
        for place in places(store, scope, &filter).await? {
            let Measured { micros, cpu_micros, entries } =
                measure(store, scope, &filter, &place, repeats).await?;
            println!("{name:<36}{:<8}{entries:>8}  {:<24}  {cpu_micros:.1}", place.name, micros.to_text());
            if name == "none" && place.name == "middle" {
                figures.extend([("middle_page_us", micros.median), ("middle_page_cpu_us", cpu_micros)]);
            }
        }
    }
    Ok(figures)
}

/// What a page costs.
struct Measured {
    /// What a caller waits.
    micros: Spread,
    /// Processor time of all threads, on average.
    cpu_micros: f64,
    /// Rooms of the page.
    entries: usize,
}

/// Reads one page `repeats` times, and once before that.
async fn measure(
    store: &Store,
    scope: &Scope,
    filter: &RoomFilter,
    place: &Place,
    repeats: u64,
) -> Result<Measured, Failure> {
    let mut entries = read(store, scope, filter, place.after).await?;
    let mut micros = Vec::new();
    let before = os::process_processor_nanos().map_err(Failure::io("read processor time"))?;
    for _ in 0..repeats {
        let begin = Instant::now();
        let rooms = read(store, scope, filter, place.after).await?;
        micros.push(begin.elapsed().as_secs_f64() * 1e6);
        entries = entries.min(rooms);
    }
    let now = os::process_processor_nanos().map_err(Failure::io("read processor time"))?;
    let micros = Spread::of(&micros).ok_or_else(|| Failure::Arguments("no repeats".to_owned()))?;
    Ok(Measured { micros, cpu_micros: (now - before) as f64 / 1e3 / repeats as f64, entries })
}

/// Makes the answer to ListRooms of one page, as the server does, and says how many rooms it has.
pub(super) async fn read(
    store: &Store,
    scope: &Scope,
    filter: &RoomFilter,
    after: Option<OrderKey>,
) -> Result<usize, Failure> {
    let answer = ListRoomsResponse::new(scope, PAGE_SIZE_MAX);
    let answer = store.list_rooms(scope, filter, after, PAGE_SIZE_MAX, answer).await?.entries;
    let rooms = answer.rooms();
    black_box(answer.finish(None));
    Ok(rooms)
}

/// The rooms of one page.
async fn rooms(
    store: &Store,
    scope: &Scope,
    filter: &RoomFilter,
    after: Option<OrderKey>,
) -> Result<Page<Vec<RoomSummary<'static>>>, Failure> {
    Ok(store.list_rooms(scope, filter, after, PAGE_SIZE_MAX, Vec::new()).await?)
}
