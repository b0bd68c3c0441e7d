//! Clients that come in with tokens: they join one after the other, and a small storm loses nobody.

use crate::figures;

#[test]
fn clients_join_again_and_again() {
    let runs = figures(&["join", "--clients", "4", "--seconds", "1", "--warm-up", "0"]);
    let (peer, figures) = runs.first().expect("a run");
    assert_eq!(peer, "grandstand");
    assert!(figures["joins_per_s"].as_f64() > Some(0.0), "{figures}");
}

#[test]
fn a_storm_loses_nobody_however_it_comes() {
    let runs = figures(&["storm", "--clients", "60", "--desks", "8"]);
    let names: Vec<&str> = runs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["kill", "network"]);
    for (name, figures) in &runs {
        assert_eq!((&figures["back"], &figures["lost"]), (&60.0.into(), &0.0.into()), "{name}: {figures}");
        assert_eq!(figures["unheard"], 0.0, "{name}: {figures}");
    }
}
