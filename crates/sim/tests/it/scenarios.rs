//! Proves that no rule is broken in any scenario with a fixed number of seeds, and that the runs are worth something:
//! people join and talk, and slow readers are dropped where there are any.

use sim::simulation::run;
use sim::workload::Scenario;

const SEEDS: u64 = 6;

fn check(name: &str) -> u64 {
    let scenario = Scenario::named(name).unwrap_or_else(|| panic!("no scenario {name}"));
    let mut dropped = 0;
    for seed in 1..=SEEDS {
        match run(scenario, seed, None) {
            Ok(outcome) => {
                assert!(outcome.clients > 10 && outcome.published > 300, "{name} {seed}: {outcome:?}");
                assert!(outcome.heard > 1_000, "{name} {seed}: {outcome:?}");
                dropped += outcome.dropped;
            }
            Err(failure) => panic!("{failure}"),
        }
    }
    dropped
}

#[test]
fn chat() {
    assert_eq!(check("chat"), 0, "nobody sleeps long enough to be dropped");
}

#[test]
fn kick() {
    assert_eq!(check("kick"), 0, "nobody sleeps long enough to be dropped");
}

#[test]
fn slow_reader() {
    assert!(check("slow-reader") > SEEDS, "slow readers are dropped");
}

#[test]
fn review() {
    assert_eq!(check("review"), 0, "nobody sleeps long enough to be dropped");
}
