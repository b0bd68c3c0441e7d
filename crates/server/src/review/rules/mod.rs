//! Rules that are part of the configuration: the handler that is always there.
//!
//! The rules of a handler are tried in their order. The first one that finds something and says `allow` or `deny` decides;
//! one that says `mask` blots out what it has found, and the next ones go on. What is masked has as many characters as
//! before, and nothing else of a message is touched.
//!
//! Promises: the time for a message is linear in its length, whatever the rules and whoever wrote the message; memory does
//! not grow with messages.

mod flood;
mod form;
mod links;
mod normal;
mod patterns;
mod text;
mod words;

use std::fmt;
use std::ops::Range;
use std::path::Path;

use hub::message::RoomKey;

use self::flood::Flood;
use self::form::{Caps, Repeats};
use self::links::Links;
use self::normal::Normal;
use self::patterns::Patterns;
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
    Mask(String),
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
        let content = message.content;
        let normal = Normal::of(content);
        let mut masked = Spans::new();
        for Rule { matcher, action, reason } in &self.rules {
            let wants_all = *action == ActionText::Mask;
            let mut spans = matcher.find(message, &normal, wants_all, now_nanos);
            match action {
                _ if spans.is_empty() => {}
                ActionText::Deny => return Ruling::Deny { reason: reason.as_deref() },
                ActionText::Allow => break,
                ActionText::Mask => masked.append(&mut spans),
            }
        }
        if masked.is_empty() { Ruling::Allow } else { Ruling::Mask(mask(content, masked)) }
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
            RuleText::Links { except, .. } => Self::Links(Links::new(except)?),
            RuleText::Caps { percent, letters_min, .. } => Self::Caps(Caps::new(*percent, *letters_min)?),
            RuleText::Repeats { times, .. } => Self::Repeats(Repeats::new(*times)?),
            RuleText::Flood { times, within_s, of_everybody, .. } => {
                Self::Flood(Flood::new(*times, *within_s, *of_everybody)?)
            }
        })
    }

    /// What it finds: all of it, or enough to know that there is something.
    fn find(&self, message: &Message<'_>, normal: &Normal<'_>, wants_all: bool, now_nanos: u64) -> Spans {
        let content = message.content;
        let whole = |is_found: bool| if is_found { whole(content) } else { Spans::new() };
        match self {
            Self::Words(words) => words.find(normal, wants_all),
            Self::Patterns(patterns) => patterns.find(content, wants_all),
            Self::Links(links) => links.find(content, wants_all),
            Self::Caps(caps) => whole(caps.is_found(content)),
            Self::Repeats(repeats) => repeats.find(normal),
            Self::Flood(flood) => whole(flood.is_found(message, normal, now_nanos)),
        }
    }
}

/// All of a message.
fn whole(content: &str) -> Spans {
    std::iter::once(0..content.len()).collect()
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
