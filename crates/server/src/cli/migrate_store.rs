//! `grandstand migrate-store`: a whole store gets to another place, between the engines or within one.

use std::fmt;
use std::io::{IsTerminal, Write, stderr};
use std::path::PathBuf;

use super::CommandError;
use super::check::print;
use super::progress::Progress;
use crate::config::DatabaseUrl;
use crate::store::{Contents, Location, Store};

/// Copies the store at `from` to `to`, where there must be none, shows how far it is on the standard error, and checks the
/// new one. What is not named is the `other` place. True when all of it is there and well (of used tokens, that all went
/// there).
///
/// # Errors
/// When there is no store to copy, no place for it, or either fails; never is there half a new store then. When the new one
/// cannot be looked at, or `output` not be written.
pub async fn migrate_store(
    from: Option<&str>,
    to: Option<&str>,
    other: &Location,
    output: &mut impl Write,
) -> Result<bool, CommandError> {
    let place = |flag, text: Option<&str>| match text {
        Some(text) => parse_place(text).map_err(|error| CommandError::Place(flag, error)),
        None => Ok(other.clone()),
    };
    let (from, to) = (place("--from", from)?, place("--to", to)?);
    copy(&from, &to, output).await
}

async fn copy(from: &Location, to: &Location, output: &mut impl Write) -> Result<bool, CommandError> {
    // Before the store is opened: it takes a moment.
    Store::require_vacant(to).await?;
    let source = Store::open_existing(from).await?;
    let mut progress = Progress::start(stderr(), stderr().is_terminal());
    let copied = source.copy_to(to, |done, all| progress.advance(done.rooms, all.rooms)).await;
    progress.end();
    source.close().await;
    let copied = copied?;
    writeln!(output, "copied {copied} from {from} to {to}; looking at them there")?;
    output.flush()?;
    let target = Store::open_existing(to).await?;
    let outcome = look_at(&target, &copied, output).await;
    target.close().await;
    outcome
}

async fn look_at(target: &Store, copied: &Contents, output: &mut impl Write) -> Result<bool, CommandError> {
    let checked = target.check().await?;
    print(&checked, output)?;
    let found = target.contents().await?;
    // Used tokens were counted on their way: some may have expired since, and are forgotten.
    let is_all =
        Contents { used_tokens: copied.used_tokens, ..found } == *copied && checked.rooms == copied.rooms;
    if !is_all {
        writeln!(output, "copied {copied}, but found {found}")?;
    }
    if !checked.discrepancies.is_empty() {
        writeln!(output, "the store that was copied is as it was")?;
    }
    Ok(is_all && checked.discrepancies.is_empty())
}

/// Why a text does not say where a store is. It quotes nothing: any part may be one of a password.
#[derive(Debug, PartialEq, Eq)]
pub enum PlaceError {
    /// It is empty.
    Empty,
    /// It is `memory:`.
    Memory,
    /// It begins like a database, and is none for this reason.
    Database(&'static str),
    /// It begins like an address of something else.
    Unknown,
}

impl fmt::Display for PlaceError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => formatter.write_str("name a data folder, or `postgres://…`"),
            Self::Memory => formatter.write_str(
                "a store at `memory:` is nowhere but in its server, and ends with it; \
                 name a data folder, or `postgres://…`",
            ),
            Self::Database(reason) => formatter.write_str(reason),
            Self::Unknown => formatter.write_str("it is neither a data folder nor begins with postgres://"),
        }
    }
}

impl std::error::Error for PlaceError {}

/// Reads where a store is: a data folder, or what `store.url` takes.
///
/// # Errors
/// When it is neither, or in memory.
fn parse_place(text: &str) -> Result<Location, PlaceError> {
    match text {
        "" => Err(PlaceError::Empty),
        "memory:" => Err(PlaceError::Memory),
        url if DatabaseUrl::is_meant(url) => match DatabaseUrl::parse(url) {
            Ok(url) => Ok(Location::Postgres(Box::new(url))),
            Err(reason) => Err(PlaceError::Database(reason)),
        },
        // One that was mistyped may have a password in it, which must become neither a message nor a folder's name.
        url if url.contains("://") || url.contains('@') => Err(PlaceError::Unknown),
        url if url.starts_with("postgres:") || url.starts_with("postgresql:") => Err(PlaceError::Unknown),
        folder => Ok(Location::Folder(PathBuf::from(folder))),
    }
}

#[cfg(test)]
mod tests {
    use super::{PlaceError, parse_place};
    use crate::store::Location;

    #[test]
    fn a_place_is_a_folder_or_a_database() {
        for folder in ["grandstand-data", "./a b", "/var/lib/chat", "postgres"] {
            assert_eq!(parse_place(folder), Ok(Location::Folder(folder.into())));
        }
        for url in ["postgres://chat:hunter2@db/rooms", "postgresql://chat:hunter2@db/rooms"] {
            let shown = parse_place(url).map(|place| place.to_string());
            assert_eq!(shown, Ok("postgres://chat@db:5432/rooms".to_owned()));
        }
    }

    #[test]
    fn what_is_neither_is_refused_without_quoting_it() {
        assert_eq!(parse_place(""), Err(PlaceError::Empty));
        assert_eq!(parse_place("memory:"), Err(PlaceError::Memory));
        for url in [
            "mysql://chat:hunter2@db",
            "postgres://chat:hunter2@db?sslmode=require",
            "postgres://:hunter2",
            "postgres:/chat:hunter2@db",
            "postgres:hunter2",
            "chat:hunter2@db",
        ] {
            let refusal = parse_place(url).map_err(|error| error.to_string());
            assert!(refusal.as_ref().is_err_and(|text| !text.contains("hunter2")), "{url}: {refusal:?}");
        }
    }
}
