//! What can be said of a message by its form: capitals, repetitions.

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
