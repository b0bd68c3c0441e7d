//! The end of a connection whose client was answered before it had said everything.
//!
//! When a socket is closed while bytes wait to be read, or while more arrive, the kernel resets the connection, and the
//! reset can overtake the answer: the client would see a broken connection instead of the reason. So what it still
//! says is read and thrown away until it has seen the answer and hangs up, within limits.

use std::time::Duration;

use protocol::limit::refusal::{LINGER_BYTES_MAX, LINGER_SECONDS_MAX};
use tokio::io::{AsyncRead, AsyncReadExt, copy, sink};
use tokio::time::timeout;

/// Waits until the client hangs up, or has used up its bytes or its time. The answer, and the end of this side, must
/// have been sent.
pub(crate) async fn linger<S: AsyncRead + Unpin>(socket: &mut S) {
    let mut rest = socket.take(LINGER_BYTES_MAX);
    let time_max = Duration::from_secs(LINGER_SECONDS_MAX);
    // However it ends, the connection has served its purpose.
    let _ = timeout(time_max, copy(&mut rest, &mut sink())).await;
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex, repeat};

    use super::linger;

    #[tokio::test]
    async fn it_ends_when_the_client_hangs_up() {
        let (mut client, mut server) = duplex(64);
        let said = tokio::spawn(async move { client.write_all(&[b'x'; 1_000]).await });
        linger(&mut server).await;
        said.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_client_without_an_end_is_cut_off() {
        let mut endless = repeat(b'x');
        linger(&mut endless).await;
        let (_silent, mut server) = duplex(64);
        linger(&mut server).await;
    }
}
