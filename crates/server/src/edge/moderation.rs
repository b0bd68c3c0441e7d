//! What members do as moderators, for the audit log.

use hub::message::Moderated;

use crate::audit::Audit;
use crate::audit::event::moderation_line;
use crate::clock;
use crate::uuid::uuid;

/// Has a line written of what a member has done; waits for nothing.
pub(super) fn note(audit: &Audit, moderated: &Moderated) {
    audit.note(moderation_line(moderated, &uuid(), clock::now()));
}
