//! A PostgreSQL for the tests: one server for all tests of the process, a schema for each store. It ends with the process,
//! however that ends, since it reads from a pipe of ours.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{LazyLock, Mutex};

use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::super::worker::lock;
use super::super::{Location, Settings, Store};
use crate::config::DatabaseUrl;

/// A database server.
pub(in crate::store) struct Database {
    port: u16,
    commands: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    _process: Child,
}

static SHARED: LazyLock<Database> = LazyLock::new(|| Database::start(&[]));
static SCHEMAS: AtomicU32 = AtomicU32::new(0);

impl Database {
    /// Starts one of the test's own, that it may stop and kill. Most need none: see [`fresh`].
    pub(in crate::store) fn start(arguments: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/postgres.sh");
        let mut process = Command::new(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("conformance/postgres.sh");
        let commands = process.stdin.take().unwrap();
        let mut answers = BufReader::new(process.stdout.take().unwrap());
        let line = next_line(&mut answers);
        let Some(port) = line.strip_prefix("ready ") else {
            panic!("no database for the tests: what is missing stands above");
        };
        Self { port: port.parse().unwrap(), commands: Mutex::new((commands, answers)), _process: process }
    }

    /// `stop`, `kill` or `start`. Returns when it is done.
    pub(in crate::store) fn command(&self, command: &str) {
        let (commands, answers) = &mut *lock(&self.commands);
        writeln!(commands, "{command}").unwrap();
        assert_eq!(next_line(answers), command);
    }

    /// Where to connect to, with a question mark at its end.
    pub(in crate::store) fn address(&self) -> String {
        format!("postgres://grandstand:conformance@127.0.0.1:{}/grandstand?", self.port)
    }

    /// A schema of its own.
    pub(in crate::store) async fn schema(&self) -> Schema {
        let name = format!("bench_{}", SCHEMAS.fetch_add(1, Relaxed));
        let schema = Schema { url: format!("{}options=-c%20search_path%3D{name}", self.address()) };
        schema.execute(&format!("CREATE SCHEMA {name}")).await;
        schema
    }
}

fn next_line(answers: &mut impl BufRead) -> String {
    let mut line = String::new();
    answers.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// An empty place for a store, on the server that all tests share.
pub(in crate::store) async fn fresh() -> Schema {
    SHARED.schema().await
}

/// A place for a store.
pub(in crate::store) struct Schema {
    url: String,
}

impl Schema {
    pub(in crate::store) fn location(&self) -> Location {
        Location::Postgres(Box::new(DatabaseUrl::parse(&self.url).unwrap()))
    }

    /// The same for whoever has another password.
    pub(in crate::store) fn with_password(&self, password: &str) -> Location {
        let url = self.url.replacen(":conformance@", &format!(":{password}@"), 1);
        Location::Postgres(Box::new(DatabaseUrl::parse(&url).unwrap()))
    }

    /// The same for whoever tells the database this name.
    pub(in crate::store) fn with_application_name(&self, name: &str) -> Location {
        let url = format!("{}&application_name={name}", self.url);
        Location::Postgres(Box::new(DatabaseUrl::parse(&url).unwrap()))
    }

    /// A server's store in it; another one each time.
    pub(in crate::store) async fn open(&self) -> Store {
        Store::open_with(&self.location(), Settings::default()).await.unwrap()
    }

    /// Does something behind the store's back. Answers how many rows the last statement changed.
    pub(in crate::store) async fn execute(&self, statements: &str) -> u64 {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        let outcome = client.simple_query(statements).await.unwrap();
        drop(client);
        connection.await.unwrap().unwrap();
        let rows = outcome.iter().rev().find_map(|message| match message {
            SimpleQueryMessage::CommandComplete(rows) => Some(*rows),
            _ => None,
        });
        rows.unwrap_or(0)
    }
}
