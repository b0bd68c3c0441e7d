//! Random numbers for ids: fast, seeded by the caller, so that a simulation can be repeated.

/// The generator xoshiro256** of Blackman and Vigna. Not for secrets: an id need not be a secret, only unlike all
/// others.
#[derive(Clone, Debug)]
pub struct Random([u64; 4]);

impl Random {
    /// Starts from 32 random bytes. All zeros would only ever give zeros, and is replaced.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let mut state = [0; 4];
        for (word, bytes) in state.iter_mut().zip(seed.chunks_exact(8)) {
            *word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        if state == [0; 4] {
            state[0] = 1;
        }
        Self(state)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// The next 128 bits.
    pub fn next_u128(&mut self) -> u128 {
        u128::from(self.next_u64()) << 64 | u128::from(self.next_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn a_seed_repeats_and_numbers_do_not() {
        let numbers = |seed| {
            let mut random = Random::from_seed([seed; 32]);
            (0..1_000).map(|_| random.next_u128()).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(numbers(7), numbers(7));
        assert_eq!(numbers(0).len(), 1_000);
        assert!(numbers(7).is_disjoint(&numbers(8)));
    }
}
