//! What has been proved about a request, as types: [`RawRequest`] -> [`AuthenticatedRequest`] ->
//! [`AuthorizedRequest`]. Handlers take only what is made of the last one, so none can run before the signature was
//! checked.
//!
//! Nothing of a request is looked into before its signature has been verified, its path and body included.

use std::net::IpAddr;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{HeaderName, USER_AGENT};
use protocol::arn::Scope;
use protocol::control::tag::UntagResourceRequest;
use protocol::error::{ApiError, Code};
use protocol::operation::{Operation, Route};
use protocol::sigv4::{self, Dialect, RequestView};
use protocol::time::Timestamp;

use crate::audit::event::Call;
use crate::config::TrustedProxies;
use crate::credentials::Credentials;
use crate::http::Seat;

/// A request as it came over the wire. Nobody knows who sent it.
#[derive(Clone)]
pub struct RawRequest {
    /// In capitals.
    pub method: String,
    /// Still percent-encoded.
    pub path: String,
    /// Still percent-encoded; empty when there is none.
    pub query: String,
    /// As they came.
    pub headers: HeaderMap,
    /// Whoever is at the other end of the connection.
    pub peer: Option<IpAddr>,
    /// The place of its connection, if places are counted.
    pub seat: Option<Seat>,
    /// The whole body.
    pub body: Bytes,
}

/// A request that was signed by the owner of a secret key and not changed since.
pub struct AuthenticatedRequest {
    request: RawRequest,
    access_key_id: Box<str>,
    scope: Scope,
}

/// An authenticated request whose operation is known and whose sender may do that.
pub struct AuthorizedRequest {
    route: Route,
    scope: Scope,
    query: String,
    body: Bytes,
}

impl RawRequest {
    /// Verifies the signature. The connection is that of somebody known then.
    ///
    /// # Errors
    ///
    /// One of the four of Signature Version 4; see [`sigv4::verify`].
    pub fn authenticate(
        self,
        credentials: &Credentials,
        now: Timestamp,
    ) -> Result<AuthenticatedRequest, ApiError> {
        let headers: Vec<(&str, &[u8])> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let view = RequestView {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &headers,
            body: &self.body,
        };
        let verified = sigv4::verify(&view, Dialect::IVSCHAT, now, |id| credentials.find(id))?;
        self.seat.as_ref().inspect(|seat| seat.known());
        Ok(AuthenticatedRequest {
            access_key_id: verified.access_key_id,
            scope: verified.scope,
            request: self,
        })
    }
}

impl AuthenticatedRequest {
    /// Finds the operation, for which the sender is then authorized.
    ///
    /// # Errors
    ///
    /// UnknownOperationException.
    pub fn route(&self) -> Result<Route, ApiError> {
        Route::find(&self.request.method, &self.request.path)
    }

    /// The region of its credential scope.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.scope.region
    }

    /// What the audit log says of the request.
    #[must_use]
    pub fn call(&self, route: &Route, trusted_proxies: &TrustedProxies) -> Call {
        let header = |name| {
            let values = self.request.headers.get_all(name).iter();
            values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect::<Vec<_>>().join(",")
        };
        let forwarded_for = header(HeaderName::from_static("x-forwarded-for"));
        Call {
            operation: route.operation.name(),
            scope: self.scope.clone(),
            access_key_id: self.access_key_id.clone(),
            client: self.request.peer.map(|peer| trusted_proxies.client(peer, &forwarded_for)),
            user_agent: header(USER_AGENT),
            body: self.request.body.clone(),
            resource_arn: route.resource_arn.clone(),
            tag_keys: self.tag_keys(route).unwrap_or_default(),
        }
    }

    /// The keys that UntagResource has in its query, if they can be read.
    fn tag_keys(&self, route: &Route) -> Option<Vec<String>> {
        let arn = route.resource_arn.as_deref().filter(|_| route.operation == Operation::UntagResource)?;
        Some(UntagResourceRequest::parse(arn, &self.request.query).ok()?.tag_keys)
    }

    /// Looks whether the sender may do what `route` says.
    ///
    /// # Errors
    ///
    /// AccessDeniedException.
    pub fn authorize(self, route: Route, credentials: &Credentials) -> Result<AuthorizedRequest, ApiError> {
        if !is_allowed(&self.access_key_id, route.operation, credentials) {
            let message = format!("Not authorized to perform: {}", route.operation.action());
            return Err(ApiError::plain(Code::AccessDenied, message));
        }
        let RawRequest { query, body, .. } = self.request;
        Ok(AuthorizedRequest { route, scope: self.scope, query, body })
    }
}

impl AuthorizedRequest {
    /// What is asked for.
    #[must_use]
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// The sender's account and the region of the credential scope: everything the request can reach.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Still percent-encoded.
    #[must_use]
    pub fn query(&self) -> &str {
        &self.query
    }

    /// Not looked into yet.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

/// Root may do everything, and all credentials there are so far are the root's. A key that is not among them (any
/// more) may do nothing.
fn is_allowed(access_key_id: &str, _operation: Operation, credentials: &Credentials) -> bool {
    credentials.find(access_key_id).is_some()
}
