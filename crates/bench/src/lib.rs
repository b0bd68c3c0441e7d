//! Load generator and benchmarks: what Grandstand costs beside the servers it is compared with.
//!
//! | module | room for |
//! | --- | --- |
//! | [`fanout`], [`beside`], [`stalled`], [`idle`], [`join`], [`storm`], [`list`], [`start`], [`store`], [`review`], [`chat_log`], [`spike`] | the benchmarks, one each |
//! | [`client`], [`frames`], [`nats`] | the crowd of WebSocket clients, on one thread |
//! | [`newcomers`] | clients that take a token over HTTP first, and may be cut off |
//! | [`play`] | the crowd publishes and listens for some time |
//! | [`verify`] | was everything delivered, once, in one order |
//! | [`peers`], [`server`], [`control`] | the servers under test: start, let the crowd in, stop |
//! | [`process`], [`reading`], [`watch`], [`os`] | what Linux, and a server itself, say of processor time and memory |
//! | [`histogram`], [`report`], [`picture`] | from measurements to results |
//!
//! # What makes a result worth something
//! - Everything that is counted was verified: a run with anything lost, doubled, reordered or altered is void.
//! - Messages are due at fixed instants, and latency counts from there.
//! - Peers run on the same cores, in turns, and deliver frames of the same bytes; results are ratios within a round.

pub mod arguments;
pub mod beside;
pub mod chat_log;
pub mod client;
pub mod control;
pub mod failure;
pub mod fanout;
pub mod frames;
pub mod histogram;
pub mod idle;
pub mod join;
pub mod list;
pub mod nats;
pub mod newcomers;
pub mod os;
pub mod peers;
pub mod picture;
pub mod play;
pub mod process;
pub mod reading;
pub mod report;
pub mod review;
pub mod server;
pub mod spike;
pub mod stalled;
pub mod start;
pub mod store;
pub mod storm;
pub mod stream;
pub mod verify;
pub mod watch;
