//! What a setting may be: how it is read from text or TOML, and how that is told to people.

use std::net::SocketAddr;
use std::path::PathBuf;

use protocol::sigv4::SecretKey;
use toml::Value;

use super::database::DatabaseUrl;
use super::network::TrustedProxies;

/// The value of a setting before its kind has looked at it.
#[derive(Clone, Copy)]
pub(super) enum Raw<'a> {
    /// From a flag, the environment, or a default.
    Text(&'a str),
    /// From the file.
    Toml(&'a Value),
}

impl<'a> Raw<'a> {
    /// The text, if it is one. A TOML number is none.
    pub(super) fn as_text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Toml(value) => value.as_str(),
        }
    }
}

/// A kind of value.
pub(super) trait Kind {
    /// What a setting of this kind is, once read.
    type Value;
    /// What is allowed, as it follows "must be".
    fn allowed(&self) -> String;
    /// Reads a value; `None` when it is not allowed.
    fn read(&self, raw: Raw<'_>) -> Option<Self::Value>;
    /// Why a value that was not read deserves more words than [`Kind::allowed`].
    fn hint(&self, _raw: Raw<'_>) -> Option<String> {
        None
    }
}

/// Any text but the empty one.
pub(super) struct Text {
    pub(super) what: &'static str,
}

impl Kind for Text {
    type Value = Box<str>;

    fn allowed(&self) -> String {
        self.what.to_owned()
    }

    fn read(&self, raw: Raw<'_>) -> Option<Self::Value> {
        raw.as_text().filter(|text| !text.is_empty()).map(Box::from)
    }
}

/// The path of a file or folder.
pub(super) struct FilePath;

impl Kind for FilePath {
    type Value = PathBuf;

    fn allowed(&self) -> String {
        "a path".to_owned()
    }

    fn read(&self, raw: Raw<'_>) -> Option<Self::Value> {
        raw.as_text().filter(|text| !text.is_empty()).map(PathBuf::from)
    }
}

/// The public half of a pair of keys. Without slashes, which separate the parts of a credential scope.
pub(super) struct AccessKey;

impl Kind for AccessKey {
    type Value = Box<str>;

    fn allowed(&self) -> String {
        "1 to 128 letters, digits and underscores".to_owned()
    }

    fn read(&self, raw: Raw<'_>) -> Option<Self::Value> {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_right = |text: &&str| (1..=128).contains(&text.len()) && text.bytes().all(is_letter);
        raw.as_text().filter(is_right).map(Box::from)
    }
}

/// A text that nobody else is shown.
pub(super) struct Secret;

impl Kind for Secret {
    type Value = SecretKey;

    fn allowed(&self) -> String {
        "a secret key".to_owned()
    }

    fn read(&self, raw: Raw<'_>) -> Option<Self::Value> {
        raw.as_text().filter(|text| !text.is_empty()).map(SecretKey::new)
    }
}

/// An IP address and a port.
pub(super) struct Address;

impl Kind for Address {
    type Value = SocketAddr;

    fn allowed(&self) -> String {
        "an IP address and port, such as 127.0.0.1:4580 or [::]:4580".to_owned()
    }

    fn read(&self, raw: Raw<'_>) -> Option<Self::Value> {
        raw.as_text()?.parse().ok()
    }
}

/// A fixed count of decimal digits, which is a text also where it looks like a number.
pub(super) struct Digits {
    pub(super) count: usize,
}

impl Kind for Digits {
    type Value = Box<str>;

    fn allowed(&self) -> String {
        format!("a text of {} digits", self.count)
    }

    fn read(&self, raw: Raw<'_>) -> Option<Self::Value> {
        let is_right =
            |text: &&str| text.len() == self.count && text.bytes().all(|byte| byte.is_ascii_digit());
        raw.as_text().filter(is_right).map(Box::from)
    }
}

/// A whole number within a range.
pub(super) struct Whole {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) unit: &'static str,
}

impl Kind for Whole {
    type Value = u64;

    fn allowed(&self) -> String {
        format!("a whole number of {} from {} to {}", self.unit, self.from, self.to)
    }

    fn read(&self, raw: Raw<'_>) -> Option<Self::Value> {
        let number = match raw {
            Raw::Text(text) => text.parse().ok(),
            Raw::Toml(value) => value.as_integer().and_then(|number| u64::try_from(number).ok()),
        };
        number.filter(|number| (self.from..=self.to).contains(number))
    }
}

/// One of some words, in capitals or not: OpenTelemetry wants its variables to be read so.
pub(super) struct OneOf<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy> Kind for OneOf<T> {
    type Value = T;

    fn allowed(&self) -> String {
        let words: Vec<String> = self.0.iter().map(|(word, _)| format!("`{word}`")).collect();
        format!("one of {}", words.join(", "))
    }

    fn read(&self, raw: Raw<'_>) -> Option<Self::Value> {
        let text = raw.as_text()?;
        self.0.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value)
    }
}

/// On or off.
pub(super) struct Switch;

impl Kind for Switch {
    type Value = bool;

    fn allowed(&self) -> String {
        "`true` or `false`".to_owned()
    }

    fn read(&self, raw: Raw<'_>) -> Option<Self::Value> {
        match raw {
            Raw::Text(text) => text.to_ascii_lowercase().parse().ok(),
            Raw::Toml(value) => value.as_bool(),
        }
    }
}

/// Something, or nothing where the default is empty. An empty text counts as nothing, so that an environment variable
/// can take back what the file says.
pub(super) struct Optional<K>(pub(super) K);

impl<K: Kind> Kind for Optional<K> {
    type Value = Option<K::Value>;

    fn allowed(&self) -> String {
        self.0.allowed()
    }

    fn read(&self, raw: Raw<'_>) -> Option<Self::Value> {
        if raw.as_text() == Some("") { Some(None) } else { self.0.read(raw).map(Some) }
    }
}

/// A list of addresses and networks: in TOML a list of texts, elsewhere separated by commas.
pub(super) struct Networks;

impl Kind for Networks {
    type Value = TrustedProxies;

    fn allowed(&self) -> String {
        "a list of IP addresses and networks, such as 10.0.0.0/8".to_owned()
    }

    fn read(&self, raw: Raw<'_>) -> Option<Self::Value> {
        match raw {
            Raw::Text(text) => {
                let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
                entries.map(|entry| entry.parse().ok()).collect()
            }
            Raw::Toml(value) => value.as_array()?.iter().map(|entry| entry.as_str()?.parse().ok()).collect(),
        }
    }
}

/// Where the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// In files in the data dir.
    DataDir,
    /// Nowhere.
    Memory,
    /// In a PostgreSQL database.
    Postgres(Box<DatabaseUrl>),
}

/// A `store.url`.
pub(super) struct StoreAddress;

impl Kind for StoreAddress {
    type Value = StoreUrl;

    fn allowed(&self) -> String {
        "`memory:`, `postgres://user:password@host:port/database`, or unset for files in `data_dir`"
            .to_owned()
    }

    fn read(&self, raw: Raw<'_>) -> Option<Self::Value> {
        match raw.as_text()? {
            "" => Some(StoreUrl::DataDir),
            "memory:" => Some(StoreUrl::Memory),
            text => DatabaseUrl::parse(text).ok().map(|url| StoreUrl::Postgres(Box::new(url))),
        }
    }

    fn hint(&self, raw: Raw<'_>) -> Option<String> {
        let text = raw.as_text().filter(|text| DatabaseUrl::is_meant(text))?;
        DatabaseUrl::parse(text).err().map(str::to_owned)
    }
}
