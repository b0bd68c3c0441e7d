//! Proves that a seed does the same things in the same order every time, and that another seed does not. Hashing with
//! random keys, addresses or the real clock would show here.

use sim::simulation::run;
use sim::workload::Scenario;

#[test]
fn the_same_seed_gives_the_same_trace() {
    for scenario in Scenario::ALL {
        let outcome = |seed| run(scenario, seed, None).unwrap_or_else(|failure| panic!("{failure}"));
        let first = outcome(1);
        assert_eq!(outcome(1), first, "{}", scenario.name);
        assert_ne!(outcome(2).trace, first.trace, "{}", scenario.name);
    }
}
