//! Who the client is when it comes through a proxy that speaks the PROXY protocol, version 2.
//!
//! It is believed only from a trusted proxy; anybody can write it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const HEAD_BYTES: usize = 16;

/// What the beginning of a connection is.
#[derive(Debug, PartialEq, Eq)]
pub enum Preface {
    /// Too little has come to know.
    Incomplete,
    /// No PROXY header: the bytes are the client's.
    Absent,
    /// A header of so many bytes; the client it names, if it names one.
    Header {
        /// What to skip.
        length: usize,
        /// `None` for a health check of the proxy itself, or a family without addresses.
        client: Option<IpAddr>,
    },
    /// A header that breaks its own rules.
    Invalid,
}

/// Looks for a PROXY header, version 2, at the beginning of `bytes`.
#[must_use]
pub fn read_preface(bytes: &[u8]) -> Preface {
    let common = bytes.len().min(SIGNATURE.len());
    if bytes[..common] != SIGNATURE[..common] {
        return Preface::Absent;
    }
    let Some(head) = bytes.get(..HEAD_BYTES) else { return Preface::Incomplete };
    let length = HEAD_BYTES + usize::from(u16::from_be_bytes([head[14], head[15]]));
    let (command, family) = (head[12], head[13]);
    if !matches!(command, 0x20 | 0x21) {
        return Preface::Invalid;
    }
    let Some(addresses) = bytes.get(HEAD_BYTES..length) else { return Preface::Incomplete };
    let client = match (command, family >> 4, addresses) {
        (0x21, 1, [a, b, c, d, ..]) if addresses.len() >= 12 => {
            Some(IpAddr::V4(Ipv4Addr::new(*a, *b, *c, *d)))
        }
        (0x21, 2, _) if addresses.len() >= 36 => {
            let mut source = [0; 16];
            source.copy_from_slice(&addresses[..16]);
            Some(IpAddr::V6(Ipv6Addr::from(source)))
        }
        (0x21, 1 | 2, _) => return Preface::Invalid,
        _ => None,
    };
    Preface::Header { length, client }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Preface, SIGNATURE, read_preface};

    fn header(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family, 0, u8::try_from(addresses.len()).unwrap()]);
        bytes.extend(addresses);
        bytes
    }

    #[test]
    fn a_header_names_the_client() {
        let v4 = [203, 0, 113, 7, 10, 0, 0, 1, 1, 2, 3, 4];
        let bytes = header(0x21, 0x11, &v4);
        let expected = Preface::Header { length: 28, client: Some("203.0.113.7".parse().unwrap()) };
        assert_eq!(read_preface(&bytes), expected);
        for end in 0..bytes.len() {
            assert_eq!(read_preface(&bytes[..end]), Preface::Incomplete, "{end}");
        }
        let mut v6 = [0; 36];
        v6[15] = 9;
        let expected = Preface::Header { length: 52, client: Some("::9".parse().unwrap()) };
        assert_eq!(read_preface(&header(0x21, 0x21, &v6)), expected);
        assert_eq!(read_preface(&header(0x20, 0, &[])), Preface::Header { length: 16, client: None });
        assert_eq!(read_preface(&header(0x31, 0x11, &v4)), Preface::Invalid);
        assert_eq!(read_preface(&header(0x21, 0x11, &v4[..4])), Preface::Invalid);
        assert_eq!(read_preface(b"GET / HTTP/1.1"), Preface::Absent);
    }
}
