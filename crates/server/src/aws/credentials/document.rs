//! Credentials as a JSON document, the way containers, instances and processes give them.

use protocol::time::Timestamp;
use serde_json::Value;

use super::Identity;

/// Reads a document. An error does not quote it.
pub(super) fn read(json: &[u8]) -> Result<Identity, String> {
    let document: Value = serde_json::from_slice(json).map_err(|_| "what it says is no JSON".to_owned())?;
    let member = |name: &str| document.get(name).and_then(Value::as_str);
    let missing = |name: &str| format!("what it says has no {name}");
    let access_key_id = member("AccessKeyId").ok_or_else(|| missing("AccessKeyId"))?;
    let secret_key = member("SecretAccessKey").ok_or_else(|| missing("SecretAccessKey"))?;
    let session_token = member("Token").or_else(|| member("SessionToken"));
    let mut identity = Identity::new(access_key_id, secret_key).with_session_token(session_token);
    identity.expires = member("Expiration").and_then(expiration);
    Ok(identity)
}

/// An instant as AWS writes it: ISO 8601 in UTC, with or without a fraction.
pub(super) fn expiration(text: &str) -> Option<Timestamp> {
    if !(text.ends_with('Z') || text.ends_with("+00:00")) {
        return None;
    }
    let basic: String = text.get(..19)?.chars().filter(|character| !"-:".contains(*character)).collect();
    Timestamp::parse_amz(&format!("{basic}Z"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{expiration, read};

    #[test]
    fn an_expiration_is_read_in_all_spellings() {
        for text in ["2026-11-23T15:00:01Z", "2026-11-23T15:00:01.25Z", "2026-11-23T15:00:01+00:00"] {
            assert_eq!(expiration(text).unwrap().to_amz_text(), "20261123T150001Z");
        }
        assert_eq!(expiration("2026-11-23T15:00:01+01:00"), None);
    }

    #[test]
    fn what_is_missing_is_told_without_quoting_secrets() {
        let told = read(br#"{"SecretAccessKey":"hunter2"}"#).unwrap_err();
        assert_eq!(told, "what it says has no AccessKeyId");
        let identity = read(br#"{"AccessKeyId":"A","SecretAccessKey":"hunter2","Token":"hunter3"}"#).unwrap();
        assert_eq!(identity.session_token(), Some("hunter3"));
        assert!(!format!("{identity:?}").contains("hunter"));
    }
}
