//! A server under test: a process of its own on its own cores, started, announced by its ready line, and stopped.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::failure::Failure;
use crate::os;

/// Lines that a server may say before it is ready.
const LINES_TO_READY_MAX: usize = 100;

/// Which cores a server and the load generator run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores {
    /// The server's.
    pub server: Vec<usize>,
    /// The load generator's.
    pub client: Vec<usize>,
}

/// Where a server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// For WebSocket clients.
    pub edge: SocketAddr,
    /// For its control plane, if it has one.
    pub api: Option<SocketAddr>,
    /// For its metrics, if it has any.
    pub admin: Option<SocketAddr>,
}

impl Addresses {
    /// The addresses in a ready line: `{"event":"ready","edge":"ws://…","api":"http://…"}`.
    #[must_use]
    pub fn read(ready_line: &str) -> Option<Self> {
        let ready: Value = serde_json::from_str(ready_line).ok()?;
        Some(Self {
            edge: address(&ready["edge"])?,
            api: address(&ready["api"]),
            admin: address(&ready["admin"]),
        })
    }
}

/// A running server; killed when dropped without [`Server::stop`].
pub struct Server {
    child: Child,
    log: File,
    /// Nothing comes: its other end goes with the process.
    end: Mutex<Receiver<()>>,
    /// From the start of the process to its ready line.
    pub start_to_ready: Duration,
    /// Where WebSocket clients connect.
    pub edge: SocketAddr,
    /// Where the control plane listens, if it has one.
    api: Option<SocketAddr>,
    admin: Option<SocketAddr>,
}

impl Server {
    /// Starts `command` on its cores and waits for the line on its standard output in which `read_ready` finds its
    /// addresses.
    ///
    /// # Errors
    /// It ended, or said only other things.
    pub fn start(
        mut command: Command,
        cores: &Cores,
        read_ready: impl Fn(&str) -> Option<Addresses>,
    ) -> Result<Self, Failure> {
        let log = tempfile::tempfile().map_err(Failure::io("make a file for the server's log"))?;
        let stderr = log.try_clone().map_err(Failure::io("share the log"))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        // A process starts on the cores of the thread that starts it.
        os::pin(&cores.server).map_err(Failure::io("pin the server"))?;
        let began = Instant::now();
        let spawned = command.spawn();
        os::pin(&cores.client).map_err(Failure::io("pin the load generator"))?;
        let mut child = spawned.map_err(Failure::io("start the server"))?;
        let mut stdout = child.stdout.take().map(BufReader::new);
        let mut said = Vec::new();
        let mut lines =
            stdout.iter_mut().flat_map(BufRead::lines).map_while(Result::ok).take(LINES_TO_READY_MAX);
        let ready = lines.find_map(|line| {
            let ready = read_ready(&line);
            said.push(line);
            ready
        });
        let start_to_ready = began.elapsed();
        let Some(Addresses { edge, api, admin }) = ready else {
            // Its end, however it came about, is not what matters now.
            drop(child.kill().and_then(|()| child.wait()));
            return Err(Failure::NotReady { what: format!("said {said:?}, log: {}", tail(log)) });
        };
        // A server that nobody hears any more may end, or wait. The thread ends with it.
        let (alive, end) = mpsc::sync_channel(0);
        if let (Some(mut stdout), Ok(mut log)) = (stdout, log.try_clone()) {
            thread::spawn(move || {
                let copied = io::copy(&mut stdout, &mut log);
                drop(alive);
                copied
            });
        }
        Ok(Self { child, log, end: Mutex::new(end), start_to_ready, edge, api, admin })
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its control plane listens.
    ///
    /// # Errors
    /// It has none.
    pub fn api(&self) -> Result<SocketAddr, Failure> {
        self.api.ok_or_else(|| Failure::NotReady { what: "the ready line names no control plane".to_owned() })
    }

    /// Where it tells its metrics.
    ///
    /// # Errors
    /// It has none.
    pub fn admin(&self) -> Result<SocketAddr, Failure> {
        self.admin.ok_or_else(|| Failure::NotReady { what: "the ready line names no metrics".to_owned() })
    }

    /// The end of what it wrote to its standard error, and to its standard output once it was ready.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.log.try_clone().map(tail).unwrap_or_default()
    }

    /// Lets it do what it does for so long.
    ///
    /// # Errors
    /// It has ended.
    pub fn leave_alone(&self, time: Duration) -> Result<(), Failure> {
        match self.end.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            _ => Err(Failure::NotReady { what: format!("it has ended, log: {}", self.log_tail()) }),
        }
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Errors
    /// It could not be asked, or ended with something other than success.
    pub fn stop(mut self) -> Result<(), Failure> {
        os::terminate(self.pid()).map_err(Failure::io("stop the server"))?;
        let status = self.child.wait().map_err(Failure::io("wait for the server's end"))?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::NotReady { what: format!("ended with {status}, log: {}", self.log_tail()) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended, or ended now: either is what is wanted.
        drop(self.child.kill().and_then(|()| self.child.wait()));
    }
}

/// `ws://127.0.0.1:4581` or `http://…` as a socket address.
fn address(url: &Value) -> Option<SocketAddr> {
    let (_, authority) = url.as_str()?.split_once("://")?;
    authority.trim_end_matches('/').parse().ok()
}

fn tail(mut log: File) -> String {
    const TAIL_BYTES: u64 = 2_000;
    let mut bytes = Vec::new();
    let length = log.metadata().map_or(0, |metadata| metadata.len());
    let read = log
        .seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))
        .and_then(|_| log.take(TAIL_BYTES).read_to_end(&mut bytes));
    read.map(|_| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// How Grandstand is to be run.
#[derive(Clone, Debug)]
pub struct Grandstand {
    /// The binary.
    pub binary: PathBuf,
    /// `edge.shards`.
    pub shards: u64,
    /// `edge.coalescing_window_ms`.
    pub window_ms: u64,
    /// `limits.profile`.
    pub profile: &'static str,
}

/// The access key id of the server under test. Not a secret: the server lives as long as the run, on the loopback.
pub const ACCESS_KEY_ID: &str = "AKIABENCHBENCHBENCH0";
/// The secret to [`ACCESS_KEY_ID`].
pub const SECRET_ACCESS_KEY: &str = "bench-bench-bench-bench-bench-bench-bench";

impl Grandstand {
    /// The binary beside this one: both are built into the same folder.
    ///
    /// # Errors
    /// It was not built, or the system does not say where this binary is.
    pub fn binary_beside_this() -> Result<PathBuf, Failure> {
        let this = std::env::current_exe().map_err(Failure::io("find this binary"))?;
        let binary = this.with_file_name("grandstand");
        if binary.exists() {
            return Ok(binary);
        }
        let advice = "no server beside this program: `cargo build --release -p server`, or give --server";
        Err(Failure::Arguments(advice.to_owned()))
    }

    /// A fresh, empty data folder.
    ///
    /// # Errors
    /// The system's.
    pub fn data_folder() -> Result<TempDir, Failure> {
        tempfile::Builder::new().prefix("bench").tempdir().map_err(Failure::io("make a data folder"))
    }

    /// The command that serves from `data_folder` on free ports.
    #[must_use]
    pub fn command(&self, data_folder: &Path) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("serve").arg("--data-dir").arg(data_folder);
        for flag in ["--api-addr", "--edge-addr", "--admin-addr"] {
            command.args([flag, "127.0.0.1:0"]);
        }
        command
            .env("GRANDSTAND_ROOT_ACCESS_KEY_ID", ACCESS_KEY_ID)
            .env("GRANDSTAND_ROOT_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
            .env("GRANDSTAND_EDGE_SHARDS", self.shards.to_string())
            .env("GRANDSTAND_EDGE_COALESCING_WINDOW_MS", self.window_ms.to_string())
            .env("GRANDSTAND_LIMITS_PROFILE", self.profile);
        command
    }
}
