//! A service of AWS that a test answers for, call by call.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::folder::FolderSink;
use super::super::sink::{ServiceSet, Sink};
use crate::aws::{AwsClient, AwsSettings};
use crate::outgoing::{Caller, Trust};
use crate::telemetry::Telemetry;

/// What is answered to a call; `None`: nothing, for ever.
pub(super) type Answer = Option<(u16, Value)>;

/// What a throttled account answers.
pub(super) fn throttled() -> Answer {
    Some((400, json!({"__type": "ThrottlingException", "message": "slow down"})))
}

/// That a delivery stream has taken all records of a request.
pub(super) fn all_taken(request: &Value) -> Answer {
    let each: Vec<Value> = texts(request).iter().map(|_| json!({"RecordId": "1"})).collect();
    Some((200, json!({"FailedPutCount": 0, "RequestResponses": each})))
}

/// What the records of a PutRecordBatch say.
pub(super) fn texts(request: &Value) -> Vec<String> {
    let text = |record: &Value| {
        let line = STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
        let record: Value = serde_json::from_slice(&line).unwrap();
        record["payload"].as_str().unwrap().to_owned()
    };
    request["Records"].as_array().unwrap().iter().map(text).collect()
}

/// The way to a fake of CloudWatch Logs and Firehose, which answers each call with what `answer` says to its body.
pub(super) async fn sink(answer: impl Fn(&Value) -> Answer + Send + Sync + 'static) -> Sink {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer: Arc<dyn Fn(&Value) -> Answer + Send + Sync> = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket, Arc::clone(&answer)));
        }
    });
    let variables =
        [("AWS_ENDPOINT_URL", &*url), ("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let caller = Caller::new(Trust::from_variables(|_| None));
    Sink {
        folder: FolderSink::new(std::path::Path::new("no folder is to be written to")),
        client: AwsClient::new(AwsSettings::from_variables(variables), caller),
        are_aws: ServiceSet { s3: false, cloudwatch_logs: true, firehose: true },
        telemetry: Telemetry::default(),
    }
}

async fn serve(mut socket: TcpStream, answer: Arc<dyn Fn(&Value) -> Answer + Send + Sync>) {
    let mut bytes = Vec::new();
    loop {
        let Some(body) = body_of(&bytes) else {
            match socket.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => return,
                Ok(_) => continue,
            }
        };
        let request = serde_json::from_slice(&bytes[body.clone()]).unwrap();
        bytes.drain(..body.end);
        let Some((status, members)) = answer(&request) else {
            // Until the caller gives up.
            let _ = socket.read_buf(&mut bytes).await;
            return;
        };
        let members = members.to_string();
        let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n", members.len());
        if socket.write_all(format!("{head}{members}").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Where the body of the first request is, when all of it is there.
fn body_of(bytes: &[u8]) -> Option<std::ops::Range<usize>> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).unwrap().to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    let end = head + length.parse::<usize>().unwrap();
    (bytes.len() >= end).then_some(head..end)
}
