//! All integration tests of the server, in one binary: a file per behaviour.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod configuration;
mod fuzz;
mod metrics;
mod tidy;
