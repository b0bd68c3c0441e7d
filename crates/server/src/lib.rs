//! The server behind the binary `grandstand`: a live-chat server, wire-compatible with Amazon IVS Chat.
//!
//! # The path of a request
//! A socket of [`http`] -> [`control`] (`mod.rs`: request id, limits, errors become answers) -> [`control::auth`]
//! (signature, then operation, then authorization: each a type that only the step before can make) -> the handler in
//! the file of its resource -> [`store`] -> the response. `SendEvent`, `DeleteMessage` and `DisconnectUser` go on to the
//! room's home shard over the [`bus`], like any message.
//!
//! # The path of a message
//! A socket of [`edge`] (`shard.rs`) -> the `hub` crate (frame, JSON, rate, capability) -> the room's home shard (room,
//! length, rate, id, one encoded frame) -> [`bus`] -> every shard with members -> its room log -> one write per
//! member. Before that a handshake has let the socket in: `edge/acceptor.rs`, `edge/handshake.rs`.
//!
//! # Who may use whom
//! Left never uses right: `protocol` < `hub` < [`config`], [`metrics`], [`outgoing`], [`telemetry`], [`aws`], [`quota`] < [`store`], [`bus`],
//! [`chatlog`] < [`review`] < [`edge`], [`control`] < [`admin`], [`node`] < `main`, [`cli`]. [`edge`] and [`control`] never see each other. A
//! test holds this.

pub mod admin;
pub mod audit;
pub mod aws;
pub mod bus;
pub mod chatlog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod credentials;
pub mod edge;
pub mod entrance;
pub mod hand_over;
pub mod health;
pub mod http;
pub mod inheritance;
pub mod keys;
mod linger;
pub mod metrics;
pub mod node;
pub mod outgoing;
pub mod panics;
pub mod quota;
mod random;
pub mod review;
pub mod slot;
pub mod store;
pub mod supervisor;
pub mod telemetry;
pub mod tls;
mod uuid;
