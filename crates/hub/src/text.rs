//! The texts that sessions keep, all in one block of memory.
//!
//! Each in a block of its own on the heap, they would cost far more than their bytes. They come with handshakes, whose
//! memory the runtime's threads take and the shard gives back; and glibc has a thread use what it has just given back
//! for its next block of the same size, whoever took it. So texts would come to lie among the short-lived blocks of
//! handshakes even when the shard copies them, and split memory that could then hardly be used again (what that cost
//! is in `docs/performance.md`). Here they only cost what they take up, whatever the allocator does.
//!
//! Invariants: every cell belongs to one text, or to the chain of free cells; a text is read and removed only by the
//! [`Text`] that adding it gave.

/// How many bytes of a text are in one cell: with the number of the next one that makes 64.
const CELL_BYTES: usize = 60;

/// Behind the last cell of a chain.
const NONE: u32 = u32::MAX;

/// A piece of a text, and where it goes on.
#[derive(Clone, Copy)]
struct Cell {
    bytes: [u8; CELL_BYTES],
    next: u32,
}

/// A text among [`Texts`].
#[derive(Debug)]
pub struct Text {
    first: u32,
    length: u32,
}

/// See the module. The memory of the largest crowd so far is kept, as that of its sessions is, and what was removed stays in
/// it until something else is written there. There is no `Debug`: what applications say about people is not to be shown.
pub struct Texts {
    cells: Vec<Cell>,
    /// The first of the free cells.
    free: u32,
}

impl Default for Texts {
    fn default() -> Self {
        Self { cells: Vec::new(), free: NONE }
    }
}

impl Texts {
    /// Adds a text.
    pub fn add(&mut self, text: &str) -> Text {
        let mut first = NONE;
        // From the end, so that each cell can name the next one.
        for piece in text.as_bytes().chunks(CELL_BYTES).rev() {
            let mut cell = Cell { bytes: [0; CELL_BYTES], next: first };
            cell.bytes[..piece.len()].copy_from_slice(piece);
            first = self.put(cell);
        }
        Text { first, length: u32::try_from(text.len()).unwrap_or(u32::MAX) }
    }

    fn put(&mut self, cell: Cell) -> u32 {
        let number = self.free;
        match self.cells.get_mut(number as usize) {
            Some(free) => {
                self.free = free.next;
                *free = cell;
                number
            }
            None => {
                self.cells.push(cell);
                u32::try_from(self.cells.len() - 1).unwrap_or(NONE)
            }
        }
    }

    /// A copy of a text.
    #[must_use]
    pub fn get(&self, text: &Text) -> String {
        let mut bytes = Vec::with_capacity(self.chain(text).count() * CELL_BYTES);
        for number in self.chain(text) {
            bytes.extend_from_slice(&self.cells[number as usize].bytes);
        }
        bytes.truncate(text.length as usize);
        // It was text when it was added.
        String::from_utf8(bytes).unwrap_or_default()
    }

    /// Removes a text.
    #[expect(clippy::needless_pass_by_value, reason = "what was removed must not be read any more")]
    pub fn remove(&mut self, text: Text) {
        if let Some(last) = self.chain(&text).last() {
            self.cells[last as usize].next = self.free;
            self.free = text.first;
        }
    }

    /// The cells of a text.
    fn chain(&self, text: &Text) -> impl Iterator<Item = u32> + '_ {
        let cell = |number: u32| (number != NONE).then_some(number);
        std::iter::successors(cell(text.first), move |number| cell(self.cells[*number as usize].next))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::{CELL_BYTES, Text, Texts};

    proptest! {
        #[test]
        fn texts_stay_as_they_were_added_and_their_cells_are_used_again(
            steps in vec((0..3_usize, "\\PC{0,200}", 0..20_usize), 0..60),
        ) {
            let mut texts = Texts::default();
            let mut kept: Vec<(Text, String)> = Vec::new();
            let cells = |kept: &[(Text, String)]| -> usize {
                kept.iter().map(|(_, wanted)| wanted.len().div_ceil(CELL_BYTES)).sum()
            };
            let mut cells_most = 0;
            for (action, wanted, choice) in steps {
                if action == 0 && !kept.is_empty() {
                    let (text, _) = kept.swap_remove(choice % kept.len());
                    texts.remove(text);
                } else {
                    kept.push((texts.add(&wanted), wanted));
                }
                cells_most = cells_most.max(cells(&kept));
                for (text, wanted) in &kept {
                    prop_assert_eq!(&texts.get(text), wanted);
                }
                prop_assert!(texts.cells.len() <= cells_most);
            }
        }
    }
}
