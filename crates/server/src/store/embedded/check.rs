//! Verifies that the store agrees with itself: pages, postings against rooms, references, the order clock.
//!
//! What cannot be read is a finding like any other, and the rest is looked at all the same.

use protocol::limit::store::DISCREPANCIES_MAX;
use rusqlite::{Connection, Error, ErrorCode, Result, Transaction, TransactionBehavior, params};

use super::super::discrepancy::Shown;
use super::super::facet::Facet;
use super::super::{Checked, Discrepancy, Room, StoreError};
use super::is_unreadable_value;
use super::scopes::ScopeNumber;
use super::values::IdText;
use super::{order_clock, posting, rooms, vfs};

/// Looks at everything. Reads one state of the store, however long it takes.
pub(super) fn check(connection: &Connection) -> Result<Checked, StoreError> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Deferred)?;
    let mut checked = Checked::default();
    type Part = fn(&Connection, &mut Checked) -> Result<()>;
    let parts: [(&str, Part); 5] = [
        ("its pages", check_checksums),
        ("its pages", check_pages),
        ("table room", check_rooms),
        ("table posting", check_postings),
        ("table order_clock", check_order_clock),
    ];
    for (name, part) in parts {
        match part(&transaction, &mut checked) {
            Err(error) if is_damage(&error) => {
                checked.add(Discrepancy::DamagedFile(format!("{name}: {error}")));
            }
            outcome => outcome?,
        }
    }
    Ok(checked)
}

/// Whether the file is to blame, and not the disk or the machine.
fn is_damage(error: &Error) -> bool {
    let code = error.sqlite_error_code();
    is_unreadable_value(error)
        || matches!(error, Error::QueryReturnedNoRows)
        || matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Every page of the file, those that nothing leads to included. A store that was opened has copied its write-ahead log
/// into the file.
fn check_checksums(connection: &Connection, checked: &mut Checked) -> Result<()> {
    vfs::damaged_pages(connection, |number| {
        checked.add(Discrepancy::DamagedFile(format!("page {number}: its checksum is wrong")));
    })
}

/// The file's own structure, as far as SQLite can tell.
fn check_pages(connection: &Connection, checked: &mut Checked) -> Result<()> {
    let mut statement = connection.prepare(&format!("PRAGMA quick_check({DISCREPANCIES_MAX})"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let message: String = row.get(0)?;
        // A message of several lines begins with one that only names the database.
        for line in message.lines().filter(|line| *line != "ok" && !line.starts_with("***")) {
            checked.add(Discrepancy::DamagedFile(line.to_owned()));
        }
    }
    Ok(())
}

/// Each room can be read, is in every list that it belongs to, and has logging configurations that exist.
fn check_rooms(connection: &Connection, checked: &mut Checked) -> Result<()> {
    rooms::for_each(connection, |scope, room| {
        checked.rooms += 1;
        match room {
            Ok(room) => check_room(connection, scope, &room, checked)?,
            Err(error) => checked.add(Discrepancy::DamagedFile(format!("a row of table room: {error}"))),
        }
        Ok(())
    })
}

fn check_room(connection: &Connection, scope: ScopeNumber, room: &Room, checked: &mut Checked) -> Result<()> {
    let summary = room.summary();
    for facet in Facet::all_of_room(room) {
        let shown = match posting::find(connection, scope, facet, room.order_key) {
            Ok(posting) => posting.map_or(Shown::Nothing, Shown::Summary),
            Err(error) if is_unreadable_value(&error) => Shown::Unreadable,
            Err(error) => return Err(error),
        };
        checked.compare(&summary, facet, &shown);
    }
    let mut exists = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM logging_configuration WHERE scope = ?1 AND id = ?2)")?;
    for &id in &room.logging_configurations {
        if !exists.query_row(params![scope, id.as_str()], |row| row.get(0))? {
            let missing =
                Discrepancy::LoggingConfigurationMissing { room: room.id, logging_configuration: id };
            checked.add(missing);
        }
    }
    Ok(())
}

/// Each posting is that of a room which belongs where it is listed.
fn check_postings(connection: &Connection, checked: &mut Checked) -> Result<()> {
    let mut statement = connection.prepare(
        "SELECT listed.room, by_name, by_handler, by_logging,
                room.id IS NULL
                OR room.order_key <> listed.order_key
                OR by_name NOT IN ('', room.name)
                OR by_handler NOT IN ('', coalesce(room.handler_uri, ''))
                OR by_logging <> ''
                   AND instr(',' || room.logging_configurations || ',', ',' || by_logging || ',') = 0
         FROM (SELECT *, substr(entry, 1, 12) AS room FROM posting) AS listed
              LEFT JOIN room ON room.scope = listed.scope AND room.id = listed.room",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        checked.postings += 1;
        if !row.get::<_, bool>(4)? {
            continue;
        }
        let room = row.get::<_, IdText>(0).ok().map(|IdText(id)| id);
        let (name, handler_uri, logging_configuration): (String, String, String) =
            (row.get(1)?, row.get(2)?, row.get(3)?);
        let facet =
            Facet { name: &name, handler_uri: &handler_uri, logging_configuration: &logging_configuration };
        checked.add_stray(room, facet);
    }
    Ok(())
}

/// No order key lies ahead of the clock that gives them out.
fn check_order_clock(connection: &Connection, checked: &mut Checked) -> Result<()> {
    if order_clock::last_saved(connection)? < order_clock::highest_key(connection)? {
        checked.add(Discrepancy::OrderClockBehind);
    }
    Ok(())
}
