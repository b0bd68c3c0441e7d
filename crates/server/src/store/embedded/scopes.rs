//! Scopes as the small numbers that all keys begin with.

use std::collections::HashMap;
use std::sync::Mutex;

use protocol::arn::{ResourceKind, Scope};
use protocol::limit::store::SCOPES_KNOWN_MAX;
use rusqlite::{Connection, OptionalExtension, Result, params};

use super::super::worker::lock;

/// The number of a scope. Once given it never changes, so it can be looked up outside the transaction that uses it.
pub(super) type ScopeNumber = i64;

/// Numbers that were looked up. A list is one range of one table, and would otherwise begin in two others.
#[derive(Default)]
pub(super) struct KnownScopes {
    numbers: Mutex<HashMap<Scope, ScopeNumber>>,
}

impl KnownScopes {
    /// As [`find`], which it asks once for a scope.
    pub(super) fn find(&self, connection: &Connection, scope: &Scope) -> Result<Option<ScopeNumber>> {
        if let Some(number) = lock(&self.numbers).get(scope) {
            return Ok(Some(*number));
        }
        let found = find(connection, scope)?;
        if let Some(number) = found {
            let mut numbers = lock(&self.numbers);
            if numbers.len() < SCOPES_KNOWN_MAX {
                numbers.insert(scope.clone(), number);
            }
        }
        Ok(found)
    }
}

/// The number of a scope that has ever had a resource.
pub(super) fn find(connection: &Connection, scope: &Scope) -> Result<Option<ScopeNumber>> {
    connection
        .prepare_cached("SELECT id FROM scope WHERE account_id = ?1 AND region = ?2")?
        .query_row(params![scope.account_id, scope.region], |row| row.get(0))
        .optional()
}

/// The number of a scope, given now if it has none.
pub(super) fn find_or_insert(connection: &Connection, scope: &Scope) -> Result<ScopeNumber> {
    if let Some(number) = find(connection, scope)? {
        return Ok(number);
    }
    connection
        .prepare_cached("INSERT INTO scope (account_id, region) VALUES (?1, ?2) RETURNING id")?
        .query_row(params![scope.account_id, scope.region], |row| row.get(0))
}

/// Whether the scope has `count` resources of a kind, or more. Walks over as many: the tables keep no counts, which
/// would cost every write something and only the profile `aws` asks for.
pub(super) fn has_at_least(
    connection: &Connection,
    scope: &Scope,
    kind: ResourceKind,
    count: u32,
) -> Result<bool> {
    let query = match kind {
        ResourceKind::Room => "SELECT EXISTS (SELECT 1 FROM room WHERE scope = ?1 LIMIT 1 OFFSET ?2)",
        ResourceKind::LoggingConfiguration => {
            "SELECT EXISTS (SELECT 1 FROM logging_configuration WHERE scope = ?1 LIMIT 1 OFFSET ?2)"
        }
    };
    let number = find(connection, scope)?;
    connection.prepare_cached(query)?.query_row(params![number, count.saturating_sub(1)], |row| row.get(0))
}
