//! Carries exports of one kind to the receiver, one at a time, and tries again as OTLP says.
//!
//! Promises:
//! - An export is tried again when the receiver was not reached, has not answered in time, or has answered with 429, 502, 503 or 504;
//!   whatever else it answers is its last word. Of an answer without end the status counts. It is left alone for longer and
//!   longer, and for at least as long as it asks to be (`Retry-After`).
//! - The log is told when the receiver is there, away, refuses or takes only a part, each time that this changes and not for each try.
//!   Neither a header of the export nor what the receiver says about it is in it.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Uri};
use protocol::limit::telemetry::{ANSWER_BYTES_MAX, RETRY_AFTER_SECONDS_MAX, RETRY_MS_MAX, RETRY_MS_MIN};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::otlp;
use crate::config::{OtlpCompression, TelemetryConfig};
use crate::metrics::TelemetryMetrics;
use crate::outgoing::{Answer, Call, CallError, Caller};
use crate::random::random;

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Metrics,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
        }
    }
}

/// What became of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// The receiver has it, but for so many of its parts.
    Taken { rejected: u64 },
    /// The receiver does not want it.
    Refused,
    /// It was tried for as long as it may be.
    GivenUp,
}

/// How the receiver was, the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Well,
    Partial,
    Away,
    Refusing,
}

/// See the module.
pub(super) struct Courier {
    signal: Signal,
    call: Call,
    time_max: Duration,
    compresses: bool,
    caller: Caller,
    metrics: Arc<TelemetryMetrics>,
    stop: CancellationToken,
    /// `None`: nothing was tried yet.
    condition: Option<Condition>,
    /// Tries in a row that have found the receiver away.
    failures: u32,
    pause: Option<Pause>,
}

/// The receiver is left alone.
#[derive(Clone, Copy)]
struct Pause {
    end: Instant,
    /// Because it has asked for that.
    is_asked_for: bool,
}

impl Courier {
    /// A courier to `uri`, for as long as nothing tells to `stop`.
    pub(super) fn new(
        config: &TelemetryConfig,
        signal: Signal,
        uri: Uri,
        caller: Caller,
        metrics: &Arc<TelemetryMetrics>,
        stop: CancellationToken,
    ) -> Self {
        let mut headers = HeaderMap::new();
        headers
            .insert(USER_AGENT, HeaderValue::from_static(concat!("grandstand/", env!("CARGO_PKG_VERSION"))));
        headers.extend(config.otlp_headers.map().clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let compresses = config.otlp_compression == OtlpCompression::Gzip;
        if compresses {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let call = Call {
            method: Method::POST,
            uri,
            headers,
            body: Bytes::new(),
            deadline: Instant::now(),
            answer_bytes_max: ANSWER_BYTES_MAX,
            outlives_deadline: false,
        };
        Self {
            signal,
            call,
            time_max: Duration::from_millis(config.otlp_timeout_ms),
            compresses,
            caller,
            metrics: Arc::clone(metrics),
            stop,
            condition: None,
            failures: 0,
            pause: None,
        }
    }

    /// Carries an export, and tries again for so long at most. Once it is told to stop it tries once.
    pub(super) async fn deliver(&mut self, request: Vec<u8>, time_max: Duration) -> Delivery {
        let end = Instant::now() + time_max;
        self.call.body = if self.compresses { compressed(&request) } else { request.into() };
        loop {
            if !self.wait_until_welcome(end).await {
                return Delivery::GivenUp;
            }
            let is_last = self.stop.is_cancelled();
            if let Some(delivery) = self.attempt().await {
                return delivery;
            }
            if is_last || Instant::now() >= end {
                return Delivery::GivenUp;
            }
        }
    }

    /// Waits as long as the receiver is left alone; whether it may be tried then.
    async fn wait_until_welcome(&mut self, end: Instant) -> bool {
        let Some(pause) = self.pause else { return true };
        let wait = sleep_until(pause.end.min(end));
        let is_stopped = self.stop.run_until_cancelled(wait).await.is_none();
        let is_over = Instant::now() >= pause.end;
        if is_over || (is_stopped && !pause.is_asked_for) {
            self.pause = None;
            return true;
        }
        false
    }

    /// Tries once; `None`: it is worth another try.
    async fn attempt(&mut self) -> Option<Delivery> {
        let deadline = Instant::now() + self.time_max;
        let answer = self.caller.call(Call { deadline, ..self.call.clone() }).await;
        let (status, answer) = match answer {
            Ok(answer) => (answer.status, Some(answer)),
            // Its status says enough.
            Err(CallError::AnswerTooLong(status)) => (status, None),
            Err(error) => {
                self.find_away(None, &error);
                return None;
            }
        };
        match status.as_u16() {
            200..300 => {
                self.failures = 0;
                let rejected = answer.map_or(0, |answer| otlp::rejected(&answer.body));
                self.find_there(rejected);
                Some(Delivery::Taken { rejected })
            }
            429 | 502..=504 => {
                let asked = answer.as_ref().and_then(asked_pause);
                self.find_away(asked, &format_args!("status {}", status.as_u16()));
                None
            }
            status => Some(self.find_refusing(&format_args!("status {status}"))),
        }
    }

    fn find_refusing(&mut self, cause: &dyn std::fmt::Display) -> Delivery {
        self.failures = 0;
        self.metrics.tried(self.signal.name(), "refused");
        if self.changes_to(Condition::Refusing) {
            let signal = self.signal.name();
            tracing::error!(signal, %cause, "the OpenTelemetry receiver refuses what is exported; it is lost");
        }
        Delivery::Refused
    }

    fn find_there(&mut self, rejected: u64) {
        let signal = self.signal.name();
        if rejected > 0 {
            self.metrics.tried(signal, "partial");
            if self.changes_to(Condition::Partial) {
                tracing::warn!(
                    signal,
                    rejected,
                    "the OpenTelemetry receiver does not take all that is exported"
                );
            }
            return;
        }
        self.metrics.tried(signal, "ok");
        if self.changes_to(Condition::Well) {
            tracing::info!(signal, "the OpenTelemetry receiver takes what is exported");
        }
    }

    fn find_away(&mut self, asked: Option<Duration>, cause: &dyn std::fmt::Display) {
        self.metrics.tried(self.signal.name(), "away");
        // Who asks for no time at all is not asked again and again at once.
        let pause = asked.unwrap_or_default().max(backoff(self.failures));
        self.failures = self.failures.saturating_add(1);
        self.pause = Some(Pause { end: Instant::now() + pause, is_asked_for: asked.is_some() });
        if self.changes_to(Condition::Away) {
            let signal = self.signal.name();
            tracing::warn!(signal, %cause, "the OpenTelemetry receiver does not take what is exported; it is tried again");
        }
    }

    fn changes_to(&mut self, condition: Condition) -> bool {
        self.condition.replace(condition) != Some(condition)
    }
}

/// How long the receiver asks to be left alone. Dates are not read: whoever sends one is tried as if it had asked for nothing.
fn asked_pause(answer: &Answer) -> Option<Duration> {
    let seconds: u64 = answer.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(RETRY_AFTER_SECONDS_MAX)))
}

/// Twice as long with each failure, give or take a half, so that not all servers come at once.
fn backoff(failures: u32) -> Duration {
    let doubled = RETRY_MS_MIN.saturating_mul(1_u64.checked_shl(failures).unwrap_or(u64::MAX));
    let middle = doubled.min(RETRY_MS_MAX);
    let [dice] = random().unwrap_or([128]);
    Duration::from_millis(middle / 2 + middle * u64::from(dice) / 255)
}

fn compressed(request: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // To memory anything can be written.
    let _ = encoder.write_all(request);
    encoder.finish().unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use hyper::StatusCode;
    use hyper::header::{HeaderMap, RETRY_AFTER};
    use protocol::limit::telemetry::{RETRY_AFTER_SECONDS_MAX, RETRY_MS_MAX, RETRY_MS_MIN};

    use super::{Answer, HeaderValue, asked_pause, backoff};

    #[test]
    fn pauses_double_up_to_a_limit_and_are_never_the_same_for_all() {
        for (failures, middle) in
            [(0, RETRY_MS_MIN), (1, 2 * RETRY_MS_MIN), (20, RETRY_MS_MAX), (u32::MAX, RETRY_MS_MAX)]
        {
            let pauses: Vec<Duration> = (0..100).map(|_| backoff(failures)).collect();
            let (least, most) = (Duration::from_millis(middle / 2), Duration::from_millis(middle * 3 / 2));
            assert!(pauses.iter().all(|pause| (least..=most).contains(pause)), "{failures}: {pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{failures}: {pauses:?}");
        }
    }

    #[test]
    fn a_receiver_may_ask_to_be_left_alone_but_not_for_ever() {
        let asked = |text: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
            let status = StatusCode::SERVICE_UNAVAILABLE;
            asked_pause(&Answer { status, headers, body: Bytes::new() }).map(|pause| pause.as_secs())
        };
        assert_eq!((asked("7"), asked(" 0 "), asked("soon")), (Some(7), Some(0), None));
        assert_eq!(asked("99999999999"), Some(RETRY_AFTER_SECONDS_MAX));
    }
}
