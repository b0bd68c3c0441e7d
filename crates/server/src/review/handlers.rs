//! The file of handlers: which ARNs are not functions, and what they are instead.
//!
//! A file of its own, since it may be long, and is written by whoever cares for the chat rather than for the server. It is
//! read once, at the start; whatever is wrong in it is told with the ARN it is about. No error quotes a secret.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

use hyper::Uri;
use protocol::limit::review::HANDLERS_MAX;
use protocol::sigv4::SecretKey;
use serde::Deserialize;

use super::ReviewHandler;
use super::rules::{RuleText, Rules};
use super::webhook::Webhook;
use crate::outgoing::Caller;

/// Why the file cannot be used: one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlersFileError(String);

impl fmt::Display for HandlersFileError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for HandlersFileError {}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    handlers: BTreeMap<Box<str>, HandlerText>,
}

/// What a handler is, as it is written.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum HandlerText {
    Rules { rules: Vec<RuleText> },
    Webhook { url: String, secret: Option<SecretText>, secret_file: Option<PathBuf> },
}

/// A secret as it is written. It is read as whatever it is, since an error of the parser about a wrong kind would quote it.
#[derive(Deserialize)]
#[serde(transparent)]
struct SecretText(toml::Value);

impl SecretText {
    fn into_text(self) -> Result<String, String> {
        match self.0 {
            toml::Value::String(text) => Ok(text),
            _ => Err("`secret` is no text: it needs quotation marks".to_owned()),
        }
    }
}

/// Reads the file, and whatever files it names: paths are from where it is.
pub(super) fn load(
    file: &Path,
    caller: &Caller,
) -> Result<HashMap<Box<str>, ReviewHandler>, HandlersFileError> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| {
        HandlersFileError(format!("cannot read {shown} (`review.handlers_file`): {error}"))
    })?;
    let folder = file.parent().unwrap_or(Path::new("."));
    parse(&text, folder, caller).map_err(|reason| HandlersFileError(format!("cannot use {shown}: {reason}")))
}

fn parse(text: &str, folder: &Path, caller: &Caller) -> Result<HashMap<Box<str>, ReviewHandler>, String> {
    let file: File = toml::from_str(text).map_err(|error| {
        // The whole error would quote the line, and with it perhaps a secret.
        let start = error.span().map_or(0, |span| span.start);
        let line = text.get(..start).unwrap_or_default().lines().count().max(1);
        format!("{} (near line {line})", error.message())
    })?;
    if file.handlers.len() > HANDLERS_MAX {
        return Err(format!("it has more than {HANDLERS_MAX} handlers"));
    }
    let handler = |(arn, text): (Box<str>, HandlerText)| {
        let handler = make(text, folder, caller).map_err(|reason| format!("{arn}: {reason}"))?;
        Ok((arn, handler))
    };
    file.handlers.into_iter().map(handler).collect()
}

fn make(text: HandlerText, folder: &Path, caller: &Caller) -> Result<ReviewHandler, String> {
    match text {
        HandlerText::Rules { rules } => {
            Ok(ReviewHandler::Rules(Box::new(Rules::new(&rules, folder).map_err(|error| error.to_string())?)))
        }
        HandlerText::Webhook { url, secret, secret_file } => {
            let secret = match (secret, secret_file) {
                (Some(secret), None) => secret.into_text()?,
                (None, Some(file)) => {
                    let file = folder.join(file);
                    let text = std::fs::read_to_string(&file);
                    text.map_err(|error| format!("cannot read {}: {error}", file.display()))?
                        .trim()
                        .to_owned()
                }
                _ => return Err("it needs `secret` or `secret_file`, and one of them only".to_owned()),
            };
            if secret.is_empty() {
                return Err("its secret is empty".to_owned());
            }
            let uri: Uri = url.parse().map_err(|_| "`url` is no address".to_owned())?;
            if !matches!(uri.scheme_str(), Some("http" | "https")) {
                return Err("`url` must begin with http:// or https://".to_owned());
            }
            Ok(ReviewHandler::Webhook(Webhook {
                uri,
                secret: SecretKey::new(secret),
                caller: caller.clone(),
            }))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::path::Path;

    use super::parse;
    use crate::outgoing::{Caller, Trust};

    fn problem(text: &str) -> String {
        let caller = Caller::new(Trust::from_variables(|_| None));
        let text = format!("[handlers.\"arn:x\"]\n{text}");
        parse(&text, Path::new("."), &caller).err().unwrap_or_default()
    }

    #[test]
    fn what_is_right_is_taken() {
        assert_eq!(problem("kind = \"webhook\"\nurl = \"https://example.com/review\"\nsecret = \"s\""), "");
        let rules = "kind = \"rules\"\n[[handlers.\"arn:x\".rules]]\nmatch = \"links\"\naction = \"mask\"\n";
        assert_eq!(problem(rules), "");
    }

    #[test]
    fn what_is_wrong_is_told_without_quoting_a_secret() {
        for (text, expected) in [
            ("kind = \"magic\"\nsecret = \"hunter2\"", "unknown variant `magic`"),
            ("kind = \"webhook\"\nsecret = \"hunter2\"", "missing field `url`"),
            ("kind = \"webhook\"\nurl = \"https://x\"", "arn:x: it needs `secret` or `secret_file`"),
            ("kind = \"webhook\"\nurl = \"ftp://x\"\nsecret = \"hunter2\"", "must begin with http"),
            ("kind = \"webhook\"\nurl = \"https://x\"\nsecret = 20231123", "arn:x: `secret` is no text"),
            ("kind = \"webhook\"\nurl = \"https://x\"\nsecret = [\"hunter2\"]", "arn:x: `secret` is no text"),
            ("kind = \"webhook\"\nurl = \"https://x\"\nsecret = hunter2", "near line 4"),
            (
                "kind = \"webhook\"\nurl = \"http://x\"\nsecret = \"hunter2\"\nsecrets = 1",
                "unknown field `secrets`",
            ),
            (
                "kind = \"rules\"\nrules = [{match = \"patterns\", patterns = [\"(\"], action = \"deny\"}]",
                "arn:x: rule 1",
            ),
            ("kind = \"rules\"\nrules = [{match = \"words\", action = \"deny\"}]", "arn:x: rule 1"),
            (
                "kind = \"rules\"\nrules = [{match = \"links\", action = \"deny\", times = 3}]",
                "unknown field `times`",
            ),
        ] {
            let told = problem(text);
            let is_quoted = told.contains("hunter2") || told.contains("20231123");
            assert!(told.contains(expected) && !is_quoted, "{told}");
        }
    }
}
