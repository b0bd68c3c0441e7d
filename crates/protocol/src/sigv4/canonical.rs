//! The canonical request: one spelling for all requests that mean the same, so that both sides sign the same text.
//!
//! The parts are named as in the AWS documentation ("Create a signed AWS API request"): canonical URI, canonical query
//! string, canonical headers, signed headers, hashed payload.

use sha2::{Digest, Sha256};

use super::{Dialect, RequestView};

/// The query parameter that carries a presigned signature; it cannot sign itself.
const SIGNATURE_PARAMETER: &str = "X-Amz-Signature";

/// The canonical request of `request`, of which `signed_headers` (lower case, sorted) are signed.
#[must_use]
pub fn canonical_request(
    request: &RequestView<'_>,
    dialect: Dialect<'_>,
    signed_headers: &[&str],
    payload_hash: &str,
) -> String {
    let mut text = String::with_capacity(512);
    text.push_str(request.method);
    text.push('\n');
    text.push_str(&canonical_uri(request.path, dialect.normalize_path));
    text.push('\n');
    text.push_str(&canonical_query(request.query));
    text.push('\n');
    for name in signed_headers {
        push_canonical_header(&mut text, name, request);
    }
    text.push('\n');
    text.push_str(&signed_headers.join(";"));
    text.push('\n');
    text.push_str(payload_hash);
    text
}

/// The path as it was sent, normalised if need be, and percent-encoded once more.
#[must_use]
pub fn canonical_uri(path: &str, normalize: bool) -> String {
    let mut text = String::with_capacity(path.len() + 16);
    if normalize {
        push_encoded(&mut text, normalized_path(path).as_bytes(), b"/");
    } else {
        push_encoded(&mut text, path.as_bytes(), b"/");
    }
    if text.is_empty() {
        text.push('/');
    }
    text
}

/// Without empty and `.` segments, and with each `..` and what it takes back left out (RFC 3986, section 5.2.4). What
/// names a folder ends with a slash: a path that did so before, or ended with such a segment.
fn normalized_path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            kept => segments.push(kept),
        }
    }
    let mut text = String::with_capacity(path.len() + 1);
    for segment in &segments {
        text.push('/');
        text.push_str(segment);
    }
    let names_folder = matches!(path.rsplit('/').next(), Some("" | "." | ".."));
    if segments.is_empty() || names_folder {
        text.push('/');
    }
    text
}

/// All parameters but the signature, sorted by encoded name, then by encoded value. However a parameter was encoded,
/// it is decoded and encoded again; a `+` is a space, as in the SDKs for Go and Rust (others never send one).
#[must_use]
pub fn canonical_query(query: &str) -> String {
    let mut parameters: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (reencoded(name), reencoded(value)))
        .filter(|(name, _)| name != SIGNATURE_PARAMETER)
        .collect();
    parameters.sort_unstable();
    let mut text = String::with_capacity(query.len() + 16);
    for (name, value) in &parameters {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        text.push_str(value);
    }
    text
}

/// `name:value,value\n`, with each value trimmed and every run of spaces within it folded into one.
fn push_canonical_header(text: &mut String, name: &str, request: &RequestView<'_>) {
    text.push_str(name);
    text.push(':');
    for (index, value) in request.header_values(name).enumerate() {
        if index > 0 {
            text.push(',');
        }
        let value = String::from_utf8_lossy(value);
        for (index, word) in value.split([' ', '\t']).filter(|word| !word.is_empty()).enumerate() {
            if index > 0 {
                text.push(' ');
            }
            text.push_str(word);
        }
    }
    text.push('\n');
}

fn reencoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    push_encoded(&mut encoded, &query_decoded(text), b"");
    encoded
}

/// Bytes of a name or value of a query. What only looks like a percent-encoding stands for itself.
pub(super) fn query_decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(hex_value(*high) << 4 | hex_value(*low));
                rest = after;
            }
            _ => bytes.push(*first),
        }
    }
    bytes
}

/// The number that a hexadecimal digit stands for.
const fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

/// `UriEncode` of the AWS documentation: all bytes but unreserved ones and `kept` become `%XX` in capitals.
fn push_encoded(text: &mut String, bytes: &[u8], kept: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || kept.contains(byte) {
            text.push(char::from(*byte));
        } else {
            text.push('%');
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 0xf)]));
        }
    }
}

/// The SHA-256 of some bytes in lower-case hexadecimal.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes in lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

#[cfg(test)]
mod tests {
    use super::{canonical_query, canonical_uri};

    #[test]
    fn a_path_is_normalised_and_encoded_once_more() {
        for (path, expected) in [
            ("", "/"),
            ("/", "/"),
            ("/CreateRoom", "/CreateRoom"),
            ("//a/./b/../c//", "/a/c/"),
            ("/../..", "/"),
            ("/a/.", "/a/"),
            ("/a/b/..", "/a/"),
            ("/a./b..", "/a./b.."),
            ("/tags/arn%3Aaws%3Aivschat%3Aus-west-2%3A1%3Aroom%2Fa", {
                "/tags/arn%253Aaws%253Aivschat%253Aus-west-2%253A1%253Aroom%252Fa"
            }),
            ("/a%2fb", "/a%252fb"),
            ("/tags/arn:aws", "/tags/arn%3Aaws"),
        ] {
            assert_eq!(canonical_uri(path, true), expected, "{path:?}");
        }
        assert_eq!(canonical_uri("//a/./b/../c//", false), "//a/./b/../c//");
    }

    #[test]
    fn a_query_is_decoded_encoded_and_sorted_by_name_then_value() {
        for (query, expected) in [
            ("", ""),
            ("tagKeys=b&tagKeys=a", "tagKeys=a&tagKeys=b"),
            ("a-b=1&a=2", "a=2&a-b=1"),
            ("a=x%20y&b=x+y&c=%7e%2b", "a=x%20y&b=x%20y&c=~%2B"),
            ("&&a&", "a="),
            ("a=b=c", "a=b%3Dc"),
            ("a=100%&b=%g1&c=%", "a=100%25&b=%25g1&c=%25"),
            ("X-Amz-Signature=0&X-Amz-Date=1", "X-Amz-Date=1"),
        ] {
            assert_eq!(canonical_query(query), expected, "{query:?}");
        }
    }
}
