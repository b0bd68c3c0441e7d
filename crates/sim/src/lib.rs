//! Deterministic simulation: the real hubs of one node under a virtual clock and a network of bad manners, people who
//! talk, moderate and fall asleep, and checkers that look at every instant.
//!
//! A run is one seed: the same seed does the same things in the same order, so a failure can be looked at again and
//! again. `cargo run --release -p sim -- --scenario kick --seed 7`.
//!
//! | module | room for |
//! | --- | --- |
//! | [`clock`], [`dice`], [`trace`] | time and chance that repeat, and the proof that they do |
//! | [`workload`] | the scenarios: who does what, how often |
//! | [`network`], [`frames`] | sockets between clients and shards, and what clients read from them |
//! | [`node`], [`spool`] | hubs, their inboxes, the bus between them, and what is left when all is killed |
//! | [`auditor`], [`checkers`], [`chat_log`] | what happened, and what must hold |
//! | [`bug`] | mistakes to be planted, so that the checkers are believed |
//! | [`simulation`], [`outcome`] | all of it, tick by tick, and how it ends |

pub mod auditor;
pub mod bug;
pub mod chat_log;
pub mod checkers;
pub mod clock;
pub mod dice;
pub mod frames;
pub mod network;
pub mod node;
pub mod outcome;
pub mod simulation;
pub mod spool;
pub mod trace;
pub mod workload;

/// A client, in the order in which they joined.
pub type ClientKey = usize;
