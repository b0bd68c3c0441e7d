//! The servers that are measured side by side: Grandstand, and what it is compared with.
//!
//! Each is a process of its own, started the same way on the same cores, that lets the same crowd in and delivers the
//! same frames: a peer that knows no actions is sent the very text that Grandstand would make of an action. What such a peer
//! knows as a room is the path that a client opens, or a subject.

pub mod bare_send;
pub mod nats_server;
pub mod signed_answer;
pub mod tungstenite;
pub mod uwebsockets;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::ClientConfig;
use tempfile::TempDir;

use crate::client::{Publication, Ticket};
use crate::control::{ControlPlane, Role};
use crate::failure::Failure;
use crate::nats;
use crate::report::{Figures, Report};
use crate::server::{Addresses, Cores, Grandstand, Server};
use crate::stream::Certificate;
use crate::verify::Script;

/// A server that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The server of this repository.
    Grandstand,
    /// The same with TLS on all ports.
    GrandstandTls,
    /// The same with compressed messages.
    GrandstandDeflate,
    /// The limit: one `send(2)` per receiver and message, and nothing else. See [`bare_send`].
    BareSend,
    /// What most would write in Rust. See [`tungstenite`].
    Tungstenite,
    /// Known as the fastest. See [`uwebsockets`].
    Uwebsockets,
    /// A message broker that speaks WebSocket. See [`nats_server`].
    NatsServer,
}

/// Everything that can be measured.
pub const ALL: [Peer; 7] = [
    Peer::Grandstand,
    Peer::GrandstandTls,
    Peer::GrandstandDeflate,
    Peer::BareSend,
    Peer::Tungstenite,
    Peer::Uwebsockets,
    Peer::NatsServer,
];

/// Who is to be let in. Publishers come first, then viewers; connection `n` is a member of room `n % rooms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Members {
    /// How many rooms.
    pub rooms: u64,
    /// Connections that may send, in all rooms together.
    pub publishers: u64,
    /// Connections that only watch, in all rooms together.
    pub viewers: u64,
}

impl Members {
    /// All of them.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.publishers + self.viewers
    }
}

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
            Self::GrandstandTls => "grandstand-tls",
            Self::GrandstandDeflate => "grandstand-deflate",
            Self::BareSend => "bare-send",
            Self::Tungstenite => "tungstenite",
            Self::Uwebsockets => "uwebsockets",
            Self::NatsServer => "nats-server",
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
    /// See [`Server::start`], [`uwebsockets::command`] and [`nats_server::command`].
    pub fn start(self, setup: &Setup) -> Result<RunningPeer, Failure> {
        let folder = Grandstand::data_folder()?;
        let mut tls = None;
        let command = match self {
            Self::Grandstand => setup.grandstand.command(folder.path()),
            Self::GrandstandTls => {
                let Certificate { cert_file, key_file, config } = Certificate::make(folder.path())?;
                tls = Some(config);
                let mut command = setup.grandstand.command(folder.path());
                command.env("GRANDSTAND_TLS_CERT_FILE", cert_file).env("GRANDSTAND_TLS_KEY_FILE", key_file);
                command
            }
            Self::GrandstandDeflate => {
                let mut command = setup.grandstand.command(folder.path());
                command.env("GRANDSTAND_EDGE_COMPRESSION", "true");
                command
            }
            Self::BareSend => this_program(bare_send::SUBCOMMAND)?,
            Self::Tungstenite => this_program(tungstenite::SUBCOMMAND)?,
            Self::Uwebsockets => uwebsockets::command(folder.path())?,
            Self::NatsServer => nats_server::command(folder.path())?,
        };
        let read_ready = match self {
            Self::NatsServer => nats_server::read_ready,
            _ => Addresses::read,
        };
        let server = Server::start(command, &setup.cores, read_ready)?;
        Ok(RunningPeer { peer: self, server, tls, _folder: folder })
    }

    /// The connection that publishes message `sequence`.
    ///
    /// nats-server promises an order only for the messages of one connection, so the first publisher of a room publishes all
    /// of them there; no peer but Grandstand limits how much one may send.
    #[must_use]
    pub fn publisher(self, script: &Script, sequence: u64) -> usize {
        let publisher = match self {
            Self::NatsServer => script.room_of(sequence),
            _ => sequence % script.publishers,
        };
        usize::try_from(publisher).unwrap_or(usize::MAX)
    }

    /// What a publisher sends to have message `sequence` delivered.
    #[must_use]
    pub fn publication(self, script: &Script, sequence: u64) -> Publication {
        match self {
            Self::Grandstand | Self::GrandstandTls | Self::GrandstandDeflate => {
                Publication::Text(script.action(sequence))
            }
            Self::NatsServer => {
                let subject = nats_server::subject(script.room_of(sequence));
                Publication::Binary(nats::publication(&subject, &script.frame_text(sequence)))
            }
            Self::BareSend | Self::Tungstenite | Self::Uwebsockets => {
                Publication::Text(script.frame_text(sequence))
            }
        }
    }
}

/// Starts Grandstand anew for each round, has it measured, and reports.
///
/// # Errors
/// Those of `measure` are reported first, and then a round is void.
pub fn measure_grandstand(
    setup: &Setup,
    rounds: u64,
    report_file: &Path,
    measure: impl Fn(&RunningPeer) -> Result<Figures, Failure>,
) -> Result<(), Failure> {
    let mut report = Report::default();
    for round in 1..=rounds {
        let running = Peer::Grandstand.start(setup)?;
        let figures = measure(&running);
        if figures.is_err() {
            eprintln!("grandstand said: {}", running.server.log_tail());
        }
        report.add_outcome(round, Peer::Grandstand.name(), figures)?;
        running.stop()?;
    }
    report.publish("", &[], report_file)?;
    report.verdict()
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
    /// How to speak TLS with it.
    tls: Option<Arc<ClientConfig>>,
    /// What it keeps. Removed after the process has ended, since fields are dropped in their order.
    _folder: TempDir,
}

impl RunningPeer {
    /// What lets each of `members` in, in their order. Grandstand gets new rooms for them.
    ///
    /// # Errors
    /// See [`ControlPlane`].
    pub fn tickets(&self, members: &Members) -> Result<Vec<Ticket>, Failure> {
        let edge = self.server.edge;
        let rooms = (0..members.publishers + members.viewers).map(|connection| connection % members.rooms);
        match self.peer {
            Peer::Grandstand | Peer::GrandstandTls | Peer::GrandstandDeflate => {
                self.tickets_with_tokens(members)
            }
            Peer::BareSend | Peer::Tungstenite | Peer::Uwebsockets => {
                Ok(rooms.map(|room| Ticket::open(edge, &format!("/{room}"))).collect())
            }
            Peer::NatsServer => {
                Ok(rooms.map(|room| Ticket::subscribing(edge, &nats_server::subject(room))).collect())
            }
        }
    }

    fn tickets_with_tokens(&self, members: &Members) -> Result<Vec<Ticket>, Failure> {
        let mut control = ControlPlane::connect(self.server.api()?, self.tls.as_ref())?;
        let rooms = (0..members.rooms).map(|_| control.create_room()).collect::<Result<Vec<_>, _>>()?;
        let publishers =
            (0..members.publishers).map(|index| (Script::publisher_user_id(index), Role::Publisher));
        let viewers = (0..members.viewers).map(|index| (format!("viewer-{index:05}"), Role::Viewer));
        let everybody = publishers.chain(viewers).zip(rooms.iter().cycle());
        let tickets = everybody.map(|((user_id, role), room)| {
            let token = control.create_chat_token(room, &user_id, role)?;
            let ticket = match self.peer {
                Peer::GrandstandDeflate => Ticket::with_token_and_compression(self.server.edge, &token),
                _ => Ticket::with_token(self.server.edge, &token),
            };
            Ok(ticket.over(self.tls.clone()))
        });
        tickets.collect()
    }

    /// Stops it: Grandstand as its run contract says, a peer without such a contract by killing it.
    ///
    /// # Errors
    /// See [`Server::stop`].
    pub fn stop(self) -> Result<(), Failure> {
        match self.peer {
            Peer::Grandstand | Peer::GrandstandTls | Peer::GrandstandDeflate => self.server.stop(),
            Peer::BareSend | Peer::Tungstenite | Peer::Uwebsockets | Peer::NatsServer => Ok(()),
        }
    }
}
