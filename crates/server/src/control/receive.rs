//! Takes a request in whole, within its limits of size and time. Nothing is looked into here.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::http::request::Parts;
use protocol::error::{ApiError, Code};
use protocol::limit::control::{BODY_BYTES_MAX, BODY_DISCARD_BYTES_MAX, HEAD_BYTES_MAX, REQUEST_SECONDS_MAX};
use tokio::time::timeout;

use super::auth::RawRequest;

/// An error, and whether its connection is of no more use because the request was not read to its end.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) error: ApiError,
    pub(super) closes_connection: bool,
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self { error, closes_connection: false }
    }
}

fn closing(error: ApiError) -> Refusal {
    Refusal { error, closes_connection: true }
}

/// Reads the whole request.
pub(super) async fn receive(request: Request<Incoming>) -> Result<RawRequest, Refusal> {
    let (head, body) = request.into_parts();
    if head_bytes(&head) > HEAD_BYTES_MAX {
        return Err(closing(ApiError::head_too_large()));
    }
    let body =
        timeout(Duration::from_secs(REQUEST_SECONDS_MAX), receive_body(body)).await.map_err(|_| {
            closing(ApiError::plain(Code::RequestTimeout, "The request body took too long to arrive"))
        })??;
    Ok(RawRequest {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
    })
}

/// The size of a head as it is usually written: a space or a colon and a space between its parts, and line ends.
fn head_bytes(head: &Parts) -> usize {
    let target = head.uri.path_and_query().map_or(1, |target| target.as_str().len());
    let request_line = head.method.as_str().len() + target + " HTTP/1.1\r\n".len() + 1;
    let headers = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    request_line + headers.sum::<usize>() + "\r\n".len()
}

/// Reads a body. One that is too large is read on for a while and thrown away: a client that is still sending would
/// find its connection broken before it saw the answer.
async fn receive_body<B>(mut body: B) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.size_hint().lower() > BODY_DISCARD_BYTES_MAX {
        return Err(closing(ApiError::body_too_large()));
    }
    let mut kept = BytesMut::new();
    let mut discarded = 0;
    while let Some(frame) = body.frame().await {
        let malformed =
            |_| closing(ApiError::plain(Code::MalformedHttpRequest, "The request body is malformed"));
        let Ok(data) = frame.map_err(malformed)?.into_data() else { continue };
        if discarded == 0 && kept.len() + data.len() <= BODY_BYTES_MAX {
            kept.extend_from_slice(&data);
        } else {
            discarded += data.len() as u64;
        }
        if discarded > BODY_DISCARD_BYTES_MAX {
            return Err(closing(ApiError::body_too_large()));
        }
    }
    if discarded > 0 { Err(ApiError::body_too_large().into()) } else { Ok(kept.freeze()) }
}
