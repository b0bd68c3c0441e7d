//! The servers that are measured side by side: Grandstand, and what it is compared with.
//!
//! Each is a process of its own, started the same way on the same cores, that lets the same crowd in and delivers the
//! same frames: a peer that knows no actions is sent the very text that Grandstand would make of an action.

pub mod bare_send;
pub mod signed_answer;

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
}

/// Everything that can be measured.
pub const ALL: [Peer; 2] = [Peer::Grandstand, Peer::BareSend];

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
        match self {
            Self::Grandstand => {
                let folder = Grandstand::data_folder()?;
                let server = Server::start(setup.grandstand.command(folder.path()), &setup.cores)?;
                Ok(RunningPeer { peer: self, server, data_folder: Some(folder) })
            }
            Self::BareSend => {
                let this = std::env::current_exe().map_err(Failure::io("find this binary"))?;
                let mut command = Command::new(this);
                command.arg(bare_send::SUBCOMMAND);
                Ok(RunningPeer {
                    peer: self,
                    server: Server::start(command, &setup.cores)?,
                    data_folder: None,
                })
            }
        }
    }

    /// What a publisher sends to have message `sequence` delivered.
    #[must_use]
    pub fn publication(self, script: &Script, sequence: u64) -> String {
        match self {
            Self::Grandstand => script.action(sequence),
            Self::BareSend => script.frame_text(sequence),
        }
    }
}

/// A peer that is up.
pub struct RunningPeer {
    peer: Peer,
    /// Its process.
    pub server: Server,
    /// Removed after the process has ended, since fields are dropped in their order.
    data_folder: Option<TempDir>,
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
            Peer::BareSend => Ok((0..publishers + viewers).map(|_| Ticket::open(edge)).collect()),
        }
    }

    /// Stops it: Grandstand as its run contract says, a peer without such a contract by killing it.
    ///
    /// # Errors
    /// See [`Server::stop`].
    pub fn stop(self) -> Result<(), Failure> {
        let stopped = match self.peer {
            Peer::Grandstand => self.server.stop(),
            Peer::BareSend => Ok(()),
        };
        drop(self.data_folder);
        stopped
    }
}
