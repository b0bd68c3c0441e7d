//! SQLite's way to its files, with a checksum on every page of a database: written with the page, verified whenever it
//! is read from the file.
//!
//! Promises: no damaged page is ever taken for a good one, by whoever reads it; whoever asked gets SQLite's error for
//! damage, and nobody else notices. The write-ahead log has checksums of SQLite's own, and pages get their trailers when
//! they are copied from there. A file without trailers, a foreign one or an old one, is read as it is.
//!
//! A *VFS* is what carries SQLite to the operating system. Ours opens files as the default one does, and then gives
//! a database file another table of methods: the default's own (locks, shared memory, sync, …), but for reading and
//! writing. The only file of the server with `unsafe`: SQLite calls its VFS through C functions.

#![allow(
    unsafe_code,
    reason = "SQLite calls its VFS through pointers to C functions; each use says why it is sound"
)]

use std::ffi::{CStr, c_int, c_void};
use std::path::Path;
use std::ptr::{self, null};
use std::slice;
use std::sync::{Mutex, OnceLock};

use rusqlite::ffi::{
    SQLITE_CANTOPEN, SQLITE_CORRUPT, SQLITE_FCNTL_RESERVE_BYTES, SQLITE_IOERR_READ, SQLITE_IOERR_SHORT_READ,
    SQLITE_IOERR_WRITE, SQLITE_OK, SQLITE_OPEN_MAIN_DB, sqlite3_file, sqlite3_file_control, sqlite3_filename,
    sqlite3_int64, sqlite3_io_methods, sqlite3_vfs, sqlite3_vfs_find, sqlite3_vfs_register,
};
use rusqlite::{Connection, Error, OpenFlags, Result};

use super::super::worker::lock;
use super::checksum::{PAGE_BYTES, Page, TRAILER_BYTES, has_room, is_checked, is_whole, seal};

/// What SQLite knows our VFS by.
const NAME: &CStr = c"grandstand";

/// [`PAGE_BYTES`], as C counts.
const PAGE_LENGTH: c_int = 4_096;
const _: () = assert!(PAGE_LENGTH as usize == PAGE_BYTES);

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

/// The methods that go over the default's `below`. There are very few of these: one for each way of locking files.
fn methods_over(below: &'static sqlite3_io_methods) -> &'static Methods {
    static KNOWN: Mutex<Vec<&'static Methods>> = Mutex::new(Vec::new());
    let mut known = lock(&KNOWN);
    if let Some(methods) = known.iter().find(|methods| ptr::eq(methods.below, below)) {
        return methods;
    }
    // Version 2 has no memory-mapped pages, which nobody would verify.
    let ours = sqlite3_io_methods {
        iVersion: below.iVersion.min(2),
        xRead: Some(read),
        xWrite: Some(write),
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

/// SQLite's `xOpen`.
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

/// SQLite's `xRead`.
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
        // The beginning of a page is all that SQLite wants of the overflow of a long value.
        let mut page: Page = [0; PAGE_BYTES];
        let code = read(file, page.as_mut_ptr().cast(), PAGE_LENGTH, offset);
        slice::from_raw_parts_mut(buffer.cast::<u8>(), bytes).copy_from_slice(&page[..bytes]);
        if code == SQLITE_OK && !is_whole(&page, number) {
            tracing::error!(
                page = number,
                "a page of the store is damaged; `grandstand check` looks at them all"
            );
            return DAMAGED_PAGE;
        }
        code
    }
}

/// SQLite's `xWrite`.
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
        let mut page = *page;
        seal(&mut page, number);
        write(file, page.as_ptr().cast(), length, offset)
    }
}
