//! A small client of the control plane: signed HTTP/1.1 over one connection that is kept open.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::SystemTime;

use protocol::sigv4::{Credential, Dialect, RequestView, SecretKey, sign};
use protocol::time::Timestamp;
use rustls::ClientConfig;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::server::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};
use crate::stream::Stream;

/// The region that all requests are for.
pub const REGION: &str = "us-west-2";
/// The account of the server under test: the one it has without settings.
pub const ACCOUNT_ID: &str = "123456789012";
const CREATE_CHAT_TOKEN: &str = "CreateChatToken";
const LIST_ROOMS: &str = "ListRooms";
const ANSWER_HEADERS_MAX: usize = 64;
/// Longest answer body that is taken, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The credential that all requests are signed with.
#[must_use]
pub fn credential() -> Credential {
    Credential {
        access_key_id: ACCESS_KEY_ID.into(),
        secret_key: SecretKey::new(SECRET_ACCESS_KEY),
        account_id: ACCOUNT_ID.into(),
    }
}

/// What a chat token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Watches only.
    Viewer,
    /// May send messages.
    Publisher,
}

/// A connection to the control plane.
pub struct ControlPlane {
    address: SocketAddr,
    stream: BufReader<Stream<TcpStream>>,
    credential: Credential,
}

impl ControlPlane {
    /// Connects, with TLS if there is a configuration for it.
    ///
    /// # Errors
    /// The system's.
    pub fn connect(address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).map_err(Failure::io("connect to the control plane"))?;
        stream.set_nodelay(true).map_err(Failure::io("set TCP_NODELAY"))?;
        let stream = BufReader::new(Stream::new(stream, tls)?);
        Ok(Self { address, stream, credential: credential() })
    }

    /// CreateRoom with the highest message rate there is; the room's ARN.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn create_room(&mut self) -> Result<String, Failure> {
        self.create_logged_room(&[])
    }

    /// The same with logging configurations, by their ARNs.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn create_logged_room(&mut self, configurations: &[String]) -> Result<String, Failure> {
        let room = json!({
            "name": "bench",
            "maximumMessageRatePerSecond": 100,
            "loggingConfigurationIdentifiers": configurations,
        });
        text("CreateRoom", &self.call("CreateRoom", &room)?, "arn")
    }

    /// CreateLoggingConfiguration; its ARN.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn create_logging_configuration(&mut self, destination: &Value) -> Result<String, Failure> {
        const OPERATION: &str = "CreateLoggingConfiguration";
        let answer = self.call(OPERATION, &json!({ "destinationConfiguration": destination }))?;
        text(OPERATION, &answer, "arn")
    }

    /// CreateChatToken for the longest session there is; the token.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn create_chat_token(&mut self, room: &str, user_id: &str, role: Role) -> Result<String, Failure> {
        let answer = self.call(CREATE_CHAT_TOKEN, &chat_token_body(room, user_id, role))?;
        text(CREATE_CHAT_TOKEN, &answer, "token")
    }

    /// The request that [`ControlPlane::create_chat_token`] sends, signed now.
    #[must_use]
    pub fn create_chat_token_request(&self, room: &str, user_id: &str, role: Role) -> Vec<u8> {
        self.signed_request(CREATE_CHAT_TOKEN, &chat_token_body(room, user_id, role))
    }

    /// ListRooms without conditions; the answer's body as it came.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn list_rooms(&mut self, next_token: Option<&str>) -> Result<Vec<u8>, Failure> {
        self.ask(LIST_ROOMS, &list_rooms_body(next_token))
    }

    /// The request that [`ControlPlane::list_rooms`] sends, signed now.
    #[must_use]
    pub fn list_rooms_request(&self, next_token: Option<&str>) -> Vec<u8> {
        self.signed_request(LIST_ROOMS, &list_rooms_body(next_token))
    }

    fn call(&mut self, operation: &'static str, body: &Value) -> Result<Value, Failure> {
        let answer = self.ask(operation, body)?;
        serde_json::from_slice(&answer).map_err(|_| refused(operation, 200, &answer))
    }

    fn ask(&mut self, operation: &'static str, body: &Value) -> Result<Vec<u8>, Failure> {
        let request = self.signed_request(operation, body);
        let sent = self.stream.get_mut().write_all(&request);
        sent.map_err(Failure::io("send to the control plane"))?;
        self.answer(operation)
    }

    fn signed_request(&self, operation: &str, body: &Value) -> Vec<u8> {
        let body = body.to_string();
        let host = self.address.to_string();
        let headers = [("host", host.as_bytes()), ("content-type", b"application/json".as_slice())];
        let path = format!("/{operation}");
        let view =
            RequestView { method: "POST", path: &path, query: "", headers: &headers, body: body.as_bytes() };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = Timestamp::from_seconds(now.as_secs());
        let signature = sign(&view, Dialect::IVSCHAT, REGION, &self.credential, now);
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n\
             x-amz-date: {}\r\nauthorization: {}\r\ncontent-length: {}\r\n\r\n{body}",
            signature.date,
            signature.authorization,
            body.len(),
        );
        request.into_bytes()
    }

    fn answer(&mut self, operation: &'static str) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let head = loop {
            let read = self.stream.read_until(b'\n', &mut bytes).map_err(Failure::io("read an answer"))?;
            match AnswerHead::read(&bytes) {
                Some(head) => break head,
                None if read == 0 || bytes.len() > ANSWER_BYTES_MAX => {
                    return Err(refused(operation, 0, b"no whole answer"));
                }
                None => {}
            }
        };
        let mut body = vec![0; head.body_bytes.min(ANSWER_BYTES_MAX)];
        self.stream.read_exact(&mut body).map_err(Failure::io("read an answer's body"))?;
        if head.status == 200 { Ok(body) } else { Err(refused(operation, head.status, &body)) }
    }
}

fn chat_token_body(room: &str, user_id: &str, role: Role) -> Value {
    let capabilities: &[&str] = match role {
        Role::Viewer => &[],
        Role::Publisher => &["SEND_MESSAGE"],
    };
    json!({
        "roomIdentifier": room,
        "userId": user_id,
        "capabilities": capabilities,
        "sessionDurationInMinutes": 180,
    })
}

fn list_rooms_body(next_token: Option<&str>) -> Value {
    next_token.map_or_else(|| json!({}), |token| json!({ "nextToken": token }))
}

/// What the head of an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerHead {
    /// HTTP status.
    pub status: u16,
    /// The head itself, in bytes.
    pub head_bytes: usize,
    /// The body that follows it, in bytes.
    pub body_bytes: usize,
}

impl AnswerHead {
    /// Reads the head that `bytes` begin with; `None` while it is not whole. An answer that is not HTTP, or does not
    /// say how long it is, has status 0 and no body.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; ANSWER_HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let none = Self { status: 0, head_bytes: bytes.len(), body_bytes: 0 };
        let head_bytes = match response.parse(bytes) {
            Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
            Ok(httparse::Status::Partial) => return None,
            Err(_) => return Some(none),
        };
        let length =
            response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let body_bytes = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok());
        Some(match (response.code, body_bytes) {
            (Some(status), Some(body_bytes)) => Self { status, head_bytes, body_bytes },
            _ => none,
        })
    }
}

fn refused(operation: &'static str, status: u16, body: &[u8]) -> Failure {
    Failure::Refused { operation, status, body: String::from_utf8_lossy(body).into_owned() }
}

fn text(operation: &'static str, answer: &Value, member: &str) -> Result<String, Failure> {
    let missing = || Failure::Refused { operation, status: 200, body: answer.to_string() };
    answer[member].as_str().map(str::to_owned).ok_or_else(missing)
}
