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
    /// Longest client frame or message, in bytes; beyond it Close 1009.
    pub const MESSAGE_BYTES_MAX: usize = 16 * 1_024;
    /// Longest head of a handshake, in bytes; beyond it 431.
    pub const HANDSHAKE_BYTES_MAX: usize = 16 * 1_024;
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
    /// Seconds without a byte from the peer after which it is pinged.
    pub const PING_AFTER_SECONDS: u64 = 30;
    /// Seconds without a byte from the peer after which it is dropped.
    pub const DEAD_AFTER_SECONDS: u64 = 75;
    /// Seconds between ERROR 401 and Close at the end of a session.
    pub const SESSION_END_GRACE_SECONDS: u64 = 5;
    /// The coalescing window, in milliseconds: after a frame has left at once, a room's frames gather this long.
    pub const COALESCING_WINDOW_MS: u64 = 40;
    /// A pass over a big room yields to the shard's other work after about this many microseconds.
    pub const PASS_QUANTUM_MICROS: u64 = 1_000;
    /// Members up to which a room stays on its home shard; beyond it new members spread over all shards.
    pub const HOME_SHARD_MEMBERS_MAX: u32 = 256;
    /// Entries of a shard's inbox up to which client and control-plane requests are taken; beyond it ERROR 429.
    pub const INBOX_REQUESTS_MAX: usize = 8_192;
    /// Entries of a shard's inbox up to which rooms may publish to it; beyond it the publisher gets ERROR 429.
    pub const INBOX_DELIVERIES_MAX: usize = 12_288;
    /// Entries of a shard's inbox; the rest is for leaves and adoptions, which wait for room instead.
    pub const INBOX_MAX: usize = 16_384;
}

/// The control plane.
pub mod control {
    /// Longest request body, in bytes; beyond it a typed 413.
    pub const BODY_BYTES_MAX: usize = 64 * 1_024;
    /// Request line and headers together, in bytes; beyond it a typed 431.
    pub const HEAD_BYTES_MAX: usize = 32 * 1_024;
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

/// Chat tokens.
pub mod token {
    /// Longest life of a token, in seconds; shorter when the session is. Observed on the service: 60 minutes.
    pub const LIFE_SECONDS_MAX: u64 = 3_600;
    /// The share of a token's life that is taken off at random, in percent, so that a crowd which joined together
    /// does not refresh together.
    pub const LIFE_JITTER_PERCENT_MAX: u64 = 10;
    /// Longest text of a token, in bytes. Claims at all their limits need less; longer texts are not looked at.
    pub const TEXT_BYTES_MAX: usize = 4_096;
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
