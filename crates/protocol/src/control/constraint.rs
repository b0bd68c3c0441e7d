//! What each kind of member may be: the constraints of the public service model, all of them, one function each.
//!
//! Lengths are counted in Unicode code points. Patterns have to match a text from its first to its last character: a
//! newline at the end does not pass. "Model" names the shape in the public model (API 2020-07-14) that a function
//! stands for; where it departs from the model, the doc says why.

use super::StringMap;
use super::field::{Failed, Field, Pattern};
use crate::arn::{Arn, ResourceKind};
use crate::capability::{Capabilities, Capability};
use crate::id::{self, Id};
use crate::limit::member;

/// Shorthand of this table: what a reader returns.
type Read<T> = Result<T, Failed>;

const ANY_TEXT: Pattern<String> = Pattern { shown: "", read: |text| Some(text.to_owned()) };

const fn characters(shown: &'static str, read: fn(&str) -> Option<String>) -> Pattern<String> {
    Pattern { shown, read }
}

/// The whole text, if each byte of it may be there; all patterns of the model are about ASCII.
fn of_bytes(text: &str, allowed: impl Fn(u8) -> bool) -> Option<String> {
    text.bytes().all(allowed).then(|| text.to_owned())
}

// === Rooms ===

/// Model: `RoomName`, `LoggingConfigurationName`.
pub fn name(field: &mut Field<'_>) -> Read<String> {
    let pattern = characters("[a-zA-Z0-9-_]*", |text| {
        of_bytes(text, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    });
    field.text(&(0..=member::NAME_LENGTH_MAX), &pattern)
}

/// Model: `RoomIdentifier`. An ARN; a bare id is refused.
pub fn room_identifier(field: &mut Field<'_>) -> Read<Arn> {
    let pattern = Pattern {
        shown: "arn:aws:ivschat:[a-z0-9-]+:[0-9]+:room/[a-zA-Z0-9-]+",
        read: |text| Arn::parse(text).filter(|arn| arn.kind() == ResourceKind::Room),
    };
    field.text(&(1..=member::ARN_LENGTH_MAX), &pattern)
}

/// Model: `RoomMaxMessageRatePerSecond`.
pub fn message_rate(field: &mut Field<'_>) -> Read<u32> {
    field.integer(&(1..=member::MESSAGE_RATE_MAX))
}

/// Model: `RoomMaxMessageLength`.
pub fn message_length(field: &mut Field<'_>) -> Read<u32> {
    field.integer(&(1..=member::MESSAGE_LENGTH_MAX))
}

/// Model: `LambdaArn`; empty means none. The model's pattern lacks an anchor or two; this is what it is meant to be
/// (and what CloudFormation documents).
pub fn handler_uri(field: &mut Field<'_>) -> Read<String> {
    let pattern = characters("^$|^arn:aws:lambda:[a-z0-9-]+:[0-9]{12}:function:.+", |text| {
        (text.is_empty() || is_lambda_arn(text)).then(|| text.to_owned())
    });
    field.text(&(0..=member::HANDLER_URI_LENGTH_MAX), &pattern)
}

fn is_lambda_arn(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("arn:aws:lambda:") else { return false };
    let Some((region, rest)) = rest.split_once(':') else { return false };
    let Some((account_id, rest)) = rest.split_once(':') else { return false };
    let Some(function) = rest.strip_prefix("function:") else { return false };
    !region.is_empty()
        && region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && account_id.len() == 12
        && account_id.bytes().all(|byte| byte.is_ascii_digit())
        && !function.is_empty()
        && !function.contains(['\n', '\r'])
}

/// What becomes of a message that its handler did not review. Model: `FallbackResult`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FallbackResult {
    /// It is delivered.
    Allow,
    /// It is refused.
    Deny,
}

impl FallbackResult {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "ALLOW",
            Self::Deny => "DENY",
        }
    }
}

/// Model: `FallbackResult`.
pub fn fallback_result(field: &mut Field<'_>) -> Read<FallbackResult> {
    field.choice(&[FallbackResult::Allow, FallbackResult::Deny].map(|result| (result.as_str(), result)))
}

/// Model: `LoggingConfigurationIdentifierList`. An entry that is there twice is refused as well: nothing good can be
/// meant by it.
pub fn logging_configuration_identifiers(field: &mut Field<'_>) -> Read<Vec<Arn>> {
    let length_max = Some(member::LOGGING_CONFIGURATIONS_PER_ROOM_MAX);
    let identifiers = field.list(length_max, logging_configuration_identifier)?;
    let repeated = (1..identifiers.len()).find(|&index| identifiers[..index].contains(&identifiers[index]));
    match repeated {
        Some(index) => Err(field.fail_index(index, "must not be an entry that is there already")),
        None => Ok(identifiers),
    }
}

// === Logging configurations ===

/// Model: `LoggingConfigurationIdentifier`. An ARN; a bare id is refused.
pub fn logging_configuration_identifier(field: &mut Field<'_>) -> Read<Arn> {
    let pattern = Pattern {
        shown: "arn:aws:ivschat:[a-z0-9-]+:[0-9]+:logging-configuration/[a-zA-Z0-9-]+",
        read: |text| Arn::parse(text).filter(|arn| arn.kind() == ResourceKind::LoggingConfiguration),
    };
    field.text(&(1..=member::ARN_LENGTH_MAX), &pattern)
}

/// Model: `BucketName`.
pub fn bucket_name(field: &mut Field<'_>) -> Read<String> {
    let pattern = characters("[a-z0-9-.]+", |text| {
        of_bytes(text, |byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.')
        })
    });
    field.text(&(member::BUCKET_NAME_LENGTH_MIN..=member::BUCKET_NAME_LENGTH_MAX), &pattern)
}

/// Model: `LogGroupName`.
pub fn log_group_name(field: &mut Field<'_>) -> Read<String> {
    let pattern = characters("[\\.\\-_/#A-Za-z0-9]+", |text| {
        of_bytes(text, |byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'/' | b'#')
        })
    });
    field.text(&(1..=member::LOG_GROUP_NAME_LENGTH_MAX), &pattern)
}

/// Model: `DeliveryStreamName`.
pub fn delivery_stream_name(field: &mut Field<'_>) -> Read<String> {
    let pattern = characters("[a-zA-Z0-9_.-]+", |text| {
        of_bytes(text, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
    });
    field.text(&(1..=member::DELIVERY_STREAM_NAME_LENGTH_MAX), &pattern)
}

// === Lists ===

/// Model: `MaxRoomResults`, `MaxLoggingConfigurationResults`.
pub fn page_size(field: &mut Field<'_>) -> Read<usize> {
    let most = u32::try_from(member::PAGE_SIZE_MAX).unwrap_or(u32::MAX);
    let size = field.integer(&(1..=most))?;
    Ok(usize::try_from(size).unwrap_or(member::PAGE_SIZE_MAX))
}

/// Model: `PaginationToken`; empty means none. Whether it is one of ours is [`crate::page`]'s to say.
pub fn page_token(field: &mut Field<'_>) -> Read<String> {
    field.text(&(0..=member::PAGE_TOKEN_LENGTH_MAX), &ANY_TEXT)
}

// === Chat ===

/// Model: `UserID`. Sensitive.
pub fn user_id(field: &mut Field<'_>) -> Read<String> {
    field.text(&(1..=member::USER_ID_LENGTH_MAX), &ANY_TEXT)
}

/// Model: `ChatTokenCapabilities`. It is a set: what is there twice counts once.
pub fn capabilities(field: &mut Field<'_>) -> Read<Capabilities> {
    let all = Capability::ALL.map(|capability| (capability.as_str(), capability));
    Ok(field.list(None, |entry| entry.choice(&all))?.into_iter().collect())
}

/// Model: `SessionDurationInMinutes`.
pub fn session_minutes(field: &mut Field<'_>) -> Read<u32> {
    field.integer(&(1..=member::SESSION_MINUTES_MAX))
}

/// Model: `ChatTokenAttributes`, with the limit of 1 KB that its documentation gives. Sensitive.
pub fn token_attributes(field: &mut Field<'_>) -> Read<StringMap> {
    attributes(field, member::ATTRIBUTES_BYTES_MAX)
}

/// Model: `EventAttributes`. The model's documentation says 1 KB; the service takes 4 KB since November 2025.
pub fn event_attributes(field: &mut Field<'_>) -> Read<StringMap> {
    attributes(field, member::EVENT_ATTRIBUTES_BYTES_MAX)
}

fn attributes(field: &mut Field<'_>, bytes_max: usize) -> Read<StringMap> {
    let attributes = field.string_map(None, |_, _, _| Ok(()))?;
    let bytes: usize = attributes.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > bytes_max {
        return Err(
            field.fail(&format!("must have keys and values of at most {bytes_max} bytes of UTF-8 in total"))
        );
    }
    Ok(attributes)
}

/// Model: `MessageID`.
pub fn message_id(field: &mut Field<'_>) -> Read<Id> {
    field.text(&(id::LENGTH..=id::LENGTH), &Pattern { shown: "[a-zA-Z0-9]+", read: Id::parse })
}

/// Model: `Reason`.
pub fn reason(field: &mut Field<'_>) -> Read<String> {
    field.text(&(1..=member::REASON_LENGTH_MAX), &ANY_TEXT)
}

/// Model: `EventName`.
pub fn event_name(field: &mut Field<'_>) -> Read<String> {
    field.text(&(1..=member::EVENT_NAME_LENGTH_MAX), &ANY_TEXT)
}

// === Tags ===

/// Model: `ResourceArn`, whose pattern is damaged (it takes one letter before the slash): both kinds of resource
/// have tags.
pub fn resource_arn(field: &mut Field<'_>) -> Read<Arn> {
    let pattern = Pattern {
        shown: "arn:aws:ivschat:[a-z0-9-]+:[0-9]+:(room|logging-configuration)/[a-zA-Z0-9-]+",
        read: Arn::parse,
    };
    field.text(&(1..=member::ARN_LENGTH_MAX), &pattern)
}

/// Model: `Tags`, `TagKey`, `TagValue`. Keys of `aws:` belong to AWS in any case of letters, as its tagging rules
/// say.
pub fn tags(field: &mut Field<'_>) -> Read<StringMap> {
    field.string_map(Some(member::TAGS_MAX), |field, key, value| {
        let mut outcome = Ok(());
        if !is_tag_key(key) {
            outcome = Err(field.fail_entry(key, &tag_key_rule()));
        }
        if value.chars().count() > member::TAG_VALUE_LENGTH_MAX {
            let rule = format!("must be a string of 0 to {} characters", member::TAG_VALUE_LENGTH_MAX);
            outcome = Err(field.fail_entry(key, &rule));
        }
        outcome
    })
}

/// Model: `TagKeyList`.
pub fn tag_keys(field: &mut Field<'_>) -> Read<Vec<String>> {
    field.list(Some(member::TAGS_MAX), |entry| {
        let key = entry.text(&(1..=member::TAG_KEY_LENGTH_MAX), &ANY_TEXT)?;
        if is_tag_key(&key) { Ok(key) } else { Err(entry.fail(&tag_key_rule())) }
    })
}

const RESERVED_TAG_PREFIX: &str = "aws:";

fn is_tag_key(key: &str) -> bool {
    let reserved = key
        .get(..RESERVED_TAG_PREFIX.len())
        .is_some_and(|beginning| beginning.eq_ignore_ascii_case(RESERVED_TAG_PREFIX));
    (1..=member::TAG_KEY_LENGTH_MAX).contains(&key.chars().count()) && !reserved
}

fn tag_key_rule() -> String {
    let most = member::TAG_KEY_LENGTH_MAX;
    format!("must have a key of 1 to {most} characters that does not begin with {RESERVED_TAG_PREFIX}")
}
