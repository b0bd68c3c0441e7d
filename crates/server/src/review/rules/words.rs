//! Lists of words: all of them are looked for at once, in one pass over the text.

use std::path::PathBuf;

use aho_corasick::{AhoCorasick, AhoCorasickKind, Match, MatchKind};
use protocol::limit::review::{TERM_BYTES_MAX, TERMS_MAX};

use super::Spans;
use super::normal::Normal;

/// See the module.
pub(super) struct Words {
    /// In their normal form.
    terms: Vec<String>,
    /// The same, spelled as by [`spelled_with_one_i`].
    automaton: AhoCorasick,
    whole_words: bool,
}

impl Words {
    pub(super) fn new(terms: &[String], file: Option<PathBuf>, whole_words: bool) -> Result<Self, String> {
        let mut terms: Vec<String> = terms.iter().map(|term| normal(term)).collect();
        if let Some(file) = file {
            let text = std::fs::read_to_string(&file);
            let text = text.map_err(|error| format!("cannot read {}: {error}", file.display()))?;
            terms.extend(text.lines().filter(|line| !line.trim_start().starts_with('#')).map(normal));
        }
        terms.retain(|term| !term.is_empty());
        terms.sort_unstable();
        terms.dedup();
        if terms.is_empty() {
            return Err("it has no `terms`, and no `file` with any".to_owned());
        }
        if terms.len() > TERMS_MAX || terms.iter().any(|term| term.len() > TERM_BYTES_MAX) {
            return Err(format!("there may be {TERMS_MAX} terms of {TERM_BYTES_MAX} bytes"));
        }
        // Each term is seen where it ends, also within a longer one: which of them is a whole word is decided here.
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(terms.iter().map(|term| spelled_with_one_i(term)))
            .map_err(|error| error.to_string())?;
        Ok(Self { terms, automaton, whole_words })
    }

    pub(super) fn find(&self, normal: &Normal<'_>, wants_all: bool) -> Spans {
        let text = spelled_with_one_i(normal.text());
        let is_right = |found: &Match| {
            let (start, end) = (found.start(), found.end());
            normal.is_of_whole_characters(start, end)
                && (!self.whole_words || normal.is_whole_word(start, end))
                && self.terms.get(found.pattern().as_usize()).is_some_and(|term| reads(normal, start, term))
        };
        let found = self.automaton.find_overlapping_iter(&text).filter(is_right);
        let spans = found.map(|found| normal.origin(found.start(), found.end()));
        if wants_all { spans.collect() } else { spans.take(1).collect() }
    }
}

/// A small l looks like a capital I, and the signs that stand for an i stand for an l as well.
fn spelled_with_one_i(text: &str) -> Vec<u8> {
    text.bytes().map(|byte| if byte == b'l' { b'i' } else { byte }).collect()
}

/// Whether a part of a text, which has the letters of a term but for i and l, may be read as the term: `sIut`, `s1ut`, `shlt`,
/// but not `BAILS` as `balls`.
fn reads(normal: &Normal<'_>, start: usize, term: &str) -> bool {
    let end = start + term.len();
    let part = &normal.text()[start..end];
    let is_like = |(at, (written, meant)): (usize, (u8, u8))| {
        let original = normal.original_of(start + at).unwrap_or_default();
        match (written, meant) {
            (b'l', b'i') => original.is_lowercase(),
            (b'i', b'l') if original.is_uppercase() => normal.has_lowercase(start, end),
            (b'i', b'l') => !original.is_lowercase(),
            _ => true,
        }
    };
    part == term || part.bytes().zip(term.bytes()).enumerate().all(is_like)
}

fn normal(term: &str) -> String {
    Normal::of(term.trim()).text().trim_end().to_owned()
}
