//! S3, CloudWatch Logs and Firehose, as far as chat logs need them: takes what is sent, answers as the service does, and keeps
//! it for who compares it later. It looks at no more of it than the answer needs.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::{Value, json};

use super::LogService;

const HEADERS_MAX: usize = 32;
/// Longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1_024;
/// Longest body, in bytes.
const BODY_BYTES_MAX: usize = 64 << 20;

/// A request that was taken.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    /// Its body.
    pub(super) body: Vec<u8>,
}

/// A service, until the process ends.
#[derive(Clone, Debug)]
pub(super) struct Receiver {
    /// Where it is.
    pub(super) address: SocketAddr,
    service: LogService,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    deliveries: Vec<Delivery>,
    /// Keys of S3, or the streams of CloudWatch Logs.
    names: HashSet<String>,
}

struct Request {
    path: String,
    operation: String,
    body: Vec<u8>,
}

impl Receiver {
    /// Begins to listen.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn start(service: LogService) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let receiver = Self { address: listener.local_addr()?, service, taken: Arc::default() };
        let own = receiver.clone();
        thread::Builder::new().name("receiver".to_owned()).spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let receiver = own.clone();
                // A connection that breaks is the server's to make anew.
                thread::spawn(move || receiver.serve(&socket));
            }
        })?;
        Ok(receiver)
    }

    /// What has come so far, in the order in which it was answered; it is forgotten here.
    pub(super) fn take_deliveries(&self) -> Vec<Delivery> {
        std::mem::take(&mut self.taken().deliveries)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, socket: &TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let (mut reader, mut writer) = (socket, socket);
        let mut unread = Vec::new();
        while let Some(request) = read_request(&mut reader, &mut unread)? {
            let (status, headers, body) = self.answer(request);
            let answer =
                format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len());
            writer.write_all(answer.as_bytes())?;
        }
        Ok(())
    }

    /// Takes a request: status, headers and body of the answer.
    fn answer(&self, request: Request) -> (&'static str, &'static str, String) {
        const JSON: &str = "content-type: application/x-amz-json-1.1\r\n";
        let Request { path, operation, body } = request;
        let mut taken = self.taken();
        match (self.service, operation.as_str()) {
            (LogService::S3, _) => {
                if !taken.names.insert(path) {
                    return ("500 Written Over", "", String::new());
                }
                taken.deliveries.push(Delivery { body });
                ("200 OK", "etag: \"0123456789abcdef\"\r\n", String::new())
            }
            (LogService::CloudWatchLogs, "Logs_20140328.CreateLogStream") => {
                taken.names.insert(stream_of(&body));
                ("200 OK", JSON, "{}".to_owned())
            }
            (LogService::CloudWatchLogs, "Logs_20140328.PutLogEvents")
                if taken.names.contains(&stream_of(&body)) =>
            {
                taken.deliveries.push(Delivery { body });
                ("200 OK", JSON, "{}".to_owned())
            }
            (LogService::CloudWatchLogs, _) => {
                ("400 Bad Request", JSON, json!({ "__type": "ResourceNotFoundException" }).to_string())
            }
            (LogService::Firehose, _) => {
                // Base64 has no braces: one around the request, one around each record.
                let records = body.iter().filter(|byte| **byte == b'{').count().saturating_sub(1);
                taken.deliveries.push(Delivery { body });
                drop(taken);
                let each = vec![r#"{"RecordId":"0123456789abcdef0123456789abcdef"}"#; records].join(",");
                ("200 OK", JSON, format!(r#"{{"FailedPutCount":0,"RequestResponses":[{each}]}}"#))
            }
        }
    }
}

/// The stream that a request to CloudWatch Logs names; its events are not looked at.
fn stream_of(body: &[u8]) -> String {
    const EVENTS: &[u8] = b",\"logEvents\"";
    let head = &body[..body.len().min(2_048)];
    let end = head.windows(EVENTS.len()).position(|window| window == EVENTS);
    let names = end.map_or_else(|| body.to_vec(), |end| [&body[..end], b"}"].concat());
    let names: Value = serde_json::from_slice(&names).unwrap_or_default();
    names["logStreamName"].as_str().unwrap_or_default().to_owned()
}

/// The next request of a connection; `None` at its end.
fn read_request(socket: &mut impl Read, unread: &mut Vec<u8>) -> io::Result<Option<Request>> {
    let (head_bytes, body_bytes, path, operation) = loop {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(unread).map_err(io::Error::other)?;
        if let httparse::Status::Complete(head_bytes) = parsed {
            let header = |name: &str| {
                let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
                found.and_then(|header| std::str::from_utf8(header.value).ok()).unwrap_or_default().to_owned()
            };
            let body_bytes: usize = header("content-length").parse().map_err(io::Error::other)?;
            break (
                head_bytes,
                body_bytes,
                request.path.unwrap_or_default().to_owned(),
                header("x-amz-target"),
            );
        }
        if unread.len() > HEAD_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let known = unread.len();
        unread.resize(known + HEAD_BYTES_MAX, 0);
        let count = socket.read(&mut unread[known..])?;
        unread.truncate(known + count);
        if count == 0 {
            return Ok(None);
        }
    };
    if body_bytes > BODY_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = unread.split_off(head_bytes.min(unread.len()));
    *unread = body.split_off(body_bytes.min(body.len()));
    let known = body.len();
    body.resize(body_bytes, 0);
    socket.read_exact(&mut body[known..])?;
    Ok(Some(Request { path, operation, body }))
}
