//! How the store's values look in a column: readable with any SQLite tool.

use protocol::id::Id;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Result, Row};

use super::super::{Destination, Fallback, KeyPurpose, ReviewHandlerSetting, Tags};

/// An id: its 12 characters.
pub(super) struct IdText(pub(super) Id);

impl FromSql for IdText {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Id::parse(value.as_str()?).map(Self).ok_or(FromSqlError::InvalidType)
    }
}

impl ToSql for IdText {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.0.as_str().as_bytes())))
    }
}

/// Several ids, separated by commas.
pub(super) struct IdList(pub(super) Vec<Id>);

impl FromSql for IdList {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let ids: Option<Vec<Id>> = text.split(',').map(Id::parse).collect();
        ids.map(Self).ok_or(FromSqlError::InvalidType)
    }
}

/// The text of [`IdList`].
pub(super) fn id_list_text(ids: &[Id]) -> String {
    ids.iter().map(Id::as_str).collect::<Vec<_>>().join(",")
}

/// Tags: one JSON object.
pub(super) struct TagsJson(pub(super) Tags);

impl FromSql for TagsJson {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_str()? {
            // Most rooms have no tags: a page of 50 need not start a JSON parser for them.
            "{}" => Ok(Self(Tags::new())),
            text => serde_json::from_str(text).map(Self).map_err(FromSqlError::other),
        }
    }
}

/// The text of [`TagsJson`].
pub(super) fn tags_text(tags: &Tags) -> String {
    let tags: serde_json::Map<_, _> =
        tags.iter().map(|(key, value)| (key.clone(), serde_json::Value::from(value.as_str()))).collect();
    serde_json::Value::Object(tags).to_string()
}

impl ToSql for Fallback {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        let text = match self {
            Self::Allow => "ALLOW",
            Self::Deny => "DENY",
        };
        Ok(ToSqlOutput::from(text))
    }
}

impl FromSql for Fallback {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_str()? {
            "ALLOW" => Ok(Self::Allow),
            "DENY" => Ok(Self::Deny),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

/// The review handler in two neighbouring columns, `first` being that of the uri.
pub(super) fn handler(row: &Row<'_>, first: usize) -> Result<Option<ReviewHandlerSetting>> {
    let Some(uri) = row.get(first)? else {
        return Ok(None);
    };
    Ok(Some(ReviewHandlerSetting { uri, fallback: row.get(first + 1)? }))
}

/// The columns `destination_kind` and `destination`.
pub(super) fn destination_texts(destination: &Destination) -> (&'static str, &str) {
    match destination {
        Destination::S3(name) => ("s3", name),
        Destination::CloudWatchLogs(name) => ("cloudwatch-logs", name),
        Destination::Firehose(name) => ("firehose", name),
    }
}

/// The destination in two neighbouring columns, `first` being that of the kind.
pub(super) fn destination(row: &Row<'_>, first: usize) -> Result<Destination> {
    let name: String = row.get(first + 1)?;
    match row.get_ref(first)?.as_str()? {
        "s3" => Ok(Destination::S3(name)),
        "cloudwatch-logs" => Ok(Destination::CloudWatchLogs(name)),
        "firehose" => Ok(Destination::Firehose(name)),
        _ => Err(FromSqlError::InvalidType.into()),
    }
}

impl ToSql for KeyPurpose {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        let text = match self {
            Self::ChatToken => "chat-token",
            Self::PageToken => "page-token",
        };
        Ok(ToSqlOutput::from(text))
    }
}

/// How many rows a page of `limit` reads: one more than it shows, since only then is it known whether there is a next.
pub(super) fn rows_of_page(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
}
