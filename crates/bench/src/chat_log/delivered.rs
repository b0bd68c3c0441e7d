//! Is everything that was in a spool where it was to go, once, in each room's order, byte for byte?

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use super::receiver::Delivery;
use super::spool::Content;
use super::{DESTINATION_NAME, LogService, wrong};
use crate::failure::Failure;

/// What a record's number follows.
const REQUEST_ID: &str = "\"RequestId\":\"";
const DIGITS: usize = 16;

/// The number of the message that a record is of.
pub(super) fn sequence_of(record: &str) -> Result<u64, Failure> {
    let digits = record.split_once(REQUEST_ID).and_then(|(_, rest)| rest.get(..DIGITS));
    let number = digits.and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| wrong(format!("no record of ours: {record}")))
}

/// Takes records, room by room in order.
#[derive(Debug)]
pub(super) struct Tally {
    /// By room, the number of its next message.
    next: Vec<u64>,
}

impl Tally {
    /// Nothing of so many rooms has come.
    pub(super) fn new(rooms: u64) -> Self {
        Self { next: (0..rooms).collect() }
    }

    /// A record of message `sequence` has come.
    ///
    /// # Errors
    /// It is not the next one of its room.
    pub(super) fn take(&mut self, sequence: u64) -> Result<(), Failure> {
        let rooms = self.next.len() as u64;
        let room = usize::try_from(sequence % rooms).unwrap_or(0);
        let expected = self.next[room];
        if sequence != expected {
            return Err(wrong(format!("record {sequence} came where {expected} was to come")));
        }
        self.next[room] += rooms;
        Ok(())
    }

    /// Success, if that was all of so many messages.
    ///
    /// # Errors
    /// Some are missing.
    pub(super) fn judge(&self, messages: u64) -> Result<(), Failure> {
        match self.next.iter().find(|next| **next < messages) {
            Some(next) => Err(wrong(format!("record {next} of {messages} is missing"))),
            None => Ok(()),
        }
    }
}

/// Compares what was delivered, in its order, with what was in the spool.
///
/// # Errors
/// Something is missing, doubled, out of order or altered.
pub(super) fn judge(content: &Content, service: LogService, deliveries: &[Delivery]) -> Result<(), Failure> {
    let mut pieces = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        pieces.push(match service {
            LogService::S3 => lines(&unzipped(&delivery.body)?)?,
            LogService::CloudWatchLogs => log_events(&delivery.body)?,
            LogService::Firehose => firehose_records(&delivery.body)?,
        });
    }
    judge_pieces(content, service, pieces)
}

/// The same for what is in the folder that stands for a service.
///
/// # Errors
/// As above, and the system's.
pub(super) fn judge_folder(
    content: &Content,
    service: LogService,
    data_folder: &Path,
) -> Result<(), Failure> {
    let root = data_folder.join("destinations");
    let mut files = Vec::new();
    let found = match service {
        LogService::S3 => find_files(&root.join("s3").join(DESTINATION_NAME), &mut files),
        LogService::CloudWatchLogs => {
            find_files(&root.join("cloudwatch-logs").join(DESTINATION_NAME), &mut files)
        }
        LogService::Firehose => find_files(&root.join("firehose"), &mut files),
    };
    found?;
    let mut pieces = Vec::with_capacity(files.len());
    for file in files {
        let bytes = fs::read(file).map_err(Failure::io("read what was delivered"))?;
        pieces.push(if service == LogService::S3 { lines(&unzipped(&bytes)?)? } else { lines(&bytes)? });
    }
    judge_pieces(content, service, pieces)
}

fn judge_pieces(content: &Content, service: LogService, mut pieces: Vec<Vec<String>>) -> Result<(), Failure> {
    if service == LogService::S3 {
        // Nobody reads objects in the order in which they were written.
        let first = |piece: &Vec<String>| piece.first().map_or(Ok(0), |record| sequence_of(record));
        let mut keyed = pieces
            .into_iter()
            .map(|piece| Ok((first(&piece)?, piece)))
            .collect::<Result<Vec<_>, Failure>>()?;
        keyed.sort_unstable();
        pieces = keyed.into_iter().map(|(_, piece)| piece).collect();
    }
    let mut tally = Tally::new(content.rooms());
    for record in pieces.iter().flatten() {
        let sequence = sequence_of(record)?;
        tally.take(sequence)?;
        if *record != content.json(sequence) {
            return Err(wrong(format!("record {sequence} was altered: {record}")));
        }
    }
    tally.judge(content.records)
}

fn find_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    for entry in fs::read_dir(folder).map_err(Failure::io("list what was delivered"))? {
        let path = entry.map_err(Failure::io("list what was delivered"))?.path();
        if path.is_dir() { find_files(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

fn unzipped(bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut text).map_err(Failure::io("unzip an object"))?;
    Ok(text)
}

fn lines(text: &[u8]) -> Result<Vec<String>, Failure> {
    let text = std::str::from_utf8(text).map_err(|error| wrong(error.to_string()))?;
    if !text.ends_with('\n') {
        return Err(wrong("a line has no end"));
    }
    Ok(text.lines().map(str::to_owned).collect())
}

fn parsed(body: &[u8]) -> Result<serde_json::Value, Failure> {
    serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))
}

/// The messages of a PutLogEvents, whose times must go up, and be those of the messages.
fn log_events(body: &[u8]) -> Result<Vec<String>, Failure> {
    let request = parsed(body)?;
    let mut latest = 0;
    let mut messages = Vec::new();
    for event in request["logEvents"].as_array().into_iter().flatten() {
        let (Some(time), Some(message)) = (event["timestamp"].as_u64(), event["message"].as_str()) else {
            return Err(wrong(format!("no log event: {event}")));
        };
        if time < latest {
            return Err(wrong(format!("a log event is earlier than the one before it: {event}")));
        }
        latest = time;
        messages.push(message.to_owned());
    }
    Ok(messages)
}

/// The lines of a PutRecordBatch.
fn firehose_records(body: &[u8]) -> Result<Vec<String>, Failure> {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let request = parsed(body)?;
    let mut records = Vec::new();
    for record in request["Records"].as_array().into_iter().flatten() {
        let data = record["Data"].as_str().ok_or_else(|| wrong(format!("no record: {record}")))?;
        records.extend(lines(&STANDARD.decode(data).map_err(|error| wrong(error.to_string()))?)?);
    }
    Ok(records)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Tally, log_events, sequence_of};

    #[test]
    fn what_is_missing_doubled_or_out_of_order_is_found() {
        let check = |sequences: &[u64], messages: u64| {
            let mut tally = Tally::new(2);
            sequences.iter().try_for_each(|sequence| tally.take(*sequence))?;
            tally.judge(messages)
        };
        assert!(check(&[0, 2, 1, 3, 4], 5).is_ok(), "rooms do not wait for each other");
        for (sequences, messages) in
            [(&[0, 1, 2][..], 4), (&[0, 1, 1, 2], 3), (&[0, 1, 4, 2, 3], 5), (&[0, 1, 3, 4], 5), (&[], 1)]
        {
            assert!(check(sequences, messages).is_err(), "{sequences:?}");
        }
    }

    #[test]
    fn the_number_of_a_record_is_that_of_its_request() {
        assert_eq!(sequence_of(r#"{"RequestId":"0000000000000042","x":1}"#).unwrap(), 42);
        assert!(sequence_of("{}").is_err());
    }

    #[test]
    fn log_events_that_go_back_in_time_are_found() {
        let body = |times: [u64; 2]| {
            let event = |time: u64| serde_json::json!({ "timestamp": time, "message": "m" });
            serde_json::json!({ "logEvents": times.map(event) }).to_string()
        };
        assert_eq!(log_events(body([5, 5]).as_bytes()).unwrap(), ["m", "m"]);
        assert!(log_events(body([5, 4]).as_bytes()).is_err());
    }
}
