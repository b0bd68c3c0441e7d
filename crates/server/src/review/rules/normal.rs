//! One spelling for all texts that read the same: without regard to case, width, accents, letters of other alphabets that
//! look alike, digits and signs that stand for letters, and characters that do not show.
//!
//! Words to look for are brought into the same form, so what is alike here is found whichever way it is written. Where a
//! word ends is for the original to say: a sign next to a word is none of its letters, whatever it may stand for.

mod alike;

use std::ops::Range;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

pub(super) use self::alike::is_hidden;
use self::alike::{is_blank, is_loose_mark, is_modifier, is_odd, is_unspaced, letter_for, look_alike};
use super::derived::Derived;

/// The marks of scripts from here on belong to their letters: without them, words would be others. Before it are the
/// Latin, Greek and Cyrillic letters, of which a mark does not make others.
const FIRST_WITH_MARKS: char = '\u{530}';
/// At the end of a word these are what they are.
const ENDS_NO_WORD: [char; 2] = ['!', '|'];

/// The normal form of a text.
pub(super) struct Normal<'a> {
    original: &'a str,
    derived: Derived,
}

/// What a character is to the words next to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A letter or digit: part of whatever word of such it is next to.
    Plain,
    /// A letter in a box, in a circle, or above the line. Next to plain ones it is a sign.
    Odd,
    /// A letter of a script that has no spaces between words, so each may be the end of one.
    Unspaced,
    /// Goes with the letter before it.
    Mark,
    /// Part of no word.
    Sign,
}

impl<'a> Normal<'a> {
    pub(super) fn of(original: &'a str) -> Self {
        let mut normal = Self { original, derived: Derived::with_capacity(original.len()) };
        let mut start = 0;
        while let Some(character) = original[start..].chars().next() {
            start = if character.is_ascii_graphic() {
                normal.put_plain(start)
            } else {
                let end = start + character.len_utf8();
                normal.put_folded(character, &(start..end));
                end
            };
        }
        if normal.text().bytes().any(|byte| is_substitute(byte.into())) {
            normal.derived.text = without_substitutes(normal.text());
        }
        normal
    }

    pub(super) fn text(&self) -> &str {
        &self.derived.text
    }

    /// The bytes of the original that a part of the normal form (not an empty one) comes from.
    pub(super) fn origin(&self, start: usize, end: usize) -> Range<usize> {
        self.derived.origin(start, end)
    }

    /// Whether a part of the normal form (not an empty one) begins and ends where characters of the original do, which may
    /// have several: a syllable of Hangul has its letters.
    pub(super) fn is_of_whole_characters(&self, start: usize, end: usize) -> bool {
        let origin_of = |at| self.derived.origin_of(at);
        let is_border = |at: usize| at == 0 || at >= self.text().len() || origin_of(at - 1) != origin_of(at);
        is_border(start) && is_border(end)
    }

    /// Whether a part of the normal form (not an empty one) was not written within a longer word.
    pub(super) fn is_whole_word(&self, start: usize, end: usize) -> bool {
        let origin = self.origin(start, end);
        let is_apart_before = self.original[..origin.start].ends_with(is_blank);
        let is_apart_after = self.original[origin.end..].starts_with(is_blank);
        (is_apart_before || start == 0 || self.is_apart(start - 1, start))
            && (is_apart_after || end >= self.text().len() || self.is_apart(end, end - 1))
    }

    /// Whether a word ends between two bytes next to each other, `inner` of it and `outer` beyond it.
    fn is_apart(&self, outer: usize, inner: usize) -> bool {
        let kind = |at| self.original_of(at).map_or(Kind::Sign, Kind::of);
        match (kind(outer), kind(inner)) {
            (Kind::Sign, _) => true,
            // It goes with what is before it.
            (Kind::Mark, kind) => kind == Kind::Unspaced && outer < inner,
            (Kind::Unspaced, _) | (_, Kind::Unspaced) => true,
            // A sign within a word stands for a letter.
            (outer, Kind::Sign | Kind::Mark) => outer != Kind::Plain,
            (outer, inner) => outer != inner,
        }
    }

    /// What each character of the original has become, and where that is.
    pub(super) fn characters(&self) -> impl Iterator<Item = (Range<usize>, &str)> {
        let mut next = 0;
        std::iter::from_fn(move || {
            let (start, length) = (next, self.text().len());
            let origin = self.derived.origin_of(start);
            next = (start + 1..length).find(|at| self.derived.origin_of(*at) != origin).unwrap_or(length);
            (start < length).then(|| (start..next, &self.text()[start..next]))
        })
    }

    /// The original character that a byte comes from.
    pub(super) fn original_of(&self, at: usize) -> Option<char> {
        let (from, _) = self.derived.origin_of(at);
        self.original[from as usize..].chars().next()
    }

    /// Whether a part of the normal form (not an empty one) has small letters in the original.
    pub(super) fn has_lowercase(&self, start: usize, end: usize) -> bool {
        self.original[self.origin(start, end)].contains(char::is_lowercase)
    }

    /// Puts the words in a row that begin here and of which nothing but their case changes; where they end.
    fn put_plain(&mut self, start: usize) -> usize {
        let mut last = b' ';
        let is_plain = |byte: &u8| {
            let is_plain = byte.is_ascii_graphic() || *byte == b' ' && last != b' ';
            last = *byte;
            is_plain
        };
        let end = start + self.original.bytes().skip(start).take_while(is_plain).count();
        self.derived.push_lowercase(&self.original[start..end], start);
        end
    }

    /// Puts what a character that is no plain letter reads like.
    fn put_folded(&mut self, character: char, origin: &Range<usize>) {
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
                let is_of_letter =
                    self.text().chars().next_back().is_some_and(|base| base >= FIRST_WITH_MARKS);
                if is_of_letter && !is_loose_mark(plain) {
                    self.derived.push(plain, origin);
                }
            } else if !is_hidden(plain) {
                for folded in plain.to_uppercase().flat_map(char::to_lowercase) {
                    self.derived.push(look_alike(folded), origin);
                }
            }
        }
    }

    fn put_space(&mut self, origin: &Range<usize>) {
        if !self.text().is_empty() && !self.text().ends_with(' ') {
            self.derived.push(' ', origin);
        }
    }
}

impl Kind {
    fn of(character: char) -> Self {
        match character {
            _ if is_combining_mark(character) => Self::Mark,
            _ if is_odd(character) => Self::Odd,
            _ if is_unspaced(character) => Self::Unspaced,
            _ if character.is_alphanumeric() && !is_modifier(character) => Self::Plain,
            _ => Self::Sign,
        }
    }
}

/// A text with letters in the place of digits and signs that stand for some. They are all of one byte, so nothing moves.
fn without_substitutes(text: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
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
    replaced
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
