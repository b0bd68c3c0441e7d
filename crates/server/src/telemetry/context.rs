//! Who is whose part: ids of traces and spans, and the header `traceparent` that carries them (W3C Trace Context).

use std::fmt;

use crate::random::random;

/// Length of a header of version 00; later versions may say more behind it.
const LENGTH: usize = 55;
const SAMPLED: u8 = 1;

/// A trace: everything that one cause had as its consequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TraceId(pub(super) [u8; 16]);

/// A span of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SpanId(pub(super) [u8; 8]);

impl TraceId {
    /// A new one. `None`: the system has no random numbers, so there is no span.
    pub(super) fn fresh() -> Option<Self> {
        random().ok().filter(|bytes| *bytes != [0; 16]).map(Self)
    }
}

impl SpanId {
    /// A new one; `None` as for [`TraceId::fresh`].
    pub(super) fn fresh() -> Option<Self> {
        random().ok().filter(|bytes| *bytes != [0; 8]).map(Self)
    }
}

/// What is said of a span to whoever has a part in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SpanContext {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    /// Somebody keeps the span, so its parts are worth keeping.
    pub(super) is_sampled: bool,
}

impl SpanContext {
    /// Reads a `traceparent`; `None`: it is none, and the request is treated as if it had not come. Of a later version the
    /// part is read that it shares with this one.
    pub(super) fn parse(header: &[u8]) -> Option<Self> {
        let is_later = match header.get(..2)? {
            b"00" => false,
            b"ff" => return None,
            version => {
                bytes_of::<1>(version)?;
                true
            }
        };
        let is_whole = header.len() == LENGTH || (is_later && header.get(LENGTH) == Some(&b'-'));
        let dashes = [2, 35, 52].iter().all(|place| header.get(*place) == Some(&b'-'));
        if !is_whole || !dashes {
            return None;
        }
        let trace_id = bytes_of(&header[3..35]).filter(|id| *id != [0; 16])?;
        let span_id = bytes_of(&header[36..52]).filter(|id| *id != [0; 8])?;
        let [flags] = bytes_of(&header[53..55])?;
        Some(Self { trace_id: TraceId(trace_id), span_id: SpanId(span_id), is_sampled: flags & SAMPLED != 0 })
    }

    /// As an `X-Amzn-Trace-Id` (AWS X-Ray, "Tracing header"): the id of the trace in two parts, the first of which is a time where X-Ray
    /// has made it.
    pub(super) fn to_amazon(self) -> String {
        let Self { trace_id: TraceId(trace_id), span_id: SpanId(span_id), is_sampled } = self;
        let (trace_id, span_id) = (u128::from_be_bytes(trace_id), u64::from_be_bytes(span_id));
        let (first, rest) = (trace_id >> 96, trace_id & (u128::MAX >> 32));
        format!("Root=1-{first:08x}-{rest:024x};Parent={span_id:016x};Sampled={}", u8::from(is_sampled))
    }

    /// The flags, as they are written.
    pub(super) fn flags(self) -> u8 {
        if self.is_sampled { SAMPLED } else { 0 }
    }
}

/// As a `traceparent`.
impl fmt::Display for SpanContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("00-")?;
        self.trace_id.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))?;
        formatter.write_str("-")?;
        self.span_id.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))?;
        write!(formatter, "-{:02x}", self.flags())
    }
}

/// Bytes in hexadecimal; capitals are none.
fn bytes_of<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |letter: u8| match letter {
        b'0'..=b'9' => Some(letter - b'0'),
        b'a'..=b'f' => Some(letter - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{SpanContext, SpanId, TraceId};

    /// The example of the specification.
    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parse(text: &str) -> Option<SpanContext> {
        SpanContext::parse(text.as_bytes())
    }

    #[test]
    fn a_header_is_read_and_written() {
        let context = parse(EXAMPLE).unwrap();
        assert_eq!(context.span_id, SpanId([0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]));
        assert_eq!(context.trace_id.0[..3], [0x4b, 0xf9, 0x2f]);
        assert!(context.is_sampled);
        assert_eq!(context.to_string(), EXAMPLE);
    }

    #[test]
    fn amazon_writes_the_same_ids_in_another_way() {
        let context = parse(EXAMPLE).unwrap();
        let expected = "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00f067aa0ba902b7;Sampled=1";
        assert_eq!(context.to_amazon(), expected);
        let zeros = SpanContext {
            trace_id: TraceId([1; 16]),
            span_id: SpanId([0, 0, 0, 0, 0, 0, 0, 9]),
            is_sampled: false,
        };
        let expected = "Root=1-01010101-010101010101010101010101;Parent=0000000000000009;Sampled=0";
        assert_eq!(zeros.to_amazon(), expected);
        let early =
            SpanContext { trace_id: TraceId([0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]), ..zeros };
        assert!(early.to_amazon().starts_with("Root=1-00000005-000000000000000000000007;"));
    }

    #[test]
    fn one_flag_says_whether_it_is_sampled() {
        let ids = &EXAMPLE[..53];
        for (flags, is_sampled) in [("00", false), ("01", true), ("02", false), ("03", true), ("ff", true)] {
            assert_eq!(parse(&format!("{ids}{flags}")).unwrap().is_sampled, is_sampled, "{flags}");
        }
    }

    #[test]
    fn later_versions_say_what_this_one_does_and_perhaps_more() {
        let later = EXAMPLE.replacen("00", "01", 1);
        assert_eq!(parse(&later), parse(EXAMPLE));
        assert_eq!(parse(&format!("{later}-more")), parse(EXAMPLE));
        assert_eq!(parse(&format!("{later}more")), None);
    }

    #[test]
    fn what_is_malformed_is_none() {
        for text in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0g-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn new_ids_are_not_all_zero() {
        assert_ne!(TraceId::fresh().unwrap(), TraceId::fresh().unwrap());
        assert_ne!(SpanId::fresh().unwrap().0, [0; 8]);
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_again(trace_id in 1..u128::MAX, span_id in 1..u64::MAX, is_sampled: bool) {
            let context = SpanContext {
                trace_id: TraceId(trace_id.to_be_bytes()),
                span_id: SpanId(span_id.to_be_bytes()),
                is_sampled,
            };
            assert_eq!(parse(&context.to_string()), Some(context));
        }

        #[test]
        fn any_bytes_can_be_looked_at(bytes: Vec<u8>, place in 0..55_usize, byte in any::<u8>()) {
            SpanContext::parse(&bytes);
            let mut changed = EXAMPLE.as_bytes().to_vec();
            changed[place] = byte;
            SpanContext::parse(&changed);
        }
    }
}
