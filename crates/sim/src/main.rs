//! `cargo run --release -p sim -- [--scenario NAME] [--seed N] [--seeds COUNT]`: runs the scenarios (all of them unless
//! one is named) with `COUNT` seeds from `N` on (one, from 1), and prints what each run was like.

use std::process::ExitCode;

use sim::simulation::run;
use sim::workload::Scenario;

/// What to run.
struct Arguments {
    scenarios: Vec<Scenario>,
    seed: u64,
    seeds: u64,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(text) => {
            eprintln!("{text}\nusage: sim [--scenario NAME] [--seed N] [--seeds COUNT]");
            return ExitCode::from(2);
        }
    };
    for scenario in &arguments.scenarios {
        for seed in arguments.seed..arguments.seed.saturating_add(arguments.seeds) {
            match run(*scenario, seed, None) {
                Ok(outcome) => println!(
                    "{} seed {seed}: trace {:016x}, {} events, {} clients, {} frames published, {} read, {} slow readers dropped",
                    scenario.name,
                    outcome.trace,
                    outcome.events,
                    outcome.clients,
                    outcome.published,
                    outcome.heard,
                    outcome.dropped,
                ),
                Err(failure) => {
                    eprintln!("{failure}");
                    return ExitCode::FAILURE;
                }
            }
        }
    }
    ExitCode::SUCCESS
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments { scenarios: Scenario::ALL.to_vec(), seed: 1, seeds: 1 };
    while let Some(flag) = words.next() {
        let value = words.next().ok_or_else(|| format!("{flag} needs a value"))?;
        let number = || value.parse().map_err(|_| format!("{flag} needs a number, not {value}"));
        match flag.as_str() {
            "--scenario" => {
                let names: Vec<&str> = Scenario::ALL.iter().map(|scenario| scenario.name).collect();
                let scenario = Scenario::named(&value);
                arguments.scenarios =
                    vec![scenario.ok_or_else(|| format!("the scenarios are {}", names.join(", ")))?];
            }
            "--seed" => arguments.seed = number()?,
            "--seeds" => arguments.seeds = number()?,
            _ => return Err(format!("{flag} is unknown")),
        }
    }
    Ok(arguments)
}
