//! `bench`: see the library's documentation, and `bench --help`.

use std::process::ExitCode;

use bench::failure::Failure;
use bench::{
    arguments, beside, chat_log, fanout, idle, join, list, os, peers, review, spike, stalled, start, store,
    storm,
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let matches = arguments::command().get_matches();
    // Servers under test inherit it.
    let descriptors = os::raise_descriptor_limit().map_err(Failure::io("raise the limit of descriptors"))?;
    match matches.subcommand() {
        Some(("fanout", matches)) => fanout::run(&arguments::fanout_plan(matches)?),
        Some(("beside", matches)) => beside::run(&arguments::beside_plan(matches, descriptors)?),
        Some(("stalled", matches)) => stalled::run(&arguments::stalled_plan(matches, descriptors)?),
        Some(("idle", matches)) => idle::run(&arguments::idle_plan(matches, descriptors)?),
        Some(("join", matches)) => join::run(&arguments::join_plan(matches)?),
        Some(("storm", matches)) => storm::run(&arguments::storm_plan(matches, descriptors)?),
        Some(("list", matches)) => list::run(&arguments::list_plan(matches)?),
        Some(("start", matches)) => {
            let setup = arguments::setup(matches, "standard")?;
            start::run(&setup, arguments::rounds(matches), &arguments::report_file(matches))
        }
        Some(("review", matches)) => {
            let (messages, seconds) = arguments::review_load(matches);
            review::run(arguments::rounds(matches), messages, seconds, &arguments::report_file(matches))
        }
        Some(("chatlog", matches)) => chat_log::run(&arguments::chat_log_plan(matches)?),
        Some(("store", matches)) => store::run(&arguments::store_plan(matches)?),
        Some(("spike", matches)) => spike::run(arguments::rounds(matches), &arguments::report_file(matches)),
        Some((spike::SESSIONS_SUBCOMMAND, matches)) => {
            spike::print_session_memory(arguments::room_members(matches))
        }
        Some((peers::bare_send::SUBCOMMAND, _)) => peers::bare_send::serve(),
        Some((peers::tungstenite::SUBCOMMAND, _)) => peers::tungstenite::serve(),
        Some((peers::signed_answer::SUBCOMMAND, matches)) => {
            peers::signed_answer::serve(&arguments::answer_file(matches))
        }
        _ => Ok(()),
    }
}
