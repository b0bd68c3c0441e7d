//! What the 17 requests take and refuse: for each member the smallest and the largest that is allowed, one below and
//! one above, a bad pattern, a newline at the end, wrong types, and absence.

use proptest::prelude::{any, proptest};
use serde_json::{Map, Value, json};

use super::logging_configuration::{
    CreateLoggingConfigurationRequest, DestinationConfiguration, ListLoggingConfigurationsRequest,
    LoggingConfigurationIdentifierRequest, UpdateLoggingConfigurationRequest,
};
use super::message::{DeleteMessageRequest, DisconnectUserRequest, SendEventRequest};
use super::room::{
    CreateRoomRequest, ListRoomsRequest, MessageReviewHandler, RoomIdentifierRequest, UpdateRoomRequest,
};
use super::tag::{ListTagsForResourceRequest, TagResourceRequest, UntagResourceRequest};
use super::token::CreateChatTokenRequest;
use crate::capability::Capability;
use crate::error::ApiError;
use crate::limit::control::BODY_BYTES_MAX;

const ROOM: &str = "arn:aws:ivschat:us-west-2:123456789012:room/g1H2I3j4k5L6";
const LOGGING: &str = "arn:aws:ivschat:us-west-2:123456789012:logging-configuration/g1H2I3j4k5L6";
const LAMBDA: &str = "arn:aws:lambda:us-west-2:123456789012:function:";

/// The names of the failing members, in order; nothing when the request is taken.
fn failing<T>(outcome: Result<T, ApiError>) -> Vec<String> {
    let Err(error) = outcome else { return Vec::new() };
    let body: Value = serde_json::from_slice(&error.encode().body).unwrap_or_default();
    assert_eq!(body["reason"], "FIELD_VALIDATION_FAILED", "{body}");
    let fields = body["fieldList"].as_array().cloned().unwrap_or_default();
    fields.iter().map(|field| field["name"].as_str().unwrap_or_default().to_owned()).collect()
}

type Parse = fn(&[u8]) -> Vec<String>;

/// All requests that come in a body, with the members that they cannot do without.
fn requests() -> Vec<(&'static str, Parse, Value)> {
    let destination = json!({"s3": {"bucketName": "bucket"}});
    vec![
        ("CreateRoom", |body| failing(CreateRoomRequest::parse(body)), json!({})),
        ("RoomIdentifier", |body| failing(RoomIdentifierRequest::parse(body)), json!({"identifier": ROOM})),
        ("UpdateRoom", |body| failing(UpdateRoomRequest::parse(body)), json!({"identifier": ROOM})),
        ("ListRooms", |body| failing(ListRoomsRequest::parse(body)), json!({})),
        (
            "CreateLoggingConfiguration",
            |body| failing(CreateLoggingConfigurationRequest::parse(body)),
            json!({"destinationConfiguration": destination}),
        ),
        (
            "LoggingConfigurationIdentifier",
            |body| failing(LoggingConfigurationIdentifierRequest::parse(body)),
            json!({"identifier": LOGGING}),
        ),
        (
            "UpdateLoggingConfiguration",
            |body| failing(UpdateLoggingConfigurationRequest::parse(body)),
            json!({"identifier": LOGGING}),
        ),
        (
            "ListLoggingConfigurations",
            |body| failing(ListLoggingConfigurationsRequest::parse(body)),
            json!({}),
        ),
        (
            "CreateChatToken",
            |body| failing(CreateChatTokenRequest::parse(body)),
            json!({"roomIdentifier": ROOM, "userId": "u"}),
        ),
        (
            "SendEvent",
            |body| failing(SendEventRequest::parse(body)),
            json!({"roomIdentifier": ROOM, "eventName": "e"}),
        ),
        (
            "DeleteMessage",
            |body| failing(DeleteMessageRequest::parse(body)),
            json!({"roomIdentifier": ROOM, "id": "g1H2I3j4k5L6"}),
        ),
        (
            "DisconnectUser",
            |body| failing(DisconnectUserRequest::parse(body)),
            json!({"roomIdentifier": ROOM, "userId": "u"}),
        ),
        ("TagResource", |body| failing(TagResourceRequest::parse(ROOM, body)), json!({"tags": {}})),
    ]
}

/// Each of `values` is taken, or refused with exactly the places of `failures`, as `member` of each of `operations`.
#[track_caller]
fn check(operations: &[&str], member: &str, values: &[Value], failures: &[&str]) {
    for operation in operations {
        let Some((_, parse, mut request)) = requests().into_iter().find(|(name, ..)| name == operation)
        else {
            panic!("no request {operation}");
        };
        for value in values {
            request[member] = value.clone();
            assert_eq!(parse(request.to_string().as_bytes()), failures, "{operation} {member}: {value}");
        }
    }
}

/// Texts that break a pattern or are no texts, for a member that holds a text like `good`.
fn spoilt(good: &str) -> Vec<Value> {
    let mut spoilt: Vec<Value> =
        ["\n", " ", "ä", "\0", "$"].iter().map(|character| json!(format!("{good}{character}"))).collect();
    spoilt.extend([json!(format!(" {good}")), json!(1), json!(true), json!([good]), json!({"a": good})]);
    spoilt
}

const ONLY_NAME: [&str; 5] =
    ["CreateRoom", "UpdateRoom", "ListRooms", "CreateLoggingConfiguration", "UpdateLoggingConfiguration"];

#[test]
fn names() {
    let texts = [json!(""), json!("aZ0-_"), json!("a".repeat(128)), Value::Null];
    check(&ONLY_NAME, "name", &texts, &[]);
    check(&ONLY_NAME, "name", &[json!("a".repeat(129))], &["name"]);
    check(&ONLY_NAME, "name", &spoilt("a"), &["name"]);
}

#[test]
fn identifiers() {
    let longest = |arn: &str| format!("{arn}{}", "a".repeat(128 - arn.len()));
    for (arn, other, operations, member) in [
        (ROOM, LOGGING, &["RoomIdentifier", "UpdateRoom"][..], "identifier"),
        (LOGGING, ROOM, &["LoggingConfigurationIdentifier", "UpdateLoggingConfiguration"][..], "identifier"),
        (
            ROOM,
            LOGGING,
            &["CreateChatToken", "SendEvent", "DeleteMessage", "DisconnectUser"][..],
            "roomIdentifier",
        ),
    ] {
        check(operations, member, &[json!(arn), json!(longest(arn))], &[]);
        check(operations, member, &spoilt(arn), &[member]);
        let too_long = format!("{}a", longest(arn));
        let wrong = [json!(""), json!(other), json!("g1H2I3j4k5L6"), json!(too_long), Value::Null];
        check(operations, member, &wrong, &[member]);
    }
    check(&["ListRooms"], "loggingConfigurationIdentifier", &[json!(LOGGING), Value::Null], &[]);
    let wrong = [json!(""), json!(ROOM)];
    check(&["ListRooms"], "loggingConfigurationIdentifier", &wrong, &["loggingConfigurationIdentifier"]);
}

#[test]
fn integers() {
    for (operations, member, most) in [
        (&["CreateRoom", "UpdateRoom"][..], "maximumMessageRatePerSecond", 100),
        (&["CreateRoom", "UpdateRoom"][..], "maximumMessageLength", 500),
        (&["ListRooms", "ListLoggingConfigurations"][..], "maxResults", 50),
        (&["CreateChatToken"][..], "sessionDurationInMinutes", 180),
    ] {
        check(operations, member, &[json!(1), json!(most), json!(1.0), Value::Null], &[]);
        let wrong =
            [json!(0), json!(most + 1), json!(-1), json!(1.5), json!("1"), json!(1_u64 << 40), json!([1])];
        check(operations, member, &wrong, &[member]);
    }
}

#[test]
fn message_review_handlers() {
    let longest = format!("{LAMBDA}{}", "f".repeat(170 - LAMBDA.len()));
    let uris = [
        json!(""),
        json!(format!("{LAMBDA}f")),
        json!(longest),
        json!(format!("{LAMBDA}f:ä b")),
        Value::Null,
    ];
    let wrong_uris = [
        json!(LAMBDA),
        json!(format!("{longest}f")),
        json!(format!("{LAMBDA}f\n")),
        json!("\n"),
        json!("arn:aws:lambda:us-west-2:12345678901:function:f"),
        json!("arn:aws:lambda:US:123456789012:function:f"),
        json!("arn:aws:lambda::123456789012:function:f"),
        json!("arn:aws:lambda:us-west-2:123456789012:layer:f"),
        json!(7),
    ];
    let as_handler = |uris: &[Value]| -> Vec<Value> { uris.iter().map(|uri| json!({"uri": uri})).collect() };
    let operations = ["CreateRoom", "UpdateRoom"];
    check(&operations, "messageReviewHandler", &as_handler(&uris), &[]);
    check(&operations, "messageReviewHandler", &as_handler(&wrong_uris), &["messageReviewHandler.uri"]);
    check(&["ListRooms"], "messageReviewHandlerUri", &uris, &[]);
    check(&["ListRooms"], "messageReviewHandlerUri", &wrong_uris, &["messageReviewHandlerUri"]);

    let fallbacks = [json!({}), json!({"fallbackResult": "ALLOW"}), json!({"fallbackResult": "DENY"})];
    check(&operations, "messageReviewHandler", &fallbacks, &[]);
    let wrong =
        [json!({"fallbackResult": "allow"}), json!({"fallbackResult": ""}), json!({"fallbackResult": 1})];
    check(&operations, "messageReviewHandler", &wrong, &["messageReviewHandler.fallbackResult"]);
    let wrong = [json!("x"), json!([]), json!(1)];
    check(&operations, "messageReviewHandler", &wrong, &["messageReviewHandler"]);
}

#[test]
fn logging_configurations_of_a_room() {
    let member = "loggingConfigurationIdentifiers";
    let operations = ["CreateRoom", "UpdateRoom"];
    let arn = |id: &str| format!("arn:aws:ivschat:us-west-2:123456789012:logging-configuration/{id}");
    check(&operations, member, &[json!([]), json!([arn("a")]), json!([arn("a"), arn("b"), arn("c")])], &[]);
    let wrong = [json!([arn("a"), arn("b"), arn("c"), arn("d")]), json!(arn("a")), json!({})];
    check(&operations, member, &wrong, &[member]);
    check(
        &operations,
        member,
        &[json!([arn("a"), ROOM, null])],
        &["loggingConfigurationIdentifiers[1]", "loggingConfigurationIdentifiers[2]"],
    );
    let twice = [json!([arn("a"), arn("b"), arn("a")])];
    check(&operations, member, &twice, &["loggingConfigurationIdentifiers[2]"]);
}

#[test]
fn destinations() {
    let member = "destinationConfiguration";
    let operations = ["CreateLoggingConfiguration", "UpdateLoggingConfiguration"];
    for (kind, name, shortest, longest, alphabet) in [
        ("s3", "bucketName", 3, 63, "az09-."),
        ("cloudWatchLogs", "logGroupName", 1, 512, "azAZ09.-_/#"),
        ("firehose", "deliveryStreamName", 1, 64, "azAZ09.-_"),
    ] {
        let with = |text: Value| json!({kind: {name: text}});
        let place = format!("{member}.{kind}.{name}");
        let good =
            [with(json!("a".repeat(shortest))), with(json!("a".repeat(longest))), with(json!(alphabet))];
        check(&operations, member, &good, &[]);
        let wrong = [json!("a".repeat(shortest - 1)), json!("a".repeat(longest + 1)), Value::Null];
        let wrong: Vec<Value> = spoilt("aaa").into_iter().chain(wrong).map(with).collect();
        check(&operations, member, &wrong, &[&place]);
        check(
            &operations,
            member,
            &[json!({kind: "aaa"}), json!({kind: []})],
            &[&format!("{member}.{kind}")],
        );
        let unknown = json!({kind: {name: "aaa", "more": 1}, "more": 1, "other": null});
        check(&operations, member, &[unknown], &[]);
    }
    check(&operations, member, &[json!({"s3": {"bucketName": "aaa"}, "firehose": null})], &[]);
    let both = json!({"s3": {"bucketName": "aaa"}, "firehose": {"deliveryStreamName": "a"}});
    check(&operations, member, &[json!({}), both, json!({"more": {}}), json!("s3"), json!([])], &[member]);
    check(&["CreateLoggingConfiguration"], member, &[Value::Null], &[member]);
    check(&["UpdateLoggingConfiguration"], member, &[Value::Null], &[]);
}

#[test]
fn page_tokens() {
    let operations = ["ListRooms", "ListLoggingConfigurations"];
    check(&operations, "nextToken", &[json!(""), json!("ä".repeat(1_024))], &[]);
    check(&operations, "nextToken", &[json!("a".repeat(1_025)), json!(1)], &["nextToken"]);
}

#[test]
fn texts_of_chat() {
    for (operations, member, most) in [
        (&["CreateChatToken", "DisconnectUser"][..], "userId", 128),
        (&["DeleteMessage", "DisconnectUser"][..], "reason", 256),
        (&["SendEvent"][..], "eventName", 100),
    ] {
        let good = [json!("a"), json!("😀".repeat(most)), json!("a\n"), json!("\0")];
        check(operations, member, &good, &[]);
        let wrong = [json!(""), json!("a".repeat(most + 1)), json!(1), json!(["a"])];
        check(operations, member, &wrong, &[member]);
    }
    check(&["DeleteMessage"], "id", &[json!("g1H2I3j4k5L6")], &[]);
    let wrong = [json!("g1H2I3j4k5L"), json!("g1H2I3j4k5L67"), json!("g1H2I3j4k5L-"), json!(""), Value::Null];
    check(&["DeleteMessage"], "id", &wrong, &["id"]);
    check(&["DeleteMessage"], "id", &spoilt("g1H2I3j4k5L"), &["id"]);
}

#[test]
fn attributes_are_counted_in_bytes() {
    for (operation, most) in [("CreateChatToken", 1_024), ("SendEvent", 4_096)] {
        let full = json!({"key": "ä".repeat((most - 3) / 2), "": "x"});
        check(&[operation], "attributes", &[json!({}), full, Value::Null], &[]);
        let over = json!({"key": "ä".repeat((most - 3) / 2), "k": "x"});
        check(&[operation], "attributes", &[over, json!([]), json!("a")], &["attributes"]);
        let wrong = json!({"a": 1, "b": "x", "c": null});
        check(&[operation], "attributes", &[wrong], &["attributes.a", "attributes.c"]);
    }
}

#[test]
fn capabilities_are_a_set() {
    let words = json!(["SEND_MESSAGE", "DELETE_MESSAGE", "DISCONNECT_USER", "SEND_MESSAGE"]);
    check(&["CreateChatToken"], "capabilities", &[json!([]), words.clone()], &[]);
    let wrong = [
        json!(["SEND_MESSAGE", "VIEW"]),
        json!(["SEND_MESSAGE", null]),
        json!(["SEND_MESSAGE", "send_message"]),
    ];
    check(&["CreateChatToken"], "capabilities", &wrong, &["capabilities[1]"]);
    check(&["CreateChatToken"], "capabilities", &[json!("SEND_MESSAGE"), json!({})], &["capabilities"]);

    let request = json!({"roomIdentifier": ROOM, "userId": "u", "capabilities": words});
    let request = CreateChatTokenRequest::parse(request.to_string().as_bytes());
    let capabilities = request.map(|request| request.capabilities).unwrap_or_default();
    assert_eq!(capabilities, Capability::ALL.into_iter().collect());
}

#[test]
fn tags() {
    let operations = ["CreateRoom", "CreateLoggingConfiguration", "TagResource"];
    let many = |count: usize| -> Value {
        (0..count).map(|n| (format!("k{n}"), json!(""))).collect::<Map<_, _>>().into()
    };
    let good = [
        json!({}),
        many(50),
        json!({"k": "v".repeat(256)}),
        json!({"😀".repeat(128): "😀".repeat(256)}),
        json!({"aws": "", "awsome:": "", "my:aws:": ""}),
    ];
    check(&operations, "tags", &good, &[]);
    check(&operations, "tags", &[many(51), json!([]), json!("a")], &["tags"]);
    check(&operations, "tags", &[json!({"a": "v".repeat(257)}), json!({"a": 1})], &["tags.a"]);
    check(&operations, "tags", &[json!({"": ""})], &["tags."]);
    check(&operations, "tags", &[json!({"aws:": ""})], &["tags.aws:"]);
    check(&operations, "tags", &[json!({"AwS:x": "", "b": ""})], &["tags.AwS:x"]);
    check(&operations, "tags", &[json!({"k".repeat(129): ""})], &[&format!("tags.{}", "k".repeat(128))]);
    check(&["TagResource"], "tags", &[Value::Null], &["tags"]);
}

#[test]
fn tags_are_taken_away_by_query() {
    let outcome = |query: &str| failing(UntagResourceRequest::parse(ROOM, query));
    let none: [&str; 0] = [];
    for query in ["tagKeys=a", "x=y&tagKeys=a%20b&tagKeys=%C3%A4", "tag%4Beys=a&"] {
        assert_eq!(outcome(query), none, "{query}");
    }
    for query in ["", "tagkeys=a", "tagKeysa"] {
        assert_eq!(outcome(query), ["tagKeys"], "{query}");
    }
    for query in
        ["tagKeys=a&tagKeys", "tagKeys=a&tagKeys=", "tagKeys=a&tagKeys=%", "tagKeys=a&tagKeys=AWS%3Ab"]
    {
        assert_eq!(outcome(query), ["tagKeys[1]"], "{query}");
    }
    assert_eq!(outcome(&format!("tagKeys={}", "a".repeat(129))), ["tagKeys[0]"]);
    assert_eq!(outcome(&"tagKeys=a&".repeat(50)), none);
    assert_eq!(outcome(&"tagKeys=a&".repeat(51)), ["tagKeys"]);

    let keys =
        UntagResourceRequest::parse(LOGGING, "tagKeys=a%2Bb&tagKeys=a+b").map(|request| request.tag_keys);
    assert_eq!(keys.ok(), Some(vec!["a+b".to_owned(), "a+b".to_owned()]));
}

#[test]
fn both_kinds_of_resource_have_tags() {
    for arn in [ROOM, LOGGING] {
        assert_eq!(
            ListTagsForResourceRequest::parse(arn)
                .map(|request| request.resource.to_string())
                .ok()
                .as_deref(),
            Some(arn)
        );
    }
    for arn in ["", "g1H2I3j4k5L6", "arn:aws:ivschat:us-west-2:123456789012:r/a"] {
        assert_eq!(failing(ListTagsForResourceRequest::parse(arn)), ["resourceArn"]);
        assert_eq!(failing(TagResourceRequest::parse(arn, b"{}")), ["resourceArn", "tags"]);
        assert_eq!(failing(UntagResourceRequest::parse(arn, "")), ["resourceArn", "tagKeys"]);
    }
    // The ARN of the path counts, whatever the body says.
    let request = TagResourceRequest::parse(ROOM, br#"{"resourceArn": 7, "tags": {}}"#);
    assert_eq!(request.map(|request| request.resource.to_string()).ok().as_deref(), Some(ROOM));
}

#[test]
fn every_failing_member_is_named() {
    let body = json!({
        "name": "a b",
        "maximumMessageRatePerSecond": 0,
        "maximumMessageLength": 501,
        "messageReviewHandler": {"uri": "x", "fallbackResult": "MAYBE"},
        "tags": {"aws:a": "", "b": 1},
        "loggingConfigurationIdentifiers": ["x"],
    });
    assert_eq!(
        failing(CreateRoomRequest::parse(body.to_string().as_bytes())),
        [
            "name",
            "maximumMessageRatePerSecond",
            "maximumMessageLength",
            "messageReviewHandler.uri",
            "messageReviewHandler.fallbackResult",
            "tags.aws:a",
            "tags.b",
            "loggingConfigurationIdentifiers[0]",
        ]
    );
}

#[test]
fn a_whole_body_of_failures_is_named() {
    let room = json!({ "roomIdentifier": ROOM, "userId": "u", "capabilities": [] }).to_string();
    let count = (BODY_BYTES_MAX - room.len()).div_ceil(2);
    let body = room.replace("[]", &format!("[{}]", vec!["0"; count].join(",")));
    assert!((BODY_BYTES_MAX - 2..=BODY_BYTES_MAX).contains(&body.len()));
    let names = failing(CreateChatTokenRequest::parse(body.as_bytes()));
    assert_eq!(names.len(), count);
    assert_eq!(names.last(), Some(&format!("capabilities[{}]", count - 1)));

    let encoded = CreateChatTokenRequest::parse(body.as_bytes()).map_err(|error| error.encode().body);
    let answer = encoded.err().unwrap_or_default();
    assert!(answer.len() < 4 * 1_024 * 1_024, "{}", answer.len());
    let message = serde_json::from_slice::<Value>(&answer).unwrap_or_default()["message"].to_string();
    assert!(message.contains("capabilities[0], ") && message.contains(" and 32"), "{message}");
    assert!(message.len() < 1_024, "{message}");
}

#[test]
fn what_a_request_needs_is_missed() {
    for (operation, parse, request) in requests() {
        let needed: Vec<&str> =
            request.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let mut missed = parse(b"");
        missed.sort_unstable();
        assert_eq!(missed, needed, "{operation}");
        assert_eq!(parse(request.to_string().as_bytes()), Vec::<String>::new(), "{operation}");
    }
}

#[test]
fn members_end_up_where_they_belong() {
    let request = CreateRoomRequest::parse(br#"{"unknown": [], "NAME": 7, "messageReviewHandler": {}}"#);
    let expected = CreateRoomRequest {
        name: None,
        maximum_message_rate_per_second: None,
        maximum_message_length: None,
        message_review_handler: Some(MessageReviewHandler { uri: None, fallback_result: None }),
        tags: super::StringMap::new(),
        logging_configurations: Vec::new(),
    };
    assert_eq!(request.ok(), Some(expected));

    let request = ListRoomsRequest::parse(br#"{"name": "", "messageReviewHandlerUri": "", "nextToken": ""}"#);
    let expected = ListRoomsRequest {
        name: None,
        message_review_handler_uri: None,
        logging_configuration: None,
        next_token: None,
        page_size: None,
    };
    assert_eq!(request.ok(), Some(expected));

    let body = json!({"destinationConfiguration": {"cloudWatchLogs": {"logGroupName": "/a#"}}});
    let destination = CreateLoggingConfigurationRequest::parse(body.to_string().as_bytes());
    let destination = destination.map(|request| request.destination).ok();
    let expected = DestinationConfiguration::CloudWatchLogs { log_group_name: "/a#".to_owned() };
    assert_eq!(serde_json::to_value(&expected).ok(), Some(body["destinationConfiguration"].clone()));
    assert_eq!(destination, Some(expected));
}

#[test]
fn users_are_not_seen_in_debug() {
    let request = json!({"roomIdentifier": ROOM, "userId": "alice", "attributes": {"mail": "alice"}});
    let request = CreateChatTokenRequest::parse(request.to_string().as_bytes());
    assert!(!format!("{request:?}").contains("alice"));
    let request = json!({"roomIdentifier": ROOM, "userId": "alice"});
    let request = DisconnectUserRequest::parse(request.to_string().as_bytes());
    assert!(!format!("{request:?}").contains("alice"));
}

proptest! {
    #[test]
    fn any_query_and_any_text_have_a_typed_outcome(text in any::<String>()) {
        failing(UntagResourceRequest::parse(&text, &text));
        for (_, parse, request) in requests() {
            for member in request.as_object().into_iter().flatten().map(|(name, _)| name) {
                let mut request = request.clone();
                request[member.as_str()] = Value::from(text.as_str());
                parse(request.to_string().as_bytes());
            }
        }
    }
}
