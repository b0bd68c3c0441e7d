#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use protocol::sigv4::{Credential, SecretKey};
use protocol::sigv4::{Dialect, RequestView, sign};
use protocol::time::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::{AwsCall, AwsClient, AwsError, AwsService, AwsSettings, TRACE_ID};
use crate::outgoing::{Caller, Trust};

/// So long that only a broken program gets there.
const LONG: Duration = Duration::from_secs(60);

fn client(variables: &[(&str, String)]) -> AwsClient {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    let settings = AwsSettings::from_variables(variables);
    AwsClient::new(settings, Caller::new(Trust::from_variables(|_| None)))
}

fn invoke() -> AwsCall<'static> {
    AwsCall {
        service: AwsService::Lambda,
        region: "us-west-2",
        method: Method::POST,
        path: "/2015-03-31/functions/arn%3Aaws%3Alambda/invocations?Qualifier=1",
        headers: &[("content-type", "application/json"), (TRACE_ID, "Root=1-2-3")],
        body: Bytes::from_static(b"{}"),
        deadline: Instant::now() + LONG,
        answer_bytes_max: 1_000,
    }
}

/// One request, and its head in lines.
async fn take_request(listener: &TcpListener) -> (TcpStream, Vec<String>, String) {
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    loop {
        assert_ne!(socket.read_buf(&mut bytes).await.unwrap(), 0);
        let text = String::from_utf8(bytes.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let lines: Vec<String> = head.lines().map(str::to_owned).collect();
        let length = lines.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        if body.len() == length.parse::<usize>().unwrap() {
            return (socket, lines, body.to_owned());
        }
    }
}

async fn answer(socket: &mut TcpStream, status: &str, body: &str) {
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    socket.write_all(text.as_bytes()).await.unwrap();
}

fn field<'a>(lines: &'a [String], name: &str) -> &'a str {
    lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap()
}

#[tokio::test]
async fn a_call_is_signed_as_the_verified_signer_signs() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let client = client(&[
        ("AWS_ENDPOINT_URL", format!("http://{address}")),
        ("AWS_ACCESS_KEY_ID", "AKID".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "hunter2".to_owned()),
        ("AWS_SESSION_TOKEN", "session".to_owned()),
    ]);
    let server = async {
        let (mut socket, lines, body) = take_request(&listener).await;
        answer(&mut socket, "200 OK", "done").await;
        assert_eq!(body, "{}");
        let (path, query) = lines[0].split(' ').nth(1).unwrap().split_once('?').unwrap();
        let hash = field(&lines, "x-amz-content-sha256");
        let headers: [(&str, &[u8]); 4] = [
            ("host", address.as_bytes()),
            ("x-amz-content-sha256", hash.as_bytes()),
            ("content-type", b"application/json"),
            ("x-amz-security-token", b"session"),
        ];
        let view = RequestView { method: "POST", path, query, headers: &headers, body: b"{}" };
        let credential = Credential {
            access_key_id: "AKID".into(),
            secret_key: SecretKey::new("hunter2"),
            account_id: Box::default(),
        };
        let date = Timestamp::parse_amz(field(&lines, "x-amz-date")).unwrap();
        let dialect = Dialect { service: "lambda", normalize_path: true };
        let expected = sign(&view, dialect, "us-west-2", &credential, date);
        assert_eq!(field(&lines, "authorization"), expected.authorization);
        // It is not signed.
        assert_eq!(field(&lines, "x-amzn-trace-id"), "Root=1-2-3");
    };
    let (answered, ()) = tokio::join!(client.call(invoke()), server);
    assert_eq!(answered.unwrap().body, "done");
    assert!(!format!("{client:?}").contains("hunter2"));
}

#[tokio::test]
async fn an_error_is_told_by_its_name() {
    for (body, code, shown) in [
        (
            r#"{"__type":"a#ThrottlingException:http","message":"hunter2"}"#,
            "ThrottlingException",
            "status 429, ThrottlingException",
        ),
        (
            "<Error><Code>NoSuchBucket</Code><Message>hunter2</Message></Error>",
            "NoSuchBucket",
            "status 429, NoSuchBucket",
        ),
        (r#"{"__type":"what hunter2 said"}"#, "", "status 429"),
        ("hunter2", "", "status 429"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = client(&[
            ("AWS_ENDPOINT_URL_LAMBDA", format!("http://{}", listener.local_addr().unwrap())),
            ("AWS_ACCESS_KEY_ID", "AKID".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "hunter2".to_owned()),
        ]);
        let server = async {
            let (mut socket, ..) = take_request(&listener).await;
            answer(&mut socket, "429 Too Many Requests", body).await;
        };
        let (outcome, ()) = tokio::join!(client.call(invoke()), server);
        let error = outcome.unwrap_err();
        assert_eq!(error, AwsError::Refused { status: 429, code: code.to_owned() });
        // Whatever the endpoint says beyond that does not get into the log.
        assert_eq!(error.to_string(), shown);
    }
}

#[tokio::test]
async fn without_endpoint_and_credentials_nothing_is_configured_and_nobody_is_asked() {
    let client = client(&[("AWS_EC2_METADATA_DISABLED", "true".to_owned())]);
    assert!(!client.is_configured(AwsService::Lambda).await);
    assert_eq!(client.call(invoke()).await.unwrap_err(), AwsError::NoCredentials);
}

#[tokio::test]
async fn a_profile_takes_a_role_through_the_token_service() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    let text = "[profile chat]\nrole_arn = arn:aws:iam::1:role/chat\nsource_profile = keys\n\
                [profile keys]\ncredential_process = printf '{\"AccessKeyId\":\"SOURCE\",\"SecretAccessKey\":\"s\"}'\n";
    std::fs::write(&config, text).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client(&[
        ("AWS_ENDPOINT_URL", format!("http://{}", listener.local_addr().unwrap())),
        ("AWS_CONFIG_FILE", config.display().to_string()),
        ("AWS_PROFILE", "chat".to_owned()),
    ]);
    let server = async {
        let (mut socket, lines, body) = take_request(&listener).await;
        assert!(field(&lines, "authorization").contains("Credential=SOURCE/"));
        assert!(body.contains("Action=AssumeRole&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fchat&"), "{body}");
        let given = "<AccessKeyId>ROLE</AccessKeyId><SecretAccessKey>t</SecretAccessKey>\
                     <SessionToken>session</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration>";
        answer(&mut socket, "200 OK", given).await;
        for _ in 0..2 {
            let (mut socket, lines, _) = take_request(&listener).await;
            assert!(field(&lines, "authorization").contains("Credential=ROLE/"));
            assert_eq!(field(&lines, "x-amz-security-token"), "session");
            answer(&mut socket, "200 OK", "done").await;
        }
    };
    let calls = async {
        for _ in 0..2 {
            client.call(invoke()).await.unwrap();
        }
    };
    tokio::join!(server, calls);
}
