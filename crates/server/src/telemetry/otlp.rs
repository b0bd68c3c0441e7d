//! What is exported, as messages of OTLP 1.x: `ExportTraceServiceRequest`, `ExportMetricsServiceRequest`, and what is of interest in
//! the answers to them. Numbers of fields are those of `opentelemetry/proto/`.

use protocol::limit::telemetry::ATTRIBUTES_MAX;

use super::context::SpanContext;
use super::exposition::{Distribution, Family, Labels, Number, Points};
use super::protobuf::{Fields, Message};
use super::span::{AttributeValue, Finished};
use crate::config::TelemetryConfig;
use crate::uuid::uuid;

/// Who has made all this, as the scope of spans and metrics and as the name of what exports them.
const OWN_NAME: &str = "grandstand";
const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");
const CUMULATIVE: u64 = 2;
const STATUS_ERROR: u64 = 2;
/// In a span's flags: it is known whether its parent is somebody else's, and that is so.
const PARENT_IS_REMOTE: u32 = 0x300;
/// … and it is not so.
const PARENT_IS_LOCAL: u32 = 0x100;

/// Who exports: attributes of everything.
#[derive(Clone, Debug)]
pub(super) struct Resource(Vec<(String, String)>);

impl Resource {
    /// As the settings say.
    pub(super) fn new(config: &TelemetryConfig) -> Self {
        let mut attributes = Vec::with_capacity(ATTRIBUTES_MAX);
        for (key, value) in &config.resource_attributes {
            // The last one counts.
            attributes.retain(|(other, _)| other != key);
            attributes.push((key.clone(), value.clone()));
        }
        if let Some(name) = &config.service_name {
            attributes.retain(|(key, _)| key != "service.name");
            attributes.push(("service.name".to_owned(), name.to_string()));
        }
        let defaults = [
            ("service.name", OWN_NAME.to_owned()),
            ("service.version", OWN_VERSION.to_owned()),
            ("service.instance.id", uuid()),
            ("telemetry.sdk.name", OWN_NAME.to_owned()),
            ("telemetry.sdk.language", "rust".to_owned()),
            ("telemetry.sdk.version", OWN_VERSION.to_owned()),
        ];
        for (key, value) in defaults {
            if attributes.iter().all(|(other, _)| other != key) {
                attributes.push((key.to_owned(), value));
            }
        }
        Self(attributes)
    }

    fn write(&self, message: &mut Message) {
        for (key, value) in &self.0 {
            text_attribute(message, 1, key, value);
        }
    }
}

/// An ExportTraceServiceRequest.
pub(super) fn traces(resource: &Resource, spans: &[Finished]) -> Vec<u8> {
    export(resource, |scope| {
        for span in spans {
            scope.message(2, |message| write_span(message, span));
        }
    })
}

/// An ExportMetricsServiceRequest with what `families` say at `now_nanos`, counted since `begin_nanos`.
pub(super) fn metrics(
    resource: &Resource,
    families: &[Family<'_>],
    begin_nanos: u64,
    now_nanos: u64,
) -> Vec<u8> {
    let times = Times { begin_nanos, now_nanos };
    export(resource, |scope| {
        for family in families {
            scope.message(2, |message| write_family(message, family, times));
        }
    })
}

/// How many spans, or data points, a receiver has said that it will not keep, in an ExportTraceServiceResponse or
/// ExportMetricsServiceResponse.
pub(super) fn rejected(answer: &[u8]) -> u64 {
    let rejected = Fields::of(answer).bytes(1).and_then(|partial| Fields::of(partial).number(1));
    // What is negative makes no sense.
    rejected.filter(|count| i64::try_from(*count).is_ok()).unwrap_or(0)
}

/// Both requests are made in the same way.
fn export(resource: &Resource, write: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut request = Message::default();
    request.message(1, |of_resource| {
        of_resource.message(1, |message| resource.write(message));
        of_resource.message(2, |scope| {
            scope.message(1, |message| {
                message.bytes(1, OWN_NAME.as_bytes());
                message.bytes(2, OWN_VERSION.as_bytes());
            });
            write(scope);
        });
    });
    request.into_bytes()
}

fn write_span(message: &mut Message, span: &Finished) {
    let Finished { context, parent, state, kind, name, begin_nanos, end_nanos, attributes, has_failed } =
        span;
    let SpanContext { trace_id, span_id, .. } = context;
    message.bytes(1, &trace_id.0);
    message.bytes(2, &span_id.0);
    if let Some(state) = state {
        message.bytes(3, state.as_bytes());
    }
    if let Some(parent) = parent {
        message.bytes(4, &parent.0);
    }
    message.bytes(5, name.as_bytes());
    message.number(6, *kind as u64);
    message.fixed64(7, begin_nanos.to_le_bytes());
    message.fixed64(8, end_nanos.to_le_bytes());
    for (key, value) in attributes {
        attribute(message, 9, key, value);
    }
    if *has_failed {
        message.message(15, |status| status.number(3, STATUS_ERROR));
    }
    let parent_is = if parent.is_some() { PARENT_IS_REMOTE } else { PARENT_IS_LOCAL };
    message.fixed32(16, u32::from(context.flags()) | parent_is);
}

#[derive(Clone, Copy)]
struct Times {
    begin_nanos: u64,
    now_nanos: u64,
}

impl Times {
    fn write(self, message: &mut Message) {
        message.fixed64(2, self.begin_nanos.to_le_bytes());
        message.fixed64(3, self.now_nanos.to_le_bytes());
    }
}

fn write_family(message: &mut Message, family: &Family<'_>, times: Times) {
    message.bytes(1, family.name.as_bytes());
    message.bytes(2, family.meaning.as_bytes());
    message.bytes(3, unit(family.name).as_bytes());
    match &family.points {
        Points::Gauge(points) => message.message(5, |gauge| {
            points.iter().for_each(|(labels, value)| write_number(gauge, labels, *value, times));
        }),
        Points::Counter(points) => message.message(7, |sum| {
            points.iter().for_each(|(labels, value)| write_number(sum, labels, *value, times));
            sum.number(2, CUMULATIVE);
            sum.number(3, 1);
        }),
        Points::Histogram(points) => message.message(9, |histogram| {
            points.iter().for_each(|(labels, all)| write_distribution(histogram, labels, all, times));
            histogram.number(2, CUMULATIVE);
        }),
    }
}

/// The unit that a name ends with. What has none is given none: receivers that make Prometheus names of these would put `_ratio`
/// behind what counts in ones.
fn unit(name: &str) -> &'static str {
    match name.rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        _ => "",
    }
}

fn write_number(message: &mut Message, labels: &Labels<'_>, value: Number, times: Times) {
    message.message(1, |point| {
        times.write(point);
        match value {
            Number::Real(value) => point.double(4, value),
            Number::Whole(value) => point.fixed64(6, value.to_le_bytes()),
        }
        labels.iter().for_each(|(key, value)| text_attribute(point, 7, key, value));
    });
}

fn write_distribution(message: &mut Message, labels: &Labels<'_>, all: &Distribution, times: Times) {
    message.message(1, |point| {
        times.write(point);
        point.fixed64(4, all.count.to_le_bytes());
        point.double(5, all.sum);
        point.packed(6, all.counts.iter().map(|count| count.to_le_bytes()));
        point.packed(7, all.bounds.iter().map(|bound| bound.to_le_bytes()));
        labels.iter().for_each(|(key, value)| text_attribute(point, 9, key, value));
    });
}

fn text_attribute(message: &mut Message, field: u64, key: &str, value: &str) {
    key_value(message, field, key, |any| any.bytes(1, value.as_bytes()));
}

fn attribute(message: &mut Message, field: u64, key: &str, value: &AttributeValue) {
    key_value(message, field, key, |any| match value {
        AttributeValue::Word(word) => any.bytes(1, word.as_bytes()),
        AttributeValue::Text(text) => any.bytes(1, text.as_bytes()),
        AttributeValue::Truth(truth) => any.number(2, u64::from(*truth)),
        AttributeValue::Number(number) => any.signed(3, *number),
    });
}

fn key_value(message: &mut Message, field: u64, key: &str, write: impl FnOnce(&mut Message)) {
    message.message(field, |pair| {
        pair.bytes(1, key.as_bytes());
        pair.message(2, write);
    });
}

#[cfg(test)]
mod tests {
    use super::{Message, rejected, unit};

    #[test]
    fn a_receiver_says_what_it_has_rejected() {
        let answer = |count: i64| {
            let mut answer = Message::default();
            answer.message(1, |partial| {
                partial.signed(1, count);
                partial.bytes(2, b"too old");
            });
            answer.into_bytes()
        };
        assert_eq!((rejected(&answer(3)), rejected(&answer(0)), rejected(&answer(-1))), (3, 0, 0));
        assert_eq!((rejected(b""), rejected(b"{\"partialSuccess\":{}}")), (0, 0));
    }

    #[test]
    fn names_end_with_their_unit() {
        for (name, expected) in [
            ("grandstand_publish_seconds", "s"),
            ("grandstand_chatlog_spool_bytes", "By"),
            ("grandstand_connections", ""),
        ] {
            assert_eq!(unit(name), expected);
        }
    }
}
