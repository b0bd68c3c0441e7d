//! What is sealed opens again, and nothing else does.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeMap;

use proptest::prelude::{Strategy, any, prop};
use proptest::{prop_assert_eq, proptest};
use zeroize::Zeroizing;

use super::{Claims, NONCE_LENGTH, TokenError, TokenKey, open, seal};
use crate::arn::Scope;
use crate::capability::{Capabilities, Capability};
use crate::id::Id;
use crate::limit::member::{ATTRIBUTES_BYTES_MAX, USER_ID_LENGTH_MAX};
use crate::limit::token::TEXT_BYTES_MAX;
use crate::time::Timestamp;

const ISSUED: Timestamp = Timestamp::from_seconds(1_700_000_000);

fn key(id: u32) -> TokenKey {
    TokenKey::new(id, Zeroizing::new([u8::try_from(id).unwrap(); 32]))
}

fn claims() -> Claims {
    Claims {
        scope: Scope { account_id: "123456789012".into(), region: "us-west-2".into() },
        room_id: Id::parse("g1H2I3j4k5L6").unwrap(),
        user_id: "alice".to_owned(),
        attributes: BTreeMap::from([("avatar".to_owned(), "https://example.com/ä.png".to_owned())]),
        capabilities: Capabilities::NONE.with(Capability::SendMessage),
        issue_time: ISSUED,
        token_expiry: ISSUED.plus_seconds(3_600),
        session_expiry: ISSUED.plus_seconds(10_800),
        token_id: 7,
    }
}

#[test]
fn a_token_is_valid_until_its_expiry_and_not_at_that_instant() {
    let text = seal(&key(1), &claims(), [9; NONCE_LENGTH]).unwrap();
    let expiry = claims().token_expiry;
    let just_before = Timestamp::from_nanos(expiry.as_nanos() - 1);
    assert_eq!(open(&[key(1)], &text, ISSUED), Ok(claims()));
    assert_eq!(open(&[key(1)], &text, just_before), Ok(claims()));
    assert_eq!(open(&[key(1)], &text, expiry), Err(TokenError::Expired));

    let short_session = Claims { session_expiry: ISSUED.plus_seconds(60), ..claims() };
    let text = seal(&key(1), &short_session, [9; NONCE_LENGTH]).unwrap();
    assert_eq!(open(&[key(1)], &text, ISSUED.plus_seconds(60)), Err(TokenError::Expired));
}

#[test]
fn a_token_opens_as_long_as_its_key_is_kept() {
    let old = seal(&key(1), &claims(), [9; NONCE_LENGTH]).unwrap();
    let new = seal(&key(2), &claims(), [9; NONCE_LENGTH]).unwrap();
    for text in [&old, &new] {
        assert_eq!(open(&[key(1), key(2)], text, ISSUED), Ok(claims()));
    }
    assert_eq!(open(&[key(2)], &old, ISSUED), Err(TokenError::UnknownKey));
    assert_eq!(open(&[], &new, ISSUED), Err(TokenError::UnknownKey));
    let same_number = TokenKey::new(1, Zeroizing::new([0; 32]));
    assert_eq!(open(&[same_number], &old, ISSUED), Err(TokenError::Forged));
}

#[test]
fn no_character_can_be_changed_dropped_or_added() {
    let text = seal(&key(1), &claims(), [9; NONCE_LENGTH]).unwrap();
    let is_refused = |text: &str| open(&[key(1)], text, ISSUED).is_err();
    for position in 0..text.len() {
        for replacement in "ABab01_-=. \n".chars().filter(|other| !text[position..].starts_with(*other)) {
            let mut changed = text.clone();
            changed.replace_range(position..=position, &replacement.to_string());
            assert!(is_refused(&changed), "{replacement:?} at {position}");
        }
        assert!(is_refused(&text[..position]), "cut at {position}");
        assert!(is_refused(&text[position + 1..]), "begun at {position}");
    }
    assert!(is_refused(&format!("{text}A")) && is_refused(&format!("{text}=")));
    assert!(!is_refused(&text));
}

#[test]
fn a_token_with_all_claims_at_their_limits_fits() {
    // The worst that CreateChatToken lets through: as many attributes as possible, since each costs two lengths.
    let mut names = (0_u8..128).map(|byte| char::from(byte).to_string()).collect::<Vec<_>>();
    names.extend((128_u32..2_048).filter_map(char::from_u32).map(String::from));
    let mut attributes = BTreeMap::from([(String::new(), String::new())]);
    let mut bytes = 0;
    for name in names {
        bytes += name.len();
        if bytes <= ATTRIBUTES_BYTES_MAX {
            attributes.insert(name, String::new());
        }
    }
    assert_eq!(attributes.len(), 577);
    let user_id = "\u{10ffff}".repeat(USER_ID_LENGTH_MAX);
    let region = "a".repeat(crate::limit::control::REGION_LENGTH_MAX).into();
    let scope = Scope { account_id: "123456789012".into(), region };
    let largest = Claims { attributes, user_id, scope, ..claims() };
    let text = seal(&key(1), &largest, [9; NONCE_LENGTH]).unwrap();
    assert!(text.len() <= TEXT_BYTES_MAX, "{}", text.len());
    assert_eq!(open(&[key(1)], &text, ISSUED), Ok(largest));

    let one = BTreeMap::from([("a".to_owned(), "b".repeat(ATTRIBUTES_BYTES_MAX - 1))]);
    let usual = seal(&key(1), &Claims { attributes: one, ..claims() }, [9; NONCE_LENGTH]).unwrap();
    assert!(usual.len() < TEXT_BYTES_MAX / 2, "{}", usual.len());
}

#[test]
fn claims_beyond_their_limits_are_not_sealed() {
    let too_long = Claims { user_id: "a".repeat(TEXT_BYTES_MAX), ..claims() };
    assert_eq!(seal(&key(1), &too_long, [9; NONCE_LENGTH]), Err(TokenError::TooLong));
}

#[test]
fn neither_keys_nor_people_are_shown() {
    let shown = format!("{:?} {:?}", key(49), claims());
    assert!(shown.contains("g1H2I3j4k5L6") && shown.contains("id: 49"), "{shown}");
    for hidden in ["alice", "avatar", "example.com", "49, 49"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}

fn any_claims() -> impl Strategy<Value = Claims> {
    let attributes = prop::collection::btree_map("\\PC{0,20}", "\\PC{0,20}", 0..8);
    let instants = (any::<u64>(), 1..=u64::MAX, 1..=u64::MAX);
    let names = ("[0-9]{12}", "[a-z0-9-]{1,32}", any::<u128>(), "\\PC{1,128}");
    (names, attributes, 0_u8..8, instants, any::<u128>()).prop_map(
        |((account_id, region, id, user_id), attributes, capabilities, instants, token_id)| Claims {
            scope: Scope { account_id: account_id.into(), region: region.into() },
            room_id: Id::from_random(id),
            user_id,
            attributes,
            capabilities: Capabilities::from_byte(capabilities).unwrap(),
            issue_time: Timestamp::from_nanos(instants.0),
            token_expiry: Timestamp::from_nanos(instants.1),
            session_expiry: Timestamp::from_nanos(instants.2),
            token_id,
        },
    )
}

proptest! {
    #[test]
    fn what_is_sealed_opens_again(claims in any_claims(), nonce in any::<[u8; NONCE_LENGTH]>()) {
        let text = seal(&key(3), &claims, nonce).unwrap();
        let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        prop_assert_eq!(text.bytes().find(|byte| !is_tchar(*byte)), None);
        let opened = open(&[key(3)], &text, Timestamp::default());
        prop_assert_eq!(opened.as_ref().map(|opened| opened == &claims), Ok(true));
    }

    #[test]
    fn arbitrary_text_is_refused(text in "[A-Za-z0-9_-]{0,200}|\\PC{0,200}") {
        proptest::prop_assert!(open(&[key(1)], &text, ISSUED).is_err());
    }

    #[test]
    fn arbitrary_claims_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(claims) = Claims::decode(&bytes) {
            prop_assert_eq!(claims.encode().len(), bytes.len());
        }
    }

    #[test]
    fn damaged_claims_are_read_without_panic(position in any::<usize>(), byte in any::<u8>(), cut in 0_usize..150) {
        let mut bytes = claims().encode();
        let length = bytes.len();
        bytes[position % length] = byte;
        bytes.truncate(length.saturating_sub(cut));
        let _ = Claims::decode(&bytes);
    }
}
