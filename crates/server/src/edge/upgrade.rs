//! The HTTP request that wants to become a WebSocket: what it must say (RFC 6455 section 4.2, RFC 9112), and the
//! answers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::limit::edge::HANDSHAKE_BYTES_MAX;
use protocol::limit::edge::HANDSHAKE_HEADERS_MAX;
use sha1::{Digest, Sha1};

use super::extension::agree;

/// What RFC 6455 section 1.3 has the server append to the client's key.
const ACCEPT_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request as far as the messaging edge cares.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted {
    /// `GET` of some other path: health, perhaps.
    Page {
        /// The path, without the query.
        path: String,
    },
    /// A WebSocket.
    Upgrade(Upgrade),
}

/// A well-formed upgrade request.
#[derive(PartialEq, Eq)]
pub struct Upgrade {
    /// The offered sub-protocol: the chat token.
    pub token: String,
    /// `Sec-WebSocket-Accept` of the answer.
    pub accept: String,
    /// `Sec-WebSocket-Extensions` of the answer, if the server wants that.
    pub compression: Option<String>,
    /// `X-Forwarded-For`, all of them joined; worth nothing unless the peer is a trusted proxy.
    pub forwarded_for: String,
}

impl Upgrade {
    /// The same, agreeing upon no compression unless it is `wanted`.
    pub(super) fn without_compression_unless(self, wanted: bool) -> Self {
        Self { compression: self.compression.filter(|_| wanted), ..self }
    }
}

impl std::fmt::Debug for Upgrade {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Upgrade")
    }
}

/// Why a handshake ends here: an HTTP status, and one line for a person.
///
/// Browsers and SDKs see a failed handshake either way. The official SDKs try again with a fresh token up to three
/// times and then give up for good, so only what is wrong for good is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Of the HTTP answer.
    pub status: u16,
    /// One line.
    pub reason: &'static str,
}

impl Refusal {
    pub(super) const fn new(status: u16, reason: &'static str) -> Self {
        Self { status, reason }
    }
}

/// The head of a request is longer than it may be, whether it is complete or not.
pub(super) const HEAD_TOO_LONG: Refusal = Refusal::new(431, "the request's headers are too long");

/// Reads the head of a request; `None` while it is not complete. The number is its length in bytes.
///
/// # Errors
/// The handshake ends here.
pub fn read_head(bytes: &[u8]) -> Result<Option<(Wanted, usize)>, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; HANDSHAKE_HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Partial) => return Ok(None),
        Ok(httparse::Status::Complete(length)) if length > HANDSHAKE_BYTES_MAX => return Err(HEAD_TOO_LONG),
        Ok(httparse::Status::Complete(length)) => length,
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Refusal::new(431, "the request has too many headers"));
        }
        Err(_) => return Err(Refusal::new(400, "this is not an HTTP/1.1 request")),
    };
    if has_bare_line_feed(&bytes[..length]) {
        return Err(Refusal::new(400, "the request's lines must end in CR LF"));
    }
    let wanted = read_request(&request)?;
    Ok(Some((wanted, length)))
}

/// RFC 9112 section 2.2 lets a server take a bare LF for the end of a line. Who stands in between may not, and the two
/// would see different requests.
fn has_bare_line_feed(head: &[u8]) -> bool {
    head.iter().enumerate().any(|(at, &byte)| byte == b'\n' && !head[..at].ends_with(b"\r"))
}

fn read_request(request: &httparse::Request<'_, '_>) -> Result<Wanted, Refusal> {
    if request.method != Some("GET") {
        return Err(Refusal::new(405, "only GET is allowed here"));
    }
    let headers = Headers(request.headers);
    if request.version == Some(1) && headers.only("host").is_none() {
        return Err(Refusal::new(400, "the request must have one header Host"));
    }
    if !headers.has_word("upgrade", "websocket") {
        let target = request.path.unwrap_or_default();
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        return Ok(Wanted::Page { path: path.to_owned() });
    }
    if request.version != Some(1) || !headers.has_word("connection", "upgrade") {
        return Err(Refusal::new(400, "a WebSocket needs HTTP/1.1 and the header Connection: Upgrade"));
    }
    if headers.announce_body() {
        return Err(Refusal::new(400, "a request for a WebSocket must not have a body"));
    }
    if headers.only("sec-websocket-version") != Some("13") {
        return Err(Refusal::new(426, "the WebSocket version must be 13"));
    }
    let key = headers.only("sec-websocket-key").unwrap_or_default();
    if STANDARD.decode(key).map(|key| key.len()) != Ok(16) {
        return Err(Refusal::new(400, "the header Sec-WebSocket-Key must be 16 bytes in base64"));
    }
    let Some(token) = headers.only("sec-websocket-protocol").filter(|token| !token.is_empty()) else {
        return Err(Refusal::new(
            401,
            "the chat token is missing: offer it as the one WebSocket sub-protocol",
        ));
    };
    if !token.bytes().all(is_token_character) {
        return Err(Refusal::new(403, "the chat token is malformed"));
    }
    Ok(Wanted::Upgrade(Upgrade {
        token: token.to_owned(),
        accept: STANDARD.encode(Sha1::digest(format!("{key}{ACCEPT_SUFFIX}"))),
        compression: agree(headers.all("sec-websocket-extensions")),
        forwarded_for: headers.all("x-forwarded-for").collect::<Vec<_>>().join(","),
    }))
}

/// RFC 7230 `tchar`: what a sub-protocol is made of. What is echoed contains nothing else.
fn is_token_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

struct Headers<'a>(&'a [httparse::Header<'a>]);

impl<'a> Headers<'a> {
    /// The values of all headers of this name that are text.
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'a str> + use<'a> {
        let named = self.0.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.filter_map(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
    }

    /// The value of the header of this name, if there is exactly one.
    fn only(&self, name: &'static str) -> Option<&'a str> {
        let mut values = self.all(name);
        let first = values.next()?;
        values.next().is_none().then_some(first)
    }

    /// Whether a body follows. What would be its bytes are frames here, but something else to whoever stands in between.
    fn announce_body(&self) -> bool {
        self.0.iter().any(|header| match header.name.to_ascii_lowercase().as_str() {
            "transfer-encoding" => true,
            // Some proxies add the length of no body.
            "content-length" => header.value != b"0",
            _ => false,
        })
    }

    /// Whether a header that lists words has this one, in any case.
    fn has_word(&self, name: &'static str, word: &str) -> bool {
        self.all(name)
            .flat_map(|value| value.split(','))
            .any(|listed| listed.trim().eq_ignore_ascii_case(word))
    }
}

/// The answer that opens the WebSocket. The token is echoed: browsers fail the connection otherwise.
#[must_use]
pub fn switch_protocols(upgrade: &Upgrade) -> Vec<u8> {
    let compression = upgrade.compression.as_ref();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {}\r\n{}\r\n",
        upgrade.accept,
        upgrade.token,
        compression.map(|agreed| format!("Sec-WebSocket-Extensions: {agreed}\r\n")).unwrap_or_default()
    )
    .into_bytes()
}

/// An answer that ends the connection.
pub(super) fn page(status: u16, content_type: &str, body: &str) -> Vec<u8> {
    let phrase = match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        _ => "Service Unavailable",
    };
    let extra = match status {
        405 => "Allow: GET\r\n",
        426 => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        _ => "",
    };
    let length = body.len();
    format!(
        "HTTP/1.1 {status} {phrase}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{extra}\
         Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use proptest::{prelude::any, proptest};

    use super::{Refusal, Wanted, page, read_head, switch_protocols};

    const GOOD: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: abc.DEF-_~!#1\r\n\r\n";

    #[test]
    fn the_example_of_the_rfc_is_accepted_and_the_token_echoed() {
        let (wanted, length) = read_head(GOOD.as_bytes()).unwrap().unwrap();
        assert_eq!(length, GOOD.len());
        let Wanted::Upgrade(upgrade) = wanted else { panic!("not an upgrade") };
        assert_eq!(upgrade.token, "abc.DEF-_~!#1");
        let answer = String::from_utf8(switch_protocols(&upgrade)).unwrap();
        assert!(answer.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
        assert!(answer.contains("\r\nSec-WebSocket-Protocol: abc.DEF-_~!#1\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n") && !answer.contains("Extensions"));
    }

    #[test]
    fn what_is_agreed_upon_is_said() {
        let offer = "Host: x\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
        let (wanted, _) = read_head(GOOD.replace("Host: x\r\n", offer).as_bytes()).unwrap().unwrap();
        let Wanted::Upgrade(upgrade) = wanted else { panic!("not an upgrade") };
        let answer = String::from_utf8(switch_protocols(&upgrade)).unwrap();
        let agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        assert!(answer.ends_with(&format!("\r\nSec-WebSocket-Extensions: {agreed}\r\n\r\n")), "{answer}");
    }

    #[test]
    fn every_beginning_is_incomplete() {
        for end in 0..GOOD.len() {
            assert_eq!(read_head(&GOOD.as_bytes()[..end]), Ok(None), "{end}");
        }
    }

    #[track_caller]
    fn check(from: &str, to: &str, status: u16) {
        assert!(GOOD.contains(from));
        match read_head(GOOD.replace(from, to).as_bytes()) {
            Err(Refusal { status: refused, reason }) => {
                assert_eq!(refused, status, "{reason}");
                assert!(!reason.contains('\n'));
            }
            other => panic!("{to:?}: {other:?}"),
        }
    }

    #[test]
    fn what_is_no_upgrade_is_refused_with_a_status() {
        check("GET /", "POST /", 405);
        check("GET / HTTP/1.1", "nonsense", 400);
        check("HTTP/1.1\r\n", "HTTP/1.0\r\n", 400);
        check("Connection: keep-alive, Upgrade\r\n", "", 400);
        check("Host: x\r\n", "", 400);
        check("Host: x\r\n", "Host: x\r\nHost: y\r\n", 400);
        check("Host: x\r\n", "Host: x\n", 400);
        check("13\r\n", "13\n", 400);
        check("#1\r\n\r\n", "#1\r\n\n", 400);
        check("GET /", "\nGET /", 400);
        check("Host: x\r\n", "Host: x\r\nContent-Length: 1\r\n", 400);
        check("Host: x\r\n", "Host: x\r\nContent-Length: 0\r\nContent-Length: 1\r\n", 400);
        check("Host: x\r\n", "Host: x\r\nContent-Length: \r\n", 400);
        check("Host: x\r\n", "Host: x\r\nTransfer-Encoding: chunked\r\n", 400);
        check("Version: 13", "Version: 8", 426);
        check("Sec-WebSocket-Version: 13\r\n", "", 426);
        check("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=", 400);
        check("Sec-WebSocket-Protocol: abc.DEF-_~!#1\r\n", "", 401);
        check("abc.DEF-_~!#1", "", 401);
        check("abc.DEF-_~!#1", "one, two", 403);
        check("abc.DEF-_~!#1", "a/b=", 403);
        check("Host: x\r\n", &"A: b\r\n".repeat(65), 431);
        check("Host: x\r\n", &format!("A: {}\r\n", "b".repeat(16 * 1_024)), 431);
    }

    #[test]
    fn what_real_clients_and_proxies_send_is_accepted() {
        for more in ["Host:\r\n", "Host: x\r\nContent-Length: 0\r\n", "Host: [::1]:4581\r\nOrigin: null\r\n"]
        {
            let request = GOOD.replace("Host: x\r\n", more);
            let read = read_head(request.as_bytes()).unwrap().unwrap();
            assert!(matches!(read, (Wanted::Upgrade(_), length) if length == request.len()), "{more}");
        }
        // A probe of old.
        let (wanted, _) = read_head(b"GET /health/ready HTTP/1.0\r\n\r\n").unwrap().unwrap();
        assert_eq!(wanted, Wanted::Page { path: "/health/ready".to_owned() });
    }

    #[test]
    fn other_gets_are_pages() {
        let (wanted, _) = read_head(b"GET /health/live?x HTTP/1.1\r\nHost: x\r\n\r\n").unwrap().unwrap();
        assert_eq!(wanted, Wanted::Page { path: "/health/live".to_owned() });
        let text = String::from_utf8(page(426, "text/plain", "no\n")).unwrap();
        assert!(text.contains("Sec-WebSocket-Version: 13\r\n") && text.ends_with("\r\n\r\nno\n"), "{text}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read_head(&bytes);
        }
    }
}
