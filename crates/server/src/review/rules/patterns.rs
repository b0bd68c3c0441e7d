//! Regular expressions. There is no backtracking, so no expression takes long.
//!
//! All are tried in one pass, and then alone those that may match. The pass takes words to end anywhere: to know better it
//! would have to look at each expression by itself in every message that is not all ASCII, a hundred times as long.

use protocol::limit::review::{PATTERN_BYTES_MAX, PATTERN_MASKS_MAX, PATTERNS_MAX};
use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Capture, Hir, HirKind, Look, Repetition};

use super::shown::Shown;
use super::{Spans, whole};

/// Memory that compiled expressions may take, in bytes: what needs more is refused when the file is read.
const COMPILED_BYTES_MAX: usize = 64 * 1_024 * 1_024;
/// Memory for what has been found out about texts so far, in bytes, for each thread: of all in one pass, and once more of
/// each of them.
const CACHE_BYTES_MAX: usize = 8 * 1_024 * 1_024;
/// With less than that, an expression would only forget, in bytes.
const CACHE_BYTES_MIN: usize = 32 * 1_024;

/// See the module.
pub(super) struct Patterns {
    /// Each matches wherever the one in `each` does, and perhaps elsewhere.
    candidates: RegexSet,
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
        let wide =
            patterns.iter().map(|pattern| wide(pattern, case_sensitive)).collect::<Result<Vec<_>, _>>()?;
        let candidates = RegexSetBuilder::new(wide)
            .size_limit(COMPILED_BYTES_MAX)
            .dfa_size_limit(CACHE_BYTES_MAX)
            .build()
            .map_err(|error| error.to_string())?;
        let each = patterns.iter().map(|pattern| {
            let expression = RegexBuilder::new(pattern)
                .case_insensitive(!case_sensitive)
                .size_limit(COMPILED_BYTES_MAX)
                .dfa_size_limit((CACHE_BYTES_MAX / patterns.len()).max(CACHE_BYTES_MIN))
                .build()
                .map_err(|error| error.to_string())?;
            if expression.is_match("") {
                return Err(format!("`{pattern}` matches where there is nothing, and so every message"));
            }
            Ok(expression)
        });
        Ok(Self { each: each.collect::<Result<_, _>>()?, candidates })
    }

    /// What matches as it is written, and what does as it is shown.
    pub(super) fn find(&self, content: &str, shown: &Shown<'_>, wants_all: bool) -> Spans {
        let mut spans = self.find_in(content, wants_all);
        if shown.differs() {
            spans.extend(self.find_in(shown.text(), wants_all).into_iter().map(|span| shown.origin(span)));
        }
        spans
    }

    fn find_in(&self, content: &str, wants_all: bool) -> Spans {
        let candidates = self.candidates.matches(content);
        let mut candidates = candidates.into_iter().filter_map(|index| self.each.get(index));
        if wants_all {
            candidates.flat_map(|pattern| spans(pattern, content)).collect()
        } else if candidates.any(|pattern| pattern.find_iter(content).any(|found| !found.is_empty())) {
            whole(content)
        } else {
            Spans::new()
        }
    }
}

/// Where an expression matches; from a certain number of matches on, all the rest is one.
fn spans(pattern: &Regex, content: &str) -> Spans {
    let found = pattern.find_iter(content).map(|found| found.range()).filter(|span| !span.is_empty());
    let mut spans: Spans = found.take(PATTERN_MASKS_MAX).collect();
    if spans.len() == PATTERN_MASKS_MAX
        && let Some(last) = spans.last_mut()
    {
        last.end = content.len();
    }
    spans
}

/// An expression that matches wherever this one does, and does not ask where words end.
fn wide(pattern: &str, case_sensitive: bool) -> Result<String, String> {
    let mut parser = ParserBuilder::new().case_insensitive(!case_sensitive).build();
    let expression = parser.parse(pattern).map_err(|error| error.to_string())?;
    Ok(without_word_borders(expression).to_string())
}

fn without_word_borders(expression: Hir) -> Hir {
    let all = |parts: Vec<Hir>| parts.into_iter().map(without_word_borders).collect();
    match expression.into_kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(class) => Hir::class(class),
        HirKind::Look(look @ (Look::Start | Look::End)) => Hir::look(look),
        HirKind::Look(_) => Hir::empty(),
        HirKind::Repetition(repetition) => {
            let sub = Box::new(without_word_borders(*repetition.sub));
            Hir::repetition(Repetition { sub, ..repetition })
        }
        HirKind::Capture(Capture { sub, .. }) => without_word_borders(*sub),
        HirKind::Concat(parts) => Hir::concat(all(parts)),
        HirKind::Alternation(parts) => Hir::alternation(all(parts)),
    }
}
