//! How values look in a column: the same readable text in every engine.

use protocol::id::{Id, IdList};
use serde::de::IgnoredAny;

use super::{Destination, Fallback, KeyPurpose, Tags};

/// Several ids, separated by commas.
pub(super) fn id_list_text(ids: &[Id]) -> String {
    IdList::of(ids).as_str().to_owned()
}

/// Reads [`id_list_text`].
pub(super) fn parse_id_list(text: &str) -> Option<Vec<Id>> {
    IdList::parse(text)?.iter().map(Id::parse).collect()
}

/// Tags: one JSON object.
pub(super) fn tags_text(tags: &Tags) -> String {
    let tags: serde_json::Map<_, _> =
        tags.iter().map(|(key, value)| (key.clone(), serde_json::Value::from(value.as_str()))).collect();
    serde_json::Value::Object(tags).to_string()
}

/// Reads [`tags_text`].
pub(super) fn parse_tags(text: &str) -> Result<Tags, serde_json::Error> {
    match text {
        // Most rooms have none.
        "{}" => Ok(Tags::new()),
        text => serde_json::from_str(text),
    }
}

/// The same text for those who pass it on as it is; `None` when it is no JSON object, which would make the whole answer
/// unreadable. Most rooms have no tags.
pub(super) fn tags_as_they_are(text: &str) -> Option<&str> {
    let is_object = text == "{}" || text.starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok();
    is_object.then_some(text)
}

/// A fallback result.
pub(super) fn fallback_text(fallback: Fallback) -> &'static str {
    match fallback {
        Fallback::Allow => "ALLOW",
        Fallback::Deny => "DENY",
    }
}

/// Reads [`fallback_text`].
pub(super) fn parse_fallback(text: &[u8]) -> Option<Fallback> {
    match text {
        b"ALLOW" => Some(Fallback::Allow),
        b"DENY" => Some(Fallback::Deny),
        _ => None,
    }
}

/// The columns `destination_kind` and `destination`.
pub(super) fn destination_texts(destination: &Destination) -> (&'static str, &str) {
    match destination {
        Destination::S3(name) => ("s3", name),
        Destination::CloudWatchLogs(name) => ("cloudwatch-logs", name),
        Destination::Firehose(name) => ("firehose", name),
    }
}

/// Reads [`destination_texts`].
pub(super) fn parse_destination(kind: &str, name: String) -> Option<Destination> {
    match kind {
        "s3" => Some(Destination::S3(name)),
        "cloudwatch-logs" => Some(Destination::CloudWatchLogs(name)),
        "firehose" => Some(Destination::Firehose(name)),
        _ => None,
    }
}

/// What a key is for.
pub(super) fn key_purpose_text(purpose: KeyPurpose) -> &'static str {
    match purpose {
        KeyPurpose::ChatToken => "chat-token",
        KeyPurpose::PageToken => "page-token",
    }
}

/// How many rows a page of `limit` reads: one more than it shows, since only then is it known whether there is a next.
pub(super) fn rows_of_page(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::tags_as_they_are;

    #[test]
    fn what_would_make_an_answer_unreadable_is_not_passed_on() {
        for tags in ["{}", r#"{"stage":"test"}"#, r#"{"a":"\"}","b":""}"#] {
            assert_eq!(tags_as_they_are(tags), Some(tags));
        }
        for text in ["", "no JSON", "{bad}", r#"{"a":"b"}}"#, r#"{"a":"b"},{}"#, "[]", "\"a\""] {
            assert_eq!(tags_as_they_are(text), None, "{text}");
        }
    }
}
