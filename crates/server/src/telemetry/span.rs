//! A span: what was done, from when to when, and how it went.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use protocol::limit::telemetry::TRACE_STATE_BYTES_MAX;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use std::sync::Arc;

use super::context::{SpanContext, SpanId};
use crate::clock;
use crate::metrics::{SpanLoss, TelemetryMetrics};

/// The header that says of which span a request is part.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What a span is to the one around it, with the number that it has in OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Work in this process.
    Internal = 1,
    /// Somebody's request.
    Server = 2,
    /// A request to somebody.
    Client = 3,
}

/// What an attribute says. Never what somebody has said in a chat, nor anything that is secret.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValue {
    /// A word of ours.
    Word(&'static str),
    /// A name.
    Text(Box<str>),
    /// A count.
    Number(i64),
    /// Yes or no.
    Truth(bool),
}

impl From<&'static str> for AttributeValue {
    fn from(word: &'static str) -> Self {
        Self::Word(word)
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<u64> for AttributeValue {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<bool> for AttributeValue {
    fn from(truth: bool) -> Self {
        Self::Truth(truth)
    }
}

/// The span of somebody else that a request is part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    pub(super) context: SpanContext,
    /// What others have said of the trace, for others to read.
    pub(super) state: Option<Box<str>>,
}

impl Parent {
    /// What the headers of a request say. Without exactly one `traceparent` that makes sense, they say nothing.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let (value, None) = (values.next()?, values.next()) else { return None };
        let context = SpanContext::parse(value.as_bytes())?;
        let states: Vec<&str> = headers
            .get_all(TRACESTATE)
            .iter()
            .map(HeaderValue::to_str)
            .collect::<Result<_, _>>()
            .unwrap_or_default();
        let state = states.join(",");
        let is_kept = (1..=TRACE_STATE_BYTES_MAX).contains(&state.len());
        Some(Self { context, state: is_kept.then(|| state.into()) })
    }
}

/// A span that has ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finished {
    pub(super) context: SpanContext,
    /// The span around it, and whether that is somebody else's.
    pub(super) parent: Option<SpanId>,
    pub(super) state: Option<Box<str>>,
    pub(super) kind: SpanKind,
    pub(super) name: &'static str,
    /// Nanoseconds since 1970.
    pub(super) begin_nanos: u64,
    pub(super) end_nanos: u64,
    pub(super) attributes: Vec<(&'static str, AttributeValue)>,
    pub(super) has_failed: bool,
}

/// Where spans go that have ended.
#[derive(Debug)]
pub(super) struct Outbox {
    pub(super) sender: Sender<Finished>,
    pub(super) metrics: Arc<TelemetryMetrics>,
}

/// A span that has begun; it ends when it is dropped. One that nobody keeps costs nothing but this.
#[derive(Debug, Default)]
pub struct Span {
    /// `None`: there are no spans.
    context: Option<SpanContext>,
    /// There if it is kept.
    kept: Option<Box<Kept>>,
}

#[derive(Debug)]
struct Kept {
    begin: Instant,
    finished: Finished,
    outbox: Arc<Outbox>,
}

impl Span {
    /// A span that nobody keeps: its parts are told so.
    pub(super) fn unkept(context: SpanContext) -> Self {
        Self { context: Some(context), kept: None }
    }

    /// A span that is kept and has begun at `begin`.
    pub(super) fn kept(
        context: SpanContext,
        (kind, name): (SpanKind, &'static str),
        begin: Instant,
        parent: Option<Parent>,
        outbox: Arc<Outbox>,
    ) -> Self {
        let so_far = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let begin_nanos = clock::now().as_nanos().saturating_sub(so_far);
        let finished = Finished {
            context,
            parent: parent.as_ref().map(|parent| parent.context.span_id),
            state: parent.and_then(|parent| parent.state),
            kind,
            name,
            begin_nanos,
            end_nanos: begin_nanos,
            attributes: Vec::with_capacity(8),
            has_failed: false,
        };
        Self { context: Some(context), kept: Some(Box::new(Kept { begin, finished, outbox })) }
    }

    /// Whether what is said of it is kept.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Says something of it. Nothing is made of what nobody keeps.
    pub fn say<V: Into<AttributeValue>>(&mut self, key: &'static str, value: impl FnOnce() -> V) {
        if let Some(kept) = &mut self.kept {
            kept.finished.attributes.push((key, value().into()));
        }
    }

    /// It has failed.
    pub fn fail(&mut self) {
        if let Some(kept) = &mut self.kept {
            kept.finished.has_failed = true;
        }
    }

    /// The header that tells its parts whose they are; `None`: there are no spans.
    #[must_use]
    pub fn traceparent(&self) -> Option<HeaderValue> {
        HeaderValue::try_from(self.context?.to_string()).ok()
    }

    /// The same for services of AWS, as the value of `X-Amzn-Trace-Id`.
    #[must_use]
    pub fn amazon_trace_id(&self) -> Option<String> {
        self.context.map(SpanContext::to_amazon)
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(kept) = self.kept.take() else { return };
        let Kept { begin, mut finished, outbox } = *kept;
        // The clock may be set meanwhile.
        let took = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        finished.end_nanos = finished.begin_nanos.saturating_add(took);
        match outbox.sender.try_send(finished) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => outbox.metrics.lose_spans(SpanLoss::QueueFull, 1),
            Err(TrySendError::Closed(_)) => outbox.metrics.lose_spans(SpanLoss::Stopped, 1),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use hyper::header::HeaderMap;

    use super::Parent;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parent(headers: &[(&'static str, &str)]) -> Option<Parent> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Parent::of(&map)
    }

    #[test]
    fn headers_say_of_which_span_a_request_is_part() {
        assert_eq!(parent(&[]), None);
        assert_eq!(parent(&[("traceparent", "00-1-2-01")]), None);
        assert_eq!(parent(&[("traceparent", EXAMPLE), ("traceparent", EXAMPLE)]), None);
        assert_eq!(parent(&[("traceparent", EXAMPLE)]).unwrap().context.to_string(), EXAMPLE);
    }

    #[test]
    fn what_others_say_of_the_trace_is_kept_unless_it_is_long() {
        let state = |states: &[&'static str]| {
            let mut headers = vec![("traceparent", EXAMPLE)];
            headers.extend(states.iter().map(|state| ("tracestate", *state)));
            parent(&headers).unwrap().state
        };
        assert_eq!(state(&["a=1,b=2"]).as_deref(), Some("a=1,b=2"));
        assert_eq!(state(&["a=1", "b=2"]).as_deref(), Some("a=1,b=2"));
        assert_eq!(state(&[]), None);
        assert_eq!(state(&[&"x".repeat(513).leak()[..]]), None);
    }
}
