//! Rooms under load of the server itself: saturated, beside a large one, and with viewers that do not read. A run in which
//! a message is lost has no figures.

use crate::figures;

#[test]
fn a_saturated_room_loses_nothing_in_any_server_here() {
    let peers = "grandstand,bare-send,tungstenite";
    let runs = figures(&[
        "fanout",
        "--saturate",
        "8",
        "--viewers",
        "10",
        "--seconds",
        "1",
        "--warm-up",
        "1",
        "--window-ms",
        "0",
        "--peers",
        peers,
    ]);
    assert_eq!(runs.len(), 3);
    for (peer, figures) in &runs {
        assert!(figures["deliveries_per_s"].as_f64() > Some(0.0), "{peer}: {figures}");
    }
}

#[test]
fn small_rooms_are_heard_alone_and_beside_a_large_one() {
    let runs = figures(&[
        "beside",
        "--rooms",
        "3",
        "--viewers",
        "2",
        "--large-viewers",
        "100",
        "--seconds",
        "1",
        "--warm-up",
        "1",
    ]);
    let (peer, figures) = runs.first().expect("a run");
    assert_eq!(peer, "grandstand");
    for figure in ["quiet_p99_ms", "beside_p99_ms", "large_p99_ms", "large_deliveries_per_s"] {
        assert!(figures[figure].as_f64() > Some(0.0), "{figure}: {figures}");
    }
}

#[test]
fn viewers_that_do_not_read_are_dropped_without_a_close_frame_and_the_others_lose_nothing() {
    // 530 KB: more than the kernel holds for one connection whose window is closed, so the server is blocked on it; and less
    // than kernel and room hold for a healthy one together, however late it reads on a busy machine.
    let runs = figures(&[
        "stalled",
        "--viewers",
        "20",
        "--percent",
        "25",
        "--rate",
        "375",
        "--content",
        "500",
        "--seconds",
        "2",
        "--warm-up",
        "0",
    ]);
    let names: Vec<&str> = runs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["absent", "reading", "stalled"]);
    for (name, figures) in &runs {
        assert!(figures["latency_p99_ms"].as_f64() > Some(0.0), "{name}: {figures}");
        let dropped = if name == "stalled" { 5.0 } else { 0.0 };
        assert_eq!(figures["dropped_as_slow"], dropped, "{name}: {figures}");
        assert_eq!(
            (&figures["ends_heard"], &figures["close_frames"]),
            (&dropped.into(), &0.0.into()),
            "{name}: {figures}"
        );
    }
}
