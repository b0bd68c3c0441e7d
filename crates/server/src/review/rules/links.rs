//! Addresses of web pages, as readers see them in running text.
//!
//! An address that may be named says nothing about what stands behind its host: whatever is an address there is found, too.
//! The time is linear: no part of a text is read again after an address in it was found.

use std::ops::Range;

use regex::{Captures, Regex};

use super::Spans;
use super::shown::Shown;

/// With a scheme or `www.`, any host, and what a browser would send there; without, a host whose last part is a well-known
/// one. There is no space between words in some languages, so letters of those end a host.
const LINK: &str = r"(?xi)
    https?:[/\\]{2} ( [^\s<>/?\#\\]* )
  | (?-u:\b) ( www\. [^\s<>/?\#\\]+ )
  | ( (?: [\p{L}\p{N}] [\p{L}\p{M}\p{N}-]* [.\u{3002}\u{ff0e}\u{ff61}] )+
      (?: com|net|org|info|biz|io|gg|tv|me|co|xyz|app|dev|link|live|shop|site|online|top|club|store|ly|be
        | ai|bet|buzz|cc|gd|gl|icu|ie|mobi|vip|ws | ar|cl|gr|hk|hu|lt|lv|nz|ph|ro|sg|sk|tw|ua|vn|za ENDINGS
        | us|uk|ca|au|in|jp|cn|ru|de|fr|nl|it|es|pt|pl|br|mx|eu|ch|at|se|no|fi|dk|cz|tr|kr
        | xn--[a-z0-9-]+ | рф|рус|москва|онлайн|сайт|дети|орг|укр|бел|срб|қаз|бг|мкд|мон | ελ|ευ
        | 中国|中國|公司|网络|網絡|网址|在线|香港|台湾|台灣 | みんな|コム | 한국|닷컴 | ไทย | भारत
        | السعودية|امارات|مصر|ایران|شبكة | קום ) )
    (?: \z | [^\p{Alphabetic}\p{M}\p{N}_] | [\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}] )";

/// An address has one of these, or a scheme.
const DOTS: [char; 4] = ['.', '\u{3002}', '\u{ff0e}', '\u{ff61}'];
/// Right behind a host these are none of it, but of the sentence.
const ENDS_SENTENCE: [char; 17] = [
    '.', ',', ';', ':', '!', '?', '\'', '"', ')', ']', '}', '*', '_', '\u{201d}', '\u{2019}', '\u{bb}',
    '\u{2026}',
];
/// Behind these in the path of an address another one may begin that has neither scheme nor `www.`.
const SEPARATES: [char; 11] = [',', ';', '|', '(', ')', '[', ']', '{', '}', '"', '\''];

/// See the module; what is looked at is what a text looks like.
pub(super) struct Links {
    pattern: Regex,
    /// Hosts that may be named, in lower case.
    except: Vec<String>,
}

/// An address in a text.
struct Link<'a> {
    start: usize,
    /// What a browser would connect to, with whatever it would not (a user, a port).
    authority: &'a str,
    authority_end: usize,
    end: usize,
    is_bare: bool,
}

impl Links {
    pub(super) fn new(except: &[String], endings: &[String]) -> Result<Self, String> {
        let is_of_host = |character: char| character.is_alphanumeric() || character == '-';
        if let Some(wrong) =
            endings.iter().find(|ending| ending.is_empty() || !ending.chars().all(is_of_host))
        {
            return Err(format!("`endings` has {wrong:?}: they are written in letters, digits and hyphens"));
        }
        let endings: String = endings.iter().map(|ending| format!("| {}", regex::escape(ending))).collect();
        let pattern = LINK.replace("ENDINGS", &endings);
        let pattern = Regex::new(&pattern).map_err(|error| error.to_string())?;
        Ok(Self { pattern, except: except.iter().map(|host| host.to_lowercase()).collect() })
    }

    pub(super) fn find(&self, shown: &Shown<'_>, wants_all: bool) -> Spans {
        let content = shown.text();
        let mut spans = Spans::new();
        if !content.contains(DOTS) && !content.contains(':') {
            return spans;
        }
        let (mut at, mut path) = (0, 0..0);
        while let Some(link) =
            self.pattern.captures_at(content, at).and_then(|found| Link::of(content, &found))
        {
            at = link.authority_end;
            if link.is_of_path(content, &path) {
                continue;
            }
            if self.is_excepted(link.authority) && shown.is_as_written(link.start..link.end) {
                path = link.authority_end..link.end;
                continue;
            }
            at = link.end;
            spans.push(shown.origin(link.start..link.end));
            if !wants_all {
                break;
            }
        }
        spans
    }

    fn is_excepted(&self, authority: &str) -> bool {
        // What stands before an `@` is no host, though it may look like one.
        let host = authority.rsplit('@').next().unwrap_or_default();
        let host = host.split(':').next().unwrap_or_default().trim_end_matches(ENDS_SENTENCE).to_lowercase();
        // Browsers take other characters for others yet, and what they make of them may be anybody's host.
        let is_of_host = |character: char| character.is_alphanumeric() || "-._".contains(character);
        let is_below = |excepted: &String| {
            host.strip_suffix(excepted.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        host.chars().all(is_of_host) && self.except.iter().any(is_below)
    }
}

impl<'a> Link<'a> {
    fn of(content: &'a str, found: &Captures<'a>) -> Option<Self> {
        let start = found.get(0)?.start();
        let bare = found.get(3);
        let authority = bare.or_else(|| found.get(1)).or_else(|| found.get(2))?;
        let rest = &content[authority.end()..];
        let goes_on = bare.is_none() || rest.starts_with(['/', '?', '#', ':']);
        let is_end = |character: char| character.is_whitespace() || matches!(character, '<' | '>');
        let length = if goes_on { rest.find(is_end).unwrap_or(rest.len()) } else { 0 };
        Some(Self {
            start,
            authority: authority.as_str(),
            authority_end: authority.end(),
            end: authority.end() + length,
            is_bare: bare.is_some(),
        })
    }

    /// Whether this is no address, but looks like one in the path of the address before: `/readme.it`.
    fn is_of_path(&self, content: &str, path: &Range<usize>) -> bool {
        self.is_bare && path.contains(&self.start) && !content[..self.start].ends_with(SEPARATES)
    }
}
