//! `grandstand`: read the command line and the settings, start a node, say that it is ready, wait for a signal, drain;
//! or do what another command asks.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use server::cli::{self, CommandError, Overrides, Request};
use server::config::{self, Config, Sources};
use server::node::Node;
use server::store::{self, Location};
use tokio::signal::unix::{SignalKind, signal};
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
        Request::Serve(overrides) => serve(overrides),
        Request::Check { overrides, is_repair_wanted } => with_store(overrides, async |location| {
            cli::check(location, is_repair_wanted, &mut std::io::stdout()).await
        }),
        Request::BackUp { overrides, file } => with_store(overrides, async |location| {
            cli::back_up(location, &file, &mut std::io::stdout()).await.map(|()| true)
        }),
        Request::MigrateStore { overrides, from, to } => with_store(overrides, async |location| {
            cli::migrate_store(from.as_deref(), to.as_deref(), location, &mut std::io::stdout()).await
        }),
    }
}

fn serve(overrides: Overrides) -> ExitCode {
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
    let outcome = runtime.block_on(run(&config));
    // What has not ended by now is given up; it has had its time.
    runtime.shutdown_background();
    outcome
}

/// Runs a command on the store; it answers whether all is well.
fn with_store(
    overrides: Overrides,
    command: impl AsyncFnOnce(&Location) -> Result<bool, CommandError>,
) -> ExitCode {
    let config = match begin(overrides) {
        Ok(config) => config,
        Err(failed) => return failed,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(command(&Location::from(&config))) {
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
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(loaded.config)
}

async fn run(config: &Config) -> ExitCode {
    let (mut terminate, mut interrupt) =
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
            (Err(error), _) | (_, Err(error)) => return fail(&error),
        };
    let started = tokio::select! {
        started = Node::start(config) => started,
        // Nothing has been acknowledged yet.
        _ = terminate.recv() => return ExitCode::SUCCESS,
        _ = interrupt.recv() => return ExitCode::SUCCESS,
    };
    let node = match started {
        Ok(node) => node,
        Err(error) => return fail(&error),
    };
    if let Err(error) = writeln!(std::io::stdout(), "{}", node.ready_line()) {
        tracing::warn!(%error, "nobody reads that the server is ready");
    }
    tracing::info!("ready");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    if tokio::time::timeout(DRAIN_TIME_MAX, node.drain()).await.is_err() {
        tracing::warn!("not everything has ended in time; stopping all the same");
    }
    ExitCode::SUCCESS
}

/// Variables that are no text cannot be settings of ours.
fn variables() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

fn start_log(config: &Config) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(&config.log.filter)?;
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(std::io::stderr).init();
    Ok(())
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("grandstand: {error}");
    ExitCode::FAILURE
}
