//! What nobody may guess: ids and secret keys.

use protocol::id::Id;

use super::StoreError;

/// An id for something new.
pub(super) fn random_id() -> Result<Id, StoreError> {
    Ok(Id::from_random(random_number()?))
}

/// 128 random bits.
pub(super) fn random_number() -> Result<u128, StoreError> {
    let mut random = [0; 16];
    fill_random(&mut random)?;
    Ok(u128::from_ne_bytes(random))
}

/// Random bytes from the operating system.
pub(super) fn fill_random(bytes: &mut [u8]) -> Result<(), StoreError> {
    getrandom::fill(bytes).map_err(|error| StoreError::unavailable(format!("no random bytes: {error}")))
}
