//! ListRooms against an oracle: a plain list of rooms that is filtered and sorted for every question.
//!
//! Random creates, updates, deletes and taggings, then every filter combination with a random page size: the same
//! rooms, as they are now, in the same order, none twice, none missing, and no page that promises more than there is.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::{Index, subsequence};
use proptest::test_runner::{Config, TestRunner};
use protocol::arn::{Arn, ResourceKind};
use protocol::id::Id;

use super::super::{
    Fallback, NewRoom, ReviewHandlerChange, ReviewHandlerSetting, Room, RoomChange, RoomFilter, RoomSummary,
    Store, StoreError, Tags,
};
use super::{an_id, benches, home, new_logging_configuration, new_room, tags, walk};

/// Few values, so that rooms share them; the last of each is never given to a room.
const NAMES: [&str; 4] = ["", "lobby", "lobby-2", "nobody"];
const HANDLER_URIS: [&str; 3] = ["arn:f", "arn:g", "arn:nobody"];
const LOGGING_CONFIGURATIONS: usize = 4;

/// Runs on each location.
const CASES: u32 = 24;
const STEPS_MAX: usize = 60;

/// One write; logging configurations are positions in a list that is made first.
#[derive(Clone, Debug)]
enum Step {
    Create {
        name: &'static str,
        handler: Option<(&'static str, Fallback)>,
        logging: Vec<usize>,
        tagged: bool,
    },
    Update {
        room: Index,
        name: Option<&'static str>,
        handler: HandlerStep,
        logging: Option<Vec<usize>>,
    },
    Delete(Index),
    Tag(Index, u8),
    Untag(Index),
}

#[derive(Clone, Debug)]
enum HandlerStep {
    Leave,
    Remove,
    Set(Option<&'static str>, Option<Fallback>),
}

fn a_step() -> impl Strategy<Value = Step> {
    let name = || (0..NAMES.len() - 1).prop_map(|number| NAMES[number]);
    let uri = || (0..HANDLER_URIS.len() - 1).prop_map(|number| HANDLER_URIS[number]);
    let fallback = || prop_oneof![Just(Fallback::Allow), Just(Fallback::Deny)];
    // The last is never attached, so that it exists and finds nothing.
    let logging =
        || subsequence((0..LOGGING_CONFIGURATIONS - 1).collect::<Vec<_>>(), 0..LOGGING_CONFIGURATIONS);
    let handler = prop_oneof![
        Just(HandlerStep::Leave),
        Just(HandlerStep::Remove),
        (option::of(uri()), option::of(fallback()))
            .prop_map(|(uri, fallback)| HandlerStep::Set(uri, fallback)),
    ];
    let create = (name(), option::of((uri(), fallback())), logging(), any::<bool>());
    let update = (any::<Index>(), option::of(name()), handler, option::of(logging()));
    prop_oneof![
        4 => create.prop_map(|(name, handler, logging, tagged)| Step::Create { name, handler, logging, tagged }),
        4 => update.prop_map(|(room, name, handler, logging)| Step::Update { room, name, handler, logging }),
        1 => any::<Index>().prop_map(Step::Delete),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(room, size)| Step::Tag(room, size)),
        1 => any::<Index>().prop_map(Step::Untag),
    ]
}

#[test]
fn every_list_is_what_the_oracle_says() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let steps_and_page_sizes = (vec(a_step(), 1..STEPS_MAX), vec(1_usize..=50, 8));
    let checked = runner.run(&steps_and_page_sizes, |(steps, page_sizes)| {
        runtime.block_on(async {
            for bench in benches().await {
                check(&bench.store, &steps, &page_sizes).await;
            }
        });
        Ok(())
    });
    checked.unwrap();
}

async fn check(store: &Store, steps: &[Step], page_sizes: &[usize]) {
    let mut logging = Vec::new();
    for number in 0..LOGGING_CONFIGURATIONS {
        let new = new_logging_configuration(&number.to_string());
        logging.push(store.create_logging_configuration(&home(), new).await.unwrap().id);
    }
    let mut oracle: Vec<Room> = Vec::new();
    for step in steps {
        take(store, &mut oracle, &logging, step).await;
    }
    for (filter, &page_size) in all_filters(&logging).iter().zip(page_sizes.iter().cycle()) {
        let expected = ask(&oracle, filter);
        if filter.logging_configuration == Some(an_id()) {
            let listed = store.list_rooms(&home(), filter, None, page_size, Vec::new()).await;
            assert_eq!(listed, Err(StoreError::LoggingConfigurationNotFound(an_id())));
        } else {
            assert_eq!(walk(store, &home(), filter, page_size).await, expected, "{filter:?} by {page_size}");
        }
    }
    assert_eq!(store.check().await.unwrap().discrepancies, []);
}

/// Takes a step in the store and in the oracle. Of the store's answers the oracle believes only ids and order keys.
async fn take(store: &Store, oracle: &mut Vec<Room>, logging: &[Id], step: &Step) {
    let ids = |numbers: &[usize]| numbers.iter().map(|&number| logging[number]).collect::<Vec<_>>();
    let arn = |room: &Room| Arn::new(home(), ResourceKind::Room, room.id);
    match step {
        Step::Create { name, handler, logging, tagged } => {
            let new = NewRoom {
                review_handler: handler
                    .map(|(uri, fallback)| ReviewHandlerSetting { uri: uri.to_owned(), fallback }),
                logging_configurations: ids(logging),
                tags: if *tagged { tags([("made", "so")]) } else { Tags::new() },
                ..new_room(name)
            };
            let created = store.create_room(&home(), new.clone()).await.unwrap();
            oracle.push(Room {
                name: new.name,
                review_handler: new.review_handler,
                logging_configurations: new.logging_configurations,
                tags: new.tags,
                create_time: created.order_key,
                ..created
            });
        }
        Step::Update { .. } | Step::Delete(_) | Step::Tag(..) | Step::Untag(_) if oracle.is_empty() => {}
        Step::Update { room, name, handler, logging } => {
            let room = room.get_mut(oracle);
            let change = RoomChange {
                name: name.map(str::to_owned),
                review_handler: handler_change(handler),
                logging_configurations: logging.as_deref().map(ids),
                ..RoomChange::default()
            };
            room.order_key = store.update_room(&home(), room.id, change).await.unwrap().order_key;
            room.name = name.map_or(room.name.clone(), str::to_owned);
            room.review_handler = handler_after(room.review_handler.clone(), handler);
            room.logging_configurations = logging.as_deref().map_or(room.logging_configurations.clone(), ids);
        }
        Step::Delete(room) => {
            let room = oracle.remove(room.index(oracle.len()));
            store.delete_room(&home(), room.id).await.unwrap();
        }
        Step::Tag(room, size) => {
            let room = room.get_mut(oracle);
            // From tags that postings carry to tags that they do not.
            let value = "x".repeat(usize::from(*size) * 3);
            store.tag(&arn(room), tags([("size", value.as_str())])).await.unwrap();
            room.tags.insert("size".to_owned(), value);
        }
        Step::Untag(room) => {
            let room = room.get_mut(oracle);
            store.untag(&arn(room), vec!["size".to_owned()]).await.unwrap();
            room.tags.remove("size");
        }
    }
}

fn handler_change(step: &HandlerStep) -> Option<ReviewHandlerChange> {
    match step {
        HandlerStep::Leave => None,
        HandlerStep::Remove => Some(ReviewHandlerChange::Remove),
        HandlerStep::Set(uri, fallback) => {
            Some(ReviewHandlerChange::Set { uri: uri.map(str::to_owned), fallback: *fallback })
        }
    }
}

fn handler_after(before: Option<ReviewHandlerSetting>, step: &HandlerStep) -> Option<ReviewHandlerSetting> {
    match step {
        HandlerStep::Leave => before,
        HandlerStep::Remove => None,
        HandlerStep::Set(uri, fallback) => {
            let uri = uri.map(str::to_owned).or(before.as_ref().map(|handler| handler.uri.clone()))?;
            let fallback = fallback.or(before.map(|handler| handler.fallback)).unwrap_or(Fallback::Allow);
            Some(ReviewHandlerSetting { uri, fallback })
        }
    }
}

/// Every combination of conditions, those that find nothing included.
fn all_filters(logging: &[Id]) -> Vec<RoomFilter> {
    let names = NAMES.iter().map(|&name| (!name.is_empty()).then(|| name.to_owned()));
    let mut filters = Vec::new();
    for name in names {
        for uri in [None].into_iter().chain(HANDLER_URIS.map(Some)) {
            for id in [None, Some(an_id())].into_iter().chain(logging.iter().copied().map(Some)) {
                filters.push(RoomFilter {
                    name: name.clone(),
                    review_handler_uri: uri.map(str::to_owned),
                    logging_configuration: id,
                });
            }
        }
    }
    filters
}

fn ask<'a>(oracle: &'a [Room], filter: &RoomFilter) -> Vec<RoomSummary<'a>> {
    let mut found: Vec<RoomSummary<'a>> = oracle
        .iter()
        .filter(|room| filter.name.as_ref().is_none_or(|name| *name == room.name))
        .filter(|room| {
            let uri = room.review_handler.as_ref().map(|handler| &handler.uri);
            filter.review_handler_uri.is_none() || filter.review_handler_uri.as_ref() == uri
        })
        .filter(|room| {
            filter.logging_configuration.is_none_or(|id| room.logging_configurations.contains(&id))
        })
        .map(Room::summary)
        .collect();
    found.sort_by_key(|summary| std::cmp::Reverse(summary.order_key));
    found
}
