//! Rules as they are written in the file of handlers.

use std::path::PathBuf;

use serde::Deserialize;

/// One rule.
#[derive(Clone, Debug, Deserialize)]
pub struct RuleText {
    /// What it looks for.
    #[serde(flatten)]
    pub(super) matches: MatchText,
    /// What becomes of a message in which it finds that.
    pub(super) action: ActionText,
    /// What a sender is told whose message is denied.
    pub(super) reason: Option<String>,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ActionText {
    Allow,
    Deny,
    Mask,
}

/// What a rule looks for.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "match", rename_all = "lowercase")]
pub(super) enum MatchText {
    /// Any of some terms, however they are written.
    Words {
        #[serde(default)]
        terms: Vec<String>,
        /// A term on each line; lines with `#` are comments.
        file: Option<PathBuf>,
        /// Not within longer words.
        #[serde(default = "yes")]
        whole_words: bool,
    },
    /// Any of some regular expressions, without regard to case.
    Patterns {
        patterns: Vec<String>,
        #[serde(default)]
        case_sensitive: bool,
    },
    /// Addresses of web pages, but for those of some hosts and what is below them.
    Links {
        #[serde(default)]
        except: Vec<String>,
    },
    /// So many percent of the letters in capitals, in messages with so many letters.
    Caps {
        #[serde(default = "seventy")]
        percent: u32,
        #[serde(default = "ten")]
        letters_min: u32,
    },
    /// One character, or one word, so many times in a row.
    Repeats {
        #[serde(default = "ten")]
        times: u32,
    },
    /// The same message so many times within some time.
    Flood {
        #[serde(default = "three")]
        times: u32,
        #[serde(default = "thirty")]
        within_s: u32,
        /// Whoever sends it; otherwise those of one user are counted.
        #[serde(default)]
        of_everybody: bool,
    },
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
