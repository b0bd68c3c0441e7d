//! How members of a request are read: every failure is noted with the member's place, and reading goes on, so that
//! one answer names them all.
//!
//! A reader that cannot deliver returns [`Failed`], which only noting a failure can make; so no failure gets lost on
//! the way. A request reads all its members first and looks at the results afterwards:
//!
//! ```
//! # use protocol::control::{constraint, field::{Failed, Members}};
//! # fn read(members: &mut Members<'_>) -> Result<(String, Option<String>), Failed> {
//! let user_id = members.required("userId", constraint::user_id);
//! let reason = members.optional("reason", constraint::reason);
//! Ok((user_id?, reason?))
//! # }
//! ```

use std::fmt::Write;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::StringMap;
use crate::error::FieldFailure;

/// Proof that a member was wrong and that this has been noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed(());

/// The failures of one request: all of them. A body has at most 64 KiB
/// ([`BODY_BYTES_MAX`](crate::limit::control::BODY_BYTES_MAX)) and an entry of a list or map takes at least two of its
/// bytes, so there are at most 32,768, and the answer that names them has less than 4 MiB.
#[derive(Debug, Default)]
pub struct Failures(Vec<FieldFailure>);

impl Failures {
    /// Whether all went well.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The failures in the order in which members were read.
    #[must_use]
    pub fn into_list(self) -> Vec<FieldFailure> {
        self.0
    }

    fn note(&mut self, name: &str, message: String) -> Failed {
        self.0.push(FieldFailure { name: name.to_owned(), message });
        Failed(())
    }
}

/// The members of a structure.
pub struct Members<'a> {
    object: &'a Map<String, Value>,
    /// Where the structure is: empty, or a place with a dot at the end.
    prefix: String,
    failures: &'a mut Failures,
}

impl<'a> Members<'a> {
    /// The members of a whole request.
    #[must_use]
    pub fn new(object: &'a Map<String, Value>, failures: &'a mut Failures) -> Self {
        Self { object, prefix: String::new(), failures }
    }

    /// Reads a member that has to be there.
    ///
    /// # Errors
    ///
    /// When it is absent or wrong.
    pub fn required<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Field<'_>) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let value = self.object.get(name).unwrap_or(&Value::Null);
        read(&mut Field { value, place: format!("{}{name}", self.prefix), failures: &mut *self.failures })
    }

    /// Reads a member that may be absent.
    ///
    /// # Errors
    ///
    /// When it is wrong.
    pub fn optional<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Field<'_>) -> Result<T, Failed>,
    ) -> Result<Option<T>, Failed> {
        match self.object.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => self.required(name, read).map(Some),
        }
    }
}

/// One value and its place.
pub struct Field<'a> {
    value: &'a Value,
    place: String,
    failures: &'a mut Failures,
}

/// What a text has to look like.
pub struct Pattern<T> {
    /// For people: the model's pattern; empty when there is none.
    pub shown: &'static str,
    /// Reads the whole text, or refuses it.
    pub read: fn(&str) -> Option<T>,
}

impl Field<'_> {
    /// Notes that the value is wrong; `allowed` says what it has to be.
    pub fn fail(&mut self, allowed: &str) -> Failed {
        let message =
            if self.value.is_null() { format!("is required and {allowed}") } else { allowed.to_owned() };
        self.failures.note(&self.place, message)
    }

    /// A text of so many characters (Unicode code points) that has a pattern.
    ///
    /// # Errors
    ///
    /// When it is no string, has another length, or does not match from its first to its last character.
    pub fn text<T>(&mut self, length: &RangeInclusive<usize>, pattern: &Pattern<T>) -> Result<T, Failed> {
        let text = self.value.as_str().filter(|text| length.contains(&text.chars().count()));
        text.and_then(pattern.read).ok_or_else(|| self.fail(&text_rule(length, pattern.shown)))
    }

    /// A whole number. `3.0` and `3e0` are whole numbers, as they are for AWS's own parsers; `3.5`, `"3"` and what
    /// does not fit are not.
    ///
    /// # Errors
    ///
    /// When it is something else or out of range.
    pub fn integer(&mut self, range: &RangeInclusive<u32>) -> Result<u32, Failed> {
        self.value.as_f64().and_then(whole).filter(|number| range.contains(number)).ok_or_else(|| {
            self.fail(&format!("must be an integer from {} to {}", range.start(), range.end()))
        })
    }

    /// One of some words.
    ///
    /// # Errors
    ///
    /// When it is none of them.
    pub fn choice<T: Copy>(&mut self, choices: &[(&str, T)]) -> Result<T, Failed> {
        let chosen = self.value.as_str().and_then(|text| choices.iter().find(|(word, _)| *word == text));
        chosen.map(|(_, choice)| *choice).ok_or_else(|| {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            self.fail(&format!("must be one of {}", words.join(", ")))
        })
    }

    /// A list of at most so many entries.
    ///
    /// # Errors
    ///
    /// When it is no list, is too long, or an entry is wrong.
    pub fn list<T>(
        &mut self,
        length_max: Option<usize>,
        read: impl Fn(&mut Field<'_>) -> Result<T, Failed>,
    ) -> Result<Vec<T>, Failed> {
        let entries =
            self.value.as_array().filter(|entries| entries.len() <= length_max.unwrap_or(usize::MAX));
        let Some(entries) = entries else {
            let most = length_max.map(|most| format!(" of at most {most} entries")).unwrap_or_default();
            return Err(self.fail(&format!("must be a list{most}")));
        };
        let read_entry = |(index, value)| {
            read(&mut Field {
                value,
                place: format!("{}[{index}]", self.place),
                failures: &mut *self.failures,
            })
        };
        // Each entry is read before the first failure ends it.
        let read_entries: Vec<Result<T, Failed>> = entries.iter().enumerate().map(read_entry).collect();
        read_entries.into_iter().collect()
    }

    /// A map of texts; `check` looks at each key and value.
    ///
    /// # Errors
    ///
    /// When it is no map, is too large, a value is no string, or an entry is wrong.
    pub fn string_map(
        &mut self,
        entries_max: Option<usize>,
        check: impl Fn(&mut Self, &str, &str) -> Result<(), Failed>,
    ) -> Result<StringMap, Failed> {
        let object =
            self.value.as_object().filter(|object| object.len() <= entries_max.unwrap_or(usize::MAX));
        let Some(object) = object else {
            let most = entries_max.map(|most| format!(" of at most {most} entries")).unwrap_or_default();
            return Err(self.fail(&format!("must be a map from string to string{most}")));
        };
        let mut failed = None;
        let mut map = StringMap::new();
        for (key, value) in object {
            let text = value.as_str().ok_or_else(|| self.fail_entry(key, "must be a string"));
            match text.and_then(|text| check(self, key, text).map(|()| text)) {
                Ok(text) => drop(map.insert(key.clone(), text.to_owned())),
                Err(failure) => failed = Some(failure),
            }
        }
        failed.map_or(Ok(map), Err)
    }

    /// Notes that the entry of a map is wrong.
    pub fn fail_entry(&mut self, key: &str, allowed: &str) -> Failed {
        // A key may be as long as a body; its beginning is enough to find it.
        let beginning: String = key.chars().take(KEY_CHARACTERS_SHOWN).collect();
        self.failures.note(&format!("{}.{beginning}", self.place), allowed.to_owned())
    }

    /// Notes that an entry of the list is wrong.
    pub fn fail_index(&mut self, index: usize, allowed: &str) -> Failed {
        self.failures.note(&format!("{}[{index}]", self.place), allowed.to_owned())
    }

    /// A structure.
    ///
    /// # Errors
    ///
    /// When it is none, or a member is wrong.
    pub fn structure<T>(
        &mut self,
        read: impl FnOnce(&mut Members<'_>) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let Some(object) = self.value.as_object() else { return Err(self.fail("must be a structure")) };
        read(&mut Members { object, prefix: format!("{}.", self.place), failures: &mut *self.failures })
    }

    /// Which members a union has.
    #[must_use]
    pub fn present_members(&self) -> Vec<&str> {
        let members = self.value.as_object().into_iter().flatten();
        members.filter(|(_, value)| !value.is_null()).map(|(name, _)| name.as_str()).collect()
    }
}

/// How much of a map's key is repeated in an answer, in characters: as long as a tag key may be.
const KEY_CHARACTERS_SHOWN: usize = 128;

fn text_rule(length: &RangeInclusive<usize>, pattern: &str) -> String {
    let mut rule = if length.start() == length.end() {
        format!("must be a string of {} characters", length.start())
    } else {
        format!("must be a string of {} to {} characters", length.start(), length.end())
    };
    if !pattern.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(rule, " that matches {pattern}");
    }
    rule
}

/// A double that is a whole number from 0 to `u32::MAX`; every such number is exact in a double.
fn whole(number: f64) -> Option<u32> {
    let in_range = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked: whole and in range")]
    in_range.then_some(number as u32)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Failures, Field, Members, Pattern};

    const WORD: Pattern<String> = Pattern {
        shown: "[a-z]+",
        read: |text| text.bytes().all(|byte| byte.is_ascii_lowercase()).then(|| text.to_owned()),
    };

    #[allow(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    #[track_caller]
    fn check<T: PartialEq + std::fmt::Debug>(
        value: Value,
        read: impl FnOnce(&mut Field<'_>) -> Result<T, super::Failed>,
        expected: Result<T, &[(&str, &str)]>,
    ) {
        let mut failures = Failures::default();
        let outcome = read(&mut Field { value: &value, place: "m".to_owned(), failures: &mut failures });
        let noted = failures.into_list();
        let noted: Vec<(&str, &str)> =
            noted.iter().map(|failure| (failure.name.as_str(), failure.message.as_str())).collect();
        assert_eq!(outcome.map_err(|_| noted.as_slice()), expected, "{value}");
    }

    #[test]
    fn an_integer_is_a_whole_number_in_its_range() {
        let wrong = [("m", "must be an integer from 1 to 500")];
        for (value, number) in [(json!(1), 1), (json!(500), 500), (json!(3.0), 3), (json!(1e2), 100)] {
            check(value, |field| field.integer(&(1..=500)), Ok(number));
        }
        for value in [
            json!(0),
            json!(-1),
            json!(501),
            json!(3.5),
            json!("3"),
            json!(true),
            json!([3]),
            json!({}),
            json!(4_294_967_297_u64),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(1e300),
        ] {
            check(value, |field| field.integer(&(1..=500)), Err(&wrong[..]));
        }
        let missing = [("m", "is required and must be an integer from 1 to 500")];
        check(Value::Null, |field| field.integer(&(1..=500)), Err(&missing[..]));
    }

    #[test]
    fn a_text_is_counted_in_code_points() {
        let any = Pattern { shown: "", read: |text: &str| Some(text.to_owned()) };
        for value in ["é", "😀😀", "e\u{301}"] {
            check(json!(value), |field| field.text(&(1..=2), &any), Ok(value.to_owned()));
        }
        for value in [json!(""), json!("abc"), json!(1), json!(["a"])] {
            let wrong = [("m", "must be a string of 1 to 2 characters")];
            check(value, |field| field.text(&(1..=2), &any), Err(&wrong[..]));
        }
        let wrong = [("m", "must be a string of 2 characters that matches [a-z]+")];
        check(json!("a\n"), |field| field.text(&(2..=2), &WORD), Err(&wrong[..]));
    }

    #[test]
    fn a_choice_is_made_by_exact_words() {
        let choices = [("YES", true), ("NO", false)];
        check(json!("NO"), |field| field.choice(&choices), Ok(false));
        for value in [json!("no"), json!(""), json!("NO "), json!(false)] {
            check(value, |field| field.choice(&choices), Err(&[("m", "must be one of YES, NO")][..]));
        }
    }

    #[test]
    fn each_wrong_entry_is_named() {
        let rule = "must be a string of 0 to 9 characters that matches [a-z]+";
        let wrong = [("m[1]", rule), ("m[2]", rule)];
        check(
            json!(["a", 1, "B"]),
            |field| field.list(None, |entry| entry.text(&(0..=9), &WORD)),
            Err(&wrong[..]),
        );
        let wrong = [("m", "must be a list of at most 1 entries")];
        let words = |field: &mut Field<'_>| field.list(Some(1), |entry| entry.text(&(0..=9), &WORD));
        check(json!(["a", "b"]), words, Err(&wrong[..]));
        check(json!({"0": "a"}), words, Err(&wrong[..]));
        check(json!(["a"]), words, Ok(vec!["a".to_owned()]));

        let wrong = [("m.a", "must be a string"), ("m.c", "must be a string")];
        check(
            json!({"a": 1, "b": "x", "c": null}),
            |field| field.string_map(None, |_, _, _| Ok(())),
            Err(&wrong[..]),
        );
    }

    #[test]
    fn null_is_absent_and_places_have_dots() {
        let document = json!({"a": {"b": null, "c": 7}});
        let read = |members: &mut Members<'_>| {
            let b = members.optional("b", |field| field.integer(&(1..=5)));
            let c = members.optional("c", |field| field.integer(&(1..=5)));
            let d = members.required("d", |field| field.integer(&(1..=5)));
            Ok((b?, c?, d?))
        };
        let wrong = [
            ("m.a.c", "must be an integer from 1 to 5"),
            ("m.a.d", "is required and must be an integer from 1 to 5"),
        ];
        check(
            document,
            |field| field.structure(|members| members.required("a", |field| field.structure(read))),
            Err(&wrong[..]),
        );
    }
}
