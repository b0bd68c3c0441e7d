//! Rules as they are written in the file of handlers. A key that a rule does not have is an error.

use std::path::PathBuf;

use serde::Deserialize;

/// One rule: what it looks for, what becomes of a message in which it finds that, and what a sender is told whose message
/// is denied.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "match", rename_all = "lowercase", deny_unknown_fields)]
pub enum RuleText {
    /// Any of some terms, however they are written.
    Words {
        /// What to look for.
        #[serde(default)]
        terms: Vec<String>,
        /// A term on each line; lines with `#` are comments.
        file: Option<PathBuf>,
        /// Not within longer words.
        #[serde(default = "yes")]
        whole_words: bool,
        /// What to do.
        action: ActionText,
        /// Why.
        reason: Option<String>,
    },
    /// Any of some regular expressions.
    Patterns {
        /// In the syntax of the crate `regex`.
        patterns: Vec<String>,
        /// Capitals are told apart.
        #[serde(default)]
        case_sensitive: bool,
        /// What to do.
        action: ActionText,
        /// Why.
        reason: Option<String>,
    },
    /// Addresses of web pages.
    Links {
        /// But for those of these hosts and what is below them.
        #[serde(default)]
        except: Vec<String>,
        /// Last parts of hosts by which an address is known that has neither a scheme nor `www.`, beyond the well-known ones.
        #[serde(default)]
        endings: Vec<String>,
        /// What to do.
        action: ActionText,
        /// Why.
        reason: Option<String>,
    },
    /// Capitals.
    Caps {
        /// So many percent of the letters.
        #[serde(default = "seventy")]
        percent: u32,
        /// In messages with so many letters.
        #[serde(default = "ten")]
        letters_min: u32,
        /// What to do.
        action: ActionText,
        /// Why.
        reason: Option<String>,
    },
    /// One character, or one word, again and again.
    Repeats {
        /// So many times in a row.
        #[serde(default = "ten")]
        times: u32,
        /// What to do.
        action: ActionText,
        /// Why.
        reason: Option<String>,
    },
    /// The same message again and again.
    Flood {
        /// So many times.
        #[serde(default = "three")]
        times: u32,
        /// Within so many seconds.
        #[serde(default = "thirty")]
        within_s: u32,
        /// Whoever sends it; otherwise those of one user are counted.
        #[serde(default)]
        of_everybody: bool,
        /// What to do.
        action: ActionText,
        /// Why.
        reason: Option<String>,
    },
}

impl RuleText {
    /// What to do, and why.
    pub(super) fn action(&self) -> (ActionText, Option<&str>) {
        match self {
            Self::Words { action, reason, .. }
            | Self::Patterns { action, reason, .. }
            | Self::Links { action, reason, .. }
            | Self::Caps { action, reason, .. }
            | Self::Repeats { action, reason, .. }
            | Self::Flood { action, reason, .. } => (*action, reason.as_deref()),
        }
    }
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionText {
    /// It is published; no further rule is tried.
    Allow,
    /// It is not.
    Deny,
    /// What was found is blotted out.
    Mask,
}

const fn yes() -> bool {
    true
}

const fn three() -> u32 {
    3
}

const fn ten() -> u32 {
    10
}

const fn thirty() -> u32 {
    30
}

const fn seventy() -> u32 {
    70
}
