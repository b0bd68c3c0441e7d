//! A chat with tokio-websockets, a client that forgives nothing: whatever breaks RFC 6455 ends its connection.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_websockets::{ClientBuilder, Error, MaybeTlsStream, Message, WebSocketStream, upgrade};

use crate::stage::{Case, Stage};

const FROM: (&str, &str) = ("strict_chat.rs", "tokio-websockets");
const FRAME_SECONDS_MAX: u64 = 30;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            FROM,
            "a strict client chats until it is disconnected",
            &[
                "CreateChatToken",
                "SEND_MESSAGE",
                "DISCONNECT_USER",
                "frame:MESSAGE",
                "frame:EVENT",
                "frame:ERROR",
            ],
            chat,
        ),
        Case::new(FROM, "a strict client is told that its token was used", &["CreateChatToken"], single_use),
    ]
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(stage: &Stage, token: &str) -> Result<Socket, Error> {
    let protocol = HeaderName::from_static("sec-websocket-protocol");
    let token = HeaderValue::from_str(token).expect("a token that a header can hold");
    let builder = ClientBuilder::new().uri(&stage.edge).expect("an address").add_header(protocol, token)?;
    let (socket, response) = builder.connect().await?;
    assert_eq!(response.status().as_u16(), 101);
    Ok(socket)
}

async fn join(stage: &Stage, room_arn: &str, user_id: &str) -> Socket {
    let token = stage.create_token(room_arn, user_id).await;
    connect(stage, &token).await.expect("a connection")
}

async fn say(socket: &mut Socket, request: Value) {
    socket.send(Message::text(request.to_string())).await.expect("a sent request");
}

/// The next message; the client answers pings by itself.
async fn next(socket: &mut Socket) -> Message {
    loop {
        let message = timeout(Duration::from_secs(FRAME_SECONDS_MAX), socket.next()).await;
        let message = message.expect("a frame in time").expect("an open connection").expect("a valid frame");
        if !message.is_ping() {
            return message;
        }
    }
}

async fn frame(socket: &mut Socket) -> Value {
    serde_json::from_str(next(socket).await.as_text().expect("a text frame")).expect("JSON")
}

async fn chat(stage: Arc<Stage>) {
    let room = stage.create_room().await;
    let mut ann = join(&stage, &room, "ann").await;
    let mut ben = join(&stage, &room, "ben").await;

    // Short, and with a length in 16 bits; the answers have both lengths, too.
    for content in ["hello 🎈".to_owned(), "é".repeat(400)] {
        say(&mut ann, json!({"Action": "SEND_MESSAGE", "Content": content})).await;
        let seen = frame(&mut ben).await;
        assert_eq!((&seen["Type"], &seen["Content"]), (&json!("MESSAGE"), &json!(content)));
        assert_eq!(frame(&mut ann).await, seen);
    }

    ann.send(Message::ping("still there?")).await.expect("a sent ping");
    let pong = next(&mut ann).await;
    assert!(pong.is_pong() && pong.as_payload()[..] == b"still there?"[..]);

    say(&mut ben, json!({"Action": "SEND_MESSAGE", "Content": ""})).await;
    assert_eq!(frame(&mut ben).await["ErrorCode"], 400);

    say(&mut ben, json!({"Action": "DISCONNECT_USER", "UserId": "ann", "Reason": "enough"})).await;
    assert_eq!(frame(&mut ann).await["EventName"], "aws:DISCONNECT_USER");
    let close = next(&mut ann).await;
    let (code, reason) = close.as_close().expect("a close");
    assert_eq!((u16::from(code), reason), (1000, "enough"));
}

async fn single_use(stage: Arc<Stage>) {
    let room = stage.create_room().await;
    let token = stage.create_token(&room, "ann").await;
    let _first = connect(&stage, &token).await.expect("the first connection");
    let Err(Error::Upgrade(upgrade::Error::DidNotSwitchProtocols(status))) = connect(&stage, &token).await
    else {
        panic!("a second connection with one token");
    };
    assert_eq!(status, 403);
}
