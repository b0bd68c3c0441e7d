//! The server.
#![allow(missing_docs, reason = "skeleton")]
pub mod admin;
pub mod bus;
pub mod clock;
pub mod control;
pub mod health;
pub mod http;
pub mod keys;
pub mod metrics;
pub mod store;
