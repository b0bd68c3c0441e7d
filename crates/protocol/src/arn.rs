//! Amazon Resource Names of the two kinds of resource there are: rooms and logging configurations.

use std::fmt;

use crate::id::Id;

/// Partition and service: the beginning of every ARN of ours.
const PREFIX: &str = "arn:aws:ivschat:";

/// The account and region that own a resource. Every resource, page token and chat token belongs to one scope,
/// and nothing of one scope can be seen from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    /// Twelve decimal digits.
    pub account_id: Box<str>,
    /// `[a-z0-9-]+`, taken from the credential scope of the request.
    pub region: Box<str>,
}

impl Scope {
    /// Whether the ARN of a Lambda function says that the function is of this account and region.
    #[must_use]
    pub fn has_function(&self, function_arn: &str) -> bool {
        // arn:PARTITION:lambda:REGION:ACCOUNT:function:…
        let mut parts = function_arn.split(':').skip(2);
        let owner = [parts.next(), parts.next(), parts.next()];
        owner == [Some("lambda"), Some(&*self.region), Some(&*self.account_id)]
    }
}

/// What an ARN names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// `room/…`
    Room,
    /// `logging-configuration/…`
    LoggingConfiguration,
}

impl ResourceKind {
    /// The word before the slash in the last part of the ARN.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::LoggingConfiguration => "logging-configuration",
        }
    }
}

/// A well-formed ARN of this service: `arn:aws:ivschat:REGION:ACCOUNT:KIND/ID`.
///
/// Well-formed does not mean that the resource exists, nor that its id could ever exist: the model allows ids of any
/// length with hyphens, the service only hands out ids of 12 characters. [`Arn::id`] tells them apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Arn {
    scope: Scope,
    kind: ResourceKind,
    id: Box<str>,
}

impl Arn {
    /// The ARN of a resource of ours.
    #[must_use]
    pub fn new(scope: Scope, kind: ResourceKind, id: Id) -> Self {
        Self { scope, kind, id: id.as_str().into() }
    }

    /// Reads an ARN; `None` when `text` does not have the form of one (length is the caller's to check).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?;
        let (region, rest) = rest.split_once(':')?;
        let (account_id, resource) = rest.split_once(':')?;
        let (kind, id) = resource.split_once('/')?;
        let kind = match kind {
            "room" => ResourceKind::Room,
            "logging-configuration" => ResourceKind::LoggingConfiguration,
            _ => return None,
        };
        let is_region = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let valid = !region.is_empty()
            && region.bytes().all(is_region)
            && !account_id.is_empty()
            && account_id.bytes().all(|byte| byte.is_ascii_digit())
            && !id.is_empty()
            && id.bytes().all(is_id);
        valid.then(|| Self {
            scope: Scope { account_id: account_id.into(), region: region.into() },
            kind,
            id: id.into(),
        })
    }

    /// The owner named in the ARN.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Room or logging configuration.
    #[must_use]
    pub fn kind(&self) -> ResourceKind {
        self.kind
    }

    /// The id, if it is one that this service could have handed out.
    #[must_use]
    pub fn id(&self) -> Option<Id> {
        Id::parse(&self.id)
    }

    /// The id as written, whatever its form.
    #[must_use]
    pub fn id_text(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_arn(formatter, &self.scope, self.kind, &self.id)
    }
}

/// What the ARNs of all resources of a scope begin with, made once for an answer that has many of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArnStem(Box<str>);

impl ArnStem {
    /// The stem of a scope.
    #[must_use]
    pub fn new(scope: &Scope) -> Self {
        let Scope { account_id, region } = scope;
        Self([PREFIX, region, ":", account_id, ":"].concat().into())
    }

    /// `arn:aws:ivschat:REGION:ACCOUNT:`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn write_arn(formatter: &mut fmt::Formatter<'_>, scope: &Scope, kind: ResourceKind, id: &str) -> fmt::Result {
    let Scope { account_id, region } = scope;
    let parts = [PREFIX, region, ":", account_id, ":", kind.as_str(), "/", id];
    parts.into_iter().try_for_each(|part| formatter.write_str(part))
}

#[cfg(test)]
mod tests {
    use super::{Arn, ArnStem, ResourceKind, Scope};

    #[test]
    fn a_function_is_of_the_account_and_region_in_its_arn() {
        let scope = Scope { account_id: "123456789012".into(), region: "us-west-2".into() };
        let has = |region_and_account: &str| {
            scope.has_function(&format!("arn:aws:lambda:{region_and_account}:function:review:live"))
        };
        assert!(has("us-west-2:123456789012"));
        for other in ["us-west-2:123456789013", "us-west-1:123456789012", "us-west-2:", "us-west-2", ":", ""]
        {
            assert!(!has(other), "{other}");
        }
        assert!(
            !scope.has_function("") && !scope.has_function("arn:aws:s3:us-west-2:123456789012:function:f")
        );
    }

    #[test]
    fn an_arn_is_read_and_written_back() {
        for text in [
            "arn:aws:ivschat:us-west-2:123456789012:room/g1H2I3j4k5L6",
            "arn:aws:ivschat:eu-west-1:1:logging-configuration/a-b",
        ] {
            assert_eq!(Arn::parse(text).map(|arn| arn.to_string()).as_deref(), Some(text));
        }
        let text = "arn:aws:ivschat:us-west-2:123456789012:room/g1H2I3j4k5L6";
        let stem = Arn::parse(text).map(|arn| ArnStem::new(arn.scope()));
        assert_eq!(stem.as_ref().map(ArnStem::as_str), text.strip_suffix("room/g1H2I3j4k5L6"));
        let arn = Arn::parse("arn:aws:ivschat:x:1:room/short").map(|arn| (arn.kind(), arn.id()));
        assert_eq!(arn, Some((ResourceKind::Room, None)));
    }

    #[test]
    fn what_is_not_an_arn_of_ours_is_refused() {
        for text in [
            "",
            "g1H2I3j4k5L6",
            "arn:aws:ivschat:us-west-2:123456789012:room/",
            "arn:aws:ivschat:us-west-2:123456789012:room/a\n",
            "arn:aws:ivschat:us-west-2:123456789012:room/a b",
            "arn:aws:ivschat:US:123456789012:room/a",
            "arn:aws:ivschat::123456789012:room/a",
            "arn:aws:ivschat:us-west-2:12x:room/a",
            "arn:aws:ivschat:us-west-2::room/a",
            "arn:aws:ivs:us-west-2:123456789012:room/a",
            "arn:aws:ivschat:us-west-2:123456789012:channel/a",
            "arn:aws:ivschat:us-west-2:123456789012:room/a/b",
        ] {
            assert_eq!(Arn::parse(text), None, "{text:?}");
        }
    }
}
