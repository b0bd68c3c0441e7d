//! The keys that requests to the control plane are signed with.
//!
//! There is one pair so far, of the root user. It comes from the settings (`root.*`), or else from the file
//! `root-credentials.json` in the data dir, or else it is made now and kept there. Promises:
//!
//! - A pair that was shown to the user is on disk (fsynced), unless the store itself keeps nothing.
//! - The file can be read by its owner only; one that others can read is refused rather than used.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::sigv4::{Credential, SecretKey};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::config::{Config, StoreUrl};

const FILE_NAME: &str = "root-credentials.json";
/// A file of ours has about 120 bytes; a longer one is none of ours.
const FILE_BYTES_MAX: u64 = 4_096;

/// Who may sign requests: so far the root user only, who may do everything.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The root user's pair of keys.
    pub root: Credential,
}

impl Credentials {
    /// The credential of an access key.
    #[must_use]
    pub fn find(&self, access_key_id: &str) -> Option<&Credential> {
        Some(&self.root).filter(|root| &*root.access_key_id == access_key_id)
    }
}

/// The credentials to start with.
#[derive(Clone, Debug)]
pub struct FirstCredentials {
    /// All there are.
    pub credentials: Credentials,
    /// The pair, if it was made just now: to be shown once, with [`welcome`].
    pub made: Option<Credential>,
}

/// Why there are no credentials to start with.
#[derive(Debug)]
pub enum CredentialsError {
    /// The file, or its folder, cannot be read or written.
    File(PathBuf, io::Error),
    /// Others than the owner may read the file: its mode.
    Exposed(PathBuf, u32),
    /// The file holds no pair of keys.
    Malformed(PathBuf),
    /// The operating system gave no random numbers.
    NoRandomness(getrandom::Error),
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => {
                write!(formatter, "cannot keep credentials in {}: {error}", path.display())
            }
            Self::Exposed(path, mode) => {
                let path = path.display();
                write!(formatter, "{path} can be read by others (mode {mode:04o}); run: chmod 600 '{path}'")
            }
            Self::Malformed(path) => {
                write!(formatter, "{} holds no access_key_id and secret_access_key", path.display())
            }
            Self::NoRandomness(error) => {
                write!(formatter, "no random numbers to make credentials of: {error}")
            }
        }
    }
}

impl std::error::Error for CredentialsError {}

/// Finds the first credentials, or makes them. With a store that keeps nothing, a pair that is made is kept nowhere
/// either, and no data dir is needed.
///
/// # Errors
/// See [`CredentialsError`].
pub fn open(config: &Config) -> Result<FirstCredentials, CredentialsError> {
    let set = config.root.access_key_id.clone().zip(config.root.secret_access_key.clone());
    let path = config.data_dir.join(FILE_NAME);
    let ((access_key_id, secret_key), is_new) = match (set, &config.store.url) {
        (Some(pair), _) => (pair, false),
        (None, StoreUrl::Memory) => (make_pair()?, true),
        (None, StoreUrl::DataDir | StoreUrl::Postgres(_)) => match read_pair(&path)? {
            Some(pair) => (pair, false),
            None => {
                let pair = make_pair()?;
                write_pair(&config.data_dir, &path, &pair)
                    .map_err(|error| CredentialsError::File(path, error))?;
                (pair, true)
            }
        },
    };
    let root = Credential { access_key_id, secret_key, account_id: config.account_id.clone() };
    let made = is_new.then(|| root.clone());
    Ok(FirstCredentials { credentials: Credentials { root }, made })
}

type Pair = (Box<str>, SecretKey);

/// As AWS's: 20 capitals and digits that begin with `AKIA`, and 40 characters of base64.
fn make_pair() -> Result<Pair, CredentialsError> {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut random = Zeroizing::new([0; 46]);
    getrandom::fill(random.as_mut()).map_err(CredentialsError::NoRandomness)?;
    let (for_id, for_secret) = random.split_at(16);
    let id = for_id.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
    let id: String = "AKIA".chars().chain(id).collect();
    Ok((id.into(), SecretKey::new(STANDARD.encode(for_secret))))
}

/// `None` when there is no such file.
fn read_pair(path: &Path) -> Result<Option<Pair>, CredentialsError> {
    let failed = |error| CredentialsError::File(path.to_owned(), error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // Of the file that is open, not of the name: the two may differ a moment later.
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(CredentialsError::Exposed(path.to_owned(), mode));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    let member = |value: &Value, name: &str| {
        value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(Box::from)
    };
    let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let pair: Option<(Box<str>, Box<str>)> =
        member(&value, "access_key_id").zip(member(&value, "secret_access_key"));
    let (id, secret) = pair.ok_or_else(|| CredentialsError::Malformed(path.to_owned()))?;
    Ok(Some((id, SecretKey::new(secret))))
}

/// Writes the file under another name first, so that it is there as a whole or not at all.
fn write_pair(folder: &Path, path: &Path, (id, secret): &Pair) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let unfinished = path.with_extension("json.unfinished");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let pair = json!({ "access_key_id": id, "secret_access_key": secret.expose() });
    let text = Zeroizing::new(format!("{pair:#}\n"));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    // The name is on disk only with its folder.
    File::open(folder)?.sync_all()
}

/// What the user is shown once: the pair, as commands to paste.
#[must_use]
pub fn welcome(credential: &Credential, api_url: &str) -> String {
    let Credential { access_key_id, secret_key, .. } = credential;
    let secret = secret_key.expose();
    // Python's tools read the region from AWS_DEFAULT_REGION only, the other SDKs from AWS_REGION. A session token that a
    // login has left behind would be sent along with this pair, to which it does not belong.
    format!(
        "\
This is the first start, so here is a pair of keys. The secret is not shown again. To use it, paste:

  export AWS_ACCESS_KEY_ID='{access_key_id}'
  export AWS_SECRET_ACCESS_KEY='{secret}'
  unset AWS_SESSION_TOKEN
  export AWS_REGION=us-west-2 AWS_DEFAULT_REGION=us-west-2
  export AWS_ENDPOINT_URL_IVSCHAT='{api_url}'
  aws ivschat create-room --name hello
"
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::{CredentialsError, FILE_NAME, FirstCredentials, open, welcome};
    use crate::config::{Config, Sources, load};

    fn config(folder: &Path, more: &[(&str, &str)]) -> Config {
        let mut variables = vec![("GRANDSTAND_DATA_DIR".to_owned(), folder.to_str().unwrap().to_owned())];
        variables.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        load(&Sources { variables, ..Sources::default() }).unwrap().config
    }

    #[test]
    fn the_first_start_makes_a_pair_and_the_second_finds_it() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder.path().join("a/b"), &[]);
        let made = open(&config).unwrap().made.unwrap();
        assert!(made.access_key_id.len() == 20 && made.access_key_id.starts_with("AKIA"));
        assert_eq!(made.secret_key.expose().len(), 40);

        let mode = fs::metadata(config.data_dir.join(FILE_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let names: Vec<_> =
            fs::read_dir(&config.data_dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [FILE_NAME]);

        let FirstCredentials { credentials, made: second } = open(&config).unwrap();
        assert!(second.is_none(), "shown once only");
        let found = credentials.find(&made.access_key_id).unwrap();
        assert_eq!(found.secret_key.expose(), made.secret_key.expose());
        assert_eq!(&*found.account_id, "123456789012");
        assert!(credentials.find("AKIA").is_none());
    }

    #[test]
    fn pairs_differ() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), &[("GRANDSTAND_STORE_URL", "memory:")]);
        let [first, second] = [(), ()].map(|()| open(&config).unwrap().made.unwrap());
        assert_ne!(first.access_key_id, second.access_key_id);
        assert_ne!(first.secret_key.expose(), second.secret_key.expose());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is kept");
    }

    #[test]
    fn settings_are_stronger_than_the_file() {
        let folder = tempfile::tempdir().unwrap();
        open(&config(folder.path(), &[])).unwrap();
        let root =
            [("GRANDSTAND_ROOT_ACCESS_KEY_ID", "AKID"), ("GRANDSTAND_ROOT_SECRET_ACCESS_KEY", "secret")];
        let FirstCredentials { credentials, made } = open(&config(folder.path(), &root)).unwrap();
        assert!(made.is_none());
        assert_eq!(credentials.find("AKID").unwrap().secret_key.expose(), "secret");
    }

    #[test]
    fn a_file_that_others_can_read_or_that_holds_no_pair_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), &[]);
        let path = folder.path().join(FILE_NAME);
        for text in ["", "{}", "[]", "{\"access_key_id\":\"a\",\"secret_access_key\":\"\"}", "\u{0}"] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(open(&config), Err(CredentialsError::Malformed(_))), "{text:?}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let error = open(&config).unwrap_err();
        assert!(matches!(error, CredentialsError::Exposed(_, 0o640)));
        assert!(error.to_string().contains("(mode 0640); run: chmod 600"), "{error}");
    }

    #[test]
    fn the_pair_is_shown_as_commands_and_hidden_in_debug() {
        let folder = tempfile::tempdir().unwrap();
        let made = open(&config(folder.path(), &[])).unwrap();
        let pair = made.made.as_ref().unwrap();
        let text = welcome(pair, "http://127.0.0.1:4580");
        assert!(text.contains(&format!("export AWS_SECRET_ACCESS_KEY='{}'\n", pair.secret_key.expose())));
        assert!(text.contains("  unset AWS_SESSION_TOKEN\n"));
        assert!(text.contains("export AWS_ENDPOINT_URL_IVSCHAT='http://127.0.0.1:4580'\n"));
        assert!(!format!("{made:?}").contains(pair.secret_key.expose()));
    }
}
