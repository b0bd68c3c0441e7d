//! The admin port: health and metrics, for the operator's own network; nothing here needs a signature.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use crate::health::Readiness;
use crate::http::{self, Answer, Arrived, Port, Unreadable};
use crate::metrics::Metrics;

/// The text format that [`Metrics::encode`] writes.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// What the admin port shows.
pub struct Admin {
    /// Every metric.
    pub metrics: Arc<Metrics>,
    /// Whether the server is ready.
    pub readiness: Readiness,
}

impl Admin {
    /// Answers requests until the port's end.
    pub async fn serve(self, port: Port) {
        let admin = Arc::new(self);
        let handler = move |arrived: Arrived| {
            std::future::ready(match arrived {
                Ok(request) => admin.answer(request.method().as_str(), request.uri().path()),
                Err(Unreadable::Malformed) => answer(400, PLAIN_TEXT, "This is not valid HTTP/1.1.\n"),
                Err(Unreadable::HeadTooLarge) => answer(431, PLAIN_TEXT, "The headers are too large.\n"),
            })
        };
        http::serve(port, handler).await;
    }

    fn answer(&self, method: &str, path: &str) -> Answer {
        if let Some(report) = self.readiness.report(method, path) {
            return answer(report.status, "application/json", report.body);
        }
        if (method, path) != ("GET", "/metrics") {
            return answer(404, PLAIN_TEXT, "There are /health/live, /health/ready and /metrics.\n");
        }
        match self.metrics.encode() {
            Ok(text) => answer(200, METRICS_TYPE, text),
            Err(error) => {
                tracing::error!(%error, "metrics cannot be shown");
                answer(500, PLAIN_TEXT, "The log says why.\n")
            }
        }
    }
}

fn answer(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Admin;
    use crate::health::{Phase, Readiness};
    use crate::metrics::Metrics;

    #[test]
    fn health_and_metrics_are_shown_and_nothing_else() {
        let admin = Admin { metrics: Arc::new(Metrics::new(1)), readiness: Readiness::default() };
        for (method, path, status) in [
            ("GET", "/health/live", 200),
            ("GET", "/health/ready", 503),
            ("GET", "/metrics", 200),
            ("POST", "/metrics", 404),
            ("GET", "/", 404),
        ] {
            assert_eq!(admin.answer(method, path).status(), status, "{method} {path}");
        }
        admin.readiness.enter(Phase::Ready);
        assert_eq!(admin.answer("GET", "/health/ready").status(), 200);
    }
}
