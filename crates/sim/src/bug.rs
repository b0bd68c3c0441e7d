//! Bugs that can be planted into the simulator's own wiring, to see that the checkers find them.

/// A mistake that a shard, its inbox or its sockets could make. The hub itself is never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A frame gets into a shard's inbox twice.
    DuplicateDelivery,
    /// A frame does not get into a shard's inbox.
    DropDelivery,
    /// Two frames change places in a shard's inbox.
    ReorderDeliveries,
    /// A shard is not told that a frame ends a user's connections.
    ForgetDisconnect,
    /// A socket repeats a frame behind a Close.
    WriteAfterClose,
    /// A connection gets all capabilities whatever its token says.
    GrantCapabilities,
    /// An ERROR for a connection of another shard is lost.
    LoseRefusal,
    /// A write says that it took one byte more than it did.
    LoseByte,
    /// A shard takes nothing from its inbox and says nothing about it.
    HoldInbox,
    /// A shard never writes to its sockets.
    NeverFlush,
    /// A shard never sweeps.
    NeverSweep,
    /// A connection that is well is closed.
    DropHealthy,
    /// A home is not told that a member has left.
    LoseLeft,
    /// Who renews a connection is greeted at once.
    GreetRenewalsAtOnce,
    /// What is asked for on another shard seems to come from a connection that is younger than it is.
    MisnumberAct,
    /// A home is not asked about a connection that a kick may have passed by.
    LoseAdopted,
    /// A handler's DENY becomes an ALLOW on its way.
    AllowDenied,
    /// A home is not told what has come of a review.
    LoseOutcome,
    /// A handler's other words are lost on their way.
    LoseChange,
    /// Two requests of a connection change places on their way to the room's home.
    SwapActs,
    /// A record is written some time after its message was published.
    LogLate,
    /// Of a message that a handler has changed, what its sender wrote is logged.
    LogOriginals,
    /// What is published while nobody is in the room is not logged.
    ForgetUnheard,
    /// What one log has refused is not taken back from the others.
    KeepRefused,
    /// A record is written twice.
    LogTwice,
    /// Two records change places.
    SwapRecords,
    /// A room without logging configurations is logged.
    LogUnlogged,
}

impl Bug {
    /// All there are.
    pub const ALL: [Self; 27] = [
        Self::DuplicateDelivery,
        Self::DropDelivery,
        Self::ReorderDeliveries,
        Self::ForgetDisconnect,
        Self::WriteAfterClose,
        Self::GrantCapabilities,
        Self::LoseRefusal,
        Self::LoseByte,
        Self::HoldInbox,
        Self::NeverFlush,
        Self::NeverSweep,
        Self::DropHealthy,
        Self::LoseLeft,
        Self::GreetRenewalsAtOnce,
        Self::MisnumberAct,
        Self::LoseAdopted,
        Self::AllowDenied,
        Self::LoseOutcome,
        Self::LoseChange,
        Self::SwapActs,
        Self::LogLate,
        Self::LogOriginals,
        Self::ForgetUnheard,
        Self::KeepRefused,
        Self::LogTwice,
        Self::SwapRecords,
        Self::LogUnlogged,
    ];
}
