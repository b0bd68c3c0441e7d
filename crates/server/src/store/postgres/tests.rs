//! What only a database can do: several servers share it, it goes away and comes back, and it says when others are in the
//! way.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod away;
mod tls;
mod writes;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use protocol::arn::{Arn, ResourceKind};
use protocol::limit::postgres::{GROUP_WRITES_MAX, NEWS_KEPT_SECONDS, WRITE_CONNECTIONS_MAX, WRITERS_MAX};
use protocol::limit::store::REDEMPTION_BUCKET_SECONDS;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::super::tests::database::{Schema, fresh};
use super::super::tests::{home, is_unavailable, new_logging_configuration, new_room, redeem, tags, walk};
use super::super::{
    KeyPurpose, LoggingConfigurationChange, NewRoom, News, Redemption, Room, RoomChange, RoomFilter,
    RoomNews, Settings, Store, StoreError, Watch,
};
use super::connections::Connections;
use super::group::Patience;
use super::logging_configurations::hold;
use super::pipeline::Transaction;
use super::{news, redemption};

const SERVERS: usize = 3;
const MINUTE: i64 = 60_000_000;

/// Much longer than anything takes that is not broken.
const PATIENCE: Duration = Duration::from_secs(60);

fn now() -> i64 {
    crate::clock::now().as_micros()
}

async fn servers(schema: &Schema) -> Vec<Store> {
    let mut servers = Vec::new();
    for _ in 0..SERVERS {
        servers.push(schema.open().await);
    }
    servers
}

/// Makes the database's clock say this, for this store.
async fn set_clock(schema: &Schema, micros: i64) {
    let function = "CREATE OR REPLACE FUNCTION order_clock() RETURNS bigint LANGUAGE sql VOLATILE AS";
    schema.execute(&format!("{function} 'SELECT {micros}::bigint'")).await;
}

async fn next_news(watch: &mut Watch) -> News {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("there is news")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_start_together_make_one_store() {
    let schema = Arc::new(fresh().await);
    let start = Arc::new(Barrier::new(8));
    let mut starts = JoinSet::new();
    for _ in 0..8 {
        let (schema, start) = (Arc::clone(&schema), Arc::clone(&start));
        starts.spawn(async move {
            start.wait().await;
            let store = schema.open().await;
            store.keys(KeyPurpose::ChatToken).await.unwrap().remove(0)
        });
    }
    let keys: HashSet<[u8; 32]> = starts.join_all().await.iter().map(|key| *key.secret).collect();
    assert_eq!(keys.len(), 1, "all have the same first key");
    assert_eq!(schema.execute("SELECT * FROM secret_key").await, 1);
}

#[tokio::test]
async fn a_newer_store_is_refused_and_an_empty_database_left_alone() {
    let schema = fresh().await;
    let missing = Store::open_existing(&schema.location()).await.err().unwrap();
    assert!(missing.to_string().contains("there is no store"), "{missing}");
    assert_eq!(schema.execute("SELECT * FROM pg_tables WHERE schemaname = current_schema()").await, 0);
    schema.open().await;
    schema.execute("UPDATE grandstand_schema SET version = 99").await;
    let refused = Store::open(&schema.location()).await.err().unwrap().to_string();
    assert!(refused.contains("version 99") && refused.contains("newer server"), "{refused}");
}

#[tokio::test]
async fn writes_sort_in_order_on_all_servers_whatever_the_clock_does() {
    let schema = fresh().await;
    let servers = servers(&schema).await;
    let mut last = 0;
    for (step, server) in [0, 0, -1_000_000, 0, 5, -3_600_000_000, 0].into_iter().zip(servers.iter().cycle())
    {
        set_clock(&schema, 1_700_000_000_000_000 + step).await;
        let room = server.create_room(&home(), new_room("a")).await.unwrap();
        assert!(room.order_key > last);
        last = room.order_key;
        let updated = server.update_room(&home(), room.id, RoomChange::default()).await.unwrap();
        assert!(updated.order_key > last, "also when the room itself was at the head");
        last = updated.order_key;
        let logs = new_logging_configuration("logs");
        let logs = server.create_logging_configuration(&home(), logs).await.unwrap();
        let change = Default::default();
        let changed = server.update_logging_configuration(&home(), logs.id, change).await.unwrap();
        assert!(changed.order_key > logs.order_key);
    }
    assert_eq!(servers[0].check().await.unwrap().discrepancies, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_in_one_microsecond_get_different_order_keys() {
    let schema = fresh().await;
    let servers = servers(&schema).await;
    set_clock(&schema, 1_700_000_000_000_000).await;
    let mut writers = JoinSet::new();
    for number in 0..24 {
        let server = servers[number % SERVERS].clone();
        writers.spawn(async move { server.create_room(&home(), new_room("a")).await.unwrap().order_key });
    }
    let keys: HashSet<i64> = writers.join_all().await.into_iter().collect();
    assert_eq!(keys.len(), 24);
    assert_eq!(walk(&servers[0], &home(), &RoomFilter::default(), 5).await.len(), 24);
}

/// All servers bring groups, as large as they may be, and all want the keys behind the head of the list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_of_many_servers_find_a_place_while_the_clock_is_behind() {
    let schema = fresh().await;
    let servers = servers(&schema).await;
    set_clock(&schema, 1_700_000_000_000_000).await;
    let head = servers[0].create_room(&home(), new_room("a")).await.unwrap().order_key;
    set_clock(&schema, 1_600_000_000_000_000).await;
    let writes = 3 * GROUP_WRITES_MAX;
    let mut writers = JoinSet::new();
    for number in 0..SERVERS * writes {
        let server = servers[number % SERVERS].clone();
        writers.spawn(async move { server.create_room(&home(), new_room("a")).await.unwrap().order_key });
    }
    let keys: HashSet<i64> = writers.join_all().await.into_iter().collect();
    assert_eq!(keys.len(), SERVERS * writes);
    assert!(keys.iter().all(|&key| key > head));
}

#[tokio::test]
async fn conflicts_are_tried_again_and_not_for_ever() {
    let schema = fresh().await;
    let store = schema.open().await;
    let room = store.create_room(&home(), new_room("a")).await.unwrap();
    for (state, fails, expected) in
        [("40001", 5, true), ("40P01", 5, true), ("40001", 1_000, false), ("XX000", 1, false)]
    {
        // A sequence goes on when its transaction is rolled back.
        schema
            .execute(&format!(
                "DROP SEQUENCE IF EXISTS tries; CREATE SEQUENCE tries;
                 CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                     IF nextval('tries') <= {fails} THEN RAISE 'in the way' USING ERRCODE = '{state}'; END IF;
                     RETURN NEW;
                 END $$;
                 CREATE OR REPLACE TRIGGER fail BEFORE UPDATE ON room FOR EACH ROW EXECUTE FUNCTION fail()"
            ))
            .await;
        let updated = store.update_room(&home(), room.id, RoomChange::default()).await;
        assert_eq!(updated.is_ok(), expected, "{state} {fails} times: {updated:?}");
        assert!(expected || is_unavailable(&updated));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logging_configuration_is_never_deleted_while_a_room_gets_it() {
    let schema = fresh().await;
    let servers = servers(&schema).await;
    for _ in 0..20 {
        let logs = new_logging_configuration("logs");
        let id = servers[0].create_logging_configuration(&home(), logs).await.unwrap().id;
        let start = Arc::new(Barrier::new(SERVERS + 1));
        let mut race = JoinSet::new();
        for server in servers.clone() {
            let start = Arc::clone(&start);
            race.spawn(async move {
                start.wait().await;
                let room = NewRoom { logging_configurations: vec![id], ..new_room("a") };
                let created = server.create_room(&home(), room).await;
                assert!(created.is_ok() || created == Err(StoreError::LoggingConfigurationNotFound(id)));
            });
        }
        let server = servers[0].clone();
        race.spawn(async move {
            start.wait().await;
            let deleted = server.delete_logging_configuration(&home(), id).await;
            assert!(deleted.is_ok() || deleted == Err(StoreError::LoggingConfigurationInUse(id)));
        });
        race.join_all().await;
    }
    assert_eq!(servers[0].check().await.unwrap().discrepancies, []);
}

/// Whoever gives it to a room keeps it from being deleted, and nobody from changing it; and while rooms have it, whoever
/// wants it deleted hears so at once.
#[tokio::test]
async fn a_logging_configuration_that_many_give_to_rooms_is_changed_meanwhile() {
    let store = fresh().await.open().await;
    let Store::Postgres(postgres) = &store else { panic!("another engine") };
    let scope = home();
    let logs = store.create_logging_configuration(&scope, new_logging_configuration("logs")).await.unwrap();
    let room = NewRoom { logging_configurations: vec![logs.id], ..new_room("a") };
    store.create_room(&scope, room).await.unwrap();
    let held = postgres.read_connections.run(|client| async {
        let hold = hold(&client, &scope, vec![logs.id.as_str()], Patience::Waits).await?;
        let (transaction, mut rows) = Transaction::begin(client, vec![hold]).await?;
        assert_eq!(rows.remove(0).len(), 1);
        Ok(transaction)
    });
    let held = held.await.unwrap();
    let change = LoggingConfigurationChange { name: Some("renamed".to_owned()), destination: None };
    let updated = store.update_logging_configuration(&scope, logs.id, change).await.unwrap();
    assert!(updated.order_key > logs.order_key);
    let arn = Arn::new(home(), ResourceKind::LoggingConfiguration, logs.id);
    store.tag(&arn, tags([("a", "b")])).await.unwrap();
    let deleted = store.delete_logging_configuration(&scope, logs.id).await;
    assert_eq!(deleted, Err(StoreError::LoggingConfigurationInUse(logs.id)));
    held.roll_back().await.map_err(StoreError::from).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_racers_on_three_servers_one_uses_the_token() {
    let schema = fresh().await;
    let servers = servers(&schema).await;
    for token_id in 0..50 {
        let mut racers = JoinSet::new();
        for number in 0..9 {
            let server = servers[number % SERVERS].clone();
            racers.spawn(async move { redeem(&server, token_id, now() + MINUTE).await.unwrap() });
        }
        let winners = racers.join_all().await.into_iter().filter(|&won| won).count();
        assert_eq!(winners, 1, "token {token_id}");
    }
}

#[tokio::test]
async fn who_asks_again_is_told_the_same() {
    let store = fresh().await.open().await;
    let redemption = Redemption { token_id: u128::MAX, expires: now() + MINUTE, claim: 1 };
    for _ in 0..3 {
        assert_eq!(store.redeem(&redemption).await, Ok(true));
        assert_eq!(store.redeem(&Redemption { claim: 2, ..redemption }).await, Ok(false));
    }
}

#[tokio::test]
async fn old_redemptions_are_dropped_and_their_tokens_stay_refused() {
    let schema = fresh().await;
    let store = schema.open().await;
    let Store::Postgres(postgres) = &store else { panic!("another engine") };
    let start = 1_700_000_000_000_000;
    set_clock(&schema, start).await;
    let used = Redemption { token_id: 1, expires: start + MINUTE, claim: 1 };
    assert_eq!(store.redeem(&used).await, Ok(true));
    let span = REDEMPTION_BUCKET_SECONDS * 1_000_000;
    for (later, left) in [(0, 1), (MINUTE + span, 1), (MINUTE + 2 * span, 0)] {
        set_clock(&schema, start + later).await;
        postgres.watch_connection.run(redemption::sweep).await.unwrap();
        assert_eq!(schema.execute("SELECT * FROM redemption").await, left, "{later}");
        assert_eq!(redeem(&store, 1, used.expires).await, Ok(false));
    }
    assert_eq!(store.redeem(&used).await, Ok(false), "even for who used it");
}

/// The watch begins with its first look; what was changed before is not told, and what comes to light after that is.
async fn wait_for_first_look(watch: &mut Watch, writer: &Store, room: &Room) {
    writer.update_room(&home(), room.id, RoomChange::default()).await.unwrap();
    assert_eq!(next_news(watch).await, News::Begin);
    let updated = writer.update_room(&home(), room.id, RoomChange::default()).await.unwrap();
    assert_eq!(next_news(watch).await, changed(&updated));
}

fn changed(room: &Room) -> News {
    News::Rooms(vec![RoomNews::Changed(Box::new(room.clone()))])
}

#[tokio::test]
async fn what_one_server_does_to_rooms_is_news_to_all() {
    let schema = fresh().await;
    let (writer, reader) = (schema.open().await, schema.open().await);
    let room = writer.create_room(&home(), new_room("a")).await.unwrap();
    let mut watch = reader.watch();
    wait_for_first_look(&mut watch, &writer, &room).await;
    writer.delete_room(&home(), room.id).await.unwrap();
    assert_eq!(next_news(&mut watch).await, News::Rooms(vec![RoomNews::Deleted(home(), room.id)]));
}

/// While it is under way, others begin and end; whenever it comes to light, it is told, and told once.
#[tokio::test]
async fn a_change_that_is_committed_late_is_news_too() {
    let schema = fresh().await;
    let store = schema.open().await;
    let Store::Postgres(postgres) = &store else { panic!("another engine") };
    let (scope, mut rooms) = (home(), Vec::new());
    for name in ["early", "late"] {
        rooms.push(store.create_room(&scope, new_room(name)).await.unwrap());
    }
    let mut watch = store.watch();
    wait_for_first_look(&mut watch, &store, &rooms[0]).await;
    let under_way = postgres.write_connections.run(|client| async {
        let note = news::add(&client, &scope, &[&rooms[1]]).await?;
        Ok(Transaction::begin(client, vec![note]).await?.0)
    });
    let under_way = under_way.await.unwrap();
    for _ in 0..2 {
        let early = store.update_room(&scope, rooms[0].id, RoomChange::default()).await.unwrap();
        assert_eq!(next_news(&mut watch).await, changed(&early));
    }
    under_way.commit(Vec::new()).await.map_err(StoreError::from).unwrap();
    assert_eq!(next_news(&mut watch).await, changed(&rooms[1]));
    let early = store.update_room(&scope, rooms[0].id, RoomChange::default()).await.unwrap();
    assert_eq!(next_news(&mut watch).await, changed(&early));
}

#[tokio::test]
async fn a_server_that_could_not_look_before_news_was_dropped_is_told() {
    let schema = fresh().await;
    let store = schema.open().await;
    let room = store.create_room(&home(), new_room("a")).await.unwrap();
    let start = 1_700_000_000_000_000;
    set_clock(&schema, start).await;
    let mut watch = store.watch();
    wait_for_first_look(&mut watch, &store, &room).await;
    for (minutes, has_gap) in [(4, false), (4 + 6, true), (8, true)] {
        schema.execute("DELETE FROM room_change").await;
        set_clock(&schema, start + minutes * MINUTE).await;
        if has_gap {
            assert_eq!(next_news(&mut watch).await, News::Gap);
        }
        // And then it goes on as ever.
        let change = RoomChange { name: Some(format!("after {minutes} minutes")), ..RoomChange::default() };
        let updated = store.update_room(&home(), room.id, change).await.unwrap();
        assert_eq!(next_news(&mut watch).await, changed(&updated));
    }
}

/// As when the database recovers from a crash, under which it goes on by itself: numbers of transactions that were lost are
/// given out again.
#[tokio::test]
async fn a_session_that_ends_is_a_gap_in_the_news() {
    let schema = fresh().await;
    let location = schema.with_application_name("watched");
    let store = Store::open_with(&location, Settings::default()).await.unwrap();
    let room = store.create_room(&home(), new_room("a")).await.unwrap();
    let mut watch = store.watch();
    wait_for_first_look(&mut watch, &store, &room).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'watched'";
    assert!(schema.execute(end).await > 0);
    assert_eq!(next_news(&mut watch).await, News::Gap);
    let updated = store.update_room(&home(), room.id, RoomChange::default()).await.unwrap();
    assert_eq!(next_news(&mut watch).await, changed(&updated));
}

/// Numbers of transactions that this database has not given out yet.
#[tokio::test]
async fn news_of_another_database_is_none() {
    let schema = fresh().await;
    let store = schema.open().await;
    let room = store.create_room(&home(), new_room("a")).await.unwrap();
    let mut watch = store.watch();
    wait_for_first_look(&mut watch, &store, &room).await;
    let copied = "INSERT INTO room_change
                  SELECT '9000000000000000000'::xid8, account_id, region, 'bbbbbbbbbbbb' FROM room";
    assert_eq!(schema.execute(copied).await, 1);
    let updated = store.update_room(&home(), room.id, RoomChange::default()).await.unwrap();
    assert_eq!(next_news(&mut watch).await, changed(&updated));
}

#[tokio::test]
async fn what_a_look_has_seen_long_ago_is_dropped_and_nothing_else() {
    let schema = fresh().await;
    let store = schema.open().await;
    let Store::Postgres(postgres) = &store else { panic!("another engine") };
    let (scope, mut rooms) = (home(), Vec::new());
    for name in ["before", "meanwhile", "after"] {
        rooms.push(store.create_room(&scope, new_room(name)).await.unwrap());
    }
    let update = async |room: &Room| {
        store.update_room(&scope, room.id, RoomChange::default()).await.unwrap();
    };
    let left = async || {
        let mut left = Vec::new();
        for room in &rooms {
            let found = format!("SELECT 1 FROM room_change WHERE room = '{}'", room.id);
            left.push(schema.execute(&found).await);
        }
        left
    };
    update(&rooms[0]).await;
    let under_way = postgres.write_connections.run(|client| async {
        let note = news::add(&client, &scope, &[&rooms[1]]).await?;
        Ok(Transaction::begin(client, vec![note]).await?.0)
    });
    let under_way = under_way.await.unwrap();
    let look = postgres.watch_connection.run(|client| news::look(client, None)).await.unwrap();
    under_way.commit(Vec::new()).await.map_err(StoreError::from).unwrap();
    update(&rooms[2]).await;
    assert_eq!(left().await, [1, 1, 1]);
    for dropped in [1, 0] {
        let sweep = postgres.watch_connection.run(|client| news::sweep(client, &look.sight));
        assert_eq!(sweep.await, Ok(dropped));
        assert_eq!(left().await, [0, 1, 1]);
    }
    let (mut ageing, start) = (news::Ageing::default(), Instant::now());
    let kept = Duration::from_secs(NEWS_KEPT_SECONDS.unsigned_abs());
    assert!(ageing.old(&look.sight, start).is_none() && ageing.old(&look.sight, start + kept).is_none());
    assert!(ageing.old(&look.sight, start + 2 * kept).is_some());
    ageing.begin_anew();
    assert!(ageing.old(&look.sight, start + 3 * kept).is_none());
}

/// Whatever the database is told to prefer, its answers come from ranges of indexes.
#[tokio::test]
async fn a_connection_does_what_a_store_needs() {
    let schema = fresh().await;
    let store = schema.open().await;
    let Store::Postgres(postgres) = &store else { panic!("another engine") };
    let show = async |name: &'static str| {
        let shown = postgres.write_connections.run(move |client| async move {
            Ok(client.query_one("SELECT current_setting($1)", &[&name]).await?.try_get::<_, String>(0)?)
        });
        shown.await.unwrap()
    };
    for (name, expected) in [
        ("synchronous_commit", "on"),
        ("enable_seqscan", "off"),
        ("plan_cache_mode", "force_generic_plan"),
        ("statement_timeout", "4s"),
    ] {
        assert_eq!(show(name).await, expected, "{name}");
    }
}

#[tokio::test]
async fn reads_and_chat_tokens_do_not_queue_behind_writes() {
    let store = fresh().await.open().await;
    let Store::Postgres(postgres) = &store else { panic!("another engine") };
    let room = store.create_room(&home(), new_room("a")).await.unwrap();
    let all = WRITERS_MAX + WRITE_CONNECTIONS_MAX;
    let (all_held, release) = (Barrier::new(all + 1), Barrier::new(all + 1));
    let connections = (0..all).map(|number| match number {
        0..WRITERS_MAX => postgres.writer.group_connections(),
        _ => &*postgres.write_connections,
    });
    let hold_all = join_all(connections.map(|connections| {
        connections.run_long(|client| async {
            all_held.wait().await;
            release.wait().await;
            drop(client);
            Ok(())
        })
    }));
    let read = async {
        all_held.wait().await;
        let found = store.get_room(&home(), room.id).await;
        let listed = walk(&store, &home(), &RoomFilter::default(), 5).await;
        let redeemed = redeem(&store, 1, now() + MINUTE).await;
        release.wait().await;
        (found, listed, redeemed)
    };
    let (held, outcomes) = tokio::join!(hold_all, read);
    assert!(held.iter().all(Result::is_ok), "no write could have been made meanwhile");
    assert_eq!(outcomes, (Ok(room.clone()), vec![room.summary()], Ok(true)));
}

/// In tables that the database has not counted: what it believes of them then has led it to read whole lists. And in full
/// ones, counted or not.
#[tokio::test]
async fn every_statement_is_a_point_or_a_range_of_an_index() {
    let schema = fresh().await;
    let store = schema.open().await;
    let Store::Postgres(postgres) = &store else { panic!("another engine") };
    let logs = store.create_logging_configuration(&home(), new_logging_configuration("logs")).await.unwrap();
    let room = NewRoom { logging_configurations: vec![logs.id], ..new_room("a") };
    let room = store.create_room(&home(), room).await.unwrap();
    store.get_room(&home(), room.id).await.unwrap();
    let change = RoomChange { logging_configurations: Some(vec![logs.id]), ..RoomChange::default() };
    store.update_room(&home(), room.id, change.clone()).await.unwrap();
    let arn = Arn::new(home(), ResourceKind::Room, room.id);
    store.tag(&arn, tags([("a", "b")])).await.unwrap();
    let filter = RoomFilter { name: Some("a".to_owned()), ..RoomFilter::default() };
    walk(&store, &home(), &filter, 5).await;
    store.has_at_least(&home(), ResourceKind::Room, 1).await.unwrap();
    assert!(store.delete_logging_configuration(&home(), logs.id).await.is_err());
    let look = async |last| postgres.watch_connection.run(|client| news::look(client, last)).await.unwrap();
    let first = look(None).await;
    store.update_room(&home(), room.id, RoomChange::default()).await.unwrap();
    look(Some(&first.sight)).await;
    store.delete_room(&home(), room.id).await.unwrap();
    // Refused only after it was waited for.
    assert!(store.update_room(&home(), room.id, change).await.is_err());
    redeem(&store, 1, now() + MINUTE).await.unwrap();
    let fill = "ALTER TABLE room SET (autovacuum_enabled = off); ALTER TABLE posting SET (autovacuum_enabled = off);
                INSERT INTO room SELECT '123456789012', 'us-west-2', 'room' || number, 'a', number, number, 10, 500, NULL,
                                        NULL, '', '{}' FROM generate_series(1, 3000) AS number;
                INSERT INTO posting SELECT account_id, region, by_name, '', '', order_key, id || ' 1  \"name\":\"a\",\"tags\":{}'
                                    FROM room, unnest(ARRAY['', 'a']) AS by_name";
    for statements in ["", fill, "ANALYZE room; ANALYZE posting"] {
        schema.execute(statements).await;
        let mut all = plans(&postgres.read_connections).await;
        all.extend(plans(postgres.writer.group_connections()).await);
        all.extend(plans(&postgres.write_connections).await);
        all.extend(plans(&postgres.watch_connection).await);
        assert!(all.len() >= 20, "each pool has needed one connection: {}", all.len());
        for (statement, plan) in all {
            // A look passes over what it has seen, in the range that it reads.
            let plan = plan.replace("  Filter: (NOT pg_visible_in_snapshot(", "");
            let is_whole =
                ["Seq Scan on", "Bitmap", "Sort", "Hash", "Merge", "  Filter:", "Join Filter:", "Aggregate"];
            assert!(!is_whole.iter().any(|node| plan.contains(node)), "{statement}\n{plan}");
        }
    }
}

/// What a connection has prepared, and how the database would go about it.
async fn plans(connections: &Connections) -> Vec<(String, String)> {
    let plans = connections.run(|client| async move {
        client.batch_execute("DISCARD PLANS").await?;
        let statements = "SELECT name, statement, cardinality(parameter_types) FROM pg_prepared_statements
                          WHERE statement ~ '\\m(room|posting|redemption|room_change)\\M|KEY SHARE'
                            AND cardinality(parameter_types) > 0";
        let mut plans = Vec::new();
        for row in client.query(statements, &[]).await? {
            let (name, statement): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            let parameters = vec!["NULL"; usize::try_from(row.try_get::<_, i32>(2)?).unwrap_or(0)].join(", ");
            let mut plan = String::new();
            for line in client.query(&format!("EXPLAIN EXECUTE {name}({parameters})"), &[]).await? {
                plan += &format!("{}\n", line.try_get::<_, String>(0)?);
            }
            plans.push((statement, plan));
        }
        Ok(plans)
    });
    plans.await.unwrap()
}

/// Rooms that were acknowledged, found on every server.
async fn assert_all_have(servers: &[Store], rooms: &[Room]) {
    for server in servers {
        for room in rooms {
            assert_eq!(server.get_room(&home(), room.id).await.as_ref(), Ok(room));
        }
    }
}
