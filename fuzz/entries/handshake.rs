//! What a client says before it is let in: a PROXY header, if one is believed, and a request for a WebSocket.

use protocol::limit::edge::HANDSHAKE_BYTES_MAX;
use server::edge::{Preface, Wanted, read_head, read_preface, switch_protocols};

/// What comes of the inputs that are kept: every branch is reached.
pub(crate) const OUTCOMES: &[&str] = &[
    "a PROXY header",
    "a PROXY header that is none",
    "part of a PROXY header",
    "part of a request",
    "a page",
    "a WebSocket",
    "400 this is not an HTTP/1.1 request",
    "400 the request's lines must end in CR LF",
    "400 the request must have one header Host",
    "400 a WebSocket needs HTTP/1.1 and the header Connection: Upgrade",
    "400 a request for a WebSocket must not have a body",
    "400 the header Sec-WebSocket-Key must be 16 bytes in base64",
    "401 the chat token is missing: offer it as the one WebSocket sub-protocol",
    "403 the chat token is malformed",
    "405 only GET is allowed here",
    "426 the WebSocket version must be 13",
    "431 the request has too many headers",
    "431 the request's headers are too long",
];

/// A request is taken up to its own end, whatever comes behind it, and no answer is made of more than it should be.
pub(crate) fn run(data: &[u8]) -> Vec<String> {
    let mut outcomes = Vec::new();
    let said = match read_preface(data) {
        Preface::Absent => data,
        Preface::Incomplete => return vec!["part of a PROXY header".to_owned()],
        Preface::Invalid => return vec!["a PROXY header that is none".to_owned()],
        Preface::Header { length, .. } => {
            outcomes.push("a PROXY header".to_owned());
            assert_eq!(read_preface(&data[..length]), read_preface(data));
            &data[length..]
        }
    };
    outcomes.push(match read_head(said) {
        Ok(None) => "part of a request".to_owned(),
        Err(refusal) => {
            assert!((400..500).contains(&refusal.status) && !refusal.reason.contains(['\r', '\n']));
            format!("{} {}", refusal.status, refusal.reason)
        }
        Ok(Some((wanted, length))) => {
            assert!(length <= HANDSHAKE_BYTES_MAX);
            let again = read_head(&said[..length]);
            assert_eq!(again.as_ref(), Ok(&Some((wanted, length))), "what comes behind it does not matter");
            assert_eq!(read_head(&said[..length - 1]), Ok(None), "and its last byte does");
            outcome_of(again.ok().flatten().map(|(wanted, _)| wanted))
        }
    });
    outcomes
}

fn outcome_of(wanted: Option<Wanted>) -> String {
    let Some(Wanted::Upgrade(upgrade)) = wanted else { return "a page".to_owned() };
    let answer = String::from_utf8_lossy(&switch_protocols(&upgrade)).into_owned();
    assert!(answer.ends_with("\r\n\r\n"));
    let lines: Vec<&str> = answer.trim_end().split("\r\n").collect();
    assert_eq!(lines.len(), 5, "nobody writes a header of ours: {answer:?}");
    assert!(lines.iter().all(|line| !line.contains(['\r', '\n'])), "{answer:?}");
    "a WebSocket".to_owned()
}
