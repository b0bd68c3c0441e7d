//! What AWS's own signer makes is accepted, whatever the request, and nothing that differs from it by one byte.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings};
use aws_sigv4::sign::v4;
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use proptest::{prop_assert, prop_assert_eq, proptest};

use super::credential;
use crate::sigv4::{Dialect, RequestView, SignatureError, Verified, sign, verify};
use crate::time::Timestamp;

const HOST: &str = "127.0.0.1:4580";
const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

/// A request that owns its parts, so that a test can sign it and then damage it.
#[derive(Clone, Debug)]
struct OwnedRequest {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl OwnedRequest {
    fn with_view<T>(&self, look: impl FnOnce(&RequestView<'_>) -> T) -> T {
        let headers: Vec<(&str, &[u8])> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let Self { method, path, query, body, .. } = self;
        look(&RequestView { method, path, query, headers: &headers, body })
    }

    fn verify(&self) -> Result<Verified, SignatureError> {
        let credential = credential();
        let find = |id: &str| (id == &*credential.access_key_id).then_some(&credential);
        self.with_view(|view| verify(view, Dialect::IVSCHAT, NOW, find))
    }

    /// Signed by the crate that the AWS SDK for Rust signs with.
    fn signed_by_sdk(mut self, presigned_seconds: Option<u64>) -> Self {
        let credential = credential();
        let identity =
            Credentials::from_keys(&*credential.access_key_id, credential.secret_key.expose(), None).into();
        let mut settings = SigningSettings::default();
        if let Some(seconds) = presigned_seconds {
            settings.signature_location = aws_sigv4::http_request::SignatureLocation::QueryParams;
            settings.expires_in = Some(Duration::from_secs(seconds));
        }
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-west-2")
            .name("ivschat")
            .time(SystemTime::UNIX_EPOCH + Duration::from_secs(NOW.as_seconds()))
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let question = if self.query.is_empty() { "" } else { "?" };
        let uri = format!("http://{HOST}{}{question}{}", self.path, self.query);
        let headers: Vec<(&str, &str)> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), std::str::from_utf8(value).unwrap()))
            .collect();
        let signable =
            SignableRequest::new(&self.method, uri, headers.into_iter(), SignableBody::Bytes(&self.body))
                .unwrap();
        let (instructions, _) = aws_sigv4::http_request::sign(signable, &parameters).unwrap().into_parts();
        let (headers, query) = instructions.into_parts();
        for header in headers {
            self.headers.push((header.name().to_owned(), header.value().as_bytes().to_vec()));
        }
        for (name, value) in query {
            let separator = if self.query.is_empty() { "" } else { "&" };
            self.query = format!("{}{separator}{name}={}", self.query, percent_encoded(&value));
        }
        self
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}

fn requests() -> impl Strategy<Value = OwnedRequest> {
    let segment =
        "[a-zA-Z0-9._~:@!$&'()*+,;=-]{1,12}|arn%3Aaws%3Aivschat%3Aus-west-2%3A1%3Aroom%2F[a-z]{1,12}";
    let path = prop_oneof![
        Just("/CreateRoom".to_owned()),
        prop::collection::vec(segment, 0..4).prop_map(|segments| format!("/{}", segments.join("/"))),
    ];
    let parameter = "(tagKeys|[a-c-]{1,3})=([a-zA-Z0-9._~-]|%2F|%20|%C3%A4){0,8}";
    let query = prop::collection::vec(parameter, 0..5).prop_map(|parameters| parameters.join("&"));
    let header = ("x-amz-meta-[a-c]|my-[a-c]|content-type", " {0,2}([!-~]{1,4} {0,3}){0,4}");
    let headers = prop::collection::vec(header, 0..4);
    let body = prop::collection::vec(any::<u8>(), 0..64);
    ("GET|POST|DELETE", path, query, headers, body).prop_map(|(method, path, query, headers, body)| {
        let mut headers: Vec<_> =
            headers.into_iter().map(|(name, value): (String, String)| (name, value.into_bytes())).collect();
        headers.push(("Host".to_owned(), HOST.as_bytes().to_vec()));
        OwnedRequest { method, path, query, headers, body }
    })
}

/// Changes one bit of the byte at `position`, wherever in the request that is.
fn damaged(mut request: OwnedRequest, position: usize, bit: u32) -> Option<OwnedRequest> {
    let OwnedRequest { method, path, query, headers, body } = &mut request;
    let mut texts: Vec<Vec<u8>> = [method, path, query].map(|text| text.clone().into_bytes()).to_vec();
    let mut places: Vec<&mut u8> = texts.iter_mut().flatten().collect();
    places.extend(headers.iter_mut().flat_map(|(_, value)| value.iter_mut()));
    places.extend(body.iter_mut());
    let index = position % places.len();
    *places[index] ^= 1 << bit;
    let mut texts = texts.into_iter().map(|text| String::from_utf8(text).ok());
    request.method = texts.next()??;
    request.path = texts.next()??;
    request.query = texts.next()??;
    Some(request)
}

/// What two requests must differ in to mean something different: spaces fold, names of algorithms do not.
fn canonical_form(request: &OwnedRequest) -> String {
    let mut lines = vec![
        request.method.clone(),
        crate::sigv4::canonical::canonical_uri(&request.path, true),
        crate::sigv4::canonical::canonical_query(&request.query),
        format!("{:?}", request.body),
    ];
    for (name, value) in &request.headers {
        let words: Vec<String> = value
            .split(|byte| b" \t".contains(byte))
            .filter(|word| !word.is_empty())
            .map(|word| format!("{word:?}"))
            .collect();
        lines.push(format!("{name}: {}", words.join(" ")));
    }
    lines.join("\n")
}

#[test]
fn paths_with_dots_are_signed_alike_by_the_sdk() {
    for path in
        ["/", "/.", "/..", "/a/.", "/a/./", "/a/..", "/a/b/..", "/a/b/../", "/a//.", "/a/.b", "/a.", "/a.."]
    {
        let host = ("Host".to_owned(), HOST.as_bytes().to_vec());
        let request = OwnedRequest {
            method: "GET".to_owned(),
            path: path.to_owned(),
            query: String::new(),
            headers: vec![host],
            body: Vec::new(),
        };
        assert!(request.signed_by_sdk(None).verify().is_ok(), "{path}");
    }
}

proptest! {
    #[test]
    fn what_the_sdk_signs_in_headers_is_accepted(request in requests()) {
        let verified = request.signed_by_sdk(None).verify();
        prop_assert_eq!(verified.map(|verified| verified.scope.region), Ok("us-west-2".into()));
    }

    #[test]
    fn what_the_sdk_presigns_is_accepted(request in requests(), seconds in 1_u64..=604_800) {
        let verified = request.signed_by_sdk(Some(seconds)).verify();
        prop_assert_eq!(verified.map(|verified| verified.signed_at), Ok(NOW));
    }

    #[test]
    fn what_we_sign_is_accepted_and_signed_alike_by_the_sdk(request in requests()) {
        let ours = request.with_view(|view| sign(view, Dialect::IVSCHAT, "us-west-2", &credential(), NOW));
        let theirs = request.clone().signed_by_sdk(None);
        let authorization = theirs.headers.iter().find(|(name, _)| name == "authorization").unwrap();
        prop_assert_eq!(ours.authorization.as_bytes(), authorization.1.as_slice());
        let mut signed = request;
        signed.headers.push(("X-Amz-Date".to_owned(), ours.date.into_bytes()));
        signed.headers.push(("Authorization".to_owned(), ours.authorization.into_bytes()));
        prop_assert!(signed.verify().is_ok());
    }

    #[test]
    fn no_byte_can_be_changed(
        request in requests(), presigned in any::<bool>(), position in any::<usize>(), bit in 0_u32..8,
    ) {
        let signed = request.signed_by_sdk(presigned.then_some(60));
        let changed = damaged(signed.clone(), position, bit);
        if let Some(changed) = changed.filter(|changed| canonical_form(changed) != canonical_form(&signed)) {
            prop_assert!(changed.verify().is_err(), "{changed:?}");
        }
    }
}
