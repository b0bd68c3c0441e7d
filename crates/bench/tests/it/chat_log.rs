//! Chat logs, small: every record that was published is in the spool, every record of a spool reaches each destination, and
//! none is lost while its destination is away. A benchmark that finds anything else fails.

use crate::figures;

#[test]
fn what_rooms_publish_is_in_the_spool_of_each_configuration() {
    let load = ["--rooms", "3", "--rate", "60", "--synced-rate", "6", "--seconds", "1", "--warm-up", "0"];
    let runs = figures(&[["chatlog", "--parts", "publish"].as_slice(), &load].concat());
    assert_eq!(runs.len(), 6);
    for (name, figures) in &runs {
        let (spool, frame) = (figures["spool_bytes_per_record"].as_f64(), figures["frame_bytes"].as_f64());
        assert!(frame > Some(200.0), "{name}: {figures}");
        let is_logged = !name.starts_with("unlogged");
        assert!(if is_logged { spool > frame } else { spool == Some(0.0) }, "{name}: {figures}");
    }
}

#[test]
fn every_record_of_a_spool_reaches_each_destination() {
    let runs = figures(&["chatlog", "--parts", "ship", "--rooms", "3", "--shipped", "2000"]);
    assert_eq!(runs.len(), 6);
    for (name, figures) in &runs {
        assert!(figures["records_per_s"].as_f64() > Some(0.0), "{name}: {figures}");
        let is_folder = name.ends_with("folder");
        assert_eq!(figures["calls"] == 0.0, is_folder, "{name}: {figures}");
    }
}

#[test]
fn a_spool_waits_for_a_destination_that_is_away() {
    let runs = figures(&["chatlog", "--parts", "wait", "--waiting", "2000", "--wait-seconds", "1"]);
    let names: Vec<&str> = runs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["empty", "full"]);
    for (name, figures) in &runs {
        assert!(figures["anonymous_mib"].as_f64() > Some(0.0), "{name}: {figures}");
    }
}
