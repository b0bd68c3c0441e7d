//! One spelling for all texts that read the same: without regard to case, width, accents, letters of other alphabets that
//! look alike, digits and signs within words that stand for letters, and characters that do not show.
//!
//! Words to look for are brought into the same form, so what is alike here is found whichever way it is written.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The normal form of a text, and where each part of it comes from.
pub(super) struct Normal {
    text: String,
    /// For each byte of `text`, the bytes of the original character that it comes from.
    origins: Vec<(u32, u32)>,
}

impl Normal {
    pub(super) fn of(original: &str) -> Self {
        let mut normal =
            Self { text: String::with_capacity(original.len()), origins: Vec::with_capacity(original.len()) };
        let mut characters = original.char_indices().peekable();
        while let Some((start, character)) = characters.next() {
            let end = characters.peek().map_or(original.len(), |(next, _)| *next);
            let next = characters.peek().map(|(_, next)| *next);
            normal.push(character, next, start, end);
        }
        normal
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The bytes of the original that a part of the normal form (not an empty one) comes from.
    pub(super) fn origin(&self, start: usize, end: usize) -> std::ops::Range<usize> {
        let origin = |at: usize| self.origins.get(at).copied().unwrap_or_default();
        let (from, _) = origin(start);
        let (_, to) = origin(end.saturating_sub(1));
        from as usize..to as usize
    }

    fn push(&mut self, character: char, next: Option<char>, start: usize, end: usize) {
        if character.is_ascii_alphabetic() {
            self.put(character.to_ascii_lowercase(), start, end);
        } else if let Some(letter) = self.letter_for(character, next) {
            self.put(letter, start, end);
        } else if character.is_ascii_graphic() {
            self.put(character, start, end);
        } else if character.is_whitespace() {
            if !self.text.is_empty() && !self.text.ends_with(' ') {
                self.put(' ', start, end);
            }
        } else {
            for plain in [character].into_iter().nfkd().filter(|plain| shows(*plain)) {
                for folded in plain.to_uppercase().flat_map(char::to_lowercase) {
                    self.put(look_alike(folded), start, end);
                }
            }
        }
    }

    /// The letter that a digit or sign stands for, next to letters: `a55` but not `455`, `sh!t` but not `hi!`.
    fn letter_for(&self, character: char, next: Option<char>) -> Option<char> {
        let (letter, ends_words) = match character {
            '0' => ('o', true),
            '1' => ('i', true),
            '3' => ('e', true),
            '4' | '@' => ('a', true),
            '5' | '$' => ('s', true),
            '7' => ('t', true),
            '8' => ('b', true),
            '9' => ('g', true),
            '!' | '|' => ('i', false),
            _ => return None,
        };
        let is_before_letter = next.is_some_and(char::is_alphabetic);
        let is_after_letter = self.text.chars().next_back().is_some_and(char::is_alphabetic);
        (is_before_letter || ends_words && is_after_letter).then_some(letter)
    }

    fn put(&mut self, character: char, start: usize, end: usize) {
        self.text.push(character);
        let origin = (u32::try_from(start).unwrap_or(u32::MAX), u32::try_from(end).unwrap_or(u32::MAX));
        self.origins.resize(self.text.len(), origin);
    }
}

/// Whether a character is seen by itself.
fn shows(character: char) -> bool {
    let is_hidden = matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}'
    );
    !is_hidden && !is_combining_mark(character)
}

/// The Latin letter that a letter in lower case is taken for.
const fn look_alike(letter: char) -> char {
    match letter {
        'а' | 'α' | 'ɑ' => 'a',
        'в' | 'β' | 'ь' => 'b',
        'с' | 'ϲ' | 'ς' => 'c',
        'ԁ' | 'đ' => 'd',
        'е' | 'ε' | 'є' | 'ə' => 'e',
        'ɡ' => 'g',
        'һ' | 'н' | 'ħ' => 'h',
        'і' | 'ι' | 'ı' | 'ӏ' => 'i',
        'ј' => 'j',
        'к' | 'κ' => 'k',
        'ł' => 'l',
        'м' | 'μ' => 'm',
        'η' | 'п' => 'n',
        'о' | 'ο' | 'ø' | 'σ' => 'o',
        'р' | 'ρ' => 'p',
        'ԛ' => 'q',
        'г' => 'r',
        'ѕ' => 's',
        'т' | 'τ' => 't',
        'υ' | 'ц' => 'u',
        'ν' | 'ѵ' => 'v',
        'ѡ' | 'ω' | 'ԝ' => 'w',
        'х' | 'χ' => 'x',
        'у' | 'γ' => 'y',
        other => other,
    }
}
