//! Did every receiver get every message, once, in one order, unchanged?
//!
//! Each receiver has a count and a running hash of the payloads it got. One receiver of each room, its *witness*, is read
//! message by message: its list must be the messages published in the room, each once, those of one publisher in the order
//! they were sent. If all others of the room end with the witness's count and hash, they got the same bytes in the same
//! order. Besides, one frame in a hundred of every receiver is parsed as JSON and compared with what was published, member
//! by member.
//!
//! A message is known by its sequence number, which travels as its RequestId in 16 digits.

use std::collections::HashMap;
use std::fmt;

use protocol::messaging::{Attributes, encode_message, encode_sender};
use protocol::{id::Id, time::Timestamp};
use serde_json::Value;

/// Where the RequestId's digits are in a MESSAGE frame: after `{"Type":"MESSAGE","Id":"` (24), the id (12), and this.
const REQUEST_ID_MEMBER: &[u8] = b"\",\"RequestId\":\"";
const REQUEST_ID_MEMBER_AT: usize = 24 + 12;
const SEQUENCE_AT: usize = REQUEST_ID_MEMBER_AT + REQUEST_ID_MEMBER.len();
const SEQUENCE_DIGITS: usize = 16;
/// Every so manieth frame of a receiver is parsed.
const PARSE_EVERY: u64 = 100;

/// What is published in a run.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// Message `sequence` is for room `sequence % rooms`; connection `n` is a member of room `n % rooms`.
    pub rooms: u64,
    /// Message `sequence` is published by connection `sequence % publishers`, or in its name: of all rooms, a multiple of
    /// `rooms`.
    pub publishers: u64,
    /// Characters of each message's content.
    pub content_length: usize,
}

impl Script {
    /// The room of a message, or of a connection.
    #[must_use]
    pub fn room_of(&self, number: u64) -> u64 {
        number % self.rooms
    }

    /// The user id of a publisher.
    #[must_use]
    pub fn publisher_user_id(publisher: u64) -> String {
        format!("publisher-{publisher:03}")
    }

    /// The content of a message.
    #[must_use]
    pub fn content(&self, sequence: u64) -> String {
        let mut content = format!("message {sequence} ");
        while content.len() < self.content_length {
            content.push(char::from(b'a' + u8::try_from(content.len() % 26).unwrap_or(0)));
        }
        content.truncate(self.content_length);
        content
    }

    /// What a publisher sends to Grandstand.
    #[must_use]
    pub fn action(&self, sequence: u64) -> String {
        let content = self.content(sequence);
        format!(r#"{{"Action":"SEND_MESSAGE","RequestId":"{sequence:016}","Content":"{content}"}}"#)
    }

    /// What a publisher sends to a peer that knows no actions: the very frame that Grandstand would make of it.
    #[must_use]
    pub fn frame_text(&self, sequence: u64) -> String {
        let id =
            Id::from_random(u128::from(sequence).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835));
        let user_id = Self::publisher_user_id(sequence % self.publishers);
        let sender = encode_sender(&user_id, &Attributes::new());
        let send_time = Timestamp::from_nanos(1_800_000_000_123_456_789);
        encode_message(id, &format!("{sequence:016}"), None, &self.content(sequence), send_time, &sender)
    }

    /// Whether a frame's payload says what message `sequence` must say.
    fn agrees(&self, sequence: u64, payload: &[u8]) -> bool {
        let Ok(frame) = serde_json::from_slice::<Value>(payload) else { return false };
        frame["Type"] == "MESSAGE"
            && frame["RequestId"] == format!("{sequence:016}")
            && frame["Content"] == self.content(sequence)
            && frame["Sender"]["UserId"] == Self::publisher_user_id(sequence % self.publishers)
    }
}

/// What is wrong with a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A text frame that is no message of ours, such as an ERROR.
    NoMessage {
        /// Who got it.
        receiver: usize,
        /// The text.
        text: String,
    },
    /// The frame does not say what was published.
    Altered {
        /// Who got it.
        receiver: usize,
        /// The message.
        sequence: u64,
    },
    /// A receiver got a message of a room that it is not a member of.
    Strayed {
        /// Who got it.
        receiver: usize,
        /// The message.
        sequence: u64,
    },
    /// A receiver got too few messages.
    Lost {
        /// Who.
        receiver: usize,
        /// How many it got.
        got: u64,
        /// How many were published.
        published: u64,
    },
    /// A receiver got too many messages.
    Doubled {
        /// Who.
        receiver: usize,
        /// How many it got.
        got: u64,
        /// How many were published.
        published: u64,
    },
    /// The witness got a message that was never published, or one twice.
    WitnessDoubled {
        /// The message.
        sequence: u64,
    },
    /// The messages of one publisher came in another order than they were sent in.
    PublisherReordered {
        /// The message that came too late.
        sequence: u64,
    },
    /// A receiver got as many messages as the witness, but not the same bytes in the same order.
    OtherOrder {
        /// Who.
        receiver: usize,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMessage { receiver, text } => {
                write!(formatter, "receiver {receiver} got what is no message: {text}")
            }
            Self::Altered { receiver, sequence } => {
                write!(formatter, "receiver {receiver} got message {sequence} altered")
            }
            Self::Strayed { receiver, sequence } => {
                write!(formatter, "receiver {receiver} got message {sequence}, of another room")
            }
            Self::Lost { receiver, got, published } => {
                write!(formatter, "receiver {receiver} got {got} of {published} messages")
            }
            Self::Doubled { receiver, got, published } => {
                write!(formatter, "receiver {receiver} got {got} messages where {published} were published")
            }
            Self::WitnessDoubled { sequence } => {
                write!(formatter, "message {sequence} came twice or was never published")
            }
            Self::PublisherReordered { sequence } => {
                write!(formatter, "message {sequence} came after a later one of its publisher")
            }
            Self::OtherOrder { receiver } => {
                write!(formatter, "receiver {receiver} did not get the same bytes in the same order")
            }
        }
    }
}

/// What one receiver got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stream {
    count: u64,
    hash: u64,
}

/// Looks at everything that is received in a run. See the module's documentation.
#[derive(Debug)]
pub struct Verifier {
    script: Script,
    streams: Vec<Stream>,
    /// What the witness of each room got: receivers 0, 1, 2 and so on are those of rooms 0, 1, 2.
    witnessed: Vec<Vec<u64>>,
    received: u64,
}

impl Verifier {
    /// For a run with so many receivers.
    #[must_use]
    pub fn new(script: Script, receivers: usize) -> Self {
        let witnessed = vec![Vec::new(); receivers.min(usize::try_from(script.rooms).unwrap_or(usize::MAX))];
        Self { script, streams: vec![Stream::default(); receivers], witnessed, received: 0 }
    }

    /// Takes the next payload of a receiver; the message's sequence number.
    ///
    /// # Errors
    /// It is no message of ours, or an altered one.
    pub fn take(&mut self, receiver: usize, payload: &[u8]) -> Result<u64, Fault> {
        let no_message =
            || Fault::NoMessage { receiver, text: String::from_utf8_lossy(payload).into_owned() };
        let sequence = sequence_of(payload).ok_or_else(no_message)?;
        let stream = self.streams.get_mut(receiver).ok_or_else(no_message)?;
        if self.script.room_of(sequence) != self.script.room_of(receiver as u64) {
            return Err(Fault::Strayed { receiver, sequence });
        }
        stream.hash = mix(stream.hash, payload);
        stream.count += 1;
        self.received += 1;
        let witnessed = self.witnessed.get_mut(receiver);
        // Receivers take turns, so that every message is parsed at some of them.
        let parse = witnessed.is_some() || (stream.count + receiver as u64).is_multiple_of(PARSE_EVERY);
        if let Some(witnessed) = witnessed {
            witnessed.push(sequence);
        }
        if parse && !self.script.agrees(sequence, payload) {
            return Err(Fault::Altered { receiver, sequence });
        }
        Ok(sequence)
    }

    /// Messages that all receivers got together.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Messages that one receiver got.
    #[must_use]
    pub fn received_by(&self, receiver: usize) -> u64 {
        self.streams.get(receiver).map_or(0, |stream| stream.count)
    }

    /// The verdict, once `published` messages have been published in all rooms together and had time to arrive.
    ///
    /// # Errors
    /// The first fault found.
    pub fn judge(&self, published: u64) -> Result<(), Fault> {
        for (receiver, stream) in self.streams.iter().enumerate() {
            let got = stream.count;
            let published = self.published_for(receiver, published);
            match got.cmp(&published) {
                std::cmp::Ordering::Less => return Err(Fault::Lost { receiver, got, published }),
                std::cmp::Ordering::Greater => return Err(Fault::Doubled { receiver, got, published }),
                std::cmp::Ordering::Equal => {}
            }
        }
        for (room, witnessed) in self.witnessed.iter().enumerate() {
            self.judge_witness(witnessed, self.published_for(room, published))?;
        }
        let rooms = self.witnessed.len().max(1);
        let differs = |(receiver, stream): (usize, &Stream)| *stream != self.streams[receiver % rooms];
        match self.streams.iter().enumerate().position(differs) {
            Some(receiver) => Err(Fault::OtherOrder { receiver }),
            None => Ok(()),
        }
    }

    /// How many of the messages published in all rooms are for the room of a receiver.
    fn published_for(&self, receiver: usize, published: u64) -> u64 {
        let room = self.script.room_of(receiver as u64);
        published / self.script.rooms + u64::from(room < published % self.script.rooms)
    }

    fn judge_witness(&self, witnessed: &[u64], published: u64) -> Result<(), Fault> {
        let mut seen = vec![false; usize::try_from(published).unwrap_or(usize::MAX)];
        let mut newest = HashMap::new();
        for sequence in witnessed.iter().copied() {
            let slot =
                usize::try_from(sequence / self.script.rooms).ok().and_then(|index| seen.get_mut(index));
            match slot {
                Some(seen) if !*seen => *seen = true,
                _ => return Err(Fault::WitnessDoubled { sequence }),
            }
            let before = newest.insert(sequence % self.script.publishers, sequence);
            if before > Some(sequence) {
                return Err(Fault::PublisherReordered { sequence });
            }
        }
        Ok(())
    }
}

/// Reads the sequence number at its place, which the observed key order of frames fixes.
fn sequence_of(payload: &[u8]) -> Option<u64> {
    if payload.get(REQUEST_ID_MEMBER_AT..SEQUENCE_AT)? != REQUEST_ID_MEMBER {
        return None;
    }
    let digits = payload.get(SEQUENCE_AT..SEQUENCE_AT + SEQUENCE_DIGITS)?;
    digits.iter().try_fold(0_u64, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'))
    })
}

/// Adds a payload to a running hash, eight bytes at a time, the length last. Each step can be undone (an odd factor, a
/// shift by half), so two streams that differ in one word never end with the same hash.
fn mix(hash: u64, payload: &[u8]) -> u64 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let fold = |hash: u64, word: u64| {
        let product = (hash ^ word).wrapping_mul(ODD);
        product ^ (product >> 32)
    };
    let mut hash = hash;
    let mut chunks = payload.chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        hash = fold(hash, u64::from_le_bytes(word));
    }
    let rest = chunks.remainder();
    let mut word = [0; 8];
    word[..rest.len()].copy_from_slice(rest);
    fold(fold(hash, u64::from_le_bytes(word)), payload.len() as u64)
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
