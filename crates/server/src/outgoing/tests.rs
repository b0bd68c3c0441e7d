#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use bytes::Bytes;
use hyper::{HeaderMap, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

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
        assert_eq!(outcome.unwrap_err(), CallError::AnswerTooLong);
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
