//! Proves that no bytes of a stranger break what must hold of them: those that are kept in `fuzz/corpus`, and several
//! thousand changes of them. `cargo fuzz` tries far more, with the same functions (`fuzz/`).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestError, TestRunner};

#[path = "../../../../fuzz/entries/mod.rs"]
mod entries;

use self::entries::{ENTRIES, Entry, frame};

/// Inputs that are made for each of them.
const CASES: u32 = 50_000;
/// Longest input that is made.
const BYTES_MAX: usize = 40_000;

/// What is put in here and there: pieces that mean something to some of them.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b": ",
    b",",
    b"Content-Length: 1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Sec-WebSocket-Protocol: a\r\n",
    b"Host: y\r\n",
    b"Upgrade: websocket\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11",
    b"\"",
    b"\\",
    b"\\ud83d",
    b"\\u0000",
    b"{",
    b"}",
    b"[",
    b"]",
    b"null",
    b"{\"a\":",
    b"\"Action\":",
    b"1e999",
    b"\x81\x80\0\0\0\0",
    b"\x01\x81\0\0\0\0",
    b"\x80\x80\0\0\0\0",
    b"\x89\x80\0\0\0\0",
    b"\x88\x82\0\0\0\0\x03\xe8",
    b"\x81\xfe\xff\xff",
    b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xf0\x9f\x8e",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
];

/// One change of an input; places are counted round its end.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize, usize),
    Cut(Index),
    Append(Vec<u8>),
}

fn change(kept: Vec<Vec<u8>>) -> impl Strategy<Value = Change> {
    let inserted = prop_oneof![
        3 => select(WORDS).prop_map(<[u8]>::to_vec),
        1 => select(kept.clone()),
        1 => proptest::collection::vec(any::<u8>(), 1..8),
    ];
    prop_oneof![
        4 => (any::<Index>(), 1..=u8::MAX).prop_map(|(at, bits)| Change::Flip(at, bits)),
        4 => (any::<Index>(), inserted).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        2 => (any::<Index>(), 1..40_usize).prop_map(|(at, length)| Change::Remove(at, length)),
        1 => (any::<Index>(), 1..60_usize, 1..300_usize)
            .prop_map(|(at, length, times)| Change::Repeat(at, length, times)),
        1 => any::<Index>().prop_map(Change::Cut),
        // The first byte of a kept input may not be meant for the same reader as the others.
        4 => (select(kept), 0..2_usize)
            .prop_map(|(other, from)| Change::Append(other.get(from..).unwrap_or_default().to_vec())),
    ]
}

impl Change {
    fn apply(&self, input: &mut Vec<u8>) {
        match self {
            Self::Flip(_, _) if input.is_empty() => {}
            Self::Flip(at, bits) => {
                let at = at.index(input.len());
                input[at] ^= bits;
            }
            Self::Insert(at, bytes) => {
                let at = at.index(input.len() + 1);
                input.splice(at..at, bytes.iter().copied());
            }
            Self::Remove(at, length) => {
                let at = at.index(input.len() + 1);
                input.drain(at..input.len().min(at + length));
            }
            Self::Repeat(at, length, times) => {
                let at = at.index(input.len() + 1);
                let piece = input[at..input.len().min(at + length)].repeat(*times);
                input.splice(at..at, piece);
            }
            Self::Append(bytes) => input.extend_from_slice(bytes),
            Self::Cut(at) => input.truncate(at.index(input.len() + 1)),
        }
        input.truncate(BYTES_MAX);
    }
}

/// The inputs that are kept, by their names.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let files = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
    let mut kept: Vec<_> = files
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
        .collect();
    kept.sort();
    kept
}

/// Tries changes of what is kept; the smallest input that was found to break something, and what.
fn search(name: &str, run: fn(&[u8]) -> Vec<String>) -> Result<(), String> {
    let kept: Vec<Vec<u8>> = corpus(name).into_iter().map(|(_, input)| input).collect();
    let changes = proptest::collection::vec(change(kept.clone()), 0..5);
    let input =
        (prop_oneof![9 => select(kept), 1 => Just(Vec::new())], changes).prop_map(|(mut input, changes)| {
            changes.iter().for_each(|change| change.apply(&mut input));
            input
        });
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let searched = TestRunner::new(config).run(&input, |input| {
        run(&input);
        Ok(())
    });
    searched.map_err(|error| match error {
        TestError::Fail(reason, input) => {
            format!("{reason}; keep it as a file: b\"{}\"", input.escape_ascii())
        }
        TestError::Abort(reason) => reason.to_string(),
    })
}

fn check(Entry { name, run, outcomes }: &Entry) {
    let mut reached = BTreeSet::new();
    for (file, input) in corpus(name) {
        let found = std::panic::catch_unwind(|| run(&input));
        reached.extend(found.unwrap_or_else(|_| panic!("fuzz/corpus/{name}/{file}")));
    }
    let missing: Vec<_> = outcomes.iter().filter(|outcome| !reached.contains(**outcome)).collect();
    assert!(missing.is_empty(), "nothing that is kept leads to {missing:?}, but to {reached:?}");
    search(name, *run).unwrap_or_else(|found| panic!("{name}: {found}"));
}

#[test]
fn no_bytes_break_a_handshake() {
    check(&ENTRIES[0]);
}

#[test]
fn no_bytes_break_the_reading_of_frames() {
    check(&ENTRIES[1]);
}

#[test]
fn no_bytes_break_the_reading_of_actions() {
    check(&ENTRIES[2]);
}

#[test]
fn no_bytes_break_the_opening_of_tokens() {
    check(&ENTRIES[3]);
}

#[test]
fn no_bytes_break_the_reading_of_spools() {
    check(&ENTRIES[4]);
}

/// Believes that whoever hangs up has said nothing: true of all that is kept, and not of all that is made of it.
fn planted(input: &[u8]) -> Vec<String> {
    let outcomes = frame::run(input);
    let comes = |wanted: &str| outcomes.iter().any(|outcome| outcome == wanted);
    assert!(!(comes("text") && comes("close")), "a planted bug");
    outcomes
}

#[test]
fn a_planted_bug_is_found() {
    assert!(corpus("frame").iter().all(|(_, input)| !planted(input).is_empty()), "not by what is kept");
    let found = search("frame", planted).expect_err("it should have been found");
    assert!(found.contains("a planted bug"), "{found}");
}
