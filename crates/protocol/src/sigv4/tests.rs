//! The published examples, the published vectors, what AWS's own signer makes, and what must not get through.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod refusals;
mod sdk;
mod vectors;

use super::{Credential, SecretKey, canonical, signing_key};

/// The worked example of the AWS documentation ("Create a signed AWS API request": deriving a signing key).
#[test]
fn the_published_signing_key_is_derived() {
    let secret = SecretKey::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
    let key = signing_key(&secret, "20120215", "us-east-1", "iam");
    let expected = "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d";
    assert_eq!(canonical::hex(&*key), expected);
}

#[test]
fn a_secret_hides() {
    assert_eq!(format!("{:?}", credential()), {
        "Credential { access_key_id: \"AKIDEXAMPLE\", secret_key: SecretKey(hidden), account_id: \"123456789012\" }"
    });
}

/// The key pair of AWS's examples.
fn credential() -> Credential {
    Credential {
        access_key_id: "AKIDEXAMPLE".into(),
        secret_key: SecretKey::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        account_id: "123456789012".into(),
    }
}
