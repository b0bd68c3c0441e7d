//! The house rules that a machine can check: who may use whom, words, the length of files, dead files, paths of
//! somebody's machine. The rules are data in `rules`; each check is shown to catch a planted violation in `planted`.

mod checks;
mod code;
mod planted;
mod rules;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Files by their path from the root of the repository, with `/` between its parts.
#[derive(Default)]
struct Tree(BTreeMap<String, String>);

impl Tree {
    /// All text files of this repository but what is built or installed into it.
    fn of_repository() -> Self {
        let mut tree = Self::default();
        tree.add_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."), "");
        tree
    }

    fn add_folder(&mut self, folder: &Path, prefix: &str) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = format!("{prefix}{name}");
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && !rules::is_foreign_folder(&name) {
                self.add_folder(&entry.path(), &format!("{path}/"));
            } else if kind.is_file() && rules::is_text(&name) {
                self.0.insert(path, fs::read_to_string(entry.path()).unwrap());
            }
        }
    }

    /// The Rust files, each with its code: comments and the insides of literals blanked out.
    fn rust_code(&self) -> impl Iterator<Item = (&str, String)> {
        let is_rust = |(path, _): &(&String, &String)| path.ends_with(".rs");
        self.0.iter().filter(is_rust).map(|(path, text)| (path.as_str(), code::code_of(text)))
    }
}

#[test]
fn the_repository_is_tidy() {
    let tree = Tree::of_repository();
    assert!(tree.0.contains_key("crates/server/src/lib.rs") && tree.0.contains_key("crates/hub/Cargo.toml"));
    let problems: Vec<String> = checks::ALL.iter().flat_map(|check| check(&tree)).collect();
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}
