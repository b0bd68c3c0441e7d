//! The 17 operations with their whole answers, as the typed outputs of the SDK.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_ivschat::primitives::DateTime;
use aws_sdk_ivschat::types::{
    CloudWatchLogsDestinationConfiguration, DestinationConfiguration, FallbackResult,
    FirehoseDestinationConfiguration, LoggingConfigurationState, MessageReviewHandler,
    S3DestinationConfiguration,
};

use crate::stage::{ACCOUNT_ID, Case, REGION, Stage};

const FROM: (&str, &str) = ("control.rs", "aws-sdk-ivschat");

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(FROM, "a room gets its defaults", &["CreateRoom", "GetRoom"], room_defaults),
        Case::new(
            FROM,
            "a room lives through create, update and delete",
            &["CreateRoom", "GetRoom", "UpdateRoom", "DeleteRoom"],
            room_life,
        ),
        Case::new(FROM, "rooms are listed page by page", &["ListRooms"], rooms_listed),
        Case::new(
            FROM,
            "a logging configuration lives through create, update and delete",
            &[
                "CreateLoggingConfiguration",
                "GetLoggingConfiguration",
                "ListLoggingConfigurations",
                "UpdateLoggingConfiguration",
                "DeleteLoggingConfiguration",
            ],
            logging_configuration_life,
        ),
        Case::new(
            FROM,
            "both kinds of resource are tagged",
            &["TagResource", "UntagResource", "ListTagsForResource"],
            tags,
        ),
        Case::new(FROM, "a chat token ends with its session", &["CreateChatToken"], chat_token),
        Case::new(
            FROM,
            "events and moderation answer as modelled",
            &["SendEvent", "DeleteMessage", "DisconnectUser"],
            moderation,
        ),
    ]
}

/// All members of a room, from whichever output shows them.
#[derive(Clone, Debug, PartialEq)]
struct Room {
    arn: Option<String>,
    id: Option<String>,
    name: Option<String>,
    create_time: Option<DateTime>,
    update_time: Option<DateTime>,
    rate: Option<i32>,
    length: Option<i32>,
    handler: Option<MessageReviewHandler>,
    tags: Option<HashMap<String, String>>,
    logging: Option<Vec<String>>,
}

macro_rules! room {
    ($output:expr) => {{
        let output = $output;
        Room {
            arn: output.arn,
            id: output.id,
            name: output.name,
            create_time: output.create_time,
            update_time: output.update_time,
            rate: output.maximum_message_rate_per_second,
            length: output.maximum_message_length,
            handler: output.message_review_handler,
            tags: output.tags,
            logging: output.logging_configuration_identifiers,
        }
    }};
}

/// All members of a logging configuration, from whichever output shows them; states are compared by their text,
/// since each output has an enum of its own.
#[derive(Clone, Debug, PartialEq)]
struct Configuration {
    arn: Option<String>,
    id: Option<String>,
    name: Option<String>,
    create_time: Option<DateTime>,
    update_time: Option<DateTime>,
    destination: Option<DestinationConfiguration>,
    state: Option<String>,
    tags: Option<HashMap<String, String>>,
}

macro_rules! configuration {
    ($output:expr) => {{
        let output = $output;
        Configuration {
            arn: output.arn,
            id: output.id,
            name: output.name,
            create_time: output.create_time,
            update_time: output.update_time,
            destination: output.destination_configuration,
            state: output.state.map(|state| state.as_str().to_owned()),
            tags: output.tags,
        }
    }};
}

fn arn(kind: &str, id: &str) -> String {
    format!("arn:aws:ivschat:{REGION}:{ACCOUNT_ID}:{kind}/{id}")
}

fn map(entries: &[(&str, &str)]) -> HashMap<String, String> {
    entries.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

pub fn is_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn bucket(name: &str) -> DestinationConfiguration {
    DestinationConfiguration::S3(
        S3DestinationConfiguration::builder().bucket_name(name).build().expect("a bucket"),
    )
}

async fn room_defaults(stage: Arc<Stage>) {
    let created = room!(stage.client.create_room().send().await.expect("CreateRoom"));
    let id = created.id.clone().expect("an id");
    assert!(is_id(&id), "{id}");
    assert!(created.create_time.is_some());
    let expected = Room {
        arn: Some(arn("room", &id)),
        id: Some(id.clone()),
        name: Some(String::new()),
        create_time: created.create_time,
        update_time: created.create_time,
        rate: Some(10),
        length: Some(500),
        handler: None,
        tags: Some(HashMap::new()),
        logging: None,
    };
    assert_eq!(created, expected);
    let read = room!(stage.client.get_room().identifier(arn("room", &id)).send().await.expect("GetRoom"));
    assert_eq!(read, expected);
}

async fn room_life(stage: Arc<Stage>) {
    let client = &stage.client;
    let logging =
        client.create_logging_configuration().destination_configuration(bucket("room-life")).send().await;
    let logging = logging.expect("CreateLoggingConfiguration").arn.expect("an ARN");
    let uri = format!("arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:review");
    let request =
        client.create_room().name("before").maximum_message_length(7).maximum_message_rate_per_second(3);
    let request = request.message_review_handler(MessageReviewHandler::builder().uri(&uri).build());
    let request = request.logging_configuration_identifiers(&logging).tags("team", "chat");
    let created = room!(request.send().await.expect("CreateRoom"));
    let allow = MessageReviewHandler::builder().uri(&uri).fallback_result(FallbackResult::Allow).build();
    assert_eq!(created.update_time, created.create_time);
    let expected = Room {
        name: Some("before".to_owned()),
        length: Some(7),
        rate: Some(3),
        handler: Some(allow),
        tags: Some(map(&[("team", "chat")])),
        logging: Some(vec![logging]),
        ..created.clone()
    };
    assert_eq!(created, expected);

    let identifier = created.arn.clone().expect("an ARN");
    let update = client
        .update_room()
        .identifier(&identifier)
        .name("after")
        .set_logging_configuration_identifiers(Some(vec![]));
    let updated = room!(update.send().await.expect("UpdateRoom"));
    assert!(
        updated.update_time.expect("a time").as_nanos() > created.update_time.expect("a time").as_nanos()
    );
    let expected =
        Room { name: Some("after".to_owned()), logging: None, update_time: updated.update_time, ..created };
    assert_eq!(updated, expected);
    let read = room!(client.get_room().identifier(&identifier).send().await.expect("GetRoom"));
    assert_eq!(read, expected);

    client.delete_room().identifier(&identifier).send().await.expect("DeleteRoom");
    let gone = client.get_room().identifier(&identifier).send().await.expect_err("a deleted room");
    assert!(gone.into_service_error().is_resource_not_found_exception());
}

async fn rooms_listed(stage: Arc<Stage>) {
    let mut ids = Vec::new();
    for _ in 0..5 {
        let room = stage.client.create_room().name("rust-paged").send().await.expect("CreateRoom");
        ids.push(room.id.expect("an id"));
    }
    ids.reverse();
    let mut pages = stage.client.list_rooms().name("rust-paged").into_paginator().page_size(2).send();
    let mut sizes = Vec::new();
    let mut listed = Vec::new();
    while let Some(page) = pages.next().await {
        let rooms = page.expect("ListRooms").rooms;
        sizes.push(rooms.len());
        for room in rooms {
            assert_eq!(room.name(), Some("rust-paged"));
            assert_eq!(room.tags, Some(HashMap::new()));
            assert_eq!(room.create_time, room.update_time);
            assert_eq!(
                (room.message_review_handler(), room.logging_configuration_identifiers()),
                (None, &[][..])
            );
            let id = room.id.expect("an id");
            assert_eq!(room.arn, Some(arn("room", &id)));
            listed.push(id);
        }
    }
    assert_eq!(sizes, [2, 2, 1]);
    assert_eq!(listed, ids);
}

async fn logging_configuration_life(stage: Arc<Stage>) {
    let client = &stage.client;
    let group = CloudWatchLogsDestinationConfiguration::builder()
        .log_group_name("/chat/rust")
        .build()
        .expect("a group");
    let destination = DestinationConfiguration::CloudWatchLogs(group);
    let request = client.create_logging_configuration().name("made").tags("team", "chat");
    let created = configuration!(
        request
            .destination_configuration(destination.clone())
            .send()
            .await
            .expect("CreateLoggingConfiguration")
    );
    let id = created.id.clone().expect("an id");
    assert!(is_id(&id), "{id}");
    let identifier = arn("logging-configuration", &id);
    let expected = Configuration {
        arn: Some(identifier.clone()),
        id: Some(id.clone()),
        name: Some("made".to_owned()),
        create_time: created.create_time,
        update_time: created.update_time,
        destination: Some(destination),
        state: Some(LoggingConfigurationState::Active.as_str().to_owned()),
        tags: Some(map(&[("team", "chat")])),
    };
    assert_eq!(created, expected);
    let read = client
        .get_logging_configuration()
        .identifier(&identifier)
        .send()
        .await
        .expect("GetLoggingConfiguration");
    assert_eq!(configuration!(read), expected);
    let listed =
        client.list_logging_configurations().max_results(50).send().await.expect("ListLoggingConfigurations");
    let listed =
        listed.logging_configurations.into_iter().find(|entry| entry.id() == Some(&id)).expect("in the list");
    assert_eq!(configuration!(listed), expected);

    let stream =
        FirehoseDestinationConfiguration::builder().delivery_stream_name("moved").build().expect("a stream");
    let moved = DestinationConfiguration::Firehose(stream);
    let update = client
        .update_logging_configuration()
        .identifier(&identifier)
        .destination_configuration(moved.clone());
    let updated = configuration!(update.send().await.expect("UpdateLoggingConfiguration"));
    let expected = Configuration { destination: Some(moved), update_time: updated.update_time, ..expected };
    assert_eq!(updated, expected);

    client
        .delete_logging_configuration()
        .identifier(&identifier)
        .send()
        .await
        .expect("DeleteLoggingConfiguration");
    let gone =
        client.get_logging_configuration().identifier(&identifier).send().await.expect_err("a deleted one");
    assert!(gone.into_service_error().is_resource_not_found_exception());
}

async fn tags(stage: Arc<Stage>) {
    let client = &stage.client;
    let logging =
        client.create_logging_configuration().destination_configuration(bucket("rust-tags")).send().await;
    let logging = logging.expect("CreateLoggingConfiguration").arn.expect("an ARN");
    for arn in [stage.create_room().await, logging] {
        let request =
            client.tag_resource().resource_arn(&arn).tags("a key/with:odd=signs+", "é").tags("plain", "");
        request.send().await.expect("TagResource");
        let tags = || client.list_tags_for_resource().resource_arn(&arn).send();
        let expected = map(&[("a key/with:odd=signs+", "é"), ("plain", "")]);
        assert_eq!(tags().await.expect("ListTagsForResource").tags, expected);
        let request = client.untag_resource().resource_arn(&arn);
        request
            .tag_keys("a key/with:odd=signs+")
            .tag_keys("never there")
            .send()
            .await
            .expect("UntagResource");
        assert_eq!(tags().await.expect("ListTagsForResource").tags, map(&[("plain", "")]));
    }
}

async fn chat_token(stage: Arc<Stage>) {
    let room = stage.create_room().await;
    let request =
        stage.client.create_chat_token().room_identifier(room).user_id("u").attributes("name", "Zoë");
    let before = DateTime::from(std::time::SystemTime::now());
    let answer = request.session_duration_in_minutes(1).send().await.expect("CreateChatToken");
    let token = answer.token.expect("a token");
    assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()), "legal in a header");
    let session_ends = answer.session_expiration_time.expect("an end of the session");
    let session_seconds = session_ends.secs() - before.secs();
    assert!((59..=65).contains(&session_seconds), "{session_seconds}");
    // Up to a tenth earlier than the session, at random.
    let earlier = session_ends.as_nanos() - answer.token_expiration_time.expect("an end of it").as_nanos();
    assert!((0..=6_000_000_000).contains(&earlier), "{earlier}");
}

async fn moderation(stage: Arc<Stage>) {
    let client = &stage.client;
    let room = stage.create_room().await;
    let event =
        client.send_event().room_identifier(&room).event_name("app:X").attributes("a", "b").send().await;
    assert!(is_id(event.expect("SendEvent").id().expect("an id")));
    let deletion =
        client.delete_message().room_identifier(&room).id("AbCdEfGh1234").reason("rude").send().await;
    assert!(is_id(deletion.expect("DeleteMessage").id().expect("an id")));
    client.disconnect_user().room_identifier(&room).user_id("nobody").send().await.expect("DisconnectUser");
}
