//! Where records go: S3, CloudWatch Logs or Firehose, at AWS (or whatever speaks like it) or as folders of the same names.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex};

use super::folder::FolderSink;
use super::parcel::Parcel;
use super::record::Record;
use super::spool::SpoolKey;
use crate::metrics::DestinationError;
use crate::store::Destination;

/// What is done with the destinations of logging configurations.
#[derive(Clone)]
pub(super) enum Sink {
    /// Folders in the data folder stand for them.
    Folder(FolderSink),
}

/// What is on its way to a destination.
pub(super) struct Consignment {
    /// Whose.
    pub(super) key: SpoolKey,
    /// Where to.
    pub(super) destination: Destination,
    /// The batch.
    pub(super) records: Arc<[Record]>,
    /// The beginning of the window of an object of S3, in seconds since 1970.
    pub(super) window_s: u64,
    /// Records that a destination has taken of a parcel which it did not take as a whole; they are kept from one try to the
    /// next.
    pub(super) taken: Arc<Mutex<HashSet<usize>>>,
}

/// Why a parcel did not arrive. Never says what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SinkError {
    /// What it counts as.
    pub(super) kind: DestinationError,
    /// For the log.
    pub(super) text: String,
}

impl SinkError {
    /// A failure of no special kind.
    #[must_use]
    pub(super) fn other(text: impl Into<String>) -> Self {
        Self { kind: DestinationError::Other, text: text.into() }
    }

    /// Whether it will be so until somebody changes something.
    #[must_use]
    pub(super) fn is_lasting(&self) -> bool {
        self.kind != DestinationError::Other
    }
}

impl fmt::Display for SinkError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Sink {
    /// Whether a destination waits a while for records to gather, since each call costs.
    #[must_use]
    pub(super) fn gathers(&self) -> bool {
        match self {
            Self::Folder(_) => false,
        }
    }

    /// Sends a parcel; answers how many of its records the destination will never take.
    ///
    /// # Errors
    /// See [`SinkError`]; the parcel is to be sent again.
    pub(super) async fn send(
        &self,
        consignment: &Arc<Consignment>,
        parcel: &Parcel,
    ) -> Result<u64, SinkError> {
        match self {
            Self::Folder(folder) => folder.send(consignment, parcel).await.map(|()| 0),
        }
    }
}
