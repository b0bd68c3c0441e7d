//! The admin port: health, metrics and figures of rooms, for the operator's own network; nothing here needs a signature.

mod rooms;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use protocol::id::Id;

use crate::bus::Bus;
use crate::health::Readiness;
use crate::http::{self, Answer, Arrived, Port, Unreadable};
use crate::metrics::Metrics;

/// The text format that [`Metrics::encode`] writes.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const PLAIN_TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

const ROOMS_PATH: &str = "/debug/rooms";

const PATHS: &str = "There are /health/live, /health/ready, /metrics, /debug/rooms and /debug/rooms/ID.\n";

/// What the admin port shows.
pub struct Admin {
    /// Every metric.
    pub metrics: Arc<Metrics>,
    /// Whether the server is ready.
    pub readiness: Readiness,
    /// The way to the rooms.
    pub bus: Bus,
}

impl Admin {
    /// Answers requests until the port's end.
    pub async fn serve(self, port: Port) {
        let admin = Arc::new(self);
        let handler = move |arrived: Arrived| {
            let admin = Arc::clone(&admin);
            async move {
                match arrived {
                    Ok(request) => admin.answer(request.method().as_str(), request.uri().path()).await,
                    Err(Unreadable::Malformed) => answer(400, PLAIN_TEXT, "This is not valid HTTP/1.1.\n"),
                    Err(Unreadable::HeadTooLarge) => answer(431, PLAIN_TEXT, "The headers are too large.\n"),
                }
            }
        };
        http::serve(port, handler).await;
    }

    async fn answer(&self, method: &str, path: &str) -> Answer {
        if let Some(report) = self.readiness.report(method, path) {
            return answer(report.status, JSON, report.body);
        }
        match (method, path) {
            ("GET", "/metrics") => self.show_metrics(),
            ("GET", ROOMS_PATH) => answer(200, JSON, rooms::busiest(&self.bus).await),
            ("GET", path) if path.starts_with(ROOMS_PATH) => self.show_room(path).await,
            _ => answer(404, PLAIN_TEXT, PATHS),
        }
    }

    async fn show_room(&self, path: &str) -> Answer {
        let id = path.strip_prefix(ROOMS_PATH).and_then(|path| Id::parse(path.strip_prefix('/')?));
        let Some(id) = id else {
            return answer(400, PLAIN_TEXT, "A room's id is 12 letters and digits: the end of its ARN.\n");
        };
        match rooms::one(&self.bus, id).await {
            Some(room) => answer(200, JSON, room),
            None => answer(404, PLAIN_TEXT, "No room with this id has members here, or had them just now.\n"),
        }
    }

    fn show_metrics(&self) -> Answer {
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
    use crate::bus::Bus;
    use crate::health::{Phase, Readiness};
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn health_and_metrics_are_shown_and_nothing_else() {
        let (metrics, bus) = (Arc::new(Metrics::new(1)), Bus::local(Vec::new()));
        let admin = Admin { metrics, readiness: Readiness::default(), bus };
        for (method, path, status) in [
            ("GET", "/health/live", 200),
            ("GET", "/health/ready", 503),
            ("GET", "/metrics", 200),
            ("POST", "/metrics", 404),
            ("GET", "/debug/rooms", 200),
            ("GET", "/debug/rooms/AAAAAAAAAAAA", 404),
            ("GET", "/debug/rooms/nonsense", 400),
            ("GET", "/debug/roomsAAAAAAAAAAAA", 400),
            ("GET", "/", 404),
        ] {
            assert_eq!(admin.answer(method, path).await.status(), status, "{method} {path}");
        }
        admin.readiness.enter(Phase::Ready);
        assert_eq!(admin.answer("GET", "/health/ready").await.status(), 200);
    }
}
