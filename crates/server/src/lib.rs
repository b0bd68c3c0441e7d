//! The server.
#![allow(missing_docs, reason = "skeleton")]
pub mod bus;
pub mod cli;
pub mod config;
pub mod credentials;
pub mod store;
pub mod tls;
