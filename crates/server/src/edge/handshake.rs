//! From an accepted socket to a member of a room: TLS, the upgrade request, the chat token, its redemption.
//!
//! The order matters: everything that can be refused is looked at before the token is redeemed, so a handshake that
//! fails does not use it up; and the token is redeemed before the client hears anything, so it works once.

use std::future::{Future, pending};
use std::io::{Error, ErrorKind};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hub::account::AccountRates;
use hub::message::Join;
use protocol::limit::edge::{HANDSHAKE_HOLD_SECONDS_MAX, HANDSHAKE_SECONDS_MAX};
use protocol::messaging::encode_sender;
use protocol::token::{self, Claims, TokenError};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Admission;
use super::arrival::Arrival;
use super::proxy::{Preface, client_address, read_preface};
use super::upgrade::{HEAD_TOO_LONG, Refusal, Upgrade, Wanted, page, read_head, switch_protocols};
use super::wire::Wire;
use crate::bus::{room_key, room_settings};
use crate::clock;
use crate::config::TrustedProxies;
use crate::health::{Phase, Readiness};
use crate::quota::ConnectionPlace;
use crate::slot::Slot;
use crate::store::{self, Redemption, Room, StoreError};

/// How the service answers here is not documented.
const CROWDED: Refusal = Refusal::new(429, "the account has as many chat connections as its quota allows");

const STORE_AWAY: &str = "the store does not answer; try again";

/// Waiting would not help.
const STORE_DAMAGED: &str = "the store cannot read the chat token's room";

/// What all handshakes share.
pub(super) struct Door {
    pub(super) admission: Slot<Admission>,
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) trusted_proxies: TrustedProxies,
    pub(super) readiness: Readiness,
    /// Messages are compressed for clients that offer it.
    pub(super) compression: bool,
}

/// How a handshake ended.
pub(super) enum Outcome {
    /// The client is let in.
    Arrived(Box<Arrival>),
    /// It was told why not.
    Refused(Refusal),
    /// It got a page, or went away.
    Ended,
}

impl Door {
    /// Carries out a handshake.
    ///
    /// # Errors
    /// The connection broke, took too long, or made no sense even as TLS.
    pub(super) async fn shake_hands(&self, stream: TcpStream, peer: IpAddr) -> Result<Outcome, Error> {
        let mut wire = Wire::new(stream);
        let time = Duration::from_secs(HANDSHAKE_SECONDS_MAX);
        let wanted =
            timeout(time, self.hear_out(&mut wire, peer)).await.map_err(|_| ErrorKind::TimedOut)??;
        let (upgrade, peer) = match wanted {
            Ok((Wanted::Upgrade(upgrade), peer)) => {
                (upgrade.without_compression_unless(self.compression), peer)
            }
            Ok((Wanted::Page { path }, _)) => {
                self.answer_page(&mut wire, &path).await?;
                return Ok(Outcome::Ended);
            }
            Err(refusal) => return refuse(wire, refusal).await,
        };
        if self.readiness.phase() == Phase::Draining {
            // Held until the process ends, with the token unused: official SDKs try again at once and give up for good
            // after a few failures, so whoever comes next should have time to start.
            return pending().await;
        }
        // Whoever comes while the server starts, or makes way for another process, is held until it is known who serves.
        let admission = self.admission.use_it().await;
        let client = client_address(peer, &upgrade.forwarded_for, &self.trusted_proxies);
        let admitted = admission.admit(&upgrade, client).await;
        // Not kept for those who take their time to hear that they are refused.
        drop(admission);
        match admitted {
            Ok((join, place)) => {
                tracing::debug!(%client, room = %join.room.id, "a client is let in");
                let (transport, early) = wire.into_transport()?;
                Ok(Outcome::Arrived(Box::new(Arrival { join, place, transport, early, placement: None })))
            }
            Err(refusal) => {
                tracing::debug!(%client, reason = refusal.reason, "a client is refused");
                refuse(wire, refusal).await
            }
        }
    }

    /// Reads until the request is complete; the address is the peer's, or whom its PROXY header names.
    async fn hear_out(
        &self,
        wire: &mut Wire,
        peer: IpAddr,
    ) -> Result<Result<(Wanted, IpAddr), Refusal>, Error> {
        let peer = if self.trusted_proxies.contain(peer) { skip_preface(wire, peer).await? } else { peer };
        if let Some(tls) = &self.tls {
            wire.start_tls(Arc::clone(tls)).await?;
        }
        loop {
            match read_head(wire.said()) {
                Ok(Some((wanted, length))) => {
                    wire.skip(length);
                    return Ok(Ok((wanted, peer)));
                }
                Ok(None) => {}
                Err(refusal) => return Ok(Err(refusal)),
            }
            match wire.hear().await {
                Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                    return Ok(Err(HEAD_TOO_LONG));
                }
                heard => heard?,
            }
        }
    }

    async fn answer_page(&self, wire: &mut Wire, path: &str) -> Result<(), Error> {
        let answer = match self.readiness.report("GET", path) {
            Some(report) => page(report.status, "application/json", report.body),
            None if path == "/" => {
                page(426, "text/plain", "This is a WebSocket endpoint for chat clients.\n")
            }
            None => page(404, "text/plain", "There is nothing here.\n"),
        };
        wire.say_last(&answer).await
    }
}

impl Admission {
    /// What a chat token says. Another server may have sealed it with a key that it has just made.
    async fn open(&self, text: &str) -> Result<Claims, Refusal> {
        let open = || token::open(&self.token_keys.token_keys(), text, clock::now());
        let mut opened = open();
        if opened == Err(TokenError::UnknownKey) {
            held(|| self.token_keys.look_again(&self.store)).await?;
            opened = open();
        }
        opened.map_err(token_refusal)
    }

    /// Whoever brings a good token is let in, once, while the account's quota has a place.
    async fn admit(
        &self,
        upgrade: &Upgrade,
        client: IpAddr,
    ) -> Result<(Join, Option<ConnectionPlace>), Refusal> {
        let claims = self.open(&upgrade.token).await?;
        let room = held(|| self.store.get_room(&claims.scope, claims.room_id)).await?;
        let Some(room) = room else {
            return Err(Refusal::new(403, "the chat token's room does not exist any more"));
        };
        let allowance = self.quotas.as_ref().map(|quotas| quotas.allowance(&claims.scope));
        let place = allowance.as_ref().map(|allowance| allowance.connect().ok_or(CROWDED)).transpose()?;
        let account = allowance.map(|allowance| Arc::clone(allowance.rates()));
        let redemption = redemption(&claims)?;
        match held(|| self.store.redeem(&redemption)).await? {
            Some(true) => Ok((join(upgrade, client, claims, &room, account), place)),
            _ => Err(Refusal::new(403, "the chat token has been used already")),
        }
    }
}

/// This client's use of its token. When an answer of the store is lost, asking again must not find the token used.
fn redemption(claims: &Claims) -> Result<Redemption, Refusal> {
    let mut claim = [0; 16];
    getrandom::fill(&mut claim)
        .map_err(|_| Refusal::new(503, "the server has no random numbers; try again"))?;
    Ok(Redemption {
        token_id: claims.token_id,
        expires: claims.token_expiry.as_micros(),
        claim: u128::from_ne_bytes(claim),
    })
}

/// Asks the store, and again while it cannot answer: official SDKs give up for good after a few refused handshakes, so a
/// store that is away for a moment must not show. `None`: what was asked for does not exist.
async fn held<T, F>(ask: impl Fn() -> F) -> Result<Option<T>, Refusal>
where
    F: Future<Output = Result<T, StoreError>>,
{
    match store::held(Duration::from_secs(HANDSHAKE_HOLD_SECONDS_MAX), ask).await {
        Ok(answer) => Ok(Some(answer)),
        Err(StoreError::Unavailable(_)) => Err(Refusal::new(503, STORE_AWAY)),
        Err(StoreError::Damaged(_)) => Err(Refusal::new(500, STORE_DAMAGED)),
        Err(_) => Ok(None),
    }
}

fn join(
    upgrade: &Upgrade,
    client: IpAddr,
    claims: Claims,
    room: &Room,
    account: Option<Arc<AccountRates>>,
) -> Join {
    Join {
        room: room_key(&room.scope, room.id),
        settings: room_settings(room),
        account,
        sender: encode_sender(&claims.user_id, &claims.attributes),
        user_id: claims.user_id.into(),
        client,
        capabilities: claims.capabilities,
        session_end: claims.session_expiry,
        deflates: upgrade.compression.is_some(),
        greeting: switch_protocols(upgrade),
    }
}

fn token_refusal(error: TokenError) -> Refusal {
    Refusal::new(
        403,
        match error {
            TokenError::Malformed | TokenError::TooLong => "the chat token is malformed",
            TokenError::UnknownKey | TokenError::Forged => "the chat token is not valid here",
            TokenError::Expired => "the chat token has expired",
        },
    )
}

async fn skip_preface(wire: &mut Wire, peer: IpAddr) -> Result<IpAddr, Error> {
    loop {
        match read_preface(wire.said()) {
            Preface::Incomplete => wire.hear().await?,
            Preface::Absent => return Ok(peer),
            Preface::Invalid => return Err(Error::from(ErrorKind::InvalidData)),
            Preface::Header { length, client } => {
                wire.skip(length);
                return Ok(client.unwrap_or(peer));
            }
        }
    }
}

async fn refuse(mut wire: Wire, refusal: Refusal) -> Result<Outcome, Error> {
    wire.say_last(&page(refusal.status, "text/plain", &format!("{}\n", refusal.reason))).await?;
    Ok(Outcome::Refused(refusal))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::cell::Cell;
    use std::io::ErrorKind;
    use std::time::Duration;

    use protocol::id::Id;
    use protocol::limit::edge::HANDSHAKE_SECONDS_MAX;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::{Instant, sleep};

    use super::{Door, held};
    use crate::config::TrustedProxies;
    use crate::health::Readiness;
    use crate::slot::Slot;
    use crate::store::StoreError;

    fn away() -> StoreError {
        StoreError::Unavailable("the disk is full".into())
    }

    // Time passes at once when everybody waits for it.
    #[tokio::test(start_paused = true)]
    async fn who_takes_too_long_is_closed_however_often_a_byte_comes() {
        let door = Door {
            admission: Slot::default(),
            tls: None,
            trusted_proxies: TrustedProxies::default(),
            readiness: Readiness::default(),
            compression: false,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX: ").await.unwrap();
        let start = Instant::now();
        let drip = async {
            loop {
                client.write_all(b"x").await.unwrap();
                sleep(Duration::from_secs(1)).await;
            }
        };
        let outcome = tokio::select! {
            outcome = door.shake_hands(stream, peer.ip()) => outcome,
            () = drip => unreachable!("it goes on and on"),
        };
        assert_eq!(outcome.err().unwrap().kind(), ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), HANDSHAKE_SECONDS_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_is_held_until_the_store_is_back() {
        let start = Instant::now();
        let asked = Cell::new(0);
        let ask = || {
            asked.set(asked.get() + 1);
            let is_back = start.elapsed() > Duration::from_secs(55);
            async move { if is_back { Ok("room") } else { Err(away()) } }
        };
        assert_eq!(held(ask).await.ok(), Some(Some("room")));
        assert!(start.elapsed() < Duration::from_secs(56) && asked.get() > 100);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_minute_it_is_refused_with_503() {
        let start = Instant::now();
        let refusal = held(|| async { Err::<(), _>(away()) }).await.err().unwrap();
        assert_eq!(refusal.status, 503);
        assert!((60..61).contains(&start.elapsed().as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_waiting_does_not_help_is_answered_at_once() {
        let start = Instant::now();
        let damaged = held(|| async { Err::<(), _>(StoreError::Damaged("page 5".into())) }).await;
        assert_eq!(damaged.err().unwrap().status, 500);
        let gone = held(|| async { Err::<(), _>(StoreError::RoomNotFound(Id::from_random(1))) }).await;
        assert_eq!(gone.ok().unwrap(), None);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
