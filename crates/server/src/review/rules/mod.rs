//! Rules that are part of the configuration: the handler that is always there.
//!
//! The rules of a handler are tried in their order. The first one that finds something and says `allow` or `deny` decides;
//! one that says `mask` blots out what it has found, and the next ones go on. What is masked has as many characters as
//! before, and nothing else of a message is touched. Rules about what is said look at the values of its attributes, too: these are
//! shown to people in many applications.
//!
//! Promises: the time for a message is linear in its length, whatever the rules and whoever wrote the message; memory does
//! not grow with messages.

mod derived;
mod flood;
mod form;
mod links;
mod normal;
mod patterns;
mod shown;
mod text;
mod words;

use std::fmt;
use std::iter::once;
use std::ops::Range;
use std::path::Path;

use hub::message::RoomKey;
use protocol::messaging::Attributes;

use self::flood::Flood;
use self::form::{Caps, Repeats};
use self::links::Links;
use self::normal::Normal;
use self::patterns::Patterns;
use self::shown::Shown;
use self::text::ActionText;
pub use self::text::RuleText;
use self::words::Words;

/// In place of each character that is masked.
const MASK: char = '*';

/// What is ruled on.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// What the sender wrote.
    pub content: &'a str,
    /// What goes with it.
    pub attributes: Option<&'a Attributes>,
    /// Where.
    pub room: &'a RoomKey,
    /// The `Sender` of its frame, as JSON.
    pub sender: &'a str,
}

/// What the rules say about a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling<'a> {
    /// As it is.
    Allow,
    /// In these words.
    Mask {
        /// Instead of what the sender wrote.
        content: String,
        /// Instead of the sender's, if anything in them is masked.
        attributes: Option<Attributes>,
    },
    /// Not at all.
    Deny {
        /// The rule's, for the sender.
        reason: Option<&'a str>,
    },
}

/// Why rules cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesError {
    /// Of the rule, from 1.
    number: usize,
    reason: String,
}

impl fmt::Display for RulesError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "rule {}: {}", self.number, self.reason)
    }
}

impl std::error::Error for RulesError {}

/// What a rule looks for.
enum Matcher {
    Words(Words),
    Patterns(Patterns),
    Links(Links),
    Caps(Caps),
    Repeats(Repeats),
    Flood(Flood),
}

struct Rule {
    matcher: Matcher,
    action: ActionText,
    reason: Option<String>,
}

/// A text of a message: the content, or the value of an attribute.
struct Text<'a> {
    written: &'a str,
    normal: Normal<'a>,
    shown: Shown<'a>,
    /// By the rule that is tried now.
    found: Spans,
    /// By those before it.
    masked: Spans,
}

/// The rules of one handler.
pub struct Rules {
    rules: Vec<Rule>,
}

/// Where a rule has found something: bytes of the message.
type Spans = Vec<Range<usize>>;

impl Rules {
    /// Rules as they are written; files of words are looked for in `folder`.
    ///
    /// # Errors
    /// The first rule that cannot be used.
    pub fn new(texts: &[RuleText], folder: &Path) -> Result<Self, RulesError> {
        let rule = |(index, text): (usize, &RuleText)| {
            let matcher =
                Matcher::new(text, folder).map_err(|reason| RulesError { number: index + 1, reason })?;
            let (action, reason) = text.action();
            Ok(Rule { matcher, action, reason: reason.map(str::to_owned) })
        };
        Ok(Self { rules: texts.iter().enumerate().map(rule).collect::<Result<_, _>>()? })
    }

    /// What the rules say; `now_nanos` is monotonic.
    pub fn rule(&self, message: &Message<'_>, now_nanos: u64) -> Ruling<'_> {
        let values = message.attributes.into_iter().flat_map(Attributes::values);
        let mut texts: Vec<Text<'_>> =
            once(message.content).chain(values.map(String::as_str)).map(Text::of).collect();
        for Rule { matcher, action, reason } in &self.rules {
            let wants_all = *action == ActionText::Mask;
            let looked_at = if matcher.looks_at_attributes() { texts.len() } else { 1 };
            let mut is_found = false;
            for text in &mut texts[..looked_at] {
                let mut spans = matcher.find(message, text, wants_all, now_nanos);
                is_found |= !spans.is_empty();
                text.found.append(&mut spans);
            }
            match action {
                _ if !is_found => {}
                ActionText::Deny => return Ruling::Deny { reason: reason.as_deref() },
                ActionText::Allow => break,
                ActionText::Mask => texts.iter_mut().for_each(Text::mask_found),
            }
        }
        if texts.iter().all(|text| text.masked.is_empty()) {
            return Ruling::Allow;
        }
        let mut texts = texts.into_iter();
        let content = texts.next().map(Text::into_masked).unwrap_or_default();
        let is_value_masked = texts.as_slice().iter().any(|text| !text.masked.is_empty());
        let names = message.attributes.filter(|_| is_value_masked).map(Attributes::keys);
        let attributes = names.map(|names| names.cloned().zip(texts.map(Text::into_masked)).collect());
        Ruling::Mask { content, attributes }
    }
}

impl Matcher {
    fn new(text: &RuleText, folder: &Path) -> Result<Self, String> {
        Ok(match text {
            RuleText::Words { terms, file, whole_words, .. } => {
                Self::Words(Words::new(terms, file.as_deref().map(|file| folder.join(file)), *whole_words)?)
            }
            RuleText::Patterns { patterns, case_sensitive, .. } => {
                Self::Patterns(Patterns::new(patterns, *case_sensitive)?)
            }
            RuleText::Links { except, endings, .. } => Self::Links(Links::new(except, endings)?),
            RuleText::Caps { percent, letters_min, .. } => Self::Caps(Caps::new(*percent, *letters_min)?),
            RuleText::Repeats { times, .. } => Self::Repeats(Repeats::new(*times)?),
            RuleText::Flood { times, within_s, of_everybody, .. } => {
                Self::Flood(Flood::new(*times, *within_s, *of_everybody)?)
            }
        })
    }

    /// Whether it is about what is said, wherever; otherwise it is about how.
    const fn looks_at_attributes(&self) -> bool {
        matches!(self, Self::Words(_) | Self::Patterns(_) | Self::Links(_))
    }

    /// What it finds: all of it, or enough to know that there is something.
    fn find(&self, message: &Message<'_>, text: &Text<'_>, wants_all: bool, now_nanos: u64) -> Spans {
        let Text { written: content, normal, shown, .. } = text;
        let whole = |is_found: bool| if is_found { whole(content) } else { Spans::new() };
        match self {
            Self::Words(words) => words.find(normal, wants_all),
            Self::Patterns(patterns) => patterns.find(content, shown, wants_all),
            Self::Links(links) => links.find(shown, wants_all),
            Self::Caps(caps) => whole(caps.is_found(content)),
            Self::Repeats(repeats) => repeats.find(normal),
            Self::Flood(flood) => whole(flood.is_found(message, normal, now_nanos)),
        }
    }
}

impl<'a> Text<'a> {
    fn of(written: &'a str) -> Self {
        let (normal, shown) = (Normal::of(written), Shown::of(written));
        Self { written, normal, shown, found: Spans::new(), masked: Spans::new() }
    }

    fn mask_found(&mut self) {
        self.masked.append(&mut self.found);
    }

    fn into_masked(self) -> String {
        mask(self.written, self.masked)
    }
}

/// All of a message.
fn whole(content: &str) -> Spans {
    once(0..content.len()).collect()
}

/// The content with a mask for each character within a span. White space stays, so that what was several words does.
fn mask(content: &str, mut spans: Spans) -> String {
    spans.sort_unstable_by_key(|span| span.start);
    let mut spans = spans.into_iter().peekable();
    let mut masked_to = 0;
    let mut text = String::with_capacity(content.len());
    for (at, character) in content.char_indices() {
        while let Some(span) = spans.next_if(|span| span.start <= at) {
            masked_to = span.end.max(masked_to);
        }
        text.push(if at < masked_to && !character.is_whitespace() { MASK } else { character });
    }
    text
}

#[cfg(test)]
mod tests;
