//! Message review, in this process: what the built-in rules cost for a message, and how well the time limit of a review is
//! kept while many webhooks never answer.
//!
//! Both are verified: every message with a listed word in it, or with something that an expression matches, was masked and no
//! other, and every review had the outcome that its webhook gives; anything else makes the run void.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hub::message::{Message, RoomKey};
use hub::review::{Outcome, ReviewRequest, Ticket};
use hub::roll::Roll;
use mio::{Events, Poll, Token, Waker};
use protocol::arn::Scope;
use protocol::id::Id;
use protocol::limit::review::IN_FLIGHT_PER_NODE_MAX;
use protocol::messaging::{Attributes, encode_sender};
use serde_json::json;
use server::bus::{Bus, InboxReader, inbox};
use server::config::ReviewConfig;
use server::metrics::Metrics;
use server::review::Reviewer;
use server::review::rules::{self, RuleText, Rules, Ruling};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::failure::Failure;
use crate::histogram::Histogram;
use crate::os;
use crate::report::{Figures, Report, Run};

const TERMS: usize = 10_000;
const EXPRESSIONS: usize = 200;
const CONTENT_LENGTH: usize = 200;
/// To know what a reading of the clock costs: its median is left out of the figures.
const CLOCK_READINGS: usize = 10_000;
const REVIEWS_PER_SECOND: u64 = 1_000;
/// Every so many-th review is of a webhook that never answers.
const STUCK_EVERY: u64 = 5;
const TIME_LIMIT_MS: u64 = 200;
/// What a time-out may be late.
const LATE_NANOS_MAX: u64 = 10_000_000;
const QUICK: &str = "arn:aws:lambda:us-west-2:123456789012:function:quick";
const STUCK: &str = "arn:aws:lambda:us-west-2:123456789012:function:stuck";
const MILLISECOND_NANOS: f64 = 1e6;

/// Measures all rounds and reports.
///
/// # Errors
/// A review with a wrong outcome, and the system's.
pub fn run(rounds: u64, messages: u64, seconds: u64, report_file: &Path) -> Result<(), Failure> {
    let mut report = Report::default();
    for round in 1..=rounds {
        let mut figures = rules_figures(messages)?;
        figures.extend(time_limit_figures(seconds)?);
        report.add(Run { round, peer: "grandstand", figures });
    }
    report.publish("", &[], report_file)
}

fn wrong(what: String) -> Failure {
    Failure::Review(what)
}

/// A word of letters for a number; no two have the same.
fn word(number: usize) -> String {
    const CONSONANTS: &[u8; 16] = b"bcdfghklmnprstvz";
    const VOWELS: &[u8; 4] = b"aeou";
    let mut rest = number;
    let mut word = String::new();
    for _ in 0..4 {
        word.push(char::from(CONSONANTS[rest % 16]));
        rest /= 16;
        word.push(char::from(VOWELS[rest % 4]));
        rest /= 4;
    }
    word
}

/// Rules of all kinds, none of which decides early: the most that a message can cost.
fn all_rules() -> Result<Rules, Failure> {
    let terms: Vec<String> = (0..TERMS).map(|number| word(number * 7)).collect();
    let patterns: Vec<String> = (0..EXPRESSIONS).map(|number| expression(number).0).collect();
    let written = json!([
        {"match": "words", "terms": terms, "action": "mask"},
        {"match": "patterns", "patterns": patterns, "action": "mask"},
        {"match": "links", "action": "mask"},
        {"match": "caps", "action": "deny"},
        {"match": "repeats", "action": "mask"},
        {"match": "flood", "action": "deny"},
    ]);
    let texts: Vec<RuleText> = serde_json::from_value(written).map_err(|error| wrong(error.to_string()))?;
    Rules::new(&texts, Path::new(".")).map_err(|error| wrong(error.to_string()))
}

/// An expression as moderators write them, and something that it matches: a name with a number, an offer, a word with its
/// letters drawn out, somewhere to call.
fn expression(number: usize) -> (String, String) {
    // Neither listed (multiples of seven) nor said otherwise.
    let word = word(number * 7 + 3);
    match number % 4 {
        0 => (format!(r"\b{word}[-_ ]?\d{{2,}}\b"), format!("{word}-42")),
        1 => (format!(r"\b(?:buy|cheap|free)\s+{word}s?\b"), format!("cheap {word}s")),
        2 => {
            let drawn_out: String = word.chars().map(|letter| format!("{letter}+")).collect();
            (format!(r"\b{drawn_out}\b"), format!("{}{word}", &word[..1]))
        }
        _ => (format!(r"{word}\s*[:=]\s*\+?\d[\d -]{{6,}}\d"), format!("{word}: +49 170 1234567")),
    }
}

/// What somebody might say: words that are not listed; in every tenth message one that is, in odd letters, and in every
/// tenth one something that an expression matches.
fn content(number: usize) -> (String, bool) {
    let mut text = match number % 10 {
        0 => word(number % TERMS * 7).replace('a', "а").to_uppercase(),
        5 => expression(number / 10 % EXPRESSIONS).1,
        _ => String::new(),
    };
    let is_rude = !text.is_empty();
    let mut at = number * 31;
    while text.chars().count() < CONTENT_LENGTH {
        text.push(' ');
        // Listed are multiples of seven.
        text.push_str(&word((at % 100_000) * 7 + 1));
        at += 1;
    }
    (text.chars().take(CONTENT_LENGTH).collect(), is_rude)
}

fn rules_figures(messages: u64) -> Result<Figures, Failure> {
    let rules = all_rules()?;
    let clock = || os::thread_processor_nanos().map_err(Failure::io("read the processor time"));
    // Reading that clock is a system call, and no part of what a message costs.
    let mut readings = Histogram::default();
    for _ in 0..CLOCK_READINGS {
        let before = clock()?;
        readings.add(clock()?.saturating_sub(before));
    }
    let reading = readings.percentile(500);
    let room = room(0);
    let mut costs = Histogram::default();
    let mut total = 0;
    for number in 0..usize::try_from(messages).unwrap_or(usize::MAX) {
        let (content, is_rude) = content(number);
        let sender = encode_sender(&format!("user {number}"), &Attributes::new());
        let message = rules::Message { content: &content, attributes: None, room: &room, sender: &sender };
        let before = clock()?;
        let ruling = rules.rule(&message, 1);
        let cost = clock()?.saturating_sub(before).saturating_sub(reading);
        costs.add(cost);
        total += cost;
        if matches!(ruling, Ruling::Mask { .. }) != is_rude {
            return Err(wrong(format!("{content:?} was ruled on with {ruling:?}")));
        }
    }
    let micros = |nanos: u64| nanos as f64 / 1e3;
    Ok(vec![
        ("clock_cpu_us", micros(reading)),
        ("rules_mean_cpu_us", micros(total) / costs.count().max(1) as f64),
        ("rules_p50_cpu_us", micros(costs.percentile(500))),
        ("rules_p99_cpu_us", micros(costs.percentile(990))),
        ("rules_p999_cpu_us", micros(costs.percentile(999))),
        ("rules_most_cpu_us", micros(costs.longest())),
    ])
}

fn room(number: u64) -> RoomKey {
    let scope = Scope { account_id: "123456789012".into(), region: "us-west-2".into() };
    RoomKey { scope: Arc::new(scope), id: Id::from_random(u128::from(number) << 64) }
}

/// A home shard that only looks when outcomes come.
struct Home {
    poll: Poll,
    inbox: InboxReader,
    /// When each review began, by its room, and whether its webhook is stuck.
    begun: HashMap<RoomKey, (Instant, bool)>,
    late: Histogram,
    quick: Histogram,
    too_late: u64,
}

fn time_limit_figures(seconds: u64) -> Result<Figures, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(Failure::io("start a runtime"))?;
    let _entered = runtime.enter();
    let address = runtime.block_on(serve_webhooks()).map_err(Failure::io("listen"))?;
    let poll = Poll::new().map_err(Failure::io("make a poll"))?;
    let waker = Waker::new(poll.registry(), Token(0)).map_err(Failure::io("make a waker"))?;
    let (sender, reader) = inbox(waker);
    let reviewer = reviewer(address, Bus::local(vec![sender]))?;
    let mut home = Home {
        poll,
        inbox: reader,
        begun: HashMap::new(),
        late: Histogram::default(),
        quick: Histogram::default(),
        too_late: 0,
    };
    let start = Instant::now();
    for number in 0..seconds * REVIEWS_PER_SECOND {
        let due = start + Duration::from_nanos(number * 1_000_000_000 / REVIEWS_PER_SECOND);
        while Instant::now() < due {
            home.look(due.saturating_duration_since(Instant::now()))?;
        }
        let is_stuck = number.is_multiple_of(STUCK_EVERY);
        let request = request(number, if is_stuck { STUCK } else { QUICK });
        home.begun.insert(request.room.clone(), (Instant::now(), is_stuck));
        reviewer.begin(request);
    }
    let last = Instant::now() + Duration::from_secs(60);
    while !home.begun.is_empty() && Instant::now() < last {
        home.look(Duration::from_millis(10))?;
    }
    if !home.begun.is_empty() {
        return Err(wrong(format!("{} reviews have no outcome", home.begun.len())));
    }
    runtime.shutdown_background();
    let millis = |nanos: u64| nanos as f64 / MILLISECOND_NANOS;
    Ok(vec![
        ("time_out_late_p50_ms", millis(home.late.percentile(500))),
        ("time_out_late_p99_ms", millis(home.late.percentile(990))),
        ("time_out_late_most_ms", millis(home.late.longest())),
        ("time_outs_beyond_10_ms", home.too_late as f64),
        ("quick_p50_ms", millis(home.quick.percentile(500))),
        ("quick_p99_ms", millis(home.quick.percentile(990))),
    ])
}

impl Home {
    /// Waits for outcomes for a while, and books those that come.
    fn look(&mut self, time: Duration) -> Result<(), Failure> {
        let mut events = Events::with_capacity(1);
        self.inbox.announce_sleep();
        if self.inbox.is_empty() {
            self.poll.poll(&mut events, Some(time)).map_err(Failure::io("wait"))?;
        }
        self.inbox.announce_wake();
        while let Some(message) = self.inbox.next() {
            let Message::Reviewed { room, outcome, .. } = message else { continue };
            let Some((began, is_stuck)) = self.begun.remove(&room) else {
                return Err(wrong("an outcome came twice".to_owned()));
            };
            let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            match (is_stuck, outcome) {
                (true, Outcome::Failed) if nanos >= TIME_LIMIT_MS * 1_000_000 => {
                    let late = nanos - TIME_LIMIT_MS * 1_000_000;
                    self.late.add(late);
                    self.too_late += u64::from(late > LATE_NANOS_MAX);
                }
                (false, Outcome::Allowed) => self.quick.add(nanos),
                (is_stuck, outcome) => {
                    return Err(wrong(format!("stuck: {is_stuck}, outcome: {outcome:?}, after {nanos} ns")));
                }
            }
        }
        Ok(())
    }
}

fn request(number: u64, handler: &str) -> ReviewRequest {
    let room = room(number);
    ReviewRequest {
        ticket: Ticket::new(Roll::new([0; 32]).user(&room, "user"), number),
        room,
        handler: handler.into(),
        message_id: Id::from_random(u128::from(number)),
        content: "hi".to_owned(),
        attributes: None,
        sender: encode_sender("user", &Attributes::new()),
        client: [127, 0, 0, 1].into(),
        message_length_max: 500,
    }
}

fn reviewer(address: SocketAddr, bus: Bus) -> Result<Reviewer, Failure> {
    let folder = tempfile::tempdir().map_err(Failure::io("make a folder"))?;
    let file = folder.path().join("handlers.toml");
    let handler = |arn: &str, path: &str| {
        format!(
            "[handlers.\"{arn}\"]\nkind = \"webhook\"\nurl = \"http://{address}/{path}\"\nsecret = \"secret\"\n"
        )
    };
    let text = format!("{}{}", handler(QUICK, "quick"), handler(STUCK, "stuck"));
    fs::write(&file, text).map_err(Failure::io("write the file of handlers"))?;
    let config = ReviewConfig {
        timeout_ms: TIME_LIMIT_MS,
        handlers_file: Some(file),
        check_handlers: false,
        in_flight_per_room_max: 1,
        // As many calls to one origin as a server makes.
        in_flight_per_node_max: IN_FLIGHT_PER_NODE_MAX as u64,
        breaker_failures: 0,
        breaker_pause_ms: 1,
    };
    Reviewer::new(&config, bus, Arc::new(Metrics::new(1))).map_err(|error| wrong(error.to_string()))
}

/// A server that allows at `/quick` and never answers at `/stuck`.
async fn serve_webhooks() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(answer(socket));
        }
    });
    Ok(address)
}

/// Answers on one connection until it ends; each request comes in one piece, and ends with `}}`.
async fn answer(mut socket: TcpStream) {
    const ANSWER: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-length: 39\r\n\r\n{\"ReviewResult\":\"ALLOW\",\"Content\":\"hi\"}";
    let mut request = Vec::new();
    while let Ok(count) = socket.read_buf(&mut request).await
        && count > 0
    {
        if request.ends_with(b"}}") && request.starts_with(b"POST /quick ") {
            request.clear();
            if socket.write_all(ANSWER).await.is_err() {
                return;
            }
        }
    }
}
