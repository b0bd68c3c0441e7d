//! The behaviour of the whole hub, through what it offers to a shard. One file for each behaviour.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod arbitrary_bytes;
mod capabilities;
mod chat_log;
mod coalescing;
mod compression;
mod flood;
mod frames;
mod harness;
mod hot_loop;
mod joining;
mod kick;
mod order;
mod passes;
mod placement;
mod pressure;
mod private_frames;
mod rates;
mod review;
mod room_changes;
mod session_end;
mod silence;
mod slow_reader;
