//! Takes a request in whole, within its limits of size and time. Nothing is looked into here.

use std::future::pending;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::{Body, Incoming};
use protocol::error::{ApiError, Code};
use protocol::limit::control::{BODY_BYTES_MAX, BODY_DISCARD_BYTES_MAX, REQUEST_SECONDS_MAX};
use tokio::time::timeout;

use super::auth::RawRequest;
use crate::http::{Peer, Seat, Unreadable};

/// An error, and whether its connection is of no more use because the request was not read to its end.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) error: ApiError,
    pub(super) closes_connection: bool,
}

impl Refusal {
    /// Not even the head could be read.
    pub(super) fn unreadable(unreadable: Unreadable) -> Self {
        closing(match unreadable {
            Unreadable::HeadTooLarge => ApiError::head_too_large(),
            Unreadable::Malformed => {
                ApiError::plain(Code::MalformedHttpRequest, "The request is not valid HTTP/1.1")
            }
        })
    }

    /// The server is stopping.
    pub(super) fn draining() -> Self {
        closing(ApiError::plain(Code::ServiceUnavailable, "The server is stopping; try again"))
    }
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
///
/// A client that sends `Expect: 100-continue` is told to go on before its signature has been looked at: the signature
/// covers the body, so there is nothing to verify without it. What a stranger can have read is bounded.
pub(super) async fn receive(request: Request<Incoming>) -> Result<RawRequest, Refusal> {
    let (head, body) = request.into_parts();
    let body = receive_body_within(Duration::from_secs(REQUEST_SECONDS_MAX), body).await?;
    let seat: Option<Seat> = head.extensions.get().cloned();
    if seat.as_ref().is_some_and(|seat| !seat.begin()) {
        // The connection is about to be closed, and this with it.
        return pending().await;
    }
    Ok(RawRequest {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        peer: head.extensions.get().map(|Peer(address)| *address),
        seat,
        body,
    })
}

async fn receive_body_within<B>(time_max: Duration, body: B) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let too_slow = ApiError::plain(Code::RequestTimeout, "The request body took too long to arrive");
    timeout(time_max, receive_body(body)).await.unwrap_or_else(|_elapsed| Err(closing(too_slow)))
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::Duration;

    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::body::{Body, Frame};

    use super::{BODY_BYTES_MAX, BODY_DISCARD_BYTES_MAX, receive_body_within};

    /// A body that goes on with equal pieces: so many of them, and then silence.
    struct Pieces(Bytes, usize);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.1.checked_sub(1) {
                Some(rest) => {
                    self.1 = rest;
                    Poll::Ready(Some(Ok(Frame::data(self.0.clone()))))
                }
                None => Poll::Pending,
            }
        }
    }

    /// Status of the error and whether it closes the connection; `None` when the body is taken.
    async fn outcome(body: impl Body<Data = Bytes> + Unpin) -> Option<(u16, bool)> {
        let refusal = receive_body_within(Duration::from_millis(10), body).await.err()?;
        Some((refusal.error.encode().status, refusal.closes_connection))
    }

    #[tokio::test]
    async fn a_body_has_its_limits() {
        let of_length = |length: usize| Full::new(Bytes::from(vec![b' '; length]));
        assert_eq!(outcome(of_length(0)).await, None);
        assert_eq!(outcome(of_length(BODY_BYTES_MAX)).await, None);
        // Read to its end: the connection goes on.
        assert_eq!(outcome(of_length(BODY_BYTES_MAX + 1)).await, Some((413, false)));
        let too_much = usize::try_from(BODY_DISCARD_BYTES_MAX).unwrap_or(usize::MAX) + 1;
        assert_eq!(outcome(of_length(too_much)).await, Some((413, true)));
        // Of unknown length and without an end.
        let piece = Bytes::from(vec![b' '; BODY_BYTES_MAX]);
        assert_eq!(outcome(Pieces(piece, usize::MAX)).await, Some((413, true)));
    }

    #[tokio::test]
    async fn a_body_that_does_not_arrive_is_given_up() {
        assert_eq!(outcome(Pieces(Bytes::from_static(b"{"), 1)).await, Some((408, true)));
    }
}
