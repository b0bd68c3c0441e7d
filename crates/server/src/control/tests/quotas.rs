//! The quotas of accounts, in the profile that has them: what they answer, and that no crowd gets past them.

use std::future::Future;
use std::time::Instant;

use protocol::operation::Operation;
use protocol::quota::{AdjustableQuotas, requests_per_second};
use serde_json::{Value, json};
use tokio::join;

use super::{ACCOUNT, Answer, Call, REGION, Server, TELLING_TIME_MAX};

const UNKNOWN_ROOM: &str = "AbCdEfGh1234";

/// What a ThrottlingException says.
fn throttled(resource_id: &str, limit: u32) -> Value {
    json!({"message": "Rate exceeded", "resourceId": resource_id, "resourceType": "ROOM", "limit": limit})
}

/// Asks over and over until the answer has this status. A rate is met by whoever asks oftener than it allows.
async fn until_status<F: Future<Output = Answer>>(status: u16, ask: impl Fn() -> F) -> Answer {
    let give_up_at = Instant::now() + TELLING_TIME_MAX;
    loop {
        let answer = ask().await;
        if answer.status == status {
            return answer;
        }
        assert!(Instant::now() < give_up_at, "never {status}, but {}: {}", answer.status, answer.body);
    }
}

fn room_arn(id: &str) -> String {
    format!("arn:aws:ivschat:{REGION}:{ACCOUNT}:room/{id}")
}

#[tokio::test]
async fn who_asks_too_often_is_throttled_and_told_about_what() {
    let server = Server::start_with(Some(AdjustableQuotas::default())).await;
    let room = room_arn(UNKNOWN_ROOM);
    for (operation, members, subject) in [
        (Operation::ListRooms, json!({}), ACCOUNT),
        (Operation::GetRoom, json!({"identifier": room}), UNKNOWN_ROOM),
        (Operation::CreateLoggingConfiguration, json!({"name": "not a name"}), ACCOUNT),
    ] {
        let answer = until_status(429, || server.call(operation, members.clone())).await;
        assert_eq!(answer.error(), (429, "ThrottlingException"), "{operation:?}");
        assert_eq!(answer.json(), throttled(subject, requests_per_second(operation)), "{operation:?}");
    }
    let path = format!("/tags/{}", room.replace(':', "%3A").replace('/', "%2F"));
    let tags = Call::new("GET", &path);
    let answer = until_status(429, || tags.send(&server)).await;
    assert_eq!(answer.json(), throttled(UNKNOWN_ROOM, 10));
}

#[tokio::test]
async fn a_stranger_uses_up_nobody_s_rate() {
    let server = Server::start_with(Some(AdjustableQuotas::default())).await;
    for _ in 0..20 {
        let wrong = Call { region: "elsewhere", ..Call::new("POST", "/ListRooms") };
        let wrong = wrong.encode().replace("/elsewhere/", &format!("/{REGION}/"));
        assert_eq!(server.exchange(wrong.as_bytes()).await.error(), (403, "InvalidSignatureException"));
    }
    server.done(Operation::ListRooms, json!({})).await;
}

#[tokio::test]
async fn a_crowd_that_creates_gets_as_many_as_the_quota_allows() {
    let figures = AdjustableQuotas { rooms: 3, logging_configurations: 2, ..AdjustableQuotas::default() };
    let server = Server::start_with(Some(figures)).await;
    let destination = json!({"destinationConfiguration": {"s3": {"bucketName": "chat-logs"}}});
    for (create, members, list, entries, limit, what) in [
        (Operation::CreateRoom, json!({}), Operation::ListRooms, "rooms", 3, "rooms"),
        (
            Operation::CreateLoggingConfiguration,
            destination,
            Operation::ListLoggingConfigurations,
            "loggingConfigurations",
            2,
            "logging configurations",
        ),
    ] {
        // Several at a time, all of which find a place when they look too early.
        let refused = until_status(402, async || {
            let one = || server.call(create, members.clone());
            let (first, second, third, fourth) = join!(one(), one(), one(), one());
            let is_full = |answer: &Answer| answer.status == 402;
            let all = [first, second, third];
            all.into_iter().find(is_full).unwrap_or(fourth)
        })
        .await;
        let message = format!("The account has {limit} {what} in this region already, its quota");
        assert_eq!(refused.error(), (402, "ServiceQuotaExceededException"));
        assert_eq!(
            refused.json(),
            json!({"message": message, "resourceId": ACCOUNT, "resourceType": "ROOM", "limit": limit})
        );
        let listed = server.done(list, json!({})).await;
        assert_eq!(listed[entries].as_array().map(Vec::len), Some(limit));
        // Another region has its own.
        let path = format!("/{}", create.name());
        let elsewhere = Call::new("POST", &path).region("eu-west-1").body(members.to_string());
        assert_eq!(elsewhere.send(&server).await.status, 200);
    }
}
