//! Chance, from a seed: the same seed gives the same numbers.

use hub::random::Random;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Dice(Random);

impl Dice {
    /// The numbers of `seed`; each `purpose` has a sequence of its own, so that one does not disturb another.
    #[must_use]
    pub fn new(seed: u64, purpose: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        bytes[8..16].copy_from_slice(&purpose.to_be_bytes());
        bytes[31] = 1;
        let mut random = Random::from_seed(bytes);
        // Seeds that differ in few bits begin alike.
        for _ in 0..20 {
            random.next_u64();
        }
        Self(random)
    }

    /// A number from 0 up to but without `end`; 0 when `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0.next_u64() % end.max(1)
    }

    /// A number of `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True so many times in a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// One of `choices`; `None` when there are none.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        let index = usize::try_from(self.below(choices.len() as u64)).unwrap_or(0);
        choices.get(index).copied()
    }

    /// Bytes for a hub's seed.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for chunk in bytes.chunks_exact_mut(8) {
            chunk.copy_from_slice(&self.0.next_u64().to_be_bytes());
        }
        bytes
    }
}
