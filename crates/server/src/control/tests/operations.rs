//! The 17 operations: whole bodies, and what becomes of rooms, logging configurations, tags and tokens.

use protocol::capability::Capability;
use protocol::limit::edge::INBOX_REQUESTS_MAX;
use protocol::operation::Operation;
use protocol::token;
use serde_json::{Value, json};

use super::{ACCOUNT, Answer, Call, EVENT_ID, REGION, Server};
use crate::clock;

const LAMBDA: &str = "arn:aws:lambda:us-west-2:123456789012:function:review";
const NOWHERE: &str = "arn:aws:ivschat:us-west-2:123456789012:room/g1H2I3j4k5L6";
const NO_CONFIGURATION: &str = "arn:aws:ivschat:us-west-2:123456789012:logging-configuration/g1H2I3j4k5L6";

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Takes what differs from run to run out of a body, after a look at its form.
fn without_names(mut body: Value, kind: &str) -> Value {
    let members = body.as_object_mut().expect("a structure");
    let id = members.remove("id").expect("an id");
    assert!(text(&id).len() == 12 && text(&id).bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
    let arn = members.remove("arn").expect("an ARN");
    assert_eq!(text(&arn), format!("arn:aws:ivschat:{REGION}:{ACCOUNT}:{kind}/{}", text(&id)));
    for name in ["createTime", "updateTime"] {
        let time = members.remove(name).expect("a time");
        let time = text(&time);
        assert!(time.len() == 24 && time.ends_with('Z') && time.as_bytes()[19] == b'.', "{time}");
    }
    body
}

async fn create_room(server: &Server, members: Value) -> String {
    text(&server.done(Operation::CreateRoom, members).await["arn"]).to_owned()
}

async fn create_logging_configuration(server: &Server) -> String {
    let members = json!({"destinationConfiguration": {"s3": {"bucketName": "bucket"}}});
    text(&server.done(Operation::CreateLoggingConfiguration, members).await["arn"]).to_owned()
}

#[track_caller]
fn is_not_found(answer: &Answer, arn: &str) {
    assert_eq!(answer.error(), (404, "ResourceNotFoundException"), "{}", answer.body);
    let id = arn.rsplit_once('/').map_or("", |(_, id)| id);
    let expected = json!({
        "message": format!("Resource: {arn} not found"),
        "resourceId": id,
        "resourceType": "ROOM",
    });
    assert_eq!(answer.json(), expected);
}

#[tokio::test]
async fn a_review_handler_is_of_the_rooms_own_account_and_region() {
    let server = Server::start().await;
    let own = json!({"messageReviewHandler": {"uri": LAMBDA}});
    let arn = create_room(&server, own).await;
    for other in [LAMBDA.replace("us-west-2", "us-east-1"), LAMBDA.replace("123456789012", "210987654321")] {
        let handler = json!({"uri": other, "fallbackResult": "DENY"});
        for (operation, members) in [
            (Operation::CreateRoom, json!({"messageReviewHandler": handler})),
            (Operation::UpdateRoom, json!({"identifier": arn, "messageReviewHandler": handler})),
        ] {
            let answer = server.call(operation, members).await;
            assert_eq!(answer.error(), (400, "ValidationException"), "{}", answer.body);
            assert_eq!(answer.json()["fieldList"][0]["name"], "uri", "{}", answer.body);
        }
    }
    let shown = server.done(Operation::GetRoom, json!({"identifier": arn})).await;
    assert_eq!(shown["messageReviewHandler"]["uri"], LAMBDA);
}

#[tokio::test]
async fn a_room_is_made_shown_changed_and_deleted() {
    let server = Server::start().await;
    let created = server.call(Operation::CreateRoom, json!({})).await;
    assert_eq!(created.json()["createTime"], created.json()["updateTime"]);
    let plain = json!({
        "name": "",
        "maximumMessageRatePerSecond": 10,
        "maximumMessageLength": 500,
        "tags": {},
    });
    assert_eq!(without_names(created.json(), "room"), plain);

    let logging = create_logging_configuration(&server).await;
    let identifier = created.json()["arn"].clone();
    let change = json!({
        "identifier": identifier,
        "name": "lobby",
        "maximumMessageLength": 100,
        "messageReviewHandler": {"uri": LAMBDA},
        "loggingConfigurationIdentifiers": [logging],
    });
    let updated = server.done(Operation::UpdateRoom, change).await;
    let expected = json!({
        "name": "lobby",
        "maximumMessageRatePerSecond": 10,
        "maximumMessageLength": 100,
        "messageReviewHandler": {"uri": LAMBDA, "fallbackResult": "ALLOW"},
        "loggingConfigurationIdentifiers": [logging],
        "tags": {},
    });
    assert_eq!(without_names(updated.clone(), "room"), expected);
    let id = text(&updated["id"]);
    assert_eq!(server.done(Operation::GetRoom, json!({"identifier": identifier})).await, updated);

    // Absent is unchanged; an empty list clears; an empty uri takes the handler away.
    let change = json!({"identifier": identifier, "messageReviewHandler": {"fallbackResult": "DENY"}});
    let updated = server.done(Operation::UpdateRoom, change).await;
    assert_eq!(updated["messageReviewHandler"], json!({"uri": LAMBDA, "fallbackResult": "DENY"}));
    assert_eq!(updated["name"], "lobby");
    let change = json!({
        "identifier": identifier,
        "name": "",
        "messageReviewHandler": {"uri": ""},
        "loggingConfigurationIdentifiers": [],
        "maximumMessageLength": 500,
    });
    assert_eq!(without_names(server.done(Operation::UpdateRoom, change).await, "room"), plain);

    let deleted = server.call(Operation::DeleteRoom, json!({"identifier": identifier})).await;
    assert_eq!((deleted.status, deleted.body.as_str(), deleted.header("content-type")), (204, "", None));
    for operation in [Operation::GetRoom, Operation::UpdateRoom, Operation::DeleteRoom] {
        is_not_found(&server.call(operation, json!({"identifier": identifier})).await, text(&identifier));
    }
    let expected = [
        format!("changed {id}: length 100"),
        format!("changed {id}: length 100"),
        format!("changed {id}: length 500"),
        format!("deleted {id}"),
    ];
    assert_eq!(server.told(expected.len()), expected);
}

#[tokio::test]
async fn a_logging_configuration_is_kept_while_a_room_uses_it() {
    let server = Server::start().await;
    let members = json!({
        "name": "logs",
        "destinationConfiguration": {"firehose": {"deliveryStreamName": "stream"}},
        "tags": {"a": "b"},
    });
    let created = server.done(Operation::CreateLoggingConfiguration, members.clone()).await;
    let mut expected = members;
    expected["state"] = json!("ACTIVE");
    assert_eq!(without_names(created.clone(), "logging-configuration"), expected);
    let identifier = created["arn"].clone();

    let change =
        json!({"identifier": identifier, "destinationConfiguration": {"s3": {"bucketName": "bucket"}}});
    let updated = server.done(Operation::UpdateLoggingConfiguration, change.clone()).await;
    expected["destinationConfiguration"] = change["destinationConfiguration"].clone();
    assert_eq!(without_names(updated.clone(), "logging-configuration"), expected);
    let shown = server.done(Operation::GetLoggingConfiguration, json!({"identifier": identifier})).await;
    assert_eq!(shown, updated);
    let listed = server.done(Operation::ListLoggingConfigurations, json!({})).await;
    assert_eq!(listed, json!({"loggingConfigurations": [updated]}));

    let room = create_room(&server, json!({"loggingConfigurationIdentifiers": [identifier]})).await;
    let refused = server.call(Operation::DeleteLoggingConfiguration, json!({"identifier": identifier})).await;
    assert_eq!(refused.error(), (409, "ConflictException"));
    assert_eq!(
        (&refused.json()["resourceId"], &refused.json()["resourceType"]),
        (&created["id"], &json!("ROOM"))
    );
    server.done(Operation::DeleteRoom, json!({"identifier": room})).await;
    let deleted = server.call(Operation::DeleteLoggingConfiguration, json!({"identifier": identifier})).await;
    assert_eq!((deleted.status, deleted.body.as_str()), (204, ""));
    let gone = server.call(Operation::GetLoggingConfiguration, json!({"identifier": identifier})).await;
    is_not_found(&gone, text(&identifier));
}

#[tokio::test]
async fn what_is_not_there_or_not_ones_own_is_not_found() {
    let server = Server::start().await;
    let room = create_room(&server, json!({})).await;
    let logging = create_logging_configuration(&server).await;
    let foreign = |arn: &str| {
        [arn.replace(REGION, "eu-west-1"), arn.replace(ACCOUNT, "210987654321"), arn.replace(ACCOUNT, "1")]
    };
    let mut rooms = foreign(&room).to_vec();
    rooms.extend([NOWHERE.to_owned(), format!("{NOWHERE}-x")]);
    for arn in rooms {
        for (operation, members) in [
            (Operation::GetRoom, json!({"identifier": arn})),
            (Operation::UpdateRoom, json!({"identifier": arn})),
            (Operation::DeleteRoom, json!({"identifier": arn})),
            (Operation::CreateChatToken, json!({"roomIdentifier": arn, "userId": "u"})),
            (Operation::SendEvent, json!({"roomIdentifier": arn, "eventName": "e"})),
            (Operation::DeleteMessage, json!({"roomIdentifier": arn, "id": EVENT_ID})),
            (Operation::DisconnectUser, json!({"roomIdentifier": arn, "userId": "u"})),
        ] {
            is_not_found(&server.call(operation, members).await, &arn);
        }
        is_not_found(&Call::new("GET", &format!("/tags/{arn}")).send(&server).await, &arn);
    }
    let mut configurations = foreign(&logging).to_vec();
    configurations.push(NO_CONFIGURATION.to_owned());
    for arn in configurations {
        for (operation, members) in [
            (Operation::GetLoggingConfiguration, json!({"identifier": arn})),
            (Operation::UpdateLoggingConfiguration, json!({"identifier": arn})),
            (Operation::DeleteLoggingConfiguration, json!({"identifier": arn})),
            (Operation::CreateRoom, json!({"loggingConfigurationIdentifiers": [logging, arn]})),
            (Operation::UpdateRoom, json!({"identifier": room, "loggingConfigurationIdentifiers": [arn]})),
            (Operation::ListRooms, json!({"loggingConfigurationIdentifier": arn})),
        ] {
            is_not_found(&server.call(operation, members).await, &arn);
        }
    }
    assert_eq!(server.told(0), Vec::<String>::new());
}

#[tokio::test]
async fn rooms_are_listed_page_by_page() {
    let server = Server::start().await;
    let logging = create_logging_configuration(&server).await;
    let mut arns = Vec::new();
    for number in 0..5 {
        let members = json!({
            "name": format!("room-{}", number % 2),
            "messageReviewHandler": {"uri": LAMBDA, "fallbackResult": "DENY"},
            "loggingConfigurationIdentifiers": [logging],
            "tags": {"number": number.to_string()},
        });
        arns.push(create_room(&server, members).await);
    }
    arns.reverse();
    let mut listed = Vec::new();
    let mut next = json!("");
    while !next.is_null() {
        let members = json!({
            "maxResults": 2,
            "nextToken": next,
            "messageReviewHandlerUri": LAMBDA,
            "loggingConfigurationIdentifier": logging,
        });
        let page = server.done(Operation::ListRooms, members).await;
        let rooms = page["rooms"].as_array().cloned().unwrap_or_default();
        assert!((1..=2).contains(&rooms.len()));
        listed.extend(rooms);
        next = page["nextToken"].clone();
    }
    let of_lists: Vec<&str> = listed.iter().map(|room| text(&room["arn"])).collect();
    assert_eq!(of_lists, arns);
    // A list shows all but the two limits.
    let mut shown = server.done(Operation::GetRoom, json!({"identifier": arns[0]})).await;
    shown.as_object_mut().expect("a structure").retain(|name, _| !name.starts_with("maximum"));
    assert_eq!(listed[0], shown);

    let empty_filters = json!({"name": "", "messageReviewHandlerUri": "", "nextToken": ""});
    let all = server.done(Operation::ListRooms, empty_filters).await;
    assert_eq!((all["rooms"].as_array().map(Vec::len), &all["nextToken"]), (Some(5), &Value::Null));
    let named = server.done(Operation::ListRooms, json!({"name": "room-1"})).await;
    assert_eq!(named["rooms"].as_array().map(Vec::len), Some(2));
    assert_eq!(server.done(Operation::ListRooms, json!({"name": "room"})).await, json!({"rooms": []}));
    let elsewhere = Call::new("POST", "/ListRooms").region("eu-west-1").send(&server).await;
    assert_eq!(elsewhere.json(), json!({"rooms": []}));
}

#[tokio::test]
async fn a_page_token_is_good_for_its_own_list_only() {
    let server = Server::start().await;
    for _ in 0..2 {
        create_room(&server, json!({})).await;
        create_logging_configuration(&server).await;
    }
    let page = server.done(Operation::ListRooms, json!({"maxResults": 1})).await;
    let token = text(&page["nextToken"]).to_owned();
    let body = |members: Value| members.to_string();
    let with_token = json!({"nextToken": token});
    for call in [
        Call::new("POST", "/ListRooms").body(body(json!({"nextToken": token, "name": "a"}))),
        Call::new("POST", "/ListRooms").body(body(json!({"nextToken": format!("{token}A")}))),
        Call::new("POST", "/ListRooms").body(body(json!({"nextToken": "page2"}))),
        Call::new("POST", "/ListRooms").body(body(with_token.clone())).region("eu-west-1"),
        Call::new("POST", "/ListLoggingConfigurations").body(body(with_token.clone())),
    ] {
        let answer = call.send(&server).await;
        assert_eq!(answer.error(), (400, "ValidationException"));
        assert_eq!(answer.json()["fieldList"][0]["name"], "nextToken");
        assert_eq!(answer.json()["reason"], "FIELD_VALIDATION_FAILED");
    }
    let rest = server.done(Operation::ListRooms, with_token).await;
    assert_eq!(rest["rooms"].as_array().map(Vec::len), Some(1));
    let page = server.done(Operation::ListLoggingConfigurations, json!({"maxResults": 1})).await;
    let rest = json!({"nextToken": page["nextToken"]});
    let rest = server.done(Operation::ListLoggingConfigurations, rest).await;
    assert_eq!(rest["loggingConfigurations"].as_array().map(Vec::len), Some(1));
    assert_ne!(rest["loggingConfigurations"], page["loggingConfigurations"]);
}

#[tokio::test]
async fn a_chat_token_says_what_was_asked_for() {
    let server = Server::start().await;
    let room = create_room(&server, json!({})).await;
    let members = json!({
        "roomIdentifier": room,
        "userId": "alice",
        "capabilities": ["SEND_MESSAGE", "SEND_MESSAGE"],
        "sessionDurationInMinutes": 180,
        "attributes": {"name": "Alice"},
    });
    let before = clock::now();
    let answer = server.done(Operation::CreateChatToken, members).await;
    let names: Vec<&String> = answer.as_object().into_iter().flatten().map(|(name, _)| name).collect();
    assert_eq!(names, ["sessionExpirationTime", "token", "tokenExpirationTime"]);
    let claims = token::open(&server.chat_token_keys.token_keys(), text(&answer["token"]), clock::now());
    let claims = claims.expect("a token of ours");
    assert_eq!((claims.user_id.as_str(), claims.attributes["name"].as_str()), ("alice", "Alice"));
    assert_eq!(claims.capabilities, [Capability::SendMessage].into_iter().collect());
    assert!(room.ends_with(claims.room_id.as_str()));
    assert_eq!((&*claims.scope.account_id, &*claims.scope.region), (ACCOUNT, REGION));
    assert!((before..=clock::now()).contains(&claims.issue_time));
    assert_eq!(claims.session_expiry, claims.issue_time.plus_seconds(180 * 60));
    let life = claims.issue_time.plus_seconds(3_240)..=claims.issue_time.plus_seconds(3_600);
    assert!(life.contains(&claims.token_expiry));
    assert_eq!(text(&answer["tokenExpirationTime"]), claims.token_expiry.to_millis_text());
    assert_eq!(text(&answer["sessionExpirationTime"]), claims.session_expiry.to_millis_text());
}

/// So it never waits for the disk: the store answers reads while its writer is held up.
#[tokio::test]
async fn a_chat_token_takes_no_write() {
    let server = Server::start().await;
    let room = create_room(&server, json!({})).await;
    let before = server.store.counters();
    server.done(Operation::CreateChatToken, json!({"roomIdentifier": room, "userId": "alice"})).await;
    let after = server.store.counters();
    assert!(after.reads > before.reads);
    assert_eq!((after.writes, after.commits), (before.writes, before.commits));
}

#[tokio::test]
async fn rooms_are_told_what_their_application_says() {
    let server = Server::start().await;
    let room = create_room(&server, json!({})).await;
    let event = json!({"roomIdentifier": room, "eventName": "hello", "attributes": {"a": "b"}});
    assert_eq!(server.done(Operation::SendEvent, event).await, json!({"id": EVENT_ID}));
    let message = json!({"roomIdentifier": room, "id": EVENT_ID, "reason": "spam"});
    assert_eq!(server.done(Operation::DeleteMessage, message).await, json!({"id": EVENT_ID}));
    let user = json!({"roomIdentifier": room, "userId": "alice"});
    assert_eq!(server.done(Operation::DisconnectUser, user).await, json!({}));
    let expected =
        [["Event", "hello", "\"b\""], ["DeleteMessage", EVENT_ID, "spam"], ["DisconnectUser", "", "None"]];
    let told = server.told(expected.len());
    assert_eq!(told.len(), expected.len());
    for (told, parts) in told.iter().zip(expected) {
        assert!(parts.iter().all(|part| told.contains(part)), "{told}");
    }

    let busy = server.call(Operation::SendEvent, json!({"roomIdentifier": room, "eventName": "busy"})).await;
    assert_eq!(busy.error(), (429, "ThrottlingException"));
    let closed =
        server.call(Operation::SendEvent, json!({"roomIdentifier": room, "eventName": "closed"})).await;
    assert_eq!(closed.error(), (503, "ServiceUnavailable"));
}

/// The modelled members are all required; the limit is that of the queue that is full.
#[tokio::test]
async fn the_limit_of_a_throttling_exception_is_the_number_of_requests_that_may_wait() {
    let server = Server::start().await;
    let room = create_room(&server, json!({})).await;
    let busy = server.call(Operation::SendEvent, json!({"roomIdentifier": room, "eventName": "busy"})).await;
    assert_eq!(busy.error(), (429, "ThrottlingException"));
    let id = room.rsplit('/').next();
    let expected = json!({
        "message": "Rate exceeded", "resourceId": id, "resourceType": "ROOM", "limit": INBOX_REQUESTS_MAX,
    });
    assert_eq!(busy.json(), expected);
}

#[tokio::test]
async fn both_kinds_of_resource_are_tagged() {
    let server = Server::start().await;
    for arn in
        [create_room(&server, json!({"tags": {"a": "1"}})).await, create_logging_configuration(&server).await]
    {
        let path = format!("/tags/{}", arn.replace(':', "%3A").replace('/', "%2F"));
        let many: serde_json::Map<_, _> = (0..49).map(|n| (format!("k {n}"), json!("v"))).collect();
        let tagged = Call::new("POST", &path).body(json!({"tags": many}).to_string()).send(&server).await;
        assert_eq!((tagged.status, tagged.json()), (200, json!({})));
        let more = json!({"tags": {"b": "2", "c": "3"}}).to_string();
        let over = Call::new("POST", &path).body(more).send(&server).await;
        assert_eq!(over.error(), (400, "ValidationException"));
        assert_eq!(over.json()["fieldList"][0]["name"], "tags");
        let keys: Vec<String> = (1..49).map(|n| format!("tagKeys=k%20{n}")).collect();
        let untagged = Call::new("DELETE", &format!("{path}?{}", keys.join("&"))).send(&server).await;
        assert_eq!((untagged.status, untagged.json()), (200, json!({})));
        let left = Call::new("GET", &path).send(&server).await;
        assert_eq!(left.json()["tags"]["k 0"], "v");
        assert_eq!(left.json()["tags"].get("k 1"), None);
    }
}
