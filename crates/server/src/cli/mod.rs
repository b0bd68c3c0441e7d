//! The command line: what `grandstand` is asked to do.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command};

use crate::config::Flag;

/// What the user wants.
#[derive(Debug)]
pub enum Request {
    /// Run the server.
    Serve {
        /// The configuration file, if one was named.
        config_file: Option<PathBuf>,
        /// Settings given as flags, which are stronger than all others.
        flags: Vec<Flag>,
    },
    /// Print the manual of the settings.
    ConfigDocs,
}

/// The settings that have a flag: key, flag, name of the value, help.
const FLAGS: [(&str, &str, &str, &str); 4] = [
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
        Some((_, serve)) => Ok(serve_request(serve)),
        // Not reached: a subcommand is required.
        None => Err(command().error(clap::error::ErrorKind::MissingSubcommand, "a command is required")),
    }
}

fn serve_request(matches: &ArgMatches) -> Request {
    let flag =
        |key: &'static str| matches.get_one::<String>(key).map(|value| Flag { key, value: value.clone() });
    Request::Serve {
        config_file: matches.get_one::<PathBuf>("config").cloned(),
        flags: FLAGS.into_iter().filter_map(|(key, ..)| flag(key)).collect(),
    }
}

fn command() -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help("Read settings from this TOML file");
    let flags = FLAGS.map(|(key, flag, value, help)| Arg::new(key).long(flag).value_name(value).help(help));
    let serve = Command::new("serve")
        .about("Run the server; no flag is needed")
        .after_help("All other settings are in docs/configuration.md, or `grandstand config-docs`.")
        .arg(config)
        .args(flags);
    Command::new("grandstand")
        .about("A self-hosted live-chat server, wire-compatible with Amazon IVS Chat")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(serve)
        .subcommand(Command::new("config-docs").about("Print the manual of all settings, in Markdown"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::path::Path;

    use super::{Request, command, parse};

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
        let Ok(Request::Serve { config_file, flags }) = parse_line(line) else { panic!("not read: {line}") };
        let flags: Vec<(&str, &str)> = flags.iter().map(|flag| (flag.key, flag.value.as_str())).collect();
        assert_eq!(config_file.as_deref(), Some(Path::new("g.toml")));
        assert_eq!(flags, [("data_dir", "d"), ("api_addr", "a"), ("edge_addr", "e"), ("admin_addr", "m")]);
    }

    #[test]
    fn no_flag_is_needed_and_no_other_word_is_taken() {
        let Ok(Request::Serve { config_file: None, flags }) = parse_line("grandstand serve") else {
            panic!("not read")
        };
        assert!(flags.is_empty());
        assert!(matches!(parse_line("grandstand config-docs"), Ok(Request::ConfigDocs)));
        for line in ["grandstand", "grandstand fly", "grandstand serve --port 1", "grandstand serve now"] {
            assert!(parse_line(line).is_err(), "{line}");
        }
    }
}
