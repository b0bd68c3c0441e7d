//! The room store by itself: how fast it fills, how large it gets, and what a page of ListRooms costs in it.
//!
//! Everything goes through the store's own interface, in this process, without HTTP, on a runtime with one thread.
//! Times are those that a caller waits. A cold page is read by a store that was just opened, and nothing of whose
//! file is in the kernel's cache: it waits for the disk, and prepares its statements. On PostgreSQL somebody
//! else has to see to that (`--forget-command`), and processor time and memory are without the database's.

mod cold;
mod database;
mod fill;
mod news;
mod pages;
mod population;
mod site;
mod writes;

use std::path::PathBuf;
use std::time::Duration;

use protocol::arn::Scope;
use server::store::Store;
use tokio::runtime::Runtime;

use self::fill::Filled;
pub use self::site::{Site, Sites};
use crate::control::{ACCOUNT_ID, REGION};
use crate::failure::Failure;
use crate::process::Memory;
use crate::report::{Figures, Report, Run, Surroundings};

/// What `store` does.
pub struct Plan {
    /// How many rooms; each size is a store of its own.
    pub sizes: Vec<u64>,
    /// Where the stores are, or are made.
    pub sites: Sites,
    /// How often each page is read warm.
    pub repeats: u64,
    /// How often each page is read cold.
    pub cold_repeats: u64,
    /// How long writers write.
    pub write_seconds: u64,
    /// How many there are.
    pub writers: u64,
    /// Where the lines of JSON go.
    pub report_file: PathBuf,
}

/// Fills and measures stores of all sizes and reports.
///
/// # Errors
/// The store's.
pub fn run(plan: &Plan) -> Result<(), Failure> {
    let runtime = runtime()?;
    let mut report = Report::default();
    println!("{}", Surroundings::read().to_text());
    for &rooms in &plan.sizes {
        let figures = runtime.block_on(measure_size(plan, &plan.sites.of(rooms)?, rooms))?;
        report.add(Run { round: rooms, peer: "grandstand", figures });
    }
    report.append(&Surroundings::read(), &plan.report_file)
}

/// Fills the store with rooms, unless that was done before.
///
/// # Errors
/// The store's.
pub fn fill_once(site: &Site, rooms: u64) -> Result<(), Failure> {
    runtime()?.block_on(fill::fill_once(site, &scope(), rooms)).map(drop)
}

fn runtime() -> Result<Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::io("start a runtime"))
}

/// Whose rooms they are: those of the requests that `list` makes.
fn scope() -> Scope {
    Scope { account_id: ACCOUNT_ID.into(), region: REGION.into() }
}

async fn measure_size(plan: &Plan, site: &Site, rooms: u64) -> Result<Figures, Failure> {
    let scope = scope();
    let filled = fill::fill_once(site, &scope, rooms).await?;
    let Filled { population, created_per_s, commits, file_bytes_per_room } = &filled;
    println!(
        "== {rooms} rooms: {created_per_s:.0} created/s in {commits:.0} commits, {file_bytes_per_room:.0} bytes each"
    );
    let mut figures = vec![
        ("rooms", rooms as f64),
        ("created_per_s", *created_per_s),
        ("file_bytes_per_room", *file_bytes_per_room),
    ];
    let store = Store::open(&site.location()).await?;
    figures.extend(pages::measure_all(&store, &scope, population, plan.repeats).await?);
    let anonymous_mib = Memory::read(std::process::id())?.anonymous_bytes as f64 / f64::from(1 << 20);
    println!("memory that no file backs: {anonymous_mib:.1} MiB");
    figures.push(("anonymous_mib", anonymous_mib));
    store.close().await;
    if plan.write_seconds > 0 {
        let duration = Duration::from_secs(plan.write_seconds);
        let written = writes::measure(site, &scope, population, plan.writers, duration).await?;
        println!("{}", written.to_text());
        figures.extend(written.figures());
    }
    if plan.cold_repeats > 0 {
        figures.extend(cold::measure_all(site, &scope, population, plan.cold_repeats).await?);
    }
    println!();
    Ok(figures)
}
