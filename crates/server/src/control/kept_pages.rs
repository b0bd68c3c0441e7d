//! Pages of ListRooms that were answered and are still true.
//!
//! Consoles and dashboards ask for the same first pages again and again, while rooms are created and changed now and then. A page
//! that was made is kept, as the bytes of its answer, until anything at all is written to the store; whoever asks for it
//! until then is given the same bytes.
//!
//! Promise: what is given out is what the store would have answered at that moment ([`Store::edition`]). Limit: one
//! number of bytes for all; when they are used up, all pages are forgotten. A page is kept when it is asked for a second time, and
//! not before: whoever walks through a long list neither pays for keeping what nobody asks for again nor drives out what
//! others do. What was asked for once is remembered for as many bytes of other pages as can be kept, since a page that comes again
//! later would be forgotten before it does. A store that others write to as well has no edition, and nothing is kept.
//!
//! [`Store::edition`]: crate::store::Store::edition

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use protocol::arn::Scope;
use protocol::limit::control::{KEPT_PAGE_OVERHEAD_BYTES, KEPT_PAGES_BYTES_MAX};

use crate::store::{OrderKey, RoomFilter};

/// Which page it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PageKey {
    pub(super) scope: Scope,
    pub(super) filter: RoomFilter,
    pub(super) after: Option<OrderKey>,
    pub(super) page_size: usize,
}

/// All that is kept.
#[derive(Debug, Default)]
pub struct KeptPages {
    kept: Mutex<Kept>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Kept {
    /// Of the store, when the pages were made.
    edition: u64,
    pages: HashMap<PageKey, Bytes>,
    bytes: usize,
    seen: Seen,
}

/// Hashes of the pages of an edition that were asked for once. Two pages with the same hash are harmless: one of them is kept sooner.
#[derive(Debug, Default)]
struct Seen {
    hashes: HashSet<u64>,
    /// The same with the bytes of each page, in the order in which they are forgotten, and some that are kept by now.
    order: VecDeque<(u64, usize)>,
    bytes: usize,
}

impl KeptPages {
    /// The page, if it was made of this edition of the store.
    pub(super) fn find(&self, edition: u64, key: &PageKey) -> Option<Bytes> {
        let kept = self.lock();
        if kept.edition == edition { kept.pages.get(key).cloned() } else { None }
    }

    /// Takes note of a page that was made of this edition, and keeps it if it was lately made before.
    pub(super) fn keep(&self, edition: u64, key: PageKey, page: &[u8]) {
        let bytes = page.len() + KEPT_PAGE_OVERHEAD_BYTES;
        let hash = self.hasher.hash_one(&key);
        let mut kept = self.lock();
        if edition < kept.edition || bytes > KEPT_PAGES_BYTES_MAX {
            return;
        }
        if edition > kept.edition {
            *kept = Kept { edition, ..Kept::default() };
        }
        if !kept.seen.remove(hash) {
            kept.seen.insert(hash, bytes);
            return;
        }
        if kept.bytes + bytes > KEPT_PAGES_BYTES_MAX {
            kept.pages = HashMap::new();
            kept.bytes = 0;
        }
        // A copy, since the answer itself has room to spare that nobody would count.
        if kept.pages.insert(key, Bytes::copy_from_slice(page)).is_none() {
            kept.bytes += bytes;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nothing in here can panic half-way.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// Forgets a page; whether it was known.
    fn remove(&mut self, hash: u64) -> bool {
        self.hashes.remove(&hash)
    }

    /// Takes note of a page, and forgets others for it.
    fn insert(&mut self, hash: u64, bytes: usize) {
        while self.bytes + bytes > KEPT_PAGES_BYTES_MAX
            && let Some((oldest, its_bytes)) = self.order.pop_front()
        {
            self.hashes.remove(&oldest);
            self.bytes -= its_bytes;
        }
        self.hashes.insert(hash);
        self.order.push_back((hash, bytes));
        self.bytes += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(page_size: usize) -> PageKey {
        let scope = Scope { account_id: "123456789012".into(), region: "eu-west-1".into() };
        PageKey { scope, filter: RoomFilter::default(), after: None, page_size }
    }

    /// Has the page kept, which takes two.
    fn keep(pages: &KeptPages, edition: u64, key: &PageKey, page: &[u8]) {
        pages.keep(edition, key.clone(), page);
        pages.keep(edition, key.clone(), page);
    }

    #[test]
    fn a_page_is_kept_when_it_is_made_again() {
        let pages = KeptPages::default();
        pages.keep(2, key(1), b"one");
        assert_eq!(pages.find(2, &key(1)), None);
        pages.keep(2, key(1), b"one");
        assert_eq!(pages.find(2, &key(1)), Some(Bytes::from_static(b"one")));
    }

    #[test]
    fn a_walk_through_a_long_list_drives_out_nothing() {
        let pages = KeptPages::default();
        keep(&pages, 2, &key(0), b"first");
        let place = |after| PageKey { after: Some(after), ..key(0) };
        let page = vec![b' '; KEPT_PAGES_BYTES_MAX / 50];
        for _ in 0..2 {
            for after in 0..100 {
                pages.keep(2, place(after), &page);
                assert_eq!(pages.find(2, &place(after)), None, "{after}");
            }
        }
        assert!(pages.find(2, &key(0)).is_some());
    }

    #[test]
    fn a_page_is_found_in_its_edition_only() {
        let pages = KeptPages::default();
        keep(&pages, 2, &key(1), b"two");
        assert_eq!(pages.find(2, &key(1)), Some(Bytes::from_static(b"two")));
        assert_eq!(pages.find(2, &key(2)), None);
        assert_eq!(pages.find(4, &key(1)), None);
        keep(&pages, 4, &key(1), b"four");
        // Made before, and handed in late.
        keep(&pages, 2, &key(1), b"two");
        assert_eq!(pages.find(4, &key(1)), Some(Bytes::from_static(b"four")));
    }

    #[test]
    fn every_part_of_a_key_counts() {
        let keys = [
            key(1),
            PageKey { after: Some(1), ..key(1) },
            PageKey { filter: RoomFilter { name: Some("a".to_owned()), ..RoomFilter::default() }, ..key(1) },
            PageKey {
                filter: RoomFilter { review_handler_uri: Some("a".to_owned()), ..RoomFilter::default() },
                ..key(1)
            },
            PageKey { scope: Scope { region: "eu-west-2".into(), ..key(1).scope }, ..key(1) },
            PageKey { scope: Scope { account_id: "123456789013".into(), ..key(1).scope }, ..key(1) },
        ];
        let pages = KeptPages::default();
        let page = |number: usize| Bytes::from(number.to_string());
        keys.iter().enumerate().for_each(|(number, key)| keep(&pages, 2, key, &page(number)));
        for (number, key) in keys.iter().enumerate() {
            assert_eq!(pages.find(2, key), Some(page(number)));
        }
    }

    #[test]
    fn more_bytes_than_the_limit_are_never_kept() {
        let pages = KeptPages::default();
        let page = Bytes::from(vec![b' '; KEPT_PAGES_BYTES_MAX / 4 - KEPT_PAGE_OVERHEAD_BYTES]);
        for number in 0..100 {
            keep(&pages, 2, &key(number), &page);
            assert!(pages.find(2, &key(number)).is_some());
            let found = (0..100).filter(|number| pages.find(2, &key(*number)).is_some()).count();
            assert!(found <= 4, "{found}");
        }
        keep(&pages, 2, &key(0), &Bytes::from(vec![b' '; KEPT_PAGES_BYTES_MAX + 1]));
        assert!(pages.find(2, &key(99)).is_some(), "what is too large makes no room for itself");
        let asked = 2 * KEPT_PAGES_BYTES_MAX / KEPT_PAGE_OVERHEAD_BYTES;
        (0..asked).for_each(|number| keep(&pages, 4, &key(number), b""));
        let kept = (0..asked).filter(|number| pages.find(4, &key(*number)).is_some()).count();
        assert!(kept <= asked / 2, "{kept} of {asked}: empty pages take room, too");
    }
}
