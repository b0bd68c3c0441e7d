//! Whether an account may make one more request, or have one more resource: the limits profile `aws`.
//!
//! The rate comes after the signature and the permission, so that nobody uses up what is not theirs, and before
//! anything of the request is read, so that a request which turns out to be wrong counts as well, as on AWS.

use std::sync::Arc;

use protocol::arn::{Arn, ResourceKind, Scope};
use protocol::control::named_resource;
use protocol::error::ApiError;
use tokio::sync::MutexGuard;

use super::auth::AuthorizedRequest;
use super::{ControlPlane, store_error};
use crate::clock;
use crate::quota::{Allowance, Quotas};

/// An authorized request that its account may make just now. Handlers take nothing else.
pub(super) struct AdmittedRequest {
    pub(super) request: AuthorizedRequest,
    /// What else the account may do; `None`: anything.
    pub(super) allowance: Option<Arc<Allowance>>,
}

impl AdmittedRequest {
    /// Counts the request towards the rate of its operation.
    ///
    /// # Errors
    /// ThrottlingException. It names the room or logging configuration that the request is about, or else the account.
    pub(super) fn admit(request: AuthorizedRequest, quotas: Option<&Quotas>) -> Result<Self, ApiError> {
        let Some(quotas) = quotas else { return Ok(Self { request, allowance: None }) };
        let allowance = quotas.allowance(request.scope());
        match allowance.admit(request.route().operation, clock::monotonic_nanos()) {
            Ok(()) => Ok(Self { request, allowance: Some(allowance) }),
            Err(per_second) => Err(ApiError::throttled(&subject(&request), per_second)),
        }
    }
}

/// The id of what a request is about. The model requires one of every ThrottlingException, and most operations name no
/// room.
fn subject(request: &AuthorizedRequest) -> String {
    let arn = match &request.route().resource_arn {
        Some(text) => Arn::parse(text),
        None => named_resource(request.body()),
    };
    let id = arn.and_then(|arn| arn.id());
    id.map_or_else(|| request.scope().account_id.to_string(), |id| id.to_string())
}

/// Looks whether the account may have one more resource of a kind. Until what it answers is dropped, nobody else of the
/// account and region creates any: so it is certain, on one node. The store itself is asked how many there are, so no
/// count can be wrong.
///
/// # Errors
/// ServiceQuotaExceededException, or the store's failure.
pub(super) async fn reserve<'a>(
    control: &ControlPlane,
    scope: &Scope,
    allowance: Option<&'a Allowance>,
    kind: ResourceKind,
) -> Result<Option<MutexGuard<'a, ()>>, ApiError> {
    let Some(allowance) = allowance else { return Ok(None) };
    let (limit, what) = match kind {
        ResourceKind::Room => (allowance.figures().rooms, "rooms"),
        ResourceKind::LoggingConfiguration => {
            (allowance.figures().logging_configurations, "logging configurations")
        }
    };
    let turn = allowance.creation().await;
    let is_full = control.store.has_at_least(scope, kind, limit).await;
    if is_full.map_err(|error| store_error(error, scope))? {
        let message = format!("The account has {limit} {what} in this region already, its quota");
        return Err(ApiError::quota_exceeded(&scope.account_id, limit, message));
    }
    Ok(Some(turn))
}
