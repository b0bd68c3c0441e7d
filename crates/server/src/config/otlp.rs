//! What settings of telemetry may be: addresses, headers, attributes and shares, as the OpenTelemetry specification writes them.

use std::fmt;

use hyper::Uri;
use hyper::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING,
};
use protocol::limit::telemetry::{ATTRIBUTES_MAX, HEADERS_MAX};
use toml::Value;

use super::kind::{Kind, Raw};

/// The standard variable that sets a setting, too. It is read when telemetry is exported anywhere; an empty one counts as none.
const STANDARD_VARIABLES: [(&str, &str); 16] = [
    ("telemetry.otlp_endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    ("telemetry.otlp_traces_endpoint", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
    ("telemetry.otlp_metrics_endpoint", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"),
    ("telemetry.otlp_headers", "OTEL_EXPORTER_OTLP_HEADERS"),
    ("telemetry.otlp_protocol", "OTEL_EXPORTER_OTLP_PROTOCOL"),
    ("telemetry.otlp_compression", "OTEL_EXPORTER_OTLP_COMPRESSION"),
    ("telemetry.otlp_timeout_ms", "OTEL_EXPORTER_OTLP_TIMEOUT"),
    ("telemetry.otlp_certificate_file", "OTEL_EXPORTER_OTLP_CERTIFICATE"),
    ("telemetry.service_name", "OTEL_SERVICE_NAME"),
    ("telemetry.resource_attributes", "OTEL_RESOURCE_ATTRIBUTES"),
    ("telemetry.traces_exporter", "OTEL_TRACES_EXPORTER"),
    ("telemetry.traces_sampler", "OTEL_TRACES_SAMPLER"),
    ("telemetry.sampling_ratio", "OTEL_TRACES_SAMPLER_ARG"),
    ("telemetry.metrics_exporter", "OTEL_METRICS_EXPORTER"),
    ("telemetry.metrics_interval_ms", "OTEL_METRIC_EXPORT_INTERVAL"),
    ("telemetry.disabled", "OTEL_SDK_DISABLED"),
];

/// Settings without which nothing is exported.
pub(super) const ENDPOINTS: [&str; 3] =
    ["telemetry.otlp_endpoint", "telemetry.otlp_traces_endpoint", "telemetry.otlp_metrics_endpoint"];

/// The standard variable of a setting.
pub(super) fn standard_variable(key: &str) -> Option<&'static str> {
    STANDARD_VARIABLES.iter().find(|(own, _)| *own == key).map(|(_, variable)| *variable)
}

/// Where an OTLP receiver is. It holds no secret: neither a user nor a query is taken.
pub(super) struct OtlpUrl;

impl Kind for OtlpUrl {
    type Value = Uri;

    fn allowed(&self) -> String {
        "an address that begins with http:// or https:// and has neither user, password, query nor fragment, such as \
         http://127.0.0.1:4318"
            .to_owned()
    }

    fn read(&self, raw: Raw<'_>) -> Option<Self::Value> {
        let text = raw.as_text()?;
        let uri: Uri = text.parse().ok()?;
        let authority = uri.authority()?.as_str();
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let is_open = !authority.contains('@') && uri.query().is_none() && !text.contains('#');
        (is_http && is_open && uri.host().is_some_and(|host| !host.is_empty())).then_some(uri)
    }
}

/// Headers of every export. Neither `Debug` nor an error shows a value.
#[derive(Clone, Default)]
pub struct OtlpHeaders(HeaderMap);

impl OtlpHeaders {
    /// All of them; their values are marked as sensitive.
    #[must_use]
    pub fn map(&self) -> &HeaderMap {
        &self.0
    }
}

impl fmt::Debug for OtlpHeaders {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.0.keys()).finish()
    }
}

/// Headers as `name=value,name=value`.
pub(super) struct HeaderList;

/// They are made for each export.
const OWN_HEADERS: [HeaderName; 6] =
    [CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING];

impl Kind for HeaderList {
    type Value = OtlpHeaders;

    fn allowed(&self) -> String {
        format!(
            "at most {HEADERS_MAX} headers as name=value,name=value, with commas and other special characters of values \
             percent-encoded (%2C), and none that each request has of its own"
        )
    }

    fn read(&self, raw: Raw<'_>) -> Option<Self::Value> {
        let pairs = pairs(raw.as_text()?)?;
        if pairs.len() > HEADERS_MAX {
            return None;
        }
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            if OWN_HEADERS.contains(&name) {
                return None;
            }
            headers.append(name, value);
        }
        Some(OtlpHeaders(headers))
    }
}

/// Attributes as `key=value,key=value`.
pub(super) struct AttributeList;

impl Kind for AttributeList {
    type Value = Vec<(String, String)>;

    fn allowed(&self) -> String {
        format!(
            "at most {ATTRIBUTES_MAX} attributes as key=value,key=value, with commas and other special characters of values \
             percent-encoded (%2C)"
        )
    }

    fn read(&self, raw: Raw<'_>) -> Option<Self::Value> {
        pairs(raw.as_text()?).filter(|pairs| pairs.len() <= ATTRIBUTES_MAX)
    }
}

/// From nothing to all.
pub(super) struct Share;

impl Kind for Share {
    type Value = f64;

    fn allowed(&self) -> String {
        "a number from 0 to 1".to_owned()
    }

    fn read(&self, raw: Raw<'_>) -> Option<Self::Value> {
        let share = match raw {
            Raw::Text(text) => text.trim().parse().ok(),
            Raw::Toml(Value::Integer(number)) => u8::try_from(*number).ok().map(f64::from),
            Raw::Toml(value) => value.as_float(),
        };
        share.filter(|share| (0.0..=1.0).contains(share))
    }
}

/// Which traces are kept (`telemetry.traces_sampler`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SamplerKind {
    /// The parent decides where there is one.
    pub follows_parent: bool,
    /// What becomes of all others.
    pub rest: Sampling,
}

/// How many are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// All.
    All,
    /// None.
    None,
    /// The share of `telemetry.sampling_ratio`.
    Ratio,
}

impl SamplerKind {
    const fn new(follows_parent: bool, rest: Sampling) -> Self {
        Self { follows_parent, rest }
    }

    /// The samplers of the specification that need nobody else.
    pub(super) const ALL: &'static [(&'static str, Self)] = &[
        ("parentbased_traceidratio", Self::new(true, Sampling::Ratio)),
        ("parentbased_always_on", Self::new(true, Sampling::All)),
        ("parentbased_always_off", Self::new(true, Sampling::None)),
        ("traceidratio", Self::new(false, Sampling::Ratio)),
        ("always_on", Self::new(false, Sampling::All)),
        ("always_off", Self::new(false, Sampling::None)),
    ];
}

/// `key=value,key=value` with percent-encoded values, as W3C Baggage writes it.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let pair = |entry: &str| {
        let (key, value) = entry.split_once('=')?;
        let key = key.trim();
        if key.is_empty() {
            return None;
        }
        Some((key.to_owned(), decode(value.trim())?))
    };
    entries.map(pair).collect()
}

/// Percent-decodes. A percent sign before anything but two digits is itself.
fn decode(text: &str) -> Option<String> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut place = 0;
    while let Some(byte) = bytes.get(place) {
        let digits = digit(bytes.get(place + 1)).zip(digit(bytes.get(place + 2)));
        match digits.filter(|_| *byte == b'%') {
            Some((high, low)) => {
                decoded.push(u8::try_from(high << 4 | low).ok()?);
                place += 3;
            }
            None => {
                decoded.push(*byte);
                place += 1;
            }
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{AttributeList, HeaderList, Kind, OtlpUrl, Raw, STANDARD_VARIABLES, Share};
    use crate::config::Config;

    #[test]
    fn addresses_have_no_secret() {
        for (text, is_taken) in [
            ("http://127.0.0.1:4318", true),
            ("https://collector.example/otlp", true),
            ("http://[::1]:4318/", true),
            ("collector:4318", false),
            ("grpc://collector:4317", false),
            ("http://", false),
            ("http://user:hunter2@collector:4318", false),
            ("http://collector:4318/?key=hunter2", false),
            ("http://collector:4318/#x", false),
            ("/v1/traces", false),
        ] {
            assert_eq!(OtlpUrl.read(Raw::Text(text)).is_some(), is_taken, "{text}");
        }
    }

    #[test]
    fn headers_are_decoded_and_hidden() {
        let headers =
            HeaderList.read(Raw::Text("api-key=hunter2, Authorization=Basic%20aHVudGVyMg==,")).unwrap();
        assert_eq!(headers.map()["api-key"], "hunter2");
        assert_eq!(headers.map()["authorization"], "Basic aHVudGVyMg==");
        assert_eq!(format!("{headers:?}"), "[\"api-key\", \"authorization\"]");
        let shown = format!("{:?}", headers.map());
        assert!(!shown.contains("hunter2") && !shown.contains("aHVudGVyMg"), "{shown}");
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let many: Vec<String> = (0..100).map(|number| format!("h{number}=x")).collect();
        for text in [
            "hunter2",
            "=hunter2",
            "a b=hunter2",
            "a=hunter%0a2",
            "Host=hunter2",
            "content-length=2",
            &many.join(","),
        ] {
            assert!(HeaderList.read(Raw::Text(text)).is_none(), "{text}");
        }
        assert!(HeaderList.read(Raw::Text("")).unwrap().map().is_empty());
    }

    #[test]
    fn attributes_are_decoded() {
        let attributes = AttributeList.read(Raw::Text("a.b=c%2Cd%3D1, e=100%, f=")).unwrap();
        let expected = [("a.b", "c,d=1"), ("e", "100%"), ("f", "")];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(attributes, expected);
        assert!(AttributeList.read(Raw::Text("a=%ff")).is_none());
    }

    #[test]
    fn shares_are_from_0_to_1() {
        for (text, share) in [("0", Some(0.0)), ("0.25", Some(0.25)), ("1", Some(1.0))] {
            assert_eq!(Share.read(Raw::Text(text)), share);
        }
        for text in ["-0.1", "1.1", "NaN", "half", ""] {
            assert_eq!(Share.read(Raw::Text(text)), None, "{text}");
        }
    }

    #[test]
    fn standard_variables_are_those_of_settings() {
        let settings = Config::settings();
        for (key, variable) in STANDARD_VARIABLES {
            assert!(settings.iter().any(|setting| setting.key == key), "{key} ({variable}) is no setting");
        }
        let own = settings.iter().filter(|setting| setting.key.starts_with("telemetry."));
        assert_eq!(own.count(), STANDARD_VARIABLES.len());
    }
}
