//! The auditor's books: what every room has published, what every client is owed, has heard and has asked for.
//!
//! It hears of a frame where the room's home publishes it, before any shard's inbox, and again where a client reads it.
//! What must hold between the two is written in [`crate::checkers`].

use std::collections::{BTreeMap, BTreeSet};

use protocol::capability::{Capabilities, Capability};

use crate::ClientKey;
use crate::clock::MILLISECOND;
use crate::frames::member;

/// How old a frame may be that a shard has not offered to its members yet: it was busy, and on its way, and gathered.
const UNFLUSHED_NANOS_MAX: u64 = 300 * MILLISECOND;

/// A frame as the room's home published it.
#[derive(Debug)]
pub struct Published {
    /// When.
    pub at: u64,
    /// How long it is.
    pub bytes: u64,
    /// The user whose connections it ends, and the reason that their Close must give.
    pub disconnects: Option<(String, String)>,
}

/// A room's frames, in the one order that all must see.
#[derive(Debug, Default)]
pub struct RoomBook {
    /// In order.
    pub frames: Vec<Published>,
    /// The places of the frames, by their ids.
    pub by_id: BTreeMap<String, usize>,
}

/// Where a client stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Reads.
    Open,
    /// Has read the event that ends its connection: the Close with this reason must follow.
    Kicked(String),
    /// Has read a Close: nothing must follow.
    Closed,
    /// Has hung up, or has been cut off: whatever it did not read it is not owed.
    Gone,
}

/// What a client has asked for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// What it needs; `None` for nonsense.
    pub capability: Option<Capability>,
    /// It can only be refused: nonsense, or too long.
    pub invalid: bool,
    /// When it was sent.
    pub at: u64,
    /// How often it was answered, by an ERROR or by its frame.
    pub answers: u32,
    /// In the order in which its client asked, from 1.
    pub number: usize,
}

/// All about one client.
#[derive(Debug)]
pub struct ClientBook {
    /// Its room's number.
    pub room: usize,
    /// From its token.
    pub user_id: String,
    /// From its token.
    pub capabilities: Capabilities,
    /// From its token, on the monotonic clock.
    pub session_end: u64,
    /// Its shard.
    pub shard: usize,
    /// See [`Standing`].
    pub standing: Standing,
    /// The places of the frames it has heard.
    pub heard: BTreeSet<usize>,
    /// The first frame that its room published after its home had placed it: a kick from then on is for it.
    pub placed_at_frame: usize,
    /// The first frame that was delivered to its shard after it became a member.
    pub joined_at_frame: usize,
    /// All frames before this one it has heard or is not owed.
    pub owed_from: usize,
    /// Its requests, by RequestId.
    pub asks: BTreeMap<String, Ask>,
    /// The server may close it for what it did.
    pub may_be_closed: bool,
    /// The number of its latest message that was published; 0 before.
    pub last_said: usize,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Auditor {
    /// By room number.
    pub rooms: Vec<RoomBook>,
    /// By client.
    pub clients: BTreeMap<ClientKey, ClientBook>,
    /// Those whose connection is no more; what they asked for may still be published.
    pub former_clients: BTreeMap<ClientKey, ClientBook>,
    /// The ids of messages that were denied in review, or failed in it where that is to deny.
    pub denied: BTreeSet<String>,
    /// The ids of messages that got other words in review.
    pub changed: BTreeSet<String>,
    /// The RequestIds of what was refused since it could not be logged.
    pub unlogged: BTreeSet<String>,
}

impl Auditor {
    /// Books for so many rooms.
    #[must_use]
    pub fn new(rooms: usize) -> Self {
        Self { rooms: (0..rooms).map(|_| RoomBook::default()).collect(), ..Self::default() }
    }

    /// Books a frame that a room's home publishes.
    pub fn book_published(&mut self, now: u64, room: usize, json: &str, bytes: usize) {
        let kicks = member(json, "EventName") == "aws:DISCONNECT_USER";
        let disconnects =
            kicks.then(|| (member(json, "UserId").to_owned(), member(json, "Reason").to_owned()));
        if let Some((user_id, _)) = &disconnects {
            let victims = self.clients.values_mut();
            for victim in victims.filter(|client| client.room == room && client.user_id == *user_id) {
                victim.may_be_closed = true;
            }
        }
        let book = &mut self.rooms[room];
        book.by_id.insert(member(json, "Id").to_owned(), book.frames.len());
        book.frames.push(Published { at: now, bytes: bytes as u64, disconnects });
        let is_message = member(json, "Type") == "MESSAGE";
        if let Some(book) = self.author_mut(member(json, "RequestId"))
            && let Some(ask) = book.asks.get_mut(member(json, "RequestId"))
        {
            ask.answers += 1;
            if is_message {
                book.last_said = ask.number;
            }
        }
    }

    /// Books a frame of the room that a client has heard.
    pub fn book_heard(&mut self, client: ClientKey, place: usize) {
        let Some(book) = self.clients.get_mut(&client) else { return };
        let frames = &self.rooms[book.room].frames;
        book.heard.insert(place);
        while book.owed_from < frames.len() && book.heard.contains(&book.owed_from) {
            book.owed_from += 1;
        }
        // One who was placed after the kick may still read its event, and stays. One who was on the way to its shard
        // may read it too, and is closed when the shard has asked.
        if let Some((user_id, reason)) = &frames[place].disconnects
            && *user_id == book.user_id
            && place >= book.joined_at_frame.max(book.placed_at_frame)
        {
            book.standing = Standing::Kicked(reason.clone());
        }
    }

    /// Opens a client's book when it becomes a member: its shard gets the room's frames from `joined_at_frame` on.
    pub fn book_joined(&mut self, client: ClientKey, mut book: ClientBook) {
        let kicked = self.kicks(&book).next().is_some();
        book.may_be_closed |= kicked;
        self.clients.insert(client, book);
    }

    /// The reasons of the kicks that end a client's connection, each with its frame's place.
    pub fn kicks<'a>(&'a self, book: &'a ClientBook) -> impl Iterator<Item = (usize, &'a str)> {
        let frames = self.rooms[book.room].frames.iter().enumerate().skip(book.placed_at_frame);
        let kicks = frames.filter_map(|(place, frame)| Some((place, frame.disconnects.as_ref()?)));
        kicks
            .filter(|(_, (user_id, _))| *user_id == book.user_id)
            .map(|(place, (_, reason))| (place, &**reason))
    }

    /// A client's user goes on with another connection: the two together miss nothing.
    pub fn book_replaced(&mut self, old: ClientKey, new: ClientKey) {
        let Some(old) = self.clients.get(&old).filter(|old| old.standing == Standing::Open) else { return };
        let owed_from = old.owed_from;
        if let Some(new) = self.clients.get_mut(&new) {
            new.owed_from = new.owed_from.min(owed_from);
            while new.heard.contains(&new.owed_from) {
                new.owed_from += 1;
            }
        }
    }

    /// The node was killed: nobody expects anything more.
    pub fn book_killed(&mut self) {
        for (client, mut book) in std::mem::take(&mut self.clients) {
            book.standing = Standing::Gone;
            self.former_clients.insert(client, book);
        }
    }

    /// Puts the book of a client away whose connection is no more and who expects nothing more.
    pub fn book_over(&mut self, client: ClientKey) {
        if let Some(book) = self.clients.remove(&client) {
            let over = matches!(book.standing, Standing::Gone | Standing::Closed);
            let books = if over { &mut self.former_clients } else { &mut self.clients };
            books.insert(client, book);
        }
    }

    /// The client that a RequestId names, whether it is still there or not.
    #[must_use]
    pub fn author(&self, request_id: &str) -> Option<&ClientBook> {
        let client = author(request_id)?;
        self.clients.get(&client).or_else(|| self.former_clients.get(&client))
    }

    fn author_mut(&mut self, request_id: &str) -> Option<&mut ClientBook> {
        let client = author(request_id)?;
        self.clients.get_mut(&client).or_else(|| self.former_clients.get_mut(&client))
    }

    /// Bytes of its room's frames that may wait for a client: all behind the last one it has read. One who has read none
    /// may also wait for what its shard had not flushed yet when it joined.
    #[must_use]
    pub fn unread_bytes(&self, client: &ClientBook) -> u64 {
        let frames = &self.rooms[client.room].frames;
        let first = client.heard.last().map_or_else(
            || {
                let joined_at = frames.get(client.joined_at_frame).map_or(0, |frame| frame.at);
                frames.partition_point(|frame| frame.at + UNFLUSHED_NANOS_MAX < joined_at)
            },
            |last| last + 1,
        );
        frames.iter().skip(first).map(|frame| frame.bytes).sum()
    }

    /// The clients that have neither hung up nor been closed.
    pub fn open_clients(&self) -> impl Iterator<Item = (ClientKey, &ClientBook)> {
        let all = self.clients.iter().map(|(client, book)| (*client, book));
        all.filter(|(_, book)| matches!(book.standing, Standing::Open | Standing::Kicked(_)))
    }
}

/// The RequestId of a client's request number so-and-so.
#[must_use]
pub fn request_id(client: ClientKey, number: usize) -> String {
    format!("c{client}-{number}")
}

/// What the message of a request says.
#[must_use]
pub fn content(request_id: &str) -> String {
    format!("{request_id} é")
}

/// The client that a RequestId names.
#[must_use]
pub fn author(request_id: &str) -> Option<ClientKey> {
    request_id.strip_prefix('c')?.split_once('-')?.0.parse().ok()
}
