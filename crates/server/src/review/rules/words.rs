//! Lists of words: all of them are looked for at once, in one pass over the text.

use std::path::PathBuf;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use protocol::limit::review::{TERM_BYTES_MAX, TERMS_MAX};

use super::Spans;
use super::normal::Normal;

/// See the module.
pub(super) struct Words {
    terms: AhoCorasick,
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
        let terms = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&terms)
            .map_err(|error| error.to_string())?;
        Ok(Self { terms, whole_words })
    }

    pub(super) fn find(&self, normal: &Normal<'_>, wants_all: bool) -> Spans {
        let text = normal.text();
        let is_right = |start: usize, end: usize| {
            normal.is_of_whole_characters(start, end)
                && (!self.whole_words || normal.is_whole_word(start, end))
        };
        let found =
            self.terms.find_overlapping_iter(text).filter(|found| is_right(found.start(), found.end()));
        let spans = found.map(|found| normal.origin(found.start(), found.end()));
        if wants_all { spans.collect() } else { spans.take(1).collect() }
    }
}

fn normal(term: &str) -> String {
    Normal::of(term.trim()).text().trim_end().to_owned()
}
