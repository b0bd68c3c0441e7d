//! Bugs to be planted, so that tests can show that they would catch them. Only debug builds contain this file.

use rusqlite::Connection;

/// The environment variable that names one.
const VARIABLE: &str = "GRANDSTAND_PLANT";

/// A bug to be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plant {
    /// Answers leave before the commit that holds their write.
    AcknowledgeBeforeCommit,
    /// Commits are not synced to the disk.
    SkipFsync,
}

impl Plant {
    /// The one that the environment asks for.
    pub(super) fn from_environment() -> Option<Self> {
        let name = std::env::var(VARIABLE).ok()?;
        let plant = match name.as_str() {
            "acknowledge-before-commit" => Self::AcknowledgeBeforeCommit,
            "skip-fsync" => Self::SkipFsync,
            _ => {
                tracing::warn!("{VARIABLE} names no bug that could be planted");
                return None;
            }
        };
        tracing::warn!("{VARIABLE} has planted the bug {name}: what is acknowledged may be lost");
        Some(plant)
    }

    /// Makes the writer's connection as wrong as it should be.
    pub(super) fn configure(self, connection: &Connection) -> rusqlite::Result<()> {
        match self {
            Self::AcknowledgeBeforeCommit => Ok(()),
            Self::SkipFsync => connection.pragma_update(None, "synchronous", "OFF"),
        }
    }
}
