//! `grandstand`: read the command line and the settings, start a node (or take over from the process before), say that it
//! is ready, wait for a signal, hand over if that is what it means, drain; or do what another command asks.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use server::cli::{self, CommandError, Overrides, Request};
use server::config::{self, Config, LogFormat, Sources};
use server::hand_over::Predecessor;
use server::inheritance::{self, Inheritance};
use server::metrics::Metrics;
use server::node::{Node, StartError};
use server::panics;
use server::store::{self, Location};
use server::supervisor::{self, Word};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// A stop takes no longer than this, whatever is under way; supervisors begin to kill after ten seconds.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(9);

fn main() -> ExitCode {
    let request = match cli::parse(std::env::args_os()) {
        Ok(request) => request,
        Err(error) => error.exit(),
    };
    match request {
        Request::ConfigDocs => {
            print!("{}", config::manual());
            ExitCode::SUCCESS
        }
        Request::MetricsDocs => {
            print!("{}", Metrics::new(1).catalogue().manual());
            ExitCode::SUCCESS
        }
        Request::Serve(overrides) => serve(overrides),
        Request::Check { overrides, is_repair_wanted } => with_store(overrides, async |location| {
            cli::check(location, is_repair_wanted, &mut std::io::stdout()).await
        }),
        Request::BackUp { overrides, file } => with_store(overrides, async |location| {
            cli::back_up(location, &file, &mut std::io::stdout()).await.map(|()| true)
        }),
        Request::TailLogs { overrides, room } => with_config(overrides, async |config| {
            cli::tail_logs(&config.data_dir, &room, &mut std::io::stdout()).await.map(|()| true)
        }),
        Request::MigrateStore { overrides, from, to } => with_store(overrides, async |location| {
            cli::migrate_store(from.as_deref(), to.as_deref(), location, &mut std::io::stdout()).await
        }),
    }
}

fn serve(overrides: Overrides) -> ExitCode {
    // SAFETY: this process has read its command line, and has opened and started nothing yet.
    #[allow(unsafe_code, reason = "what is inherited is known by its number only")]
    let inheritance = match unsafe { inheritance::take() } {
        Ok(inheritance) => inheritance,
        Err(error) => return fail(&error),
    };
    let config = match begin(overrides) {
        Ok(config) => config,
        Err(failed) => return failed,
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(store::runtime_threads()).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let outcome = runtime.block_on(run(&config, inheritance));
    // What has not ended by now is given up; it has had its time.
    runtime.shutdown_background();
    outcome
}

/// Runs a command on the store; it answers whether all is well.
fn with_store(
    overrides: Overrides,
    command: impl AsyncFnOnce(&Location) -> Result<bool, CommandError>,
) -> ExitCode {
    with_config(overrides, async |config| command(&Location::from(config)).await)
}

/// Runs a command with the settings of a server; it answers whether all is well.
fn with_config(
    overrides: Overrides,
    command: impl AsyncFnOnce(&Config) -> Result<bool, CommandError>,
) -> ExitCode {
    let config = match begin(overrides) {
        Ok(config) => config,
        Err(failed) => return failed,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(command(&config)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => fail(&error),
    }
}

/// What every command begins with: the settings, and a log of what is odd about them.
fn begin(overrides: Overrides) -> Result<Config, ExitCode> {
    let Overrides { config_file, flags } = overrides;
    let sources = Sources { flags, variables: variables(), file: config_file };
    let loaded = config::load(&sources).map_err(|error| fail(&error))?;
    start_log(&loaded.config).map_err(|error| fail(&format_args!("`log.filter` cannot be used: {error}")))?;
    panics::tell_in_log();
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(loaded.config)
}

/// Either tells the process to stop.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn signals() -> std::io::Result<(StopSignals, Signal)> {
    let terminate = signal(SignalKind::terminate())?;
    let interrupt = signal(SignalKind::interrupt())?;
    Ok((StopSignals { terminate, interrupt }, signal(SignalKind::user_defined2())?))
}

async fn run(config: &Config, inheritance: Inheritance) -> ExitCode {
    let (mut stop, mut hand_over) = match signals() {
        Ok(signals) => signals,
        Err(error) => return fail(&error),
    };
    let replaces_another = inheritance.line.is_some();
    let started = tokio::select! {
        started = start(config, inheritance) => started,
        // Nothing has been acknowledged yet.
        () = stop.recv() => return ExitCode::SUCCESS,
    };
    let mut node = match started {
        Ok(node) => node,
        Err(error) => return fail(&error),
    };
    if let Err(error) = writeln!(std::io::stdout(), "{}", node.ready_line()) {
        tracing::warn!(%error, "nobody reads that the server is ready");
    }
    tracing::info!("ready");
    if !replaces_another {
        supervisor::tell(Word::Ready);
    }
    if serve_until_told(&mut node, &mut stop, &mut hand_over).await == End::Stopped {
        supervisor::tell(Word::Stopping);
    }
    tracing::info!("stopping");
    if tokio::time::timeout(DRAIN_TIME_MAX, node.drain()).await.is_err() {
        tracing::warn!("not everything has ended in time; stopping all the same");
    }
    ExitCode::SUCCESS
}

/// Why this process is to end.
#[derive(PartialEq, Eq)]
enum End {
    /// It was told to.
    Stopped,
    /// Another one serves.
    Replaced,
}

async fn serve_until_told(node: &mut Node, stop: &mut StopSignals, hand_over: &mut Signal) -> End {
    let command_line: Vec<OsString> = std::env::args_os().collect();
    loop {
        // After a failed hand-over this may take long: signals are heard meanwhile.
        let going_on = async {
            node.go_on().await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = stop.recv() => return End::Stopped,
            _ = hand_over.recv() => {}
            () = going_on => {}
        }
        tracing::info!("another process is to take over");
        let handed_over = tokio::select! {
            handed_over = node.hand_over(&command_line) => handed_over,
            () = stop.recv() => return End::Stopped,
        };
        match handed_over {
            Ok(successor) => {
                if let Some(process) = successor.process_id() {
                    supervisor::tell(Word::MainProcess(process));
                    tracing::info!(process, "another process has taken over");
                }
                successor.release();
                return End::Replaced;
            }
            Err(error) => tracing::error!(%error, "no other process has taken over; this one goes on"),
        }
    }
}

/// Starts a node, in the place of the process before if there is one.
async fn start(config: &Config, mut inheritance: Inheritance) -> Result<Node, StartError> {
    let Some(line) = inheritance.line.take() else {
        return Node::start(config, inheritance, None).await;
    };
    let mut predecessor = Predecessor::new(line).map_err(StartError::System)?;
    let node = Node::start(config, inheritance, Some(&mut predecessor)).await?;
    predecessor.replace().await;
    Ok(node)
}

/// Variables that are no text cannot be settings of ours.
fn variables() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).filter(|(name, _)| name != inheritance::VARIABLE).collect()
}

fn start_log(config: &Config) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(&config.log.filter)?;
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A log that cannot be written has nowhere to say so, and would panic when it tries.
    let log = log.log_internal_errors(false);
    match config.log.format {
        LogFormat::Text => log.with_ansi(ansi).init(),
        LogFormat::Json => log.json().flatten_event(true).with_ansi(false).init(),
    }
    Ok(())
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("grandstand: {error}");
    ExitCode::FAILURE
}
