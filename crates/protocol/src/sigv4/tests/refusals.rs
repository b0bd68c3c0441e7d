//! Each reason to refuse a request, by a request that is right but for that.

use super::credential;
use crate::sigv4::SignatureError::{
    self, IncompleteSignature, InvalidSignature, MissingAuthenticationToken, UnrecognizedClient,
};
use crate::sigv4::{Credential, Dialect, RequestView, sign, verify};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

/// A signed request, in parts that a test may replace.
struct Signed {
    target: (&'static str, &'static str),
    headers: Vec<(&'static str, String)>,
    body: &'static [u8],
}

impl Signed {
    /// POST /ListRooms, signed at `time` for `region` of `dialect` with `extra` headers.
    fn with(time: Timestamp, dialect: Dialect<'_>, region: &str, extra: &[(&'static str, &str)]) -> Self {
        let mut headers = vec![("host", "127.0.0.1:4580".to_owned())];
        headers.extend(extra.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let mut signed = Self { target: ("/ListRooms", ""), headers, body: b"{}" };
        let signature = signed.with_view(|view| sign(view, dialect, region, &credential(), time));
        signed.headers.push(("x-amz-date", signature.date));
        signed.headers.push(("authorization", signature.authorization));
        signed
    }

    fn at(time: Timestamp) -> Self {
        Self::with(time, Dialect::IVSCHAT, "us-west-2", &[])
    }

    fn with_view<T>(&self, look: impl FnOnce(&RequestView<'_>) -> T) -> T {
        let headers: Vec<(&str, &[u8])> =
            self.headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let (path, query) = self.target;
        look(&RequestView { method: "POST", path, query, headers: &headers, body: self.body })
    }

    /// The request with its `name` header, which must be there, changed.
    fn changing(mut self, name: &str, change: impl FnOnce(&str) -> String) -> Self {
        let header = self.headers.iter_mut().find(|(other, _)| *other == name).unwrap();
        header.1 = change(&header.1);
        self
    }

    fn adding(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self
    }

    fn verify(&self) -> Result<(), SignatureError> {
        self.verify_with(&credential())
    }

    fn verify_with(&self, credential: &Credential) -> Result<(), SignatureError> {
        let find = |id: &str| (id == &*credential.access_key_id).then_some(credential);
        self.with_view(|view| verify(view, Dialect::IVSCHAT, NOW, find)).map(|_| ())
    }
}

#[track_caller]
fn assert_incomplete(signed: &Signed, part: &str) {
    match signed.verify() {
        Err(IncompleteSignature(why)) => assert!(why.contains(part), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_invalid(signed: &Signed, part: &str) {
    match signed.verify() {
        Err(InvalidSignature(why)) => assert!(why.contains(part), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_without_signature_is_told_so() {
    assert_eq!(Signed::at(NOW).verify(), Ok(()));
    assert_eq!(Signed::at(NOW).without("authorization").verify(), Err(MissingAuthenticationToken));
}

#[test]
fn an_unknown_key_and_a_session_token_are_not_recognised() {
    let other = Credential { access_key_id: "AKIDOTHER".into(), ..credential() };
    assert_eq!(Signed::at(NOW).verify_with(&other), Err(UnrecognizedClient));
    let token = [("x-amz-security-token", "token")];
    let with_token = Signed::with(NOW, Dialect::IVSCHAT, "us-west-2", &token);
    assert_eq!(with_token.verify(), Err(UnrecognizedClient));
    assert_eq!(Signed::at(NOW).adding("x-amz-security-token", "token").verify(), Err(UnrecognizedClient));
}

#[test]
fn what_is_missing_is_named() {
    let with = |authorization: &str| Signed::at(NOW).changing("authorization", |_| authorization.to_owned());
    assert_incomplete(&with("Bearer x"), "AWS4-HMAC-SHA256");
    assert_incomplete(&with(""), "AWS4-HMAC-SHA256");
    assert_incomplete(
        &with("AWS4-HMAC-SHA256"),
        "requires 'Credential' parameter. Authorization header requires",
    );
    assert_incomplete(&with("AWS4-HMAC-SHA256 Credential=a/b/c/d/e, Signature=0"), "'SignedHeaders'");
    assert_incomplete(&with("AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host"), "'Signature'");
    assert_incomplete(&with("AWS4-HMAC-SHA256 SignedHeaders=host, Signature=0"), "'Credential'");
    assert_incomplete(
        &with("AWS4-HMAC-SHA256 Credential=a/b/c/d, SignedHeaders=host, Signature=0"),
        "5 slash",
    );
    assert_incomplete(&with("AWS4-HMAC-SHA256 Credential"), "equal-sign");
    assert_incomplete(&with("AWS4-HMAC-SHA256 Credential=a, Credential=b"), "twice");
    assert_incomplete(&with("AWS4-HMAC-SHA256 Colour=blue"), "unknown");
    assert_incomplete(
        &with("AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=b;a, Signature=0"),
        "sorted",
    );
    assert_incomplete(&Signed::at(NOW).without("x-amz-date"), "'X-Amz-Date' or a 'Date'");
    assert_incomplete(&Signed::at(NOW).changing("x-amz-date", |_| "yesterday".to_owned()), "ISO-8601");
    assert_incomplete(&Signed::at(NOW).adding("X-Amz-Date", "20231114T221320Z"), "one 'x-amz-date'");
    assert_incomplete(&Signed::at(NOW).adding("Authorization", "AWS4-HMAC-SHA256"), "exactly one signature");
    let both = Signed { target: ("/ListRooms", "X-Amz-Signature=0"), ..Signed::at(NOW) };
    assert_incomplete(&both, "exactly one signature");
}

#[test]
fn a_signature_is_for_one_service_region_and_day() {
    let ivs = Dialect { service: "ivs", ..Dialect::IVSCHAT };
    assert_invalid(&Signed::with(NOW, ivs, "us-west-2", &[]), "correct service: 'ivschat'");
    for region in ["", "US-WEST-2", "us_west", "a-region-of-more-than-32-characters"] {
        assert_invalid(&Signed::with(NOW, Dialect::IVSCHAT, region, &[]), "valid region");
    }
    let request = |change: fn(&str) -> String| Signed::at(NOW).changing("authorization", change);
    assert_invalid(&request(|text| text.replace("aws4_request", "aws5_request")), "valid terminator");
    assert_invalid(&request(|text| text.replace("20231114", "20231113")), "Date in Credential scope");
    assert_invalid(&request(|text| text.replace("us-west-2", "us-west-1")), "does not match the signature");
}

#[test]
fn clocks_may_differ_by_five_minutes() {
    let seconds = NOW.as_seconds();
    assert_eq!(Signed::at(Timestamp::from_seconds(seconds - 300)).verify(), Ok(()));
    assert_eq!(Signed::at(Timestamp::from_seconds(seconds + 300)).verify(), Ok(()));
    assert_invalid(
        &Signed::at(Timestamp::from_seconds(seconds - 301)),
        "Signature expired: 20231114T220819Z is now earlier than 20231114T220820Z (20231114T221320Z - 5 min.)",
    );
    assert_invalid(
        &Signed::at(Timestamp::from_seconds(seconds + 301)),
        "Signature not yet current: 20231114T221821Z is still later than 20231114T221820Z (20231114T221320Z + 5 min.)",
    );
}

#[test]
fn what_matters_must_be_signed() {
    let unsigned_host = Signed::at(NOW).changing("authorization", |text| text.replace("host;", ""));
    assert_invalid(&unsigned_host, "'Host'");
    assert_invalid(&Signed::at(NOW).without("host"), "not in the request");
    assert_invalid(&Signed::at(NOW).adding("X-Amz-Target", "room"), "must be a 'SignedHeader'");
    // Not ours to be strict about: neither decides anything, and proxies add them.
    assert_eq!(
        Signed::at(NOW).adding("X-Amz-Cf-Id", "abc").adding("X-Amzn-Trace-Id", "abc").verify(),
        Ok(())
    );
}

#[test]
fn the_body_must_be_the_one_that_was_signed() {
    assert_invalid(&Signed { body: b"{ }", ..Signed::at(NOW) }, "does not match the signature");
    let stating =
        |hash: &str| Signed::with(NOW, Dialect::IVSCHAT, "us-west-2", &[("x-amz-content-sha256", hash)]);
    let hash = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    assert_eq!(stating(hash).verify(), Ok(()));
    for wrong in ["UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "", &hash.to_uppercase()] {
        assert_invalid(&stating(wrong), "SHA-256 of the body");
    }
}

#[test]
fn a_presigned_request_says_how_long_it_is_good_for() {
    let presigned = |query| Signed {
        target: ("/ListRooms", query),
        ..Signed::at(NOW).without("authorization").without("x-amz-date")
    };
    let incomplete = |query, part| assert_incomplete(&presigned(query), part);
    incomplete("X-Amz-Signature=0", "X-Amz-Algorithm");
    incomplete("X-Amz-Algorithm=AWS4-HMAC-SHA256", "'X-Amz-Expires'");
    incomplete("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=-1", "number of seconds");
    incomplete("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=", "number of seconds");
    incomplete("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=1", "Query string requires 'Credential'");
    incomplete("X-Amz-Expires=1&X-Amz-Expires=1", "twice");
    incomplete("X-Amz-Date=2023", "ISO-8601");
    let invalid = |query, part| assert_invalid(&presigned(query), part);
    invalid(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20231114%2Fx%2Fivschat%2Faws4_request\
         &X-Amz-Date=20231114T221320Z&X-Amz-Expires=604801&X-Amz-SignedHeaders=host&X-Amz-Signature=0",
        "604800",
    );
    invalid(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20231114%2Fx%2Fivschat%2Faws4_request\
         &X-Amz-Date=20231114T221300Z&X-Amz-Expires=19&X-Amz-SignedHeaders=host&X-Amz-Signature=0",
        "Signature expired: 20231114T221300Z is now earlier than 20231114T221301Z (20231114T221320Z - 19 s.)",
    );
}

#[test]
fn a_date_header_stands_in_for_a_missing_x_amz_date() {
    let credential = credential();
    let find = |id: &str| (id == &*credential.access_key_id).then_some(&credential);
    let headers: [(&str, &[u8]); 2] = [("host", b"h"), ("Date", b"Tue, 14 Nov 2023 22:13:20 GMT")];
    let request =
        RequestView { method: "POST", path: "/ListRooms", query: "", headers: &headers, body: b"{}" };
    let canonical = crate::sigv4::canonical::canonical_request(
        &request,
        Dialect::IVSCHAT,
        &["date", "host"],
        &crate::sigv4::canonical::sha256_hex(b"{}"),
    );
    let to_sign = crate::sigv4::string_to_sign("20231114T221320Z", "x", "ivschat", &canonical);
    let key = crate::sigv4::signing_key(&credential.secret_key, "20231114", "x", "ivschat");
    let signature = crate::sigv4::canonical::hex(&*crate::sigv4::hmac(&*key, to_sign.as_bytes()));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20231114/x/ivschat/aws4_request,SignedHeaders=date;host,Signature={signature}"
    );
    let mut headers = headers.to_vec();
    headers.push(("AUTHORIZATION", authorization.as_bytes()));
    let request = RequestView { headers: &headers, ..request };
    assert!(verify(&request, Dialect::IVSCHAT, NOW, find).is_ok());
}

#[test]
fn no_error_repeats_the_signature() {
    let right = Signed::at(NOW);
    let signature = right.headers.last().unwrap().1.split_once("Signature=").unwrap().1.to_owned();
    let wrong = right.changing("authorization", |text| text.replace(&signature[..8], "00000000"));
    let error = wrong.verify().unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(!text.contains(&signature[8..]) && !text.contains("wJalr"), "{text}");
}
