//! The servers that are measured side by side: Grandstand, and what it is compared with.
//!
//! Each is a process of its own, started the same way on the same cores, that lets the same crowd in and delivers the
//! same frames: a peer that knows no actions is sent the very text that Grandstand would make of an action.

pub mod bare_send;
pub mod signed_answer;
pub mod tungstenite;

use std::process::Command;

use tempfile::TempDir;

use crate::client::Ticket;
use crate::control::{ControlPlane, Role};
use crate::failure::Failure;
use crate::server::{Cores, Grandstand, Server};
use crate::verify::Script;

/// A server that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The server of this repository.
    Grandstand,
    /// The limit: one `send(2)` per receiver and message, and nothing else. See [`bare_send`].
    BareSend,
    /// What most would write in Rust. See [`tungstenite`].
    Tungstenite,
}

/// Everything that can be measured.
pub const ALL: [Peer; 3] = [Peer::Grandstand, Peer::BareSend, Peer::Tungstenite];

/// How peers are started.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Grandstand's binary and settings.
    pub grandstand: Grandstand,
    /// Where everything runs.
    pub cores: Cores,
}

impl Peer {
    /// On the command line and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grandstand => "grandstand",
            Self::BareSend => "bare-send",
            Self::Tungstenite => "tungstenite",
        }
    }

    /// The peer of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        ALL.into_iter().find(|peer| peer.name() == name)
    }

    /// Starts it.
    ///
    /// # Errors
    /// See [`Server::start`].
    pub fn start(self, setup: &Setup) -> Result<RunningPeer, Failure> {
        let mut folder = None;
        let command = match self {
            Self::Grandstand => setup.grandstand.command(folder.insert(Grandstand::data_folder()?).path()),
            Self::BareSend => this_program(bare_send::SUBCOMMAND)?,
            Self::Tungstenite => this_program(tungstenite::SUBCOMMAND)?,
        };
        Ok(RunningPeer { peer: self, server: Server::start(command, &setup.cores)?, _folder: folder })
    }

    /// What a publisher sends to have message `sequence` delivered.
    #[must_use]
    pub fn publication(self, script: &Script, sequence: u64) -> String {
        match self {
            Self::Grandstand => script.action(sequence),
            Self::BareSend | Self::Tungstenite => script.frame_text(sequence),
        }
    }
}

/// One of the servers that this program has.
fn this_program(subcommand: &str) -> Result<Command, Failure> {
    let this = std::env::current_exe().map_err(Failure::io("find this binary"))?;
    let mut command = Command::new(this);
    command.arg(subcommand);
    Ok(command)
}

/// A peer that is up.
pub struct RunningPeer {
    peer: Peer,
    /// Its process.
    pub server: Server,
    /// What it keeps. Removed after the process has ended, since fields are dropped in their order.
    _folder: Option<TempDir>,
}

impl RunningPeer {
    /// Makes a room and lets a crowd into it: first the publishers, then the viewers.
    ///
    /// # Errors
    /// See [`ControlPlane`].
    pub fn tickets(&self, publishers: u64, viewers: u64) -> Result<Vec<Ticket>, Failure> {
        let edge = self.server.edge;
        match self.peer {
            Peer::Grandstand => {
                let mut control = ControlPlane::connect(self.server.api()?)?;
                let room = control.create_room()?;
                let mut ticket = |user_id: &str, role| {
                    let token = control.create_chat_token(&room, user_id, role)?;
                    Ok(Ticket::with_token(edge, &token))
                };
                let publishers =
                    (0..publishers).map(|index| (Script::publisher_user_id(index), Role::Publisher));
                let viewers = (0..viewers).map(|index| (format!("viewer-{index:05}"), Role::Viewer));
                publishers.chain(viewers).map(|(user_id, role)| ticket(&user_id, role)).collect()
            }
            Peer::BareSend | Peer::Tungstenite => {
                Ok((0..publishers + viewers).map(|_| Ticket::open(edge)).collect())
            }
        }
    }

    /// Stops it: Grandstand as its run contract says, a peer without such a contract by killing it.
    ///
    /// # Errors
    /// See [`Server::stop`].
    pub fn stop(self) -> Result<(), Failure> {
        match self.peer {
            Peer::Grandstand => self.server.stop(),
            Peer::BareSend | Peer::Tungstenite => Ok(()),
        }
    }
}
