//! One function for each rule; each answers a line for each violation, beginning with the file.

use std::collections::BTreeSet;

use super::code::{parts_of_name, words};
use super::{Tree, rules};

/// A check of a whole tree.
pub(super) type Check = fn(&Tree) -> Vec<String>;

/// All there are.
pub(super) const ALL: &[Check] =
    &[module_order, crate_order, banned_words, banned_code, file_length, dead_files, machine_paths];

const SERVER: &str = "crates/server/src/";

/// Modules of the server use only what comes before them.
pub(super) fn module_order(tree: &Tree) -> Vec<String> {
    let rank = |module: &str| rules::MODULE_ORDER.iter().position(|other| *other == module);
    let mut problems = Vec::new();
    for (path, code) in tree.rust_code() {
        let Some(module) = path.strip_prefix(SERVER).map(module_of).filter(|module| *module != "lib") else {
            continue;
        };
        let Some(own_rank) = rank(module) else {
            problems.push(format!("{path}: `{module}` has no place in MODULE_ORDER"));
            continue;
        };
        for used in modules_used(&code).into_iter().filter(|used| *used != module) {
            let are_strangers =
                rules::STRANGERS.contains(&(module, used)) || rules::STRANGERS.contains(&(used, module));
            match rank(used) {
                // A macro or a type of the crate itself, or a module that its own file tells of.
                None => {}
                Some(_) if are_strangers => problems.push(format!("{path}: `{module}` never sees `{used}`")),
                Some(used_rank) if used_rank > own_rank => {
                    problems.push(format!("{path}: `{module}` comes before `{used}` and may not use it"));
                }
                Some(_) => {}
            }
        }
    }
    problems
}

/// `store/embedded/writer.rs` belongs to `store`.
fn module_of(path: &str) -> &str {
    let first = path.split('/').next().unwrap_or_default();
    first.strip_suffix(".rs").unwrap_or(first)
}

/// The first names of all paths that begin with `crate::`, also in groups.
fn modules_used(code: &str) -> BTreeSet<&str> {
    let mut used = BTreeSet::new();
    for (position, _) in code.match_indices("crate::") {
        let rest = &code[position + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => used.extend(first_names_of_group(group)),
            None => used.extend(words(rest).first().map(|(_, word)| *word)),
        }
    }
    used
}

/// The names right inside a group such as `bus::{Bus, Envelope}, store}`.
fn first_names_of_group(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut names) = (0, 0, Vec::new());
    for (position, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.extend(words(&group[start..position]).first().map(|(_, word)| *word));
                start = position + 1;
                if letter == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

/// Crates depend only on those below them.
pub(super) fn crate_order(tree: &Tree) -> Vec<String> {
    let is_ours = |name: &str| rules::CRATE_DEPENDENCIES.iter().any(|(ours, _)| *ours == name);
    let mut problems = Vec::new();
    for (path, text) in &tree.0 {
        let Some(name) = path.strip_prefix("crates/").and_then(|rest| rest.strip_suffix("/Cargo.toml"))
        else {
            continue;
        };
        let Some((_, allowed)) = rules::CRATE_DEPENDENCIES.iter().find(|(ours, _)| *ours == name) else {
            problems.push(format!("{path}: `{name}` has no place in CRATE_DEPENDENCIES"));
            continue;
        };
        let keys = text.lines().map(|line| line.split(['.', '=', ' ']).next().unwrap_or_default());
        for used in keys.filter(|key| is_ours(key) && !allowed.contains(key)) {
            problems.push(format!("{path}: `{name}` may not depend on `{used}`"));
        }
    }
    problems
}

/// Names of types and modules say something.
pub(super) fn banned_words(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, code) in tree.rust_code() {
        let words: Vec<&str> = words(&code).into_iter().map(|(_, word)| word).collect();
        for pair in words.windows(2) {
            let [keyword, name] = pair else { continue };
            if ["struct", "enum", "trait", "type", "mod", "union"].contains(keyword) {
                let parts = parts_of_name(name);
                let banned =
                    rules::BANNED_WORDS.iter().find(|(word, _)| parts.iter().any(|part| part == word));
                problems.extend(
                    banned.map(|(word, instead)| format!("{path}: `{name}` says `{word}`: {instead}")),
                );
                if *name == "Service" {
                    problems.push(format!("{path}: `Service` of what? Say it in the name"));
                }
            }
        }
    }
    problems
}

/// Code that was to be written later was written.
pub(super) fn banned_code(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, code) in tree.rust_code() {
        for (index, line) in code.lines().enumerate() {
            for (banned, instead) in rules::BANNED_CODE.iter().filter(|(banned, _)| line.contains(banned)) {
                problems.push(format!("{path}:{}: `{banned}`: {instead}", index + 1));
            }
        }
    }
    problems
}

/// A file fits into a head.
pub(super) fn file_length(tree: &Tree) -> Vec<String> {
    let max = rules::FILE_LINES_MAX;
    let lengths = tree
        .0
        .iter()
        .filter(|(path, _)| path.ends_with(".rs"))
        .map(|(path, text)| (path, text.lines().count()));
    lengths
        .filter(|(_, lines)| *lines > max)
        .map(|(path, lines)| format!("{path}: {lines} lines, more than {max}"))
        .collect()
}

/// Each Rust file of a crate is compiled.
pub(super) fn dead_files(tree: &Tree) -> Vec<String> {
    let files: Vec<&str> = tree
        .0
        .keys()
        .map(String::as_str)
        .filter(|path| path.starts_with("crates/") && path.ends_with(".rs"))
        .collect();
    let mut waiting: Vec<&str> = files.iter().copied().filter(|path| rules::is_root(path)).collect();
    let mut alive = BTreeSet::new();
    while let Some(path) = waiting.pop() {
        if alive.insert(path) {
            let told = modules_told(path, &tree.0[path]);
            waiting.extend(files.iter().copied().filter(|file| told.iter().any(|other| other == file)));
        }
    }
    files
        .into_iter()
        .filter(|path| !alive.contains(path))
        .map(|path| format!("{path}: no module tells of it"))
        .collect()
}

/// Where the modules may be that a file declares.
fn modules_told(path: &str, text: &str) -> Vec<String> {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let own_folder = match file {
        "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
        _ if rules::is_root(path) => folder.to_owned(),
        _ => path.trim_end_matches(".rs").to_owned(),
    };
    let code = super::code::code_of(text);
    let words = words(&code);
    let mut told = Vec::new();
    for pair in words.windows(2) {
        let [(_, keyword), (position, name)] = pair else { continue };
        if *keyword == "mod" && code[position + name.len()..].trim_start().starts_with(';') {
            told.push(format!("{own_folder}/{name}.rs"));
            told.push(format!("{own_folder}/{name}/mod.rs"));
        }
    }
    // The path is inside of a literal, so the code does not have it.
    let paths = text.lines().filter_map(|line| line.trim().strip_prefix("#[path = \"")?.strip_suffix("\"]"));
    told.extend(paths.map(|path| format!("{folder}/{path}")));
    told
}

/// Nothing depends on where somebody keeps the repository.
pub(super) fn machine_paths(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, text) in &tree.0 {
        for (index, line) in text.lines().enumerate() {
            let found = rules::machine_paths().into_iter().find(|folder| line.contains(folder.as_str()));
            problems.extend(
                found.map(|folder| format!("{path}:{}: a path of one machine, `{folder}`", index + 1)),
            );
        }
    }
    problems
}
