//! What all rooms of an account in one region share: the rates of its quotas. The limits profile `aws` has them.

use protocol::messaging::{Action, Moderation};
use protocol::quota::AdjustableQuotas;

use crate::rate::SharedRate;

/// The messaging rates of one account in one region. The control plane and all shards draw on them.
#[derive(Debug)]
pub struct AccountRates {
    send_message: SharedRate,
    delete_message: SharedRate,
    disconnect_user: SharedRate,
}

impl AccountRates {
    /// Rates that nobody has drawn on yet.
    #[must_use]
    pub fn new(quotas: &AdjustableQuotas) -> Self {
        Self {
            send_message: SharedRate::new(quotas.send_message_requests_per_second),
            delete_message: SharedRate::new(quotas.delete_message_requests_per_second),
            disconnect_user: SharedRate::new(quotas.disconnect_user_requests_per_second),
        }
    }

    /// The rate that an action counts towards.
    #[must_use]
    pub fn of(&self, action: &Action) -> &SharedRate {
        match action {
            Action::SendMessage { .. } => &self.send_message,
            Action::Moderate(Moderation::DeleteMessage { .. }) => self.delete_message(),
            Action::Moderate(Moderation::DisconnectUser { .. }) => self.disconnect_user(),
        }
    }

    /// DeleteMessage and DELETE_MESSAGE.
    #[must_use]
    pub fn delete_message(&self) -> &SharedRate {
        &self.delete_message
    }

    /// DisconnectUser and DISCONNECT_USER.
    #[must_use]
    pub fn disconnect_user(&self) -> &SharedRate {
        &self.disconnect_user
    }

    /// Whether nothing is remembered any more at `now` (monotonic nanoseconds).
    #[must_use]
    pub fn is_idle(&self, now_nanos: u64) -> bool {
        [&self.send_message, &self.delete_message, &self.disconnect_user]
            .iter()
            .all(|rate| rate.is_idle(now_nanos))
    }
}
