//! What a client sends once it is let in: frames, or what looks like them.

use hub::deflate::Inflater;
use hub::inbound::{BUFFER_BYTES_MAX, Inbound, Incoming, Messages};
use protocol::limit::edge::MESSAGE_BYTES_MAX;

/// What comes of the inputs that are kept: every branch is reached.
pub(crate) const OUTCOMES: &[&str] = &[
    "text",
    "text, compressed",
    "ping",
    "pong",
    "close",
    "closed 1002",
    "closed 1003",
    "closed 1007",
    "closed 1009",
    "unfinished",
    "done",
];

/// The first byte says how the others are cut. However they are, the same is said, and with the same end.
pub(crate) fn run(data: &[u8]) -> Vec<String> {
    let Some((cut, bytes)) = data.split_first() else { return Vec::new() };
    let whole = read(bytes, bytes.len().max(1), None);
    let pieces = read(bytes, usize::from(*cut).max(1), None);
    assert_eq!(whole, pieces, "in pieces of {cut} bytes");
    // Where compression was agreed upon, no more is said of bytes that are cut than of whole ones.
    let mut inflater = Inflater::default();
    let inflated = read(bytes, bytes.len().max(1), Some(&mut inflater));
    let pieces = read(bytes, usize::from(*cut).max(1), Some(&mut inflater));
    assert_eq!(inflated, pieces, "in pieces of {cut} bytes, compressed");
    if inflated != whole {
        return inflated
            .0
            .into_iter()
            .map(|(kind, _)| format!("{kind}, compressed"))
            .chain([inflated.1])
            .collect();
    }
    let (said, end) = whole;
    said.into_iter().map(|(kind, _)| kind.to_owned()).chain([end]).collect()
}

type Said = Vec<(&'static str, Vec<u8>)>;

/// Reads as a shard does: what is left is given again, in front of what comes next.
fn read(bytes: &[u8], piece_bytes: usize, mut inflater: Option<&mut Inflater>) -> (Said, String) {
    let mut inbound = Inbound::default();
    let (mut said, mut left) = (Said::new(), Vec::new());
    for piece in bytes.chunks(piece_bytes) {
        left.extend_from_slice(piece);
        let mut taken = 0;
        while taken < left.len() {
            let take = |incoming: Incoming<'_>| said.push(said_by(&incoming));
            match inbound.read(Messages::Actions, inflater.as_deref_mut(), &mut left[taken..], take) {
                Ok(0) => break,
                Ok(count) => taken += count,
                Err(code) => return (said, format!("closed {}", code.as_u16())),
            }
        }
        assert!(taken <= left.len());
        left.drain(..taken);
        assert!(left.len() <= BUFFER_BYTES_MAX);
    }
    let is_done = inbound.is_idle() && left.is_empty();
    (said, if is_done { "done" } else { "unfinished" }.to_owned())
}

fn said_by(incoming: &Incoming<'_>) -> (&'static str, Vec<u8>) {
    match incoming {
        Incoming::Text(text) => {
            assert!(text.len() <= MESSAGE_BYTES_MAX);
            ("text", text.as_bytes().to_vec())
        }
        Incoming::Binary(bytes) => ("binary", bytes.to_vec()),
        Incoming::Ping(payload) => {
            assert!(payload.len() <= 125);
            ("ping", payload.to_vec())
        }
        Incoming::Pong => ("pong", Vec::new()),
        Incoming::Close(code) => ("close", code.unwrap_or(1_005).to_be_bytes().to_vec()),
    }
}
