//! What each operation does to a room, a logging configuration, their tags and keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use protocol::arn::{Arn, ResourceKind};
use protocol::limit::member::TAGS_MAX;
use serde_json::json;

use super::super::{
    Destination, Fallback, KeyPurpose, Location, LoggingConfigurationChange, NewRoom, ReviewHandlerChange,
    ReviewHandlerSetting, RoomChange, RoomFilter, Settings, Store, StoreError, Tags,
};
use super::{
    an_id, benches, details, home, is_unavailable, new_logging_configuration, new_room, scope, tags, walk,
};

#[tokio::test]
async fn a_room_is_kept_as_it_was_created() {
    for bench in benches().await {
        let store = &bench.store;
        let logs =
            store.create_logging_configuration(&home(), new_logging_configuration("logs")).await.unwrap();
        let new = NewRoom {
            name: "lobby".to_owned(),
            message_rate_max: 7,
            message_length_max: 99,
            review_handler: Some(ReviewHandlerSetting { uri: "arn:f".to_owned(), fallback: Fallback::Deny }),
            logging_configurations: vec![logs.id],
            tags: tags([("a", "1"), ("quote\"", "ü")]),
        };
        let room = store.create_room(&home(), new.clone()).await.unwrap();
        assert_eq!(
            (room.name.clone(), room.message_rate_max, room.message_length_max),
            (new.name, new.message_rate_max, new.message_length_max)
        );
        assert_eq!(room.review_handler, new.review_handler);
        assert_eq!((&room.logging_configurations, &room.tags), (&new.logging_configurations, &new.tags));
        assert_eq!(room.create_time, room.order_key);
        assert_eq!(store.get_room(&home(), room.id).await.unwrap(), room);
        assert_eq!(walk(store, &home(), &RoomFilter::default(), 50).await, [room.summary()]);
        store.delete_room(&home(), room.id).await.unwrap();
        assert_eq!(store.get_room(&home(), room.id).await, Err(StoreError::RoomNotFound(room.id)));
        assert_eq!(store.delete_room(&home(), room.id).await, Err(StoreError::RoomNotFound(room.id)));
        assert_eq!(store.check().await.unwrap().discrepancies, []);
    }
}

#[tokio::test]
async fn a_scope_knows_when_it_has_so_many_resources() {
    for bench in benches().await {
        let store = &bench.store;
        let elsewhere = scope("123456789012", "eu-west-1");
        let (room, logs) = (ResourceKind::Room, ResourceKind::LoggingConfiguration);
        for number in 1..4 {
            assert!(!store.has_at_least(&home(), room, number).await.unwrap());
            assert!(!store.has_at_least(&home(), logs, number).await.unwrap());
            let made = store.create_room(&home(), new_room("a")).await.unwrap();
            store.create_logging_configuration(&home(), new_logging_configuration("a")).await.unwrap();
            assert!(store.has_at_least(&home(), room, number).await.unwrap());
            assert!(store.has_at_least(&home(), logs, number).await.unwrap());
            store.delete_room(&home(), made.id).await.unwrap();
            assert!(!store.has_at_least(&home(), room, number).await.unwrap());
            store.create_room(&home(), new_room("b")).await.unwrap();
        }
        assert!(!store.has_at_least(&elsewhere, room, 1).await.unwrap());
        assert!(!store.has_at_least(&elsewhere, logs, 1).await.unwrap());
    }
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_moves_the_room() {
    for bench in benches().await {
        let store = &bench.store;
        let first = store.create_room(&home(), new_room("a")).await.unwrap();
        let second = store.create_room(&home(), new_room("b")).await.unwrap();
        let change =
            RoomChange { name: Some(String::new()), message_rate_max: Some(1), ..RoomChange::default() };
        let updated = store.update_room(&home(), first.id, change).await.unwrap();
        assert!(updated.order_key > second.order_key);
        assert_eq!(
            (updated.name.as_str(), updated.message_rate_max, updated.message_length_max),
            ("", 1, 500)
        );
        assert_eq!(updated.create_time, first.create_time);
        let order: Vec<_> = walk(store, &home(), &RoomFilter::default(), 50).await;
        assert_eq!(order, [updated.summary(), second.summary()]);
        let unchanged = store.update_room(&home(), first.id, RoomChange::default()).await.unwrap();
        assert!(
            unchanged.order_key > updated.order_key,
            "an update that changes nothing still moves the room"
        );
        let missing = store.update_room(&home(), an_id(), RoomChange::default()).await;
        assert_eq!(missing, Err(StoreError::RoomNotFound(an_id())));
        assert_eq!(store.check().await.unwrap().discrepancies, []);
    }
}

#[tokio::test]
async fn a_review_handler_is_set_changed_and_removed() {
    let (allow, deny) = (Fallback::Allow, Fallback::Deny);
    let set =
        |uri: Option<&str>, fallback| ReviewHandlerChange::Set { uri: uri.map(str::to_owned), fallback };
    let steps = [
        (set(None, Some(deny)), None),
        (set(Some("arn:f"), None), Some(("arn:f", allow))),
        (set(None, Some(deny)), Some(("arn:f", deny))),
        (set(Some("arn:g"), None), Some(("arn:g", deny))),
        (set(None, None), Some(("arn:g", deny))),
        (ReviewHandlerChange::Remove, None),
        (set(Some("arn:h"), Some(deny)), Some(("arn:h", deny))),
    ];
    for bench in benches().await {
        let room = bench.store.create_room(&home(), new_room("a")).await.unwrap();
        for (step, expected) in steps.clone() {
            let change = RoomChange { review_handler: Some(step), ..RoomChange::default() };
            let updated = bench.store.update_room(&home(), room.id, change).await.unwrap();
            let expected =
                expected.map(|(uri, fallback)| ReviewHandlerSetting { uri: uri.to_owned(), fallback });
            assert_eq!(updated.review_handler, expected);
            assert_eq!(bench.store.get_room(&home(), room.id).await.unwrap(), updated);
            assert_eq!(bench.store.check().await.unwrap().discrepancies, []);
        }
    }
}

#[tokio::test]
async fn a_logging_configuration_must_exist_to_be_attached_or_asked_for_and_stays_while_attached() {
    for bench in benches().await {
        let store = &bench.store;
        let not_found = Err(StoreError::LoggingConfigurationNotFound(an_id()));
        let with_logs = |ids: Vec<_>| NewRoom { logging_configurations: ids, ..new_room("a") };
        assert_eq!(store.create_room(&home(), with_logs(vec![an_id()])).await, not_found);
        let logs =
            store.create_logging_configuration(&home(), new_logging_configuration("logs")).await.unwrap();
        assert_eq!(store.create_room(&home(), with_logs(vec![logs.id, an_id()])).await, not_found);
        let room = store.create_room(&home(), with_logs(vec![logs.id])).await.unwrap();
        let attach = |ids| RoomChange { logging_configurations: Some(ids), ..RoomChange::default() };
        assert_eq!(store.update_room(&home(), room.id, attach(vec![an_id()])).await, not_found);
        assert_eq!(store.get_room(&home(), room.id).await.unwrap(), room, "a refused update changes nothing");

        let filter = RoomFilter { logging_configuration: Some(an_id()), ..RoomFilter::default() };
        let listed = store.list_rooms(&home(), &filter, None, 50, Vec::new()).await;
        assert_eq!(listed.map(|_| ()), not_found.map(|_: super::super::Room| ()));

        let in_use = Err(StoreError::LoggingConfigurationInUse(logs.id));
        assert_eq!(store.delete_logging_configuration(&home(), logs.id).await, in_use);
        store.update_room(&home(), room.id, attach(vec![])).await.unwrap();
        let filter = RoomFilter { logging_configuration: Some(logs.id), ..RoomFilter::default() };
        assert_eq!(walk(store, &home(), &filter, 50).await, [], "it exists, and no room has it");
        store.delete_logging_configuration(&home(), logs.id).await.unwrap();
        let gone = store.get_logging_configuration(&home(), logs.id).await;
        assert_eq!(gone, Err(StoreError::LoggingConfigurationNotFound(logs.id)));
    }
}

#[tokio::test]
async fn logging_configurations_are_changed_and_listed_newest_first() {
    for bench in benches().await {
        let store = &bench.store;
        let mut made = Vec::new();
        for name in ["a", "b", "c"] {
            made.push(
                store.create_logging_configuration(&home(), new_logging_configuration(name)).await.unwrap(),
            );
        }
        let destination = Destination::Firehose("stream".to_owned());
        let change = LoggingConfigurationChange { name: None, destination: Some(destination.clone()) };
        let updated = store.update_logging_configuration(&home(), made[0].id, change).await.unwrap();
        assert_eq!((updated.name.as_str(), &updated.destination), ("a", &destination));
        let first = store.list_logging_configurations(&home(), None, 2).await.unwrap();
        assert_eq!(first.entries, [updated.clone(), made[2].clone()]);
        let rest = store.list_logging_configurations(&home(), first.next, 2).await.unwrap();
        assert_eq!((rest.entries, rest.next), (vec![made[1].clone()], None));
        assert_eq!(store.get_logging_configuration(&home(), updated.id).await.unwrap(), updated);
    }
}

#[tokio::test]
async fn tags_are_set_replaced_removed_and_limited_without_moving_anything() {
    for bench in benches().await {
        let store = &bench.store;
        let room = store.create_room(&home(), new_room("a")).await.unwrap();
        let logs =
            store.create_logging_configuration(&home(), new_logging_configuration("logs")).await.unwrap();
        store.create_room(&home(), new_room("b")).await.unwrap();
        for (kind, id) in [(ResourceKind::Room, room.id), (ResourceKind::LoggingConfiguration, logs.id)] {
            let arn = Arn::new(home(), kind, id);
            let full: Tags =
                (0..TAGS_MAX).map(|n| (format!("key{n:02}"), "long enough to be long".into())).collect();
            store.tag(&arn, full.clone()).await.unwrap();
            assert_eq!(store.tags(&arn).await.unwrap(), full);
            let refused = store.tag(&arn, tags([("one more", "")])).await;
            assert_eq!(refused, Err(StoreError::TooManyTags(id)));
            store.tag(&arn, tags([("key00", "replaced")])).await.unwrap();
            assert_eq!(store.tags(&arn).await.unwrap().len(), TAGS_MAX);
            assert_eq!(store.check().await.unwrap().discrepancies, [], "tags that postings do not carry");
            store
                .untag(&arn, full.keys().skip(1).cloned().chain(["absent".to_owned()]).collect())
                .await
                .unwrap();
            assert_eq!(store.tags(&arn).await.unwrap(), tags([("key00", "replaced")]));
        }
        let listed = walk(store, &home(), &RoomFilter::default(), 50).await;
        assert_eq!((listed[1].id, listed[1].order_key), (room.id, room.order_key));
        assert_eq!(details(&listed[1])["tags"], json!({"key00": "replaced"}));
        assert_eq!(store.check().await.unwrap().discrepancies, []);

        let absent = Arn::new(home(), ResourceKind::Room, an_id());
        assert_eq!(store.tags(&absent).await, Err(StoreError::RoomNotFound(an_id())));
        assert_eq!(store.tag(&absent, Tags::new()).await, Err(StoreError::RoomNotFound(an_id())));
        let impossible = Arn::parse("arn:aws:ivschat:us-west-2:123456789012:room/a-b").unwrap();
        assert_eq!(store.untag(&impossible, vec![]).await, Err(StoreError::ResourceNotFound(impossible)));
    }
}

#[tokio::test]
async fn scopes_do_not_see_each_other() {
    for bench in benches().await {
        let store = &bench.store;
        let logs =
            store.create_logging_configuration(&home(), new_logging_configuration("logs")).await.unwrap();
        let new = NewRoom { logging_configurations: vec![logs.id], ..new_room("a") };
        let room = store.create_room(&home(), new.clone()).await.unwrap();
        for foreign in [scope("123456789012", "eu-west-1"), scope("210987654321", "us-west-2")] {
            for with_a_room_of_its_own in [false, true] {
                if with_a_room_of_its_own {
                    store.create_room(&foreign, new_room("other")).await.unwrap();
                }
                let not_found = StoreError::RoomNotFound(room.id);
                let logs_not_found = StoreError::LoggingConfigurationNotFound(logs.id);
                let filter = RoomFilter { name: Some("a".to_owned()), ..RoomFilter::default() };
                assert_eq!(walk(store, &foreign, &filter, 50).await, []);
                assert_eq!(store.get_room(&foreign, room.id).await, Err(not_found.clone()));
                let update = store.update_room(&foreign, room.id, RoomChange::default()).await;
                assert_eq!(update, Err(not_found.clone()));
                assert_eq!(store.delete_room(&foreign, room.id).await, Err(not_found.clone()));
                let arn = Arn::new(foreign.clone(), ResourceKind::Room, room.id);
                assert_eq!(store.tags(&arn).await, Err(not_found));
                assert_eq!(store.create_room(&foreign, new.clone()).await, Err(logs_not_found.clone()));
                let filter = RoomFilter { logging_configuration: Some(logs.id), ..RoomFilter::default() };
                let listed = store.list_rooms(&foreign, &filter, None, 50, Vec::new()).await;
                assert_eq!(listed, Err(logs_not_found.clone()));
                let deleted = store.delete_logging_configuration(&foreign, logs.id).await;
                assert_eq!(deleted, Err(logs_not_found));
                assert_eq!(store.list_logging_configurations(&foreign, None, 50).await.unwrap().entries, []);
            }
        }
    }
}

#[tokio::test]
async fn order_keys_ascend_when_the_clock_stands_or_steps_back() {
    let clock = Arc::new(AtomicI64::new(1_700_000_000_000_000));
    let settings = || {
        let clock = Arc::clone(&clock);
        Settings { now: Arc::new(move || clock.load(Relaxed)), ..Settings::default() }
    };
    let folder = tempfile::TempDir::new().unwrap();
    let location = Location::Folder(folder.path().to_owned());
    let mut store = Store::open_with(&location, settings()).await.unwrap();
    let mut last = 0;
    for step in [0, 0, -1_000_000, 0, 5, -3_600_000_000, 0] {
        clock.fetch_add(step, Relaxed);
        let room = store.create_room(&home(), new_room("a")).await.unwrap();
        assert!(room.order_key > last);
        last = room.order_key;
        let updated = store.update_room(&home(), room.id, RoomChange::default()).await.unwrap();
        assert!(updated.order_key > last);
        last = updated.order_key;
        // The highest key goes with its room, and must not come again after a restart.
        store.delete_room(&home(), room.id).await.unwrap();
        store.close().await;
        store = Store::open_with(&location, settings()).await.unwrap();
    }
}

#[tokio::test]
async fn keys_are_made_kept_rotated_and_forgotten() {
    for bench in benches().await {
        let store = &bench.store;
        let first = store.keys(KeyPurpose::ChatToken).await.unwrap();
        assert_eq!(first.len(), 1);
        let again = store.keys(KeyPurpose::ChatToken).await.unwrap();
        assert_eq!((again[0].id, &*again[0].secret), (first[0].id, &*first[0].secret));
        let other = store.keys(KeyPurpose::PageToken).await.unwrap();
        assert_ne!(*other[0].secret, *first[0].secret);
        let rotated = store.rotate_key(KeyPurpose::ChatToken, 0).await.unwrap();
        assert_eq!(rotated.iter().map(|key| key.id).collect::<Vec<_>>(), [1, 2]);
        assert_ne!(*rotated[0].secret, *rotated[1].secret);
        let forgotten = store.rotate_key(KeyPurpose::ChatToken, i64::MAX).await.unwrap();
        assert_eq!(forgotten.iter().map(|key| key.id).collect::<Vec<_>>(), [3], "the new key always stays");
        assert_eq!(store.keys(KeyPurpose::PageToken).await.unwrap().len(), 1);
        assert!(!format!("{forgotten:?}").contains(&format!("{:?}", forgotten[0].secret)));
    }
}

#[tokio::test]
async fn a_closed_store_says_so() {
    for bench in benches().await {
        let room = bench.store.create_room(&home(), new_room("a")).await.unwrap();
        bench.store.close().await;
        bench.store.close().await;
        assert!(is_unavailable(&bench.store.get_room(&home(), room.id).await));
        assert!(is_unavailable(&bench.store.create_room(&home(), new_room("b")).await));
        assert!(is_unavailable(&bench.store.keys(KeyPurpose::ChatToken).await));
    }
}
