//! What a page costs when nothing of the store is in memory.

use std::time::Instant;

use protocol::arn::Scope;
use server::store::Store;

use super::pages::{self, Place};
use super::population::Population;
use super::site::Site;
use crate::failure::Failure;
use crate::report::{Figures, Spread};

/// Reads every page for every combination of conditions, each time with a store that was just opened.
pub(super) async fn measure_all(
    site: &Site,
    scope: &Scope,
    population: &Population,
    repeats: u64,
) -> Result<Figures, Failure> {
    let mut figures = Figures::new();
    pages::print_head("us a page, cold: median [least-most]");
    for (name, filter) in population.filters() {
        let store = Store::open(&site.location()).await?;
        let places = pages::places(&store, scope, &filter).await?;
        store.close().await;
        drop(store);
        for Place { name: place, after } in places {
            let (mut micros, mut entries) = (Vec::new(), 0);
            for _ in 0..repeats {
                site.forget()?;
                let store = Store::open(&site.location()).await?;
                let begin = Instant::now();
                entries = pages::read(&store, scope, &filter, after).await?;
                micros.push(begin.elapsed().as_secs_f64() * 1e6);
                store.close().await;
            }
            let Some(micros) = Spread::of(&micros) else { continue };
            println!("{name:<36}{place:<8}{entries:>8}  {}", micros.to_text());
            if name == "none" && place == "middle" {
                figures.push(("cold_middle_page_us", micros.median));
            }
        }
    }
    Ok(figures)
}
