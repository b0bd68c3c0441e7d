//! What a chat token allows its holder to do; viewing is always allowed.

/// One permission. Source: the model's `ChatTokenCapability`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Publish messages.
    SendMessage,
    /// Delete anybody's messages.
    DeleteMessage,
    /// Disconnect anybody.
    DisconnectUser,
}

impl Capability {
    /// All there are, in the order of their bits.
    pub const ALL: [Self; 3] = [Self::SendMessage, Self::DeleteMessage, Self::DisconnectUser];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SendMessage => "SEND_MESSAGE",
            Self::DeleteMessage => "DELETE_MESSAGE",
            Self::DisconnectUser => "DISCONNECT_USER",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::SendMessage => 1,
            Self::DeleteMessage => 2,
            Self::DisconnectUser => 4,
        }
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Capabilities(u8);

impl Capabilities {
    /// View only.
    pub const NONE: Self = Self(0);

    /// This set and one more.
    #[must_use]
    pub const fn with(self, capability: Capability) -> Self {
        Self(self.0 | capability.bit())
    }

    /// Whether the set has `capability`.
    #[must_use]
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }

    /// The set as a byte, for sealed tokens.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        self.0
    }

    /// The set of a byte; `None` when it has bits that mean nothing.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        if byte < 8 { Some(Self(byte)) } else { None }
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        capabilities.into_iter().fold(Self::NONE, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::{Capabilities, Capability};

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set: Capabilities = [Capability::DeleteMessage, Capability::DeleteMessage].into_iter().collect();
        assert!(set.contains(Capability::DeleteMessage));
        assert!(!set.contains(Capability::SendMessage));
        assert_eq!(Capabilities::from_byte(set.to_byte()), Some(set));
        assert_eq!(Capabilities::from_byte(8), None);
    }
}
