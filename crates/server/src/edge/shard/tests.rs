#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use hub::Settings;
use hub::frame::{Opcode, encode_masked};
use hub::inbound::Messages;
use hub::message::{Join, RoomKey, RoomSettings};
use hub::review::ReviewLimits;
use protocol::arn::Scope;
use protocol::capability::Capability;
use protocol::id::Id;
use protocol::limit::member::MESSAGE_LENGTH_MAX;
use protocol::messaging::{Attributes, encode_sender};
use protocol::time::Timestamp;
use tokio::sync::mpsc;

use super::{Parts, Shard};
use crate::config::{Sources, load};
use crate::edge::Shards;
use crate::edge::arrival::Arrival;
use crate::edge::ebb::Ebb;
use crate::edge::transport::Transport;
use crate::metrics::Metrics;
use crate::review::Reviewer;

const GREETING: &[u8] = b"HTTP/1.1 101\r\n\r\n";

/// Somebody who may send, at the door of a room.
fn join() -> Join {
    let scope = Scope { account_id: "123456789012".into(), region: "us-west-2".into() };
    Join {
        room: RoomKey { scope: Arc::new(scope), id: Id::from_random(1) },
        settings: RoomSettings {
            version: 1,
            message_length_max: MESSAGE_LENGTH_MAX,
            message_rate_max: 10,
            review: None,
            logging_configurations: Default::default(),
        },
        account: None,
        user_id: "ann".into(),
        sender: encode_sender("ann", &Attributes::new()),
        client: [127, 0, 0, 1].into(),
        capabilities: Capability::ALL.into_iter().collect(),
        session_end: Timestamp::from_seconds(u32::MAX.into()),
        deflates: false,
        greeting: GREETING.to_vec(),
    }
}

/// The only shard of a server, told to stop before its first turn.
fn stopping(shards: Shards) -> Shard {
    let Shards { bus, mut parts, arrivals } = shards;
    let (poll, inbox, arrivals_reader) = parts.pop().unwrap();
    let ebb = Ebb::new(1);
    ebb.begin();
    let metrics = Arc::new(Metrics::new(1));
    let config = load(&Sources::default()).unwrap().config;
    let (room_loads, _) = mpsc::channel(1);
    Shard::new(Parts {
        settings: Settings {
            shard: 0,
            shards: 1,
            coalescing_window_nanos: 0,
            rates_lifted: false,
            reviews: ReviewLimits::default(),
            seed: [1; 32],
        },
        messages: Messages::Actions,
        poll,
        inbox,
        arrivals: arrivals_reader,
        others: arrivals,
        reviewer: Reviewer::new(&config.review, bus.clone(), Arc::clone(&metrics)).unwrap(),
        bus,
        review_timeout_ms: config.review.timeout_ms,
        room_loads,
        figures: metrics.shard(0),
        audit: None,
        ebb: Arc::new(ebb),
        chat_log: Default::default(),
    })
}

#[tokio::test]
async fn what_came_with_the_handshake_is_not_heard_either_when_the_server_stops() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    let shards = Shards::new(1).unwrap();
    let said = br#"{"Action":"SEND_MESSAGE","Content":"hi","RequestId":"r"}"#;
    let arrival = Arrival {
        join: join(),
        place: None,
        transport: Transport::new(mio::net::TcpStream::from_std(socket), None),
        early: encode_masked(true, Opcode::Text, [1, 2, 3, 4], said).to_vec(),
        placement: None,
    };
    assert!(shards.arrivals[0].try_send(Box::new(arrival)).is_ok());
    stopping(shards).run().unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).unwrap();
    assert_eq!(String::from_utf8_lossy(&heard), String::from_utf8_lossy(GREETING));
}
