//! Every error of the control plane: its AWS code, its HTTP status, its members, and how it is written.
//!
//! Promises: [`Code`] is the only table of codes and statuses; what a client reads (the public message and the
//! modelled members) never contains a secret or a cause from inside the server. The cause is kept apart, for the
//! server's own log.

use std::fmt;
use std::sync::Arc as Shared;

use serde::Serialize;

use crate::arn::Arn;
use crate::limit::control::{BODY_BYTES_MAX, FAILURES_IN_MESSAGE_MAX, HEAD_BYTES_MAX, HEADERS_MAX};
use crate::sigv4::SignatureError;

/// Which error it is, as AWS names it. "Common" are the errors that the API reference lists for all operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// The caller may not do this. Model.
    AccessDenied,
    /// The state of a resource does not allow it. Model.
    Conflict,
    /// The signature lacks a part. Common.
    IncompleteSignature,
    /// The server failed. Model.
    InternalServer,
    /// The signature is not the one this request must have, or its date is too far away. AWS's JSON services.
    InvalidSignature,
    /// The request is not the HTTP it claims to be. Common.
    MalformedHttpRequest,
    /// The request is not signed at all. AWS's JSON services.
    MissingAuthenticationToken,
    /// The account may not write yet. Model.
    PendingVerification,
    /// The body is too large. Common.
    RequestEntityTooLarge,
    /// The request line and headers are too large. Ours: named after the HTTP status.
    RequestHeaderFieldsTooLarge,
    /// The request took too long to arrive. Common.
    RequestTimeout,
    /// A resource does not exist. Model.
    ResourceNotFound,
    /// There would be too many of something. Model; 402 is no slip.
    ServiceQuotaExceeded,
    /// The server cannot answer just now. Common.
    ServiceUnavailable,
    /// Too many requests. Model.
    Throttling,
    /// No operation has this method and path. Common.
    UnknownOperation,
    /// No such access key. Common.
    UnrecognizedClient,
    /// A member is wrong, or the body is. Model.
    Validation,
}

impl Code {
    /// The name on the wire and the HTTP status: the one table of both.
    #[must_use]
    pub const fn name_and_status(self) -> (&'static str, u16) {
        match self {
            Self::AccessDenied => ("AccessDeniedException", 403),
            Self::Conflict => ("ConflictException", 409),
            // 403 and not 400: the list of common errors of this service says so.
            Self::IncompleteSignature => ("IncompleteSignatureException", 403),
            Self::InternalServer => ("InternalServerException", 500),
            Self::InvalidSignature => ("InvalidSignatureException", 403),
            Self::MalformedHttpRequest => ("MalformedHttpRequestException", 400),
            Self::MissingAuthenticationToken => ("MissingAuthenticationTokenException", 403),
            Self::PendingVerification => ("PendingVerification", 403),
            Self::RequestEntityTooLarge => ("RequestEntityTooLargeException", 413),
            Self::RequestHeaderFieldsTooLarge => ("RequestHeaderFieldsTooLargeException", 431),
            Self::RequestTimeout => ("RequestTimeoutException", 408),
            Self::ResourceNotFound => ("ResourceNotFoundException", 404),
            Self::ServiceQuotaExceeded => ("ServiceQuotaExceededException", 402),
            Self::ServiceUnavailable => ("ServiceUnavailable", 503),
            Self::Throttling => ("ThrottlingException", 429),
            Self::UnknownOperation => ("UnknownOperationException", 404),
            Self::UnrecognizedClient => ("UnrecognizedClientException", 403),
            Self::Validation => ("ValidationException", 400),
        }
    }
}

/// A request member that is wrong, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldFailure {
    /// Where it is: `name`, `destinationConfiguration.s3.bucketName`, `capabilities[2]`.
    pub name: String,
    /// What it has to be.
    pub message: String,
}

/// An error of the control plane on its way to the client.
#[derive(Clone, Debug)]
pub struct ApiError {
    code: Code,
    message: String,
    // Boxed: results carry this type through every reader of a request.
    members: Box<Members>,
    cause: Option<Shared<str>>,
}

/// The members that the model gives an error besides its message.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Members {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field_list: Option<Vec<FieldFailure>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
}

/// An error as it goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedError {
    /// HTTP status.
    pub status: u16,
    /// Value of the header `x-amzn-ErrorType`, from which SDKs take the error's name.
    pub error_type: &'static str,
    /// JSON.
    pub body: Vec<u8>,
}

#[derive(Serialize)]
struct Body<'a> {
    message: &'a str,
    #[serde(flatten)]
    members: &'a Members,
}

// The model's `ResourceType` has this single value, even for errors about logging configurations.
const RESOURCE_TYPE: &str = "ROOM";

impl ApiError {
    /// An error without members of its own: those of authentication, size and the like.
    #[must_use]
    pub fn plain(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), members: Box::default(), cause: None }
    }

    /// ValidationException for members that are wrong; names all of them.
    #[must_use]
    pub fn invalid_fields(failures: Vec<FieldFailure>) -> Self {
        let message = match failures.as_slice() {
            [only] => {
                format!("Request member: {} failed to satisfy the constraints: {}", only.name, only.message)
            }
            several => {
                let names = several.iter().map(|failure| failure.name.as_str()).take(FAILURES_IN_MESSAGE_MAX);
                let names = names.collect::<Vec<&str>>().join(", ");
                let more = several.len().saturating_sub(FAILURES_IN_MESSAGE_MAX);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!("Request members: {names}{more} failed to satisfy the constraints, see fieldList")
            }
        };
        let members = Members {
            reason: Some("FIELD_VALIDATION_FAILED"),
            field_list: Some(failures),
            ..Members::default()
        };
        Self { members: Box::new(members), ..Self::plain(Code::Validation, message) }
    }

    /// ValidationException for one member that is wrong.
    #[must_use]
    pub fn invalid_field(name: &str, message: impl Into<String>) -> Self {
        Self::invalid_fields(vec![FieldFailure { name: name.to_owned(), message: message.into() }])
    }

    /// ValidationException for a body that is no JSON object.
    #[must_use]
    pub fn invalid_body(message: impl Into<String>) -> Self {
        let members = Members { reason: Some("OTHER"), ..Members::default() };
        Self { members: Box::new(members), ..Self::plain(Code::Validation, message) }
    }

    /// ResourceNotFoundException.
    #[must_use]
    pub fn not_found(resource: &Arn) -> Self {
        Self::about(resource.id_text(), Code::ResourceNotFound, format!("Resource: {resource} not found"))
    }

    /// ConflictException.
    #[must_use]
    pub fn conflict(resource: &Arn, message: impl Into<String>) -> Self {
        Self::about(resource.id_text(), Code::Conflict, message.into())
    }

    /// ServiceQuotaExceededException: there may be `limit` and no more.
    #[must_use]
    pub fn quota_exceeded(resource_id: &str, limit: u32, message: impl Into<String>) -> Self {
        Self::about(resource_id, Code::ServiceQuotaExceeded, message.into()).with_limit(limit)
    }

    /// ThrottlingException: `limit` requests are allowed.
    #[must_use]
    pub fn throttled(resource_id: &str, limit: u32) -> Self {
        Self::about(resource_id, Code::Throttling, "Rate exceeded".to_owned()).with_limit(limit)
    }

    /// UnknownOperationException.
    #[must_use]
    pub fn unknown_operation() -> Self {
        Self::plain(Code::UnknownOperation, "No operation has this method and path")
    }

    /// RequestEntityTooLargeException.
    #[must_use]
    pub fn body_too_large() -> Self {
        let message = format!("The request body must not be longer than {BODY_BYTES_MAX} bytes");
        Self::plain(Code::RequestEntityTooLarge, message)
    }

    /// RequestHeaderFieldsTooLargeException.
    #[must_use]
    pub fn head_too_large() -> Self {
        let message = format!(
            "The request line and headers must not be longer than {HEAD_BYTES_MAX} bytes, and there must not be \
             more than {HEADERS_MAX} headers"
        );
        Self::plain(Code::RequestHeaderFieldsTooLarge, message)
    }

    /// InternalServerException; the client does not get to see the cause.
    #[must_use]
    pub fn internal(cause: impl Into<Shared<str>>) -> Self {
        let error = Self::plain(Code::InternalServer, "The server could not process the request");
        Self { cause: Some(cause.into()), ..error }
    }

    /// InternalServerException, because of a bug in here.
    #[must_use]
    pub fn panicked() -> Self {
        Self::internal("a request panicked")
    }

    /// ServiceUnavailable; the client does not get to see the cause.
    #[must_use]
    pub fn unavailable(cause: impl Into<Shared<str>>) -> Self {
        let error = Self::plain(Code::ServiceUnavailable, "The server cannot process requests at the moment");
        Self { cause: Some(cause.into()), ..error }
    }

    fn about(resource_id: &str, code: Code, message: String) -> Self {
        let members = Members {
            resource_id: Some(resource_id.to_owned()),
            resource_type: Some(RESOURCE_TYPE),
            ..Members::default()
        };
        Self { members: Box::new(members), ..Self::plain(code, message) }
    }

    fn with_limit(mut self, limit: u32) -> Self {
        self.members.limit = Some(limit);
        self
    }

    /// Which error it is.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// Why the server failed, for its own log; never for a client.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The answer on the wire.
    #[must_use]
    pub fn encode(&self) -> EncodedError {
        let (error_type, status) = self.code.name_and_status();
        // Strings and numbers only: this cannot fail, and an empty body would still be a typed error.
        let body =
            serde_json::to_vec(&Body { message: &self.message, members: &self.members }).unwrap_or_default();
        EncodedError { status, error_type, body }
    }
}

impl From<SignatureError> for ApiError {
    fn from(error: SignatureError) -> Self {
        let code = match error {
            SignatureError::MissingAuthenticationToken => Code::MissingAuthenticationToken,
            SignatureError::IncompleteSignature(_) => Code::IncompleteSignature,
            SignatureError::UnrecognizedClient => Code::UnrecognizedClient,
            SignatureError::InvalidSignature(_) => Code::InvalidSignature,
        };
        Self::plain(code, error.to_string())
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.code.name_and_status().0, self.message)
    }
}

impl std::error::Error for ApiError {}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{ApiError, Code, FieldFailure};
    use crate::arn::Arn;
    use crate::sigv4::SignatureError;

    #[track_caller]
    fn check(error: &ApiError, status: u16, error_type: &str, body: &Value) {
        let encoded = error.encode();
        assert_eq!((encoded.status, encoded.error_type), (status, error_type));
        assert_eq!(serde_json::from_slice::<Value>(&encoded.body).ok().as_ref(), Some(body));
    }

    #[test]
    fn errors_about_a_resource_name_it() {
        let Some(arn) =
            Arn::parse("arn:aws:ivschat:us-west-2:123456789012:logging-configuration/g1H2I3j4k5L6")
        else {
            panic!("an ARN");
        };
        let resource = json!({"resourceId": "g1H2I3j4k5L6", "resourceType": "ROOM"});
        let with = |more: Value| {
            let mut body = resource.clone();
            if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
                body.extend(more);
            }
            body
        };
        let message = format!("Resource: {arn} not found");
        check(
            &ApiError::not_found(&arn),
            404,
            "ResourceNotFoundException",
            &with(json!({"message": message})),
        );
        check(
            &ApiError::conflict(&arn, "In use"),
            409,
            "ConflictException",
            &with(json!({"message": "In use"})),
        );
        let quota = ApiError::quota_exceeded("g1H2I3j4k5L6", 10, "Too many");
        let body = with(json!({"message": "Too many", "limit": 10}));
        check(&quota, 402, "ServiceQuotaExceededException", &body);
        let body = with(json!({"message": "Rate exceeded", "limit": 100}));
        check(&ApiError::throttled("g1H2I3j4k5L6", 100), 429, "ThrottlingException", &body);
    }

    #[test]
    fn validation_errors_say_what_is_wrong_and_why() {
        let why = "must be an integer from 1 to 500";
        let body = json!({
            "message": format!("Request member: maximumMessageLength failed to satisfy the constraints: {why}"),
            "reason": "FIELD_VALIDATION_FAILED",
            "fieldList": [{"name": "maximumMessageLength", "message": why}],
        });
        check(&ApiError::invalid_field("maximumMessageLength", why), 400, "ValidationException", &body);

        let failures =
            ["a", "b"].map(|name| FieldFailure { name: name.to_owned(), message: "no".to_owned() });
        let body = json!({
            "message": "Request members: a, b failed to satisfy the constraints, see fieldList",
            "reason": "FIELD_VALIDATION_FAILED",
            "fieldList": [{"name": "a", "message": "no"}, {"name": "b", "message": "no"}],
        });
        check(&ApiError::invalid_fields(failures.into()), 400, "ValidationException", &body);

        let body = json!({"message": "no JSON", "reason": "OTHER"});
        check(&ApiError::invalid_body("no JSON"), 400, "ValidationException", &body);
    }

    #[test]
    fn a_cause_stays_inside() {
        for error in [ApiError::internal("disk on fire"), ApiError::unavailable("disk on fire")] {
            let encoded = error.encode();
            assert!(encoded.status >= 500);
            assert!(!String::from_utf8_lossy(&encoded.body).contains("fire"));
            assert!(!error.to_string().contains("fire"));
            assert_eq!(error.cause(), Some("disk on fire"));
        }
    }

    #[test]
    fn a_refused_signature_keeps_its_name() {
        for (error, name) in [
            (SignatureError::MissingAuthenticationToken, "MissingAuthenticationTokenException"),
            (SignatureError::IncompleteSignature("why".to_owned()), "IncompleteSignatureException"),
            (SignatureError::UnrecognizedClient, "UnrecognizedClientException"),
            (SignatureError::InvalidSignature("why".to_owned()), "InvalidSignatureException"),
        ] {
            let message = json!({"message": error.to_string()});
            check(&ApiError::from(error), 403, name, &message);
        }
    }

    #[test]
    fn each_code_has_its_status() {
        for (code, name, status) in [
            (Code::AccessDenied, "AccessDeniedException", 403),
            (Code::IncompleteSignature, "IncompleteSignatureException", 403),
            (Code::InvalidSignature, "InvalidSignatureException", 403),
            (Code::MalformedHttpRequest, "MalformedHttpRequestException", 400),
            (Code::MissingAuthenticationToken, "MissingAuthenticationTokenException", 403),
            (Code::PendingVerification, "PendingVerification", 403),
            (Code::RequestEntityTooLarge, "RequestEntityTooLargeException", 413),
            (Code::RequestHeaderFieldsTooLarge, "RequestHeaderFieldsTooLargeException", 431),
            (Code::RequestTimeout, "RequestTimeoutException", 408),
            (Code::UnknownOperation, "UnknownOperationException", 404),
            (Code::UnrecognizedClient, "UnrecognizedClientException", 403),
        ] {
            check(&ApiError::plain(code, "why"), status, name, &json!({"message": "why"}));
        }
    }
}
