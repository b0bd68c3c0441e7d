//! Why work on a connection did not end well, and what that means for it.

use std::fmt;

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::super::StoreError;
use super::connections::explain;

/// See the module.
pub(super) enum Failure {
    /// That is the answer.
    Refused(StoreError),
    /// Somebody else was in the way. Nothing was changed, and the next try may succeed.
    Conflict(String),
    /// The connection is gone, and with it all that was not committed: nothing was changed.
    Lost(String),
    /// The database does not take what it was given. Nothing was changed.
    Unacceptable(String),
    /// It cannot be done now.
    Unavailable(String),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<Failure> for StoreError {
    /// For who does not try again.
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => refusal,
            Failure::Conflict(cause)
            | Failure::Lost(cause)
            | Failure::Unacceptable(cause)
            | Failure::Unavailable(cause) => Self::unavailable(cause),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let cause = explain(&error);
        match error.code() {
            // A unique key that is taken: of an order key, by a write in the same microsecond; of a random id or a number,
            // by chance or by another server. Or a table that another server is making just now.
            Some(
                &SqlState::T_R_SERIALIZATION_FAILURE
                | &SqlState::T_R_DEADLOCK_DETECTED
                | &SqlState::UNIQUE_VIOLATION
                | &SqlState::DUPLICATE_OBJECT
                | &SqlState::DUPLICATE_TABLE,
            ) => Self::Conflict(cause),
            Some(&SqlState::ADMIN_SHUTDOWN | &SqlState::CRASH_SHUTDOWN) => Self::Lost(cause),
            // A value of the wrong kind, a constraint, or a trigger that somebody has added.
            Some(code) if ["22", "23", "P0"].iter().any(|class| code.code().starts_with(class)) => {
                Self::Unacceptable(cause)
            }
            None if error.is_closed() || is_of_the_system(&error) => Self::Lost(cause),
            _ => Self::Unavailable(cause),
        }
    }
}

fn is_of_the_system(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
}

/// A row that is not what it should be.
#[derive(Debug)]
pub(super) struct Unreadable(String);

impl Unreadable {
    /// Says which column is wrong.
    pub(super) fn column(name: &str) -> Self {
        Self(format!("its column {name} holds what it never should"))
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<Unreadable> for StoreError {
    fn from(unreadable: Unreadable) -> Self {
        Self::Damaged(format!("a row cannot be read: {unreadable}").into())
    }
}

impl From<Unreadable> for Failure {
    fn from(unreadable: Unreadable) -> Self {
        Self::Refused(unreadable.into())
    }
}
