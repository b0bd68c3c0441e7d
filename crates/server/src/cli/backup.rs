//! `grandstand backup`: a copy of the store, while its server may be running.

use std::io::Write;
use std::path::Path;

use super::CommandError;
use crate::store::{Location, Store};

/// Copies the store into a new file, and says so when it is on disk.
///
/// # Errors
/// When there is no store, the file exists already or cannot be written, or `output` not be written.
pub async fn back_up(location: &Location, file: &Path, output: &mut impl Write) -> Result<(), CommandError> {
    Store::back_up(location, file).await?;
    writeln!(output, "the store is copied to {}", file.display())?;
    Ok(())
}
