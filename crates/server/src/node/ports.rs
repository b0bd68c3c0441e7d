//! The three listening sockets of a node: inherited, or bound now.
//!
//! An inherited one has the name of its port (`api`, `edge`, `admin`), or listens where the port's setting says. One that
//! is named wins over the setting, also when the two differ: it is what clients connect to.

use std::fmt;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::AsFd;
use std::sync::Arc;

use protocol::limit::edge::LISTEN_BACKLOG;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use crate::config::Config;
use crate::hand_over::Heritage;
use crate::inheritance::{Inheritance, InheritedSocket};

/// Where a node listens.
pub(super) struct Ports {
    pub(super) api: ListeningPort,
    pub(super) edge: ListeningPort,
    pub(super) admin: ListeningPort,
    /// Somebody else keeps the sockets open, too: whoever connects while no server runs waits for the next one.
    pub(super) are_held: bool,
}

/// One of them.
pub(super) struct ListeningPort {
    name: &'static str,
    pub(super) listener: Arc<TcpListener>,
    /// With the real port number.
    pub(super) address: SocketAddr,
}

/// Why a port cannot be listened on.
#[derive(Debug)]
pub enum ListenError {
    /// The address cannot be bound: setting, address and reason.
    Bind(&'static str, SocketAddr, std::io::Error),
    /// An inherited socket belongs to no port: its name and address.
    Unknown(Box<str>, SocketAddr),
}

impl fmt::Display for ListenError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(setting, address, error) => {
                write!(formatter, "cannot listen on {address} (`{setting}`): {error}")
            }
            Self::Unknown(name, address) => write!(
                formatter,
                "the inherited socket `{name}` on {address} belongs to no port; give each its own name `api`, `edge` or \
                 `admin`, or the address of its setting"
            ),
        }
    }
}

impl std::error::Error for ListenError {}

impl Ports {
    /// Takes what is inherited and binds the rest.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub(super) fn open(config: &Config, inheritance: Inheritance) -> Result<Self, ListenError> {
        let Inheritance { mut sockets, is_held, .. } = inheritance;
        let api = open_port("api", "api_addr", config.api_addr, &mut sockets)?;
        let edge = open_port("edge", "edge_addr", config.edge_addr, &mut sockets)?;
        let admin = open_port("admin", "admin_addr", config.admin_addr, &mut sockets)?;
        match sockets.pop() {
            Some(socket) => Err(ListenError::Unknown(socket.name, socket.address)),
            None => Ok(Self { api, edge, admin, are_held: is_held }),
        }
    }

    /// What a next process inherits.
    pub(super) fn heritage(&self) -> Heritage<'_> {
        let sockets = [&self.api, &self.edge, &self.admin].map(|port| (port.name, port.listener.as_fd()));
        Heritage { sockets: sockets.into(), is_held: self.are_held }
    }
}

fn open_port(
    name: &'static str,
    setting: &'static str,
    wanted: SocketAddr,
    inherited: &mut Vec<InheritedSocket>,
) -> Result<ListeningPort, ListenError> {
    let failed = |error| ListenError::Bind(setting, wanted, error);
    let position = inherited
        .iter()
        .position(|socket| &*socket.name == name)
        .or_else(|| inherited.iter().position(|socket| socket.address == wanted));
    let listener = match position {
        Some(position) => Ok(inherited.swap_remove(position).listener),
        None => bind(wanted),
    };
    let listener = listener.and_then(TcpListener::from_std).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    if position.is_some() && address != wanted && wanted.port() != 0 {
        tracing::warn!(%address, %wanted, "listening where the inherited socket does, not where `{setting}` says");
    }
    Ok(ListeningPort { name, listener: Arc::new(listener), address })
}

fn bind(address: SocketAddr) -> std::io::Result<StdTcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted server must get its port back while old connections still linger in the kernel.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::net::TcpListener;

    use super::{ListenError, Ports};
    use crate::config::{Config, Flag, Sources, load};
    use crate::inheritance::{Inheritance, InheritedSocket};

    fn config(api: &str) -> Config {
        let flags = [("api_addr", api), ("edge_addr", "127.0.0.1:0"), ("admin_addr", "127.0.0.1:0")];
        let flags = flags.map(|(key, value)| Flag { key, value: value.to_owned() }).into();
        load(&Sources { flags, ..Sources::default() }).unwrap().config
    }

    fn inherited(names: &[&str]) -> Inheritance {
        let sockets = names.iter().map(|name| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            InheritedSocket { name: (*name).into(), address: listener.local_addr().unwrap(), listener }
        });
        Inheritance { sockets: sockets.collect(), is_held: true, line: None }
    }

    #[tokio::test]
    async fn a_socket_with_a_ports_name_is_that_ports_wherever_it_listens() {
        let inheritance = inherited(&["edge", "api"]);
        let (edge, api) = (inheritance.sockets[0].address, inheritance.sockets[1].address);
        let ports = Ports::open(&config("127.0.0.1:1"), inheritance).unwrap();
        assert_eq!((ports.api.address, ports.edge.address), (api, edge));
        assert_ne!(ports.admin.address.port(), 0, "what is not inherited is bound");
        let names: Vec<&str> = ports.heritage().sockets.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["api", "edge", "admin"]);
    }

    #[tokio::test]
    async fn a_socket_with_another_name_is_known_by_its_address() {
        let inheritance = inherited(&["grandstand.socket"]);
        let address = inheritance.sockets[0].address;
        let ports = Ports::open(&config(&address.to_string()), inheritance).unwrap();
        assert_eq!(ports.api.address, address);
    }

    #[tokio::test]
    async fn a_socket_that_belongs_to_no_port_stops_the_start() {
        for names in [&["grandstand.socket"][..], &["edge", "edge"]] {
            let opened = Ports::open(&config("127.0.0.1:0"), inherited(names));
            assert!(matches!(opened, Err(ListenError::Unknown(..))), "{names:?}");
        }
    }
}
