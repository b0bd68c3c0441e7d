//! Why a benchmark gave no result.

use std::{fmt, io};

use server::store::StoreError;
use tokio::task::JoinError;

use crate::frames::FrameFault;
use crate::verify::Fault;

/// Why a benchmark gave no result.
#[derive(Debug)]
pub enum Failure {
    /// The operating system refused something.
    Io {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        error: io::Error,
    },
    /// A server under test did not start, or said something other than its ready line.
    NotReady {
        /// Which, and the end of its log.
        what: String,
    },
    /// The control plane answered something other than 200.
    Refused {
        /// The operation.
        operation: &'static str,
        /// HTTP status; 0 when the answer was not HTTP.
        status: u16,
        /// The answer's body.
        body: String,
    },
    /// A handshake was not answered with 101 and the right key.
    Handshake {
        /// The beginning of the answer.
        answer: String,
    },
    /// A peer broke the framing.
    Framing(FrameFault),
    /// A connection was closed during the run, so the run is void.
    Closed {
        /// Its number in the crowd.
        connection: usize,
        /// What the Close frame said; empty without one.
        reason: String,
    },
    /// A stream was not as published, so the run is void.
    Void(Fault),
    /// A reading of the system was not in the form that Linux gives it.
    Unreadable {
        /// The file.
        path: String,
    },
    /// The store under test refused or failed; what it said.
    Store(String),
    /// A review had the wrong outcome, or could not be set up; what was wrong.
    Review(String),
    /// A chat log was not as it must be, or could not be looked at; what was wrong.
    ChatLog(String),
    /// The command line asks for something impossible.
    Arguments(String),
    /// Everything was measured and reported, but not everybody came back, or not all who did heard what was said then.
    NotBack {
        /// How many in all storms.
        missing: u64,
    },
    /// Everything was measured and reported, but runs of Grandstand were void.
    VoidRuns {
        /// How many.
        void: usize,
        /// Of how many.
        all: usize,
    },
}

impl Failure {
    /// For `map_err`: names what was being done.
    pub fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { doing, error }
    }

    /// Whether this says that the server did not deliver as it must, rather than that nothing could be measured.
    #[must_use]
    pub fn is_void(&self) -> bool {
        matches!(self, Self::Void(_) | Self::Closed { .. } | Self::Framing(_))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

/// What the database of a store says, or the way to it.
impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Store(error.as_db_error().map_or_else(|| error.to_string(), |said| said.message().to_owned()))
    }
}

/// A task that drove the store ended in a panic.
impl From<JoinError> for Failure {
    fn from(error: JoinError) -> Self {
        Self::Store(error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, error } => write!(formatter, "{doing}: {error}"),
            Self::NotReady { what } => write!(formatter, "not ready: {what}"),
            Self::Refused { operation, status, body } => write!(formatter, "{operation}: {status}: {body}"),
            Self::Handshake { answer } => write!(formatter, "handshake answered with {answer:?}"),
            Self::Framing(fault) => write!(formatter, "framing: {fault:?}"),
            Self::Closed { connection, reason } => {
                write!(formatter, "void: connection {connection} was closed ({reason})")
            }
            Self::Void(fault) => write!(formatter, "void: {fault}"),
            Self::Unreadable { path } => write!(formatter, "cannot make sense of {path}"),
            Self::Store(text) => write!(formatter, "the store: {text}"),
            Self::Review(text) => write!(formatter, "message review: {text}"),
            Self::ChatLog(text) => write!(formatter, "a chat log: {text}"),
            Self::Arguments(text) => formatter.write_str(text),
            Self::NotBack { missing } => {
                write!(formatter, "{missing} clients were not back, or did not hear what was said then")
            }
            Self::VoidRuns { void, all } => write!(formatter, "{void} of {all} runs of grandstand were void"),
        }
    }
}

impl std::error::Error for Failure {}
