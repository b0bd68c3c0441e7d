//! Everybody is cut off at once, and all want back in at once.
//!
//! The clients are like the official SDK: who is cut off takes a new chat token over HTTP and connects with it at once; who is
//! not let in does so again, at once, up to four tries in all, and then gives up for good. Afterwards one of them says
//! something, and all who are back must hear it.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use protocol::limit::edge::LISTEN_BACKLOG;
use server::inheritance;
use socket2::{Domain, Socket, Type};

use crate::client::Clock;
use crate::failure::Failure;
use crate::histogram::Histogram;
use crate::newcomers::{Happening, Newcomers};
use crate::os;
use crate::peers::Setup;
use crate::picture;
use crate::process::ProcessorTime;
use crate::report::{Figures, Report};
use crate::server::{Addresses, Grandstand, Server};
use crate::verify::Script;

const SECOND_NANOS: u64 = 1_000_000_000;
/// What the official SDK tries when it is not told otherwise: once, and three times more.
const TRIES_MAX: u32 = 4;
/// Who is not back by then is lost.
const BACK_SECONDS_MAX: u64 = 60;
/// Until everybody has heard a message.
const HEARD_SECONDS_MAX: u64 = 10;
/// Between the first joining and the storm, so that what joining left to do is done.
const CALM_NANOS: u64 = SECOND_NANOS;

/// How everybody is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The server is killed (SIGKILL) and another one started in its place, with the listening sockets that somebody else
    /// keeps open.
    Kill,
    /// All connections end; the server stays.
    Network,
}

impl Cut {
    /// On the command line and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Network => "network",
        }
    }
}

/// What `storm` does.
pub struct Plan {
    /// How often, each time with a new server.
    pub rounds: u64,
    /// How the server is started.
    pub setup: Setup,
    /// How many clients.
    pub clients: usize,
    /// Connections to the control plane on which tokens are asked for, one after the other on each.
    pub desks: usize,
    /// In each round all of these, one after the other.
    pub cuts: Vec<Cut>,
    /// Files that a process may open.
    pub descriptors: u64,
    /// Where a picture of all storms goes; none is drawn when `None`.
    pub plot_file: Option<PathBuf>,
    /// Where the lines of JSON go.
    pub report_file: PathBuf,
}

/// Raises the storms of all rounds and reports.
///
/// # Errors
/// [`Failure::NotBack`] when somebody gave up, was too late, or did not hear what was said; and the system's.
pub fn run(plan: &Plan) -> Result<(), Failure> {
    os::allow_connections((plan.clients + plan.desks) as u64, plan.descriptors)?;
    let mut report = Report::default();
    let mut missing = 0;
    let mut curves = Vec::new();
    for round in 1..=plan.rounds {
        for cut in &plan.cuts {
            let storm = raise(plan, *cut)?;
            missing += storm.lost + storm.unheard;
            curves.push((format!("{} {round}", cut.name()), storm.back_after_seconds));
            report.add_outcome(round, cut.name(), Ok(storm.figures))?;
        }
    }
    report.publish("", &[], &plan.report_file)?;
    if let Some(file) = &plan.plot_file {
        let title = format!("{} clients cut off at once: how many are back", plan.clients);
        picture::write(file, &picture::of_arrivals(&title, "seconds after they were cut off", &curves))?;
    }
    if missing == 0 { Ok(()) } else { Err(Failure::NotBack { missing }) }
}

struct Storm {
    figures: Figures,
    /// When each who is back was let in, in ascending order.
    back_after_seconds: Vec<f64>,
    /// Clients that gave up, or were not back in time.
    lost: u64,
    /// Clients that were back and did not hear what was said then.
    unheard: u64,
}

/// One storm over a new server.
fn raise(plan: &Plan, cut: Cut) -> Result<Storm, Failure> {
    let folder = Grandstand::data_folder()?;
    let held = HeldSockets::listen()?;
    let server = Server::start(held.command(plan, folder.path()), &plan.setup.cores, Addresses::read)?;
    let clock = Clock::start();
    let mut crowd = Crowd {
        newcomers: Newcomers::new(clock, server.api()?, server.edge, plan.clients, plan.desks)?,
        clock,
        clients: vec![Client::default(); plan.clients],
        waiting: plan.clients,
        refusals: 0,
    };
    crowd.gather()?;
    let mut time = ProcessorTime::read(server.pid())?;
    let cut_at = clock.nanos();
    crowd.is_cut_off();
    let server = match cut {
        Cut::Kill => {
            time = ProcessorTime::default();
            let (command, cores) = (held.command(plan, folder.path()), plan.setup.cores.clone());
            // Beside this thread, since the clients must notice and act meanwhile.
            let successor: JoinHandle<Result<Server, Failure>> = thread::spawn(move || {
                drop(server);
                Server::start(command, &cores, Addresses::read)
            });
            let back = crowd.come_back(cut_at);
            let server =
                successor.join().map_err(|_| Failure::NotReady { what: "the successor".to_owned() })??;
            back.map(|()| server)?
        }
        Cut::Network => {
            crowd.hang_up();
            crowd.come_back(cut_at)?;
            server
        }
    };
    let time = ProcessorTime::read(server.pid())?.since(time);
    let storm = crowd.figures(cut_at, time)?;
    if storm.lost + storm.unheard > 0 {
        eprintln!("grandstand said: {}", server.log_tail());
    }
    server.stop()?;
    Ok(storm)
}

/// The listening sockets of a server, kept open here whatever happens to it.
struct HeldSockets(Vec<(&'static str, Socket)>);

impl HeldSockets {
    fn listen() -> Result<Self, Failure> {
        let listen = |name| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
            socket.listen(LISTEN_BACKLOG)?;
            // So that the servers that are started from here have them, too.
            socket.set_cloexec(false)?;
            Ok((name, socket))
        };
        let sockets: Result<Vec<_>, std::io::Error> =
            ["api", "edge", "admin"].into_iter().map(listen).collect();
        sockets.map(Self).map_err(Failure::io("listen on behalf of the server"))
    }

    fn command(&self, plan: &Plan, folder: &Path) -> Command {
        let mut command = plan.setup.grandstand.command(folder);
        let sockets = self.0.iter().map(|(name, socket)| format!("{name}={} ", socket.as_raw_fd()));
        let description = format!("{}{}", sockets.collect::<String>(), inheritance::HELD);
        command.env(inheritance::VARIABLE, description);
        command
    }
}

/// How far a client has come with coming back.
#[derive(Clone, Copy, Debug, Default)]
struct Client {
    /// Tries since it was cut off.
    tries: u32,
    /// When it was let in, unless it is out.
    in_at: Option<u64>,
    has_given_up: bool,
}

impl Client {
    fn is_waiting(self) -> bool {
        self.in_at.is_none() && !self.has_given_up
    }

    /// What the SDK does: who is waiting afterwards tries at once.
    fn after(self, happening: &Happening, now_nanos: u64) -> Self {
        match happening {
            Happening::Joined { .. } => Self { in_at: Some(now_nanos), ..Self::default() },
            Happening::Dropped { .. } => Self { tries: 1, ..Self::default() },
            Happening::Dismissed { .. } => Self { has_given_up: true, ..Self::default() },
            Happening::Refused { .. } => {
                let tries = self.tries + 1;
                Self { tries, has_given_up: tries > TRIES_MAX, in_at: None }
            }
        }
    }
}

struct Crowd {
    newcomers: Newcomers,
    clock: Clock,
    clients: Vec<Client>,
    /// How many of them are neither in nor have given up.
    waiting: usize,
    /// Tries that failed.
    refusals: u64,
}

impl Crowd {
    /// Lets everybody in for the first time.
    fn gather(&mut self) -> Result<(), Failure> {
        for client in 0..self.clients.len() {
            self.newcomers.want_in(client);
        }
        self.live_until(self.clock.nanos() + BACK_SECONDS_MAX * SECOND_NANOS, |crowd| crowd.waiting == 0)?;
        if self.clients.iter().any(|client| client.in_at.is_none()) {
            return Err(Failure::Handshake {
                answer: "not everybody was let in before the storm".to_owned(),
            });
        }
        self.live_until(self.clock.nanos() + CALM_NANOS, |_| false)?;
        self.refusals = 0;
        Ok(())
    }

    /// Nobody counts as in from now on, whether they have noticed yet or not.
    fn is_cut_off(&mut self) {
        self.waiting = self.clients.len();
        self.clients.fill(Client::default());
    }

    /// Ends all connections from this side; everybody notices.
    fn hang_up(&mut self) {
        for client in 0..self.clients.len() {
            self.newcomers.leave(client);
        }
        for client in 0..self.clients.len() {
            self.react(&Happening::Dropped { newcomer: client });
        }
    }

    /// Until everybody is back, or has given up.
    fn come_back(&mut self, cut_at: u64) -> Result<(), Failure> {
        self.live_until(cut_at + BACK_SECONDS_MAX * SECOND_NANOS, |crowd| crowd.waiting == 0)
    }

    /// Lets things happen until an instant, or until `is_over`.
    fn live_until(&mut self, until_nanos: u64, is_over: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        while let left @ 1.. = until_nanos.saturating_sub(self.clock.nanos())
            && !is_over(self)
        {
            for happening in self.newcomers.turn(Duration::from_nanos(left))? {
                self.react(&happening);
            }
        }
        Ok(())
    }

    fn react(&mut self, happening: &Happening) {
        let newcomer = happening.newcomer();
        let before = self.clients[newcomer];
        let client = before.after(happening, self.clock.nanos());
        self.refusals += u64::from(matches!(happening, Happening::Refused { .. }));
        self.waiting -= usize::from(before.is_waiting());
        self.waiting += usize::from(client.is_waiting());
        if client.is_waiting() {
            self.newcomers.want_in(newcomer);
        }
        self.clients[newcomer] = client;
    }

    /// Has one of those who are back say something; how many of them do not hear it.
    fn unheard(&mut self, back: u64) -> Result<u64, Failure> {
        let Some(speaker) = self.clients.iter().position(|client| client.in_at.is_some()) else {
            return Ok(0);
        };
        let script = Script { rooms: 1, publishers: 1, content_length: 30 };
        let wanted = self.newcomers.messages() + back;
        self.newcomers.send(speaker, &script.action(0))?;
        let until = self.clock.nanos() + HEARD_SECONDS_MAX * SECOND_NANOS;
        while let left @ 1.. = until.saturating_sub(self.clock.nanos())
            && self.newcomers.messages() < wanted
        {
            for happening in self.newcomers.turn(Duration::from_nanos(left))? {
                self.react(&happening);
            }
        }
        Ok(wanted.saturating_sub(self.newcomers.messages()))
    }

    fn figures(&mut self, cut_at: u64, server: ProcessorTime) -> Result<Storm, Failure> {
        let in_at = self.clients.iter().filter_map(|client| client.in_at);
        let mut back_after: Vec<u64> = in_at.map(|in_at| in_at.saturating_sub(cut_at)).collect();
        back_after.sort_unstable();
        let mut after = Histogram::default();
        back_after.iter().for_each(|nanos| after.add(*nanos));
        let back = after.count();
        let given_up = self.clients.iter().filter(|client| client.has_given_up).count() as u64;
        let lost = self.clients.len() as u64 - back;
        let refusals = self.refusals;
        let unheard = self.unheard(back)?;
        let seconds = |nanos: u64| nanos as f64 / 1e9;
        let figures = vec![
            ("back", back as f64),
            ("back_max_s", seconds(after.longest())),
            ("back_p50_s", seconds(after.percentile(500))),
            ("back_p99_s", seconds(after.percentile(990))),
            ("lost", lost as f64),
            ("given_up", given_up as f64),
            ("refused_tries", refusals as f64),
            ("unheard", unheard as f64),
            ("back_per_s", back as f64 / seconds(after.longest())),
            ("server_cpu_s", seconds(server.run_nanos)),
        ];
        let back_after_seconds = back_after.into_iter().map(seconds).collect();
        Ok(Storm { figures, back_after_seconds, lost, unheard })
    }
}

#[cfg(test)]
mod tests {
    use super::Client;
    use crate::newcomers::Happening;

    const DROPPED: Happening = Happening::Dropped { newcomer: 0 };
    const JOINED: Happening = Happening::Joined { newcomer: 0, token_nanos: 1, handshake_nanos: 1 };
    const REFUSED: Happening = Happening::Refused { newcomer: 0, reason: String::new() };

    fn after(happenings: &[Happening]) -> Client {
        happenings.iter().fold(Client::default(), |client, happening| client.after(happening, 7))
    }

    #[test]
    fn a_client_tries_four_times_and_then_gives_up() {
        assert!(after(&[DROPPED]).is_waiting());
        assert!(after(&[DROPPED, REFUSED, REFUSED, REFUSED]).is_waiting(), "the fourth try is under way");
        assert!(after(&[DROPPED, REFUSED, REFUSED, REFUSED, REFUSED]).has_given_up);
    }

    #[test]
    fn who_was_let_in_has_all_tries_again() {
        let client = after(&[DROPPED, REFUSED, REFUSED, REFUSED, JOINED]);
        assert_eq!((client.in_at, client.is_waiting()), (Some(7), false));
        let tries = [DROPPED, REFUSED, REFUSED, REFUSED, JOINED, DROPPED, REFUSED, REFUSED, REFUSED];
        assert!(after(&tries).is_waiting());
    }

    #[test]
    fn who_is_dismissed_does_not_come_back() {
        let client = after(&[JOINED, Happening::Dismissed { newcomer: 0 }]);
        assert!(client.has_given_up && !client.is_waiting() && client.in_at.is_none());
    }
}
