//! The 17 operations of the control plane, and how a request finds its own.
//!
//! Promise: each pair of method and path belongs to at most one operation; everything else is one typed error.

use crate::error::ApiError;

/// An operation of the control plane. Chat actions over a WebSocket are not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Seals a chat token for a user of a room.
    CreateChatToken,
    /// Names a destination for chat logs.
    CreateLoggingConfiguration,
    /// Makes a room.
    CreateRoom,
    /// Removes a logging configuration that no room uses.
    DeleteLoggingConfiguration,
    /// Tells a room to hide a message.
    DeleteMessage,
    /// Removes a room.
    DeleteRoom,
    /// Closes all connections of a user in a room.
    DisconnectUser,
    /// Shows a logging configuration.
    GetLoggingConfiguration,
    /// Shows a room.
    GetRoom,
    /// Shows logging configurations, page by page.
    ListLoggingConfigurations,
    /// Shows rooms, page by page, filtered.
    ListRooms,
    /// Shows the tags of a resource.
    ListTagsForResource,
    /// Publishes an event of the application in a room.
    SendEvent,
    /// Adds or replaces tags of a resource.
    TagResource,
    /// Removes tags of a resource.
    UntagResource,
    /// Changes a logging configuration.
    UpdateLoggingConfiguration,
    /// Changes a room.
    UpdateRoom,
}

const ACTION_PREFIX: &str = "ivschat:";
const TAGS_PATH: &str = "/tags/";

impl Operation {
    /// All of them, in the order of their names.
    pub const ALL: [Self; 17] = [
        Self::CreateChatToken,
        Self::CreateLoggingConfiguration,
        Self::CreateRoom,
        Self::DeleteLoggingConfiguration,
        Self::DeleteMessage,
        Self::DeleteRoom,
        Self::DisconnectUser,
        Self::GetLoggingConfiguration,
        Self::GetRoom,
        Self::ListLoggingConfigurations,
        Self::ListRooms,
        Self::ListTagsForResource,
        Self::SendEvent,
        Self::TagResource,
        Self::UntagResource,
        Self::UpdateLoggingConfiguration,
        Self::UpdateRoom,
    ];

    /// Its place in [`Self::ALL`].
    #[must_use]
    pub const fn number(self) -> usize {
        self as usize
    }

    /// The action by which IAM policies name the operation.
    #[must_use]
    pub const fn action(self) -> &'static str {
        match self {
            Self::CreateChatToken => "ivschat:CreateChatToken",
            Self::CreateLoggingConfiguration => "ivschat:CreateLoggingConfiguration",
            Self::CreateRoom => "ivschat:CreateRoom",
            Self::DeleteLoggingConfiguration => "ivschat:DeleteLoggingConfiguration",
            Self::DeleteMessage => "ivschat:DeleteMessage",
            Self::DeleteRoom => "ivschat:DeleteRoom",
            Self::DisconnectUser => "ivschat:DisconnectUser",
            Self::GetLoggingConfiguration => "ivschat:GetLoggingConfiguration",
            Self::GetRoom => "ivschat:GetRoom",
            Self::ListLoggingConfigurations => "ivschat:ListLoggingConfigurations",
            Self::ListRooms => "ivschat:ListRooms",
            Self::ListTagsForResource => "ivschat:ListTagsForResource",
            Self::SendEvent => "ivschat:SendEvent",
            Self::TagResource => "ivschat:TagResource",
            Self::UntagResource => "ivschat:UntagResource",
            Self::UpdateLoggingConfiguration => "ivschat:UpdateLoggingConfiguration",
            Self::UpdateRoom => "ivschat:UpdateRoom",
        }
    }

    /// The operation's own name: its path without the slash, tag operations aside.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.action().strip_prefix(ACTION_PREFIX).unwrap_or_default()
    }

    /// Whether it only shows what there is.
    #[must_use]
    pub const fn is_read_only(self) -> bool {
        matches!(
            self,
            Self::GetLoggingConfiguration
                | Self::GetRoom
                | Self::ListLoggingConfigurations
                | Self::ListRooms
                | Self::ListTagsForResource
        )
    }

    /// The HTTP status of an answer that is not an error. Model: 204 for the two that delete a resource.
    #[must_use]
    pub const fn success_status(self) -> u16 {
        match self {
            Self::DeleteLoggingConfiguration | Self::DeleteRoom => 204,
            _ => 200,
        }
    }
}

/// What a method and a path ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The operation.
    pub operation: Operation,
    /// The ARN in the path of a tag operation, decoded; not checked yet. `None` for all others.
    pub resource_arn: Option<String>,
}

impl Route {
    /// Finds the operation for a method and the path as it came over the wire (still percent-encoded).
    ///
    /// # Errors
    ///
    /// Anything that is no operation is an UnknownOperationException (404), as in the list of common errors of the
    /// service's API reference. The model's ValidationException has a reason `UNKNOWN_OPERATION` as well, but AWS's
    /// JSON front ends answer before a service could give it, and clients that probe for an operation look for 404.
    pub fn find(method: &str, raw_path: &str) -> Result<Self, ApiError> {
        if let Some(raw_arn) = raw_path.strip_prefix(TAGS_PATH) {
            let operation = match method {
                "GET" => Operation::ListTagsForResource,
                "POST" => Operation::TagResource,
                "DELETE" => Operation::UntagResource,
                _ => return Err(ApiError::unknown_operation()),
            };
            // What cannot be decoded keeps its `%`, which no ARN may have, so it fails as the member `resourceArn`.
            let arn = percent_decode(raw_arn).unwrap_or_else(|| raw_arn.to_owned());
            return Ok(Self { operation, resource_arn: Some(arn) });
        }
        let name = raw_path.strip_prefix('/').filter(|_| method == "POST");
        Operation::ALL
            .into_iter()
            .filter(|operation| !operation.has_resource_in_path())
            .find(|operation| name == Some(operation.name()))
            .map(|operation| Self { operation, resource_arn: None })
            .ok_or_else(ApiError::unknown_operation)
    }
}

impl Operation {
    const fn has_resource_in_path(self) -> bool {
        matches!(self, Self::ListTagsForResource | Self::TagResource | Self::UntagResource)
    }
}

/// Decodes `%XX`; `None` when an escape is broken or the result is no UTF-8. A plus is a plus: AWS's clients write a
/// space as `%20`.
#[must_use]
pub fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' { digit(bytes.next())? << 4 | digit(bytes.next())? } else { byte });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::{Operation, Route, percent_decode};

    #[test]
    fn each_operation_is_found_by_its_path() {
        for operation in Operation::ALL {
            let found = Route::find("POST", &format!("/{}", operation.name())).ok();
            if operation.has_resource_in_path() {
                assert_eq!(found, None, "{operation:?} lives under /tags");
            } else {
                assert_eq!(found, Some(Route { operation, resource_arn: None }));
            }
            assert_eq!(operation.action(), format!("ivschat:{operation:?}"));
        }
    }

    #[test]
    fn each_operation_has_its_place_among_all() {
        assert_eq!(Operation::ALL.map(Operation::number), std::array::from_fn(|index| index));
    }

    #[test]
    fn tag_operations_are_told_apart_by_method_and_carry_the_decoded_arn() {
        for (method, operation) in [
            ("GET", Operation::ListTagsForResource),
            ("POST", Operation::TagResource),
            ("DELETE", Operation::UntagResource),
        ] {
            for path in
                ["/tags/arn%3Aaws%3Aivschat%3Ax%3A1%3Aroom%2Fabc", "/tags/arn:aws:ivschat:x:1:room/abc"]
            {
                let arn = Some("arn:aws:ivschat:x:1:room/abc".to_owned());
                assert_eq!(Route::find(method, path).ok(), Some(Route { operation, resource_arn: arn }));
            }
        }
        let broken = Route::find("GET", "/tags/arn%3").ok().and_then(|route| route.resource_arn);
        assert_eq!(broken.as_deref(), Some("arn%3"));
    }

    #[test]
    fn everything_else_is_an_unknown_operation() {
        for (method, path) in [
            ("GET", "/CreateRoom"),
            ("PUT", "/CreateRoom"),
            ("post", "/CreateRoom"),
            ("POST", "/createroom"),
            ("POST", "/CreateRoom/"),
            ("POST", "//CreateRoom"),
            ("POST", "CreateRoom"),
            ("POST", "/"),
            ("POST", ""),
            ("POST", "/TagResource"),
            ("PUT", "/tags/x"),
            ("GET", "/tags"),
        ] {
            let error = Route::find(method, path).err().map(|error| error.encode());
            let error = error.map(|answer| (answer.status, answer.error_type));
            assert_eq!(error, Some((404, "UnknownOperationException")), "{method} {path}");
        }
    }

    #[test]
    fn percent_escapes_are_decoded_or_refused() {
        assert_eq!(percent_decode("a%2Fb%2fc+%C3%A4").as_deref(), Some("a/b/c+ä"));
        for text in ["%", "%2", "%zz", "%+1", "%ff", "a%"] {
            assert_eq!(percent_decode(text), None, "{text:?}");
        }
    }
}
