//! `grandstand check`: whether the store is well, in words, and its repair.

use std::io::Write;

use protocol::limit::store::DISCREPANCIES_MAX;

use super::CommandError;
use crate::store::{Checked, Discrepancy, Location, Store};

/// Looks at everything, prints a line for each discrepancy and then a sum; with `is_repair_wanted` puts right what
/// can be, and looks again. True when all is well in the end.
///
/// # Errors
/// When the store cannot be opened, because there is none or a server uses it, or `output` not be written.
pub async fn check(
    location: &Location,
    is_repair_wanted: bool,
    output: &mut impl Write,
) -> Result<bool, CommandError> {
    let store = Store::open_existing(location).await?;
    let outcome = check_open(&store, is_repair_wanted, output).await;
    store.close().await;
    outcome
}

async fn check_open(
    store: &Store,
    is_repair_wanted: bool,
    output: &mut impl Write,
) -> Result<bool, CommandError> {
    let checked = store.check().await?;
    print(&checked, output)?;
    let is_damaged = checked.discrepancies.iter().any(|found| matches!(found, Discrepancy::DamagedFile(_)));
    if is_damaged {
        // What is derived from a damaged file might be less than what is there now.
        writeln!(output, "a damaged file cannot be repaired, and was left as it is: restore a backup")?;
    } else if is_repair_wanted && !checked.discrepancies.is_empty() {
        store.repair().await?;
        writeln!(output, "the lists were made anew from the rooms; looking again")?;
        let checked = store.check().await?;
        print(&checked, output)?;
        return Ok(checked.discrepancies.is_empty());
    }
    Ok(checked.discrepancies.is_empty())
}

/// Prints what was found.
pub(super) fn print(checked: &Checked, output: &mut impl Write) -> Result<(), CommandError> {
    let Checked { rooms, postings, discrepancies } = checked;
    for discrepancy in discrepancies {
        writeln!(output, "{discrepancy}")?;
    }
    let verdict = match discrepancies.len() {
        0 => "all is well".to_owned(),
        1 => "1 discrepancy".to_owned(),
        count if count < DISCREPANCIES_MAX => format!("{count} discrepancies"),
        count => format!("{count} discrepancies or more"),
    };
    writeln!(output, "looked at {rooms} rooms and {postings} postings: {verdict}")?;
    Ok(())
}
