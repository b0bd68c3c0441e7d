//! What bytes of strangers meet, one function for each: given any bytes, it checks what must hold of them, and answers
//! what came of them. The fuzz targets call them, and so do the tests of the server.

pub(crate) mod action;
pub(crate) mod frame;
pub(crate) mod handshake;
pub(crate) mod spool;
pub(crate) mod token;

/// One of these functions.
pub(crate) struct Entry {
    /// Its inputs are kept in the folder of this name in `corpus`.
    pub(crate) name: &'static str,
    /// Panics when something does not hold.
    pub(crate) run: fn(&[u8]) -> Vec<String>,
    /// What comes of the inputs that are kept: every branch is reached.
    pub(crate) outcomes: &'static [&'static str],
}

/// All of them.
pub(crate) const ENTRIES: [Entry; 5] = [
    Entry { name: "handshake", run: handshake::run, outcomes: handshake::OUTCOMES },
    Entry { name: "frame", run: frame::run, outcomes: frame::OUTCOMES },
    Entry { name: "action", run: action::run, outcomes: action::OUTCOMES },
    Entry { name: "token", run: token::run, outcomes: token::OUTCOMES },
    Entry { name: "spool", run: spool::run, outcomes: spool::OUTCOMES },
];
