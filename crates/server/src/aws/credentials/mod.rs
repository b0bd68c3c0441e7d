//! Who calls AWS: the standard chain of credential sources, in the order of the SDKs.
//!
//! 1. Environment variables (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`).
//! 2. A web identity (`AWS_WEB_IDENTITY_TOKEN_FILE` with `AWS_ROLE_ARN`), as Kubernetes gives one to its pods.
//! 3. The profile (`AWS_PROFILE`, else `default`) of the shared files: keys, `credential_process`, or a role (`role_arn` with
//!    `source_profile` or `web_identity_token_file`). Single sign-on goes by way of a `credential_process`:
//!    `aws configure export-credentials --format process`.
//! 4. A container's credentials (`AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or `…_FULL_URI`), as on ECS and EKS.
//! 5. The instance's role (IMDSv2), unless `AWS_EC2_METADATA_DISABLED=true`.
//!
//! What is found is kept until shortly before it expires, and renewed while it is still good. Looking for credentials is
//! done by one task at a time, and goes on when whoever asked has given up.

mod document;
mod profile;
mod remote;
mod role;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::sigv4::{Credential, SecretKey};
use protocol::time::Timestamp;

use super::AwsSettings;
use crate::clock;
use crate::outgoing::Caller;

/// Renewed this long before they expire, in seconds.
const RENEWED_BEFORE_SECONDS: u64 = 300;
/// Not used any more this long before they expire, in seconds: a call takes a while, and clocks differ.
const SPENT_BEFORE_SECONDS: u64 = 10;
/// After a vain look nobody looks again for this long, in seconds.
const VAIN_LOOK_SECONDS: u64 = 30;
/// How long one source may take.
const SOURCE_TIME_MAX: Duration = Duration::from_secs(10);

/// Who calls.
pub struct Identity {
    credential: Credential,
    session_token: Option<SecretKey>,
    /// `None`: never.
    expires: Option<Timestamp>,
}

impl Identity {
    fn new(access_key_id: &str, secret_key: &str) -> Self {
        // The account is AWS's business.
        let credential = Credential {
            access_key_id: access_key_id.into(),
            secret_key: SecretKey::new(secret_key),
            account_id: Box::default(),
        };
        Self { credential, session_token: None, expires: None }
    }

    fn with_session_token(self, session_token: Option<&str>) -> Self {
        Self { session_token: session_token.map(SecretKey::new), ..self }
    }

    pub(super) fn credential(&self) -> &Credential {
        &self.credential
    }

    pub(super) fn session_token(&self) -> Option<&str> {
        self.session_token.as_ref().map(SecretKey::expose)
    }

    /// How many seconds are left; many if it never expires.
    fn seconds_left(&self, now: Timestamp) -> u64 {
        self.expires.map_or(u64::MAX, |expires| expires.as_seconds().saturating_sub(now.as_seconds()))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Identity").field(&self.credential.access_key_id).finish()
    }
}

/// The result of the last look.
#[derive(Default)]
struct Held {
    identity: Option<Arc<Identity>>,
    /// Seconds of the wall clock until which nobody looks again, whatever is held; 0 before the first look.
    no_look_before: u64,
}

struct Sources {
    settings: AwsSettings,
    caller: Caller,
}

/// The credentials, looked up when needed; clones share them.
#[derive(Clone)]
pub struct CredentialCache {
    sources: Arc<Sources>,
    held: Arc<Mutex<Held>>,
    looking: Arc<tokio::sync::Mutex<()>>,
}

impl fmt::Debug for CredentialCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CredentialCache").finish_non_exhaustive()
    }
}

impl CredentialCache {
    pub(super) fn new(settings: AwsSettings, caller: Caller) -> Self {
        let sources = Arc::new(Sources { settings, caller });
        Self { sources, held: Arc::default(), looking: Arc::default() }
    }

    /// Good credentials, if any source has some. Waits for the first look only: whoever comes after one that was in vain is
    /// told so at once, and the next look goes on behind. Cancel-safe.
    pub(super) async fn get(&self) -> Option<Arc<Identity>> {
        match self.held() {
            Known::Good(identity) => Some(identity),
            Known::Ageing(identity) => {
                if self.looking.try_lock().is_ok() {
                    tokio::spawn(self.clone().look());
                }
                Some(identity)
            }
            Known::Absent { may_look } => {
                if may_look && self.looking.try_lock().is_ok() {
                    tokio::spawn(self.clone().look());
                }
                None
            }
            Known::Nothing => tokio::spawn(self.clone().look()).await.ok().flatten(),
        }
    }

    fn held(&self) -> Known {
        let now = clock::now();
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let identity = held.identity.as_ref().filter(|held| held.seconds_left(now) > SPENT_BEFORE_SECONDS);
        let may_look = now.as_seconds() >= held.no_look_before;
        match (identity, may_look) {
            (Some(identity), true) if identity.seconds_left(now) <= RENEWED_BEFORE_SECONDS => {
                Known::Ageing(Arc::clone(identity))
            }
            (Some(identity), _) => Known::Good(Arc::clone(identity)),
            (None, true) if held.no_look_before == 0 => Known::Nothing,
            (None, may_look) => Known::Absent { may_look },
        }
    }

    async fn look(self) -> Option<Arc<Identity>> {
        let _only_one = self.looking.lock().await;
        match self.held() {
            Known::Good(identity) => return Some(identity),
            Known::Absent { may_look: false } => return None,
            Known::Absent { may_look: true } | Known::Ageing(_) | Known::Nothing => {}
        }
        let found = self.sources.look().await.map(Arc::new);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.no_look_before = clock::now().as_seconds() + VAIN_LOOK_SECONDS;
        if let Some(identity) = found {
            held.identity = Some(identity);
        }
        held.identity.clone()
    }
}

/// What is known without a look.
enum Known {
    Good(Arc<Identity>),
    /// Good, and soon not any more.
    Ageing(Arc<Identity>),
    /// The last look was in vain.
    Absent {
        /// It is so long ago that another one may find something.
        may_look: bool,
    },
    /// Nobody has looked.
    Nothing,
}

impl Sources {
    /// Asks the sources in turn. One that is set up and fails is told in the log, and the next one is asked.
    async fn look(&self) -> Option<Identity> {
        if let Some(identity) = from_environment(&self.settings) {
            return Some(identity);
        }
        for source in ["web identity", "profile", "container", "instance"] {
            let asked = async {
                match source {
                    "web identity" => role::from_environment(&self.settings, &self.caller).await,
                    "profile" => profile::from_shared_files(&self.settings, &self.caller).await,
                    "container" => remote::from_container(&self.settings, &self.caller).await,
                    _ => remote::from_instance(&self.settings, &self.caller).await,
                }
            };
            let asked = tokio::time::timeout(SOURCE_TIME_MAX, Box::pin(asked));
            match asked.await.unwrap_or_else(|_elapsed| Err("it takes too long".to_owned())) {
                Ok(Some(identity)) => return Some(identity),
                Ok(None) => {}
                Err(cause) => tracing::warn!(source, %cause, "AWS credentials cannot be had from there"),
            }
        }
        None
    }
}

fn from_environment(settings: &AwsSettings) -> Option<Identity> {
    let access_key_id = settings.get("AWS_ACCESS_KEY_ID")?;
    let secret_key = settings.get("AWS_SECRET_ACCESS_KEY")?;
    let session_token = settings.get("AWS_SESSION_TOKEN");
    Some(Identity::new(access_key_id, secret_key).with_session_token(session_token))
}
