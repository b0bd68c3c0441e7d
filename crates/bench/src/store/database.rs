//! A schema of a PostgreSQL database that holds a store under test.

use std::time::{Duration, Instant};

use server::config::DatabaseUrl;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::failure::Failure;

/// How long the connections of a closed store may take to end.
const END_TIME_MAX: Duration = Duration::from_secs(30);
/// How long to wait before the database is asked again whether they have.
const PAUSE: Duration = Duration::from_millis(50);

/// A schema, which may be missing.
pub struct Schema {
    name: String,
    /// Of the database, whose tables are first looked for in this schema.
    url: DatabaseUrl,
    url_text: String,
}

impl Schema {
    /// The schema for the store of so many rooms in the database with this address.
    pub(super) fn new(database: &str, rooms: u64) -> Result<Self, Failure> {
        let name = format!("rooms_{rooms}");
        let separator = if database.contains('?') { '&' } else { '?' };
        let url_text = format!("{database}{separator}options=-c%20search_path%3D{name}");
        let url = DatabaseUrl::parse(&url_text)
            .map_err(|wrong| Failure::Arguments(format!("the database's address: {wrong}")))?;
        Ok(Self { name, url, url_text })
    }

    /// What a store is opened with.
    pub(super) fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// The same as a setting of a server.
    pub(super) fn url_text(&self) -> &str {
        &self.url_text
    }

    /// Makes it if it is missing.
    pub(super) async fn create(&self) -> Result<(), Failure> {
        self.ask(&format!("CREATE SCHEMA IF NOT EXISTS {}", self.name)).await.map(drop)
    }

    /// Its comment.
    pub(super) async fn note(&self) -> Result<Option<String>, Failure> {
        let comment = "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname";
        self.ask(&format!("{comment} = '{}'", self.name)).await
    }

    /// Changes its comment to `note`, in which there is no apostrophe.
    pub(super) async fn keep_note(&self, note: &str) -> Result<(), Failure> {
        self.ask(&format!("COMMENT ON SCHEMA {} IS '{note}'", self.name)).await.map(drop)
    }

    /// Bytes of its tables and their indexes.
    pub(super) async fn bytes(&self) -> Result<u64, Failure> {
        let sum =
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relnamespace";
        self.number(&format!("{sum} = '{}'::regnamespace", self.name)).await
    }

    /// How often the database has flushed its write-ahead log to disk, whoever made it. A connection hands in its own count
    /// at the latest when it ends, so this waits until all others have.
    pub(super) async fn log_flushes(&self) -> Result<u64, Failure> {
        let others = "SELECT count(*) FROM pg_stat_activity
                      WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        let deadline = Instant::now() + END_TIME_MAX;
        while self.number(others).await? > 0 {
            if Instant::now() > deadline {
                return Err(Failure::Store("somebody else uses the database".to_owned()));
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.number("SELECT wal_sync FROM pg_stat_wal").await
    }

    async fn number(&self, question: &str) -> Result<u64, Failure> {
        let answer = self.ask(question).await?.and_then(|answer| answer.parse().ok());
        answer.ok_or_else(|| Failure::Store(format!("no number is the answer to: {question}")))
    }

    /// The first value of the first row, on a connection of its own.
    async fn ask(&self, question: &str) -> Result<Option<String>, Failure> {
        let (client, connection) = self.url.connection().connect(NoTls).await?;
        let connection = tokio::spawn(connection);
        let answer = client.simple_query(question).await?;
        drop(client);
        connection.await??;
        Ok(answer.iter().find_map(|part| match part {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::Schema;

    #[test]
    fn each_size_has_a_schema_whatever_the_address_says_beside() {
        for (database, expected) in [
            ("postgres://chat@db/rooms", "postgres://chat@db/rooms?options=-c%20search_path%3Drooms_7"),
            (
                "postgres://chat@db/rooms?connect_timeout=3",
                "postgres://chat@db/rooms?connect_timeout=3&options=-c%20search_path%3Drooms_7",
            ),
        ] {
            let schema = Schema::new(database, 7).unwrap();
            assert_eq!(schema.url_text(), expected);
            assert_eq!(schema.url().connection().get_options(), Some("-c search_path=rooms_7"));
        }
        assert!(Schema::new("stores", 7).is_err());
    }
}
