//! TagResource, UntagResource, ListTagsForResource.

use protocol::arn::Scope;
use protocol::control::Empty;
use protocol::control::tag::{
    ListTagsForResourceRequest, ListTagsForResourceResponse, TagResourceRequest, UntagResourceRequest,
};
use protocol::error::ApiError;

use super::{ControlPlane, own_id, store_error};

pub(super) async fn tag(
    control: &ControlPlane,
    scope: &Scope,
    request: TagResourceRequest,
) -> Result<Empty, ApiError> {
    own_id(scope, &request.resource)?;
    let tagged = control.store.tag(&request.resource, request.tags).await;
    tagged.map(|()| Empty {}).map_err(|error| store_error(error, scope))
}

pub(super) async fn untag(
    control: &ControlPlane,
    scope: &Scope,
    request: UntagResourceRequest,
) -> Result<Empty, ApiError> {
    own_id(scope, &request.resource)?;
    let untagged = control.store.untag(&request.resource, request.tag_keys).await;
    untagged.map(|()| Empty {}).map_err(|error| store_error(error, scope))
}

pub(super) async fn list(
    control: &ControlPlane,
    scope: &Scope,
    request: &ListTagsForResourceRequest,
) -> Result<ListTagsForResourceResponse, ApiError> {
    own_id(scope, &request.resource)?;
    let tags = control.store.tags(&request.resource).await.map_err(|error| store_error(error, scope))?;
    Ok(ListTagsForResourceResponse { tags })
}
