//! What must hold. Each checker is believed because it finds a bug that is planted into the simulator's wiring: the tests
//! name one or more for each.

use std::collections::BTreeSet;
use std::fmt;

use hub::message::RoomKey;
use protocol::limit::edge::{LAG_BYTES_MAX, LAG_MS_MAX};

use crate::ClientKey;
use crate::auditor::{Auditor, ClientBook, Standing, author, content};
use crate::clock::{MILLISECOND, SECOND};
use crate::frames::{Heard, error_code, is_normal, member};
use crate::network::Network;
use crate::node::{CHANGED_CONTENT, INBOX_MAX, Node, REVIEWS_PER_NODE_MAX};

/// A client that reads has heard a frame this long after it was published.
pub const OVERDUE_NANOS: u64 = 3 * SECOND;
/// The longest wait between two sweeps, and the way of a request: what a limit that is kept by sweeps may be exceeded by.
const SWEEP_SLACK_NANOS: u64 = 2 * SECOND;
/// Most that the loudest room publishes while its shard is busy and while frames gather.
const BATCH_BYTES_MAX: u64 = 128 * 1_024;
/// Most memory of a room log: what the slowest member may lag behind and what came since the last pass, as much again
/// since freeing is put off until it pays, and twice that since a vector grows by doubling.
const LOG_BYTES_MAX: u64 = 4 * (LAG_BYTES_MAX + BATCH_BYTES_MAX);
/// Most that waits for one connection: its lag behind the room, its own frames, and what came since the last pass.
const CONNECTION_BYTES_MAX: u64 = 2 * LAG_BYTES_MAX + BATCH_BYTES_MAX;

/// The rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checker {
    /// What a client reads is what its room published, or an answer to it.
    Genuine,
    /// A member gets each frame of its room at most once.
    AtMostOnce,
    /// All members get the frames in one order.
    OneOrder,
    /// A member that reads gets every frame, in time.
    ExactlyOnce,
    /// A kick closes, with its reason; after a Close there is nothing; nobody is closed for nothing.
    Ending,
    /// Nothing is published that the sender's token does not allow.
    Grant,
    /// Nothing is published behind a kick that a connection from before it asked for.
    Silence,
    /// Every request is answered once, with an answer that fits.
    Answers,
    /// Logs, inboxes and what waits for a connection stay below their limits.
    Limits,
    /// A message that was denied in review is never published, and no other has other words than its sender's or the
    /// handler's.
    Review,
    /// What a connection says is published in the order in which it was said.
    SenderOrder,
    /// A room that everybody left leaves nothing behind.
    Leftovers,
    /// A room's chat log holds exactly what the room has published, also when the node is killed.
    ChatLog,
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub checker: Checker,
    /// How, for a person.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}", self.checker, self.text)
    }
}

pub(crate) fn ensure(holds: bool, checker: Checker, text: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { checker, text: text() }) }
}

/// Checks a frame at its room's home, and books it.
///
/// # Errors
/// The rule it breaks.
pub fn on_published(
    auditor: &mut Auditor,
    now: u64,
    room: usize,
    json: &str,
    bytes: usize,
) -> Result<(), Violation> {
    let is_denied = auditor.denied.contains(member(json, "Id"));
    ensure(!is_denied, Checker::Review, || format!("denied in review, and published: {json}"))?;
    let request_id = member(json, "RequestId");
    if let Some(client) = author(request_id) {
        let ask = auditor.author(request_id).and_then(|book| Some((book, book.asks.get(request_id)?)));
        let allowed = ask.is_some_and(|(book, ask)| {
            let capability = ask.capability.is_some_and(|needed| book.capabilities.contains(needed));
            let in_time = ask.at < book.session_end + SWEEP_SLACK_NANOS;
            book.room == room && capability && in_time && !ask.invalid
        });
        ensure(allowed, Checker::Grant, || format!("client {client} must not have published {json}"))?;
        let first = ask.is_some_and(|(_, ask)| ask.answers == 0);
        ensure(first, Checker::Answers, || format!("answered before: {json}"))?;
        let kick = ask.and_then(|(book, _)| auditor.kicks(book).next());
        ensure(kick.is_none(), Checker::Silence, || {
            format!("client {client} was kicked at {kick:?}: {json}")
        })?;
        if member(json, "Type") == "MESSAGE" {
            on_message(auditor, request_id, json)?;
        }
    }
    auditor.book_published(now, room, json, bytes);
    Ok(())
}

/// Checks the words and the place of a message that is published.
fn on_message(auditor: &Auditor, request_id: &str, json: &str) -> Result<(), Violation> {
    let is_changed = auditor.changed.contains(member(json, "Id"));
    let expected = if is_changed { CHANGED_CONTENT.to_owned() } else { content(request_id) };
    ensure(member(json, "Content") == expected, Checker::Review, || format!("not {expected}: {json}"))?;
    let said =
        auditor.author(request_id).and_then(|book| Some((book.asks.get(request_id)?.number, book.last_said)));
    ensure(said.is_some_and(|(number, last)| number > last), Checker::SenderOrder, || {
        format!("number and last one {said:?}: {json}")
    })
}

/// Checks what a client reads, and books it.
///
/// # Errors
/// The rule it breaks.
pub fn on_heard(auditor: &mut Auditor, client: ClientKey, heard: &Heard) -> Result<(), Violation> {
    let Some(book) = auditor.clients.get(&client) else { return Ok(()) };
    let missed_kicks = auditor.kicks(book).filter(|(place, _)| *place < book.joined_at_frame);
    let missed_kicks: Vec<String> = missed_kicks.map(|(_, reason)| reason.to_owned()).collect();
    let Auditor { clients, denied, unlogged, .. } = &mut *auditor;
    let Some(book) = clients.get_mut(&client) else { return Ok(()) };
    match (&book.standing, heard) {
        (Standing::Gone, _) => return Ok(()),
        (Standing::Closed, _) => {
            return ensure(false, Checker::Ending, || {
                format!("client {client} reads {heard:?} after its Close")
            });
        }
        (Standing::Kicked(reason), heard) => {
            let right = matches!(heard, Heard::Close(code, text) if is_normal(*code) && text == reason);
            ensure(right, Checker::Ending, || {
                format!("client {client} was kicked for {reason:?} and reads {heard:?}")
            })?;
        }
        (Standing::Open, Heard::Close(code, reason)) => {
            let for_session = book.may_be_closed && reason.starts_with("{\"ErrorCode\":401");
            // A kick that had come by before the client was a member need not show it its event.
            ensure(for_session || missed_kicks.contains(reason), Checker::Ending, || {
                format!("client {client} is closed with {code} {reason:?}, for nothing")
            })?;
        }
        (Standing::Open, _) => {}
    }
    match heard {
        Heard::Close(..) => book.standing = Standing::Closed,
        Heard::Control => {}
        Heard::Text(json) if error_code(json) == 0 => on_room_frame(auditor, client, json)?,
        Heard::Text(json) => on_error(book, (denied, unlogged), client, json)?,
    }
    Ok(())
}

fn on_room_frame(auditor: &mut Auditor, client: ClientKey, json: &str) -> Result<(), Violation> {
    let book = &auditor.clients[&client];
    let place = auditor.rooms[book.room].by_id.get(member(json, "Id")).copied();
    let Some(place) = place else {
        return ensure(false, Checker::Genuine, || format!("client {client} reads what nobody sent: {json}"));
    };
    ensure(!book.heard.contains(&place), Checker::AtMostOnce, || {
        format!("client {client} reads frame {place} twice")
    })?;
    let last = book.heard.last().copied();
    ensure(last.is_none_or(|last| last < place), Checker::OneOrder, || {
        format!("client {client} reads frame {place} after frame {last:?}")
    })?;
    auditor.book_heard(client, place);
    Ok(())
}

fn on_error(
    book: &mut ClientBook,
    (denied, unlogged): (&BTreeSet<String>, &BTreeSet<String>),
    client: ClientKey,
    json: &str,
) -> Result<(), Violation> {
    let request_id = member(json, "RequestId");
    if request_id.is_empty() && error_code(json) == 401 {
        return ensure(book.may_be_closed, Checker::Answers, || format!("client {client}: 401 too early"));
    }
    let Some(ask) = book.asks.get_mut(request_id) else {
        return ensure(false, Checker::Answers, || format!("client {client} never asked for {json}"));
    };
    ask.answers += 1;
    let answers = ask.answers;
    ensure(answers == 1, Checker::Answers, || format!("client {client} is answered again: {json}"))?;
    let allowed = ask.capability.is_none_or(|needed| book.capabilities.contains(needed));
    let fits = match error_code(json) {
        400 => ask.invalid,
        401 => book.may_be_closed,
        403 => !allowed,
        406 => denied.contains(member(json, "Id")),
        429 => true,
        500 => unlogged.contains(request_id),
        _ => false,
    };
    ensure(fits, Checker::Answers, || format!("client {client}, {ask:?}: {json} does not fit"))
}

/// Checks that a connection which its shard has closed was to be closed.
///
/// # Errors
/// The rule it breaks.
pub fn on_closed(
    auditor: &mut Auditor,
    network: &Network,
    now: u64,
    client: ClientKey,
) -> Result<(), Violation> {
    let Some(book) = auditor.clients.get(&client) else { return Ok(()) };
    let blocked_since = network.blocked_since(client);
    let too_long = blocked_since.is_some_and(|since| now - since >= LAG_MS_MAX * MILLISECOND);
    let too_much = blocked_since.is_some() && auditor.unread_bytes(book) > LAG_BYTES_MAX;
    let its_own = book.may_be_closed || matches!(book.standing, Standing::Gone | Standing::Closed);
    ensure(its_own || too_long || too_much, Checker::Ending, || {
        format!("client {client} is dropped, blocked since {blocked_since:?} of {now}")
    })?;
    let has_all = blocked_since.is_none();
    if let Some(book) = auditor.clients.get_mut(&client) {
        match book.standing {
            Standing::Open => book.standing = Standing::Gone,
            // It did not take its Close in time.
            Standing::Kicked(_) if !has_all => book.standing = Standing::Gone,
            _ => {}
        }
    }
    auditor.book_over(client);
    Ok(())
}

/// Checks what must hold at every instant.
///
/// # Errors
/// The rule that is broken.
pub fn on_tick(auditor: &Auditor, node: &Node, network: &Network, now: u64) -> Result<(), Violation> {
    for shard in 0..node.shards() {
        let entries = node.inbox_length(shard);
        ensure(entries <= INBOX_MAX, Checker::Limits, || {
            format!("{entries} entries wait for shard {shard}")
        })?;
    }
    let reviews: usize = (0..node.shards()).map(|shard| node.hub(shard).reviews_waiting()).sum();
    ensure(reviews <= REVIEWS_PER_NODE_MAX, Checker::Limits, || {
        format!("{reviews} messages are under review")
    })?;
    for (client, book) in auditor.open_clients() {
        nothing_is_overdue(auditor, network, now, client, book)?;
        let Some((shard, connection)) = network.connection(client) else { continue };
        let waiting = node.hub(shard).lag_bytes(connection).unwrap_or(0);
        ensure(waiting <= CONNECTION_BYTES_MAX, Checker::Limits, || {
            format!("{waiting} bytes wait for client {client}")
        })?;
        let blocked_nanos = network.blocked_since(client).map_or(0, |since| now - since);
        let blocked_max = LAG_MS_MAX * MILLISECOND + SWEEP_SLACK_NANOS;
        ensure(book.may_be_closed || blocked_nanos <= blocked_max, Checker::Limits, || {
            format!("client {client} has been stuck for {blocked_nanos} ns")
        })?;
    }
    Ok(())
}

fn nothing_is_overdue(
    auditor: &Auditor,
    network: &Network,
    now: u64,
    client: ClientKey,
    book: &ClientBook,
) -> Result<(), Violation> {
    let reads_since = network.stalled_until(client);
    let Some(owed) = auditor.rooms[book.room].frames.get(book.owed_from) else { return Ok(()) };
    // What a kick leaves unread is not owed any more.
    if book.may_be_closed || now < owed.at.max(reads_since) + OVERDUE_NANOS {
        return Ok(());
    }
    ensure(false, Checker::ExactlyOnce, || {
        format!("client {client} has not read frame {} of room {}", book.owed_from, book.room)
    })
}

/// Checks the memory of a room's logs.
///
/// # Errors
/// The rule that is broken.
pub fn on_log(shard: usize, room: &RoomKey, log_bytes: usize) -> Result<(), Violation> {
    ensure(log_bytes as u64 <= LOG_BYTES_MAX, Checker::Limits, || {
        format!("the log of room {} on shard {shard} holds {log_bytes} bytes", room.id)
    })
}

/// Checks, when all is quiet, that every client still open has its answers, and that the kicked are gone.
///
/// # Errors
/// The rule that is broken.
pub fn on_rest(auditor: &Auditor) -> Result<(), Violation> {
    for (client, book) in auditor.open_clients() {
        ensure(!matches!(book.standing, Standing::Kicked(_)), Checker::Ending, || {
            format!("client {client} was kicked and is still there")
        })?;
        let kick = auditor.kicks(book).next();
        ensure(kick.is_none(), Checker::Ending, || {
            format!("client {client} was kicked at {kick:?} on its way to its shard, and is still there")
        })?;
        let open = book.asks.iter().find(|(_, ask)| ask.answers == 0);
        ensure(book.may_be_closed || open.is_none(), Checker::Answers, || {
            format!("client {client} got no answer: {open:?}")
        })?;
    }
    Ok(())
}

/// Checks, when everybody has left, that nothing is left behind: `published` tells whether a room's home still believes
/// that somebody is there.
///
/// # Errors
/// The rule that is broken.
pub fn on_end(node: &Node, published: bool) -> Result<(), Violation> {
    let connections: usize = (0..node.shards()).map(|shard| node.hub(shard).connections()).sum();
    ensure(connections == 0, Checker::Leftovers, || format!("{connections} connections are left"))?;
    ensure(!published, Checker::Leftovers, || "a room's home still counts members".to_owned())?;
    let roll = (0..node.shards()).find(|shard| !node.hub(*shard).roll().is_empty());
    ensure(roll.is_none(), Checker::Leftovers, || format!("the roll of shard {roll:?} is not empty"))?;
    let waiting: usize = (0..node.shards()).map(|shard| node.hub(shard).reviews_waiting()).sum();
    ensure(waiting == 0, Checker::Leftovers, || format!("{waiting} messages still wait for their review"))
}
