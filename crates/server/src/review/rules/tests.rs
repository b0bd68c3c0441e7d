#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::Arc;

use hub::message::RoomKey;
use proptest::prelude::{any, proptest};
use proptest::{prop_assert, prop_assert_eq};
use protocol::arn::Scope;
use protocol::id::Id;
use protocol::messaging::{Attributes, encode_sender};
use serde::Deserialize;

use super::normal::Normal;
use super::{Message, RuleText, Rules, Ruling};

const SECOND: u64 = 1_000_000_000;

#[derive(Deserialize)]
struct Written {
    rules: Vec<RuleText>,
}

fn rules(toml: &str) -> Rules {
    let written: Written = toml::from_str(toml).unwrap();
    Rules::new(&written.rules, Path::new(".")).unwrap()
}

/// What the rules say when a user says something at a time.
fn ruling<'a>(rules: &'a Rules, content: &str, user_id: &str, seconds: u64) -> Ruling<'a> {
    let scope = Scope { account_id: "123456789012".into(), region: "us-west-2".into() };
    let room = RoomKey { scope: Arc::new(scope), id: Id::from_random(1) };
    let sender = encode_sender(user_id, &Attributes::new());
    rules.rule(&Message { content, room: &room, sender: &sender }, seconds * SECOND)
}

/// What the rules make of a message; `-` when they deny it.
fn outcome(rules: &Rules, content: &str) -> String {
    match ruling(rules, content, "ann", 0) {
        Ruling::Allow => content.to_owned(),
        Ruling::Mask(masked) => masked,
        Ruling::Deny { .. } => "-".to_owned(),
    }
}

fn check(toml: &str, cases: &[(&str, &str)]) {
    let rules = rules(toml);
    for (content, expected) in cases {
        assert_eq!(outcome(&rules, content), *expected, "{content}");
    }
}

#[test]
fn words_are_found_however_they_are_written() {
    let cases = [
        ("what a shit day", "what a **** day"),
        ("SHIT", "****"),
        ("Shit!", "****!"),
        ("\u{fe0f}ｓｈｉｔ", "\u{fe0f}****"),
        ("𝓼𝓱𝓲𝓽 happens", "**** happens"),
        ("ѕһіт", "****"),
        ("sh1t 5hit sh!t $h1t", "**** **** **** ****"),
        ("s\u{200b}h\u{301}i\u{ad}t", "*******"),
        ("shítty", "shítty"),
        ("Matsushita", "Matsushita"),
        ("no  way", "**  ***"),
        ("NO WAYS", "NO WAYS"),
        ("Straße strasse STRASSE", "****** ******* *******"),
        ("455 hi!", "455 hi!"),
    ];
    check(
        "rules = [{match = \"words\", terms = [\"shit\", \"no way\", \"straße\"], action = \"mask\"}]",
        &cases,
    );
    let within = "rules = [{match = \"words\", terms = [\"shit\"], whole_words = false, action = \"mask\"}]";
    check(within, &[("Matsushita", "Matsu****a")]);
}

#[test]
fn words_come_from_a_file_too() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("words.txt"), "# rude\nfoo\n\nBÄR\n").unwrap();
    let written: Written = toml::from_str(
        "rules = [{match = \"words\", file = \"words.txt\", action = \"deny\", reason = \"no\"}]",
    )
    .unwrap();
    let rules = Rules::new(&written.rules, folder.path()).unwrap();
    assert_eq!(ruling(&rules, "a bar", "ann", 0), Ruling::Deny { reason: Some("no") });
    assert_eq!(ruling(&rules, "# rude", "ann", 0), Ruling::Allow);
}

#[test]
fn expressions_links_capitals_and_repetitions() {
    let masked =
        "rules = [{match = \"patterns\", patterns = ['\\d{4,}', 'secret\\w*', 'x*'], action = \"mask\"}]";
    check(masked, &[("call 12345 SECRETLY", "call ***** ********"), ("call 123", "call 123")]);
    check(
        "rules = [{match = \"links\", except = [\"example.com\"], action = \"deny\"}]",
        &[
            ("see https://evil.test/x", "-"),
            ("evil.com", "-"),
            ("see www.evil", "-"),
            (
                "see https://example.com/x and www.example.com",
                "see https://example.com/x and www.example.com",
            ),
            ("https://example.com@evil.com", "-"),
            ("https://notexample.com", "-"),
            ("e.g. this... v1.2", "e.g. this... v1.2"),
        ],
    );
    check(
        "rules = [{match = \"links\", action = \"mask\"}]",
        &[("go to evil.com/a now", "go to ********** now")],
    );
    check(
        "rules = [{match = \"caps\", action = \"deny\"}]",
        &[("THIS IS LOUD", "-"), ("OK", "OK"), ("This Is Not Loud AT ALL", "This Is Not Loud AT ALL")],
    );
    check(
        "rules = [{match = \"repeats\", times = 4, action = \"mask\"}]",
        &[
            ("soooo", "s****"),
            ("sooo", "sooo"),
            ("go go GO go now", "** ** ** ** now"),
            ("go go go", "go go go"),
        ],
    );
}

#[test]
fn a_flood_is_the_same_message_of_one_user_or_of_all_within_the_time() {
    let rule = |rules: &Rules, content: &str, user: &str, seconds: u64| {
        ruling(rules, content, user, seconds) != Ruling::Allow
    };
    let own = rules("rules = [{match = \"flood\", times = 3, within_s = 10, action = \"deny\"}]");
    assert!(!rule(&own, "hi", "ann", 1) && !rule(&own, "HI ", "ann", 2) && !rule(&own, "hi", "bob", 2));
    assert!(rule(&own, "hi", "ann", 10) && !rule(&own, "ho", "ann", 10));
    assert!(!rule(&own, "hi", "ann", 11), "its time is over");
    let all = rules("rules = [{match = \"flood\", times = 3, of_everybody = true, action = \"deny\"}]");
    assert!(!rule(&all, "hi", "ann", 1) && !rule(&all, "hi", "bob", 1) && rule(&all, "hi", "cid", 1));
}

#[test]
fn the_first_rule_that_decides_does() {
    let toml = "rules = [
        {match = \"words\", terms = [\"damn\"], action = \"mask\"},
        {match = \"patterns\", patterns = [\"^!staff\"], action = \"allow\"},
        {match = \"words\", terms = [\"never\"], action = \"deny\"},
    ]";
    check(
        toml,
        &[
            ("damn it", "**** it"),
            ("never", "-"),
            ("damn never", "-"),
            ("!staff damn never", "!staff **** never"),
        ],
    );
}

#[test]
fn what_is_wrong_with_a_rule_is_told_with_its_number() {
    for (toml, expected) in [
        ("{match = \"words\", action = \"deny\"}", "rule 2: it has no `terms`"),
        ("{match = \"words\", file = \"missing.txt\", action = \"deny\"}", "rule 2: cannot read"),
        ("{match = \"patterns\", patterns = [\"(\"], action = \"deny\"}", "rule 2: regex parse error"),
        ("{match = \"caps\", percent = 0, action = \"deny\"}", "rule 2: `percent`"),
        ("{match = \"repeats\", times = 1, action = \"deny\"}", "rule 2: `times`"),
        ("{match = \"flood\", within_s = 0, action = \"deny\"}", "rule 2: `times`"),
    ] {
        let toml = format!("rules = [{{match = \"links\", action = \"deny\"}}, {toml}]");
        let written: Written = toml::from_str(&toml).unwrap();
        let told = Rules::new(&written.rules, Path::new(".")).err().unwrap().to_string();
        assert!(told.starts_with(expected), "{told}");
    }
}

/// All rules there are, masking.
fn everything() -> Rules {
    rules(
        "rules = [
            {match = \"words\", terms = [\"foo\", \"ba\", \"a\"], whole_words = false, action = \"mask\"},
            {match = \"patterns\", patterns = [\"[b-d]+\", \"x*\"], action = \"mask\"},
            {match = \"links\", action = \"mask\"},
            {match = \"caps\", letters_min = 3, action = \"mask\"},
            {match = \"repeats\", times = 2, action = \"mask\"},
            {match = \"flood\", times = 2, action = \"mask\"},
        ]",
    )
}

proptest! {
    #[test]
    fn masks_keep_the_length_and_all_that_is_not_masked(content in any::<String>()) {
        let rules = everything();
        for _ in 0..2 {
            if let Ruling::Mask(masked) = ruling(&rules, &content, "ann", 0) {
                prop_assert_eq!(masked.chars().count(), content.chars().count());
                let kept = masked.chars().zip(content.chars()).all(|(new, old)| new == old || new == '*');
                prop_assert!(kept);
            }
        }
    }

    #[test]
    fn each_part_of_the_normal_form_comes_from_whole_characters_in_order(content in any::<String>()) {
        let normal = Normal::of(&content);
        let mut last = 0;
        for (at, character) in normal.text().char_indices() {
            let origin = normal.origin(at, at + character.len_utf8());
            prop_assert!(content.get(origin.clone()).is_some_and(|text| text.chars().count() == 1));
            prop_assert!(origin.start >= last);
            last = origin.start;
        }
    }

    #[test]
    fn a_word_is_found_in_any_text_that_has_it(before in "[ .,!?]{0,9}", after in "[ .,]{0,9}", upper in any::<u8>()) {
        let mut word = "banana".to_owned();
        let at = usize::from(upper) % word.len();
        let letter = word[at..=at].to_uppercase();
        word.replace_range(at..=at, &letter);
        let rules = rules("rules = [{match = \"words\", terms = [\"banana\"], action = \"deny\"}]");
        // A sign right before a letter may stand for one.
        let content = format!("{before} {word}{after}");
        prop_assert_eq!(ruling(&rules, &content, "ann", 0), Ruling::Deny { reason: None });
    }
}
