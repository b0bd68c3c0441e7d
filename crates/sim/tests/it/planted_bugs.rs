//! Proves that the checkers find what they are there for: each bug is planted into the simulator's wiring, and its checker
//! must be the one that complains, within a few seeds. The same seeds without a bug break no rule (see `scenarios`).

use sim::bug::Bug;
use sim::checkers::Checker;
use sim::simulation::run;
use sim::workload::Scenario;

const SEEDS: u64 = 5;

/// In which scenario a bug is looked for, and who must find it.
const fn expected(bug: Bug) -> (&'static str, Checker) {
    match bug {
        Bug::DuplicateDelivery => ("chat", Checker::AtMostOnce),
        Bug::DropDelivery => ("chat", Checker::ExactlyOnce),
        Bug::ReorderDeliveries => ("chat", Checker::OneOrder),
        Bug::ForgetDisconnect | Bug::WriteAfterClose => ("kick", Checker::Ending),
        Bug::DropHealthy => ("chat", Checker::Ending),
        Bug::GrantCapabilities => ("chat", Checker::Grant),
        Bug::LoseRefusal => ("chat", Checker::Answers),
        Bug::LoseByte => ("chat", Checker::Genuine),

        Bug::HoldInbox | Bug::NeverFlush | Bug::NeverSweep => ("slow-reader", Checker::Limits),
        Bug::LoseLeft => ("chat", Checker::Leftovers),
        Bug::GreetRenewalsAtOnce => ("chat", Checker::ExactlyOnce),
        Bug::MisnumberAct => ("kick", Checker::Silence),
        Bug::LoseAdopted => ("kick", Checker::Ending),
        Bug::AllowDenied | Bug::LoseChange => ("review", Checker::Review),
        Bug::LoseOutcome => ("review", Checker::Leftovers),
        Bug::LogLate
        | Bug::LogOriginals
        | Bug::ForgetUnheard
        | Bug::KeepRefused
        | Bug::LogTwice
        | Bug::SwapRecords
        | Bug::LogUnlogged => ("logging", Checker::ChatLog),
        Bug::SwapActs => ("review", Checker::SenderOrder),
    }
}

#[test]
fn every_planted_bug_is_found_by_its_checker() {
    for bug in Bug::ALL {
        let (name, checker) = expected(bug);
        let scenario = Scenario::named(name).unwrap_or_else(|| panic!("no scenario {name}"));
        let found = (1..=SEEDS).find_map(|seed| run(scenario, seed, Some(bug)).err());
        let Some(failure) = found else { panic!("{bug:?} is not found with {SEEDS} seeds") };
        assert_eq!(failure.violation.checker, checker, "{bug:?}: {failure}");
        assert!(failure.to_string().contains(&format!("--scenario {name} --seed ")), "{failure}");
    }
}
