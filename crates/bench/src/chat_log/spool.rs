//! Spools on disk: filled as a server before would have left them, and read as they are.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use protocol::chat_log::{RecordKind, encode_record};
use protocol::id::Id;
use protocol::messaging::{Attributes, encode_message, encode_sender};
use protocol::time::Timestamp;
use server::chatlog::record::{Found, MARK, Record, decode, encode};

use super::{Plan, Site, wrong};
use crate::control::{ACCOUNT_ID, REGION};
use crate::failure::Failure;
use crate::verify::Script;

/// What a segment holds before the next one is begun, as in a server, in bytes.
const SEGMENT_BYTES_MAX: usize = 8 << 20;
const ENDING: &str = ".records";
/// Between two records, in milliseconds: a thousand a second.
const STEP_MS: u64 = 1;

/// How long ago the last one was published, in milliseconds: longer than the window of an object of S3 is.
const PAST_MS: u64 = 400_000;

/// The records of a spool that this benchmark fills.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    script: Script,
    /// How many there are.
    pub(super) records: u64,
    /// When the first was published, in milliseconds since 1970.
    first_ms: u64,
}

impl Content {
    /// So many, published in the past: for whoever ships them, everything is due.
    pub(super) fn new(plan: &Plan, records: u64) -> Self {
        let rooms = plan.rooms;
        let now_ms = u64::try_from(super::now().as_millis()).unwrap_or(0);
        Self {
            script: Script { rooms, publishers: rooms, content_length: plan.content_length },
            records,
            first_ms: now_ms.saturating_sub(records * STEP_MS + PAST_MS),
        }
    }

    /// How many rooms they are of.
    pub(super) fn rooms(&self) -> u64 {
        self.script.rooms
    }

    fn time_ms(&self, sequence: u64) -> u64 {
        self.first_ms + sequence * STEP_MS
    }

    /// A record, as it is to be delivered.
    pub(super) fn json(&self, sequence: u64) -> String {
        let time = Timestamp::from_nanos(self.time_ms(sequence) * 1_000_000 + 123_456);
        let id =
            Id::from_random(u128::from(sequence).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835));
        let user_id = Script::publisher_user_id(self.script.room_of(sequence));
        let sender = encode_sender(&user_id, &Attributes::new());
        let content = self.script.content(sequence);
        let frame = encode_message(id, &format!("{sequence:016}"), None, &content, time, &sender);
        encode_record(RecordKind::Message, time, &frame)
    }
}

/// What was written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Filled {
    /// Of all records, as they are delivered.
    pub(super) json_bytes: u64,
    /// On disk.
    pub(super) spool_bytes: u64,
}

/// The folder of a logging configuration's spool.
pub(super) fn folder(data_folder: &Path, configuration: &str) -> PathBuf {
    data_folder.join("chatlog/spool").join(format!("{ACCOUNT_ID}_{REGION}_{configuration}"))
}

/// Fills a spool, as the first process of a server would have.
pub(super) fn fill(site: &Site, content: &Content) -> Result<Filled, Failure> {
    let folder = folder(site.folder.path(), &site.configuration);
    fs::create_dir_all(&folder).map_err(Failure::io("make the folder of a spool"))?;
    let rooms = site.rooms.iter().map(|room| Id::parse(room)).collect::<Option<Vec<_>>>();
    let rooms = rooms.filter(|rooms| !rooms.is_empty()).ok_or_else(|| wrong("a room has no id"))?;
    let (mut filled, mut segments) = (Filled::default(), 0);
    let mut segment = MARK.to_vec();
    for sequence in 0..content.records {
        let json = content.json(sequence);
        let room = usize::try_from(content.script.room_of(sequence)).unwrap_or(0);
        encode(rooms[room], content.time_ms(sequence), sequence + 1, &json, &mut segment);
        filled.json_bytes += json.len() as u64;
        if segment.len() >= SEGMENT_BYTES_MAX || sequence + 1 == content.records {
            segments += 1;
            let path = folder.join(format!("{:010}-{:03}-{segments:010}{ENDING}", 1, 0));
            write(&path, &segment).map_err(Failure::io("fill a spool"))?;
            filled.spool_bytes += segment.len() as u64;
            segment.truncate(MARK.len());
        }
    }
    Ok(filled)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The segments of a spool, in the order in which they are read.
pub(super) fn segments(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    let mut segments: Vec<PathBuf> =
        paths.into_iter().filter(|path| path.to_string_lossy().ends_with(ENDING)).collect();
    segments.sort_unstable();
    Ok(segments)
}

/// Reads a spool: `take` gets each record, in order. The bytes of all of them on disk.
pub(super) fn read(
    folder: &Path,
    mut take: impl FnMut(&Record) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let mut bytes_of_records = 0;
    for path in segments(folder).map_err(Failure::io("list a spool"))? {
        let bytes = fs::read(&path).map_err(Failure::io("read a spool"))?;
        let mut left = bytes.strip_prefix(MARK).ok_or_else(|| wrong("a segment has no mark"))?;
        while !left.is_empty() {
            let (Found::Record(record, length) | Found::Withheld(record, length)) = decode(left) else {
                return Err(wrong(format!("{} is damaged", path.display())));
            };
            take(&record)?;
            bytes_of_records += length as u64;
            left = &left[length..];
        }
    }
    Ok(bytes_of_records)
}
