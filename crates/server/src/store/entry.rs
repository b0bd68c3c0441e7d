//! What a posting carries of its room: one text with all that a list shows, so that a page reads one column of a row, and
//! has little to do before it is an answer.
//!
//! Form: id, time of creation (microseconds), logging configurations, and details, with a space between each two; none of
//! the first three has one. Tags that are too long to be kept up to 16 times ([`TAGS_CARRIED_BYTES_MAX`]) are left out at the
//! end of the details, and looked up in the room when it is listed.

use protocol::control::room::RoomDetails;
use protocol::id::{Id, IdList};
use protocol::limit::store::TAGS_CARRIED_BYTES_MAX;
use protocol::time::UnixMicros;

use super::column::{id_list_text, tags_text};
use super::record::{self, OrderKey, Room, RoomSummary};

/// The entry of a room, as it is written.
pub(super) fn entry_text(room: &Room) -> String {
    let Room { id, create_time, name, review_handler, .. } = room;
    let logging_configurations = id_list_text(&room.logging_configurations);
    let tags = tags_text(&room.tags);
    let carried_tags = if tags.len() <= TAGS_CARRIED_BYTES_MAX { &*tags } else { "" };
    let details = record::details(name, review_handler.as_ref(), carried_tags);
    format!("{id} {create_time} {logging_configurations} {}", details.as_str())
}

/// An entry as it is read.
pub(super) struct Entry<'a> {
    id: Id,
    create_time: UnixMicros,
    logging_configurations: IdList<'a>,
    details: &'a str,
}

impl<'a> Entry<'a> {
    /// Reads [`entry_text`]; `None` for anything else.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (id, rest) = split_at_space(text)?;
        let (create_time, rest) = split_at_space(rest)?;
        let (logging_configurations, details) = split_at_space(rest)?;
        Some(Self {
            id: Id::parse(id)?,
            create_time: create_time.parse().ok()?,
            logging_configurations: IdList::parse(logging_configurations)?,
            details,
        })
    }

    /// What the list shows at `order_key`; `tags` finds those of a room whose postings do not carry them, as one JSON object.
    /// `None` for details that are none.
    pub(super) fn into_summary<E>(
        self,
        order_key: OrderKey,
        tags: impl FnOnce(Id) -> Result<String, E>,
    ) -> Result<Option<RoomSummary<'a>>, E> {
        let Self { id, create_time, logging_configurations, details } = self;
        let details = match RoomDetails::from_kept(details) {
            Some(details) => details,
            None if RoomDetails::lack_tags(details) => RoomDetails::with_tags(details, &tags(id)?),
            None => return Ok(None),
        };
        Ok(Some(RoomSummary { id, create_time, order_key, logging_configurations, details }))
    }
}

/// As `str::split_once`, which is made for long texts.
fn split_at_space(text: &str) -> Option<(&str, &str)> {
    let space = text.bytes().position(|byte| byte == b' ')?;
    Some((text.get(..space)?, text.get(space + 1..)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use protocol::arn::Scope;
    use protocol::id::Id;

    use super::super::column::tags_text;
    use super::super::record::RoomSummary;
    use super::super::{Fallback, NewRoom, ReviewHandlerSetting, Room, Tags};
    use super::{Entry, entry_text};

    fn room(logging_configurations: usize, tag_value: &str) -> Room {
        let new = NewRoom {
            name: "lobby".to_owned(),
            review_handler: Some(ReviewHandlerSetting { uri: "arn:f".to_owned(), fallback: Fallback::Deny }),
            logging_configurations: (1..).map(Id::from_random).take(logging_configurations).collect(),
            tags: Tags::from([("a b".to_owned(), tag_value.to_owned())]),
            ..NewRoom::default()
        };
        let scope = Scope { account_id: "123456789012".into(), region: "eu-west-1".into() };
        Room { create_time: 5, ..new.into_room(&scope, Id::from_random(0), 7) }
    }

    fn never(id: Id) -> Result<String, Id> {
        Err(id)
    }

    fn read(text: &str) -> Option<RoomSummary<'_>> {
        Entry::parse(text)?.into_summary(7, never).unwrap()
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        for count in 0..=3 {
            let room = room(count, "c  d");
            let text = entry_text(&room);
            assert_eq!(read(&text), Some(room.summary()), "{text}");
        }
        let text = r#"AAAAAAAAAAAA 5 BAAAAAAAAAAA "name":"lobby","messageReviewHandler":{"uri":"arn:f","fallbackResult":"DENY"},"tags":{"a b":"c"}"#;
        assert_eq!(entry_text(&room(1, "c")), text, "this is what files have");
    }

    #[test]
    fn tags_that_are_not_carried_are_looked_up() {
        let room = room(0, &"x".repeat(400));
        let text = entry_text(&room);
        assert!(text.ends_with(r#""},"tags":"#) && text.starts_with("AAAAAAAAAAAA 5  "), "{text}");
        assert_eq!(Entry::parse(&text).unwrap().into_summary(7, never), Err(room.id));
        let found = Entry::parse(&text).unwrap().into_summary(7, |_| Ok::<_, Id>(tags_text(&room.tags)));
        assert_eq!(found, Ok(Some(room.summary())));
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        let whole = entry_text(&room(1, ""));
        assert!(read(&whole).is_some());
        for text in [
            "",
            "   ",
            "AAAAAAAAAAAA 5 BAAAAAAAAAAA",
            "AAAAAAAAAAA 5  ",
            "AAAAAAAAAAAA x  ",
            "AAAAAAAAAAAA 5 B ",
            "AAAAAAAAAAAA 5  ",
            "AAAAAAAAAAAA 5  no JSON",
            &whole[..whole.len() - 1],
            &whole.replacen(' ', "  ", 1),
        ] {
            assert!(read(text).is_none(), "{text}");
        }
    }
}
