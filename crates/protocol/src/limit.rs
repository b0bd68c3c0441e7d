//! Every size, count and rate that is allowed, with its unit, its source and what happens when it is met.
//!
//! "Model" is the public service model of Amazon IVS Chat (API 2020-07-14); "guide" is its user guide; what has no
//! source is ours. Settings may change a few of them; the names here are the defaults.

/// Account-independent limits of request members and resources.
pub mod member {
    /// Longest room or logging configuration name, in characters. Model.
    pub const NAME_LENGTH_MAX: usize = 128;
    /// Longest ARN, in characters. Model.
    pub const ARN_LENGTH_MAX: usize = 128;
    /// Longest message review handler ARN, in characters. Model.
    pub const HANDLER_URI_LENGTH_MAX: usize = 170;
    /// Most logging configurations of one room. Model.
    pub const LOGGING_CONFIGURATIONS_PER_ROOM_MAX: usize = 3;
    /// Longest message a room may allow, in code points; also the default. Model.
    pub const MESSAGE_LENGTH_MAX: u32 = 500;
    /// Highest rate a room may allow, in messages per second over all senders. Model.
    pub const MESSAGE_RATE_MAX: u32 = 100;
    /// The rate of a room that was created without one, in messages per second. Guide.
    pub const MESSAGE_RATE_DEFAULT: u32 = 10;
    /// Longest page token, in characters. Model.
    pub const PAGE_TOKEN_LENGTH_MAX: usize = 1_024;
    /// Most entries of one page; also the default. Model.
    pub const PAGE_SIZE_MAX: usize = 50;
    /// Most tags of one resource, also after a change. Model.
    pub const TAGS_MAX: usize = 50;
    /// Longest tag key, in characters. Model.
    pub const TAG_KEY_LENGTH_MAX: usize = 128;
    /// Longest tag value, in characters. Model.
    pub const TAG_VALUE_LENGTH_MAX: usize = 256;
    /// Longest user id, in characters. Model.
    pub const USER_ID_LENGTH_MAX: usize = 128;
    /// Shortest S3 bucket name, in characters. Model.
    pub const BUCKET_NAME_LENGTH_MIN: usize = 3;
    /// Longest S3 bucket name, in characters. Model.
    pub const BUCKET_NAME_LENGTH_MAX: usize = 63;
    /// Longest CloudWatch Logs log group name, in characters. Model.
    pub const LOG_GROUP_NAME_LENGTH_MAX: usize = 512;
    /// Longest Firehose delivery stream name, in characters. Model.
    pub const DELIVERY_STREAM_NAME_LENGTH_MAX: usize = 64;
    /// Longest reason for a deletion or disconnection, in characters. Model; applied to socket actions as well.
    pub const REASON_LENGTH_MAX: usize = 256;
    /// Longest event name, in characters. Model.
    pub const EVENT_NAME_LENGTH_MAX: usize = 100;
    /// Longest session, in minutes. Model.
    pub const SESSION_MINUTES_MAX: u32 = 180;
    /// A session that was asked for without a duration, in minutes. Guide.
    pub const SESSION_MINUTES_DEFAULT: u32 = 60;
    /// Attributes of a chat token or a message: bytes of UTF-8, keys plus values. Guide (1 KB).
    pub const ATTRIBUTES_BYTES_MAX: usize = 1_024;
    /// Attributes of SendEvent: bytes of UTF-8, keys plus values. Guide (4 KB since 19 November 2025; the model's
    /// documentation still says 1 KB).
    pub const EVENT_ATTRIBUTES_BYTES_MAX: usize = 4_096;
    /// Longest RequestId of a socket action, in bytes. Ours: the SDKs send UUIDs of 36.
    pub const REQUEST_ID_BYTES_MAX: usize = 256;
}

/// The messaging edge.
pub mod edge {
    /// Requests per second of one connection, whatever their action; beyond it ERROR 429. Guide.
    pub const REQUESTS_PER_SECOND: u32 = 10;
    /// Frames per second of one connection, of any kind, after a second's worth at once; an attempt to read one that is
    /// not whole yet counts as well. Beyond it the connection is read more slowly, and nothing is refused: a message in
    /// more fragments than that is legal, and takes its time. Clients send a few requests a second, and a ping or pong
    /// in half a minute. Ours.
    pub const FRAMES_PER_SECOND: u32 = 1_000;
    /// So many compressed bytes of a message count as one more frame: a message that says next to nothing can be long to
    /// inflate, up to half a microsecond a byte. Ours.
    pub const DEFLATED_BYTES_PER_FRAME: usize = 64;
    /// So many bytes that a compressed message says count as one more frame: what takes 16 KiB to be said as it is can be
    /// said compressed in some 50 bytes, and is as much work to read. Ours.
    pub const INFLATED_BYTES_PER_FRAME: usize = 256;
    /// How long a connection is not read once it has sent more frames than that, in milliseconds.
    pub const FRAME_PAUSE_MS: u64 = 100;
    /// Longest text that is compressed for those who take that, in bytes; longer ones are sent as they are. Nothing in it can
    /// refer farther back than clients are ready for that ask for a window of [`DEFLATE_WINDOW_BITS_MIN`].
    pub const DEFLATED_BYTES_MAX: usize = 1 << DEFLATE_WINDOW_BITS_MIN;
    /// A client that wants a smaller window than two to the power of this gets nothing compressed. RFC 7692 allows 8 to 15.
    pub const DEFLATE_WINDOW_BITS_MIN: u8 = 12;
    /// Longest client frame or message, in bytes, compressed or not; beyond it Close 1009.
    pub const MESSAGE_BYTES_MAX: usize = 16 * 1_024;
    /// Longest head of a handshake, in bytes; beyond it 431.
    pub const HANDSHAKE_BYTES_MAX: usize = 16 * 1_024;
    /// Connections that may wait in the kernel to be accepted; it may allow fewer.
    pub const LISTEN_BACKLOG: i32 = 4_096;
    /// How long a handshake is held while the store cannot answer, in seconds; beyond it 503. Official SDKs give up
    /// for good after four refused handshakes within milliseconds, so waiting is better than refusing.
    pub const HANDSHAKE_HOLD_SECONDS_MAX: u64 = 60;
    /// A handshake that takes longer is closed (while the server itself holds it, the clock stands), in seconds.
    pub const HANDSHAKE_SECONDS_MAX: u64 = 30;
    /// Unfinished handshakes at once, as a share of the process's file descriptors, in percent; beyond it the
    /// oldest is closed.
    pub const HANDSHAKES_PERCENT_OF_DESCRIPTORS: u64 = 20;
    /// A connection may lag behind its room log by this many bytes; beyond it the connection is dropped.
    pub const LAG_BYTES_MAX: u64 = 256 * 1_024;
    /// … or by this many milliseconds.
    pub const LAG_MS_MAX: u64 = 10_000;
    /// The kernel's send buffer of a connection, in bytes.
    pub const SEND_BUFFER_BYTES: usize = 256 * 1_024;
    /// Seconds without a byte from the peer after which it is pinged at the latest.
    pub const PING_AFTER_SECONDS: u64 = 30;
    /// By up to so many seconds less one, some are pinged earlier than others.
    pub const PING_SPREAD_SECONDS: u64 = 10;
    /// Seconds without a byte from the peer after which it is dropped.
    pub const DEAD_AFTER_SECONDS: u64 = 75;
    /// Seconds between ERROR 401 and Close at the end of a session.
    pub const SESSION_END_GRACE_SECONDS: u64 = 5;
    /// How long the answer to a handshake (101) is held while the user has another connection to the room, in
    /// milliseconds. Official SDKs renew a token by opening a new connection, and stop listening to the old one as soon
    /// as the new one is open: frames that were still on their way to the old one would be lost. Nobody waits for a
    /// renewal, so this can be longer than frames usually take. Ours.
    pub const RENEWAL_HOLD_MS: u64 = 250;
    /// Joins of one user to one room that may come at once; beyond it the answers to further ones are held. A user with
    /// twenty tabs, or whose network comes and goes, never gets there. Ours.
    pub const JOIN_BURST: u32 = 50;
    /// Joins per second of one user to one room that are answered once the burst is used up: each further one is held
    /// a tenth of a second longer than the one before, up to [`JOIN_HOLD_MS_MAX`]. None is refused. Ours.
    pub const JOINS_PER_SECOND: u32 = 10;
    /// Longest hold of a join that comes in a hot loop, in milliseconds: shorter than [`LAG_MS_MAX`], since what the
    /// room sends meanwhile waits as for a slow reader. Ours.
    pub const JOIN_HOLD_MS_MAX: u64 = 4_000;
    /// Users whose latest joins a shard remembers; it forgets each within ten seconds. Joins of others beyond it are
    /// not held. Ours.
    pub const JOIN_PACES_MAX: usize = 65_536;
    /// The coalescing window, in milliseconds: after a frame has left at once, a room's frames gather this long.
    pub const COALESCING_WINDOW_MS: u64 = 40;
    /// A pass over a big room yields to the shard's other work after about this many microseconds.
    pub const PASS_QUANTUM_MICROS: u64 = 1_000;
    /// Members up to which a room stays on its home shard; beyond it new members spread over all shards.
    pub const HOME_SHARD_MEMBERS_MAX: u32 = 256;
    /// Connections that wait for one shard to adopt them; beyond it the acceptor waits, and with it the clients.
    pub const ARRIVALS_MAX: usize = 1_024;
    /// Rooms that wait to have their settings read again; more are asked for again by their shard.
    pub const ROOM_LOADS_MAX: usize = 1_024;
    /// Headers of a handshake; beyond it 431.
    pub const HANDSHAKE_HEADERS_MAX: usize = 64;
    /// Entries of a shard's inbox up to which client and control-plane requests are taken; beyond it ERROR 429.
    pub const INBOX_REQUESTS_MAX: usize = 8_192;
    /// Entries of a shard's inbox up to which rooms may publish to it; beyond it the publisher gets ERROR 429.
    pub const INBOX_DELIVERIES_MAX: usize = 12_288;
    /// Entries of a shard's inbox; the rest is for what must not be lost, and what waits for room instead.
    pub const INBOX_MAX: usize = 16_384;
}

/// The control plane.
pub mod control {
    /// Longest request body, in bytes; beyond it a typed 413.
    pub const BODY_BYTES_MAX: usize = 64 * 1_024;
    /// Request line and headers together, in bytes; beyond it a typed 431.
    pub const HEAD_BYTES_MAX: usize = 32 * 1_024;
    /// What is read of a head that goes on and on before it is a typed 431 too, in bytes.
    pub const HEAD_BUFFER_BYTES: usize = 2 * HEAD_BYTES_MAX;
    /// Headers of one request; beyond it a typed 431. SDKs send about a dozen.
    pub const HEADERS_MAX: usize = 100;
    /// What is read and thrown away of an over-large body, in bytes, so that the client gets to see the typed 413
    /// instead of a broken connection; beyond it the connection is closed with the answer.
    pub const BODY_DISCARD_BYTES_MAX: u64 = 16 * 1_024 * 1_024;
    /// Open connections; beyond it an idle one makes room for a new one.
    pub const CONNECTIONS_MAX: usize = 1_024;
    /// What a connection has for a TLS handshake and its first request before it may have to make room for another one, in
    /// milliseconds: two round trips around the world are shorter.
    pub const STRANGER_MS_MIN: u64 = 500;
    /// The same as a share of the process's file descriptors, in percent; the lesser of both counts. What is left
    /// over is for chat: idle connections of the control plane must not keep it out.
    pub const CONNECTIONS_PERCENT_OF_DESCRIPTORS: u64 = 20;
    /// Age at which a connection is closed once it is idle, in seconds: so nobody keeps one of those places for ever.
    pub const CONNECTION_SECONDS_MAX: u64 = 600;
    /// Failing members that the message of a ValidationException repeats from its `fieldList`, which has them all.
    pub const FAILURES_IN_MESSAGE_MAX: usize = 20;
    /// Answers to ListRooms that are kept until the store changes, in bytes with all that goes with them; some 200 pages of 50
    /// rooms.
    pub const KEPT_PAGES_BYTES_MAX: usize = 4 * 1_024 * 1_024;
    /// What goes with one of them, in bytes: which page it is (account, region, name and handler have up to 400), and its place.
    pub const KEPT_PAGE_OVERHEAD_BYTES: usize = 768;
    /// A request whose head or body takes longer to arrive is closed, in seconds.
    pub const REQUEST_SECONDS_MAX: u64 = 30;
    /// JSON nesting that is looked into; deeper bodies are a typed 400.
    pub const JSON_DEPTH_MAX: usize = 32;
    /// How far a request's date may be from the server's clock, in seconds. Signature Version 4.
    pub const CLOCK_SKEW_SECONDS_MAX: u64 = 300;
    /// Longest life of a presigned request, in seconds (`X-Amz-Expires`). Signature Version 4: seven days.
    pub const PRESIGNED_SECONDS_MAX: u64 = 604_800;
    /// Longest region in a credential scope, in characters; the longest of AWS has 14. With it, no ARN of ours is
    /// longer than the model allows.
    pub const REGION_LENGTH_MAX: usize = 32;
}

/// The audit log.
pub mod audit {
    /// Lines that wait to be written. Beyond it callers of the control plane wait, and lines of moderators are lost.
    pub const AUDIT_LINES_WAITING_MAX: usize = 4_096;
    /// Lines are gathered into one write until they have so many bytes.
    pub const AUDIT_BATCH_BYTES_MAX: usize = 256 * 1_024;
    /// What a line shows of the members of a request, and of those of an answer, in bytes: about what any that is right can have.
    /// The rest is left out.
    pub const AUDIT_BODY_BYTES_MAX: usize = 16 * 1_024;
    /// A caller waits this long for its line, in seconds, and is then answered without it.
    pub const AUDIT_WRITE_SECONDS_MAX: u64 = 5;
}

/// File descriptors. Some are kept from connections of clients: while only those are left, whoever connects waits.
pub mod descriptors {
    /// Kept for calls to others and their connections: message review handlers, destinations of chat logs. The files of chat
    /// logs that may be open come to these (`chat_log::SEGMENTS_OPEN_MAX`). More calls may be made; they then take what is
    /// kept for others. Ours.
    pub const OF_CALLS: u64 = 256;
    /// Kept for all else that is opened: the store, certificates, files that are read or synced, a next process. Ours.
    pub const OF_OTHERS: u64 = 64;
    /// Kept for connections to the admin port: who watches gets in though a crowd of clients does not. Ours.
    pub const OF_WATCHERS: u64 = super::admin::CONNECTIONS_MAX as u64;
    /// All of this together is this share of the process's descriptors at most, in percent. Ours.
    pub const KEPT_PERCENT_MAX: u64 = 25;
}

/// The admin port; what is not here is as for the control plane.
pub mod admin {
    /// Open connections; beyond it an idle one makes room for a new one. A few probes and a collector of metrics need no more.
    pub const CONNECTIONS_MAX: usize = 32;
    /// The same as a share of the process's file descriptors, in percent; the lesser of both counts.
    pub const CONNECTIONS_PERCENT_OF_DESCRIPTORS: u64 = 5;
}

/// The moment at which one process of the server gives way to the next one, or ends.
pub mod hand_over {
    /// How long a new connection that has been accepted already may take to say what it wants, in milliseconds; beyond
    /// it an API connection is closed, and a handshake is left unanswered. Clients speak as soon as they are connected.
    pub const FIRST_WORD_MS_MAX: u64 = 1_000;
    /// How long a server waits before it tries again to open the store that it had closed for a next process, in
    /// milliseconds.
    pub const REOPEN_PAUSE_MS: u64 = 500;
    /// Longest description of inherited sockets, in bytes; a longer one is none of ours.
    pub const DESCRIPTION_BYTES_MAX: usize = 1_024;
    /// Most sockets that a process can inherit: more than there are ports, so that one that is too many can be named.
    pub const SOCKETS_MAX: usize = 64;
}

/// Answers that a client gets before it has said everything, on all ports.
pub mod refusal {
    /// What is then read and thrown away, in bytes; beyond it the connection is closed. Enough for what is under way.
    pub const LINGER_BYTES_MAX: u64 = 1_024 * 1_024;
    /// How long a client may take to hang up, in seconds; beyond it the connection is closed.
    pub const LINGER_SECONDS_MAX: u64 = 5;
}

/// Chat tokens.
pub mod token {
    /// Longest life of a token, in seconds; shorter when the session is. Observed on the service: 60 minutes.
    pub const LIFE_SECONDS_MAX: u64 = 3_600;
    /// The share of a token's life that is taken off at random, in percent, so that a crowd which joined together
    /// does not refresh together.
    pub const LIFE_JITTER_PERCENT_MAX: u64 = 10;
    /// How long a key seals before the next one takes its place, in seconds.
    pub const KEY_SEALS_SECONDS: u64 = 24 * 3_600;
    /// How long a key still opens after another one took its place, in seconds: longer than any chat token lives.
    pub const KEY_OPENS_SECONDS: u64 = 2 * 3_600;
    /// How long CreateChatToken is held while the store cannot answer, in seconds. Official SDKs renew a token by asking for
    /// one, and drop a healthy connection too when that is refused.
    pub const STORE_HOLD_SECONDS_MAX: u64 = 20;
    /// How often a server looks whether another one on the same store has made a key that it does not know, in
    /// milliseconds; who brings an unknown key more often is refused without a look.
    pub const KEY_LOOK_INTERVAL_MS: u64 = 500;
    /// Longest text of a token, in bytes. Claims at all their limits need less; longer texts are not looked at.
    pub const TEXT_BYTES_MAX: usize = 4_096;
}

/// The store.
pub mod store {
    /// Writes that wait for the writer; beyond it the caller is told at once that the store is not available.
    pub const WRITES_WAITING_MAX: usize = 4_096;
    /// The longest that a group of writes waits for those who were just answered, in milliseconds.
    pub const GATHER_MS_MAX: u64 = 10;
    /// Writes of one commit; the rest goes with the next. It bounds what one failed commit can take down with it.
    pub const GROUP_WRITES_MAX: usize = 512;
    /// Reads that wait for a reader; beyond it the caller is told at once that the store is not available.
    pub const READS_WAITING_MAX: usize = 4_096;
    /// Threads of the store's own that read, whatever the number of cores, each with a connection. One connection fewer
    /// is there for reads in place. Each costs its page cache.
    pub const READERS_MAX: usize = 8;
    /// Page cache of the writer, in KiB.
    pub const WRITER_CACHE_KIB: i64 = 16 * 1_024;
    /// Page cache of each reader, in KiB.
    pub const READER_CACHE_KIB: i64 = 4 * 1_024;
    /// Prepared statements that a connection keeps; more than the store has, so that none is ever prepared twice.
    pub const STATEMENTS_PER_CONNECTION: usize = 64;
    /// Pages of the write-ahead log after which they are copied into the main file and the log starts over; 4 KiB
    /// each. A reader that stays longer than usual (a check) lets the log grow past it meanwhile.
    pub const WAL_PAGES_MAX: i64 = 4_096;
    /// The first wait before a store that failed is opened again, in milliseconds; doubled up to the next limit.
    pub const REOPEN_BACKOFF_MS_MIN: u64 = 10;
    /// The longest wait before a store that failed is opened again, in milliseconds.
    pub const REOPEN_BACKOFF_MS_MAX: u64 = 1_000;
    /// Scopes whose numbers are kept in memory, some 100 bytes each; those of others are looked up for each list.
    pub const SCOPES_KNOWN_MAX: usize = 1_024;
    /// Tags of a room, in bytes of JSON, that are carried in each of its up to 16 postings; longer ones are looked up
    /// in the room when it is listed.
    pub const TAGS_CARRIED_BYTES_MAX: usize = 400;
    /// Redemptions that wait to be written; beyond it the caller is told at once that the store is not available.
    pub const REDEMPTIONS_WAITING_MAX: usize = 16_384;
    /// Used chat tokens that have not expired, of all rooms; while there are more, handshakes are held. 39 bytes of
    /// memory each.
    pub const REDEMPTIONS_KNOWN_MAX: usize = 16_000_000;
    /// Redemptions that are written at once.
    pub const REDEMPTIONS_PER_WRITE_MAX: usize = 1_024;
    /// A redemption is synced to the disk this many milliseconds after it was written: with all others of that time, and
    /// behind the back of those who are let in. A power cut may forget what it has not reached.
    pub const REDEMPTION_SYNC_INTERVAL_MS: u64 = 100;
    /// Files of redemptions that wait to be synced: more than the tokens of an hour have.
    pub const REDEMPTION_SYNCS_WAITING_MAX: usize = 64;
    /// Redeemed chat tokens are kept, and dropped, by the part of this many seconds in which they expire.
    pub const REDEMPTION_BUCKET_SECONDS: i64 = 600;
    /// Discrepancies that one check lists.
    pub const DISCREPANCIES_MAX: usize = 1_000;
}

/// A whole store on its way into another one. Figures of ours.
pub mod transfer {
    /// Rooms, or logging configurations, that are read and written at once.
    pub const RESOURCES_PER_BATCH: usize = 500;
    /// Used chat tokens that are read and written at once.
    pub const TOKENS_PER_BATCH: usize = 10_000;
    /// Batches that wait on each half of the way; then whoever reads waits for whoever writes.
    pub const BATCHES_WAITING_MAX: usize = 2;
    /// Page cache of an embedded store that is being made, in KiB; it matters for one that is filled. Rooms come in no order that its lists know, so
    /// every page that does not fit is read again and again.
    pub const CACHE_KIB: i64 = 256 * 1_024;
}

/// The store in a PostgreSQL database. Figures of ours.
pub mod postgres {
    /// Groups of writes of rooms that one server brings to the database at the same time. Each has a connection.
    pub const WRITERS_MAX: usize = 4;
    /// Writes of rooms in one group, which is one transaction.
    pub const GROUP_WRITES_MAX: usize = 64;
    /// Connections of one server for what else waits for the database's disk: writes of logging configurations and keys, and
    /// those of rooms that others are changing at the same time.
    pub const WRITE_CONNECTIONS_MAX: usize = 8;
    /// Of them, those that wait for rooms which others are changing.
    pub const WRITES_ALONE_MAX: usize = 4;
    /// Connections of one server for what does not: reads, and the use of chat tokens. There is one more, which asks what
    /// other servers did.
    pub const READ_CONNECTIONS_MAX: usize = 8;
    /// Requests that wait for a connection of either kind; beyond it the caller is told at once that the store is not available.
    pub const REQUESTS_WAITING_MAX: usize = 4_096;
    /// How long a request waits for a connection, in milliseconds; then it is told that the store is not available.
    pub const CONNECTION_WAIT_MS_MAX: u64 = 2_000;
    /// How long it may take to connect, in milliseconds, unless the address says otherwise (`connect_timeout`).
    pub const CONNECT_MS_MAX: u64 = 2_000;
    /// After a connection could not be made, all requests are refused at once for so long, in milliseconds. Then one
    /// tries, and so on.
    pub const RECONNECT_MS: u64 = 200;
    /// How long one try of a request may take, in milliseconds.
    pub const TRY_MS_MAX: u64 = 5_000;
    /// How long one statement may take, in milliseconds; the database itself ends it then.
    pub const STATEMENT_MS_MAX: u64 = 4_000;
    /// For how long the connection of a transaction that was given up is kept while the database does not end that, in
    /// seconds; then it is closed.
    pub const GIVEN_UP_SECONDS_MAX: u64 = 60;
    /// How often a request is tried when others are at work at the same things; then the caller is told that the store
    /// is not available.
    pub const TRIES_MAX: u32 = 12;
    /// The longest wait before the next try, in milliseconds.
    pub const TRY_PAUSE_MS_MAX: u64 = 100;
    /// How often a server asks what others did to rooms, in milliseconds.
    pub const NEWS_INTERVAL_MS: u64 = 250;
    /// For how long it is kept what was done to rooms, in seconds: a server that could not ask for longer may have missed
    /// some, and reads the rooms that it has open again.
    pub const NEWS_KEPT_SECONDS: i64 = 300;
    /// How often old news and redemptions are dropped, in seconds.
    pub const SWEEP_INTERVAL_SECONDS: u64 = 60;
    /// Rows that are dropped by one statement.
    pub const SWEEP_ROWS_MAX: i64 = 5_000;
    /// Rooms that are read at once where many are: for news, checks and repairs.
    pub const ROOMS_PER_READ_MAX: usize = 500;
}

/// Chat logs: the spool on disk, and the limits of the destinations.
pub mod chat_log {
    /// Disk that the spool of one logging configuration may take, in MiB; beyond it chat goes on, and its new records are
    /// lost, loudly. The setting `chatlog.spool_mib_max` changes it. Ours.
    pub const SPOOL_MIB_MAX: u64 = 10 * 1_024;
    /// A spool file that has grown beyond this many bytes is followed by another one. Ours.
    pub const SEGMENT_BYTES_MAX: u64 = 8 * 1_024 * 1_024;
    /// … or beyond its part of what the spool may have, if that is less: of a file, what is shipped stays on disk until
    /// all of it is. Ours.
    pub const SEGMENTS_OF_A_FULL_SPOOL: u64 = 64;
    /// A spool file that is written to is removed once all of it is shipped, if it is larger than this many bytes. Ours.
    pub const SHIPPED_BYTES_MAX: u64 = 1_024 * 1_024;
    /// … whatever its size when nothing was written to the spool for so long, in milliseconds. Ours.
    pub const IDLE_MS_MAX: u64 = 60_000;
    /// Spool files that all shards together have open for writing (and three for each shard in any case); beyond it one that
    /// was not written to for long is closed, and opened when it is needed. Ours.
    pub const SEGMENTS_OPEN_MAX: usize = 256;
    /// Longest record, in bytes, far more than any frame needs; what claims to be longer is damage. Ours.
    pub const RECORD_BYTES_MAX: usize = 256 * 1_024;
    /// How long after a record was written its file is synced, in milliseconds, and what has been written meanwhile with
    /// it. Half of what is promised; the other half is for the disk. Ours.
    pub const SYNC_INTERVAL_MS: u64 = 50;
    /// Files that wait for a sync; the next record asks again. Ours.
    pub const SYNCS_WAITING_MAX: usize = 65_536;
    /// Records that are read and shipped at once, in bytes. It bounds what objects of S3 hold. Ours.
    pub const BATCH_BYTES_MAX: usize = 16 * 1_024 * 1_024;
    /// … and their number. A PutLogEvents takes 10,000. AWS.
    pub const BATCH_RECORDS_MAX: usize = 50_000;
    /// What batches that are shipped at once may have together, in [`SHIPMENT_UNIT_BYTES`], to destinations that took
    /// something the last time: 128 MiB. Ours.
    pub const SHIPMENT_UNITS_MAX: u32 = 512;
    /// Each batch counts as this many bytes at least. Ours.
    pub const SHIPMENT_UNIT_BYTES: usize = 256 * 1_024;
    /// The same of batches for destinations that took some of one the last time, and not all: 32 MiB. They wait for each other,
    /// and for nobody else. Ours.
    pub const RETRY_UNITS_MAX: u32 = 128;
    /// Batches that are shipped at once to destinations that took nothing the last time. They are small, and keep nobody else
    /// waiting. Ours.
    pub const PROBES_MAX: usize = 64;
    /// Records of such a batch, in bytes. Ours.
    pub const PROBE_BYTES_MAX: usize = 256 * 1_024;
    /// How long a destination that denies access or does not exist is tried after its logging configuration was deleted,
    /// in seconds. Ours.
    pub const DELETED_SECONDS_MAX: u64 = 24 * 3_600;
    /// What is kept on disk for a `grandstand logs tail` that has not shown it yet, when it is removed from its spool, in bytes.
    /// Ours.
    pub const TAIL_BYTES_MAX: u64 = 64 * 1_024 * 1_024;
    /// How long one batch may take, in seconds; then it counts as failed, and is tried again. Ours.
    pub const SHIPMENT_SECONDS_MAX: u64 = 120;
    /// How long the first retry waits, in milliseconds; each further one twice as long. Ours.
    pub const RETRY_MS_MIN: u64 = 250;
    /// … up to this many milliseconds. Ours.
    pub const RETRY_MS_MAX: u64 = 30_000;
    /// How long records gather before they are sent to CloudWatch Logs or Firehose, in milliseconds. The service takes about
    /// ten seconds. Ours.
    pub const GATHER_MS: u64 = 1_000;
    /// Calls of one batch that are under way at once. Ours.
    pub const CALLS_MAX: usize = 8;
    /// How long one call may take, in seconds. Ours.
    pub const CALL_SECONDS_MAX: u64 = 30;
    /// Longest answer to a call, in bytes: PutRecordBatch says something about each of 500 records. Ours.
    pub const ANSWER_BYTES_MAX: usize = 1_024 * 1_024;
    /// After its window, an object of S3 waits this long for records that are late, in milliseconds. Ours.
    pub const WINDOW_GRACE_MS: u64 = 1_000;
    /// How often the folder of spools is looked through for those that another process of the server has made, in
    /// milliseconds. Ours.
    pub const LOOK_INTERVAL_MS: u64 = 1_000;
    /// At a stop, how long is taken to ship what is left, in milliseconds; the rest is shipped after the next start. Ours.
    pub const FAREWELL_MS_MAX: u64 = 2_000;
    /// Log lines about one trouble of a logging configuration are this many seconds apart at least. Ours.
    pub const COMPLAINT_INTERVAL_SECONDS: u64 = 10;
    /// Most events of one PutLogEvents. AWS.
    pub const LOG_EVENTS_MAX: usize = 10_000;
    /// Most bytes of one PutLogEvents: messages, and [`LOG_EVENT_OVERHEAD_BYTES`] for each. AWS.
    pub const LOG_EVENTS_BYTES_MAX: usize = 1_048_576;
    /// What each event counts beside its message, in bytes. AWS.
    pub const LOG_EVENT_OVERHEAD_BYTES: usize = 26;
    /// The events of one PutLogEvents may not be farther apart than this, in milliseconds. AWS: 24 hours.
    pub const LOG_EVENTS_SPAN_MS_MAX: u64 = 24 * 3_600 * 1_000;
    /// Most records of one PutRecordBatch. AWS.
    pub const FIREHOSE_RECORDS_MAX: usize = 500;
    /// Most bytes of one PutRecordBatch. AWS: 4 MiB.
    pub const FIREHOSE_BYTES_MAX: usize = 4 * 1_024 * 1_024;
    /// How often the records of one PutRecordBatch are sent that were not taken; then the whole batch is tried later. Ours.
    pub const FIREHOSE_TRIES_MAX: u32 = 5;
}

/// TLS.
pub mod tls {
    /// How often the files of certificate and key are looked at, in milliseconds. A new certificate is in use after at most
    /// twice that: files must be the same in two looks.
    pub const FILES_INTERVAL_MS: u64 = 2_000;
}

/// Which of the limits are in force (`limits.profile`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Profile {
    /// AWS's sizes and its rates per connection and room; no rates or counts per account.
    #[default]
    Standard,
    /// Every quota of AWS.
    Aws,
    /// AWS's sizes; the request rates of connections and rooms are lifted too.
    Unlimited,
}

/// HTTP requests to others: message review handlers, destinations of chat logs.
pub mod outgoing {
    /// Calls to one origin (scheme, host and port) at a time; beyond it a call waits until its deadline. For reviews it is
    /// as many as there may be of them (`review.in_flight_per_node_max`), since all Lambda functions of a region have one
    /// origin, and a stuck one must not be in the way of the others. Calls whose callers have given up are not among them.
    pub const CALLS_PER_ORIGIN_MAX: usize = 1_024;
    /// Look-ups of host names that the system is asked for at a time, each in a thread of its own; beyond it a call waits
    /// until its deadline.
    pub const LOOK_UPS_MAX: usize = 16;
    /// As many of them may be of names whose last look-up was slow, so that names whose servers are away leave room for others.
    pub const LOOK_UPS_SLOW_MAX: usize = LOOK_UPS_MAX / 2;
    /// A look-up that takes longer is slow, in milliseconds.
    pub const LOOK_UP_SLOW_MS: u64 = 1_000;
    /// Slow names that are known; beyond it all are forgotten.
    pub const SLOW_NAMES_MAX: usize = 1_024;
    /// Connections to one origin that go on being made though whoever wanted them has given up, for whoever comes next;
    /// further ones are given up, too.
    pub const LATE_CONNECTS_PER_ORIGIN_MAX: usize = 64;
    /// Answers of one origin that go on being read though whoever wanted them has given up, so that their connections
    /// can be kept; further connections are closed.
    pub const LATE_ANSWERS_PER_ORIGIN_MAX: usize = 64;
    /// As many of them may be of one path, so that one that is stuck leaves room for the others.
    pub const LATE_ANSWERS_PER_PATH_MAX: usize = 16;
    /// How long either goes on, in milliseconds.
    pub const LATE_MS_MAX: u64 = 10_000;
    /// Paths of one origin whose lost connections are counted; beyond it those without are forgotten, then all.
    pub const PATHS_PER_ORIGIN_MAX: usize = 1_024;
    /// Connections to one origin that are kept for the next call; others are closed after their call.
    pub const IDLE_PER_ORIGIN_MAX: usize = 64;
    /// How long a connection is kept without a call, in seconds.
    pub const IDLE_SECONDS_MAX: u64 = 60;
    /// Origins whose connections are kept; beyond it all are forgotten, and made again when needed.
    pub const ORIGINS_MAX: usize = 1_024;
}

/// Message review.
pub mod review {
    /// Reviews under way in one room; beyond it the sender gets ERROR 429. Ours.
    pub const IN_FLIGHT_PER_ROOM_MAX: usize = 100;
    /// Reviews under way on one node; beyond it the sender gets ERROR 429. Ours.
    pub const IN_FLIGHT_PER_NODE_MAX: usize = 5_000;
    /// Handlers of the file of handlers; beyond it the file is refused.
    pub const HANDLERS_MAX: usize = 1_000;
    /// Terms of one list of words; beyond it the file of handlers is refused.
    pub const TERMS_MAX: usize = 100_000;
    /// Longest term, in bytes of its normal form; beyond it the file of handlers is refused.
    pub const TERM_BYTES_MAX: usize = 256;
    /// Regular expressions of one rule; beyond it the file of handlers is refused.
    pub const PATTERNS_MAX: usize = 1_000;
    /// Longest regular expression, in bytes; beyond it the file of handlers is refused.
    pub const PATTERN_BYTES_MAX: usize = 1_024;
    /// Memory of a rule against floods, in bytes: a message takes 4 of them for each of its `times`, and 4 more (so 16 with `times = 3`). When there
    /// is no room for another one, it takes the place of one that came before.
    pub const FLOOD_BYTES: usize = 1_048_576;
    /// Most `times` of a rule against floods; beyond it the file of handlers is refused.
    pub const FLOOD_TIMES_MAX: u32 = 100;
    /// Matches of one expression in a message that are masked one by one; from the last of them on all of it is masked.
    /// That bounds the time: to look for the next one may mean to read all of the rest once more.
    pub const PATTERN_MASKS_MAX: usize = 32;
    /// Failing handlers that are remembered for a minute, or as long as they are not called; beyond it others are called
    /// as if they had not failed, and not told of.
    pub const FAILING_HANDLERS_MAX: usize = 1_000;
    /// How long shards wait for reviews when the server stops, in milliseconds, beyond the time limit of a review and in all.
    pub const DRAIN_MS_MAX: u64 = 2_000;
}

/// Metrics.
pub mod metrics {
    /// Values of one label that users make, such as the ARNs of handlers; the rest share the value `other`.
    pub const USER_MADE_LABELS_MAX: usize = 100;
}

/// Export of traces and metrics (OpenTelemetry). Figures of ours where nothing else is said.
pub mod telemetry {
    /// Finished spans that wait to be exported; beyond it new ones are lost, and counted. Some 2 MiB. The OpenTelemetry
    /// specification has the same.
    pub const SPANS_WAITING_MAX: usize = 2_048;
    /// Spans of one export. OpenTelemetry specification.
    pub const BATCH_SPANS_MAX: usize = 512;
    /// How long spans gather before they are exported, in milliseconds. OpenTelemetry specification.
    pub const GATHER_MS: u64 = 5_000;
    /// How long a batch of spans is tried, in seconds; then it is lost, and counted.
    pub const EXPORT_SECONDS_MAX: u64 = 60;
    /// The first wait before an export is tried again, in milliseconds, give or take a half; each further one is twice as long.
    pub const RETRY_MS_MIN: u64 = 500;
    /// … up to this many milliseconds.
    pub const RETRY_MS_MAX: u64 = 10_000;
    /// The longest that a receiver may ask to be left alone (`Retry-After`), in seconds; what it asks beyond that is not heard.
    pub const RETRY_AFTER_SECONDS_MAX: u64 = 300;
    /// At a stop, how long is taken to export what is left, in milliseconds; the rest is lost.
    pub const FAREWELL_MS_MAX: u64 = 1_000;
    /// Longest answer of a receiver, in bytes: it has a number and a line to say.
    pub const ANSWER_BYTES_MAX: usize = 64 * 1_024;
    /// Headers that each export may have beside its own; beyond it the setting is refused.
    pub const HEADERS_MAX: usize = 32;
    /// Attributes that all that is exported may have; beyond it the setting is refused.
    pub const ATTRIBUTES_MAX: usize = 64;
    /// Longest `tracestate` that is kept, in bytes; a longer one is left out. W3C: at least 512.
    pub const TRACE_STATE_BYTES_MAX: usize = 512;
}
