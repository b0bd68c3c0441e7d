//! CreateRoom, GetRoom, ListRooms, UpdateRoom, DeleteRoom.

use bytes::Bytes;
use protocol::arn::{Arn, ResourceKind, Scope};
use protocol::control::constraint::FallbackResult;
use protocol::control::room::{
    CreateRoomRequest, ListRoomsRequest, ListRoomsResponse, MessageReviewHandler, RoomIdentifierRequest,
    RoomResponse, RoomSummary, UpdateRoomRequest,
};
use protocol::error::ApiError;
use protocol::id::Id;
use protocol::limit::member;
use protocol::operation::Operation;
use protocol::page::PagedList;
use protocol::time::Timestamp;

use super::kept_pages::PageKey;
use super::{ControlPlane, own_id, quota, store_error};
use crate::quota::Allowance;
use crate::store::{
    self, Fallback, NewRoom, ReviewHandlerChange, ReviewHandlerSetting, RoomChange, RoomFilter, RoomSink,
};

pub(super) async fn create(
    control: &ControlPlane,
    scope: &Scope,
    allowance: Option<&Allowance>,
    request: CreateRoomRequest,
) -> Result<store::Room, ApiError> {
    let logging_configurations = own_ids(scope, &request.logging_configurations)?;
    let room = NewRoom {
        name: request.name.unwrap_or_default(),
        message_rate_max: request.maximum_message_rate_per_second.unwrap_or(member::MESSAGE_RATE_DEFAULT),
        message_length_max: request.maximum_message_length.unwrap_or(member::MESSAGE_LENGTH_MAX),
        review_handler: request.message_review_handler.and_then(handler_setting),
        logging_configurations,
        tags: request.tags,
    };
    check_handler(control, scope, room.review_handler.as_ref().map(|handler| handler.uri.as_str())).await?;
    let _turn = quota::reserve(control, scope, allowance, ResourceKind::Room).await?;
    control.store.create_room(scope, room).await.map_err(|error| store_error(error, scope))
}

pub(super) async fn get(
    control: &ControlPlane,
    scope: &Scope,
    request: &RoomIdentifierRequest,
) -> Result<store::Room, ApiError> {
    find(control, scope, &request.identifier).await
}

/// The room of an ARN, if it is the caller's own.
pub(super) async fn find(control: &ControlPlane, scope: &Scope, room: &Arn) -> Result<store::Room, ApiError> {
    let id = own_id(scope, room)?;
    control.store.get_room(scope, id).await.map_err(|error| store_error(error, scope))
}

pub(super) async fn update(
    control: &ControlPlane,
    scope: &Scope,
    request: UpdateRoomRequest,
) -> Result<store::Room, ApiError> {
    let id = own_id(scope, &request.identifier)?;
    let logging_configurations =
        request.logging_configurations.as_deref().map(|arns| own_ids(scope, arns)).transpose()?;
    let handler = request.message_review_handler.as_ref().and_then(|handler| handler.uri.as_deref());
    check_handler(control, scope, handler).await?;
    let change = RoomChange {
        name: request.name,
        message_rate_max: request.maximum_message_rate_per_second,
        message_length_max: request.maximum_message_length,
        review_handler: request.message_review_handler.map(handler_change),
        logging_configurations,
    };
    let room =
        control.store.update_room(scope, id, change).await.map_err(|error| store_error(error, scope))?;
    // Before the answer, so that whoever has it can count on the new settings.
    control.bus.room_changed(&room).await;
    Ok(room)
}

pub(super) async fn delete(
    control: &ControlPlane,
    scope: &Scope,
    request: &RoomIdentifierRequest,
) -> Result<(), ApiError> {
    let id = own_id(scope, &request.identifier)?;
    control.store.delete_room(scope, id).await.map_err(|error| store_error(error, scope))?;
    control.bus.room_deleted(scope, id).await;
    Ok(())
}

pub(super) async fn list(
    control: &ControlPlane,
    scope: &Scope,
    request: ListRoomsRequest,
) -> Result<Bytes, ApiError> {
    let logging_configuration_text = request.logging_configuration.as_ref().map(Arn::to_string);
    let list = PagedList {
        operation: Operation::ListRooms,
        scope,
        filters: &[
            request.name.as_deref(),
            request.message_review_handler_uri.as_deref(),
            logging_configuration_text.as_deref(),
        ],
    };
    let after = control.open_page_token(&list, request.next_token.as_deref()).await?;
    let logging_configuration =
        request.logging_configuration.as_ref().map(|arn| own_id(scope, arn)).transpose()?;
    let filter = RoomFilter {
        name: request.name.clone(),
        review_handler_uri: request.message_review_handler_uri.clone(),
        logging_configuration,
    };
    let page_size = request.page_size.unwrap_or(member::PAGE_SIZE_MAX);
    let edition = control.store.edition();
    let key = PageKey { scope: scope.clone(), filter, after, page_size };
    if let Some(kept) = edition.and_then(|edition| control.kept_pages.find(edition, &key)) {
        return Ok(kept);
    }
    let response = ListRoomsResponse::new(scope, page_size);
    let page = control
        .store
        .list_rooms(scope, &key.filter, after, page_size, response)
        .await
        .map_err(|error| store_error(error, scope))?;
    let next_token = page.next.map(|after| control.seal_page_token(&list, after)).transpose()?;
    let answer = Bytes::from(page.entries.finish(next_token.as_deref()));
    if let Some(edition) = edition.filter(|_| control.store.edition() == edition) {
        control.kept_pages.keep(edition, key, &answer);
    }
    Ok(answer)
}

/// Rooms become JSON while their rows are read.
impl RoomSink for ListRoomsResponse {
    fn take(&mut self, room: store::RoomSummary<'_>) {
        self.push(&summary(&room));
    }
}

fn own_ids(scope: &Scope, arns: &[Arn]) -> Result<Vec<Id>, ApiError> {
    arns.iter().map(|arn| own_id(scope, arn)).collect()
}

/// A fallback result without a handler has nothing to fall back from.
fn handler_setting(handler: MessageReviewHandler) -> Option<ReviewHandlerSetting> {
    let uri = handler.uri.filter(|uri| !uri.is_empty())?;
    Some(ReviewHandlerSetting { uri, fallback: handler.fallback_result.map(fallback).unwrap_or_default() })
}

/// Makes sure that a handler is of the room's own account and region, as the guide wants it ("Chat Message Review Handler"):
/// functions are invoked with this server's credentials, and whoever may make rooms must not reach more with them. And that
/// it may be asked, if that is wanted; that text is the service's own.
async fn check_handler(control: &ControlPlane, scope: &Scope, uri: Option<&str>) -> Result<(), ApiError> {
    let Some(uri) = uri.filter(|uri| !uri.is_empty()) else { return Ok(()) };
    if !scope.has_function(uri) {
        return Err(ApiError::invalid_field(
            "uri",
            "the function must be in the account and the region of the room",
        ));
    }
    match &control.handler_checks {
        Some(reviewer) if !reviewer.may_ask(uri).await => {
            Err(ApiError::invalid_field("uri", "invalid lambda permission"))
        }
        _ => Ok(()),
    }
}

fn handler_change(handler: MessageReviewHandler) -> ReviewHandlerChange {
    match handler.uri {
        Some(uri) if uri.is_empty() => ReviewHandlerChange::Remove,
        uri => ReviewHandlerChange::Set { uri, fallback: handler.fallback_result.map(fallback) },
    }
}

fn fallback(result: FallbackResult) -> Fallback {
    match result {
        FallbackResult::Allow => Fallback::Allow,
        FallbackResult::Deny => Fallback::Deny,
    }
}

/// The answer to CreateRoom, GetRoom and UpdateRoom.
pub(super) fn encode_room(room: &store::Room) -> Bytes {
    let shown = room.summary();
    let response = RoomResponse {
        summary: summary(&shown),
        maximum_message_rate_per_second: room.message_rate_max,
        maximum_message_length: room.message_length_max,
    };
    response.encode(&room.scope).into()
}

fn summary<'a>(room: &'a store::RoomSummary<'_>) -> RoomSummary<'a> {
    RoomSummary {
        id: room.id,
        create_time: Timestamp::from_micros(room.create_time),
        update_time: Timestamp::from_micros(room.order_key),
        logging_configurations: &room.logging_configurations,
        details: &room.details,
    }
}
