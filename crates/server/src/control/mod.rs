//! The control plane: 17 operations over HTTP, as the AWS SDKs speak them.
//!
//! Path of a request: socket -> [`crate::http`] -> `answer` here (request id, sizes, time limits) -> [`auth`]
//! (signature) -> [`Operation`] -> [`auth`] (may they?) -> `quota` (not too often?) -> a handler by resource -> store or
//! bus -> response.
//!
//! Promises:
//! - Every answer has `x-amzn-RequestId` and `Date`; every failure is a typed error, made here and nowhere else.
//! - Nothing is looked into before its signature has been verified. Only health needs none.
//! - A request that panics is answered with a 500 and disturbs no other.
//! - A request that has begun is carried through, even when its client goes away.
//! - The log has no secret, no user id and no attribute; only what is the server's own fault is logged as an error.

pub mod auth;
mod carry;
mod kept_pages;
mod logging_configuration;
mod message;
mod quota;
mod receive;
mod room;
mod tag;
#[cfg(test)]
mod tests;
mod token;
mod trace;

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use protocol::arn::{Arn, ResourceKind, Scope};
use protocol::control::logging_configuration::{
    CreateLoggingConfigurationRequest, ListLoggingConfigurationsRequest,
    LoggingConfigurationIdentifierRequest, UpdateLoggingConfigurationRequest,
};
use protocol::control::message::{DeleteMessageRequest, DisconnectUserRequest, SendEventRequest};
use protocol::control::room::{
    CreateRoomRequest, ListRoomsRequest, RoomIdentifierRequest, UpdateRoomRequest,
};
use protocol::control::tag::{ListTagsForResourceRequest, TagResourceRequest, UntagResourceRequest};
use protocol::control::token::CreateChatTokenRequest;
use protocol::error::ApiError;
use protocol::id::Id;
use protocol::limit::member::TAGS_MAX;
use protocol::operation::Operation;
use protocol::page::{PageKey, PagedList};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::SetOnce;
use tokio_util::task::TaskTracker;

use self::auth::RawRequest;
use self::carry::{CarriedThrough, Panicked, caught};
pub use self::kept_pages::KeptPages;
use self::quota::AdmittedRequest;
use self::receive::Refusal;
use self::trace::Tracer;
use crate::audit::Audit;
use crate::audit::event::{Call, Ending};
use crate::bus::Bus;
use crate::chatlog::ChatLogs;
use crate::clock;
use crate::config::TrustedProxies;
use crate::credentials::Credentials;
use crate::health::{Phase, Readiness};
use crate::http::{self, Answer, Arrived, Port};
use crate::keys::KeyRing;
use crate::metrics::{ApiRequest, Metrics};
use crate::quota::Quotas;
use crate::review::Reviewer;
use crate::store::{OrderKey, Store, StoreError};
use crate::telemetry::Telemetry;
use crate::uuid::uuid;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What the handlers work with.
pub struct ControlPlane {
    /// Rooms, logging configurations, tags.
    pub store: Store,
    /// The way into rooms.
    pub bus: Bus,
    /// Who may sign requests.
    pub credentials: Credentials,
    /// Seals chat tokens.
    pub chat_token_keys: KeyRing,
    /// Seals `nextToken`.
    pub page_token_keys: KeyRing,
    /// Answers to ListRooms.
    pub kept_pages: KeptPages,
    /// What accounts may do; `None`: anything.
    pub quotas: Option<Arc<Quotas>>,
    /// Keeps a record of changes; `None`: nobody does.
    pub audit: Option<Arc<Audit>>,
    /// Who may say for whom it speaks.
    pub trusted_proxies: TrustedProxies,
    /// Counts requests.
    pub metrics: Arc<Metrics>,
    /// Hear of changed logging configurations.
    pub chat_logs: Option<ChatLogs>,
    /// Whoever knows whether message review handlers may be asked; `None`: that is not checked.
    pub handler_checks: Option<Reviewer>,
    /// Has a span for each request.
    pub telemetry: Telemetry,
}

/// Answers requests until the port's end: about the server's health at once, all others as soon as `control` is there.
pub async fn serve(port: Port, readiness: Readiness, control: Arc<SetOnce<Arc<ControlPlane>>>) {
    let requests = port.stop.under_way.clone();
    let handler = move |arrived| answer(readiness.clone(), Arc::clone(&control), requests.clone(), arrived);
    http::serve(port, handler).await;
}

impl ControlPlane {
    /// Finds the position that a `nextToken` stands for. Another server may have sealed it with a key that it has just made.
    async fn open_page_token(
        &self,
        list: &PagedList<'_>,
        token: Option<&str>,
    ) -> Result<Option<OrderKey>, ApiError> {
        let Some(token) = token else { return Ok(None) };
        let open = || {
            let keys = self.page_token_keys.keys();
            let key = |id| keys.iter().find(|key| key.id == id).map(|key| &*key.secret);
            list.open(key, token)
        };
        let mut opened = open();
        if opened.is_err() {
            let looked = self.page_token_keys.look_again(&self.store).await;
            looked.map_err(|error| store_error(error, list.scope))?;
            opened = open();
        }
        opened.map(Some).map_err(|_| {
            ApiError::invalid_field(
                "nextToken",
                "must be what an earlier page of the same list was answered with",
            )
        })
    }

    fn seal_page_token(&self, list: &PagedList<'_>, after: OrderKey) -> Result<String, ApiError> {
        let keys = self.page_token_keys.keys();
        let key = keys.last().ok_or_else(|| ApiError::internal("there is no key for page tokens"))?;
        Ok(list.seal(PageKey { id: key.id, secret: &key.secret }, after))
    }
}

/// A success on its way to the client.
struct Success {
    status: u16,
    /// JSON; empty when there is nothing to say.
    body: Bytes,
}

/// The answer to a request, whatever happens. May be dropped when the client goes away; what has begun ends anyway.
async fn answer(
    readiness: Readiness,
    control: Arc<SetOnce<Arc<ControlPlane>>>,
    requests: TaskTracker,
    arrived: Arrived,
) -> Answer {
    let started = Instant::now();
    let request_id = uuid();
    if let Ok(request) = &arrived
        && let Some(report) = readiness.report(request.method().as_str(), request.uri().path())
    {
        return respond(report.status, report.body, &request_id);
    }
    // First, so that it is clear who only holds a place while everybody waits for the store.
    let received = receive(&readiness, arrived).await;
    let control = control.wait().await;
    let tracer =
        Tracer::begin(&control.telemetry, started, received.as_ref().ok().map(|request| &request.headers));
    let (asked, outcome) = match received {
        Err(refusal) => (None, Err(refusal)),
        Ok(request) => {
            let (asked, outcome) =
                carry_through(&requests, process(Arc::clone(control), request, request_id.clone())).await;
            (asked, outcome.map_err(Refusal::from))
        }
    };
    let operation = asked.as_ref().map(|asked| asked.operation);
    tracer.end(asked.as_ref(), &request_id, &outcome);
    let name = operation.map_or("none", Operation::name);
    let result = outcome.as_ref().map_or_else(|refusal| refusal.error.code().name_and_status().0, |_| "ok");
    control.metrics.api_requests.get_or_create(&ApiRequest { operation: name, result }).inc();
    tracing::debug!(request_id, operation = name, result, micros = started.elapsed().as_micros(), "request");
    match outcome {
        Ok(success) => respond(success.status, success.body, &request_id),
        Err(refusal) => respond_error(&refusal, name, &request_id),
    }
}

/// Takes in the whole request, if it can be read and there is time to carry it out. While the server drains there is
/// not: SDKs try again after a 503, on a new connection, which a load balancer leads elsewhere.
async fn receive(readiness: &Readiness, arrived: Arrived) -> Result<RawRequest, Refusal> {
    let request = arrived.map_err(Refusal::unreadable)?;
    if readiness.phase() == Phase::Draining {
        return Err(Refusal::draining());
    }
    receive::receive(request).await
}

/// What became of a request, and what it was once that is known.
type Processed = (Option<Asked>, Result<Success, ApiError>);

/// A request whose signature was right.
struct Asked {
    operation: Operation,
    /// There where it is told.
    region: Option<Box<str>>,
}

/// Has `work` done to its end, even when the client goes away. If it panics, that is its answer.
async fn carry_through(
    requests: &TaskTracker,
    work: impl Future<Output = Processed> + Send + 'static,
) -> Processed {
    let processed = CarriedThrough::new(requests, work).await;
    processed.unwrap_or_else(|Panicked| (None, Err(ApiError::panicked())))
}

/// From a raw request to its outcome.
async fn process(control: Arc<ControlPlane>, request: RawRequest, request_id: String) -> Processed {
    let authenticated = match request.authenticate(&control.credentials, clock::now()) {
        Ok(request) => request,
        Err(error) => return (None, Err(error)),
    };
    let route = match authenticated.route() {
        Ok(route) => route,
        Err(error) => return (None, Err(error)),
    };
    let operation = route.operation;
    let region = control.telemetry.has_spans().then(|| authenticated.region().into());
    let audit = control.audit.as_deref().filter(|_| !operation.is_read_only());
    let audited = audit.map(|audit| (audit, authenticated.call(&route, &control.trusted_proxies)));
    let admitted = authenticated
        .authorize(route, &control.credentials)
        .and_then(|request| AdmittedRequest::admit(request, control.quotas.as_deref()));
    let work = async { handle(&control, &admitted?).await };
    let outcome = carry_out(audited, &request_id, work).await;
    (
        Some(Asked { operation, region }),
        outcome.map(|body| Success { status: operation.success_status(), body }),
    )
}

/// Does the work of a call and puts the call into the audit log, if that is kept. One that panics half-way may have changed
/// something, and is there like any other.
async fn carry_out(
    audited: Option<(&Audit, Call)>,
    request_id: &str,
    work: impl Future<Output = Result<Bytes, ApiError>>,
) -> Result<Bytes, ApiError> {
    let outcome = caught(work).await.unwrap_or_else(|Panicked| Err(ApiError::panicked()));
    if let Some((audit, call)) = audited {
        record(audit, &call, request_id, &outcome).await;
    }
    outcome
}

/// Puts a call that has ended into the audit log.
async fn record(audit: &Audit, call: &Call, request_id: &str, outcome: &Result<Bytes, ApiError>) {
    let ending = match outcome {
        Ok(body) => Ending::Success(body.clone()),
        Err(error) => {
            let encoded = error.encode();
            let body: Value = serde_json::from_slice(&encoded.body).unwrap_or_default();
            Ending::Failure(encoded.error_type, body["message"].as_str().unwrap_or_default().to_owned())
        }
    };
    audit.write(call.to_line(request_id, &uuid(), clock::now(), &ending)).await;
}

/// The table of the 17 operations: reads the request, calls its handler, encodes the answer.
async fn handle(control: &ControlPlane, admitted: &AdmittedRequest) -> Result<Bytes, ApiError> {
    let AdmittedRequest { request, allowance } = admitted;
    let allowance = allowance.as_deref();
    let (route, scope, query, body) = (request.route(), request.scope(), request.query(), request.body());
    let arn = route.resource_arn.as_deref().unwrap_or_default();
    match route.operation {
        Operation::CreateRoom => {
            let request = CreateRoomRequest::parse(body)?;
            Ok(room::encode_room(&room::create(control, scope, allowance, request).await?))
        }
        Operation::GetRoom => {
            Ok(room::encode_room(&room::get(control, scope, &RoomIdentifierRequest::parse(body)?).await?))
        }
        Operation::ListRooms => room::list(control, scope, ListRoomsRequest::parse(body)?).await,
        Operation::UpdateRoom => {
            Ok(room::encode_room(&room::update(control, scope, UpdateRoomRequest::parse(body)?).await?))
        }
        Operation::DeleteRoom => {
            room::delete(control, scope, &RoomIdentifierRequest::parse(body)?).await?;
            Ok(Bytes::new())
        }
        Operation::CreateLoggingConfiguration => {
            let request = CreateLoggingConfigurationRequest::parse(body)?;
            encode(&logging_configuration::create(control, scope, allowance, request).await?)
        }
        Operation::GetLoggingConfiguration => {
            let request = LoggingConfigurationIdentifierRequest::parse(body)?;
            encode(&logging_configuration::get(control, scope, &request).await?)
        }
        Operation::ListLoggingConfigurations => {
            let request = ListLoggingConfigurationsRequest::parse(body)?;
            encode(&logging_configuration::list(control, scope, request).await?)
        }
        Operation::UpdateLoggingConfiguration => {
            let request = UpdateLoggingConfigurationRequest::parse(body)?;
            encode(&logging_configuration::update(control, scope, request).await?)
        }
        Operation::DeleteLoggingConfiguration => {
            let request = LoggingConfigurationIdentifierRequest::parse(body)?;
            logging_configuration::delete(control, scope, &request).await?;
            Ok(Bytes::new())
        }
        Operation::CreateChatToken => {
            encode(&token::create(control, scope, CreateChatTokenRequest::parse(body)?).await?)
        }
        Operation::SendEvent => {
            encode(&message::send_event(control, scope, SendEventRequest::parse(body)?).await?)
        }
        Operation::DeleteMessage => {
            encode(&message::delete(control, scope, DeleteMessageRequest::parse(body)?).await?)
        }
        Operation::DisconnectUser => {
            encode(&message::disconnect_user(control, scope, DisconnectUserRequest::parse(body)?).await?)
        }
        Operation::TagResource => {
            encode(&tag::tag(control, scope, TagResourceRequest::parse(arn, body)?).await?)
        }
        Operation::UntagResource => {
            encode(&tag::untag(control, scope, UntagResourceRequest::parse(arn, query)?).await?)
        }
        Operation::ListTagsForResource => {
            encode(&tag::list(control, scope, &ListTagsForResourceRequest::parse(arn)?).await?)
        }
    }
}

fn encode<T: Serialize>(response: &T) -> Result<Bytes, ApiError> {
    serde_json::to_vec(response).map(Bytes::from).map_err(|error| ApiError::internal(error.to_string()))
}

/// The id in an ARN, if it is one that the caller can have: of the own account and region, and of the form that ids
/// have. Of everything else the caller learns that it is not there.
fn own_id(scope: &Scope, arn: &Arn) -> Result<Id, ApiError> {
    arn.id().filter(|_| arn.scope() == scope).ok_or_else(|| ApiError::not_found(arn))
}

/// What the store's error is to the client.
fn store_error(error: StoreError, scope: &Scope) -> ApiError {
    let arn = |kind, id| Arn::new(scope.clone(), kind, id);
    match error {
        StoreError::RoomNotFound(id) => ApiError::not_found(&arn(ResourceKind::Room, id)),
        StoreError::LoggingConfigurationNotFound(id) => {
            ApiError::not_found(&arn(ResourceKind::LoggingConfiguration, id))
        }
        StoreError::ResourceNotFound(arn) => ApiError::not_found(&arn),
        StoreError::LoggingConfigurationInUse(id) => {
            let arn = arn(ResourceKind::LoggingConfiguration, id);
            ApiError::conflict(&arn, format!("Resource: {arn} is in use by a room"))
        }
        StoreError::TooManyTags(_) => {
            ApiError::invalid_field("tags", format!("must leave the resource with at most {TAGS_MAX} tags"))
        }
        StoreError::Damaged(cause) => ApiError::internal(cause),
        StoreError::Unavailable(cause) => ApiError::unavailable(cause),
    }
}

fn respond_error(refusal: &Refusal, operation: &'static str, request_id: &str) -> Answer {
    let encoded = refusal.error.encode();
    if encoded.status >= 500 {
        let cause = refusal.error.cause().unwrap_or_default();
        tracing::error!(request_id, operation, error = encoded.error_type, cause, "request failed");
    }
    let mut answer = respond(encoded.status, encoded.body, request_id);
    answer.headers_mut().insert(ERROR_TYPE, HeaderValue::from_static(encoded.error_type));
    if refusal.closes_connection {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

fn respond(status: u16, body: impl Into<Bytes>, request_id: &str) -> Answer {
    let body: Bytes = body.into();
    let has_body = !body.is_empty();
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if has_body {
        answer.headers_mut().insert(CONTENT_TYPE, JSON);
    }
    if let Ok(request_id) = HeaderValue::from_str(request_id) {
        answer.headers_mut().insert(REQUEST_ID, request_id);
    }
    answer
}
