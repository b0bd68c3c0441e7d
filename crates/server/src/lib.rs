//! The server.
#![allow(missing_docs, reason = "skeleton")]
pub mod bus;
pub mod store;
