//! Keeps hyper's own refusals from the client, so that ours can take their place.
//!
//! A request that hyper cannot read never reaches a handler: hyper writes a bare 400, 414 or 431 and ends the
//! connection, and there is no setting for it. What tells such an answer from ours is that it has no content type: an
//! error of ours always says something.
//!
//! It also tells the connection's [`Seat`] when all is written.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::places::Seat;

/// Why a request could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not the HTTP it claims to be.
    Malformed,
    /// Its request line and headers are too long or too many.
    HeadTooLarge,
}

/// A socket through which everything passes but hyper's refusals. A head is handed over in one piece, a refusal too.
pub(super) struct Outlet<S> {
    pub(super) socket: S,
    /// What hyper has refused, and why; then nothing follows, and this side of the connection is left open.
    pub(super) refused: Option<Unreadable>,
    seat: Seat,
}

impl<S> Outlet<S> {
    pub(super) fn new(socket: S, seat: Seat) -> Self {
        Self { socket, refused: None, seat }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Outlet<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Outlet<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match find_refusal(bytes) {
            // Answers to earlier requests go first.
            Some((start @ 1.., _)) => Pin::new(&mut self.socket).poll_write(context, &bytes[..start]),
            Some((0, unreadable)) => {
                self.refused = Some(unreadable);
                Poll::Ready(Ok(bytes.len()))
            }
            None => Pin::new(&mut self.socket).poll_write(context, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// An answer goes out as it lies in memory, head and body, without being copied into one piece.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A refusal may lie before the body of the answer that it follows: hyper keeps heads together.
        if pieces.iter().all(|piece| find_refusal(piece).is_none()) {
            return Pin::new(&mut self.socket).poll_write_vectored(context, pieces);
        }
        let first = pieces.iter().find(|piece| !piece.is_empty());
        self.poll_write(context, first.map_or(&[], |piece| piece))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(context);
        // Hyper asks for this when it has handed over all that it has.
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.seat.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.refused.is_some() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

/// Where a refusal of hyper's begins, with which the bytes end.
fn find_refusal(bytes: &[u8]) -> Option<(usize, Unreadable)> {
    // Nearly every answer has a body, which does not end like a head: nothing more is looked at.
    if !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let start = bytes.windows(7).rposition(|window| window == b"HTTP/1.")?;
    let head = std::str::from_utf8(&bytes[start..]).ok()?;
    let unreadable = match head.get(9..12)? {
        "400" => Unreadable::Malformed,
        "414" | "431" => Unreadable::HeadTooLarge,
        _ => return None,
    };
    (!head.to_ascii_lowercase().contains("\r\ncontent-type:")).then_some((start, unreadable))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::IoSlice;
    use std::pin::Pin;

    use tokio::io::AsyncWrite;

    use super::{Outlet, Seat, Unreadable, find_refusal};

    /// What reaches the socket of all pieces, which are handed over until nothing is left of them.
    async fn written(pieces: &[&str]) -> (String, Option<Unreadable>) {
        let mut outlet = Outlet::new(Vec::new(), Seat::default());
        let whole: usize = pieces.iter().map(|piece| piece.len()).sum();
        let mut taken = 0;
        while taken < whole {
            let mut skipped = taken;
            let rest: Vec<IoSlice<'_>> = pieces
                .iter()
                .map(|piece| {
                    let before = skipped.min(piece.len());
                    skipped -= before;
                    IoSlice::new(&piece.as_bytes()[before..])
                })
                .collect();
            let write = poll_fn(|context| Pin::new(&mut outlet).poll_write_vectored(context, &rest)).await;
            let count = write.unwrap_or(0);
            assert!(count > 0, "{taken} of {whole}");
            taken += count;
        }
        (String::from_utf8(outlet.socket).unwrap_or_default(), outlet.refused)
    }

    #[tokio::test]
    async fn answers_in_pieces_pass_and_a_refusal_after_them_does_not() {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n";
        let bare = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let answer = (format!("{head}{{}}"), None);
        let refused = (answer.0.clone(), Some(Unreadable::Malformed));
        assert_eq!(written(&[head, "{}"]).await, answer);
        assert_eq!(written(&["", head, "", "{}", ""]).await, answer);
        assert_eq!(written(&[head, "{}", bare]).await, refused);
        assert_eq!(written(&[&format!("{head}{bare}"), "{}"]).await, refused);
        assert_eq!(written(&[bare, "{}"]).await, ("{}".to_owned(), refused.1));
        assert_eq!(written(&[bare]).await, (String::new(), Some(Unreadable::Malformed)));
    }

    #[track_caller]
    fn check(written: &str, expected: Option<(usize, Unreadable)>) {
        assert_eq!(find_refusal(written.as_bytes()), expected, "{written}");
    }

    #[test]
    fn a_refusal_of_hypers_is_told_from_answers_of_ours() {
        let bare = |status: &str| {
            format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\ndate: now\r\n\r\n")
        };
        check(&bare("400 Bad Request"), Some((0, Unreadable::Malformed)));
        check(&bare("414 URI Too Long"), Some((0, Unreadable::HeadTooLarge)));
        check(&bare("431 Request Header Fields Too Large"), Some((0, Unreadable::HeadTooLarge)));
        check(&bare("204 No Content"), None);
        check("HTTP/1.1 100 Continue\r\n\r\n", None);
        check("", None);
        check("\r\n\r\n", None);
        let ours =
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        check(ours, None);
        // An answer to HEAD.
        check(&ours[..ours.len() - 2], None);
        check(&format!("{ours}{}", bare("400 Bad Request")), Some((ours.len(), Unreadable::Malformed)));
        // The rest of a body that an earlier write began.
        check(&format!("{{}}{}", bare("400 Bad Request")), Some((2, Unreadable::Malformed)));
    }
}
