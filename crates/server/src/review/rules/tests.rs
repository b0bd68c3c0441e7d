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
    rules.rule(&Message { content, attributes: None, room: &room, sender: &sender }, seconds * SECOND)
}

/// What the rules make of a message; `-` when they deny it.
fn outcome(rules: &Rules, content: &str) -> String {
    match ruling(rules, content, "ann", 0) {
        Ruling::Allow => content.to_owned(),
        Ruling::Mask { content, .. } => content,
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

/// What the rules make of messages when these words are masked.
fn check_words(terms: &[&str], cases: &[(&str, &str)]) {
    let terms = terms.join("\", \"");
    check(&format!("rules = [{{match = \"words\", terms = [\"{terms}\"], action = \"mask\"}}]"), cases);
}

#[test]
fn a_sign_next_to_a_word_is_none_of_its_letters() {
    let cases = [
        ("!shit", "!****"),
        ("@shit $shit |shit", "@**** $**** |****"),
        ("||shit|| !!!shit!!!", "||****|| !!!****!!!"),
        ("shit$ shit@home", "****$ ****@home"),
        ("hey!shit", "hey!****"),
        ("!sh!t", "!****"),
        ("5shit shit5", "5shit shit5"),
        ("ashit !ashit", "ashit !ashit"),
    ];
    check_words(&["shit"], &cases);
}

#[test]
fn digits_and_signs_are_letters_where_they_are_meant_to_be() {
    let cases = [
        ("@$$ !@$$! a@$$", "*** !***! a@$$"),
        ("455 4$$ 1984", "455 4$$ 1984"),
        ("455hole 8008s a55", "******* ***** ***"),
        ("５hit 5\u{200b}hit ＠＄＄ ＄h！t", "**** ***** *** ****"),
        ("ϲunt Ϲunt ᴄᴜɴᴛ", "**** **** ****"),
    ];
    check_words(&["ass", "asshole", "boobs", "shit", "cunt"], &cases);
    check_words(&["ss"], &[("$5 5$ $$ 55 $$!! 5s", "$5 5$ $$ 55 $$!! **")]);
    let greek = [("λόγος ΛΌΓΟΣ λογοσ λόγοϲ", "***** ***** ***** λόγοϲ")];
    check_words(&["λόγος"], &greek);
}

#[test]
fn what_does_not_show_is_not_in_the_way() {
    for hidden in [
        '\0',
        '\u{1b}',
        '\u{7f}',
        '\u{9f}',
        '\u{115f}',
        '\u{1160}',
        '\u{2064}',
        '\u{2800}',
        '\u{3164}',
        '\u{ffa0}',
        '\u{fff9}',
        '\u{e0001}',
        '\u{e0061}',
        '\u{e0100}',
        '\u{1d173}',
        '\u{34f}',
        '\u{180e}',
    ] {
        check_words(
            &["shit"],
            &[(&format!("sh{hidden}it {hidden}shit{hidden}"), &format!("***** {hidden}****{hidden}"))],
        );
    }
    let apart = [
        ("shit\u{3164}you shit\u{2800}you", "****\u{3164}you ****\u{2800}you"),
        ("shit\u{200b}ty", "shit\u{200b}ty"),
    ];
    check_words(&["shit"], &apart);
}

#[test]
fn a_mark_that_makes_another_letter_makes_another_word() {
    // Without their marks these would be the same: "of" and "a", "key" and "moth", "is" and "write".
    for (term, other) in [("का", "की"), ("かき", "がき"), ("ที", "ที่"), ("ক", "কি"), ("शब", "शब्द")]
    {
        check_words(&[term], &[(other, other), (term, &"*".repeat(term.chars().count()))]);
    }
    let within = "rules = [{match = \"words\", terms = [\"가\"], whole_words = false, action = \"mask\"}]";
    check(within, &[("각", "각"), ("가나", "*나")]);
    check_words(&["が"], &[("か\u{3099}", "**"), ("ガ", "ガ")]);
    check_words(&["شتم", "אבג"], &[("شَتَم", "*****"), ("אָבג", "****")]);
    check_words(&["shit"], &[("s\u{93e}hi\u{3099}t", "******"), ("ш\u{301}hit", "ш\u{301}hit")]);
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
    let masked = "rules = [{match = \"patterns\", patterns = ['\\d{4,}', 'secret\\w*'], action = \"mask\"}]";
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
            ("하하하하 하하하", "**** 하하하"),
            ("あがががが", "あ****"),
            ("ㅋㅋㅋㅋ😂😂😂😂", "********"),
        ],
    );
}

#[test]
fn an_expression_that_matches_often_masks_the_rest() {
    let content = "x-".repeat(40);
    let expected = "*-".repeat(31) + &"*".repeat(18);
    check(
        "rules = [{match = \"patterns\", patterns = [\"x\"], action = \"mask\"}]",
        &[(&content, &expected)],
    );
    // Only what would need more memory than there is for all of them is refused.
    let written: Written = toml::from_str(
        "rules = [{match = \"patterns\", patterns = [\"\\\\w{200}\", \"\\\\w{201}\"], action = \"mask\"}]",
    )
    .unwrap();
    assert!(Rules::new(&written.rules, Path::new(".")).is_ok());
}

#[test]
fn an_expression_means_the_same_whether_or_not_it_is_a_candidate() {
    let patterns = r"['\bass\b', '^Ärger$', '(?i-u:\b)x\By', '(a|\bé)+z', '(?m)^last', '\Bend']";
    let cases = [
        ("ass", "***"),
        ("class", "class"),
        ("éass", "éass"),
        ("ß ass ß", "ß *** ß"),
        ("ärger", "*****"),
        ("ärger!", "ärger!"),
        ("xy éxy", "** é**"),
        ("éz xéz", "** xéz"),
        ("at\nlast", "at\n****"),
        ("at last", "at last"),
        ("end bend", "end b***"),
    ];
    check(&format!("rules = [{{match = \"patterns\", patterns = {patterns}, action = \"mask\"}}]"), &cases);
    let denied = cases.map(|(text, masked)| (text, if text == masked { text } else { "-" }));
    check(&format!("rules = [{{match = \"patterns\", patterns = {patterns}, action = \"deny\"}}]"), &denied);
}

#[test]
fn an_excepted_host_lets_nothing_else_through() {
    let through = [
        "https://example.com. https://example.com, (https://example.com) \"https://example.com\" www.example.com!",
        "https://sub.example.com:8080/readme.it?a=b.com#c www.example.com/a.b.com",
        "HTTPS://EXAMPLE.COM/ example.com... Example.com: example.com,",
        "https://user@example.com/x",
    ];
    let stopped = [
        "https://example.com/https://evil.test",
        "https://example.com,https://evil.test",
        "https://example.com/?to=www.evil.test",
        "https://example.com/a,evil.com",
        "https://example.com/(evil.com)",
        "https://example.com!.evil.com",
        "https://example.com%2eevil.com",
        "https://example.com\u{ff0f}.evil.com/",
        "https://example.com\\@evil.com evil.com",
        "https://evil.com\\@example.com",
        "https://example.com:x@evil.com",
        "https://example.com.evil.com",
        "https://[::1]/example.com",
    ];
    let cases: Vec<(&str, &str)> =
        through.into_iter().map(|text| (text, text)).chain(stopped.map(|text| (text, "-"))).collect();
    check("rules = [{match = \"links\", except = [\"example.com\"], action = \"deny\"}]", &cases);
}

#[test]
fn links_are_found_in_all_languages() {
    check(
        "rules = [{match = \"links\", action = \"mask\"}]",
        &[
            ("смотри пример.рф тут", "смотри ********* тут"),
            ("bücher.de/a münchen.com", "*********** ***********"),
            ("xn--80ak6aa92e.com a.xn--p1ai", "****************** **********"),
            ("看 evil.com吧", "看 ********吧"),
            ("看https://evil.test 吧", "看***************** 吧"),
            ("看www.evil.test", "看*************"),
            ("例え。jp", "*****"),
            ("C'est fini.comédie, ok.Coûte que coûte", "C'est fini.comédie, ok.Coûte que coûte"),
            ("evil.com.", "********."),
            ("evil.com, evil.net!", "********, ********!"),
        ],
    );
}

#[test]
fn links_and_expressions_are_found_in_what_a_text_looks_like() {
    let links =
        "rules = [{match = \"links\", except = [\"example.com\"], endings = [\"to\"], action = \"mask\"}]";
    let cases = [
        ("go evil.c\u{ad}om/x now", "go *********** now"),
        ("evil\u{200b}.com", "*********"),
        ("evil.\u{2060}com ok", "********* ok"),
        ("evil.ｃｏｍ ⓔⓥⓘⓛ.ⓒⓞⓜ", "******** ********"),
        ("https:\\\\evil.test/x", "*******************"),
        ("is.gd/abc evil.vip evil.to", "********* ******** *******"),
        ("ok.so what", "ok.so what"),
        ("example.com", "example.com"),
        ("example.\u{200b}com", "************"),
        ("example.com／.evil.com", "*********************"),
    ];
    check(links, &cases);
    // What is found behind the end is nothing.
    check(
        "rules = [{match = \"patterns\", patterns = ['(?:foo)?\\b'], action = \"mask\"}]",
        &[("ａbc foo", "ａbc ***"), ("abc", "abc")],
    );
    let patterns =
        "rules = [{match = \"patterns\", patterns = ['free v-?bucks', '❤\\x{fe0f}'], action = \"mask\"}]";
    check(
        patterns,
        &[
            ("free v\u{200b}bucks!", "**** *******!"),
            ("ｆｒｅｅ vbucks", "**** ******"),
            ("a ❤\u{fe0f}", "a **"),
        ],
    );
}

#[test]
fn where_words_have_no_spaces_between_them_they_are_found_all_the_same() {
    check_words(
        &["傻逼", "馬鹿", "バカ", "เหี้ย", "shit"],
        &[
            ("你傻逼啊", "你**啊"),
            ("お前は馬鹿だ", "お前は**だ"),
            ("このバカー！", "この**ー！"),
            ("ไอ้เหี้ยนี่", "ไอ้*****นี่"),
            ("一shit二 shitty", "一****二 shitty"),
        ],
    );
    // A mark that follows makes another syllable.
    check_words(&["ที"], &[("นาที่", "นาที่"), ("นาทีนี้", "นา**นี้")]);
}

#[test]
fn letters_in_boxes_and_those_that_look_like_an_l_are_read() {
    check_words(
        &["slut", "asshole", "shit", "balls", "fuck"],
        &[
            ("s1ut s|ut sIut SIUT", "**** **** **** SIUT"),
            ("assho1e asshoIe ASSHO1E", "******* ******* *******"),
            ("shlt SHLT bails BAILS ba1ls", "**** SHLT bails BAILS *****"),
            ("🅵🆄🅲🅺 🅕🅤🅒🅚 🇫🇺🇨🇰 🄵🅄🄲🄺 Ⓕⓤⓒⓚ ᶠᵘᶜᵏ", "**** **** **** **** **** ****"),
            ("shitʼ shitˑ shit① shit🅰\u{fe0f} shit²", "****ʼ ****ˑ ****① ****🅰\u{fe0f} ****²"),
            ("ꓢꓧꓲꓔ ᏚᎻᎥᎢ", "**** ****"),
            ("🇸🇭🇮🇹🇾", "🇸🇭🇮🇹🇾"),
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
    assert!(rule(&own, "hi", "ann", 11), "since 2 it has come three times");
    assert!(!rule(&own, "hi", "ann", 25) && !rule(&own, "hi", "ann", 34) && rule(&own, "hi", "ann", 34));
    // One at the beginning of the time, and two behind its end: as often within a second as is a flood.
    let late = rules("rules = [{match = \"flood\", times = 3, within_s = 10, action = \"deny\"}]");
    assert!(!rule(&late, "hi", "ann", 1) && !rule(&late, "hi", "ann", 10));
    assert!(!rule(&late, "hi", "ann", 11) && rule(&late, "hi", "ann", 11));
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
fn what_is_said_in_attributes_is_looked_at_and_how_is_not() {
    let rules = rules(
        "rules = [
            {match = \"words\", terms = [\"damn\"], action = \"mask\"},
            {match = \"patterns\", patterns = [\"^!staff\"], action = \"allow\"},
            {match = \"links\", action = \"deny\"},
            {match = \"caps\", letters_min = 3, action = \"deny\"},
            {match = \"repeats\", times = 3, action = \"deny\"},
        ]",
    );
    let scope = Scope { account_id: "123456789012".into(), region: "us-west-2".into() };
    let room = RoomKey { scope: Arc::new(scope), id: Id::from_random(1) };
    let rule = |content: &str, values: [&str; 2]| {
        let attributes = ["a", "b"].into_iter().zip(values);
        let attributes: Attributes =
            attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let message = Message { content, attributes: Some(&attributes), room: &room, sender: "{}" };
        match rules.rule(&message, 0) {
            Ruling::Allow => "as it is".to_owned(),
            Ruling::Deny { .. } => "no".to_owned(),
            Ruling::Mask { content, attributes } => {
                let values: Vec<String> = attributes.into_iter().flatten().map(|(_, value)| value).collect();
                format!("{content}: {}", values.join(", "))
            }
        }
    };
    assert_eq!(rule("hi", ["LOUD xxx", "1"]), "as it is");
    assert_eq!(rule("damn", ["1", "2"]), "****: ");
    assert_eq!(rule("hi", ["1", "a damn b"]), "hi: 1, a **** b");
    assert_eq!(rule("damn hi", ["damn", ""]), "**** hi: ****, ");
    assert_eq!(rule("hi", ["https://evil.test", ""]), "no");
    assert_eq!(rule("hi", ["!staff damn", "https://evil.test"]), "hi: !staff ****, https://evil.test");
}

#[test]
fn what_is_wrong_with_a_rule_is_told_with_its_number() {
    for (toml, expected) in [
        ("{match = \"words\", action = \"deny\"}", "rule 2: it has no `terms`"),
        ("{match = \"words\", file = \"missing.txt\", action = \"deny\"}", "rule 2: cannot read"),
        (
            "{match = \"patterns\", patterns = [\"y\", \"x*\"], action = \"deny\"}",
            "rule 2: `x*` matches where",
        ),
        ("{match = \"patterns\", patterns = [\"(\"], action = \"deny\"}", "rule 2: regex parse error"),
        ("{match = \"links\", endings = [\"co.uk\"], action = \"deny\"}", "rule 2: `endings`"),
        ("{match = \"caps\", percent = 0, action = \"deny\"}", "rule 2: `percent`"),
        ("{match = \"repeats\", times = 1, action = \"deny\"}", "rule 2: `times`"),
        ("{match = \"flood\", within_s = 0, action = \"deny\"}", "rule 2: `times`"),
        ("{match = \"flood\", times = 101, action = \"deny\"}", "rule 2: `times`"),
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
            {match = \"patterns\", patterns = [\"[b-d]+\", \"z\"], action = \"mask\"},
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
            if let Ruling::Mask { content: masked, .. } = ruling(&rules, &content, "ann", 0) {
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
    fn a_word_is_found_between_any_signs(before in "[ .,!?@$|*]{0,9}", after in "[ .,!?@$|*]{0,9}", upper in any::<u8>()) {
        let mut word = "banana".to_owned();
        let at = usize::from(upper) % word.len();
        let letter = word[at..=at].to_uppercase();
        word.replace_range(at..=at, &letter);
        let rules = rules("rules = [{match = \"words\", terms = [\"banana\"], action = \"deny\"}]");
        let content = format!("{before}{word}{after}");
        prop_assert_eq!(ruling(&rules, &content, "ann", 0), Ruling::Deny { reason: None });
    }
}
