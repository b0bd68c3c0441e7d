//! The control plane as its clients see it: real HTTP over a real socket, signed by hand, with a store in memory.
//! Behind the bus there is a shard that notes what it is told.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod audit;
mod kept_pages;
mod operations;
mod patience;
mod quotas;
mod transport;

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hub::message::{Message, Publication, Unpublished};
use mio::{Events, Poll, Token, Waker};
use protocol::id::Id;
use protocol::limit::control::CONNECTIONS_MAX;
use protocol::operation::Operation;
use protocol::quota::AdjustableQuotas;
use protocol::sigv4::{Credential, Dialect, RequestView, SecretKey, sign};
use protocol::time::Timestamp;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::SetOnce;
use tokio::task::JoinHandle;

use super::{ControlPlane, KeptPages};
use crate::bus::{Bus, InboxReader, inbox};
use crate::clock;
use crate::config::TrustedProxies;
use crate::credentials::Credentials;
use crate::health::{Phase, Readiness};
use crate::http::{Port, Stop};
use crate::keys::KeyRing;
use crate::metrics::Metrics;
use crate::quota::Quotas;
use crate::store::{KeyPurpose, Location, Store};
use crate::telemetry::Telemetry;

const REGION: &str = "us-west-2";
const ACCOUNT: &str = "123456789012";
/// The id of whatever the shard publishes.
const EVENT_ID: &str = "IxTh2Ad9fZIr";
/// After this long a test fails for what the shard was never told.
const TELLING_TIME_MAX: Duration = Duration::from_secs(30);

/// A control plane that runs, and what a test needs of it.
struct Server {
    address: SocketAddr,
    control: Arc<SetOnce<Arc<ControlPlane>>>,
    store: Store,
    chat_token_keys: KeyRing,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    stop: Stop,
    running: JoinHandle<()>,
    /// What the shard was told, as text.
    told: Mutex<Receiver<String>>,
}

impl Server {
    async fn start() -> Self {
        Self::start_with(None).await
    }

    async fn start_with(quotas: Option<AdjustableQuotas>) -> Self {
        let store = Store::open(&Location::Memory).await.expect("a store in memory");
        let chat_token_keys = KeyRing::load(&store, KeyPurpose::ChatToken).await.expect("keys");
        let page_token_keys = KeyRing::load(&store, KeyPurpose::PageToken).await.expect("keys");
        let (bus, told) = bus();
        let metrics = Arc::new(Metrics::new(1));
        let readiness = Readiness::default();
        readiness.enter(Phase::Ready);
        let control = ControlPlane {
            store: store.clone(),
            bus,
            credentials: Credentials { root: root() },
            chat_token_keys: chat_token_keys.clone(),
            page_token_keys,
            kept_pages: KeptPages::default(),
            quotas: quotas.map(|figures| Arc::new(Quotas::new(figures))),
            audit: None,
            trusted_proxies: TrustedProxies::default(),
            metrics: Arc::clone(&metrics),
            chat_logs: None,
            handler_checks: None,
            telemetry: Telemetry::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let stop = Stop::default();
        let port = Port {
            listener: Arc::new(listener),
            descriptors_max: u64::MAX,
            tls: None,
            connections_max: CONNECTIONS_MAX,
            stop: stop.clone(),
        };
        let control = Arc::new(SetOnce::new_with(Some(Arc::new(control))));
        let running = tokio::spawn(super::serve(port, readiness.clone(), Arc::clone(&control)));
        let told = Mutex::new(told);
        Self { address, control, store, chat_token_keys, metrics, readiness, stop, running, told }
    }

    /// The next `count` things that the shard is told: it notes them in its own time. Nothing else may have come.
    fn told(&self, count: usize) -> Vec<String> {
        let told = self.told.lock().expect("no panic");
        let next = || told.recv_timeout(TELLING_TIME_MAX).expect("the shard is told in time");
        let mut texts: Vec<String> = (0..count).map(|_| next()).collect();
        texts.extend(told.try_iter());
        texts
    }

    /// Sends an operation with its members, signed.
    async fn call(&self, operation: Operation, members: Value) -> Answer {
        Call::new("POST", &format!("/{}", operation.name())).body(members.to_string()).send(self).await
    }

    /// Sends an operation that has to succeed; the members of its answer.
    async fn done(&self, operation: Operation, members: Value) -> Value {
        let answer = self.call(operation, members).await;
        assert_eq!(answer.status, operation.success_status(), "{operation:?}: {}", answer.body);
        answer.json()
    }

    /// Writes bytes to a new connection and reads until it ends.
    async fn exchange(&self, request: &[u8]) -> Answer {
        let mut socket = TcpStream::connect(self.address).await.expect("a connection");
        socket.write_all(request).await.expect("the request is taken in whole");
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.expect("the answer arrives before the connection ends");
        Answer::parse(&String::from_utf8(answer).expect("text"))
    }
}

fn root() -> Credential {
    Credential {
        access_key_id: "AKIDEXAMPLE".into(),
        secret_key: SecretKey::new("a secret of tests"),
        account_id: ACCOUNT.into(),
    }
}

/// A request, to be signed with the root's key for [`REGION`] now, unless told otherwise.
struct Call {
    method: &'static str,
    target: String,
    body: String,
    headers: String,
    region: &'static str,
    credential: Credential,
    time: Timestamp,
}

impl Call {
    fn new(method: &'static str, target: &str) -> Self {
        Self {
            method,
            target: target.to_owned(),
            body: String::new(),
            headers: String::new(),
            region: REGION,
            credential: root(),
            time: clock::now(),
        }
    }

    fn body(self, body: impl Into<String>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// Lines that are sent, but not signed.
    fn headers(self, headers: impl Into<String>) -> Self {
        Self { headers: headers.into(), ..self }
    }

    fn region(self, region: &'static str) -> Self {
        Self { region, ..self }
    }

    fn encode(&self) -> String {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let view = RequestView {
            method: self.method,
            path,
            query,
            headers: &[("host", b"test")],
            body: self.body.as_bytes(),
        };
        let signature = sign(&view, Dialect::IVSCHAT, self.region, &self.credential, self.time);
        format!(
            "{} {} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {}\r\nx-amz-date: {}\r\n\
             authorization: {}\r\n{}\r\n{}",
            self.method,
            self.target,
            self.body.len(),
            signature.date,
            signature.authorization,
            self.headers,
            self.body
        )
    }

    async fn send(&self, server: &Server) -> Answer {
        server.exchange(self.encode().as_bytes()).await
    }
}

/// What came back.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.get(9..12).and_then(|status| status.parse().ok()).expect("a status");
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.split("\r\n").skip(1).filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The members of the body; none when there is no body.
    fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&self.body).expect("JSON")
    }

    /// Status and name of an error.
    fn error(&self) -> (u16, &str) {
        (self.status, self.header("x-amzn-errortype").unwrap_or_default())
    }
}

/// A bus with one shard on a thread of its own, which ends with the process. An event of the name `busy` is refused,
/// and one of the name `closed` never answered.
fn bus() -> (Bus, Receiver<String>) {
    let poll = Poll::new().expect("a poll");
    let waker = Waker::new(poll.registry(), Token(0)).expect("a waker");
    let (sender, reader) = inbox(waker);
    let (tell, told) = sync_channel(64);
    thread::spawn(move || run_shard(poll, &reader, &tell));
    (Bus::local(vec![sender]), told)
}

fn run_shard(mut poll: Poll, reader: &InboxReader, tell: &SyncSender<String>) {
    let mut events = Events::with_capacity(1);
    loop {
        while let Some(message) = reader.next() {
            // Before the answer, so that whoever has the answer finds it noted. A test that has ended, or does not
            // care, listens no more.
            let _ = tell.try_send(describe(&message));
            answer(message);
        }
        reader.announce_sleep();
        if reader.is_empty() {
            poll.poll(&mut events, None).expect("the poll works");
        }
        reader.announce_wake();
    }
}

fn describe(message: &Message) -> String {
    match message {
        Message::Publish { room, publication, .. } => format!("publish in {}: {publication:?}", room.id),
        Message::RoomChanged { room, settings } => {
            format!("changed {}: length {}", room.id, settings.message_length_max)
        }
        Message::RoomDeleted { room } => format!("deleted {}", room.id),
        other => format!("{other:?}"),
    }
}

fn answer(message: Message) {
    let Message::Publish { publication, reply, .. } = message else { return };
    match &*publication {
        Publication::Event { name, .. } if name == "busy" => reply.send(Err(Unpublished::Busy)),
        Publication::Event { name, .. } if name == "closed" => drop(reply),
        _ => reply.send(Ok(Id::parse(EVENT_ID).expect("an id"))),
    }
}
