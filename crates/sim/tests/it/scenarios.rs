//! Proves that no rule is broken in any scenario with a fixed number of seeds, and that the runs are worth something:
//! people join and talk, and slow readers are dropped where there are any.

use sim::outcome::Outcome;
use sim::simulation::run;
use sim::workload::Scenario;

const SEEDS: u64 = 6;

/// How many slow readers were dropped in the runs of a scenario.
fn check(name: &str) -> u64 {
    outcomes(name).iter().map(|outcome| outcome.dropped).sum()
}

/// What the runs of a scenario were like.
fn outcomes(name: &str) -> Vec<Outcome> {
    let scenario = Scenario::named(name).unwrap_or_else(|| panic!("no scenario {name}"));
    let outcome = |seed| {
        let outcome = run(scenario, seed, None).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(outcome.clients > 10 && outcome.published > 300, "{name} {seed}: {outcome:?}");
        assert!(outcome.heard > 1_000, "{name} {seed}: {outcome:?}");
        outcome
    };
    (1..=SEEDS).map(outcome).collect()
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
    for outcome in outcomes("review") {
        assert_eq!(outcome.dropped, 0, "nobody sleeps long enough to be dropped");
        assert!(outcome.reviews_refused > 0 && outcome.fallbacks > 0, "{outcome:?}");
    }
}

#[test]
fn logging() {
    let outcomes = outcomes("logging");
    for outcome in &outcomes {
        assert!(outcome.kills > 2 && outcome.unlogged > 0, "{outcome:?}");
        assert!(outcome.logged > 300 && outcome.logged_unheard > 20, "{outcome:?}");
    }
    assert!(outcomes.iter().any(|outcome| outcome.logged_orphans > 0), "killed between record and frame");
}

/// Where nothing was wrong, and a rule seemed to be broken: someone renewed a connection that had not taken another one's place
/// yet, or the node was killed when all had gone.
#[test]
fn what_was_taken_for_a_fault_is_none() {
    for (name, seed) in
        [("logging", 831), ("logging", 2_428), ("logging", 2_814), ("review", 208), ("review", 215)]
    {
        let scenario = Scenario::named(name).unwrap_or_else(|| panic!("no scenario {name}"));
        run(scenario, seed, None).unwrap_or_else(|failure| panic!("{failure}"));
    }
}
