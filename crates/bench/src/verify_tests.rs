//! Every kind of damage is planted once, and must be named as what it is.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use super::{Fault, Script, Verifier, mix, sequence_of};

const SCRIPT: Script = Script { rooms: 1, publishers: 3, content_length: 40 };
const MESSAGES: u64 = 30;
const RECEIVERS: usize = 4;

/// Runs a crowd in which `damage` may change what one receiver gets.
fn verdict(victim: usize, damage: impl Fn(&mut Vec<String>)) -> Result<(), Fault> {
    let published: Vec<String> = (0..MESSAGES).map(|sequence| SCRIPT.frame_text(sequence)).collect();
    let mut verifier = Verifier::new(SCRIPT, RECEIVERS);
    for receiver in 0..RECEIVERS {
        let mut stream = published.clone();
        if receiver == victim {
            damage(&mut stream);
        }
        for text in stream {
            verifier.take(receiver, text.as_bytes())?;
        }
    }
    verifier.judge(MESSAGES)
}

#[test]
fn a_perfect_run_is_valid() {
    assert_eq!(verdict(0, |_| {}), Ok(()));
}

#[test]
fn a_lost_message_is_caught() {
    for victim in 0..RECEIVERS {
        let fault = verdict(victim, |stream| drop(stream.remove(11)));
        assert_eq!(fault, Err(Fault::Lost { receiver: victim, got: MESSAGES - 1, published: MESSAGES }));
    }
}

#[test]
fn a_doubled_message_is_caught() {
    for victim in 0..RECEIVERS {
        let fault = verdict(victim, |stream| stream.insert(5, stream[4].clone()));
        assert_eq!(fault, Err(Fault::Doubled { receiver: victim, got: MESSAGES + 1, published: MESSAGES }));
    }
}

#[test]
fn two_swapped_messages_are_caught() {
    assert_eq!(verdict(2, |stream| stream.swap(7, 8)), Err(Fault::OtherOrder { receiver: 2 }));
    // The witness swaps messages of different publishers: no fault of its own, but all others differ from it.
    assert_eq!(verdict(0, |stream| stream.swap(7, 8)), Err(Fault::OtherOrder { receiver: 1 }));
}

#[test]
fn one_doubled_for_one_lost_is_caught() {
    let damage = |stream: &mut Vec<String>| stream[9] = stream[8].clone();
    assert_eq!(verdict(3, damage), Err(Fault::OtherOrder { receiver: 3 }));
    assert_eq!(verdict(0, damage), Err(Fault::WitnessDoubled { sequence: 8 }));
}

#[test]
fn a_publisher_whose_messages_change_order_for_all_is_caught() {
    let mut verifier = Verifier::new(SCRIPT, 2);
    for receiver in 0..2 {
        for sequence in [3, 0] {
            verifier.take(receiver, SCRIPT.frame_text(sequence).as_bytes()).unwrap();
        }
        for sequence in [1, 2] {
            verifier.take(receiver, SCRIPT.frame_text(sequence).as_bytes()).unwrap();
        }
    }
    assert_eq!(verifier.judge(4), Err(Fault::PublisherReordered { sequence: 0 }));
}

/// Two rooms with two publishers and four receivers each, of whom `damage` may change what receiver 5 gets.
fn verdict_of_two_rooms(damage: impl Fn(&mut Vec<String>)) -> Result<(), Fault> {
    let script = Script { rooms: 2, publishers: 4, content_length: 40 };
    let mut verifier = Verifier::new(script, 8);
    for receiver in 0..8 {
        let of_room = (0..MESSAGES + 1).filter(|sequence| script.room_of(*sequence) == receiver % 2);
        let mut stream: Vec<String> = of_room.map(|sequence| script.frame_text(sequence)).collect();
        if receiver == 5 {
            damage(&mut stream);
        }
        for text in stream {
            verifier.take(usize::try_from(receiver).unwrap(), text.as_bytes())?;
        }
    }
    verifier.judge(MESSAGES + 1)
}

#[test]
fn each_room_has_its_own_stream() {
    let script = Script { rooms: 2, publishers: 4, content_length: 40 };
    assert_eq!(verdict_of_two_rooms(|_| {}), Ok(()));
    let lost = verdict_of_two_rooms(|stream| drop(stream.pop()));
    assert_eq!(lost, Err(Fault::Lost { receiver: 5, got: 14, published: 15 }));
    assert_eq!(verdict_of_two_rooms(|stream| stream.swap(2, 3)), Err(Fault::OtherOrder { receiver: 5 }));
    let strayed = verdict_of_two_rooms(|stream| stream[0] = script.frame_text(4));
    assert_eq!(strayed, Err(Fault::Strayed { receiver: 5, sequence: 4 }));
}

#[test]
fn an_altered_or_foreign_frame_is_caught() {
    let damage = |stream: &mut Vec<String>| stream[6] = stream[6].replace("message 6", "message 5");
    assert_eq!(verdict(0, damage), Err(Fault::Altered { receiver: 0, sequence: 6 }));
    assert_eq!(
        verdict(1, damage),
        Err(Fault::OtherOrder { receiver: 1 }),
        "by its hash, since it was not parsed"
    );
    let error = r#"{"Type":"ERROR","Id":"abcdefghijkl","RequestId":"","ErrorCode":429}"#;
    let foreign = verdict(1, |stream| stream[0] = error.to_owned());
    assert_eq!(foreign, Err(Fault::NoMessage { receiver: 1, text: error.to_owned() }));
}

#[test]
fn one_frame_in_a_hundred_is_parsed() {
    let mut verifier = Verifier::new(SCRIPT, 2);
    let altered = SCRIPT.frame_text(6).replace("message 6", "message 5");
    let parsed = (0..1_000).filter(|_| verifier.take(1, altered.as_bytes()).is_err()).count();
    assert_eq!(parsed, 10);
}

#[test]
fn the_sequence_number_is_where_frames_have_it() {
    assert_eq!(sequence_of(SCRIPT.frame_text(1_234_567).as_bytes()), Some(1_234_567));
    assert_eq!(sequence_of(b"{}"), None);
}

#[test]
fn the_hash_sees_every_byte_and_the_length() {
    let text = SCRIPT.frame_text(1).into_bytes();
    let whole = mix(0, &text);
    for at in 0..text.len() {
        let mut other = text.clone();
        other[at] ^= 1;
        assert_ne!(mix(0, &other), whole, "byte {at}");
    }
    assert_ne!(mix(0, b"a"), mix(0, b"a\0"));
    assert_ne!(mix(mix(0, b"x"), b"y"), mix(mix(0, b"y"), b"x"));
}
