//! Random bytes for what goes out: ids of requests, nonces, ids of tokens. Never for keys.
//!
//! They come from the operating system, [`RESERVE_BYTES`] at a time for each thread, since every call is a system call and
//! every request needs some. Bytes are handed out once.

use std::cell::RefCell;

/// What a thread takes at a time.
const RESERVE_BYTES: usize = 512;

/// Random bytes; those from `used` on have not been handed out.
struct Reserve {
    bytes: [u8; RESERVE_BYTES],
    used: usize,
}

thread_local! {
    static RESERVE: RefCell<Reserve> =
        const { RefCell::new(Reserve { bytes: [0; RESERVE_BYTES], used: RESERVE_BYTES }) };
}

/// Some random bytes, at most [`RESERVE_BYTES`].
///
/// # Errors
///
/// When the operating system has none.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    RESERVE.with_borrow_mut(Reserve::take)
}

impl Reserve {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], getrandom::Error> {
        const { assert!(N <= RESERVE_BYTES, "more than a reserve has") };
        if self.bytes.len() - self.used < N {
            // Until it is full again, there is nothing in it.
            self.used = RESERVE_BYTES;
            getrandom::fill(&mut self.bytes)?;
            self.used = 0;
        }
        let mut taken = [0; N];
        let from = &mut self.bytes[self.used..self.used + N];
        taken.copy_from_slice(from);
        // What has been handed out is nobody else's.
        from.fill(0);
        self.used += N;
        Ok(taken)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::HashSet;

    use super::{RESERVE_BYTES, random};

    #[test]
    fn no_bytes_are_handed_out_twice() {
        let mut seen = HashSet::new();
        for _ in 0..4 * RESERVE_BYTES / 24 {
            let [first, second]: [[u8; 12]; 2] = {
                let bytes: [u8; 24] = random().unwrap();
                [bytes[..12].try_into().unwrap(), bytes[12..].try_into().unwrap()]
            };
            assert!(seen.insert(first) && seen.insert(second));
            assert!(seen.insert(random().unwrap()));
        }
        assert!(!seen.contains(&[0; 12]));
    }
}
