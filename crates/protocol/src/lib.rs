//! The pure rules of the wire: what a request, a chat token, a frame or a signature may be, and what it means.
//!
//! Nothing here does I/O, asks the time or keeps state: every function that depends on the time or on chance takes
//! `now` or random bytes as an argument. So the simulator, the fuzz targets and the benchmarks use the very code
//! the server runs.
//!
//! | module | room for |
//! | --- | --- |
//! | [`arn`], [`id`], [`time`] | names of things and instants, as they are written on the wire |
//! | [`capability`], [`messaging`], [`close`] | the messaging edge: who may do what, actions and frames, close codes |
//! | [`chat_log`] | the records of chat logs and the names that they are kept under |
//! | [`operation`] | the 17 operations of the control plane and how a request finds its own |
//! | [`control`] | their requests and responses; [`control::constraint`] holds every rule for a member |
//! | [`error`] | every error of the control plane: AWS code, HTTP status, members |
//! | [`page`] | `nextToken` |
//! | [`token`] | chat tokens: what they say, sealing, opening |
//! | [`sigv4`] | signatures of control-plane requests: verifying and signing |
//! | [`review`] | what a message review handler is asked, and what it answers |
//! | [`limit`] | every size, count and rate that is allowed, with its unit and source |
//! | [`quota`] | what an account may do in one region, over all its rooms (profile `aws`) |

pub mod arn;
pub mod capability;
pub mod chat_log;
pub mod close;
pub mod control;
pub mod error;
pub mod id;
pub mod limit;
pub mod messaging;
pub mod operation;
pub mod page;
pub mod quota;
pub mod review;
pub mod sigv4;
pub mod time;
pub mod token;
