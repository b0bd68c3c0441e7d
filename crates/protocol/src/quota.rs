//! The quotas of an account: what AWS allows it in one region, over all its rooms. The limits profile `aws` enforces
//! them; the others do not.
//!
//! The one table of these figures. All are from "Amazon IVS Chat service quotas" of the user guide, which says "All
//! quotas are enforced per region". The quotas of a single room, connection or request are in [`crate::limit`].

use crate::operation::Operation;

/// Requests per second of an operation. Guide, "API call rate quotas": not adjustable.
#[must_use]
pub const fn requests_per_second(operation: Operation) -> u32 {
    match operation {
        Operation::DeleteMessage | Operation::DisconnectUser | Operation::SendEvent => 100,
        Operation::CreateChatToken => 200,
        Operation::CreateLoggingConfiguration
        | Operation::DeleteLoggingConfiguration
        | Operation::GetLoggingConfiguration
        | Operation::ListLoggingConfigurations
        | Operation::UpdateLoggingConfiguration => 3,
        Operation::CreateRoom
        | Operation::DeleteRoom
        | Operation::GetRoom
        | Operation::ListRooms
        | Operation::UpdateRoom => 5,
        Operation::ListTagsForResource | Operation::TagResource | Operation::UntagResource => 10,
    }
}

/// The quotas that AWS raises on request, so they are settings here. Guide, "Other quotas": those marked as adjustable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdjustableQuotas {
    /// Rooms that may exist; beyond it ServiceQuotaExceededException (402). Quota L-85B84D18.
    pub rooms: u32,
    /// Logging configurations that may exist; beyond it ServiceQuotaExceededException (402). Quota L-F87B0F22.
    pub logging_configurations: u32,
    /// Chat connections at once; beyond it a handshake is refused with 429 (the guide does not say how). Quota
    /// L-2D7A45DA.
    pub connections: u32,
    /// SEND_MESSAGE requests per second; beyond it ERROR 429. Quota L-B11841BF.
    pub send_message_requests_per_second: u32,
    /// DeleteMessage and DELETE_MESSAGE requests per second, together; beyond it ThrottlingException or ERROR 429.
    /// Quota L-766F0845.
    pub delete_message_requests_per_second: u32,
    /// DisconnectUser and DISCONNECT_USER requests per second, together; beyond it ThrottlingException or ERROR 429.
    /// Quota L-0CF8D910.
    pub disconnect_user_requests_per_second: u32,
}

/// What each account has unless it asks for more.
impl Default for AdjustableQuotas {
    fn default() -> Self {
        Self {
            rooms: 50_000,
            logging_configurations: 10,
            connections: 50_000,
            send_message_requests_per_second: 1_000,
            delete_message_requests_per_second: 100,
            disconnect_user_requests_per_second: 100,
        }
    }
}

/// Accounts times regions whose use of their rates and connections is kept apart. A region is whatever a signed request
/// says, so there must be an end; beyond it, further ones share one and the same quota until others have been idle
/// for a second. Ours.
pub const ACCOUNTS_MAX: usize = 1_024;
