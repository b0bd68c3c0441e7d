//! What of `Sec-WebSocket-Extensions` is agreed upon: permessage-deflate, without context takeover on either side.
//!
//! RFC 7692 lets a server ask both sides to forget each message, whether the client has offered that or not; so any
//! client that offers the extension in a form we can keep is taken at its word.

use protocol::limit::edge::DEFLATE_WINDOW_BITS_MIN;

/// The extension's name, and that neither side remembers a message when it compresses the next one.
const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The answer to offers (the values of the header, in order): the first that can be kept; `None` if there is none.
pub(super) fn agree<'a>(offers: impl Iterator<Item = &'a str>) -> Option<String> {
    offers.flat_map(|value| value.split(',')).find_map(agree_to)
}

fn agree_to(offer: &str) -> Option<String> {
    let mut words = offer.split(';').map(str::trim);
    if words.next() != Some("permessage-deflate") {
        return None;
    }
    let mut seen = Vec::new();
    let mut window = None;
    for word in words {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
            None => (word, None),
        };
        // A parameter that comes twice, or is none, or has a wrong value: the offer is to be declined (section 5.1).
        let is_valid = match (name, value) {
            (
                "server_no_context_takeover" | "client_no_context_takeover" | "client_max_window_bits",
                None,
            ) => true,
            ("client_max_window_bits", Some(bits)) => window_bits(bits).is_some(),
            ("server_max_window_bits", Some(bits)) => {
                window = window_bits(bits).filter(|bits| *bits >= DEFLATE_WINDOW_BITS_MIN);
                window.is_some()
            }
            _ => false,
        };
        if !is_valid || seen.contains(&name) {
            return None;
        }
        seen.push(name);
    }
    // Who asks for a smaller window has to be told that it gets one.
    Some(window.map_or_else(|| AGREED.to_owned(), |bits| format!("{AGREED}; server_max_window_bits={bits}")))
}

/// 8 to 15, without zeros in front.
fn window_bits(text: &str) -> Option<u8> {
    let bits = text.parse().ok().filter(|bits| (8..=15).contains(bits))?;
    (!text.starts_with(['0', '+'])).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::{AGREED, agree};

    #[track_caller]
    fn check(offers: &[&str], answer: Option<&str>) {
        assert_eq!(agree(offers.iter().copied()).as_deref(), answer, "{offers:?}");
    }

    #[test]
    fn offers_of_real_clients_are_accepted() {
        // Chromium and Firefox; npm `ws`; a plain one.
        for offer in [
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; client_max_window_bits=10; server_no_context_takeover",
            "permessage-deflate",
            "permessage-deflate;client_no_context_takeover ; server_no_context_takeover",
        ] {
            check(&[offer], Some(AGREED));
        }
        // Python `websockets`.
        let small = "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12";
        check(&[small], Some(&format!("{AGREED}; server_max_window_bits=12")));
        check(
            &["permessage-deflate; server_max_window_bits=\"15\""],
            Some(&format!("{AGREED}; server_max_window_bits=15")),
        );
    }

    #[test]
    fn the_first_offer_that_can_be_kept_is_accepted() {
        let offers =
            ["x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=8", "permessage-deflate"];
        check(&offers, Some(AGREED));
    }

    #[test]
    fn what_cannot_be_kept_is_declined() {
        check(&[], None);
        for offer in [
            "",
            "permessage-bzip2",
            "permessage-deflate; server_max_window_bits=11",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=016",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=+9",
            "permessage-deflate; client_max_window_bits; client_max_window_bits",
            "permessage-deflate; client_no_context_takeover=1",
            "permessage-deflate; unknown",
            "permessage-deflate;",
        ] {
            check(&[offer], None);
        }
    }
}
