//! A text that is made of another one, and knows where each part of it comes from.

use std::ops::Range;

/// See the module.
pub(super) struct Derived {
    pub(super) text: String,
    /// For each byte of `text`, the bytes of the original character that it comes from.
    origins: Vec<(u32, u32)>,
}

impl Derived {
    /// Nothing yet, of a text of so many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), origins: Vec::with_capacity(bytes) }
    }

    /// Adds what a character reads like.
    pub(super) fn push(&mut self, character: char, origin: &Range<usize>) {
        self.text.push(character);
        self.origins.resize(self.text.len(), (position(origin.start), position(origin.end)));
    }

    /// Adds a part of the original, all of ASCII, as it is there from `start` on, but for its case. At once: this is what most
    /// messages are made of.
    pub(super) fn push_lowercase(&mut self, part: &str, start: usize) {
        let from = self.text.len();
        self.text.push_str(part);
        self.text[from..].make_ascii_lowercase();
        let end = start + part.len();
        self.origins.extend((position(start)..position(end)).map(|at| (at, at + 1)));
    }

    /// The bytes of the original that a part (not an empty one) comes from.
    pub(super) fn origin(&self, start: usize, end: usize) -> Range<usize> {
        let (from, _) = self.origin_of(start);
        let (_, to) = self.origin_of(end.saturating_sub(1));
        from as usize..to as usize
    }

    /// The bytes of the original character that a byte comes from.
    pub(super) fn origin_of(&self, at: usize) -> (u32, u32) {
        self.origins.get(at).copied().unwrap_or_default()
    }
}

/// A place in a text; messages are far shorter than what this cannot tell.
fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
