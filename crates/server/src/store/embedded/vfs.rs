//! SQLite's way to its files, with a checksum on every page of a database: written with the page, verified whenever it
//! is read from the file.
//!
//! Promises: no damaged page is ever taken for a good one, by whoever reads it; whoever asked gets SQLite's error for
//! damage, and nobody else notices. The write-ahead log has checksums of SQLite's own, and pages get their trailers when
//! they are copied from there. A file without trailers, a foreign one or an old one, is read as it is.
//!
//! A page that SQLite leaves out when it makes a file longer (it was taken and given back in between) is written as
//! one of zeros, so every page of a file has a trailer, and one without is damaged.
//!
//! A *VFS* is what carries SQLite to the operating system. Ours opens files as the default one does, and then gives
//! a database file another table of methods: the default's own (locks, shared memory, sync, …), but for reading and
//! writing. One of two files of the server with `unsafe` (the other is `inheritance.rs`): SQLite calls its VFS through C
//! functions.

#![allow(
    unsafe_code,
    reason = "SQLite calls its VFS through pointers to C functions; each use says why it is sound"
)]

use std::collections::BTreeSet;
use std::ffi::{CStr, c_int, c_void};
use std::path::Path;
use std::ptr::{self, null};
use std::slice;
use std::sync::{Mutex, OnceLock};

use protocol::limit::store::DISCREPANCIES_MAX;
use rusqlite::ffi::{
    SQLITE_CANTOPEN, SQLITE_CORRUPT, SQLITE_FCNTL_FILE_POINTER, SQLITE_FCNTL_RESERVE_BYTES,
    SQLITE_IOERR_READ, SQLITE_IOERR_SHORT_READ, SQLITE_IOERR_WRITE, SQLITE_OK, SQLITE_OPEN_MAIN_DB,
    sqlite3_file, sqlite3_file_control, sqlite3_filename, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs,
    sqlite3_vfs_find, sqlite3_vfs_register,
};
use rusqlite::{Connection, Error, OpenFlags, Result};

use super::super::worker::lock;
use super::checksum::{PAGE_BYTES, Page, TRAILER_BYTES, has_room, is_checked, is_whole, seal};

/// What SQLite knows our VFS by.
const NAME: &CStr = c"grandstand";

/// [`PAGE_BYTES`], as C counts.
#[allow(clippy::cast_possible_truncation, reason = "it is 4,096")]
const PAGE_LENGTH: c_int = PAGE_BYTES as c_int;

/// `SQLITE_CORRUPT`, with an extended code of ours: after the plain one SQLite lets a transaction go no further, while a
/// group of writes goes on without the one that met the page.
const DAMAGED_PAGE: c_int = SQLITE_CORRUPT | 0x67 << 8;

/// Opens a database whose pages are verified if they have trailers; those of an empty file will (see [`reserve`]).
pub(super) fn open(path: &Path, flags: OpenFlags) -> Result<Connection> {
    register()?;
    Connection::open_with_flags_and_vfs(path, flags, NAME)
}

/// Has SQLite leave room for trailers in a database that is about to be made, be it by `VACUUM` of this one.
pub(super) fn reserve(connection: &Connection) -> Result<()> {
    let mut bytes = c_int::from(TRAILER_BYTES);
    // SAFETY: the handle is open while `connection` is borrowed; this operation reads and writes one int.
    let code = unsafe {
        let bytes = (&raw mut bytes).cast::<c_void>();
        sqlite3_file_control(connection.handle(), c"main".as_ptr(), SQLITE_FCNTL_RESERVE_BYTES, bytes)
    };
    outcome(code)
}

fn outcome(code: c_int) -> Result<()> {
    match code {
        SQLITE_OK => Ok(()),
        code => Err(Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)),
    }
}

/// Makes the VFS known, once per process.
fn register() -> Result<()> {
    static REGISTERED: OnceLock<c_int> = OnceLock::new();
    outcome(*REGISTERED.get_or_init(|| {
        // SAFETY: SQLite gives out a VFS that lives as long as the process, or null. The copy differs from it in name
        // and way of opening only, and is never freed, as SQLite keeps a pointer to it.
        unsafe {
            let Some(below) = sqlite3_vfs_find(null()).as_ref() else { return SQLITE_CANTOPEN };
            let ours = sqlite3_vfs {
                pNext: ptr::null_mut(),
                zName: NAME.as_ptr(),
                xOpen: Some(open_file),
                ..*below
            };
            sqlite3_vfs_register(Box::leak(Box::new(ours)), 0)
        }
    }))
}

/// The methods of a database file whose pages have trailers.
#[repr(C)]
struct Methods {
    /// First, since SQLite has a pointer to it and knows nothing of the rest.
    ours: sqlite3_io_methods,
    /// The default's.
    below: &'static sqlite3_io_methods,
}

fn known_methods() -> &'static Mutex<Vec<&'static Methods>> {
    static KNOWN: Mutex<Vec<&'static Methods>> = Mutex::new(Vec::new());
    &KNOWN
}

/// The methods that go over the default's `below`. There are very few of these: one for each way of locking files.
fn methods_over(below: &'static sqlite3_io_methods) -> &'static Methods {
    let mut known = lock(known_methods());
    if let Some(methods) = known.iter().find(|methods| ptr::eq(methods.below, below)) {
        return methods;
    }
    // Version 2 has no memory-mapped pages, which nobody would verify.
    let ours = sqlite3_io_methods {
        iVersion: below.iVersion.min(2),
        xRead: Some(read),
        xWrite: Some(write),
        xTruncate: Some(truncate),
        xFetch: None,
        xUnfetch: None,
        ..*below
    };
    let methods: &'static Methods = Box::leak(Box::new(Methods { ours, below }));
    known.push(methods);
    methods
}

/// The default's methods of a file that has ours.
///
/// # Safety
/// `file` must have been opened by [`open_file`] and been given [`Methods`].
unsafe fn below(file: *mut sqlite3_file) -> &'static sqlite3_io_methods {
    // SAFETY: the pointer that was put there leads to the first member of a `Methods` that is never freed.
    unsafe { (*(*file).pMethods.cast::<Methods>()).below }
}

/// SQLite's `xOpen`: only here is it known whether a file is a database, and one with trailers.
unsafe extern "C" fn open_file(
    _: *mut sqlite3_vfs,
    name: sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    // SAFETY: all pointers are SQLite's and are handed on as they came. `file` has the size that the default VFS asked
    // for, since ours is a copy of it; after a success its methods are valid until it is closed.
    unsafe {
        let default = sqlite3_vfs_find(null());
        let Some(open) = default.as_ref().and_then(|default| default.xOpen) else { return SQLITE_CANTOPEN };
        let code = open(default, name, file, flags, flags_out);
        if code != SQLITE_OK || flags & SQLITE_OPEN_MAIN_DB == 0 {
            return code;
        }
        let Some(below) = (*file).pMethods.as_ref() else { return SQLITE_CANTOPEN };
        match has_trailers(below, file) {
            Ok(true) => (*file).pMethods = &raw const methods_over(below).ours,
            Ok(false) => {}
            Err(code) => {
                if let Some(close) = below.xClose {
                    close(file);
                }
                (*file).pMethods = null();
                return code;
            }
        }
    }
    SQLITE_OK
}

/// Whether the pages of a file have trailers, or will: an empty file is about to become one of ours.
///
/// # Safety
/// `below` must be the methods of `file`, which must be open.
unsafe fn has_trailers(
    below: &sqlite3_io_methods,
    file: *mut sqlite3_file,
) -> std::result::Result<bool, c_int> {
    let (Some(size_of), Some(read)) = (below.xFileSize, below.xRead) else { return Err(SQLITE_CANTOPEN) };
    let mut size: sqlite3_int64 = 0;
    let mut page: Page = [0; PAGE_BYTES];
    // SAFETY: both pointers are to values of ours that outlive the calls; the buffer has the length that is named.
    unsafe {
        match size_of(file, &raw mut size) {
            SQLITE_OK if size == 0 => return Ok(true),
            SQLITE_OK => {}
            code => return Err(code),
        }
        match read(file, page.as_mut_ptr().cast(), PAGE_LENGTH, 0) {
            SQLITE_OK => Ok(is_checked(&page)),
            SQLITE_IOERR_SHORT_READ => Ok(false),
            code => Err(code),
        }
    }
}

/// The number of the page that begins at `offset`, if one does.
fn page_at(offset: sqlite3_int64) -> Option<u32> {
    let bytes = PAGE_BYTES as sqlite3_int64;
    (offset % bytes == 0).then(|| u32::try_from(offset / bytes + 1).ok())?
}

/// SQLite's `xRead`: what is not whole never reaches SQLite as a page.
unsafe extern "C" fn read(
    file: *mut sqlite3_file,
    buffer: *mut c_void,
    length: c_int,
    offset: sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite calls this for files that have our methods, with a buffer of `length` bytes. Nothing else is
    // read from or written to than that buffer and a page of ours.
    unsafe {
        let Some(read) = below(file).xRead else { return SQLITE_IOERR_READ };
        let bytes = usize::try_from(length).unwrap_or(0);
        let number = match page_at(offset) {
            Some(number) if bytes == PAGE_BYTES || number > 1 && bytes < PAGE_BYTES => number,
            // The header, or a part of it, which is also read before the page size is known.
            _ => return read(file, buffer, length, offset),
        };
        if bytes == PAGE_BYTES {
            let code = read(file, buffer, length, offset);
            return match code {
                SQLITE_OK => verified(&*buffer.cast::<Page>(), number),
                code => code,
            };
        }
        // The beginning of a page is all that SQLite wants of the overflow of a long value.
        let mut page: Page = [0; PAGE_BYTES];
        let code = read(file, page.as_mut_ptr().cast(), PAGE_LENGTH, offset);
        slice::from_raw_parts_mut(buffer.cast::<u8>(), bytes).copy_from_slice(&page[..bytes]);
        if code == SQLITE_OK { verified(&page, number) } else { code }
    }
}

/// What SQLite is told of page `number` that was read.
fn verified(page: &Page, number: u32) -> c_int {
    if is_whole(page, number) {
        return SQLITE_OK;
    }
    report(number);
    DAMAGED_PAGE
}

/// Says that a page is damaged: once, since whoever needs it may ask again and again.
fn report(number: u32) {
    static REPORTED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());
    let mut reported = lock(&REPORTED);
    if reported.len() < DISCREPANCIES_MAX && reported.insert(number) {
        tracing::error!(
            page = number,
            "a page of the store is damaged; `grandstand check` looks at them all"
        );
    }
}

/// SQLite's `xWrite`: no page reaches the file without its trailer.
unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    buffer: *const c_void,
    length: c_int,
    offset: sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite calls this for files that have our methods, with a buffer of `length` bytes, which is copied.
    unsafe {
        let Some(write) = below(file).xWrite else { return SQLITE_IOERR_WRITE };
        let bytes = slice::from_raw_parts(buffer.cast::<u8>(), usize::try_from(length).unwrap_or(0));
        let (Some(number), Ok(page)) = (page_at(offset), <&Page>::try_from(bytes)) else {
            // SQLite writes whole pages; a part of one would leave a wrong checksum behind.
            return SQLITE_IOERR_WRITE;
        };
        // Without room for it, a trailer would be written over data.
        if number == 1 && !has_room(page) {
            return SQLITE_IOERR_WRITE;
        }
        match fill_up_to(file, offset) {
            SQLITE_OK => {}
            code => return code,
        }
        let mut page = *page;
        seal(&mut page, number);
        write(file, page.as_ptr().cast(), length, offset)
    }
}

/// SQLite's `xTruncate`, which it also calls to make a file longer.
unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    // SAFETY: SQLite calls this for files that have our methods.
    unsafe {
        let Some(truncate) = below(file).xTruncate else { return SQLITE_IOERR_WRITE };
        match fill_up_to(file, size) {
            SQLITE_OK => truncate(file, size),
            code => code,
        }
    }
}

/// Writes the pages that are missing between the end of a file and `end`.
///
/// # Safety
/// `file` must have been opened by [`open_file`] and been given [`Methods`].
unsafe fn fill_up_to(file: *mut sqlite3_file, end: sqlite3_int64) -> c_int {
    // SAFETY: the size is read into a value of ours, and what is written is a page of ours.
    unsafe {
        let (Some(size_of), Some(write)) = (below(file).xFileSize, below(file).xWrite) else {
            return SQLITE_IOERR_WRITE;
        };
        let mut size: sqlite3_int64 = 0;
        match size_of(file, &raw mut size) {
            SQLITE_OK => {}
            code => return code,
        }
        while size < end {
            let Some(number) = page_at(size) else { return SQLITE_IOERR_WRITE };
            let mut page: Page = [0; PAGE_BYTES];
            seal(&mut page, number);
            match write(file, page.as_ptr().cast(), PAGE_LENGTH, size) {
                SQLITE_OK => size += sqlite3_int64::from(PAGE_LENGTH),
                code => return code,
            }
        }
    }
    SQLITE_OK
}

/// The numbers of all damaged pages of a database file, whether anything leads to them or not; none for a database that
/// is no file. What the write-ahead log has of them is left to SQLite.
pub(super) fn damaged_pages(connection: &Connection, mut found: impl FnMut(u32)) -> Result<()> {
    let mut file: *mut sqlite3_file = ptr::null_mut();
    // SAFETY: the handle is open while `connection` is borrowed; the file that it answers lives as long, and has
    // methods of ours if its table is one that `methods_over` made. Read through SQLite's own file, since closing
    // another one of the same name would give up its locks.
    unsafe {
        let to_file = (&raw mut file).cast::<c_void>();
        let operation = SQLITE_FCNTL_FILE_POINTER;
        outcome(sqlite3_file_control(connection.handle(), c"main".as_ptr(), operation, to_file))?;
        let has_trailers = file.as_ref().and_then(|file| file.pMethods.as_ref()).is_some_and(is_ours);
        if !has_trailers {
            return Ok(());
        }
        let (Some(size_of), Some(read)) = (below(file).xFileSize, below(file).xRead) else { return Ok(()) };
        let mut size: sqlite3_int64 = 0;
        outcome(size_of(file, &raw mut size))?;
        let mut page: Page = [0; PAGE_BYTES];
        let mut offset = 0;
        while let Some(number) = page_at(offset).filter(|_| offset < size) {
            match read(file, page.as_mut_ptr().cast(), PAGE_LENGTH, offset) {
                SQLITE_OK if is_whole(&page, number) => {}
                SQLITE_OK | SQLITE_IOERR_SHORT_READ => found(number),
                code => return outcome(code),
            }
            offset += sqlite3_int64::from(PAGE_LENGTH);
        }
    }
    Ok(())
}

/// Whether a table of methods is one of ours.
fn is_ours(methods: &sqlite3_io_methods) -> bool {
    lock(known_methods()).iter().any(|known| ptr::eq(&raw const known.ours, methods))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;

    use rusqlite::OpenFlags;
    use tempfile::TempDir;

    use super::super::checksum::{PAGE_BYTES, Page, TRAILER_BYTES, is_whole};
    use super::{damaged_pages, open, reserve};

    /// Pages that are taken and given back in one transaction are never written by SQLite when it has no write-ahead log
    /// (as when a database is made), and are in the file all the same.
    #[test]
    fn pages_that_sqlite_leaves_out_have_trailers_and_can_be_used() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a.db");
        fs::write(&path, "").unwrap();
        let connection = open(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
        reserve(&connection).unwrap();
        connection
            .execute_batch(
                "BEGIN;
                 CREATE TABLE a (value BLOB);
                 INSERT INTO a VALUES (zeroblob(200000));
                 CREATE TABLE b (value BLOB);
                 DELETE FROM a WHERE rowid = 1;
                 COMMIT",
            )
            .unwrap();
        let content = fs::read(&path).unwrap();
        let mut left_out = 0;
        for (number, page) in (1..).zip(content.chunks(PAGE_BYTES)) {
            let page: &Page = page.try_into().unwrap();
            assert!(is_whole(page, number), "page {number}");
            let data = &page[..PAGE_BYTES - usize::from(TRAILER_BYTES)];
            left_out += usize::from(data.iter().all(|byte| *byte == 0));
        }
        assert!(left_out > 10, "{left_out}");
        damaged_pages(&connection, |number| panic!("page {number}")).unwrap();
        connection.execute("INSERT INTO a VALUES (zeroblob(200000))", []).unwrap();
        let length: i64 =
            connection.query_row("SELECT sum(length(value)) FROM a", [], |row| row.get(0)).unwrap();
        assert_eq!(length, 200_000);
    }
}
