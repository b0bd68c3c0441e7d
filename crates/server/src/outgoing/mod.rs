//! HTTP requests to others: message review handlers, and destinations of chat logs.
//!
//! Promises:
//! - A call has its answer, or an error, by its deadline, whatever the other side does.
//! - Connections are kept and used again. How many calls an origin has at a time, and how many connections are kept for the
//!   next ones, is bounded ([`protocol::limit::outgoing`]); further calls wait within their deadline. Whoever is stuck is in
//!   the way of calls to the same origin only.
//! - A name that is not resolved takes a thread, and no more of them whoever asks for it (`names`).
//! - Whoever is far away is reached by the calls after the first one: a connection that was made too late for its call is
//!   kept, and so is one whose answer came too late, where the call allows that (`lasting`).
//! - A path whose calls lose kept connections gets new ones until it has brought as many: one that is stuck costs the
//!   others of its origin nothing but those that were there when it began (`pool`).
//! - A call that has not ended well takes its connection with it, so no answer is taken for that of another call.
//! - An answer is at most as long as the caller wants.
//!
//! A request may arrive twice: when a kept connection breaks before the answer is there, a new one takes its place, once. There are no redirects, no proxies, and no HTTP/2.

mod lasting;
mod names;
mod pool;
mod trust;

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use protocol::limit::outgoing::CALLS_PER_ORIGIN_MAX;
use tokio::time::{Instant, timeout_at};

use self::lasting::Lasting;
use self::names::ask_system;
use self::pool::{Held, Origin, Pool, Visit};
pub use self::trust::{Trust, TrustError};

/// What is to be sent, and how long that may take.
#[derive(Clone, Debug)]
pub struct Call {
    /// Usually POST or PUT.
    pub method: Method,
    /// `http` or `https`, with a host.
    pub uri: Uri,
    /// All headers but `host` and `content-length`; secrets among them are to be marked as sensitive.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// After this there is only [`CallError::TimedOut`].
    pub deadline: Instant,
    /// The longest body of an answer, in bytes.
    pub answer_bytes_max: usize,
    /// Whether a request that is under way at the deadline is carried to its end, so that its connection can be kept. Not
    /// for what must not arrive behind a later request.
    pub outlives_deadline: bool,
}

/// What came back, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Not looked at here.
    pub status: StatusCode,
    /// Of the answer.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// No connection could be made: no such host, nobody listens, no trust.
    Unreachable(String),
    /// The connection ended before the answer did, or what came is no HTTP.
    Broken(String),
    /// The deadline has passed.
    TimedOut,
    /// The answer, with this status, is longer than the caller wants.
    AnswerTooLong(StatusCode),
}

impl fmt::Display for CallError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(cause) => write!(formatter, "no connection: {cause}"),
            Self::Broken(cause) => write!(formatter, "no whole answer: {cause}"),
            Self::TimedOut => formatter.write_str("no answer in time"),
            Self::AnswerTooLong(_) => formatter.write_str("the answer is too long"),
        }
    }
}

impl std::error::Error for CallError {}

/// Makes calls; clones share their connections.
#[derive(Clone)]
pub struct Caller {
    pool: Arc<Pool>,
}

impl Caller {
    /// A caller that has no connections yet, for at most [`CALLS_PER_ORIGIN_MAX`] calls to an origin at a time.
    #[must_use]
    pub fn new(trust: Trust) -> Self {
        Self::with_calls_per_origin_max(trust, CALLS_PER_ORIGIN_MAX)
    }

    /// A caller that has no connections yet, for at most so many calls to an origin at a time.
    #[must_use]
    pub fn with_calls_per_origin_max(trust: Trust, calls_per_origin_max: usize) -> Self {
        Self { pool: Arc::new(Pool::new(trust, ask_system, calls_per_origin_max)) }
    }

    /// Makes a call. To drop the future is to give up the call; what becomes of its connection is in the module's promises.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(&self, call: Call) -> Result<Answer, CallError> {
        let deadline = call.deadline;
        timeout_at(deadline, Box::pin(self.carry_out(call))).await.unwrap_or(Err(CallError::TimedOut))
    }

    async fn carry_out(&self, call: Call) -> Result<Answer, CallError> {
        let visit = Visit::new(&self.pool, &call.uri)?;
        let _place = visit.place().await?;
        let held = visit.connection().await?;
        let was_kept = held.was_kept();
        match self.exchange(&visit, held, &call).await {
            Err(CallError::Broken(_)) if was_kept => {
                let held = visit.new_connection().await?;
                self.exchange(&visit, held, &call).await
            }
            answer => answer,
        }
    }

    async fn exchange(&self, visit: &Visit, held: Held, call: &Call) -> Result<Answer, CallError> {
        let exchange = exchange(held, visit.origin().clone(), call.clone());
        if call.outlives_deadline {
            Lasting::new(exchange, visit.rooms_for_late_answers()).await
        } else {
            exchange.await
        }
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Caller").finish_non_exhaustive()
    }
}

/// Sends the request and reads the whole answer; then the connection is kept.
async fn exchange(mut held: Held, origin: Origin, call: Call) -> Result<Answer, CallError> {
    let broken = |error: hyper::Error| CallError::Broken(innermost(&error));
    let path = call.uri.path_and_query().map_or("/", |path| path.as_str());
    let path = path.parse().map_err(|_| CallError::Unreachable("the path is no path".to_owned()))?;
    let mut request = Request::new(Full::new(call.body));
    *request.method_mut() = call.method;
    *request.uri_mut() = path;
    *request.headers_mut() = call.headers;
    request.headers_mut().insert(HOST, origin.host_header()?);
    let sender = held.begin()?;
    sender.ready().await.map_err(broken)?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let answer = read(response, call.answer_bytes_max).await?;
    held.keep();
    Ok(answer)
}

async fn read(response: Response<Incoming>, bytes_max: usize) -> Result<Answer, CallError> {
    let (head, mut body) = response.into_parts();
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| CallError::Broken(innermost(&error)))?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > bytes_max {
            return Err(CallError::AnswerTooLong(head.status));
        }
        bytes.extend_from_slice(data);
    }
    Ok(Answer { status: head.status, headers: head.headers, body: bytes.freeze() })
}

/// What an error comes from; the errors around it say only what was tried.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// A header value from text that is ours; nothing that breaks a header gets into one.
///
/// # Errors
/// It has characters that no header may have.
pub fn header_value(text: &str) -> Result<HeaderValue, CallError> {
    HeaderValue::from_str(text).map_err(|_| CallError::Unreachable("a header has odd characters".to_owned()))
}

#[cfg(test)]
mod tests;
