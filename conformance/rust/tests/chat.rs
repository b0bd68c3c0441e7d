//! A chat over plain Rust WebSockets, with tokens, events and moderation from the SDK.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::control::is_id;
use crate::stage::{Case, Stage};

const FROM: (&str, &str) = ("chat.rs", "tokio-tungstenite");
const FRAME_SECONDS_MAX: u64 = 30;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            FROM,
            "people chat and moderate",
            &[
                "CreateChatToken",
                "SEND_MESSAGE",
                "DELETE_MESSAGE",
                "DISCONNECT_USER",
                "frame:MESSAGE",
                "frame:EVENT",
                "frame:ERROR",
            ],
            chat,
        ),
        Case::new(
            FROM,
            "the API's events reach the room with the ids it answered",
            &["SendEvent", "DeleteMessage", "DisconnectUser", "frame:EVENT"],
            api_events,
        ),
        Case::new(FROM, "a token lets in once", &["CreateChatToken"], single_use),
    ]
}

/// A connected participant.
struct Participant {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Participant {
    async fn join(stage: &Stage, room_arn: &str, user_id: &str) -> Self {
        let token = stage.create_token(room_arn, user_id).await;
        let (socket, response) = connect_async(handshake(&stage.edge, &token)).await.expect("a connection");
        let chosen = response.headers().get("sec-websocket-protocol").and_then(|value| value.to_str().ok());
        assert_eq!(chosen, Some(token.as_str()));
        Self { socket }
    }

    async fn say(&mut self, request: Value) {
        self.socket.send(Message::text(request.to_string())).await.expect("a sent request");
    }

    /// The next text frame; pings are answered on the way.
    async fn frame(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.next().await {
                return serde_json::from_str(&text).expect("JSON");
            }
        }
    }

    /// The Close frame, which must be the next thing but for pings.
    async fn close(&mut self) -> CloseFrame {
        loop {
            match self.next().await {
                Message::Close(frame) => return frame.expect("a close with a code"),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?} instead of a close"),
            }
        }
    }

    async fn next(&mut self) -> Message {
        let message = timeout(Duration::from_secs(FRAME_SECONDS_MAX), self.socket.next()).await;
        message.expect("a frame in time").expect("an open connection").expect("a valid frame")
    }
}

fn handshake(edge: &str, token: &str) -> Request<()> {
    let mut request = edge.into_client_request().expect("an address");
    let token = HeaderValue::from_str(token).expect("a token that a header can hold");
    request.headers_mut().insert("sec-websocket-protocol", token);
    request
}

/// `frame` without its id and time, which must be well-formed.
fn without_id_and_time(mut frame: Value) -> Value {
    let members = frame.as_object_mut().expect("an object");
    assert!(is_id(members.remove("Id").expect("an id").as_str().expect("a text")));
    let time = members.remove("SendTime").expect("a time");
    assert!(time.as_str().is_some_and(|time| time.ends_with('Z')), "{time}");
    frame
}

async fn chat(stage: Arc<Stage>) {
    let room = stage.create_room().await;
    let mut ann = Participant::join(&stage, &room, "ann").await;
    let mut ben = Participant::join(&stage, &room, "ben").await;

    ann.say(json!({"Action": "SEND_MESSAGE", "Content": "hello 🎈", "RequestId": "r-1"})).await;
    let seen = ben.frame().await;
    assert_eq!(ann.frame().await, seen);
    let message_id = seen["Id"].clone();
    assert_eq!(
        without_id_and_time(seen),
        json!({
            "Type": "MESSAGE",
            "RequestId": "r-1",
            "Attributes": null,
            "Content": "hello 🎈",
            "Sender": {"UserId": "ann", "Attributes": {}},
        })
    );

    ben.say(json!({"Action": "DELETE_MESSAGE", "Id": message_id, "Reason": "rude", "RequestId": "r-2"}))
        .await;
    let expected = json!({
        "Type": "EVENT",
        "RequestId": "r-2",
        "EventName": "aws:DELETE_MESSAGE",
        "Attributes": {"MessageID": message_id, "MessageId": message_id, "Reason": "rude"},
    });
    assert_eq!(without_id_and_time(ann.frame().await), expected);
    assert_eq!(without_id_and_time(ben.frame().await), expected);

    ben.say(json!({"Action": "SEND_MESSAGE", "Content": "", "RequestId": "r-3"})).await;
    let refusal = ben.frame().await;
    assert_eq!(
        (&refusal["Type"], &refusal["ErrorCode"], &refusal["RequestId"]),
        (&json!("ERROR"), &json!(400), &json!("r-3"))
    );

    ben.say(json!({"Action": "DISCONNECT_USER", "UserId": "ann", "Reason": "enough", "RequestId": "r-4"}))
        .await;
    let expected = json!({
        "Type": "EVENT",
        "RequestId": "r-4",
        "EventName": "aws:DISCONNECT_USER",
        "Attributes": {"Reason": "enough", "UserId": "ann"},
    });
    assert_eq!(without_id_and_time(ann.frame().await), expected);
    assert_eq!(without_id_and_time(ben.frame().await), expected);
    let close = ann.close().await;
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1000, "enough"));
}

async fn api_events(stage: Arc<Stage>) {
    let client = &stage.client;
    let room = stage.create_room().await;
    let mut ann = Participant::join(&stage, &room, "ann").await;

    let sent =
        client.send_event().room_identifier(&room).event_name("app:X").attributes("a", "b").send().await;
    let event = ann.frame().await;
    assert_eq!(event["Id"].as_str(), sent.expect("SendEvent").id());
    assert_eq!(
        without_id_and_time(event),
        json!({"Type": "EVENT", "RequestId": "", "EventName": "app:X", "Attributes": {"a": "b"}})
    );

    let deleted =
        client.delete_message().room_identifier(&room).id("AbCdEfGh1234").reason("rude").send().await;
    let event = ann.frame().await;
    assert_eq!(event["Id"].as_str(), deleted.expect("DeleteMessage").id());
    assert_eq!(event["EventName"], "aws:DELETE_MESSAGE");

    client
        .disconnect_user()
        .room_identifier(&room)
        .user_id("ann")
        .reason("api")
        .send()
        .await
        .expect("DisconnectUser");
    assert_eq!(ann.frame().await["EventName"], "aws:DISCONNECT_USER");
    let close = ann.close().await;
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1000, "api"));
}

async fn single_use(stage: Arc<Stage>) {
    let room = stage.create_room().await;
    let token = stage.create_token(&room, "ann").await;
    let (_first, _) = connect_async(handshake(&stage.edge, &token)).await.expect("the first connection");
    let Err(Error::Http(refusal)) = connect_async(handshake(&stage.edge, &token)).await else {
        panic!("a second connection with one token");
    };
    assert_eq!(refusal.status().as_u16(), 403);
}
