//! `grandstand logs tail`: what a room publishes, in the terminal.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use protocol::arn::{Arn, ResourceKind};
use tokio::net::UnixStream;
use tokio::time::sleep;

use super::CommandError;
use crate::chatlog::Tail;

/// How often it is looked for more. Files of another process tell nobody that they have grown.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Prints each record of a room as a line, as it is written, until nobody reads them any more.
///
/// # Errors
/// When `room` is no ARN of a room, or the data folder cannot be read.
pub async fn tail_logs(data_dir: &Path, room: &str, output: &mut impl Write) -> Result<(), CommandError> {
    let arn = Arn::parse(room).filter(|arn| arn.kind() == ResourceKind::Room);
    let (arn, id) = arn
        .and_then(|arn| arn.id().map(|id| (arn, id)))
        .ok_or_else(|| CommandError::Room(room.to_owned()))?;
    let unreadable = |error| CommandError::Spool(data_dir.to_owned(), error);
    let mut tail = Tail::new(data_dir, arn.scope(), id, own_user()?).map_err(unreadable)?;
    loop {
        for record in tail.new_records().map_err(unreadable)? {
            match writeln!(output, "{record}").and_then(|()| output.flush()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                written => written?,
            }
        }
        if tail.has_missed().map_err(unreadable)? {
            eprintln!("grandstand: some records are not shown: there were more than are kept for a tail");
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// Whom this process runs as: the system says so of whoever has made a pair of sockets.
fn own_user() -> io::Result<u32> {
    let (one, _other) = UnixStream::pair()?;
    Ok(one.peer_cred()?.uid())
}
