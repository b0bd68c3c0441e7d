//! Why a signature was refused.

use std::fmt;

/// Why a request is nobody's. The variants are the error names of AWS's JSON services; the texts say what is missing
/// or wrong, mostly in the service's own words, and repeat nothing of the request but dates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignatureError {
    /// The request is not signed at all.
    MissingAuthenticationToken,
    /// A part of the signature is missing or cannot be read; the text says which.
    IncompleteSignature(String),
    /// Nobody has this access key, or it came with a session token that is not known.
    UnrecognizedClient,
    /// The signature is complete and wrong, or for another time, service or region; the text says why.
    InvalidSignature(String),
}

pub(super) fn incomplete(why: impl Into<String>) -> SignatureError {
    SignatureError::IncompleteSignature(why.into())
}

pub(super) fn invalid(why: impl Into<String>) -> SignatureError {
    SignatureError::InvalidSignature(why.into())
}

impl fmt::Display for SignatureError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::MissingAuthenticationToken => "Missing Authentication Token",
            Self::UnrecognizedClient => "The security token included in the request is invalid.",
            Self::IncompleteSignature(why) | Self::InvalidSignature(why) => why,
        })
    }
}

impl std::error::Error for SignatureError {}
