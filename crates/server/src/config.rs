//! The configuration: one tree of plain values, read once at the start.
//!
//! Each setting has a key, such as `edge.coalescing_window_ms`, and comes from the first of: a flag, the environment
//! variable `GRANDSTAND_` + the key in capitals with `_` for `.`, the TOML file, its default. Promises:
//!
//! - What is read is complete and in range; whoever has a [`Config`] checks nothing again.
//! - A key of the file that means nothing is an error, as are values of a wrong type or out of range; all of them are
//!   told at once, each with its key and what is allowed. An environment variable that means nothing is a warning
//!   only, since Kubernetes makes variables of its own.
//! - No error, warning or `Debug` text holds the value of a secret.
//!
//! The documentation of each field below is the manual: `docs/configuration.md` is made of it.

mod database;
mod kind;
mod manual;
mod network;
mod otlp;
mod source;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;

use hyper::Uri;
use protocol::limit::Profile;
use protocol::quota::AdjustableQuotas;
use protocol::sigv4::SecretKey;

pub use self::database::DatabaseUrl;
pub use self::kind::StoreUrl;
use self::kind::{
    AccessKey, Address, Digits, FilePath, Kind, Networks, OneOf, Optional, Secret, StoreAddress, Switch,
    Text, Whole,
};
pub use self::manual::manual;
pub use self::network::{Network, NetworkError, TrustedProxies};
use self::otlp::{AttributeList, HeaderList, OtlpUrl, Share};
pub use self::otlp::{OtlpHeaders, SamplerKind, Sampling};
use self::source::Reader;
pub use self::source::{ConfigError, Flag, Loaded, Sources, load};

/// What the manual says about one setting.
struct Setting {
    /// The dotted path, as in the file.
    key: &'static str,
    /// The lines of the field's documentation.
    documentation: &'static [&'static str],
    /// The default as one would write it; empty for none.
    default: &'static str,
    /// What values there are.
    allowed: String,
}

/// Makes a struct of settings and, at its end, of sections of settings. Each setting is its documentation, a field,
/// the kind of value that it takes, and a default, which is read by that kind like any other value.
macro_rules! settings {
    (
        $(#[doc = $about:literal])+
        pub struct $name:ident in $prefix:literal {
            $( $(#[doc = $doc:literal])+ $field:ident: $type:ty = $kind:expr, $default:literal; )+
            $( section $section:ident: $section_type:ident; )*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $field: $type, )+
            $( #[doc = concat!("Section `", stringify!($section), "`.")] pub $section: $section_type, )*
        }

        impl $name {
            /// All settings, in the order of the manual.
            fn settings() -> Vec<Setting> {
                let own = [ $( Setting {
                    key: concat!($prefix, stringify!($field)),
                    documentation: &[$($doc),+],
                    default: $default,
                    allowed: $kind.allowed(),
                }, )+ ];
                own.into_iter()$( .chain($section_type::settings()) )*.collect()
            }

            /// `None` when any setting could not be read; the reader knows which, as all are tried.
            fn read(reader: &mut Reader<'_>) -> Option<Self> {
                $( let $field = reader.read(concat!($prefix, stringify!($field)), &$kind, $default); )+
                $( let $section = $section_type::read(reader); )*
                Some(Self { $( $field: $field?, )+ $( $section: $section?, )* })
            }
        }
    };
}

settings! {
    /// All settings of the server.
    pub struct Config in "" {
        /// The folder for all that is kept: the store and the first credentials. It is made when missing.
        data_dir: PathBuf = FilePath, "./grandstand-data";
        /// Where the control plane listens (HTTP, or HTTPS with `tls`). Port 0 picks a free one.
        api_addr: SocketAddr = Address, "127.0.0.1:4580";
        /// Where the messaging edge listens (WebSocket, with `tls` secure). Port 0 picks a free one.
        edge_addr: SocketAddr = Address, "127.0.0.1:4581";
        /// Where health and metrics are answered, to anyone who asks: keep it to a trusted network. Port 0 picks a
        /// free one.
        admin_addr: SocketAddr = Address, "127.0.0.1:4582";
        /// The AWS account that all resources belong to. It stands in every ARN.
        account_id: Box<str> = Digits { count: 12 }, "123456789012";
        /// Proxies of the messaging edge that may say who a chat client is, in `X-Forwarded-For` or by PROXY v2. Nobody
        /// else is believed.
        trusted_proxies: TrustedProxies = Networks, "";
        section root: RootConfig;
        section edge: EdgeConfig;
        section limits: LimitsConfig;
        section store: StoreConfig;
        section chatlog: ChatLogConfig;
        section review: ReviewConfig;
        section tls: TlsConfig;
        section restart: RestartConfig;
        section log: LogConfig;
        section audit: AuditConfig;
        section telemetry: TelemetryConfig;
    }
}

settings! {
    /// The first pair of keys, which may do everything.
    pub struct RootConfig in "root." {
        /// The access key. Set both halves or neither: without them the first start makes a pair, shows it once and
        /// keeps it in `data_dir`.
        access_key_id: Option<Box<str>> = Optional(AccessKey), "";
        /// The secret key. Better given as an environment variable than in a file that others can read.
        secret_access_key: Option<SecretKey> = Optional(Secret), "";
    }
}

settings! {
    /// The messaging edge.
    pub struct EdgeConfig in "edge." {
        /// How long a room's frames may gather before they are written together, in milliseconds. The first frame to
        /// a quiet room leaves at once all the same; 0 switches gathering off.
        coalescing_window_ms: u64 = Whole { from: 0, to: 1_000, unit: "milliseconds" }, "40";
        /// Whether messages are compressed for clients that offer permessage-deflate (browsers do), and theirs taken
        /// compressed. Saves bandwidth and costs processor time: each message is compressed once for all.
        compression: bool = Switch, "false";
        /// How many threads serve connections. Unset: one for each available core.
        shards: Option<u64> = Optional(Whole { from: 1, to: 64, unit: "threads" }), "";
    }
}

const REQUESTS_PER_SECOND: Whole = Whole { from: 1, to: 1_000_000, unit: "requests per second" };

settings! {
    /// Which limits are in force.
    pub struct LimitsConfig in "limits." {
        /// `standard`: the sizes of AWS and its rates per connection and room, but no quotas of accounts. `aws`: those
        /// as well, to test clients with; each account has them anew in each region. `unlimited`: the sizes of AWS, and
        /// no rates.
        profile: Profile = OneOf(&[
            ("standard", Profile::Standard),
            ("aws", Profile::Aws),
            ("unlimited", Profile::Unlimited),
        ]), "standard";
        /// Rooms of an account. This quota and the next ones are those that AWS raises on request, and the defaults are
        /// what it gives everybody; they are in force in the profile `aws` only.
        rooms: u64 = Whole { from: 1, to: 100_000, unit: "rooms" }, "50000";
        /// Logging configurations of an account; in the profile `aws` only.
        logging_configurations: u64 = Whole { from: 1, to: 10_000, unit: "logging configurations" }, "10";
        /// Chat connections to all rooms of an account; in the profile `aws` only.
        connections: u64 = Whole { from: 1, to: 1_000_000, unit: "connections" }, "50000";
        /// SEND_MESSAGE requests per second to all rooms of an account; in the profile `aws` only.
        send_message_requests_per_second: u64 = REQUESTS_PER_SECOND, "1000";
        /// DeleteMessage and DELETE_MESSAGE requests per second to all rooms of an account, together; in the profile
        /// `aws` only, where the operation has at most 100 of them besides.
        delete_message_requests_per_second: u64 = REQUESTS_PER_SECOND, "100";
        /// DisconnectUser and DISCONNECT_USER requests per second to all rooms of an account, together; in the profile
        /// `aws` only, where the operation has at most 100 of them besides.
        disconnect_user_requests_per_second: u64 = REQUESTS_PER_SECOND, "100";
    }
}

settings! {
    /// Where rooms are kept.
    pub struct StoreConfig in "store." {
        /// Unset: in files in `data_dir`. `memory:` keeps nothing once the server has stopped, and needs no
        /// `data_dir` (but for chat logs, which are kept there all the same). `postgres://…`: in a PostgreSQL database, which several servers may share; characters such as
        /// `@` or `/` in a password are percent-encoded (`%40`, `%2F`), and a folder with a Unix socket is written in
        /// place of the host in the same way. `?sslmode=verify-full&sslrootcert=FILE` connects with TLS to a server whose
        /// certificate is in its name and of an authority in that PEM file (on Debian
        /// `/etc/ssl/certs/ca-certificates.crt` has the public ones); without, the connection is not encrypted. Better
        /// given as an environment variable than in a file that others can read.
        url: StoreUrl = StoreAddress, "";
    }
}

settings! {
    /// Chat logs.
    pub struct ChatLogConfig in "chatlog." {
        /// Where the destinations of logging configurations are. `auto`: at the endpoint that the standard setting of AWS
        /// names, such as `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`, and where there is none in folders in `data_dir`
        /// (`destinations/s3/BUCKET/…`) with the same names and contents. `aws`: at that endpoint, or at AWS itself. `folders`:
        /// in folders. Who calls AWS comes from its standard settings, too (variables, shared files, roles).
        delivery: ChatLogDelivery = OneOf(&[
            ("auto", ChatLogDelivery::Auto),
            ("aws", ChatLogDelivery::Aws),
            ("folders", ChatLogDelivery::Folders),
        ]), "auto";
        /// How often chat logs are written to S3, in seconds: one object for each room and each such time in which it has
        /// published anything, or more when that is much.
        s3_interval_s: u64 = Whole { from: 1, to: 86_400, unit: "seconds" }, "300";
        /// `interval`: what a room publishes is with the operating system first, so that it survives the server however that
        /// ends, and on disk within about a tenth of a second. `always`: on disk first; a power cut forgets nothing then, and
        /// all rooms of a shard wait for each sync.
        fsync: ChatLogSync = OneOf(&[
            ("interval", ChatLogSync::Interval),
            ("always", ChatLogSync::Always),
        ]), "interval";
        /// What becomes of a room when its chat log cannot be written. `continue`: chat goes on, and what is not logged is
        /// counted and complained about in the server's log. `refuse`: the room publishes nothing, and whoever
        /// tries gets an error.
        on_failure: ChatLogFailure = OneOf(&[
            ("continue", ChatLogFailure::Continue),
            ("refuse", ChatLogFailure::Refuse),
        ]), "continue";
        /// How much of what a logging configuration's destination has not taken yet is kept, in MiB. Beyond it new records
        /// for that logging configuration are lost, or refused, as `chatlog.on_failure` says.
        spool_mib_max: u64 = Whole { from: 1, to: 1_048_576, unit: "MiB" }, "10240";
    }
}

settings! {
    /// Message review.
    pub struct ReviewConfig in "review." {
        /// How long a message review handler may take, in milliseconds, before the fallback result stands.
        timeout_ms: u64 = Whole { from: 1, to: 60_000, unit: "milliseconds" }, "200";
        /// A TOML file that says which handler ARNs are rules in this server or somebody's webhook; see the operating
        /// manual. All others are functions of AWS Lambda. It is read at the start.
        handlers_file: Option<PathBuf> = Optional(FilePath), "";
        /// Whether CreateRoom and UpdateRoom make sure that the handler may be asked, as the service does: a function by
        /// a dry run.
        check_handlers: bool = Switch, "false";
        /// Messages of one room that may be under review. Senders of further ones get ERROR 429.
        in_flight_per_room_max: u64 = Whole { from: 1, to: 100_000, unit: "messages" }, "100";
        /// Messages of all rooms that may be under review. Senders of further ones get ERROR 429. Each may take a connection to
        /// its handler, and so a descriptor.
        in_flight_per_node_max: u64 = Whole { from: 1, to: 100_000, unit: "messages" }, "5000";
        /// After so many failures in a row a handler is not called for a while, and the fallback result stands. 0: each
        /// message is tried. Built-in rules do not fail.
        breaker_failures: u64 = Whole { from: 0, to: 1_000_000, unit: "failures" }, "0";
        /// How long a failing handler is not called then, in milliseconds.
        breaker_pause_ms: u64 = Whole { from: 1, to: 3_600_000, unit: "milliseconds" }, "10000";
    }
}

settings! {
    /// TLS on all three ports.
    pub struct TlsConfig in "tls." {
        /// A PEM file with the chain of certificates, the server's own first. Set both files or neither: without them
        /// the ports speak plain HTTP and WebSocket. When they change, new connections get the new certificate within seconds.
        cert_file: Option<PathBuf> = Optional(FilePath), "";
        /// A PEM file with the private key of that certificate.
        key_file: Option<PathBuf> = Optional(FilePath), "";
    }
}

settings! {
    /// A restart in which a new process takes over from the running one.
    pub struct RestartConfig in "restart." {
        /// How long the process that a running server starts on SIGUSR2 may take to get ready to take over, and then
        /// once more to open the store, in seconds. Beyond it the running server ends that process, says so in its log
        /// and goes on. An upgrade that changes the store's format does so while it opens the store.
        ready_timeout_s: u64 = Whole { from: 1, to: 3_600, unit: "seconds" }, "30";
        /// How long that process, and with it whoever connects, waits for API requests and handshakes that are under
        /// way in the running server, in milliseconds. What takes longer is answered with 503, or not at all. A
        /// connection to the edge that is not through with its handshake is waited for up to a second, also with 0.
        requests_timeout_ms: u64 = Whole { from: 0, to: 60_000, unit: "milliseconds" }, "2000";
    }
}

settings! {
    /// What the server says about itself.
    pub struct LogConfig in "log." {
        /// What is logged to stderr: a level (`error`, `warn`, `info`, `debug`, `trace`), or directives of
        /// `tracing`, such as `info,server::edge=debug`.
        filter: Box<str> = Text { what: "a level or directives of tracing" }, "info";
        /// How: `text` for people, or `json`, an object in each line, for programs that collect logs.
        format: LogFormat = OneOf(&[("text", LogFormat::Text), ("json", LogFormat::Json)]), "text";
    }
}

/// What the log looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

settings! {
    /// The record of who changed what.
    pub struct AuditConfig in "audit." {
        /// A file to which each change through the control plane, and each action of a moderator in a chat, is appended as one
        /// line of JSON, in the form of CloudTrail's records. A file that is moved away is made anew. Without this setting no such
        /// record is kept.
        file: Option<PathBuf> = Optional(FilePath), "";
    }
}

settings! {
    /// Export of traces and metrics by OTLP, the protocol of OpenTelemetry.
    pub struct TelemetryConfig in "telemetry." {
        /// Where traces and metrics are sent by OTLP over HTTP: a collector of OpenTelemetry, say. Unset: nowhere. `/v1/traces`
        /// and `/v1/metrics` are put behind it. The standard variables of the settings of `telemetry` are read as soon as
        /// there is an endpoint, this one or one of the next two.
        otlp_endpoint: Option<Uri> = Optional(OtlpUrl), "";
        /// Where traces are sent instead: the whole address.
        otlp_traces_endpoint: Option<Uri> = Optional(OtlpUrl), "";
        /// Where metrics are sent instead: the whole address.
        otlp_metrics_endpoint: Option<Uri> = Optional(OtlpUrl), "";
        /// Headers of each export, such as `api-key=SECRET`. They are not shown anywhere. Better given as an environment variable than in
        /// a file that others can read.
        otlp_headers: OtlpHeaders = HeaderList, "";
        /// How exports are encoded: as Protocol Buffers over HTTP, which every receiver takes (on port 4318 as a rule). There is no gRPC.
        otlp_protocol: () = OneOf(&[("http/protobuf", ())]), "http/protobuf";
        /// Whether exports are compressed: `gzip` or `none`.
        otlp_compression: OtlpCompression = OneOf(&[
            ("none", OtlpCompression::None),
            ("gzip", OtlpCompression::Gzip),
        ]), "none";
        /// How long a receiver may take to answer an export, in milliseconds; then it is tried again.
        otlp_timeout_ms: u64 = Whole { from: 1, to: 60_000, unit: "milliseconds" }, "10000";
        /// A PEM file of the authorities that an HTTPS receiver's certificate must be of. Unset: that of `AWS_CA_BUNDLE` or
        /// `SSL_CERT_FILE`, or those of the system.
        otlp_certificate_file: Option<PathBuf> = Optional(FilePath), "";
        /// The attribute `service.name` of all that is exported.
        service_name: Option<Box<str>> = Optional(Text { what: "a name" }), "";
        /// More attributes of all that is exported. A `service.name` among them counts when `telemetry.service_name` is unset; without
        /// either it is `grandstand`. A random `service.instance.id` tells processes apart unless there is one here.
        resource_attributes: Vec<(String, String)> = AttributeList, "";
        /// `none`: traces are not exported, wherever the endpoint is.
        traces_exporter: OtlpExporter = EXPORTERS, "otlp";
        /// Which traces are exported: with `parentbased_…` those whose parent is, where a request says so in `traceparent`, and of
        /// the others all, none, or a share.
        traces_sampler: SamplerKind = OneOf(SamplerKind::ALL), "parentbased_traceidratio";
        /// That share.
        sampling_ratio: f64 = Share, "1";
        /// `none`: metrics are not exported, wherever the endpoint is.
        metrics_exporter: OtlpExporter = EXPORTERS, "otlp";
        /// How often metrics are exported, in milliseconds.
        metrics_interval_ms: u64 = Whole { from: 1_000, to: 3_600_000, unit: "milliseconds" }, "60000";
        /// Nothing is exported, whatever the other settings say.
        disabled: bool = Switch, "false";
    }
}

const EXPORTERS: OneOf<OtlpExporter> = OneOf(&[("otlp", OtlpExporter::Otlp), ("none", OtlpExporter::None)]);

/// Whether traces, or metrics, are exported (`telemetry.traces_exporter`, `telemetry.metrics_exporter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpExporter {
    /// If there is an endpoint.
    Otlp,
    /// In no case.
    None,
}

/// Whether exports are compressed (`telemetry.otlp_compression`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpCompression {
    /// They are not.
    None,
    /// With gzip.
    Gzip,
}

/// Where destinations are (`chatlog.delivery`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatLogDelivery {
    /// Where an endpoint is set: there; else in folders.
    Auto,
    /// At AWS, or the endpoint that is set.
    Aws,
    /// In folders.
    Folders,
}

/// When chat logs are synced (`chatlog.fsync`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatLogSync {
    /// Soon after they are written.
    Interval,
    /// Before what they say is published.
    Always,
}

/// What becomes of a room whose chat log cannot be written (`chatlog.on_failure`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatLogFailure {
    /// It goes on.
    Continue,
    /// It publishes nothing.
    Refuse,
}

impl LimitsConfig {
    /// The quotas of accounts, if there are any.
    #[must_use]
    pub fn quotas(&self) -> Option<AdjustableQuotas> {
        let figure = |value| u32::try_from(value).unwrap_or(u32::MAX);
        (self.profile == Profile::Aws).then(|| AdjustableQuotas {
            rooms: figure(self.rooms),
            logging_configurations: figure(self.logging_configurations),
            connections: figure(self.connections),
            send_message_requests_per_second: figure(self.send_message_requests_per_second),
            delete_message_requests_per_second: figure(self.delete_message_requests_per_second),
            disconnect_user_requests_per_second: figure(self.disconnect_user_requests_per_second),
        })
    }
}

impl Config {
    /// What no setting can say about itself alone.
    fn problems(&self) -> Vec<String> {
        let pairs = [
            ("root.access_key_id", self.root.access_key_id.is_some(), "root.secret_access_key", {
                self.root.secret_access_key.is_some()
            }),
            ("tls.cert_file", self.tls.cert_file.is_some(), "tls.key_file", self.tls.key_file.is_some()),
        ];
        pairs
            .into_iter()
            .filter(|(_, first, _, second)| first != second)
            .map(|(first, _, second, _)| format!("`{first}` and `{second}` must be set together, or neither"))
            .collect()
    }
}
