//! The checksum of a page of the database file.
//!
//! The last eight bytes of each page are a *trailer*: the page's number, then the CRC-32 of all before it, number
//! included, both little-endian. So a page is told that was changed on the disk, that stands in another's place, or of
//! which only a part was written. SQLite leaves these bytes to us, and says so in the file's header.

/// Bytes of a page: SQLite's default, and what all our files have.
pub(super) const PAGE_BYTES: usize = 4_096;

/// Bytes that SQLite leaves free at the end of each page.
pub(super) const TRAILER_BYTES: u8 = 8;

/// Where the header of a database, in its first page, says how many bytes are left free. From SQLite's file format.
const HEADER_RESERVED_AT: usize = 20;

const CHECKSUM_AT: usize = PAGE_BYTES - 4;
const NUMBER_AT: usize = CHECKSUM_AT - 4;

/// A page, and room for one.
pub(super) type Page = [u8; PAGE_BYTES];

/// Writes the trailer of page `number`; the first has number 1.
pub(super) fn seal(page: &mut Page, number: u32) {
    page[NUMBER_AT..CHECKSUM_AT].copy_from_slice(&number.to_le_bytes());
    let checksum = crc32fast::hash(&page[..CHECKSUM_AT]);
    page[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
}

/// Whether the page is as it was written, and at its place.
pub(super) fn is_whole(page: &Page, number: u32) -> bool {
    page[NUMBER_AT..CHECKSUM_AT] == number.to_le_bytes()
        && page[CHECKSUM_AT..] == crc32fast::hash(&page[..CHECKSUM_AT]).to_le_bytes()
}

/// Whether the header in the first page leaves room for trailers.
pub(super) fn has_room(first_page: &Page) -> bool {
    first_page[HEADER_RESERVED_AT] == TRAILER_BYTES
}

/// Whether the pages of a file with this first page have trailers. Also true when the header does not say so any more,
/// being damaged itself.
pub(super) fn is_checked(first_page: &Page) -> bool {
    has_room(first_page) || first_page[NUMBER_AT..CHECKSUM_AT] == 1_u32.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::{HEADER_RESERVED_AT, NUMBER_AT, PAGE_BYTES, Page, TRAILER_BYTES, is_checked, is_whole, seal};

    fn page() -> Page {
        let mut page = [7; PAGE_BYTES];
        page[HEADER_RESERVED_AT] = TRAILER_BYTES;
        seal(&mut page, 1);
        page
    }

    #[test]
    fn each_bit_counts_and_so_does_the_place() {
        let page = page();
        assert!(is_whole(&page, 1) && !is_whole(&page, 2));
        for bit in 0..PAGE_BYTES * 8 {
            let mut flipped = page;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_whole(&flipped, 1), "bit {bit}");
            assert!(is_checked(&flipped), "no single bit hides that there are trailers: {bit}");
        }
    }

    #[test]
    fn a_page_of_which_a_part_was_written_is_told() {
        let (old, mut new) = (page(), [9; PAGE_BYTES]);
        seal(&mut new, 1);
        for written in (512..PAGE_BYTES).step_by(512) {
            let mut torn = old;
            torn[..written].copy_from_slice(&new[..written]);
            assert!(!is_whole(&torn, 1), "{written} bytes");
        }
    }

    #[test]
    fn a_page_without_a_trailer_is_not_whole() {
        assert!(!is_whole(&[0; PAGE_BYTES], 5));
        let mut page = page();
        page[NUMBER_AT..].fill(0);
        assert!(!is_whole(&page, 1));
    }
}
