//! Frames byte for byte, and what a client may send.

use super::{
    Action, Attributes, ErrorCode, Moderation, Request, encode_delete_event, encode_disconnect_event,
    encode_error, encode_event, encode_message, encode_sender, parse_request, session_end_reason,
};
use crate::close::REASON_BYTES_MAX;
use crate::id::Id;
use crate::time::Timestamp;

fn id(text: &str) -> Id {
    Id::parse(text).unwrap_or(Id::from_random(0))
}

fn attributes(pairs: &[(&str, &str)]) -> Attributes {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

const NOW: Timestamp = Timestamp::from_nanos(1_669_969_551_136_912_720);

#[test]
fn a_message_frame_has_the_observed_order() {
    let sender = encode_sender("u1", &attributes(&[("username", "Jo"), ("avatar", "a")]));
    assert_eq!(
        encode_message(id("M2YcHkgffEvU"), "r-1", None, "Hi <b>\"\n\u{1}é", NOW, &sender),
        r#"{"Type":"MESSAGE","Id":"M2YcHkgffEvU","RequestId":"r-1","Attributes":null,"Content":"Hi <b>\"\n\u0001é","SendTime":"2022-12-02T08:25:51.13691272Z","Sender":{"UserId":"u1","Attributes":{"avatar":"a","username":"Jo"}}}"#
    );
    let bare = encode_sender("u1", &Attributes::new());
    let with = attributes(&[("b", "2"), ("B", "1")]);
    assert_eq!(
        encode_message(id("M2YcHkgffEvU"), "", Some(&with), "x", Timestamp::from_seconds(0), &bare),
        r#"{"Type":"MESSAGE","Id":"M2YcHkgffEvU","RequestId":"","Attributes":{"B":"1","b":"2"},"Content":"x","SendTime":"1970-01-01T00:00:00Z","Sender":{"UserId":"u1","Attributes":{}}}"#
    );
}

#[test]
fn event_frames_have_the_observed_order() {
    assert_eq!(
        encode_event(id("IxTh2Ad9fZIr"), "", "app:x", None, NOW),
        r#"{"Type":"EVENT","Id":"IxTh2Ad9fZIr","RequestId":"","EventName":"app:x","Attributes":null,"SendTime":"2022-12-02T08:25:51.13691272Z"}"#
    );
    assert_eq!(
        encode_delete_event(id("IxTh2Ad9fZIr"), "r", id("M2YcHkgffEvU"), Some("no"), NOW),
        r#"{"Type":"EVENT","Id":"IxTh2Ad9fZIr","RequestId":"r","EventName":"aws:DELETE_MESSAGE","Attributes":{"MessageID":"M2YcHkgffEvU","MessageId":"M2YcHkgffEvU","Reason":"no"},"SendTime":"2022-12-02T08:25:51.13691272Z"}"#
    );
    assert_eq!(
        encode_disconnect_event(id("Z8Cd2OchZR9K"), "", "u2", None, NOW),
        r#"{"Type":"EVENT","Id":"Z8Cd2OchZR9K","RequestId":"","EventName":"aws:DISCONNECT_USER","Attributes":{"UserId":"u2"},"SendTime":"2022-12-02T08:25:51.13691272Z"}"#
    );
}

#[test]
fn an_error_frame_names_code_text_and_request() {
    assert_eq!(
        encode_error(id("IG5mcmlvdGlv"), "r", &super::RATE_EXCEEDED),
        r#"{"Type":"ERROR","Id":"IG5mcmlvdGlv","RequestId":"r","ErrorCode":429,"ErrorMessage":"rate limit exceeded"}"#
    );
    assert_eq!(super::MESSAGE_TOO_LONG.message, "Message exceeds maximum length");
    assert!(session_end_reason().len() <= REASON_BYTES_MAX);
}

#[test]
fn every_frame_is_json_that_reads_back() {
    let text: String = ('\0'..='\u{2100}').chain(['\u{10ffff}', '\u{2028}']).collect();
    let sender = encode_sender(&text, &attributes(&[(&text, &text)]));
    let frame =
        encode_message(id("M2YcHkgffEvU"), &text, Some(&attributes(&[(&text, &text)])), &text, NOW, &sender);
    let value: serde_json::Value = serde_json::from_str(&frame).unwrap_or_default();
    assert_eq!(value["Content"], text);
    assert_eq!(value["RequestId"], text);
    assert_eq!(value["Attributes"][&text], text);
    assert_eq!(value["Sender"]["UserId"], text);
}

#[test]
fn half_an_emoji_is_replaced() {
    for (sent, read) in [
        (r"hello \ud83d", "hello \u{fffd}"),
        (r"\ude00\ud83d\ude00\ud83d", "\u{fffd}😀\u{fffd}"),
        (r"\ud83d\u0041", "\u{fffd}A"),
        (r"\\ud83d \ud83dx", "\\ud83d \u{fffd}x"),
        (r"é\u00e9\n\uD83D", "éé\n\u{fffd}"),
    ] {
        let request =
            parse_request(&format!(r#"{{"Action":"SEND_MESSAGE","Content":"{sent}","RequestId":"r"}}"#));
        let action = Action::SendMessage { content: read.to_owned(), attributes: None };
        assert_eq!(request, Ok(Request { request_id: "r".to_owned(), action }), "{sent}");
    }
    for text in [r#"{"a":"\"#, r#"{"a":"\u"#, r#"{"a":"\ud83"#, r#"{"a":"\ud83é"}"#, r#"{"a":"\ud83d\"#] {
        assert!(parse_request(text).is_err(), "{text}");
    }
}

fn parsed(text: &str) -> Action {
    match parse_request(text) {
        Ok(Request { action, .. }) => action,
        Err(refusal) => panic!("{text} was refused: {refusal:?}"),
    }
}

#[test]
fn member_names_are_read_in_any_case_and_unknown_ones_ignored() {
    let expected = Action::SendMessage { content: "hi".into(), attributes: Some(attributes(&[("K", "v")])) };
    for text in [
        r#"{"Action":"SEND_MESSAGE","Content":"hi","Attributes":{"K":"v"}}"#,
        r#"{"action":"SEND_MESSAGE","content":"hi","attributes":{"K":"v"},"id":7,"other":[[]]}"#,
        r#"{"ACTION":"SEND_MESSAGE","cONTENT":"hi","ATTRIBUTES":{"K":"v"}}"#,
    ] {
        assert_eq!(parsed(text), expected, "{text}");
    }
    assert_eq!(
        parsed(r#"{"Action":"SEND_MESSAGE","Content":"hi","Attributes":null,"RequestId":null}"#),
        Action::SendMessage { content: "hi".into(), attributes: None }
    );
    assert_eq!(
        parsed(r#"{"Action":"DELETE_MESSAGE","Id":"M2YcHkgffEvU","Reason":"r"}"#),
        Action::Moderate(Moderation::DeleteMessage {
            message_id: id("M2YcHkgffEvU"),
            reason: Some("r".into())
        })
    );
    assert_eq!(
        parsed(r#"{"Action":"DISCONNECT_USER","userId":"u"}"#),
        Action::Moderate(Moderation::DisconnectUser { user_id: "u".into(), reason: None })
    );
}

#[test]
fn of_a_member_given_twice_the_last_one_counts() {
    let said = |content: &str| Action::SendMessage { content: content.to_owned(), attributes: None };
    for (text, expected) in [
        (r#"{"Action":"SEND_MESSAGE","Content":"a","Content":"b"}"#, "b"),
        (r#"{"Action":"SEND_MESSAGE","Content":"a","content":"b"}"#, "b"),
        (r#"{"Action":"SEND_MESSAGE","content":"a","Content":"b"}"#, "b"),
        (r#"{"cONTENT":"a","Action":"SEND_MESSAGE","content":null,"Content":"b","x":1,"x":[]}"#, "b"),
        (r#"{"action":"DELETE_MESSAGE","Content":"b","ACTION":"SEND_MESSAGE"}"#, "b"),
    ] {
        assert_eq!(parsed(text), said(expected), "{text}");
    }
    let null_last =
        r#"{"Action":"SEND_MESSAGE","content":"a","Content":null,"RequestId":"r","requestId":"last"}"#;
    let Err((refusal, request_id)) = parse_request(null_last) else { panic!("it has no content") };
    assert_eq!((refusal.code, request_id.as_str()), (ErrorCode::Invalid, "last"));
}

#[track_caller]
fn check_refusal(text: &str, code: ErrorCode, request_id: &str) {
    match parse_request(text) {
        Ok(request) => panic!("{text} was taken: {request:?}"),
        Err((refusal, answered)) => {
            assert_eq!((refusal.code, answered.as_str()), (code, request_id), "{text}");
        }
    }
}

#[test]
fn members_that_are_too_large_are_413() {
    let send = |more: &str| format!(r#"{{"Action":"SEND_MESSAGE","Content":"x",{more}}}"#);
    let moderate = |action: &str, more: &str| format!(r#"{{"RequestId":"r","Action":"{action}",{more}}}"#);
    let text = |length: usize| "x".repeat(length);
    let long_id = text(257);
    check_refusal(&send(&format!(r#""RequestId":"{long_id}""#)), ErrorCode::TooLarge, &long_id);
    let attributes = format!(r#""RequestId":"r","Attributes":{{"a":"{}"}}"#, text(1_024));
    check_refusal(&send(&attributes), ErrorCode::TooLarge, "r");
    let reason = format!(r#""Id":"M2YcHkgffEvU","Reason":"{}""#, text(257));
    check_refusal(&moderate("DELETE_MESSAGE", &reason), ErrorCode::TooLarge, "r");
    let user_id = format!(r#""UserId":"{}""#, text(129));
    check_refusal(&moderate("DISCONNECT_USER", &user_id), ErrorCode::TooLarge, "r");
}

#[test]
fn bad_requests_are_refused_with_their_request_id() {
    let cases = [
        ("", ""),
        ("[]", ""),
        ("{", ""),
        (r#"{"RequestId":7,"Action":"SEND_MESSAGE","Content":"x"}"#, ""),
        (r#"{"RequestId":"r"}"#, "r"),
        (r#"{"RequestId":"r","Action":"send_message","Content":"x"}"#, "r"),
        (r#"{"RequestId":"r","Action":1}"#, "r"),
        (r#"{"RequestId":"r","Action":"SEND_MESSAGE"}"#, "r"),
        (r#"{"RequestId":"r","Action":"SEND_MESSAGE","Content":""}"#, "r"),
        (r#"{"RequestId":"r","Action":"SEND_MESSAGE","Content":"x","Attributes":{"a":1}}"#, "r"),
        (r#"{"RequestId":"r","Action":"SEND_MESSAGE","Content":"x","Attributes":[]}"#, "r"),
        (r#"{"RequestId":"r","Action":"DELETE_MESSAGE","Id":"short"}"#, "r"),
        (r#"{"RequestId":"r","Action":"DELETE_MESSAGE","Id":"M2YcHkgffEvU","Reason":""}"#, "r"),
        (r#"{"RequestId":"r","Action":"DISCONNECT_USER"}"#, "r"),
    ];
    for (text, request_id) in cases {
        check_refusal(text, ErrorCode::Invalid, request_id);
    }
    let deep = "[".repeat(10_000);
    assert!(parse_request(&deep).is_err());
}
