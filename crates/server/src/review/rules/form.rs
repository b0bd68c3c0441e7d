//! What can be said of a message by its form: regular expressions, capitals, repetitions.

use protocol::limit::review::{PATTERN_BYTES_MAX, PATTERN_MASKS_MAX, PATTERNS_MAX};
use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

use super::normal::Normal;
use super::{Spans, whole};

/// Memory that compiled expressions may take, in bytes: what needs more is refused when the file is read.
const COMPILED_BYTES_MAX: usize = 64 * 1_024 * 1_024;
/// Memory for what has been found out about texts so far, in bytes, for each thread: of all in one pass, and once more of
/// each of them.
const CACHE_BYTES_MAX: usize = 8 * 1_024 * 1_024;
/// With less than that, an expression would only forget, in bytes.
const CACHE_BYTES_MIN: usize = 32 * 1_024;

/// Regular expressions, all of them tried in one pass; then those that match are asked where. There is no backtracking, so
/// no expression takes long.
pub(super) struct Patterns {
    all: RegexSet,
    each: Vec<Regex>,
}

impl Patterns {
    pub(super) fn new(patterns: &[String], case_sensitive: bool) -> Result<Self, String> {
        if patterns.is_empty() || patterns.len() > PATTERNS_MAX {
            return Err(format!("there must be 1 to {PATTERNS_MAX} `patterns`"));
        }
        if patterns.iter().any(|pattern| pattern.len() > PATTERN_BYTES_MAX) {
            return Err(format!("a pattern may have {PATTERN_BYTES_MAX} bytes"));
        }
        // All at once come first: they bound what each of them can take.
        let all = RegexSetBuilder::new(patterns)
            .case_insensitive(!case_sensitive)
            .size_limit(COMPILED_BYTES_MAX)
            .dfa_size_limit(CACHE_BYTES_MAX)
            .build()
            .map_err(|error| error.to_string())?;
        if let Some(pattern) = all.matches("").iter().next().and_then(|index| patterns.get(index)) {
            return Err(format!("`{pattern}` matches where there is nothing, and so every message"));
        }
        let each = patterns.iter().map(|pattern| {
            RegexBuilder::new(pattern)
                .case_insensitive(!case_sensitive)
                .size_limit(COMPILED_BYTES_MAX)
                .dfa_size_limit((CACHE_BYTES_MAX / patterns.len()).max(CACHE_BYTES_MIN))
                .build()
                .map_err(|error| error.to_string())
        });
        Ok(Self { each: each.collect::<Result<_, _>>()?, all })
    }

    pub(super) fn find(&self, content: &str, wants_all: bool) -> Spans {
        if !wants_all {
            return if self.all.is_match(content) { whole(content) } else { Spans::new() };
        }
        let matching = self.all.matches(content);
        let found = matching.into_iter().filter_map(|index| self.each.get(index));
        found.flat_map(|pattern| spans(pattern, content)).collect()
    }
}

/// Where an expression matches; from a certain number of matches on, all the rest is one.
fn spans(pattern: &Regex, content: &str) -> Spans {
    let found = pattern.find_iter(content).map(|found| found.range());
    let mut spans: Spans = found.take(PATTERN_MASKS_MAX).collect();
    if spans.len() == PATTERN_MASKS_MAX
        && let Some(last) = spans.last_mut()
    {
        last.end = content.len();
    }
    spans
}

/// Messages in capitals.
pub(super) struct Caps {
    percent: usize,
    letters_min: usize,
}

impl Caps {
    pub(super) fn new(percent: u32, letters_min: u32) -> Result<Self, String> {
        if !(1..=100).contains(&percent) {
            return Err("`percent` must be from 1 to 100".to_owned());
        }
        Ok(Self { percent: percent as usize, letters_min: letters_min.max(1) as usize })
    }

    pub(super) fn is_found(&self, content: &str) -> bool {
        let capitals = content.chars().filter(|letter| letter.is_uppercase()).count();
        let letters = capitals + content.chars().filter(|letter| letter.is_lowercase()).count();
        letters >= self.letters_min && capitals * 100 >= letters * self.percent
    }
}

/// A character or a word many times in a row.
pub(super) struct Repeats {
    times: usize,
}

impl Repeats {
    pub(super) fn new(times: u32) -> Result<Self, String> {
        if times < 2 {
            return Err("`times` must be 2 or more".to_owned());
        }
        Ok(Self { times: times as usize })
    }

    pub(super) fn find(&self, normal: &Normal<'_>) -> Spans {
        let text = normal.text();
        let characters = text.char_indices().map(|(at, character)| (at, character.len_utf8()));
        let mut spans = self.runs(text, characters);
        let mut end = 0;
        let words = text.split(' ').map(|word| {
            let start = end;
            end = start + word.len() + 1;
            (start, word.len())
        });
        spans.extend(self.runs(text, words));
        spans.into_iter().map(|span| normal.origin(span.start, span.end)).collect()
    }

    /// Where the same part follows itself often enough. Parts are given by where they are and how long.
    fn runs(&self, text: &str, parts: impl Iterator<Item = (usize, usize)>) -> Spans {
        let mut spans = Spans::new();
        let (mut last, mut start, mut count) = ("", 0, 0);
        for (at, length) in parts {
            let Some(part) = text.get(at..at + length).filter(|part| !part.trim().is_empty()) else {
                (last, count) = ("", 0);
                continue;
            };
            if part != last {
                (last, start, count) = (part, at, 0);
            }
            count += 1;
            if count == self.times {
                spans.push(start..at + length);
            } else if count > self.times
                && let Some(span) = spans.last_mut()
            {
                span.end = at + length;
            }
        }
        spans
    }
}
