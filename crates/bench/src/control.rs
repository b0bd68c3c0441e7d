//! A small client of the control plane: signed HTTP/1.1 over one connection that is kept open.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::SystemTime;

use protocol::sigv4::{Credential, Dialect, RequestView, SecretKey, sign};
use protocol::time::Timestamp;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::server::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};

const REGION: &str = "us-east-1";
const ANSWER_HEADERS_MAX: usize = 64;
/// Longest answer body that is taken, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

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
    stream: BufReader<TcpStream>,
    credential: Credential,
}

impl ControlPlane {
    /// Connects.
    ///
    /// # Errors
    /// The system's.
    pub fn connect(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).map_err(Failure::io("connect to the control plane"))?;
        stream.set_nodelay(true).map_err(Failure::io("set TCP_NODELAY"))?;
        let credential = Credential {
            access_key_id: ACCESS_KEY_ID.into(),
            secret_key: SecretKey::new(SECRET_ACCESS_KEY),
            account_id: "123456789012".into(),
        };
        Ok(Self { address, stream: BufReader::new(stream), credential })
    }

    /// CreateRoom with the highest message rate there is; the room's ARN.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn create_room(&mut self) -> Result<String, Failure> {
        let answer =
            self.call("CreateRoom", &json!({ "name": "bench", "maximumMessageRatePerSecond": 100 }))?;
        text("CreateRoom", &answer, "arn")
    }

    /// CreateChatToken for the longest session there is; the token.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn create_chat_token(&mut self, room: &str, user_id: &str, role: Role) -> Result<String, Failure> {
        let capabilities: &[&str] = match role {
            Role::Viewer => &[],
            Role::Publisher => &["SEND_MESSAGE"],
        };
        let body = json!({
            "roomIdentifier": room,
            "userId": user_id,
            "capabilities": capabilities,
            "sessionDurationInMinutes": 180,
        });
        let answer = self.call("CreateChatToken", &body)?;
        text("CreateChatToken", &answer, "token")
    }

    fn call(&mut self, operation: &'static str, body: &Value) -> Result<Value, Failure> {
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
        let sent = self.stream.get_mut().write_all(request.as_bytes());
        sent.map_err(Failure::io("send to the control plane"))?;
        self.answer(operation)
    }

    fn answer(&mut self, operation: &'static str) -> Result<Value, Failure> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let read = self.stream.read_until(b'\n', &mut head).map_err(Failure::io("read an answer"))?;
            if read == 0 || head.len() > ANSWER_BYTES_MAX {
                return Err(Failure::Refused { operation, status: 0, body: "no whole answer".to_owned() });
            }
        }
        let mut headers = [httparse::EMPTY_HEADER; ANSWER_HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(&head).ok().and(response.code);
        let length = response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case("content-length"))
            .and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok());
        let (Some(status), Some(length @ 0..=ANSWER_BYTES_MAX)) = (parsed, length) else {
            return Err(Failure::Refused { operation, status: 0, body: "no length".to_owned() });
        };
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).map_err(Failure::io("read an answer's body"))?;
        let refused = |body: &[u8]| Failure::Refused {
            operation,
            status,
            body: String::from_utf8_lossy(body).into_owned(),
        };
        if status != 200 {
            return Err(refused(&body));
        }
        serde_json::from_slice(&body).map_err(|_| refused(&body))
    }
}

fn text(operation: &'static str, answer: &Value, member: &str) -> Result<String, Failure> {
    let missing = || Failure::Refused { operation, status: 200, body: answer.to_string() };
    answer[member].as_str().map(str::to_owned).ok_or_else(missing)
}
