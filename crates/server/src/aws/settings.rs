//! The standard settings of AWS: environment variables, as they were when the server started.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Variables by name; clones share them. `Debug` shows no value, since some are secrets.
#[derive(Clone, Default)]
pub struct AwsSettings {
    variables: Arc<HashMap<String, String>>,
}

impl AwsSettings {
    /// Those of this process. What is no text cannot be meant for us.
    #[must_use]
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self::from_variables(std::env::vars_os().filter_map(text))
    }

    /// These ones; names that are none of AWS (or say where its files are) are not kept.
    #[must_use]
    pub fn from_variables(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let is_kept = |name: &str| name.starts_with("AWS_") || name == "HOME" || name == "SSL_CERT_FILE";
        let variables = variables.into_iter().filter(|(name, value)| is_kept(name) && !value.is_empty());
        Self { variables: Arc::new(variables.collect()) }
    }

    /// A variable that is set, and not to nothing.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Whether a variable is `true`.
    #[must_use]
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// A shared file: the one that `variable` names, else `name` in `~/.aws`.
    pub(super) fn shared_file(&self, variable: &str, name: &str) -> Option<PathBuf> {
        let named = self.get(variable).map(PathBuf::from);
        named.or_else(|| Some(PathBuf::from(self.get("HOME")?).join(".aws").join(name)))
    }
}

impl fmt::Debug for AwsSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<&str> = self.variables.keys().map(String::as_str).collect();
        names.sort_unstable();
        formatter.debug_tuple("AwsSettings").field(&names).finish()
    }
}
