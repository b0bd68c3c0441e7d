//! Every WebSocket close code this server sends, and what the official SDKs do when they see it.
//!
//! A Close frame tells all official SDKs "do not come back": the web SDK reports `serverDisconnect` and never
//! reconnects, the iOS SDK takes any Close frame as the end. So a Close is sent for what the user or the peer did, and
//! for nothing else. A slow reader or a drained connection is dropped without one, and comes back.

/// Why a connection is closed with a Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCode {
    /// 1000: kicked by a moderator (the reason is the moderator's text), or the end of the session (the reason is a
    /// JSON error). Observed on the service.
    Normal,
    /// 1002: the peer broke RFC 6455 (framing, masking, reserved bits, control frames).
    ProtocolError,
    /// 1003: a binary message; this protocol is text.
    UnsupportedData,
    /// 1007: a text message that is not UTF-8.
    InvalidPayload,
    /// 1009: a message longer than [`crate::limit::edge::MESSAGE_BYTES_MAX`].
    MessageTooBig,
}

impl CloseCode {
    /// The number on the wire.
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::ProtocolError => 1002,
            Self::UnsupportedData => 1003,
            Self::InvalidPayload => 1007,
            Self::MessageTooBig => 1009,
        }
    }
}

/// Longest reason of a Close frame, in bytes of UTF-8. RFC 6455: 125 for a control frame, less two for the code.
pub const REASON_BYTES_MAX: usize = 123;

/// The longest beginning of `reason` that fits into a Close frame and ends at a character.
#[must_use]
pub fn fit_reason(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)]
}

/// Whether a peer may send this code in a Close frame. RFC 6455 section 7.4: 1004 to 1006 and 1015 are never sent,
/// 1012 to 1014 are registered with IANA, 3000 to 4999 are for libraries and applications.
#[must_use]
pub const fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::{fit_reason, is_sendable};

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        assert_eq!(fit_reason("short"), "short");
        assert_eq!(fit_reason(&"a".repeat(200)).len(), 123);
        assert_eq!(fit_reason(&"é".repeat(100)).len(), 122);
    }

    #[test]
    fn codes_that_are_never_sent_are_known() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
            assert!(!is_sendable(code), "{code}");
        }
        for code in [1000, 1001, 1002, 1003, 1007, 1011, 3000, 4999] {
            assert!(is_sendable(code), "{code}");
        }
    }
}
