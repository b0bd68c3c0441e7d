//! One spelling for all texts that read the same: without regard to case, width, accents, letters of other alphabets that
//! look alike, digits and signs that stand for letters, and characters that do not show.
//!
//! Words to look for are brought into the same form, so what is alike here is found whichever way it is written. Where a
//! word ends is for the original to say: a sign next to a word is none of its letters, whatever it may stand for.

mod alike;

use std::ops::Range;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use self::alike::{is_blank, is_hidden, is_loose_mark, letter_for, look_alike};

/// The marks of scripts from here on belong to their letters: without them, words would be others. Before it are the
/// Latin, Greek and Cyrillic letters, of which a mark does not make others.
const FIRST_WITH_MARKS: char = '\u{530}';
/// At the end of a word these are what they are.
const ENDS_NO_WORD: [char; 2] = ['!', '|'];

/// The normal form of a text, and where each part of it comes from.
pub(super) struct Normal<'a> {
    original: &'a str,
    text: String,
    /// For each byte of `text`, the bytes of the original character that it comes from.
    origins: Vec<(u32, u32)>,
}

impl<'a> Normal<'a> {
    pub(super) fn of(original: &'a str) -> Self {
        let text = String::with_capacity(original.len());
        let mut normal = Self { original, text, origins: Vec::with_capacity(original.len()) };
        let mut start = 0;
        while let Some(character) = original[start..].chars().next() {
            start = if character.is_ascii_graphic() {
                normal.put_plain(start)
            } else {
                let end = start + character.len_utf8();
                normal.put_folded(character, (start, end));
                end
            };
        }
        if normal.text.bytes().any(|byte| is_substitute(byte.into())) {
            normal.replace_substitutes();
        }
        normal
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The bytes of the original that a part of the normal form (not an empty one) comes from.
    pub(super) fn origin(&self, start: usize, end: usize) -> Range<usize> {
        let (from, _) = self.origin_of(start);
        let (_, to) = self.origin_of(end.saturating_sub(1));
        from as usize..to as usize
    }

    /// Whether a part of the normal form (not an empty one) begins and ends where characters of the original do, which may
    /// have several: a syllable of Hangul has its letters.
    pub(super) fn is_of_whole_characters(&self, start: usize, end: usize) -> bool {
        let is_border =
            |at: usize| at == 0 || at >= self.origins.len() || self.origin_of(at - 1) != self.origin_of(at);
        is_border(start) && is_border(end)
    }

    /// Whether a part of the normal form (not an empty one) was not written within a longer word.
    pub(super) fn is_whole_word(&self, start: usize, end: usize) -> bool {
        let origin = self.origin(start, end);
        let is_apart_before = self.original[..origin.start].ends_with(is_blank);
        let is_apart_after = self.original[origin.end..].starts_with(is_blank);
        (is_apart_before || start == 0 || !self.is_of_word(start - 1))
            && (is_apart_after || end >= self.text.len() || !self.is_of_word(end))
    }

    /// Whether the original character of a byte is one of those that words are made of.
    fn is_of_word(&self, at: usize) -> bool {
        let (from, _) = self.origin_of(at);
        let original = self.original[from as usize..].chars().next();
        original.is_some_and(|character| character.is_alphanumeric() || is_combining_mark(character))
    }

    fn origin_of(&self, at: usize) -> (u32, u32) {
        self.origins.get(at).copied().unwrap_or_default()
    }

    /// Puts the words in a row that begin here and of which nothing but their case changes; where they end. Most messages
    /// have nothing else, so these are not looked at one by one.
    fn put_plain(&mut self, start: usize) -> usize {
        let rest = &self.original.as_bytes()[start..];
        let mut last = b' ';
        let is_plain = |byte: &u8| {
            let is_plain = byte.is_ascii_graphic() || *byte == b' ' && last != b' ';
            last = *byte;
            is_plain
        };
        let end = start + rest.iter().copied().take_while(is_plain).count();
        let from = self.text.len();
        self.text.push_str(&self.original[start..end]);
        self.text[from..].make_ascii_lowercase();
        self.origins.extend((position(start)..position(end)).map(|at| (at, at + 1)));
        end
    }

    /// Puts what a character that is no plain letter reads like.
    fn put_folded(&mut self, character: char, origin: (usize, usize)) {
        if character.is_whitespace() {
            self.put_space(origin);
            return;
        }
        if is_hidden(character) {
            return;
        }
        for plain in [look_alike(character)].into_iter().nfkd() {
            if plain.is_whitespace() {
                self.put_space(origin);
            } else if is_combining_mark(plain) {
                let is_of_letter = self.text.chars().next_back().is_some_and(|base| base >= FIRST_WITH_MARKS);
                if is_of_letter && !is_loose_mark(plain) {
                    self.put(plain, origin);
                }
            } else if !is_hidden(plain) {
                for folded in plain.to_uppercase().flat_map(char::to_lowercase) {
                    self.put(look_alike(folded), origin);
                }
            }
        }
    }

    fn put_space(&mut self, origin: (usize, usize)) {
        if !self.text.is_empty() && !self.text.ends_with(' ') {
            self.put(' ', origin);
        }
    }

    fn put(&mut self, character: char, (start, end): (usize, usize)) {
        self.text.push(character);
        self.origins.resize(self.text.len(), (position(start), position(end)));
    }

    /// Puts letters in the place of digits and signs that stand for some. They are all of one byte, so nothing moves.
    fn replace_substitutes(&mut self) {
        let mut replaced = String::with_capacity(self.text.len());
        let mut rest = self.text.as_str();
        while let Some(start) = rest.find(is_substitute) {
            let (before, from_run) = rest.split_at(start);
            let length = from_run.find(|character| !is_substitute(character)).unwrap_or(from_run.len());
            let (run, after) = from_run.split_at(length);
            replaced.push_str(before);
            let letters = letters_of_run(replaced.chars().next_back(), run, after.chars().next());
            let letter = |(at, sign)| letter_for(sign).filter(|_| letters.contains(&at)).unwrap_or(sign);
            replaced.extend(run.char_indices().map(letter));
            rest = after;
        }
        replaced.push_str(rest);
        self.text = replaced;
    }
}

/// A place in a text; messages are far shorter than what this cannot tell.
fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn is_substitute(character: char) -> bool {
    letter_for(character).is_some()
}

/// Which of some digits and signs in a row stand for letters: `455hole` and `a55` but not `455`, `sh!t` but not `hi!`, `@$$`
/// but neither `$$` nor `$5`.
fn letters_of_run(before: Option<char>, run: &str, after: Option<char>) -> Range<usize> {
    let is_letter = |character: char| character.is_alphabetic() && character < FIRST_WITH_MARKS;
    if after.is_some_and(is_letter) {
        return 0..run.len();
    }
    let end = run.trim_end_matches(ENDS_NO_WORD).len();
    if before.is_some_and(is_letter) {
        return 0..end;
    }
    let signs = run[..end].trim_start_matches(ENDS_NO_WORD);
    let first = signs.chars().next();
    let are_different = signs.chars().any(|sign| Some(sign) != first);
    if are_different && !signs.contains(|sign: char| sign.is_ascii_digit()) {
        end - signs.len()..end
    } else {
        0..0
    }
}
