#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Barrier};
use std::time::Duration;

use bytes::Bytes;
use hyper::{HeaderMap, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout};

use super::names::LookUp;
use super::pool::Pool;
use super::{Call, CallError, Caller, Trust};

/// So long that only a broken program gets there.
const LONG: Duration = Duration::from_secs(60);

fn caller() -> Caller {
    Caller::new(Trust::from_variables(|_| None))
}

fn call(listener: &TcpListener, time: Duration) -> Call {
    Call {
        method: Method::POST,
        uri: format!("http://{}/hook?a=b", listener.local_addr().unwrap()).parse().unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"ping"),
        deadline: Instant::now() + time,
        answer_bytes_max: 10,
        outlives_deadline: false,
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Reads one request, whose body is `ping`.
async fn read_request(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"ping") {
        assert_ne!(socket.read_buf(&mut bytes).await.unwrap(), 0);
    }
    String::from_utf8(bytes).unwrap()
}

async fn answer(socket: &mut TcpStream, body: &str) {
    let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    socket.write_all(text.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn a_connection_is_used_again_and_replaced_when_it_is_broken() {
    let listener = listener().await;
    let caller = caller();
    let server = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let request = read_request(&mut socket).await;
        assert!(request.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{request}");
        let host = format!("host: {}\r\n", listener.local_addr().unwrap());
        assert!(request.contains(&host), "{request}");
        answer(&mut socket, "one").await;
        read_request(&mut socket).await;
        answer(&mut socket, "two").await;
        // The third request comes, and nobody answers it here.
        read_request(&mut socket).await;
        drop(socket);
        let (mut socket, _) = listener.accept().await.unwrap();
        read_request(&mut socket).await;
        answer(&mut socket, "three").await;
        // What waits is not read: the connection stays until the caller has its answer.
        socket
    };
    let client = async {
        for expected in ["one", "two", "three"] {
            assert_eq!(caller.call(call(&listener, LONG)).await.unwrap().body, expected);
        }
    };
    tokio::join!(server, client);
}

#[tokio::test]
async fn who_waits_for_a_place_gets_the_connection_of_the_call_before() {
    let listener = listener().await;
    let caller = Caller::with_calls_per_origin_max(Trust::from_variables(|_| None), 1);
    let server = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        for body in ["one", "two"] {
            read_request(&mut socket).await;
            answer(&mut socket, body).await;
        }
        socket
    };
    // The second one waits for the first one: both are under way before there is any answer.
    let first = caller.call(call(&listener, LONG));
    let second = caller.call(call(&listener, LONG));
    let (first, second, _socket) = tokio::join!(first, second, server);
    assert_eq!((first.unwrap().body, second.unwrap().body), ("one".into(), "two".into()));
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_and_its_connection_with_it() {
    let listener = listener().await;
    let caller = caller();
    let server = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        // However much of the request has come: behind it is the end.
        let mut all = Vec::new();
        socket.read_to_end(&mut all).await.unwrap();
    };
    let client = async {
        let outcome = caller.call(call(&listener, Duration::from_millis(20))).await;
        assert_eq!(outcome.unwrap_err(), CallError::TimedOut);
    };
    tokio::join!(server, client);
}

#[tokio::test]
async fn an_answer_that_is_too_long_broken_or_absent_is_an_error() {
    let listener = listener().await;
    let caller = caller();
    let server = async {
        for text in ["HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n12345678901", "SSH-2.0\r\n", ""] {
            let (mut socket, _) = listener.accept().await.unwrap();
            read_request(&mut socket).await;
            socket.write_all(text.as_bytes()).await.unwrap();
        }
    };
    let client = async {
        let outcome = caller.call(call(&listener, LONG)).await;
        assert_eq!(outcome.unwrap_err(), CallError::AnswerTooLong(hyper::StatusCode::OK));
        for _ in 0..2 {
            let outcome = caller.call(call(&listener, LONG)).await;
            assert!(matches!(outcome, Err(CallError::Broken(_))), "{outcome:?}");
        }
    };
    tokio::join!(server, client);
    let call = call(&listener, LONG);
    drop(listener);
    assert!(matches!(caller.call(call).await, Err(CallError::Unreachable(_))));
}

/// So short that a call which depends on something else is over.
const SHORT: Duration = Duration::from_millis(20);

/// A caller whose names are looked up so.
fn caller_with(look_up: LookUp) -> Caller {
    let trust = Trust::from_variables(|_| None);
    Caller { pool: Arc::new(Pool::new(trust, look_up, 16)) }
}

/// The call by a name, so that each new connection has to be looked up.
fn call_by_name(listener: &TcpListener, time: Duration) -> Call {
    let port = listener.local_addr().unwrap().port();
    Call { uri: format!("http://far.away:{port}/hook").parse().unwrap(), ..call(listener, time) }
}

#[tokio::test]
async fn a_connection_that_is_made_too_late_for_its_call_serves_the_next_one() {
    static GATE: Barrier = Barrier::new(2);
    let listener = listener().await;
    let caller = caller_with(|_| {
        GATE.wait();
        Ok(vec![[127, 0, 0, 1].into()])
    });
    let outcome = caller.call(call_by_name(&listener, SHORT)).await;
    assert_eq!(outcome.unwrap_err(), CallError::TimedOut);
    spawn_blocking(|| GATE.wait()).await.unwrap();
    // Nobody waits for it any more.
    let (mut socket, _) = timeout(LONG, listener.accept()).await.unwrap().unwrap();
    let server = async {
        read_request(&mut socket).await;
        answer(&mut socket, "reached").await;
        socket
    };
    // No other connection is made: nobody opens the gate.
    let (answer, _socket) = tokio::join!(caller.call(call_by_name(&listener, LONG)), server);
    assert_eq!(answer.unwrap().body, "reached");
}

#[tokio::test]
async fn a_connection_whose_answer_is_too_late_for_its_call_serves_the_next_one() {
    static GATE: Barrier = Barrier::new(2);
    let listener = listener().await;
    let caller = caller_with(|_| {
        GATE.wait();
        Ok(vec![[127, 0, 0, 1].into()])
    });
    let gate = spawn_blocking(|| GATE.wait());
    let timed_out = Notify::new();
    let client = async {
        let first = Call { outlives_deadline: true, ..call_by_name(&listener, SHORT) };
        assert_eq!(caller.call(first).await.unwrap_err(), CallError::TimedOut);
        gate.await.unwrap();
        timed_out.notify_one();
        caller.call(call_by_name(&listener, LONG)).await
    };
    let server = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_request(&mut socket).await;
        timed_out.notified().await;
        answer(&mut socket, "one").await;
        read_request(&mut socket).await;
        answer(&mut socket, "two").await;
        socket
    };
    // What comes first is that all is well: where the first call did not even get to its request, there is one request only.
    tokio::select! {
        answer = client => assert!(["one", "two"].contains(&&*String::from_utf8_lossy(&answer.unwrap().body))),
        _ = async { server.await; std::future::pending::<()>().await } => {}
    }
}

/// Answers requests to `/quick` with the number of their connection, and no others.
async fn answer_the_quick(listener: &TcpListener) {
    let mut connections = JoinSet::new();
    for number in 1.. {
        let (mut socket, _) = listener.accept().await.unwrap();
        connections.spawn(async move {
            let mut bytes = Vec::new();
            while socket.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {
                if bytes.starts_with(b"POST /quick ") && bytes.ends_with(b"ping") {
                    bytes.clear();
                    answer(&mut socket, &number.to_string()).await;
                }
            }
        });
    }
}

#[tokio::test]
async fn a_path_that_is_stuck_takes_no_connections_from_the_others_of_its_origin() {
    let listener = listener().await;
    let caller = caller();
    let to = |path: &str, time| {
        let uri = format!("http://{}{path}", listener.local_addr().unwrap());
        Call { uri: uri.parse().unwrap(), ..call(&listener, time) }
    };
    let client = async {
        let mut connections = Vec::new();
        for _ in 0..3 {
            let answer = caller.call(to("/quick", LONG)).await.unwrap();
            connections.push(String::from_utf8(answer.body.to_vec()).unwrap());
            let outcome = caller.call(to("/stuck", SHORT)).await;
            assert_eq!(outcome.unwrap_err(), CallError::TimedOut);
        }
        connections
    };
    let connections = tokio::select! {
        connections = client => connections,
        () = answer_the_quick(&listener) => unreachable!("it answers for ever"),
    };
    // The first one is gone; nobody knew.
    assert_ne!(connections[0], connections[1]);
    assert_eq!(connections[1], connections[2]);
}
