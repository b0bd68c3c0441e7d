//! Where settings come from, and what is said when they cannot be read.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::kind::{Kind, Raw};
use super::otlp::{ENDPOINTS, standard_variable};
use super::{Config, Setting};

/// What the name of each of our environment variables begins with.
const VARIABLE_PREFIX: &str = "GRANDSTAND_";

/// A setting that was given on the command line.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The key of the setting.
    pub key: &'static str,
    /// What was given.
    pub value: String,
}

/// Where settings come from, the strongest first. Not `Debug`, as variables may hold secrets.
#[derive(Clone, Default)]
pub struct Sources {
    /// The command line.
    pub flags: Vec<Flag>,
    /// The environment; what is none of ours is not looked at.
    pub variables: Vec<(String, String)>,
    /// The file, if there is one.
    pub file: Option<PathBuf>,
}

/// A configuration, and what the user should know about it.
#[derive(Debug)]
pub struct Loaded {
    /// Complete and in range.
    pub config: Config,
    /// One line each.
    pub warnings: Vec<String>,
}

/// Everything that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// One line each; never empty.
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the configuration cannot be used:")?;
        self.problems.iter().try_for_each(|problem| write!(formatter, "\n  {problem}"))
    }
}

impl std::error::Error for ConfigError {}

/// Reads the configuration.
///
/// # Errors
/// [`ConfigError`] names every problem there is, unless the file is not TOML at all.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let table = match &sources.file {
        Some(path) => parse_file(path).map_err(|problem| ConfigError { problems: vec![problem] })?,
        None => Table::new(),
    };
    let settings = Config::settings();
    let mut problems = Vec::new();
    find_unknown_keys(&table, "", &settings, &mut problems);
    let mut reader = Reader { sources, table: &table, reads_standard: true, problems };
    reader.reads_standard = reader.exports();
    let config = Config::read(&mut reader);
    let mut problems = reader.problems;
    problems.extend(config.iter().flat_map(Config::problems));
    match config {
        Some(config) if problems.is_empty() => {
            Ok(Loaded { config, warnings: unknown_variables(&sources.variables, &settings) })
        }
        _ => Err(ConfigError { problems }),
    }
}

fn parse_file(path: &Path) -> Result<Table, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    text.parse().map_err(|error: toml::de::Error| {
        // The whole error would quote the line, and with it perhaps a secret.
        let line =
            error.span().map_or(0, |span| text.get(..span.start).unwrap_or_default().lines().count().max(1));
        format!("{shown} is not TOML: {} (line {line})", error.message())
    })
}

/// Finds the value of each setting, and remembers what is wrong.
pub(super) struct Reader<'a> {
    sources: &'a Sources,
    table: &'a Table,
    /// Standard variables count, too. Where nothing is exported they are nobody's business here: they are often set for
    /// all programs of a machine.
    reads_standard: bool,
    problems: Vec<String>,
}

impl<'a> Reader<'a> {
    /// Reads one setting; `None` when it is wrong.
    pub(super) fn read<K: Kind>(&mut self, key: &'static str, kind: &K, default: &str) -> Option<K::Value> {
        let (raw, place) = self.raw(key).unwrap_or_else(|| (Raw::Text(default), "the defaults".to_owned()));
        let read = kind.read(raw);
        if read.is_none() {
            let hint = kind.hint(raw).map(|hint| format!(" ({hint})")).unwrap_or_default();
            self.problems.push(format!("`{key}` in {place} must be {}{hint}", kind.allowed()));
        }
        read
    }

    /// Whether anything is to be exported, as far as can be told before settings are read.
    fn exports(&self) -> bool {
        let says = |key, word: &str| {
            self.raw(key).is_some_and(|(raw, _)| match raw {
                Raw::Toml(Value::Boolean(is_on)) => is_on.to_string() == word,
                raw => raw.as_text().is_some_and(|text| text.eq_ignore_ascii_case(word)),
            })
        };
        ENDPOINTS.iter().any(|key| self.is_given(key))
            && !says("telemetry.disabled", "true")
            && !(says("telemetry.traces_exporter", "none") && says("telemetry.metrics_exporter", "none"))
    }

    /// Whether a setting has any value but the empty one.
    fn is_given(&self, key: &'static str) -> bool {
        self.raw(key).is_some_and(|(raw, _)| raw.as_text() != Some(""))
    }

    /// What a setting was given as, and where.
    fn raw(&self, key: &'static str) -> Option<(Raw<'a>, String)> {
        let Sources { flags, variables, .. } = self.sources;
        if let Some(flag) = flags.iter().rfind(|flag| flag.key == key) {
            return Some((Raw::Text(&flag.value), format!("--{}", key.replace('_', "-"))));
        }
        let own = variable_name(key);
        let standard = standard_variable(key).filter(|_| self.reads_standard);
        let in_environment = variables.iter().find(|(name, _)| *name == own).or_else(|| {
            variables.iter().find(|(name, value)| Some(&**name) == standard && !value.is_empty())
        });
        if let Some((name, value)) = in_environment {
            return Some((Raw::Text(value), name.clone()));
        }
        Some((Raw::Toml(look_up(self.table, key)?), "the file".to_owned()))
    }
}

/// The value at a dotted path.
fn look_up<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        Some((section, rest)) => look_up(table.get(section)?.as_table()?, rest),
        None => table.get(key),
    }
}

/// Each key of the file must be a setting, or a table that holds some.
fn find_unknown_keys(table: &Table, prefix: &str, settings: &[Setting], problems: &mut Vec<String>) {
    for (name, value) in table {
        let key = format!("{prefix}{name}");
        let section = format!("{key}.");
        let is_section = settings.iter().any(|setting| setting.key.starts_with(&section));
        match value {
            Value::Table(inner) if is_section => find_unknown_keys(inner, &section, settings, problems),
            _ if is_section => problems.push(format!("`{key}` in the file must be a table, `[{key}]`")),
            _ if settings.iter().any(|setting| setting.key == key) => {}
            _ => problems.push(format!("`{key}` in the file is no setting{}", suggestion(&key, settings))),
        }
    }
}

/// The environment variable of a setting.
pub(super) fn variable_name(key: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", key.to_uppercase().replace('.', "_"))
}

fn unknown_variables(variables: &[(String, String)], settings: &[Setting]) -> Vec<String> {
    let is_known = |name: &str| settings.iter().any(|setting| variable_name(setting.key) == name);
    variables
        .iter()
        .map(|(name, _)| name)
        .filter(|name| name.starts_with(VARIABLE_PREFIX) && !is_known(name))
        .map(|name| format!("the environment variable {name} is no setting and does nothing"))
        .collect()
}

/// The setting that was probably meant, if any is near.
fn suggestion(key: &str, settings: &[Setting]) -> String {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let nearest = settings
        .iter()
        .map(|setting| {
            // The right name in the wrong section is as near as a slip of the finger.
            let misplaced = if last(setting.key) == last(key) { 1 } else { usize::MAX };
            (edits(key, setting.key).min(misplaced), setting.key)
        })
        .min();
    match nearest {
        Some((distance, nearest)) if distance <= 1 + key.len() / 4 => format!("; did you mean `{nearest}`?"),
        _ => String::new(),
    }
}

/// How many letters must be added, dropped or changed to make `right` of `left`.
fn edits(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, letter) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, other) in right.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}
