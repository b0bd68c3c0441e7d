//! The room store by itself: how fast it fills, how large it gets, and what a page of ListRooms costs in it.
//!
//! Everything goes through the store's own interface, in this process, without HTTP; times include the hop to the
//! store's threads and back, on a runtime with one thread.

mod fill;
mod pages;
mod population;
mod writes;

use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::arn::Scope;
use server::store::{Location, Store};

use crate::failure::Failure;
use crate::process::Memory;
use crate::report::{Report, Run, Spread, Surroundings};

/// What `store` does.
pub struct Plan {
    /// How many rooms; each size is a store of its own.
    pub sizes: Vec<u64>,
    /// Where the stores are made, each in a folder of its own; a temporary one when `None`.
    pub folder: Option<PathBuf>,
    /// How often each page is read.
    pub repeats: u64,
    /// How long writers write.
    pub write_seconds: u64,
    /// Where the lines of JSON go.
    pub report_file: PathBuf,
}

/// Fills and measures stores of all sizes and reports.
///
/// # Errors
/// The store's.
pub fn run(plan: &Plan) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Failure::io("start a runtime"))?;
    let temporary = tempfile::tempdir().map_err(Failure::io("make a folder"))?;
    let folder = plan.folder.as_deref().unwrap_or(temporary.path());
    let mut report = Report::default();
    println!("{}", Surroundings::read().to_text());
    for &rooms in &plan.sizes {
        runtime.block_on(measure_size(plan, &folder.join(rooms.to_string()), rooms, &mut report))?;
    }
    report.append(&Surroundings::read(), &plan.report_file)
}

async fn measure_size(plan: &Plan, folder: &Path, rooms: u64, report: &mut Report) -> Result<(), Failure> {
    let scope = Scope { account_id: "123456789012".into(), region: "us-west-2".into() };
    let location = Location::Folder(folder.to_owned());
    let store = Store::open(&location).await?;
    let filled = fill::fill(&store, &scope, rooms).await?;
    let commits = store.counters().commits;
    store.close().await;
    drop(store);
    let bytes = fill::folder_bytes(folder)?;
    let store = Store::open(&location).await?;
    println!(
        "== {rooms} rooms: {:.0} created/s in {commits} commits, {:.0} bytes each",
        rooms as f64 / filled.seconds,
        bytes as f64 / rooms as f64
    );
    let mut figures = vec![
        ("rooms", rooms as f64),
        ("created_per_s", rooms as f64 / filled.seconds),
        ("file_bytes_per_room", bytes as f64 / rooms as f64),
    ];
    println!("{:<36}{:<8}{:>8}  us a page, median [least-most]", "conditions", "page", "rooms");
    for (name, filter) in filled.population.filters() {
        for place in pages::places(&store, &scope, &filter).await? {
            let (micros, entries) = pages::measure(&store, &scope, &filter, &place, plan.repeats).await?;
            println!("{name:<36}{:<8}{entries:>8}  {}", place.name, micros.to_text());
            if entries > 0 && name == "none" && place.name == "middle" {
                figures.push(("middle_page_us", micros.median));
            }
        }
    }
    let memory = Memory::read(std::process::id())?;
    figures.push(("anonymous_mib", memory.anonymous_bytes as f64 / f64::from(1 << 20)));
    if plan.write_seconds > 0 {
        let duration = Duration::from_secs(plan.write_seconds);
        let written = writes::measure(&store, &scope, &filled.population, duration).await?;
        figures.push(("writes_per_s", written.writes_per_s));
        figures.push(("writes_per_commit", written.writes_per_commit));
        figures.push(("quiet_read_us", written.quiet_read_micros.median));
        figures.push(("busy_read_us", written.busy_read_micros.median));
        show_written(&written);
    }
    println!("memory no file backs: {:.1} MiB\n", memory.anonymous_bytes as f64 / f64::from(1 << 20));
    report.add(Run { round: rooms, peer: "grandstand", figures });
    store.close().await;
    Ok(())
}

fn show_written(written: &writes::Written) {
    let text = |spread: Spread| spread.to_text();
    println!(
        "64 writers: {:.0} writes/s, {:.1} in a commit; a first page meanwhile {} us, before {} us",
        written.writes_per_s,
        written.writes_per_commit,
        text(written.busy_read_micros),
        text(written.quiet_read_micros)
    );
}
