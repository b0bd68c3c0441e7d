//! The command line.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};

use crate::failure::Failure;
use crate::peers::{self, Peer, Setup};
use crate::server::{Cores, Grandstand};
use crate::store::Sites;
use crate::storm::Cut;
use crate::{beside, chat_log, fanout, idle, join, list, spike, stalled, store, storm};

/// A server accepts no more connections to its control plane than 1,024; some are left to others.
const DESKS_MAX: usize = 1_000;

/// All subcommands and their flags.
#[must_use]
pub fn command() -> Command {
    Command::new("bench")
        .about("Measures Grandstand beside other servers; every delivery is verified")
        .subcommand_required(true)
        .subcommand(fanout_command())
        .subcommand(beside_command())
        .subcommand(stalled_command())
        .subcommand(
            with_common(Command::new("idle").about("Many connections that say nothing"), "5")
                .arg(number("connections", "10000", "how many"))
                .arg(number("seconds", "60", "how long they are watched")),
        )
        .subcommand(
            with_servers(
                Command::new("join").about("CreateChatToken and the handshake, again and again"),
                "5",
            )
            .arg(number("clients", "16", "how many join at the same time"))
            .arg(number("seconds", "5", "how long is measured"))
            .arg(number("warm-up", "1", "seconds of the same load before")),
        )
        .subcommand(storm_command())
        .subcommand(list_command())
        .subcommand(with_common(Command::new("start").about("From process start to ready"), "20"))
        .subcommand(store_command())
        .subcommand(review_command())
        .subcommand(chat_log_command())
        .subcommand(
            Command::new("spike")
                .about("Experiments that the structure of the edge rests on")
                .arg(number("rounds", "7", "how often everything is measured"))
                .arg(report()),
        )
        .subcommand(
            Command::new(spike::SESSIONS_SUBCOMMAND)
                .hide(true)
                .arg(Arg::new("room-members").required(true).value_parser(value_parser!(u32))),
        )
        .subcommand(Command::new(peers::bare_send::SUBCOMMAND).hide(true))
        .subcommand(Command::new(peers::tungstenite::SUBCOMMAND).hide(true))
        .subcommand(
            Command::new(peers::signed_answer::SUBCOMMAND)
                .hide(true)
                .arg(Arg::new("answer").required(true).value_parser(value_parser!(PathBuf))),
        )
}

fn fanout_command() -> Command {
    let about = "Rooms with many viewers and a steady stream of messages";
    with_common(Command::new("fanout").about(about), "5")
        .arg(number("rooms", "1", "how many rooms, each with its own viewers and messages"))
        .arg(number("viewers", "1000", "connections that only watch, in each room"))
        .arg(number(
            "rate",
            "100",
            "messages per second in each room; above 100 the server's rates are lifted",
        ))
        .arg(
            Arg::new("saturate")
                .long("saturate")
                .value_name("N")
                .conflicts_with("rate")
                .value_parser(value_parser!(u64).range(1..))
                .help(
                    "instead of a rate: the next message when the crowd as a whole is less than N messages behind in each room; \
                     the server's rates are lifted",
                ),
        )
        .arg(number("seconds", "10", "how long is measured"))
        .arg(number("warm-up", "2", "seconds of the same load before"))
        .arg(number("content", "30", "characters of a message's content"))
        .arg(plot("latency and processor time of all rounds"))
}

fn beside_command() -> Command {
    let about = "Small rooms, alone and then beside a large one that is busy";
    with_servers(Command::new("beside").about(about), "5")
        .arg(number("rooms", "50", "how many small rooms"))
        .arg(number("viewers", "10", "connections that only watch, in each small room"))
        .arg(number("rate", "10", "messages per second in each small room"))
        .arg(number("large-viewers", "10000", "connections that only watch, in the large room"))
        .arg(number("large-rate", "100", "messages per second in the large room"))
        .arg(number("seconds", "10", "how long is measured, alone and then beside the large room"))
        .arg(number("warm-up", "2", "seconds of the same load before each"))
        .arg(number("content", "30", "characters of a message's content"))
}

fn review_command() -> Command {
    let about = "Message review in this process: what rules cost, and how well a time limit is kept beside stuck webhooks";
    Command::new("review")
        .about(about)
        .arg(number("rounds", "5", "how often everything is measured"))
        .arg(number("messages", "20000", "messages that the rules look at, each of 200 characters"))
        .arg(number(
            "seconds",
            "10",
            "how long 1,000 reviews a second are asked for, a fifth of them in vain",
        ))
        .arg(report())
}

/// How many messages the rules of `review` look at, and for how many seconds webhooks are asked.
#[must_use]
pub fn review_load(matches: &ArgMatches) -> (u64, u64) {
    (value(matches, "messages"), value(matches, "seconds"))
}

fn chat_log_command() -> Command {
    let about = "Chat logs: what a record costs whoever publishes, how fast a spool is shipped, what it takes while it waits";
    with_servers_and_window(Command::new("chatlog").about(about), "5", "0")
        .arg(text("parts", "publish,ship,wait", "what is measured"))
        .arg(number("rooms", "10", "how many rooms"))
        .arg(number("content", "100", "characters of a message's content"))
        .arg(number("rate", "1000", "messages per second of all rooms together"))
        .arg(number(
            "synced-rate",
            "50",
            "the same where each record is synced before its message is published",
        ))
        .arg(number("seconds", "10", "how long publishing is measured"))
        .arg(number("warm-up", "2", "seconds of the same load before"))
        .arg(number("shipped", "500000", "records in the spool that is shipped"))
        .arg(number("waiting", "1000000", "records in the spool that waits"))
        .arg(number("wait-seconds", "5", "how long it waits"))
}

/// `chatlog`'s plan.
///
/// # Errors
/// A value that makes no sense.
pub fn chat_log_plan(matches: &ArgMatches) -> Result<chat_log::Plan, Failure> {
    let unknown = |name: &str| Failure::Arguments(format!("there is no part {name}"));
    let part = |name| chat_log::Part::ALL.into_iter().find(|part| part.name() == name);
    let parts = parts(matches, "parts").map(|name| part(name).ok_or_else(|| unknown(name)));
    Ok(chat_log::Plan {
        parts: parts.collect::<Result<_, _>>()?,
        rounds: value(matches, "rounds"),
        // A member publishes more than it may with AWS's limits.
        setup: setup(matches, "unlimited")?,
        rooms: value(matches, "rooms").max(1),
        // Long enough for a sequence number, and no longer than messages may be.
        content_length: count(matches, "content").clamp(30, 500),
        rate: value(matches, "rate").max(1),
        synced_rate: value(matches, "synced-rate").max(1),
        seconds: value(matches, "seconds").max(1),
        warm_up_seconds: value(matches, "warm-up"),
        shipped_records: value(matches, "shipped").max(1),
        waiting_records: value(matches, "waiting").max(1),
        wait_seconds: value(matches, "wait-seconds"),
        report_file: report_file(matches),
    })
}

fn stalled_command() -> Command {
    let about = "A large room in which some viewers do not read";
    with_servers(Command::new("stalled").about(about), "5")
        .arg(number("viewers", "10000", "connections that only watch, the stalled ones included"))
        .arg(number("percent", "20", "how many of them stall"))
        .arg(number("rate", "10", "messages per second"))
        .arg(number("seconds", "70", "how long is measured"))
        .arg(number("warm-up", "2", "seconds of the same load before"))
        .arg(number("content", "500", "characters of a message's content"))
}

fn storm_command() -> Command {
    let about = "Everybody is cut off at once, and all want back in at once";
    with_servers(Command::new("storm").about(about), "3")
        .arg(number("clients", "15000", "how many; they behave like the official SDK"))
        .arg(number("desks", "64", "connections over which they have their tokens made"))
        .arg(text(
            "cuts",
            "kill,network",
            "how: kill the server and start another one in its place, or end all connections",
        ))
        .arg(plot("how many are back, over time"))
}

fn list_command() -> Command {
    let about = "ListRooms over HTTP, beside a server with a fixed answer";
    with_servers(Command::new("list").about(about), "5")
        .arg(text("rooms", "1000,100000", "how many rooms, a store for each"))
        .args(sites_arguments())
        .arg(number("connections", "16", "connections that ask, each for one page at a time"))
        .arg(number(
            "pages",
            "32",
            "pages that are asked for in turn; with 512, none is kept from the last time",
        ))
        .arg(number("seconds", "5", "how long each server is asked in a round"))
        .arg(
            Arg::new("profile")
                .long("profile")
                .value_parser(value_parser!(PathBuf))
                .help("file that gets a picture of the server's processor time; needs Linux's perf"),
        )
}

fn store_command() -> Command {
    Command::new("store")
        .about("The room store by itself: filling it, and pages of ListRooms at every depth")
        .arg(text("rooms", "1000,100000", "how many rooms, a store for each"))
        .args(sites_arguments())
        .arg(number("repeats", "500", "how often each page is read warm"))
        .arg(number("cold-repeats", "0", "how often each page is read cold, from a store just opened"))
        .arg(Arg::new("forget-command").long("forget-command").requires("url").help(
            "what makes the database forget its pages before each cold one, for a shell: it starts the database anew, \
             with nothing of its files in memory",
        ))
        .arg(number("write-seconds", "10", "how long clients write; 0 = not at all"))
        .arg(number("writers", "64", "clients that write, each one write at a time"))
        .arg(report())
}

/// The picture that a benchmark draws of itself.
fn plot(help: &'static str) -> Arg {
    Arg::new("plot").long("plot").value_name("FILE.svg").value_parser(value_parser!(PathBuf)).help(help)
}

fn number(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("N")
        .default_value(default)
        .value_parser(value_parser!(u64))
        .help(help)
}

fn text(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).default_value(default).help(help)
}

fn sites_arguments() -> [Arg; 2] {
    let folder = Arg::new("folder").long("folder").value_parser(value_parser!(PathBuf)).help(
        "where the stores are: one that is there is used as it is, one that is missing is made; \
         a temporary folder without it",
    );
    let url = Arg::new("url").long("url").value_name("postgres://...").conflicts_with("folder").help(
        "the PostgreSQL database where the stores are, each in a schema of its own: one that is there is used \
         as it is, one that is missing is made",
    );
    [folder, url]
}

fn with_common(command: Command, rounds: &'static str) -> Command {
    with_servers(command, rounds).arg(text("peers", "grandstand,bare-send", "what is measured"))
}

fn with_servers(command: Command, rounds: &'static str) -> Command {
    with_servers_and_window(command, rounds, "40")
}

fn with_servers_and_window(command: Command, rounds: &'static str, window_ms: &'static str) -> Command {
    command
        .arg(number("rounds", rounds, "how often everything is measured"))
        .arg(number("shards", "1", "edge.shards of Grandstand"))
        .arg(number("window-ms", window_ms, "edge.coalescing_window_ms of Grandstand"))
        .arg(
            Arg::new("server")
                .long("server")
                .value_parser(value_parser!(PathBuf))
                .help("Grandstand's binary; without it the one beside this program"),
        )
        .arg(text("server-cores", "0", "cores of the servers, as in 0,1"))
        .arg(text("client-cores", "1", "cores of the load generator"))
        .arg(report())
}

fn report() -> Arg {
    Arg::new("report")
        .long("report")
        .default_value("target/bench.jsonl")
        .value_parser(value_parser!(PathBuf))
        .help("file that gets the results as lines of JSON")
}

/// `fanout`'s plan.
///
/// # Errors
/// A value that makes no sense.
pub fn fanout_plan(matches: &ArgMatches) -> Result<fanout::Plan, Failure> {
    let messages_in_flight = matches.get_one::<u64>("saturate").copied();
    let [rooms, viewers, rate] = ["rooms", "viewers", "rate"].map(|name| value(matches, name));
    let load = fanout::Load { messages_in_flight, ..load(matches, rooms, viewers, rate) };
    let profile = if messages_in_flight.is_some() { "unlimited" } else { profile(load.rate) };
    Ok(fanout::Plan {
        peers: peers(matches)?,
        rounds: value(matches, "rounds"),
        setup: setup(matches, profile)?,
        load,
        plot_file: plot_file(matches),
        report_file: report_file(matches),
    })
}

/// A steady load of so many rooms with so many viewers each, and so many messages a second in each.
fn load(matches: &ArgMatches, rooms: u64, viewers: u64, rate: u64) -> fanout::Load {
    fanout::Load {
        rooms: rooms.max(1),
        viewers,
        rate: rate.max(1),
        messages_in_flight: None,
        seconds: value(matches, "seconds").max(1),
        warm_up_seconds: value(matches, "warm-up"),
        // Long enough for a sequence number, and no longer than messages may be.
        content_length: count(matches, "content").clamp(30, 500),
    }
}

/// `limits.profile` with which a room may have such a rate.
fn profile(rate: u64) -> &'static str {
    let legal = u64::from(protocol::limit::member::MESSAGE_RATE_MAX);
    if rate > legal { "unlimited" } else { "standard" }
}

/// `beside`'s plan, on a system that lets a process open so many files.
///
/// # Errors
/// A value that makes no sense.
pub fn beside_plan(matches: &ArgMatches, descriptors: u64) -> Result<beside::Plan, Failure> {
    let [rooms, viewers, rate] = ["rooms", "viewers", "rate"].map(|name| value(matches, name));
    let small = load(matches, rooms, viewers, rate);
    let large = load(matches, 1, value(matches, "large-viewers"), value(matches, "large-rate"));
    Ok(beside::Plan {
        rounds: value(matches, "rounds"),
        setup: setup(matches, profile(small.rate.max(large.rate)))?,
        small,
        large,
        descriptors,
        report_file: report_file(matches),
    })
}

/// `stalled`'s plan, on a system that lets a process open so many files.
///
/// # Errors
/// A value that makes no sense.
pub fn stalled_plan(matches: &ArgMatches, descriptors: u64) -> Result<stalled::Plan, Failure> {
    let everybody = value(matches, "viewers");
    let stalled = everybody * value(matches, "percent").min(100) / 100;
    let load = load(matches, 1, everybody - stalled, value(matches, "rate"));
    Ok(stalled::Plan {
        rounds: value(matches, "rounds"),
        setup: setup(matches, profile(load.rate))?,
        load,
        stalled,
        descriptors,
        report_file: report_file(matches),
    })
}

/// `idle`'s plan, on a system that lets a process open so many files.
///
/// # Errors
/// A value that makes no sense.
pub fn idle_plan(matches: &ArgMatches, descriptors: u64) -> Result<idle::Plan, Failure> {
    Ok(idle::Plan {
        peers: peers(matches)?,
        rounds: value(matches, "rounds"),
        setup: setup(matches, "standard")?,
        connections: value(matches, "connections").max(1),
        seconds: value(matches, "seconds").max(1),
        descriptors,
        report_file: report_file(matches),
    })
}

/// `join`'s plan.
///
/// # Errors
/// A value that makes no sense.
pub fn join_plan(matches: &ArgMatches) -> Result<join::Plan, Failure> {
    Ok(join::Plan {
        rounds: value(matches, "rounds"),
        setup: setup(matches, "standard")?,
        clients: count(matches, "clients").min(DESKS_MAX),
        seconds: value(matches, "seconds").max(1),
        warm_up_seconds: value(matches, "warm-up"),
        report_file: report_file(matches),
    })
}

/// `storm`'s plan, on a system that lets a process open so many files.
///
/// # Errors
/// A value that makes no sense.
pub fn storm_plan(matches: &ArgMatches, descriptors: u64) -> Result<storm::Plan, Failure> {
    let unknown = |name: &str| Failure::Arguments(format!("nobody can be cut off by {name}"));
    let cut = |name| [Cut::Kill, Cut::Network].into_iter().find(|cut| cut.name() == name);
    let cuts = parts(matches, "cuts").map(|name| cut(name).ok_or_else(|| unknown(name)));
    Ok(storm::Plan {
        rounds: value(matches, "rounds"),
        setup: setup(matches, "standard")?,
        clients: count(matches, "clients"),
        desks: count(matches, "desks").min(DESKS_MAX),
        cuts: cuts.collect::<Result<_, _>>()?,
        descriptors,
        plot_file: plot_file(matches),
        report_file: report_file(matches),
    })
}

/// `store`'s plan.
///
/// # Errors
/// A value that makes no sense.
pub fn store_plan(matches: &ArgMatches) -> Result<store::Plan, Failure> {
    Ok(store::Plan {
        sizes: sizes(matches)?,
        sites: sites(matches),
        repeats: value(matches, "repeats").max(1),
        cold_repeats: value(matches, "cold-repeats"),
        write_seconds: value(matches, "write-seconds"),
        writers: value(matches, "writers").max(1),
        report_file: report_file(matches),
    })
}

/// `list`'s plan.
///
/// # Errors
/// A value that makes no sense.
pub fn list_plan(matches: &ArgMatches) -> Result<list::Plan, Failure> {
    Ok(list::Plan {
        sizes: sizes(matches)?,
        sites: sites(matches),
        rounds: value(matches, "rounds"),
        seconds: value(matches, "seconds").max(1),
        connections: usize::try_from(value(matches, "connections")).unwrap_or(usize::MAX).clamp(1, 1_000),
        pages: usize::try_from(value(matches, "pages")).unwrap_or(usize::MAX).clamp(1, 10_000),
        setup: setup(matches, "standard")?,
        profile_file: matches.get_one::<PathBuf>("profile").cloned(),
        report_file: report_file(matches),
    })
}

fn sites(matches: &ArgMatches) -> Sites {
    match (matches.get_one::<String>("url"), matches.get_one::<PathBuf>("folder")) {
        (Some(url), _) => {
            let forget_command = matches.try_get_one::<String>("forget-command").ok().flatten().cloned();
            Sites::Database { url: url.clone(), forget_command }
        }
        (None, Some(folder)) => Sites::Folder(folder.clone()),
        (None, None) => Sites::Temporary,
    }
}

fn sizes(matches: &ArgMatches) -> Result<Vec<u64>, Failure> {
    let wrong = |_| Failure::Arguments("--rooms must be numbers, as in 1000,1000000".to_owned());
    parts(matches, "rooms").map(|size| size.parse().map_err(wrong)).collect()
}

/// The file that has the answer of [`peers::signed_answer`].
#[must_use]
pub fn answer_file(matches: &ArgMatches) -> PathBuf {
    matches.get_one::<PathBuf>("answer").cloned().unwrap_or_default()
}

/// How the peers are started.
///
/// # Errors
/// A value that makes no sense.
pub fn setup(matches: &ArgMatches, profile: &'static str) -> Result<Setup, Failure> {
    let binary = match matches.get_one::<PathBuf>("server") {
        Some(binary) => binary.clone(),
        None => Grandstand::binary_beside_this()?,
    };
    let grandstand = Grandstand {
        binary,
        shards: value(matches, "shards"),
        window_ms: value(matches, "window-ms"),
        profile,
    };
    let cores = Cores { server: cores(matches, "server-cores")?, client: cores(matches, "client-cores")? };
    Ok(Setup { grandstand, cores })
}

/// How many rounds.
#[must_use]
pub fn rounds(matches: &ArgMatches) -> u64 {
    value(matches, "rounds")
}

/// Members of each room, for [`spike::print_session_memory`].
#[must_use]
pub fn room_members(matches: &ArgMatches) -> u32 {
    matches.get_one::<u32>("room-members").copied().unwrap_or(1)
}

/// Where the lines of JSON go.
#[must_use]
pub fn report_file(matches: &ArgMatches) -> PathBuf {
    matches.get_one::<PathBuf>("report").cloned().unwrap_or_default()
}

fn plot_file(matches: &ArgMatches) -> Option<PathBuf> {
    matches.get_one::<PathBuf>("plot").cloned()
}

fn value(matches: &ArgMatches, name: &str) -> u64 {
    matches.get_one::<u64>(name).copied().unwrap_or_default()
}

/// At least 1.
fn count(matches: &ArgMatches, name: &str) -> usize {
    usize::try_from(value(matches, name)).unwrap_or(usize::MAX).max(1)
}

fn parts<'a>(matches: &'a ArgMatches, name: &str) -> impl Iterator<Item = &'a str> {
    matches.get_one::<String>(name).into_iter().flat_map(|text| text.split(','))
}

fn peers(matches: &ArgMatches) -> Result<Vec<Peer>, Failure> {
    let unknown = |name: &str| Failure::Arguments(format!("there is no peer {name}"));
    parts(matches, "peers").map(|name| Peer::from_name(name).ok_or_else(|| unknown(name))).collect()
}

fn cores(matches: &ArgMatches, name: &str) -> Result<Vec<usize>, Failure> {
    let wrong = |_| Failure::Arguments(format!("--{name} must be numbers of cores, as in 0,1"));
    parts(matches, name).map(|core| core.parse().map_err(wrong)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use super::{command, fanout_plan, list_plan, store_plan};
    use crate::peers::Peer;
    use crate::store::Sites;

    #[test]
    fn the_command_line_is_consistent_and_read_as_meant() {
        command().debug_assert();
        let words =
            ["bench", "fanout", "--viewers", "7", "--rate", "200", "--peers", "bare-send", "--server", "x"];
        let matches = command().try_get_matches_from(words).unwrap();
        let plan = fanout_plan(matches.subcommand_matches("fanout").unwrap()).unwrap();
        assert_eq!(plan.peers, [Peer::BareSend]);
        assert_eq!((plan.load.viewers, plan.setup.grandstand.profile), (7, "unlimited"));
        let words = ["bench", "list", "--rooms", "1,20", "--server", "x"];
        let matches = command().try_get_matches_from(words).unwrap();
        let plan = list_plan(matches.subcommand_matches("list").unwrap()).unwrap();
        assert_eq!((plan.sizes, plan.profile_file), (vec![1, 20], None));
        assert!(matches!(plan.sites, Sites::Temporary));
        let words = ["bench", "store", "--writers", "1", "--url", "postgres://db/rooms"];
        let matches = command().try_get_matches_from(words).unwrap();
        let plan = store_plan(matches.subcommand_matches("store").unwrap()).unwrap();
        assert_eq!(plan.writers, 1);
        assert!(matches!(plan.sites, Sites::Database { url, .. } if url == "postgres://db/rooms"));
        let words = ["bench", "fanout", "--peers", "nobody"];
        let matches = command().try_get_matches_from(words).unwrap();
        assert!(fanout_plan(matches.subcommand_matches("fanout").unwrap()).is_err());
    }
}
