//! How long a connection may take. The clock stands still, and jumps ahead whenever everybody waits for it. That is why
//! nothing goes over a real socket here: while the kernel has bytes on their way, everybody seems to wait.

use std::sync::Arc;

use protocol::limit::control::{CONNECTION_SECONDS_MAX, REQUEST_SECONDS_MAX};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Duration, Instant, pause, sleep};

use super::{Answer, Server};
use crate::control::answer;
use crate::http::{Seat, serve_connection};

const HEALTH: &[u8] = b"GET /health/live HTTP/1.1\r\nhost: test\r\n\r\n";
const PIPE_BYTES: usize = 64;

/// A connection to a server whose clock has stopped.
async fn connect() -> (Server, DuplexStream, Instant) {
    let server = Server::start().await;
    pause();
    let socket = another(&server);
    (server, socket, Instant::now())
}

fn another(server: &Server) -> DuplexStream {
    let (client, socket) = duplex(PIPE_BYTES);
    let (readiness, control, stop) =
        (server.readiness.clone(), Arc::clone(&server.control), server.stop.clone());
    tokio::spawn(async move {
        let handler =
            |arrived| answer(readiness.clone(), Arc::clone(&control), stop.under_way.clone(), arrived);
        // The client sees how it ends.
        let _ = serve_connection(socket, &stop.drain, &Seat::default(), handler).await;
    });
    client
}

/// All that a connection still says, and how many seconds after `began_at` it ends.
async fn rest(mut socket: DuplexStream, began_at: Instant) -> (String, u64) {
    let mut said = String::new();
    socket.read_to_string(&mut said).await.expect("no reset");
    (said, began_at.elapsed().as_secs())
}

/// The answer to [`HEALTH`]; `None` when the connection has ended instead.
async fn ask(socket: &mut DuplexStream) -> Option<()> {
    socket.write_all(HEALTH).await.ok()?;
    let mut said = Vec::new();
    while !said.ends_with(b"}") {
        said.push(socket.read_u8().await.ok()?);
    }
    assert!(said.starts_with(b"HTTP/1.1 200 "));
    Some(())
}

#[tokio::test]
async fn who_says_nothing_or_half_a_head_is_hung_up_on() {
    let (server, ..) = connect().await;
    for beginning in ["", "P", "POST /ListRooms HTTP/1.1\r\nhost: test\r\nx-slow: "] {
        let (mut socket, began_at) = (another(&server), Instant::now());
        socket.write_all(beginning.as_bytes()).await.expect("a beginning");
        assert_eq!(rest(socket, began_at).await, (String::new(), REQUEST_SECONDS_MAX), "{beginning:?}");
    }
}

#[tokio::test]
async fn a_head_that_drips_in_gains_no_time() {
    let (_server, mut socket, began_at) = connect().await;
    let head = b"POST /ListRooms HTTP/1.1\r\nhost: test\r\n";
    for &byte in head.iter().cycle() {
        if socket.write_all(&[byte]).await.is_err() {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    let seconds = began_at.elapsed().as_secs();
    // The end and a byte fall into the same instant: that byte may get through, and the next does not.
    assert!((REQUEST_SECONDS_MAX..=REQUEST_SECONDS_MAX + 1).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_a_typed_408() {
    let (_server, mut socket, began_at) = connect().await;
    let beginning = b"POST /ListRooms HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n{";
    socket.write_all(beginning).await.expect("a beginning");
    let (said, seconds) = rest(socket, began_at).await;
    let answer = Answer::parse(&said);
    assert_eq!((answer.error(), seconds), ((408, "RequestTimeoutException"), REQUEST_SECONDS_MAX));
    assert_eq!(answer.header("connection"), Some("close"));
}

#[tokio::test]
async fn an_idle_connection_is_kept_for_a_while() {
    let (_server, mut socket, began_at) = connect().await;
    for _ in 0..3 {
        assert_eq!(ask(&mut socket).await, Some(()));
        sleep(Duration::from_secs(REQUEST_SECONDS_MAX - 1)).await;
    }
    let asked_for = 3 * (REQUEST_SECONDS_MAX - 1);
    assert_eq!(rest(socket, began_at).await, (String::new(), asked_for + 1));
}

#[tokio::test]
async fn no_connection_lives_for_ever_however_busy_it_is() {
    let (_server, mut socket, began_at) = connect().await;
    while ask(&mut socket).await.is_some() {
        assert!(began_at.elapsed().as_secs() <= CONNECTION_SECONDS_MAX);
        sleep(Duration::from_secs(7)).await;
    }
    let seconds = began_at.elapsed().as_secs();
    assert!((CONNECTION_SECONDS_MAX..CONNECTION_SECONDS_MAX + 7).contains(&seconds), "{seconds}");
}
