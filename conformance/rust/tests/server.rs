//! Starts the built server for the cases, and stops it the way an operator would.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// The root credentials that the server is given.
pub const ACCESS_KEY_ID: &str = "AKIDCONFORMANCE";
/// The secret that goes with them.
pub const SECRET_ACCESS_KEY: &str = "conformance-secret-of-no-value";

const READY_SECONDS_MAX: u64 = 20;
/// The run contract: SIGTERM drains and exits 0 within 10 s.
const STOP_SECONDS_MAX: u64 = 10;

/// A running server with an empty data directory; it does not outlive this value.
pub struct Server {
    child: Child,
    /// Where the control plane listens, as `http://host:port`.
    pub api: String,
    /// Where the messaging edge listens, as `ws://host:port`.
    pub edge: String,
    _stdout: Lines<BufReader<ChildStdout>>,
    _data_directory: TempDir,
}

impl Server {
    /// Starts a server on free ports, with these settings as environment variables, and waits until it is ready. Its log
    /// goes to our stderr.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let data_directory = TempDir::with_prefix("grandstand-rust-").expect("a data directory");
        let mut command = Command::new(binary());
        command.arg("serve").arg("--data-dir").arg(data_directory.path());
        for flag in ["--api-addr", "--edge-addr", "--admin-addr"] {
            command.args([flag, "127.0.0.1:0"]);
        }
        let mut child = command
            .env("GRANDSTAND_ROOT_ACCESS_KEY_ID", ACCESS_KEY_ID)
            .env("GRANDSTAND_ROOT_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the server binary starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("its stdout")).lines();
        let ready = timeout(Duration::from_secs(READY_SECONDS_MAX), ready_line(&mut stdout))
            .await
            .expect("ready in time");
        let address = |key: &str| ready[key].as_str().expect("an address").to_owned();
        Self {
            api: address("api"),
            edge: address("edge"),
            child,
            _stdout: stdout,
            _data_directory: data_directory,
        }
    }

    /// Stops the server with SIGTERM; says whether it ended with status 0 in time.
    pub async fn stop(mut self) -> bool {
        let process_id = self.child.id().expect("a running server").to_string();
        // The shell's own `kill`: the program of this name is not on every machine.
        let told = Command::new("sh")
            .args(["-c", "kill -TERM \"$0\"", &process_id])
            .status()
            .await
            .expect("sh runs");
        let ended = timeout(Duration::from_secs(STOP_SECONDS_MAX), self.child.wait()).await;
        told.success() && matches!(ended, Ok(Ok(status)) if status.success())
    }
}

async fn ready_line(stdout: &mut Lines<BufReader<ChildStdout>>) -> Value {
    while let Some(line) = stdout.next_line().await.expect("readable stdout") {
        match serde_json::from_str::<Value>(&line) {
            Ok(announcement) if announcement["event"] == "ready" => return announcement,
            Ok(_) | Err(_) => {}
        }
    }
    panic!("the server ended before it was ready");
}

/// The root of the repository that this crate is in.
pub fn repository_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn binary() -> PathBuf {
    std::env::var_os("GRANDSTAND_BIN")
        .map_or_else(|| repository_root().join("target/debug/grandstand"), PathBuf::from)
}
