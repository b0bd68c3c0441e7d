//! Credentials of a profile in the shared files, `~/.aws/credentials` and `~/.aws/config`.

use std::collections::HashMap;

use tokio::process::Command;

use super::{AwsSettings, Identity, document, role};
use crate::outgoing::Caller;

/// Profiles that lead to each other, one source after the other.
const SOURCES_MAX: usize = 4;

/// The settings of one profile.
type Profile = HashMap<String, String>;

/// Credentials of the profile that is in use; `None` when it has none.
pub(super) async fn from_shared_files(
    settings: &AwsSettings,
    caller: &Caller,
) -> Result<Option<Identity>, String> {
    let profiles = read_files(settings).await;
    let name = settings.get("AWS_PROFILE").unwrap_or("default");
    let Some(first) = profiles.get(name) else { return Ok(None) };
    // From the profile in use to the one that has credentials of its own; each but the last is a role.
    let mut roles = Vec::new();
    let mut profile = first;
    let mut identity = loop {
        let Some(role_arn) = profile.get("role_arn") else { break own(profile).await? };
        if let Some(file) = profile.get("web_identity_token_file") {
            break role::with_web_identity(settings, caller, role_arn, file.as_ref()).await.map(Some)?;
        }
        let source = profile.get("source_profile").ok_or("a role has no source_profile")?;
        roles.push(role_arn);
        if roles.len() > SOURCES_MAX {
            return Err("its profiles lead to each other too often".to_owned());
        }
        let next = profiles.get(source).ok_or("there is no profile of the name in source_profile")?;
        if std::ptr::eq(next, profile) {
            break own(profile).await?;
        }
        profile = next;
    };
    for role_arn in roles.into_iter().rev() {
        let source = identity.ok_or("the profile in source_profile has no credentials")?;
        identity = Some(role::assumed(settings, caller, role_arn, &source).await?);
    }
    Ok(identity)
}

/// What a profile has without any other.
async fn own(profile: &Profile) -> Result<Option<Identity>, String> {
    let setting = |name: &str| profile.get(name).map(String::as_str);
    if let (Some(access_key_id), Some(secret_key)) =
        (setting("aws_access_key_id"), setting("aws_secret_access_key"))
    {
        let identity = Identity::new(access_key_id, secret_key);
        return Ok(Some(identity.with_session_token(setting("aws_session_token"))));
    }
    let Some(command) = setting("credential_process") else { return Ok(None) };
    let output = Command::new("sh").arg("-c").arg(command).kill_on_drop(true).output().await;
    let output = output.map_err(|error| format!("credential_process: {error}"))?;
    if !output.status.success() {
        return Err(format!("credential_process has ended with {}", output.status));
    }
    document::read(&output.stdout).map(Some)
}

/// All profiles of both files; what the file of credentials says comes first.
async fn read_files(settings: &AwsSettings) -> HashMap<String, Profile> {
    let mut profiles = HashMap::new();
    for (variable, name) in [("AWS_CONFIG_FILE", "config"), ("AWS_SHARED_CREDENTIALS_FILE", "credentials")] {
        let Some(path) = settings.shared_file(variable, name) else { continue };
        // A file that is not there says nothing.
        if let Ok(text) = tokio::fs::read_to_string(path).await {
            parse(&text, &mut profiles);
        }
    }
    profiles
}

/// Adds what a file says: `[name]` or `[profile name]`, lines of `key = value`, comments with `#` or `;`.
fn parse(text: &str, profiles: &mut HashMap<String, Profile>) {
    let mut profile: Option<&mut Profile> = None;
    for line in text.lines() {
        let is_nested = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) || is_nested {
            continue;
        }
        if let Some(section) = line.strip_prefix('[') {
            let section = section.split(']').next().unwrap_or_default().trim();
            let name = section.strip_prefix("profile ").map_or(section, str::trim);
            profile = Some(profiles.entry(name.to_owned()).or_default());
        } else if let (Some(profile), Some((key, value))) = (&mut profile, line.split_once('=')) {
            let value = value.split(" #").next().unwrap_or_default().trim();
            profile.insert(key.trim().to_ascii_lowercase(), value.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::parse;

    #[test]
    fn profiles_are_read_from_both_files() {
        let mut profiles = HashMap::new();
        parse(
            "# ours\n[default]\nregion = us-west-2\ns3 =\n  max_queue_size = 3\n[profile work]\nrole_arn=arn:x # old\n",
            &mut profiles,
        );
        parse("[default]\naws_access_key_id = A\nAWS_SECRET_ACCESS_KEY = b=c\n", &mut profiles);
        let setting = |profile: &str, key: &str| profiles.get(profile)?.get(key).map(String::as_str);
        assert_eq!(setting("default", "region"), Some("us-west-2"));
        assert_eq!(setting("default", "aws_access_key_id"), Some("A"));
        assert_eq!(setting("default", "aws_secret_access_key"), Some("b=c"));
        assert_eq!(setting("default", "max_queue_size"), None);
        assert_eq!(setting("work", "role_arn"), Some("arn:x"));
    }
}
