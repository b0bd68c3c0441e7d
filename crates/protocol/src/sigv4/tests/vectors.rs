//! AWS's published test vectors, which come with the source of the `aws-sigv4` crate and are read from there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::sigv4::authorization::Authorization;
use crate::sigv4::canonical::{canonical_request, canonical_uri, sha256_hex};
use crate::sigv4::{Credential, Dialect, RequestView, SecretKey, SignatureError, string_to_sign, verify};
use crate::time::Timestamp;

/// Vectors of `aws-sigv4` 1.6 that are signed once in headers and once in the query.
const VECTORS: usize = 38;
/// Those of them that come with a session token, which is refused after all the rest was found right.
const VECTORS_WITH_TOKEN: usize = 2;
/// Vectors that show nothing but a path which is encoded twice.
const PATH_VECTORS: usize = 2;

#[test]
fn every_vector_is_canonicalised_signed_and_verified() {
    let (folders, _) = suite();
    let (mut verified, mut with_token) = (0, 0);
    for folder in &folders {
        for place in ["header", "query"] {
            match check_vector(folder, place) {
                Ok(()) => verified += 1,
                Err(SignatureError::UnrecognizedClient) => with_token += 1,
                Err(error) => panic!("{} in {place}: {error:?}", folder.display()),
            }
        }
    }
    assert_eq!((folders.len(), verified, with_token), {
        (VECTORS, 2 * (VECTORS - VECTORS_WITH_TOKEN), 2 * VECTORS_WITH_TOKEN)
    });
}

#[test]
fn every_path_vector_is_encoded_twice() {
    let (_, folders) = suite();
    for folder in &folders {
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        let path = canonical_uri(&ParsedRequest::parse(&read("request.txt")).path, true);
        assert_eq!(Some(path.as_str()), read("header-canonical-request.txt").lines().nth(1));
    }
    assert_eq!(folders.len(), PATH_VECTORS);
}

/// The folders of the vectors: those that show all there is, and those that show a path only.
fn suite() -> (Vec<PathBuf>, Vec<PathBuf>) {
    let suite = package_folder("aws-sigv4").join("aws-signing-test-suite/v4");
    let folders = fs::read_dir(suite).unwrap().map(|entry| entry.unwrap().path());
    folders.partition(|folder| folder.join("context.json").exists())
}

/// Compares each step with the file that shows it, and verifies the signed request.
fn check_vector(folder: &Path, place: &str) -> Result<(), SignatureError> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).expect(name);
    let context: Value = serde_json::from_str(&read("context.json")).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (region, service) = (text(&context["region"]), text(&context["service"]));
    let dialect = Dialect { service: &service, normalize_path: context["normalize"].as_bool().unwrap() };
    let credential = Credential {
        access_key_id: text(&context["credentials"]["access_key_id"]).into(),
        secret_key: SecretKey::new(text(&context["credentials"]["secret_access_key"])),
        account_id: "123456789012".into(),
    };
    let timestamp = text(&context["timestamp"]).replace(['-', ':'], "");

    let mut signed = ParsedRequest::parse(&read(&format!("{place}-signed-request.txt")));
    if context["omit_session_token"] == true {
        // The token was added after signing, so the signature is right without it.
        signed.headers.retain(|(name, _)| name != "X-Amz-Security-Token");
        let is_token = |pair: &&str| pair.starts_with("X-Amz-Security-Token=");
        let kept: Vec<&str> = signed.query.split('&').filter(|pair| !is_token(pair)).collect();
        signed.query = kept.join("&");
    }
    let headers = signed.borrowed_headers();
    let request = signed.view(&headers);
    let signed_headers = Authorization::of(&request)?.signed_headers;
    let signed_headers: Vec<&str> = signed_headers.iter().map(String::as_str).collect();

    let at = format!("{} in {place}", folder.display());
    let canonical = canonical_request(&request, dialect, &signed_headers, &sha256_hex(request.body));
    assert_eq!(canonical, read(&format!("{place}-canonical-request.txt")), "{at}");
    let to_sign = string_to_sign(&timestamp, &region, &service, &canonical);
    assert_eq!(to_sign, read(&format!("{place}-string-to-sign.txt")), "{at}");

    let now = Timestamp::parse_amz(&timestamp).unwrap();
    let verified =
        verify(&request, dialect, now, |id| (id == &*credential.access_key_id).then_some(&credential))?;
    assert_eq!((&*verified.scope.region, verified.signed_at), (region.as_str(), now), "{at}");
    Ok(())
}

/// A request as the vectors write it: not always well-formed HTTP.
struct ParsedRequest {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl ParsedRequest {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
        let target = target.strip_suffix(" HTTP/1.1").unwrap_or(target);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines {
            match (line.strip_prefix(' '), line.split_once(':')) {
                (Some(continued), _) => headers.last_mut().unwrap().1 += &format!(" {continued}"),
                (None, Some((name, value))) => headers.push((name.to_owned(), value.to_owned())),
                (None, None) => panic!("no header: {line:?}"),
            }
        }
        Self { method: method.into(), path: path.into(), query: query.into(), headers, body: body.into() }
    }

    fn borrowed_headers(&self) -> Vec<(&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
    }

    fn view<'a>(&'a self, headers: &'a [(&'a str, &'a [u8])]) -> RequestView<'a> {
        let Self { method, path, query, body, .. } = self;
        RequestView { method, path, query, headers, body: body.as_bytes() }
    }
}

/// Where cargo keeps the source of a dependency.
fn package_folder(name: &str) -> PathBuf {
    let host = Command::new("rustc").arg("-vV").output().unwrap();
    let host = String::from_utf8(host.stdout).unwrap();
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    // Without the filter, cargo would want the sources for all other platforms too.
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", host])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == name).unwrap();
    Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned()
}
