//! What a text looks like: without what does not show, and with plain characters in the place of their other forms (full width,
//! in circles, of mathematics). That is what browsers make of an address, too.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization;

use super::derived::Derived;
use super::normal::is_hidden;

/// See the module.
pub(super) struct Shown<'a> {
    original: &'a str,
    /// `None`: it looks like what it is.
    derived: Option<Derived>,
}

impl<'a> Shown<'a> {
    pub(super) fn of(original: &'a str) -> Self {
        let is_plain = |byte: u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
        if original.bytes().all(is_plain) {
            return Self { original, derived: None };
        }
        let mut derived = Derived::with_capacity(original.len());
        for (start, character) in original.char_indices() {
            let origin = start..start + character.len_utf8();
            if character.is_ascii_graphic() || character.is_whitespace() {
                derived.push(character, &origin);
            } else if !is_hidden(character) {
                [character].into_iter().nfkc().for_each(|plain| derived.push(plain, &origin));
            }
        }
        Self { original, derived: Some(derived).filter(|derived| derived.text != original) }
    }

    pub(super) fn text(&self) -> &str {
        self.derived.as_ref().map_or(self.original, |derived| &derived.text)
    }

    /// Whether it looks like something else than it is.
    pub(super) const fn differs(&self) -> bool {
        self.derived.is_some()
    }

    /// The bytes of the original that a part (not an empty one) comes from.
    pub(super) fn origin(&self, part: Range<usize>) -> Range<usize> {
        match &self.derived {
            Some(derived) => derived.origin(part.start, part.end),
            None => part,
        }
    }

    /// Whether a part of it (not an empty one) is written the way it looks.
    pub(super) fn is_as_written(&self, part: Range<usize>) -> bool {
        self.text()[part.clone()] == self.original[self.origin(part)]
    }
}
