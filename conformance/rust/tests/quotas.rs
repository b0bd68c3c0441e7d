//! The limits profile `aws` on a server of its own: quotas of an account as typed errors, and retries that get past them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_ivschat::Error;
use aws_sdk_ivschat::config::retry::RetryConfig;
use aws_sdk_ivschat::error::ProvideErrorMetadata;
use aws_sdk_ivschat::types::ResourceType;
use futures_util::future::join_all;

use crate::server::Server;
use crate::stage::{ACCOUNT_ID, Case, Stage};

const FROM: (&str, &str) = ("quotas.rs", "aws-sdk-ivschat");
const GIVE_UP: Duration = Duration::from_secs(30);
const UNKNOWN_ID: &str = "AbCdEfGh1234";

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            FROM,
            "quotas that are used up are typed errors with their members",
            &["CreateRoom", "DeleteMessage"],
            typed_errors,
        ),
        Case::new(FROM, "a burst gets through with the SDK's own retries", &["ListRooms"], retries),
    ]
}

async fn strict_stage() -> (Server, Stage) {
    let server = Server::start(&[
        ("GRANDSTAND_LIMITS_PROFILE", "aws"),
        ("GRANDSTAND_LIMITS_ROOMS", "2"),
        ("GRANDSTAND_LIMITS_DELETE_MESSAGE_REQUESTS_PER_SECOND", "2"),
    ])
    .await;
    let stage = Stage::new(&server);
    (server, stage)
}

async fn typed_errors(_: Arc<Stage>) {
    let (server, stage) = strict_stage().await;
    let client = stage.retrying_client(RetryConfig::disabled());
    let room = stage.create_room().await;
    stage.create_room().await;
    let error = client.create_room().send().await.expect_err("a room too many");
    assert_eq!(error.raw_response().map(|response| response.status().as_u16()), Some(402));
    let Error::ServiceQuotaExceededException(error) = Error::from(error) else { panic!("not a quota") };
    assert_eq!((error.resource_id.as_str(), error.limit), (ACCOUNT_ID, 2));
    assert_eq!(error.resource_type, ResourceType::Room);
    assert_eq!(error.message, "The account has 2 rooms in this region already, its quota");

    let began_at = Instant::now();
    let error = loop {
        match client.delete_message().room_identifier(&room).id(UNKNOWN_ID).send().await {
            Ok(_) => assert!(began_at.elapsed() < GIVE_UP, "never throttled"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.raw_response().map(|response| response.status().as_u16()), Some(429));
    let Error::ThrottlingException(error) = Error::from(error) else { panic!("not throttled") };
    assert!(room.ends_with(&format!("/{}", error.resource_id)));
    assert_eq!((error.resource_type, error.limit), (ResourceType::Room, 2));
    assert_eq!(error.message, "Rate exceeded");
    assert!(server.stop().await);
}

async fn retries(_: Arc<Stage>) {
    let (server, stage) = strict_stage().await;
    // So many attempts that chance plays no part.
    let retries = RetryConfig::standard().with_max_attempts(20);
    let [once, patient] = [RetryConfig::disabled(), retries].map(|retries| stage.retrying_client(retries));
    let began_at = Instant::now();
    loop {
        let burst = join_all((0..8).map(|_| once.list_rooms().send())).await;
        let refused: Vec<_> = burst.into_iter().filter_map(Result::err).collect();
        for error in &refused {
            // The model gives this operation no such error, so it is known by its code alone, as to the retries.
            assert_eq!(error.code(), Some("ThrottlingException"));
        }
        // The rate is used up: of what is asked for now something has to wait.
        for answer in join_all((0..8).map(|_| patient.list_rooms().send())).await {
            assert!(answer.expect("ListRooms").rooms().is_empty());
        }
        if !refused.is_empty() {
            break;
        }
        assert!(began_at.elapsed() < GIVE_UP, "never throttled");
    }
    assert!(server.stop().await);
}
