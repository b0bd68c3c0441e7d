//! Which characters read like which, and which are not read at all.

/// The letter that a digit or sign may stand for.
pub(super) const fn letter_for(character: char) -> Option<char> {
    Some(match character {
        '0' => 'o',
        '1' | '!' | '|' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        '8' => 'b',
        '9' => 'g',
        _ => return None,
    })
}

/// Whether a character does not show: controls, what Unicode calls default ignorable, and what is nothing but blank.
pub(crate) fn is_hidden(character: char) -> bool {
    let is_ignorable = matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    );
    is_ignorable || character.is_control() || is_blank(character)
}

/// Whether a character is a gap without being white space: the pattern of Braille without a dot, and fillers of Hangul.
/// Words end there, and letters on both sides may all the same be meant to be read as one.
pub(super) const fn is_blank(character: char) -> bool {
    matches!(character, '\u{2800}' | '\u{3164}' | '\u{ffa0}')
}

/// Whether a mark goes with letters of any script, or leaves a word what it is: accents, Hebrew points, Arabic vowels.
pub(super) const fn is_loose_mark(mark: char) -> bool {
    matches!(
        mark,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5c7}' | '\u{610}'..='\u{61a}'
            | '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{6d6}'..='\u{6ed}' | '\u{1ab0}'..='\u{1aff}'
            | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}'
    )
}

/// Whether a character is a letter or digit in a box or a circle, above the line or below it, or half of a flag.
pub(super) const fn is_odd(character: char) -> bool {
    matches!(
        character,
        '\u{b2}'..='\u{b3}' | '\u{b9}' | '\u{2b0}'..='\u{2b8}' | '\u{1d2c}'..='\u{1d6a}' | '\u{1d9b}'..='\u{1dbf}'
            | '\u{2070}'..='\u{209c}' | '\u{2460}'..='\u{24ff}' | '\u{2776}'..='\u{2793}' | '\u{1f100}'..='\u{1f1ff}'
    )
}

/// Whether a character is of a script that has no spaces between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese.
pub(super) const fn is_unspaced(character: char) -> bool {
    matches!(
        character,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{2e80}'..='\u{2fdf}'
            | '\u{3005}'..='\u{3007}' | '\u{3041}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}' | '\u{aa60}'..='\u{aa7f}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9d}'
            | '\u{20000}'..='\u{3ffff}'
    )
}

/// Whether a character counts as a letter in Unicode and looks like an apostrophe, a dot or a stroke.
pub(super) const fn is_modifier(character: char) -> bool {
    matches!(character, '\u{2b9}'..='\u{2ff}')
}

/// The letters in circles, boxes, dark circles, dark boxes, and those that flags are made of: the first of each alphabet.
const ALPHABETS: [u32; 5] = [0x24b6, 0x1f130, 0x1f150, 0x1f170, 0x1f1e6];
const LETTERS: u32 = 26;

/// The Latin letter that stands in a circle or a box.
fn letter_in_box(character: char) -> Option<char> {
    let position = ALPHABETS
        .iter()
        .find_map(|first| u32::from(character).checked_sub(*first).filter(|position| *position < LETTERS));
    char::from_u32(position? + u32::from('a'))
}

/// The Latin letter that a letter is taken for, in lower case or as it is written.
pub(super) fn look_alike(letter: char) -> char {
    match letter {
        _ if letter.is_ascii() => letter,
        'а' | 'α' | 'ɑ' | 'ᴀ' => 'a',
        'в' | 'β' | 'ь' | 'ʙ' => 'b',
        // The lunate sigma would otherwise be taken for any sigma.
        'с' | 'ϲ' | 'Ϲ' | 'ᴄ' => 'c',
        'ԁ' | 'đ' | 'ᴅ' => 'd',
        'е' | 'ε' | 'є' | 'ə' | 'ᴇ' => 'e',
        'ꜰ' => 'f',
        'ɡ' | 'ɢ' => 'g',
        'һ' | 'н' | 'ħ' | 'ʜ' => 'h',
        'і' | 'ι' | 'ı' | 'ӏ' | 'ɪ' => 'i',
        'ј' | 'ᴊ' => 'j',
        'к' | 'κ' | 'ᴋ' => 'k',
        'ł' | 'ʟ' => 'l',
        'м' | 'μ' | 'ᴍ' => 'm',
        'η' | 'п' | 'ɴ' => 'n',
        'о' | 'ο' | 'ø' | 'σ' | 'ᴏ' => 'o',
        'р' | 'ρ' | 'ᴘ' => 'p',
        'ԛ' => 'q',
        'г' | 'ʀ' => 'r',
        'ѕ' | 'ꜱ' => 's',
        'т' | 'τ' | 'ᴛ' => 't',
        'υ' | 'ц' | 'ᴜ' => 'u',
        'ν' | 'ѵ' | 'ᴠ' => 'v',
        'ѡ' | 'ω' | 'ԝ' | 'ᴡ' => 'w',
        'х' | 'χ' => 'x',
        'у' | 'γ' | 'ʏ' => 'y',
        'ζ' | 'ᴢ' => 'z',
        // Armenian.
        'օ' => 'o',
        'ո' => 'n',
        'ս' => 'u',
        'հ' => 'h',
        'ց' => 'g',
        'յ' => 'j',
        'զ' => 'q',
        // Lisu and Cherokee have Latin capitals.
        'ꓮ' | 'Ꭺ' => 'a',
        'ꓐ' | 'Ᏼ' => 'b',
        'ꓚ' | 'Ꮯ' => 'c',
        'ꓓ' | 'Ꭰ' => 'd',
        'ꓰ' | 'Ꭼ' => 'e',
        'ꓝ' => 'f',
        'ꓖ' | 'Ꮐ' => 'g',
        'ꓧ' | 'Ꮋ' => 'h',
        'ꓲ' | 'Ꭵ' => 'i',
        'ꓙ' | 'Ꭻ' => 'j',
        'ꓗ' | 'Ꮶ' => 'k',
        'ꓡ' | 'Ꮮ' => 'l',
        'ꓟ' | 'Ꮇ' => 'm',
        'ꓠ' => 'n',
        'ꓳ' => 'o',
        'ꓑ' | 'Ꮲ' => 'p',
        'ꓣ' | 'Ꮢ' => 'r',
        'ꓢ' | 'Ꮪ' => 's',
        'ꓔ' | 'Ꭲ' => 't',
        'ꓴ' => 'u',
        'ꓦ' | 'Ꮩ' => 'v',
        'ꓪ' | 'Ꮃ' => 'w',
        'ꓫ' => 'x',
        'ꓬ' | 'Ꮍ' => 'y',
        'ꓜ' | 'Ꮓ' => 'z',
        other => letter_in_box(other).unwrap_or(other),
    }
}
