//! The command line: what `grandstand` is asked to do, and the commands that are no server.

mod backup;
mod check;
mod logs;
mod migrate_store;
mod progress;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};

pub use self::backup::back_up;
pub use self::check::check;
pub use self::logs::tail_logs;
pub use self::migrate_store::{PlaceError, migrate_store};
use crate::config::Flag;
use crate::store::StoreError;

/// What the user wants.
#[derive(Debug)]
pub enum Request {
    /// Run the server.
    Serve(Overrides),
    /// Look whether the store of a stopped server is well.
    Check {
        /// Whose store.
        overrides: Overrides,
        /// Whether to put right what can be.
        is_repair_wanted: bool,
    },
    /// Copy the store, of a server that may be running.
    BackUp {
        /// Whose store.
        overrides: Overrides,
        /// Where to.
        file: PathBuf,
    },
    /// Copy the store of a stopped server to another place.
    MigrateStore {
        /// Settings, which say where the store is that is not named.
        overrides: Overrides,
        /// Where it is; what the settings say when `None`.
        from: Option<String>,
        /// Where to; what the settings say when `None`, but one of the two is given.
        to: Option<String>,
    },
    /// Follow what a room publishes.
    TailLogs {
        /// Whose data folder.
        overrides: Overrides,
        /// The room's ARN.
        room: String,
    },
    /// Print the manual of the settings.
    ConfigDocs,
    /// Print the list of all metrics.
    MetricsDocs,
}

/// What the command line says about settings.
#[derive(Debug)]
pub struct Overrides {
    /// The configuration file, if one was named.
    pub config_file: Option<PathBuf>,
    /// Settings given as flags, which are stronger than all others.
    pub flags: Vec<Flag>,
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum CommandError {
    /// The store says no.
    Store(StoreError),
    /// This flag does not say where a store is.
    Place(&'static str, PlaceError),
    /// This is no ARN of a room.
    Room(String),
    /// The chat logs in this data folder cannot be read.
    Spool(PathBuf, io::Error),
    /// What the command has to say could not be written.
    Output(io::Error),
}

impl fmt::Display for CommandError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(formatter),
            Self::Place(flag, error) => write!(formatter, "{flag} cannot be used: {error}"),
            Self::Room(room) => write!(formatter, "{room} is no ARN of a room"),
            Self::Spool(folder, error) => {
                write!(formatter, "the chat logs in {} cannot be read: {error}", folder.display())
            }
            Self::Output(error) => write!(formatter, "cannot write what was found: {error}"),
        }
    }
}

impl std::error::Error for CommandError {}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// A setting that has a flag: key, flag, name of the value, help.
type SettingFlag = (&'static str, &'static str, &'static str, &'static str);

/// All there are. The first is the one that every command takes which works on a store.
const FLAGS: [SettingFlag; 4] = [
    ("data_dir", "data-dir", "DIR", "Folder for all that is kept [default: ./grandstand-data]"),
    ("api_addr", "api-addr", "ADDR", "Where the control plane listens [default: 127.0.0.1:4580]"),
    ("edge_addr", "edge-addr", "ADDR", "Where the messaging edge listens [default: 127.0.0.1:4581]"),
    ("admin_addr", "admin-addr", "ADDR", "Where health and metrics are answered [default: 127.0.0.1:4582]"),
];

/// Reads the command line, of which the first word is the program itself.
///
/// # Errors
/// Also when help or the version was asked for: [`clap::Error::exit`] prints either and ends the process rightly.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Request, clap::Error> {
    let matches = command().try_get_matches_from(words)?;
    match matches.subcommand() {
        Some(("config-docs", _)) => Ok(Request::ConfigDocs),
        Some(("metrics-docs", _)) => Ok(Request::MetricsDocs),
        Some(("check", check)) => Ok(Request::Check {
            overrides: overrides(check, &FLAGS[..1]),
            is_repair_wanted: check.get_flag("repair"),
        }),
        Some(("backup", backup)) => Ok(Request::BackUp {
            overrides: overrides(backup, &FLAGS[..1]),
            file: backup.get_one::<PathBuf>("file").cloned().unwrap_or_default(),
        }),
        Some(("migrate-store", migrate)) => Ok(Request::MigrateStore {
            overrides: overrides(migrate, &FLAGS[..1]),
            from: migrate.get_one("from").cloned(),
            to: migrate.get_one("to").cloned(),
        }),
        Some(("logs", logs)) => {
            // The only thing that there is to do with them.
            let tail = logs.subcommand_matches("tail").unwrap_or(logs);
            let room = tail.get_one("room").cloned().unwrap_or_default();
            Ok(Request::TailLogs { overrides: overrides(tail, &FLAGS[..1]), room })
        }
        Some((_, serve)) => Ok(Request::Serve(overrides(serve, &FLAGS))),
        // Not reached: a subcommand is required.
        None => Err(command().error(clap::error::ErrorKind::MissingSubcommand, "a command is required")),
    }
}

/// Of a command that has the flags `known`.
fn overrides(matches: &ArgMatches, known: &[SettingFlag]) -> Overrides {
    let flag =
        |key: &'static str| matches.get_one::<String>(key).map(|value| Flag { key, value: value.clone() });
    Overrides {
        config_file: matches.get_one::<PathBuf>("config").cloned(),
        flags: known.iter().filter_map(|(key, ..)| flag(key)).collect(),
    }
}

fn command() -> Command {
    Command::new("grandstand")
        .about("A self-hosted live-chat server, wire-compatible with Amazon IVS Chat")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            with_overrides(Command::new("serve"), &FLAGS)
                .about("Run the server; no flag is needed")
                .after_help("All other settings are in docs/configuration.md, or `grandstand config-docs`."),
        )
        .subcommand(check_command())
        .subcommand(backup_command())
        .subcommand(migrate_store_command())
        .subcommand(logs_command())
        .subcommand(Command::new("config-docs").about("Print the manual of all settings, in Markdown"))
        .subcommand(Command::new("metrics-docs").about("Print the list of all metrics, in Markdown"))
}

fn check_command() -> Command {
    let repair = Arg::new("repair")
        .long("repair")
        .action(ArgAction::SetTrue)
        .help("Make the lists of rooms anew from the rooms, and put the clock that orders them right");
    with_overrides(Command::new("check"), &FLAGS[..1])
        .about(
            "Look whether the store is well; for a server that is stopped, unless its store is in PostgreSQL",
        )
        .after_help(
            "Prints a line for each thing that is wrong, then a sum. Exit code 0: all is well; 1: it is not.",
        )
        .arg(repair)
}

fn backup_command() -> Command {
    let file = Arg::new("file")
        .value_name("FILE")
        .required(true)
        .value_parser(clap::value_parser!(PathBuf))
        .help("The new file; it holds secret keys and is readable by its owner only");
    with_overrides(Command::new("backup"), &FLAGS[..1])
        .about("Copy the store into a new file; the server may be running")
        .after_help("How to restore it, and what is not in it: docs/operating.md.")
        .arg(file)
}

fn migrate_store_command() -> Command {
    let place = |name: &'static str, help| Arg::new(name).long(name).value_name("STORE").help(help);
    with_overrides(Command::new("migrate-store"), &FLAGS[..1])
        .about("Copy a whole store to another place: from its folder into PostgreSQL, back, or elsewhere")
        .after_help(
            "STORE is a data folder, or `postgres://user:password@host:port/database`. One of the two may be left out, and\n\
             is then the store of the settings: so a password need not be on the command line, but can be in\n\
             GRANDSTAND_STORE_URL.\n\n\
             Stop all servers of both first. There must be no store yet where it goes to; the old one is left as it is, and\n\
             must not be served any more. Exit code 0: all of it is there, and is well; 1: it is not.",
        )
        .arg(place("from", "The store to copy [default: that of the settings]"))
        .arg(place("to", "Where to copy it [default: where the settings say]").required_unless_present("from"))
}

fn logs_command() -> Command {
    let room = Arg::new("room")
        .value_name("ROOM_ARN")
        .required(true)
        .help("The room, which has logging configurations");
    let tail = with_overrides(Command::new("tail"), &FLAGS[..1])
        .about("Follow what a room publishes: each message and event, as its destinations get it")
        .after_help(
            "Prints a line of JSON for each record that is written from now on, once for all logging configurations of the\n\
             room, before any destination has it. It is read out of the data folder of a server on this machine: what other\n\
             servers that share its store publish is not there. Nothing is shown of a room without logging configurations.",
        )
        .arg(room);
    Command::new("logs").about("Chat logs").subcommand_required(true).subcommand(tail)
}

/// Adds `--config` and the flags of settings.
fn with_overrides(command: Command, flags: &[SettingFlag]) -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help("Read settings from this TOML file");
    let flag =
        |&(key, flag, value, help): &SettingFlag| Arg::new(key).long(flag).value_name(value).help(help);
    command.arg(config).args(flags.iter().map(flag))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::path::Path;

    use super::{Overrides, Request, command, parse};

    fn parse_line(line: &str) -> Result<Request, clap::Error> {
        parse(line.split(' ').map(Into::into))
    }

    #[test]
    fn the_command_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn flags_become_settings() {
        let line = "grandstand serve --config g.toml --data-dir d --api-addr a --edge-addr e --admin-addr m";
        let Ok(Request::Serve(Overrides { config_file, flags })) = parse_line(line) else {
            panic!("not read: {line}")
        };
        let flags: Vec<(&str, &str)> = flags.iter().map(|flag| (flag.key, flag.value.as_str())).collect();
        assert_eq!(config_file.as_deref(), Some(Path::new("g.toml")));
        assert_eq!(flags, [("data_dir", "d"), ("api_addr", "a"), ("edge_addr", "e"), ("admin_addr", "m")]);
    }

    #[test]
    fn no_flag_is_needed_and_no_other_word_is_taken() {
        let Ok(Request::Serve(Overrides { config_file: None, flags })) = parse_line("grandstand serve")
        else {
            panic!("not read")
        };
        assert!(flags.is_empty());
        assert!(matches!(parse_line("grandstand config-docs"), Ok(Request::ConfigDocs)));
        assert!(matches!(parse_line("grandstand metrics-docs"), Ok(Request::MetricsDocs)));
        for line in ["grandstand", "grandstand fly", "grandstand serve --port 1", "grandstand serve now"] {
            assert!(parse_line(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_check_repairs_only_when_it_is_told_to() {
        for (line, expected) in [("grandstand check", false), ("grandstand check --repair", true)] {
            let Ok(Request::Check { is_repair_wanted, .. }) = parse_line(line) else {
                panic!("not read: {line}")
            };
            assert_eq!(is_repair_wanted, expected, "{line}");
        }
        assert!(parse_line("grandstand check --api-addr a").is_err(), "no server, no address");
    }

    #[test]
    fn a_migration_goes_from_somewhere_or_to_somewhere_else() {
        for (line, expected) in [
            ("grandstand migrate-store --from a --to b", (Some("a"), Some("b"))),
            ("grandstand migrate-store --data-dir d --from a", (Some("a"), None)),
            ("grandstand migrate-store --config g.toml --to b", (None, Some("b"))),
        ] {
            let Ok(Request::MigrateStore { from, to, .. }) = parse_line(line) else {
                panic!("not read: {line}")
            };
            assert_eq!((from.as_deref(), to.as_deref()), expected, "{line}");
        }
        assert!(parse_line("grandstand migrate-store").is_err());
    }

    #[test]
    fn a_log_is_that_of_a_room() {
        let line = "grandstand logs tail --data-dir d arn";
        let Ok(Request::TailLogs { overrides, room }) = parse_line(line) else { panic!("not read: {line}") };
        assert_eq!((overrides.flags.len(), room.as_str()), (1, "arn"));
        assert!(parse_line("grandstand logs tail").is_err() && parse_line("grandstand logs").is_err());
    }

    #[test]
    fn a_backup_needs_a_file() {
        let line = "grandstand backup --config g.toml --data-dir d copy.db";
        let Ok(Request::BackUp { overrides, file }) = parse_line(line) else { panic!("not read: {line}") };
        assert_eq!(overrides.config_file.as_deref(), Some(Path::new("g.toml")));
        assert_eq!(overrides.flags.iter().map(|flag| flag.value.as_str()).collect::<Vec<_>>(), ["d"]);
        assert_eq!(file, Path::new("copy.db"));
        assert!(parse_line("grandstand backup").is_err());
    }
}
