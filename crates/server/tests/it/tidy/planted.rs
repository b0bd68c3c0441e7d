//! Each check finds what was planted for it, and nothing in what is right.

use super::checks::{
    Check, banned_code, banned_words, crate_order, dead_files, file_length, machine_paths, module_order,
};
use super::{Tree, rules};

/// What `check` says about a tree of these files.
fn run(check: Check, files: &[(&str, &str)]) -> Vec<String> {
    check(&Tree(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()))
}

#[test]
fn a_module_that_uses_a_later_one_is_found() {
    let store = "crates/server/src/store/embedded/writer.rs";
    for (path, text, expected) in [
        (store, "use crate::bus::Bus;", "`store` comes before `bus` and may not use it"),
        (store, "fn f(bus: &crate::bus::Bus) {}", "`store` comes before `bus` and may not use it"),
        (store, "use crate::{config::{A, B}, node};", "`store` comes before `node` and may not use it"),
        ("crates/server/src/control/room.rs", "use crate::edge;", "`control` never sees `edge`"),
        ("crates/server/src/edge.rs", "use crate::control::Room;", "`edge` never sees `control`"),
        ("crates/server/src/parlour.rs", "", "`parlour` has no place in MODULE_ORDER"),
    ] {
        assert_eq!(run(module_order, &[(path, text)]), [format!("{path}: {expected}")], "{text}");
    }
    let right = "use crate::{config::Config, store::embedded};\n// crate::bus is not for us\nconst A: &str = \"crate::bus\";";
    assert!(
        run(module_order, &[(store, right), ("crates/server/src/lib.rs", "pub use crate::node::Node;")])
            .is_empty()
    );
}

#[test]
fn a_crate_that_depends_on_a_higher_one_is_found() {
    let path = "crates/protocol/Cargo.toml";
    for line in ["hub.workspace = true", "hub = { path = \"../hub\" }", "server = \"1\""] {
        assert_eq!(run(crate_order, &[(path, line)]).len(), 1, "{line}");
    }
    assert_eq!(run(crate_order, &[("crates/gossip/Cargo.toml", "")]).len(), 1);
    let server =
        "[package]\nname = \"server\"\n[dependencies]\nhub.workspace = true\nprotocol.workspace = true";
    assert!(run(crate_order, &[("crates/server/Cargo.toml", server)]).is_empty());
}

#[test]
fn a_name_that_says_nothing_is_found() {
    let planted = "struct RoomManager; mod utils {} trait Base {} enum StoreImpl {} type HelperOf = u8; struct Service;";
    let problems = run(banned_words, &[("crates/hub/src/a.rs", planted)]);
    assert_eq!(problems.len(), 6, "{problems:?}");
    assert!(problems[0].contains("`RoomManager` says `manager`: name what it holds"), "{problems:?}");
    let right = "struct Database; impl Room {} // struct Helper\nfn f() { let text = \"mod utils\"; }";
    assert!(run(banned_words, &[("crates/hub/src/a.rs", right)]).is_empty());
}

#[test]
fn code_that_was_put_off_is_found() {
    let planted =
        "fn f() {\n todo!() }\nfn g() { unimplemented!(\"x\") }\n#[ignore = \"slow\"]\nfn h() { dbg!(1); }";
    let problems = run(banned_code, &[("crates/hub/src/a.rs", planted)]);
    assert_eq!(problems.len(), 4, "{problems:?}");
    assert!(problems.contains(&"crates/hub/src/a.rs:2: `todo!`: write it, or leave it out".to_owned()));
    assert!(
        run(banned_code, &[("crates/hub/src/a.rs", "// todo!\nlet a = \"todo!()\"; let c = '\"'; b()")])
            .is_empty()
    );
}

#[test]
fn a_long_file_is_found() {
    let lines = |count: usize| "a\n".repeat(count);
    let (right, long) = (lines(rules::FILE_LINES_MAX), lines(rules::FILE_LINES_MAX + 1));
    assert_eq!(
        run(file_length, &[("a.rs", &long), ("b.rs", &right), ("c.md", &long)]),
        ["a.rs: 601 lines, more than 600"]
    );
}

#[test]
fn a_file_that_is_not_compiled_is_found() {
    let files = [
        (
            "crates/hub/src/lib.rs",
            "mod room;\n/* mod log; */\n#[cfg(test)]\n#[path = \"lib_tests.rs\"]\nmod tests;",
        ),
        ("crates/hub/src/lib_tests.rs", ""),
        ("crates/hub/src/room.rs", "mod rate ;\nmod inline { }"),
        ("crates/hub/src/room/rate.rs", ""),
        ("crates/hub/src/log.rs", ""),
        ("crates/hub/src/rate.rs", ""),
        ("crates/hub/tests/it/main.rs", "mod slow_reader;"),
        ("crates/hub/tests/it/slow_reader/mod.rs", ""),
        ("crates/hub/tests/it/kick.rs", ""),
    ];
    let dead = ["crates/hub/src/log.rs", "crates/hub/src/rate.rs", "crates/hub/tests/it/kick.rs"];
    assert_eq!(run(dead_files, &files), dead.map(|path| format!("{path}: no module tells of it")));
}

#[test]
fn a_path_of_one_machine_is_found() {
    for folder in rules::machine_paths() {
        let text = format!("first\nlet path = \"{folder}me/grandstand\";");
        assert_eq!(run(machine_paths, &[("a.py", &text)]).len(), 1, "{folder}");
    }
    assert!(run(machine_paths, &[("a.py", "open('network/workload/roots')")]).is_empty());
}
