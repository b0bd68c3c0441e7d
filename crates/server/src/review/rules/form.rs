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
        let (capitals, smalls) = cases(content);
        let letters = capitals + smalls;
        letters >= self.letters_min && capitals * 100 >= letters * self.percent
    }
}

/// How many capitals a text has, and how many small letters.
fn cases(text: &str) -> (usize, usize) {
    if text.is_ascii() {
        let count = |is_wanted: fn(&u8) -> bool| text.bytes().filter(is_wanted).count();
        return (count(u8::is_ascii_uppercase), count(u8::is_ascii_lowercase));
    }
    let count = |is_wanted: fn(char) -> bool| text.chars().filter(|character| is_wanted(*character)).count();
    (count(char::is_uppercase), count(char::is_lowercase))
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
        let mut spans = Spans::new();
        if self.may_repeat_characters(text) {
            let characters =
                normal.characters().map(|(place, text)| (place, Some(text).filter(|it| *it != " ")));
            self.find_runs(characters, &mut spans);
        }
        let mut end = 0;
        let words = text.as_bytes().split(|byte| *byte == b' ').map(|word| {
            let start = end;
            end = start + word.len() + 1;
            (start..start + word.len(), Some(word).filter(|word| !word.is_empty()))
        });
        self.find_runs(words, &mut spans);
        spans.into_iter().map(|span| normal.origin(span.start, span.end)).collect()
    }

    /// Whether a character can be there often enough in a row. In ASCII, as many bytes are then like the one before.
    fn may_repeat_characters(&self, text: &str) -> bool {
        let bytes = text.as_bytes();
        let alike = || bytes.iter().zip(bytes.iter().skip(1)).filter(|(one, next)| one == next).count();
        !text.is_ascii() || alike() + 1 >= self.times
    }

    /// Where the same part follows itself often enough. Parts are given by where they are and what they are; `None` is
    /// the same as no other.
    fn find_runs<T: PartialEq>(
        &self,
        parts: impl Iterator<Item = (Range<usize>, Option<T>)>,
        spans: &mut Spans,
    ) {
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
    }
}
