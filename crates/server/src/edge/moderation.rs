//! What members do as moderators, for the audit log.

use hub::message::Moderated;
use protocol::arn::{Arn, ResourceKind};
use serde_json::Value;

use crate::audit::Audit;
use crate::audit::event::moderation_line;
use crate::clock;
use crate::uuid::uuid;

/// Has a line written of what a member has done; waits for nothing.
pub(super) fn note(audit: &Audit, moderated: &Moderated) {
    let Moderated { room, sender, moderation } = moderated;
    let sender: Value = serde_json::from_str(sender).unwrap_or_default();
    let user_id = sender["UserId"].as_str().unwrap_or_default();
    let arn = Arn::new((*room.scope).clone(), ResourceKind::Room, room.id).to_string();
    audit.note(moderation_line(&room.scope, &arn, user_id, moderation, &uuid(), clock::now()));
}
