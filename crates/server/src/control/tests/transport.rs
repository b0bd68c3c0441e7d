//! What every request goes through: signature, sizes, routing, the form of answers and errors, panics, the drain.

use std::collections::HashSet;

use bytes::Bytes;
use protocol::operation::Operation;
use protocol::sigv4::{Credential, SecretKey};
use protocol::time::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use super::super::{Asked, Processed, Success, carry_through};
use super::{Answer, Call, Server, root};
use crate::clock;
use crate::health::Phase;
use crate::uuid::uuid;

#[tokio::test]
async fn every_answer_has_its_headers() {
    let server = Server::start().await;
    let mut request_ids = HashSet::new();
    for call in [
        Call::new("POST", "/CreateRoom"),
        Call::new("POST", "/CreateRoom").body("x"),
        Call::new("GET", "/nothing"),
        Call::new("GET", "/health/live"),
    ] {
        let answer = call.send(&server).await;
        let request_id = answer.header("x-amzn-requestid").unwrap_or_default().to_owned();
        assert_eq!(request_id.len(), 36, "{request_id}");
        assert!(request_ids.insert(request_id));
        assert!(answer.header("date").is_some_and(|date| date.ends_with(" GMT")));
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

#[test]
fn a_request_id_is_a_random_uuid() {
    let id = uuid();
    let parts: Vec<&str> = id.split('-').collect();
    assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<usize>>(), [8, 4, 4, 4, 12]);
    assert!(parts.concat().bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(parts[2].starts_with('4') && parts[3].starts_with(['8', '9', 'a', 'b']), "{id}");
}

#[tokio::test]
async fn nobody_gets_in_without_a_signature() {
    let server = Server::start().await;
    let with = |credential: Credential| Call { credential, ..Call::new("POST", "/CreateRoom") };
    let unsigned =
        "POST /CreateRoom HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx";
    let changed = Call::new("POST", "/CreateRoom").body("{}").encode().replace("\r\n\r\n{}", "\r\n\r\n[]");
    let late = clock::now().as_seconds() - 301;
    let late = Call { time: Timestamp::from_seconds(late), ..Call::new("POST", "/CreateRoom") };
    for (request, name) in [
        (unsigned.to_owned(), "MissingAuthenticationTokenException"),
        // Not even whether an operation exists is told to a stranger.
        (unsigned.replace("/CreateRoom", "/nothing"), "MissingAuthenticationTokenException"),
        (
            with(Credential { access_key_id: "AKIDOTHER".into(), ..root() }).encode(),
            "UnrecognizedClientException",
        ),
        (
            with(Credential { secret_key: SecretKey::new("wrong"), ..root() }).encode(),
            "InvalidSignatureException",
        ),
        (changed, "InvalidSignatureException"),
        (late.encode(), "InvalidSignatureException"),
        (
            Call::new("POST", "/CreateRoom").encode().replace(", SignedHeaders", ", X"),
            "IncompleteSignatureException",
        ),
    ] {
        let answer = server.exchange(request.as_bytes()).await;
        assert_eq!(answer.error(), (403, name), "{}", answer.body);
        let names: Vec<String> =
            answer.json().as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
        assert_eq!(names, ["message"]);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_told_apart_by_type() {
    let server = Server::start().await;
    let unknown = Call::new("PUT", "/CreateRoom").send(&server).await;
    assert_eq!(unknown.error(), (404, "UnknownOperationException"));
    for body in ["x", "[]", "{\"name\":\"\\ud800\"}", &"[".repeat(10_000)] {
        let answer = Call::new("POST", "/CreateRoom").body(body).send(&server).await;
        assert_eq!(answer.error(), (400, "ValidationException"));
        assert_eq!(answer.json()["reason"], "OTHER");
    }
    let wrong = server.call(Operation::CreateRoom, json!({"name": 1, "maximumMessageLength": "1"})).await;
    let fields = wrong.json()["fieldList"].as_array().cloned().unwrap_or_default();
    let names: Vec<&Value> = fields.iter().map(|field| &field["name"]).collect();
    assert_eq!(
        (wrong.error(), names),
        ((400, "ValidationException"), vec![&json!("name"), &json!("maximumMessageLength")])
    );
}

#[tokio::test]
async fn sizes_have_an_end() {
    let server = Server::start().await;
    let body = |length: usize| format!("{{\"unknown\":\"{}\"}}", "x".repeat(length - 14));
    let largest = Call::new("POST", "/CreateRoom").body(body(65_536)).send(&server).await;
    assert_eq!(largest.status, 200);
    for length in [65_537, 5_000_000] {
        let answer = Call::new("POST", "/CreateRoom").body(body(length)).send(&server).await;
        assert_eq!(answer.error(), (413, "RequestEntityTooLargeException"));
        assert!(!answer.json()["message"].is_null());
    }
    let with_header =
        |length| Call::new("POST", "/CreateRoom").headers(format!("x: {}\r\n", "x".repeat(length)));
    assert_eq!(with_header(32_000).send(&server).await.status, 200);
    for length in [32_768, 100_000, 1_000_000] {
        let answer = with_header(length).send(&server).await;
        assert_eq!(answer.error(), (431, "RequestHeaderFieldsTooLargeException"));
    }
    let with_headers = |count| Call::new("POST", "/CreateRoom").headers("x-line: x\r\n".repeat(count));
    assert_eq!(with_headers(95).send(&server).await.status, 200);
    assert_eq!(with_headers(96).send(&server).await.error(), (431, "RequestHeaderFieldsTooLargeException"));
}

/// What no handler gets to see: the HTTP library refuses it, and the answer is ours all the same.
#[tokio::test]
async fn what_is_no_http_gets_a_typed_answer() {
    let server = Server::start().await;
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(66_000));
    for (request, status, name) in [
        ("nonsense\r\n\r\n", 400, "MalformedHttpRequestException"),
        ("\0\r\n\r\n", 400, "MalformedHttpRequestException"),
        ("GET / HTTP/9.9\r\n\r\n", 400, "MalformedHttpRequestException"),
        ("GET /\u{7f} HTTP/1.1\r\n\r\n", 400, "MalformedHttpRequestException"),
        ("POST / HTTP/1.1\r\nno colon\r\n\r\n", 400, "MalformedHttpRequestException"),
        ("POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n", 400, "MalformedHttpRequestException"),
        (
            "POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
            400,
            "MalformedHttpRequestException",
        ),
        ("POST / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\nab", 400, "MalformedHttpRequestException"),
        (
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n",
            400,
            "MalformedHttpRequestException",
        ),
        (&long, 431, "RequestHeaderFieldsTooLargeException"),
        (&"x".repeat(200_000), 431, "RequestHeaderFieldsTooLargeException"),
        (
            &format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(200_000)),
            431,
            "RequestHeaderFieldsTooLargeException",
        ),
    ] {
        let answer = server.exchange(request.as_bytes()).await;
        let shown = request.get(..60).unwrap_or(request);
        assert_eq!(answer.error(), (status, name), "{shown:?}");
        assert!(answer.json()["message"].is_string());
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(answer.header("x-amzn-requestid").unwrap_or_default().len(), 36);
        assert!(answer.header("date").is_some_and(|date| date.ends_with(" GMT")));
    }
    let text = server.metrics.encode().expect("metrics");
    let refused = "operation=\"none\",result=\"RequestHeaderFieldsTooLargeException\"} 3";
    assert!(text.contains(refused), "{text}");
}

#[tokio::test]
async fn what_was_asked_before_is_answered_before_a_refusal() {
    let server = Server::start().await;
    let mut socket = TcpStream::connect(server.address).await.expect("a connection");
    let good = Call::new("POST", "/ListRooms").encode().replace("connection: close\r\n", "");
    let requests = format!("{good}{good}nonsense\r\n\r\n{good}");
    socket.write_all(requests.as_bytes()).await.expect("requests");
    for status in [200, 200, 400] {
        assert_eq!(read_one(&mut socket).await.status, status);
    }
    assert_eq!(socket.read(&mut [0]).await.expect("an end"), 0);
}

#[tokio::test]
async fn requests_follow_each_other_on_a_connection() {
    let server = Server::start().await;
    let mut socket = TcpStream::connect(server.address).await.expect("a connection");
    let too_large = Call::new("POST", "/CreateRoom").body("x".repeat(70_000));
    for (call, status) in
        [(Call::new("POST", "/CreateRoom"), 200), (too_large, 413), (Call::new("POST", "/ListRooms"), 200)]
    {
        let keeping = call.encode().replace("connection: close\r\n", "");
        socket.write_all(keeping.as_bytes()).await.expect("a request");
        assert_eq!(read_one(&mut socket).await.status, status);
    }
}

/// Reads one answer of a connection that goes on.
async fn read_one(socket: &mut TcpStream) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.expect("a head"));
    }
    let head = String::from_utf8(head).expect("text");
    let length = Answer::parse(&head).header("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    socket.read_exact(&mut body).await.expect("a body");
    Answer::parse(&(head + &String::from_utf8(body).expect("text")))
}

#[tokio::test]
async fn health_needs_no_signature() {
    let server = Server::start().await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    let status = async |path: &str| server.exchange(get(path).as_bytes()).await.status;
    assert_eq!((status("/health/live").await, status("/health/ready").await), (200, 200));
    server.readiness.enter(Phase::Draining);
    assert_eq!((status("/health/live").await, status("/health/ready").await), (200, 503));
}

#[tokio::test]
async fn a_panic_is_answered_and_stays_alone() {
    let requests = TaskTracker::new();
    let panicking = async { panic!("a planted panic") };
    let (_, outcome): Processed = carry_through(&requests, panicking).await;
    assert_eq!(outcome.err().map(|error| error.encode().status), Some(500));
    let asked = Asked { operation: Operation::GetRoom, region: None };
    let fine = async { (Some(asked), Ok(Success { status: 200, body: Bytes::new() })) };
    let (asked, outcome) = carry_through(&requests, fine).await;
    assert_eq!((asked.map(|asked| asked.operation), outcome.is_ok()), (Some(Operation::GetRoom), true));
}

#[tokio::test]
async fn requests_are_counted() {
    let server = Server::start().await;
    server.done(Operation::CreateRoom, json!({})).await;
    Call::new("POST", "/CreateRoom").body("x").send(&server).await;
    Call::new("POST", "/nothing").send(&server).await;
    let text = server.metrics.encode().expect("metrics");
    for labels in [
        "operation=\"CreateRoom\",result=\"ok\"",
        "operation=\"CreateRoom\",result=\"ValidationException\"",
        "operation=\"none\",result=\"UnknownOperationException\"",
    ] {
        assert!(text.contains(&format!("grandstand_api_requests_total{{{labels}}} 1\n")), "{text}");
    }
}

#[tokio::test]
async fn a_drain_lets_requests_end_and_idle_connections_go() {
    let server = Server::start().await;
    let mut idle = TcpStream::connect(server.address).await.expect("a connection");
    let mut under_way = TcpStream::connect(server.address).await.expect("a connection");
    let request = Call::new("POST", "/CreateRoom").headers("expect: 100-continue\r\n").body("{}").encode();
    let (beginning, end) = request.split_at(request.len() - 2);
    under_way.write_all(beginning.as_bytes()).await.expect("a beginning");
    // The server wants the body: the request is under way.
    assert_eq!(read_one(&mut under_way).await.status, 100);

    server.readiness.enter(Phase::Draining);
    server.stop.drain.cancel();
    server.stop.under_way.close();
    let mut nothing = [0; 1];
    assert_eq!(idle.read(&mut nothing).await.unwrap_or(0), 0);
    // Whoever comes now is told.
    let health = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    for (path, status) in [("/health/live", 200), ("/health/ready", 503)] {
        assert_eq!(server.exchange(health(path).as_bytes()).await.status, status, "{path}");
    }
    let keeping = Call::new("POST", "/CreateRoom").encode().replace("connection: close\r\n", "");
    let late = server.exchange(keeping.as_bytes()).await;
    assert_eq!(late.error(), (503, "ServiceUnavailable"));
    assert_eq!(late.header("connection"), Some("close"));

    let mut watching = TcpStream::connect(server.address).await.expect("a connection");
    under_way.write_all(end.as_bytes()).await.expect("the end");
    let mut answer = String::new();
    under_way.read_to_string(&mut answer).await.expect("an answer");
    assert_eq!(Answer::parse(&answer).status, 200);
    // The one who watches holds up nothing.
    server.stop.under_way.wait().await;
    server.stop.end.cancel();
    assert_eq!(watching.read(&mut nothing).await.unwrap_or(0), 0);
    server.running.await.expect("the server has ended");
    assert!(TcpStream::connect(server.address).await.is_err());
}
