//! What can be said of a message by its form: capitals, repetitions.

use std::ops::Range;

use super::Spans;
use super::normal::Normal;

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
        let (mut capitals, mut letters) = (0, 0);
        for character in content.chars() {
            let is_capital = character.is_uppercase();
            capitals += usize::from(is_capital);
            letters += usize::from(is_capital || character.is_lowercase());
        }
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
        let characters = text
            .char_indices()
            .map(|(at, character)| (at..at + character.len_utf8(), Some(character).filter(|it| *it != ' ')));
        let mut spans = self.runs(characters);
        let mut end = 0;
        let words = text.split(' ').map(|word| {
            let start = end;
            end = start + word.len() + 1;
            (start..start + word.len(), Some(word).filter(|word| !word.is_empty()))
        });
        spans.extend(self.runs(words));
        spans.into_iter().map(|span| normal.origin(span.start, span.end)).collect()
    }

    /// Where the same part follows itself often enough. Parts are given by where they are and what they are; `None` is
    /// the same as no other.
    fn runs<T: PartialEq>(&self, parts: impl Iterator<Item = (Range<usize>, Option<T>)>) -> Spans {
        let mut spans = Spans::new();
        let (mut last, mut start, mut count) = (None, 0, 0);
        for (place, part) in parts {
            if part.is_none() || part != last {
                (last, start, count) = (part, place.start, 0);
            }
            count += usize::from(last.is_some());
            if count == self.times {
                spans.push(start..place.end);
            } else if count > self.times
                && let Some(span) = spans.last_mut()
            {
                span.end = place.end;
            }
        }
        spans
    }
}
