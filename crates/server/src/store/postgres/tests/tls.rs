//! TLS to the database: with a server that is certain, and with no other.

use std::fs;

use super::super::super::tests::database::Database;
use super::super::super::tests::{home, new_room};
use super::super::super::{Location, Store};
use crate::config::DatabaseUrl;

#[tokio::test]
async fn a_connection_is_encrypted_to_a_server_that_is_certain_and_to_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(file("cert.pem"), certified.cert.pem()).unwrap();
    fs::write(file("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(file("other.pem"), other.cert.pem()).unwrap();
    fs::write(file("empty.pem"), "").unwrap();
    let database = Database::start(&["--tls", &file("cert.pem"), &file("key.pem")]);
    let open = async |host: &str, authorities: &str| {
        let address = database.address().replace("127.0.0.1", host);
        let url = format!("{address}sslmode=verify-full&sslrootcert={}", file(authorities));
        Store::open(&Location::Postgres(Box::new(DatabaseUrl::parse(&url).unwrap()))).await
    };
    let store = open("localhost", "cert.pem").await.unwrap();
    store.create_room(&home(), new_room("a")).await.unwrap();
    let Store::Postgres(postgres) = &store else { panic!("another engine") };
    let encrypted = postgres.read_connections.run(|client| async move {
        let statement = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        Ok(client.query_one(statement, &[]).await?.try_get::<_, bool>(0)?)
    });
    assert_eq!(encrypted.await, Ok(true));
    for (host, authorities, reason) in [
        ("localhost", "other.pem", "certificate"),
        ("127.0.0.1", "cert.pem", "certificate"),
        ("localhost", "empty.pem", "holds no certificate"),
        ("localhost", "missing.pem", "missing.pem"),
    ] {
        let refused = open(host, authorities).await.err().unwrap().to_string();
        assert!(refused.contains(reason), "{host} {authorities}: {refused}");
    }
}
