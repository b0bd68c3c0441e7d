//! The errors of the control plane, as the typed errors of the SDK.

use std::sync::Arc;

use aws_sdk_ivschat::Error;
use aws_sdk_ivschat::error::ProvideErrorMetadata;
use aws_sdk_ivschat::types::{
    ChatTokenCapability, DestinationConfiguration, ResourceType, S3DestinationConfiguration,
    ValidationExceptionReason,
};

use crate::server::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};
use crate::stage::{ACCOUNT_ID, Case, REGION, Stage};

const FROM: (&str, &str) = ("errors.rs", "aws-sdk-ivschat");
const UNKNOWN_ID: &str = "AbCdEfGh1234";

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            FROM,
            "what is unknown is a ResourceNotFoundException in every operation",
            &[
                "CreateChatToken",
                "CreateRoom",
                "DeleteLoggingConfiguration",
                "DeleteMessage",
                "DeleteRoom",
                "DisconnectUser",
                "GetLoggingConfiguration",
                "GetRoom",
                "ListRooms",
                "ListTagsForResource",
                "SendEvent",
                "TagResource",
                "UntagResource",
                "UpdateLoggingConfiguration",
                "UpdateRoom",
            ],
            not_found,
        ),
        Case::new(
            FROM,
            "members that are not allowed are a ValidationException that names them",
            &["CreateRoom", "CreateChatToken", "ListRooms", "ListLoggingConfigurations", "TagResource"],
            validation,
        ),
        Case::new(
            FROM,
            "a logging configuration in use is a ConflictException",
            &["DeleteLoggingConfiguration"],
            conflict,
        ),
        Case::new(FROM, "another region has other rooms", &["GetRoom"], other_region),
        Case::new(FROM, "who is not known does not get in", &["ListRooms"], credentials),
    ]
}

async fn not_found(stage: Arc<Stage>) {
    let client = &stage.client;
    let room = &format!("arn:aws:ivschat:{REGION}:{ACCOUNT_ID}:room/{UNKNOWN_ID}");
    let logging = &format!("arn:aws:ivschat:{REGION}:{ACCOUNT_ID}:logging-configuration/{UNKNOWN_ID}");
    let errors: [(&str, Option<Error>); 15] = [
        ("GetRoom", client.get_room().identifier(room).send().await.err().map(Error::from)),
        ("UpdateRoom", client.update_room().identifier(room).name("x").send().await.err().map(Error::from)),
        ("DeleteRoom", client.delete_room().identifier(room).send().await.err().map(Error::from)),
        (
            "CreateRoom",
            client
                .create_room()
                .logging_configuration_identifiers(logging)
                .send()
                .await
                .err()
                .map(Error::from),
        ),
        (
            "ListRooms",
            client.list_rooms().logging_configuration_identifier(logging).send().await.err().map(Error::from),
        ),
        (
            "CreateChatToken",
            client.create_chat_token().room_identifier(room).user_id("u").send().await.err().map(Error::from),
        ),
        (
            "SendEvent",
            client.send_event().room_identifier(room).event_name("e").send().await.err().map(Error::from),
        ),
        (
            "DeleteMessage",
            client.delete_message().room_identifier(room).id(UNKNOWN_ID).send().await.err().map(Error::from),
        ),
        (
            "DisconnectUser",
            client.disconnect_user().room_identifier(room).user_id("u").send().await.err().map(Error::from),
        ),
        (
            "GetLoggingConfiguration",
            client.get_logging_configuration().identifier(logging).send().await.err().map(Error::from),
        ),
        (
            "UpdateLoggingConfiguration",
            client
                .update_logging_configuration()
                .identifier(logging)
                .name("x")
                .send()
                .await
                .err()
                .map(Error::from),
        ),
        (
            "DeleteLoggingConfiguration",
            client.delete_logging_configuration().identifier(logging).send().await.err().map(Error::from),
        ),
        (
            "TagResource",
            client.tag_resource().resource_arn(room).tags("a", "b").send().await.err().map(Error::from),
        ),
        (
            "UntagResource",
            client.untag_resource().resource_arn(logging).tag_keys("a").send().await.err().map(Error::from),
        ),
        (
            "ListTagsForResource",
            client.list_tags_for_resource().resource_arn(room).send().await.err().map(Error::from),
        ),
    ];
    for (operation, error) in errors {
        let Some(Error::ResourceNotFoundException(error)) = error else { panic!("{operation}: {error:?}") };
        assert_eq!(error.resource_id, UNKNOWN_ID, "{operation}");
        assert_eq!(error.resource_type, ResourceType::Room, "{operation}");
        assert!(
            [room, logging].iter().any(|arn| error.message == format!("Resource: {arn} not found")),
            "{error}"
        );
    }
}

/// The members that a ValidationException names, sorted; of a path, the member of the request.
fn named(operation: &str, error: Option<Error>) -> Vec<String> {
    let Some(Error::ValidationException(error)) = error else { panic!("{operation}: {error:?}") };
    assert_eq!(error.reason, ValidationExceptionReason::FieldValidationFailed, "{operation}");
    let member = |path: &str| path.split(['.', '[']).next().unwrap_or_default().to_owned();
    let mut names: Vec<String> = error.field_list().iter().map(|field| member(&field.name)).collect();
    names.sort();
    names.dedup();
    names
}

async fn validation(stage: Arc<Stage>) {
    let client = &stage.client;
    let error = client
        .create_room()
        .name("no spaces")
        .maximum_message_length(501)
        .send()
        .await
        .err()
        .map(Error::from);
    assert_eq!(named("CreateRoom", error), ["maximumMessageLength", "name"]);

    let request =
        client.create_chat_token().room_identifier("x").user_id("").session_duration_in_minutes(181);
    let error = request.capabilities(ChatTokenCapability::from("VIEW")).send().await.err().map(Error::from);
    assert_eq!(
        named("CreateChatToken", error),
        ["capabilities", "roomIdentifier", "sessionDurationInMinutes", "userId"]
    );

    let error = client.list_rooms().max_results(51).send().await.err().map(Error::from);
    assert_eq!(named("ListRooms", error), ["maxResults"]);
    let error = client.list_logging_configurations().max_results(0).send().await.err().map(Error::from);
    assert_eq!(named("ListLoggingConfigurations", error), ["maxResults"]);
    let error = client
        .tag_resource()
        .resource_arn("arn:aws:s3:::b")
        .tags("a", "b")
        .send()
        .await
        .err()
        .map(Error::from);
    assert_eq!(named("TagResource", error), ["resourceArn"]);
}

async fn conflict(stage: Arc<Stage>) {
    let client = &stage.client;
    let bucket = S3DestinationConfiguration::builder().bucket_name("rust-in-use").build().expect("a bucket");
    let destination = DestinationConfiguration::S3(bucket);
    let logging = client.create_logging_configuration().destination_configuration(destination).send().await;
    let logging = logging.expect("CreateLoggingConfiguration");
    let arn = logging.arn().expect("an ARN");
    client.create_room().logging_configuration_identifiers(arn).send().await.expect("CreateRoom");
    let error = client.delete_logging_configuration().identifier(arn).send().await.expect_err("in use");
    assert_eq!(error.raw_response().map(|response| response.status().as_u16()), Some(409));
    let Error::ConflictException(error) = Error::from(error) else { panic!("not a conflict") };
    assert_eq!(error.message, format!("Resource: {arn} is in use by a room"));
    assert_eq!(Some(error.resource_id.as_str()), logging.id());
    assert_eq!(error.resource_type, ResourceType::Room);
}

async fn other_region(stage: Arc<Stage>) {
    let room = stage.create_room().await;
    let elsewhere = stage.other_client("eu-west-1", ACCESS_KEY_ID, SECRET_ACCESS_KEY);
    let error = elsewhere.get_room().identifier(room).send().await.expect_err("another region's room");
    assert!(error.into_service_error().is_resource_not_found_exception());
}

async fn credentials(stage: Arc<Stage>) {
    for (access_key_id, secret_access_key, code) in [
        (ACCESS_KEY_ID, "wrong", "InvalidSignatureException"),
        ("AKIDNOBODY", SECRET_ACCESS_KEY, "UnrecognizedClientException"),
    ] {
        let stranger = stage.other_client(REGION, access_key_id, secret_access_key);
        let error = stranger.list_rooms().send().await.expect_err("a stranger");
        assert_eq!(error.raw_response().map(|response| response.status().as_u16()), Some(403));
        assert_eq!(error.code(), Some(code));
    }
}
