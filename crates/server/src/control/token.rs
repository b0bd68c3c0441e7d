//! CreateChatToken.

use std::time::Duration;

use protocol::arn::Scope;
use protocol::control::Sensitive;
use protocol::control::token::{CreateChatTokenRequest, CreateChatTokenResponse};
use protocol::error::ApiError;
use protocol::limit::member::SESSION_MINUTES_DEFAULT;
use protocol::limit::token::{LIFE_JITTER_PERCENT_MAX, LIFE_SECONDS_MAX, STORE_HOLD_SECONDS_MAX};
use protocol::time::Timestamp;
use protocol::token::{self, Claims};

use super::{ControlPlane, own_id, store_error};
use crate::clock;
use crate::random;
use crate::store;

pub(super) async fn create(
    control: &ControlPlane,
    scope: &Scope,
    request: CreateChatTokenRequest,
) -> Result<CreateChatTokenResponse, ApiError> {
    let id = own_id(scope, &request.room)?;
    let hold = Duration::from_secs(STORE_HOLD_SECONDS_MAX);
    let found = store::held(hold, || control.store.get_room(scope, id)).await;
    let room = found.map_err(|error| store_error(error, scope))?;
    let issue_time = clock::now();
    let session_seconds = u64::from(request.session_minutes.unwrap_or(SESSION_MINUTES_DEFAULT)) * 60;
    let life_seconds = token_life_seconds(session_seconds, u64::from_be_bytes(random()?));
    let claims = Claims {
        scope: room.scope,
        room_id: room.id,
        user_id: request.user_id.0,
        attributes: request.attributes.0,
        capabilities: request.capabilities,
        issue_time,
        token_expiry: issue_time.plus_seconds(life_seconds),
        session_expiry: issue_time.plus_seconds(session_seconds),
        token_id: u128::from_be_bytes(random()?),
    };
    let keys = control.chat_token_keys.token_keys();
    let key = keys.last().ok_or_else(|| ApiError::internal("there is no key for chat tokens"))?;
    let token =
        token::seal(key, &claims, random()?).map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(CreateChatTokenResponse {
        token: Sensitive(token),
        token_expiration_time: text(claims.token_expiry),
        session_expiration_time: text(claims.session_expiry),
    })
}

fn text(time: Timestamp) -> String {
    time.to_millis_text()
}

/// How long a token opens a connection: the lesser of its longest life and the session's, less a random share.
fn token_life_seconds(session_seconds: u64, random: u64) -> u64 {
    let longest = LIFE_SECONDS_MAX.min(session_seconds);
    let off_max = longest * LIFE_JITTER_PERCENT_MAX / 100;
    longest - random % (off_max + 1)
}

/// Random bytes, which the operating system must not be out of.
fn random<const N: usize>() -> Result<[u8; N], ApiError> {
    random::random().map_err(|error| ApiError::internal(format!("no random bytes: {error}")))
}

#[cfg(test)]
mod tests {
    use super::token_life_seconds;

    #[test]
    fn a_token_lives_as_long_as_its_session_less_a_tenth_at_most() {
        for (session_minutes, shortest, longest) in
            [(1, 54, 60), (30, 1_620, 1_800), (60, 3_240, 3_600), (180, 3_240, 3_600)]
        {
            let life = |random| token_life_seconds(session_minutes * 60, random);
            let lives: Vec<u64> = (0..=10_000).map(life).collect();
            assert_eq!(lives.iter().min(), Some(&shortest));
            assert_eq!(lives.iter().max(), Some(&longest));
            assert!((shortest..=longest).contains(&life(u64::MAX)));
        }
    }
}
