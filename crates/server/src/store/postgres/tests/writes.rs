//! Writes of rooms go to the database together, and what becomes of one is no matter of the others.

use std::sync::Arc;
use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering::Relaxed;

use deadpool_postgres::Client;
use futures_util::future::{BoxFuture, join, join_all, join3};
use protocol::arn::{Arn, ResourceKind};
use protocol::id::Id;
use protocol::limit::member::TAGS_MAX;
use protocol::limit::postgres::{GROUP_WRITES_MAX, REQUESTS_WAITING_MAX, WRITERS_MAX};
use tokio::task::JoinSet;

use super::super::super::tests::database::{Schema, fresh};
use super::super::super::tests::{details, home, is_unavailable, new_room, scope, tags, walk};
use super::super::super::{Location, NewRoom, Room, RoomChange, RoomFilter, Store, StoreError, Tags};
use super::super::connections::Connections;
use super::super::failure::Failure;
use super::super::group::Patience;
use super::super::pipeline::{Step, Transaction, values};
use super::super::{Postgres, rooms};
use super::{PATIENCE, servers};

const MISSING: &str = "missingmissi";

fn rename(name: &str) -> RoomChange {
    RoomChange { name: Some(name.to_owned()), ..RoomChange::default() }
}

fn postgres(store: &Store) -> &Postgres {
    let Store::Postgres(postgres) = store else { panic!("another engine") };
    postgres
}

async fn create(store: &Store, names: &[&str]) -> Vec<Room> {
    let scope = home();
    let created = join_all(names.iter().map(|name| store.create_room(&scope, new_room(name)))).await;
    created.into_iter().map(Result::unwrap).collect()
}

async fn assert_sound(store: &Store) {
    assert_eq!(store.check().await.unwrap().discrepancies, []);
}

/// Makes the database do this for each row that the trigger is about.
async fn on_each_row(schema: &Schema, trigger: &str, statements: &str) {
    schema
        .execute(&format!(
            "CREATE OR REPLACE FUNCTION disturb() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 {statements}
                 IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
                 RETURN NEW;
             END $$;
             CREATE {trigger} FOR EACH ROW EXECUTE FUNCTION disturb()"
        ))
        .await;
}

/// On a runtime of one thread all callers have asked before the first writer looks.
#[tokio::test]
async fn what_is_asked_for_at_the_same_time_is_committed_in_groups() {
    let (store, scope) = (fresh().await.open().await, home());
    let before = store.counters();
    let names = ["a"; 3 * GROUP_WRITES_MAX + 1];
    let rooms = create(&store, &names).await;
    assert_eq!(store.counters().commits - before.commits, 4);
    let renamed = join_all(rooms.iter().map(|room| store.update_room(&scope, room.id, rename("b")))).await;
    assert!(renamed.iter().all(Result::is_ok));
    assert_eq!(store.counters().commits - before.commits, 8);
    assert_eq!(store.counters().writes - before.writes, 2 * names.len() as u64);
    let filter = RoomFilter { name: Some("b".to_owned()), ..RoomFilter::default() };
    assert_eq!(walk(&store, &home(), &filter, 50).await.len(), names.len());
    assert_sound(&store).await;
}

/// All kinds of writes at the same time and in two scopes, each kind once as it should be and once refused.
#[tokio::test]
async fn a_refused_write_changes_nothing_and_takes_no_others_with_it() {
    let store = fresh().await.open().await;
    let missing = Id::parse(MISSING).unwrap();
    let rooms = create(&store, &["renamed", "not renamed", "tagged", "not tagged", "deleted"]).await;
    let [renamed, not_renamed, tagged, not_tagged, deleted] = rooms.as_slice() else { panic!("five") };
    let arn = |room: &Room| Arn::new(home(), ResourceKind::Room, room.id);
    let too_many: Tags = (0..=TAGS_MAX).map(|number| (format!("tag{number}"), String::new())).collect();
    let with_missing = NewRoom { logging_configurations: vec![missing], ..new_room("not created") };
    let change = RoomChange { logging_configurations: Some(vec![missing]), ..rename("x") };
    let (tagged_arn, not_tagged_arn) = (arn(tagged), arn(not_tagged));
    let elsewhere = scope("123456789012", "eu-west-1");
    let writes: Vec<BoxFuture<'_, Result<(), StoreError>>> = vec![
        Box::pin(async { store.create_room(&home(), new_room("created")).await.map(drop) }),
        Box::pin(async { store.create_room(&home(), with_missing).await.map(drop) }),
        Box::pin(async { store.update_room(&home(), renamed.id, rename("x")).await.map(drop) }),
        Box::pin(async { store.update_room(&home(), not_renamed.id, change).await.map(drop) }),
        Box::pin(async { store.update_room(&elsewhere, renamed.id, rename("y")).await.map(drop) }),
        Box::pin(async { store.create_room(&elsewhere, new_room("elsewhere")).await.map(drop) }),
        Box::pin(async { store.tag(&tagged_arn, tags([("a", "b")])).await }),
        Box::pin(async { store.tag(&not_tagged_arn, too_many).await }),
        Box::pin(async { store.delete_room(&home(), deleted.id).await }),
        Box::pin(async { store.delete_room(&home(), missing).await }),
    ];
    let outcomes = join_all(writes).await;
    let expected = [
        Ok(()),
        Err(StoreError::LoggingConfigurationNotFound(missing)),
        Ok(()),
        Err(StoreError::LoggingConfigurationNotFound(missing)),
        Err(StoreError::RoomNotFound(renamed.id)),
        Ok(()),
        Ok(()),
        Err(StoreError::TooManyTags(not_tagged.id)),
        Ok(()),
        Err(StoreError::RoomNotFound(missing)),
    ];
    assert_eq!(outcomes, expected);
    let listed = walk(&store, &home(), &RoomFilter::default(), 50).await;
    let names: Vec<_> = listed.iter().map(|room| details(room)["name"].take()).collect();
    assert_eq!(names, ["x", "created", "not tagged", "tagged", "not renamed"]);
    assert_eq!(walk(&store, &elsewhere, &RoomFilter::default(), 50).await.len(), 1);
    assert_eq!(store.get_room(&home(), not_renamed.id).await.as_ref(), Ok(not_renamed));
    assert_eq!(store.get_room(&home(), not_tagged.id).await.as_ref(), Ok(not_tagged));
    assert_eq!(store.get_room(&home(), tagged.id).await.unwrap().tags, tags([("a", "b")]));
    assert_sound(&store).await;
}

#[tokio::test]
async fn a_write_that_the_database_does_not_take_has_no_others_fail() {
    let schema = fresh().await;
    let store = schema.open().await;
    let refuse = "IF NEW.name = 'unwanted' THEN RAISE 'not this one'; END IF;";
    on_each_row(&schema, "TRIGGER disturb BEFORE INSERT ON room", refuse).await;
    let (scope, names) = (home(), ["a", "unwanted", "b"]);
    let created = join_all(names.map(|name| store.create_room(&scope, new_room(name)))).await;
    assert!(created[0].is_ok() && is_unavailable(&created[1]) && created[2].is_ok(), "{created:?}");
    assert_eq!(walk(&store, &home(), &RoomFilter::default(), 50).await.len(), 2);
    assert_sound(&store).await;
}

/// Whichever statement it is: the COMMIT is on its way behind all of them.
#[tokio::test]
async fn a_statement_that_fails_before_the_commit_lets_nothing_be_acknowledged() {
    let schema = fresh().await;
    let store = schema.open().await;
    let room = create(&store, &["a"]).await.remove(0);
    for table in ["room", "posting", "room_change"] {
        let trigger = format!("TRIGGER disturb AFTER INSERT OR UPDATE OR DELETE ON {table}");
        on_each_row(&schema, &trigger, "RAISE 'broken' USING ERRCODE = 'XX000';").await;
        assert!(is_unavailable(&store.update_room(&home(), room.id, rename("b")).await), "{table}");
        assert!(is_unavailable(&store.delete_room(&home(), room.id).await), "{table}");
        schema.execute(&format!("DROP TRIGGER disturb ON {table}")).await;
        assert_eq!(store.get_room(&home(), room.id).await.as_ref(), Ok(&room));
        assert_eq!(walk(&store, &home(), &RoomFilter::default(), 50).await, [room.summary()]);
        assert_eq!(schema.execute("SELECT * FROM room_change").await, 0);
        assert_sound(&store).await;
    }
    store.update_room(&home(), room.id, rename("b")).await.unwrap();
    assert_sound(&store).await;
}

/// The database ends the connection: once before the COMMIT is done, once in the middle of it.
#[tokio::test]
async fn a_write_is_tried_again_only_if_it_cannot_have_been_committed() {
    let schema = fresh().await;
    let store = schema.open().await;
    let room = create(&store, &["a"]).await.remove(0);
    let end_once = "IF nextval('tries') <= 1 THEN
                        PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(60);
                    END IF;";
    for (trigger, tries, succeeds) in [
        ("TRIGGER disturb BEFORE INSERT ON room_change", 2, true),
        ("CONSTRAINT TRIGGER disturb AFTER INSERT ON room_change DEFERRABLE INITIALLY DEFERRED", 1, false),
    ] {
        schema.execute("CREATE SEQUENCE tries").await;
        on_each_row(&schema, trigger, end_once).await;
        let updated = store.update_room(&home(), room.id, rename("b")).await;
        assert_eq!(updated.is_ok(), succeeds, "{trigger}: {updated:?}");
        assert!(succeeds || is_unavailable(&updated));
        assert_eq!(schema.execute(&format!("SELECT 1 FROM tries WHERE last_value = {tries}")).await, 1);
        schema.execute("DROP TRIGGER disturb ON room_change; DROP SEQUENCE tries").await;
        assert_sound(&store).await;
    }
}

/// What cannot be sent is noticed before the COMMIT is sent, not after.
#[tokio::test]
async fn what_cannot_be_sent_is_not_committed() {
    let store = fresh().await.open().await;
    let room = create(&store, &["a"]).await.remove(0);
    let scope = home();
    let attempt = postgres(&store).write_connections.run(|client| async {
        let (transaction, _) = Transaction::begin(client, Vec::new()).await?;
        let delete = rooms::delete(transaction.client()?, &scope, &[&room]).await?;
        let text = "UPDATE room SET name = $1 WHERE id = ''";
        let number_for_text = Step::new(transaction.client()?, text, values![5_i64]).await?;
        transaction.commit(vec![delete, number_for_text]).await
    });
    assert!(is_unavailable(&attempt.await));
    assert_eq!(store.get_room(&home(), room.id).await.as_ref(), Ok(&room));
    // And nobody is left who keeps the room locked.
    store.update_room(&home(), room.id, rename("b")).await.unwrap();
}

/// A transaction that has locked rooms, and does not go on.
async fn locked(store: &Store, room: &Room) -> Transaction {
    let scope = home();
    // Not of the connections on which writes are done.
    let begun = postgres(store).read_connections.run(|client| async {
        let lock = rooms::lock(&client, &scope, vec![room.id.as_str()], Patience::Waits).await?;
        Ok(Transaction::begin(client, vec![lock]).await?.0)
    });
    begun.await.unwrap()
}

#[tokio::test]
async fn a_transaction_that_is_given_up_is_ended_before_its_connection_is_used_again() {
    let schema = fresh().await;
    let store = schema.open().await;
    let room = create(&store, &["a"]).await.remove(0);
    let Location::Postgres(url) = schema.location() else { panic!("another engine") };
    let connections = Connections::new(&url, 1, Arc::default()).unwrap();
    let (scope, process) = (home(), AtomicI32::new(0));
    let begun = connections.run(|client| async {
        let lock = rooms::lock(&client, &scope, vec![room.id.as_str()], Patience::Waits).await?;
        let (transaction, _) = Transaction::begin(client, vec![lock]).await?;
        process.store(backend(transaction.client()?).await?, Relaxed);
        Ok(transaction)
    });
    drop(begun.await.unwrap());
    store.update_room(&home(), room.id, rename("b")).await.unwrap();
    let next = connections.run(|client| async move { backend(&client).await }).await;
    assert_eq!(next, Ok(process.load(Relaxed)), "it was kept: it counts as one of the pool's");
    assert_sound(&store).await;
}

/// The database's process behind a connection.
async fn backend(client: &Client) -> Result<i32, Failure> {
    Ok(client.query_one("SELECT pg_backend_pid()", &[]).await?.try_get(0)?)
}

#[tokio::test]
async fn who_waits_for_a_locked_room_holds_up_nobody_else() {
    let store = fresh().await.open().await;
    let scope = home();
    let rooms = create(&store, &["locked", "free", "free"]).await;
    let transaction = locked(&store, &rooms[0]).await;
    let all = join_all(rooms[1..].iter().map(|room| store.update_room(&scope, room.id, rename("b"))));
    let mut waits = Box::pin(store.update_room(&scope, rooms[0].id, rename("b")));
    tokio::select! {
        biased;
        early = &mut waits => panic!("the room is locked: {early:?}"),
        renamed = all => assert!(renamed.iter().all(Result::is_ok), "{renamed:?}"),
    }
    transaction.roll_back().await.map_err(StoreError::from).unwrap();
    // On a machine that is very busy it may have waited for too long.
    let waited = waits.await;
    assert!(waited.is_ok() || is_unavailable(&waited), "{waited:?}");
    store.update_room(&home(), rooms[0].id, rename("c")).await.unwrap();
    assert_sound(&store).await;
}

/// On a runtime of one thread all callers have asked before the first writer looks.
#[tokio::test]
async fn beyond_what_may_wait_callers_are_refused_at_once() {
    let store = fresh().await.open().await;
    let scope = home();
    let asked = (0..REQUESTS_WAITING_MAX + 5).map(|_| store.create_room(&scope, new_room("a")));
    let answers = join_all(asked).await;
    assert!(answers[..REQUESTS_WAITING_MAX].iter().all(Result::is_ok));
    assert!(answers[REQUESTS_WAITING_MAX..].iter().all(is_unavailable));
    assert_eq!(walk(&store, &home(), &RoomFilter::default(), 50).await.len(), REQUESTS_WAITING_MAX);
}

/// Nobody can create rooms until this ends.
async fn lock_table(store: &Store) -> Transaction {
    let begun = postgres(store).read_connections.run(|client| async {
        let lock = Step::new(&client, "LOCK TABLE room IN SHARE MODE", values![]).await?;
        Ok(Transaction::begin(client, vec![lock]).await?.0)
    });
    begun.await.unwrap()
}

async fn create_many(store: &Store, name: &str, count: usize) -> Vec<Result<Room, StoreError>> {
    let scope = home();
    join_all((0..count).map(|_| store.create_room(&scope, new_room(name)))).await
}

/// As many as all writers take at once.
async fn create_full_groups(store: &Store) -> Vec<Result<Room, StoreError>> {
    create_many(store, "begun", WRITERS_MAX * GROUP_WRITES_MAX).await
}

/// Returns when all writers are in the middle of a group.
async fn wait_until_all_are_at_work(schema: &Schema) {
    let waiting = "SELECT 1 FROM pg_locks WHERE relation = 'room'::regclass AND NOT granted";
    let all = async { while schema.execute(waiting).await < WRITERS_MAX as u64 {} };
    tokio::time::timeout(PATIENCE, all).await.expect("all writers want to create rooms");
}

#[tokio::test]
async fn a_write_that_nobody_begins_in_time_is_taken_back() {
    let schema = fresh().await;
    let store = schema.open().await;
    let lock = lock_table(&store).await;
    let late = async {
        let (answers, ()) = join(create_many(&store, "late", 10), wait_until_all_are_at_work(&schema)).await;
        lock.roll_back().await.map_err(StoreError::from).unwrap();
        answers
    };
    let (begun, late) = join(create_full_groups(&store), late).await;
    for answer in &late {
        let Err(StoreError::Unavailable(cause)) = answer else { panic!("it is not begun: {answer:?}") };
        assert!(cause.to_string().contains("does not keep up"), "{cause}");
    }
    // On a machine that is very busy they may have taken too long.
    assert!(begun.iter().all(|answer| answer.is_ok() || is_unavailable(answer)));
    // What comes now goes behind all that waited.
    create_many(&store, "next", 1).await.remove(0).unwrap();
    let listed = walk(&store, &home(), &RoomFilter::default(), 50).await;
    assert!(!listed.iter().any(|room| details(room)["name"] == "late"));
    assert!(listed.len() > begun.iter().filter(|answer| answer.is_ok()).count());
    assert_sound(&store).await;
}

#[tokio::test]
async fn whoever_waits_is_answered_when_the_store_closes() {
    let schema = fresh().await;
    let store = schema.open().await;
    let lock = lock_table(&store).await;
    let close = async {
        wait_until_all_are_at_work(&schema).await;
        store.close().await;
        lock.roll_back().await.map_err(StoreError::from).unwrap();
    };
    let all = join3(create_full_groups(&store), create_many(&store, "late", 10), close);
    let (begun, late, ()) = tokio::time::timeout(PATIENCE, all).await.expect("all are answered");
    assert!(begun.iter().all(|answer| answer.is_ok() || is_unavailable(answer)));
    assert!(late.iter().all(is_unavailable));
    let listed = walk(&schema.open().await, &home(), &RoomFilter::default(), 50).await;
    assert!(listed.len() >= begun.iter().filter(|answer| answer.is_ok()).count());
    assert!(!listed.iter().any(|room| details(room)["name"] == "late"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_all_servers_change_at_once_is_as_the_last_one_made_it() {
    let schema = fresh().await;
    let servers = servers(&schema).await;
    let room = create(&servers[0], &["a"]).await.remove(0);
    let mut writers = JoinSet::new();
    for number in 0..48 {
        let server = servers[number % servers.len()].clone();
        let change = rename(&format!("by {number}"));
        writers.spawn(async move { server.update_room(&home(), room.id, change).await.unwrap() });
    }
    let updated = tokio::time::timeout(PATIENCE, writers.join_all()).await.unwrap();
    let last = updated.iter().max_by_key(|room| room.order_key).unwrap();
    assert_eq!(servers[0].get_room(&home(), room.id).await.as_ref(), Ok(last));
    assert_eq!(walk(&servers[1], &home(), &RoomFilter::default(), 50).await, [last.summary()]);
    assert_sound(&servers[2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_that_servers_change_and_delete_at_once_leave_no_postings() {
    let schema = fresh().await;
    let servers = servers(&schema).await;
    let rooms = create(&servers[0], &["a"; 24]).await;
    let mut writers = JoinSet::new();
    for (number, room) in rooms.iter().enumerate() {
        for (server, store) in servers.iter().cloned().enumerate() {
            let (id, arn) = (room.id, Arn::new(home(), ResourceKind::Room, room.id));
            writers.spawn(async move {
                let outcome = match (server + number) % 3 {
                    0 => store.update_room(&home(), id, rename("b")).await.map(drop),
                    1 => store.tag(&arn, tags([("a", "b")])).await,
                    _ => store.delete_room(&home(), id).await,
                };
                assert!(outcome.is_ok() || outcome == Err(StoreError::RoomNotFound(id)), "{outcome:?}");
            });
        }
    }
    tokio::time::timeout(PATIENCE, writers.join_all()).await.unwrap();
    assert_eq!(walk(&servers[0], &home(), &RoomFilter::default(), 50).await, []);
    assert_eq!(schema.execute("SELECT * FROM posting").await, 0);
    assert_sound(&servers[0]).await;
}
