//! The store's values in SQLite's columns: the texts of `column`.

use protocol::id::Id;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Result, Row};

use super::super::column::{
    self, fallback_text, key_purpose_text, parse_destination, parse_fallback, parse_id_list, parse_tags,
};
pub(super) use super::super::column::{destination_texts, id_list_text, rows_of_page, tags_text};
use super::super::{Destination, Fallback, KeyPurpose, ReviewHandlerSetting, Tags};

/// An id: its 12 characters.
pub(super) struct IdText(pub(super) Id);

impl FromSql for IdText {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Id::from_bytes(value.as_bytes()?).map(Self).ok_or(FromSqlError::InvalidType)
    }
}

impl ToSql for IdText {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.0.as_str().as_bytes())))
    }
}

/// Several ids.
pub(super) struct IdListText(pub(super) Vec<Id>);

impl FromSql for IdListText {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        parse_id_list(value.as_str()?).map(Self).ok_or(FromSqlError::InvalidType)
    }
}

/// Tags.
pub(super) struct TagsJson(pub(super) Tags);

impl FromSql for TagsJson {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        parse_tags(value.as_str()?).map(Self).map_err(FromSqlError::other)
    }
}

impl ToSql for Fallback {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(fallback_text(*self)))
    }
}

impl FromSql for Fallback {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        parse_fallback(value.as_bytes()?).ok_or(FromSqlError::InvalidType)
    }
}

/// The review handler in two neighbouring columns, `first` being that of the uri.
pub(super) fn handler(row: &Row<'_>, first: usize) -> Result<Option<ReviewHandlerSetting>> {
    let uri: Option<String> = row.get(first)?;
    uri.map(|uri| Ok(ReviewHandlerSetting { uri, fallback: row.get(first + 1)? })).transpose()
}

/// Tags, passed on as they are.
pub(super) fn tags_as_they_are<'row>(row: &'row Row<'_>, column: usize) -> Result<&'row str> {
    let text = row.get_ref(column)?.as_str()?;
    Ok(column::tags_as_they_are(text).ok_or(FromSqlError::InvalidType)?)
}

/// The destination in two neighbouring columns, `first` being that of the kind.
pub(super) fn destination(row: &Row<'_>, first: usize) -> Result<Destination> {
    let kind = row.get_ref(first)?.as_str()?;
    parse_destination(kind, row.get(first + 1)?).ok_or_else(|| FromSqlError::InvalidType.into())
}

impl ToSql for KeyPurpose {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(key_purpose_text(*self)))
    }
}
