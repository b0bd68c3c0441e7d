//! Rust code without what is only text: just enough of a lexer to look at code and not at words about it.

/// The code of a file: comments and the insides of string and character literals become spaces, lines stay.
pub(super) fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let length = literal_length(rest, &code).unwrap_or(0);
        if length == 0 {
            code.push(next);
            rest = &rest[next.len_utf8()..];
        } else {
            let (literal, after) = rest.split_at(length);
            code.extend(literal.chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }));
            rest = after;
        }
    }
    code
}

/// The length of the comment or literal that `rest` begins with, if it does.
fn literal_length(rest: &str, before: &str) -> Option<usize> {
    let follows_word = before.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment_length(rest));
    }
    if !follows_word && (rest.starts_with("r\"") || rest.starts_with("r#") || rest.starts_with("br")) {
        return raw_string_length(rest);
    }
    if rest.starts_with('"') {
        return Some(quoted_length(rest, '"'));
    }
    // A quote that begins a lifetime has no other quote right behind its first letter.
    let mut letters = rest.strip_prefix('\'')?.chars();
    let is_character = match letters.next()? {
        '\\' => true,
        _ => letters.next() == Some('\''),
    };
    is_character.then(|| quoted_length(rest, '\''))
}

fn block_comment_length(rest: &str) -> usize {
    let (mut depth, mut position) = (0_usize, 0);
    while position < rest.len() {
        let here = &rest.as_bytes()[position..];
        if here.starts_with(b"/*") {
            (depth, position) = (depth + 1, position + 2);
        } else if here.starts_with(b"*/") {
            (depth, position) = (depth - 1, position + 2);
            if depth == 0 {
                return position;
            }
        } else {
            position += 1;
        }
    }
    rest.len()
}

fn raw_string_length(rest: &str) -> Option<usize> {
    let after_prefix = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes: String = after_prefix.chars().take_while(|letter| *letter == '#').collect();
    let body = after_prefix[hashes.len()..].strip_prefix('"')?;
    let end = format!("\"{hashes}");
    let head = rest.len() - body.len();
    Some(body.find(&end).map_or(rest.len(), |position| head + position + end.len()))
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (position, letter) in rest.char_indices().skip(1) {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if letter == quote => return position + letter.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// The words of some code with where each begins.
pub(super) fn words(code: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let is_letter = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut start = None;
    for (position, letter) in code.char_indices().chain([(code.len(), ' ')]) {
        match (start, is_letter(letter)) {
            (None, true) => start = Some(position),
            (Some(begin), false) => {
                words.push((begin, &code[begin..position]));
                start = None;
            }
            _ => {}
        }
    }
    words
}

/// The parts of a name, in lower case: `RoomLog` and `room_log` are `room` and `log`.
pub(super) fn parts_of_name(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for letter in name.chars() {
        if letter == '_' || letter.is_uppercase() {
            parts.push(String::new());
        }
        if let Some(last) = parts.last_mut().filter(|_| letter != '_') {
            last.extend(letter.to_lowercase());
        }
    }
    parts
}

#[test]
fn only_code_is_left() {
    for (text, expected) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                     e"),
        ("f(\"a\\\"b\", 'c', '\\'', b\"d\")", "f(      ,    ,     , b   )"),
        ("let x: &'a str = r#\"todo!\"#;", "let x: &'a str =           ;"),
        ("for 'a: loop {}", "for 'a: loop {}"),
        ("bracket", "bracket"),
    ] {
        assert_eq!(code_of(text).split_whitespace().collect::<String>(), {
            expected.split_whitespace().collect::<String>()
        });
        assert_eq!(code_of(text).chars().count(), text.chars().count(), "{text}");
    }
    assert_eq!(parts_of_name("RoomManager"), ["", "room", "manager"]);
    assert_eq!(parts_of_name("http_utils"), ["http", "utils"]);
}
