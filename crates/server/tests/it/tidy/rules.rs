//! The rules, as data.

/// The modules of the server: each may use those before it, and none after it.
pub(super) const MODULE_ORDER: &[&str] = &[
    "clock",
    "random",
    "uuid",
    "panics",
    "config",
    "inheritance",
    "hand_over",
    "supervisor",
    "slot",
    "health",
    "linger",
    "entrance",
    "http",
    "metrics",
    "audit",
    "outgoing",
    "telemetry",
    "aws",
    "quota",
    "tls",
    "credentials",
    "store",
    "keys",
    "bus",
    "chatlog",
    "review",
    "edge",
    "control",
    "admin",
    "node",
    "cli",
    "main",
];

/// Modules that never use each other, wherever they stand: only the bus reaches into the edge.
pub(super) const STRANGERS: &[(&str, &str)] = &[("edge", "control")];

/// Which of our crates each crate may depend on.
pub(super) const CRATE_DEPENDENCIES: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("hub", &["protocol"]),
    ("server", &["protocol", "hub"]),
    ("sim", &["protocol", "hub"]),
    ("bench", &["protocol", "hub", "server"]),
];

/// Words that say nothing in the name of a type or module, and what to do instead.
pub(super) const BANNED_WORDS: &[(&str, &str)] = &[
    ("manager", "name what it holds or does: `Hub`, `Store`"),
    ("helper", "name what it does, or move it to what it helps"),
    ("helpers", "name what they do, or move them to what they help"),
    ("util", "name what it does"),
    ("utils", "name what they do"),
    ("common", "name what is shared"),
    ("base", "use a field or a function instead"),
    ("impl", "name what is special about this one"),
    ("misc", "give each thing a home"),
];

/// Code that must not stay, and what to do instead.
pub(super) const BANNED_CODE: &[(&str, &str)] = &[
    ("todo!", "write it, or leave it out"),
    ("unimplemented!", "write it, or make it impossible to call"),
    ("#[ignore", "fix the test or delete it"),
    ("dbg!", "use tracing"),
];

/// Lines of a Rust file.
pub(super) const FILE_LINES_MAX: usize = 600;

/// Where the module trees begin.
pub(super) fn is_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        ["crates", _, "src", "lib.rs" | "main.rs" | "build.rs"] => true,
        // Files of these folders are programs of their own; so are folders with a `main.rs`.
        ["crates", _, "tests" | "benches" | "examples", file] => file.ends_with(".rs"),
        ["crates", _, "src", "bin", file] => file.ends_with(".rs"),
        ["crates", _, "tests", _, "main.rs"] => true,
        _ => false,
    }
}

/// Folders of other people's things.
pub(super) fn is_foreign_folder(name: &str) -> bool {
    let is_hidden = name.starts_with('.') && name != ".ci";
    is_hidden || ["target", "node_modules", "__pycache__", "grandstand-data"].contains(&name)
}

/// Files that people write. Lock files are made by tools.
pub(super) fn is_text(name: &str) -> bool {
    let endings =
        [".rs", ".toml", ".md", ".py", ".js", ".mjs", ".ts", ".html", ".sh", ".yml", ".yaml", ".sql"];
    endings.iter().any(|ending| name.ends_with(ending)) || ["test", "run"].contains(&name)
}

/// How paths of somebody's own machine begin; put together here, so as not to be found here.
pub(super) fn machine_paths() -> [String; 4] {
    ["root", "home", "work", "Users"].map(|folder| format!("/{folder}/"))
}
