//! Proves that whatever a room with logging configurations publishes is noted first, as its subscribers get it and in its
//! order, also when there are none; that a room without is not noted; that what is refused is not; and that a room whose
//! log says no publishes nothing, disconnects nobody and says so.

use std::sync::{Arc, Mutex, mpsc};

use hub::chat_log::{ChatLog, LoggingConfigurations, Unlogged};
use hub::message::{Message, Publication, Reply, RoomKey, RoomSettings, Unpublished, Verdict};
use hub::review::{Outcome, ReviewLimits, ReviewSettings};
use hub::{Hub, Settings};
use protocol::chat_log::RecordKind;
use protocol::id::Id;
use protocol::messaging::Moderation;

use crate::harness::{ClientKey, Guest, Node, room, settings};

/// What was noted: for how many logging configurations, what, and its text.
type Noted = Arc<Mutex<Vec<(usize, RecordKind, String)>>>;

/// A node of one shard whose log takes what `is_well` lets it.
fn node_with_log(is_well: Arc<Mutex<bool>>) -> (Node, Noted) {
    let mut node = Node::new(1);
    let noted = Noted::default();
    let settings = Settings {
        shard: 0,
        shards: 1,
        coalescing_window_nanos: 0,
        rates_lifted: true,
        reviews: ReviewLimits::default(),
        seed: [3; 32],
    };
    let log = Arc::clone(&noted);
    *node.hub(0) = Hub::new(settings).with_chat_log(ChatLog::new(move |entry| {
        if !*is_well.lock().unwrap() {
            return Err(Unlogged);
        }
        let count = entry.configurations.iter().count();
        log.lock().unwrap().push((count, entry.kind, entry.payload.to_owned()));
        Ok(())
    }));
    (node, noted)
}

fn logged(version: i64, ids: &[u128]) -> RoomSettings {
    let ids: Vec<Id> = ids.iter().map(|id| Id::from_random(*id)).collect();
    RoomSettings { logging_configurations: LoggingConfigurations::new(&ids), ..settings(version) }
}

fn join(node: &mut Node, room: &RoomKey, user: &str) -> ClientKey {
    let client = node.join(&Guest::new(room, user));
    node.heard(client);
    client
}

/// What the control plane asks for of a room that it has just read.
fn publish(
    node: &mut Node,
    room: &RoomKey,
    settings: RoomSettings,
    publication: Publication,
) -> Result<Id, Unpublished> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let reply = Reply::new(move |result| sender.send(result).unwrap());
    let publication = Box::new(publication);
    let settings = Box::new(settings);
    node.tell(0, Message::Publish { room: room.clone(), settings, publication, reply });
    receiver.try_recv().unwrap()
}

fn event(name: &str) -> Publication {
    Publication::Event { name: name.to_owned(), attributes: None }
}

fn texts(noted: &Noted) -> Vec<String> {
    noted.lock().unwrap().iter().map(|(_, _, text)| text.clone()).collect()
}

#[test]
fn what_subscribers_get_is_what_was_noted_in_the_same_order() {
    let (mut node, noted) = node_with_log(Arc::new(Mutex::new(true)));
    let room = room(1);
    let ann = join(&mut node, &room, "ann");
    node.tell(0, Message::RoomChanged { room: room.clone(), settings: logged(1, &[1, 2, 3]) });
    node.send_message(ann, "one \\\" two", "r1");
    node.send_message(ann, &"x".repeat(501), "too long");
    publish(&mut node, &room, settings(0), event("app")).unwrap();
    let deletion =
        Moderation::DeleteMessage { message_id: Id::from_random(9), reason: Some("rude".to_owned()) };
    publish(&mut node, &room, settings(0), Publication::Moderation(deletion)).unwrap();
    let end = Moderation::DisconnectUser { user_id: "bob".to_owned(), reason: None };
    publish(&mut node, &room, settings(0), Publication::Moderation(end)).unwrap();
    node.advance_ms(200);
    let heard = node.heard(ann);
    let published: Vec<String> = heard
        .iter()
        .map(|frame| frame.text().to_owned())
        .filter(|text| !text.contains("\"ERROR\""))
        .collect();
    assert_eq!(published.len(), 4, "{published:?}");
    assert_eq!(texts(&noted), published);
    let kinds: Vec<_> = noted.lock().unwrap().iter().map(|(count, kind, _)| (*count, *kind)).collect();
    assert_eq!(kinds[0], (3, RecordKind::Message));
    assert_eq!(kinds[1..], [(3, RecordKind::Event); 3]);
}

#[test]
fn a_room_without_logging_configurations_is_not_noted() {
    let (mut node, noted) = node_with_log(Arc::new(Mutex::new(true)));
    let room = room(1);
    let ann = join(&mut node, &room, "ann");
    node.tell(0, Message::RoomChanged { room: room.clone(), settings: logged(1, &[1]) });
    node.tell(0, Message::RoomChanged { room: room.clone(), settings: logged(2, &[]) });
    node.send_message(ann, "hi", "r");
    publish(&mut node, &room, logged(1, &[1]), event("stale settings do not win")).unwrap();
    assert!(texts(&noted).is_empty());
}

#[test]
fn an_event_in_a_room_that_nobody_is_in_is_noted() {
    let (mut node, noted) = node_with_log(Arc::new(Mutex::new(true)));
    publish(&mut node, &room(1), logged(5, &[1]), event("alone")).unwrap();
    assert!(texts(&noted)[0].contains("\"EventName\":\"alone\""));
}

#[test]
fn what_the_control_plane_has_read_later_wins() {
    let (mut node, noted) = node_with_log(Arc::new(Mutex::new(true)));
    let room = room(1);
    join(&mut node, &room, "ann");
    publish(&mut node, &room, logged(5, &[1]), event("newer than the home's settings")).unwrap();
    assert_eq!(texts(&noted).len(), 1);
}

#[test]
fn a_room_whose_log_says_no_publishes_nothing_and_says_so() {
    let is_well = Arc::new(Mutex::new(true));
    let (mut node, noted) = node_with_log(Arc::clone(&is_well));
    let room = room(1);
    let (ann, bob) = (join(&mut node, &room, "ann"), join(&mut node, &room, "bob"));
    node.tell(0, Message::RoomChanged { room: room.clone(), settings: logged(1, &[1]) });
    *is_well.lock().unwrap() = false;
    node.send_message(ann, "hi", "r");
    let end =
        || Publication::Moderation(Moderation::DisconnectUser { user_id: "bob".to_owned(), reason: None });
    assert_eq!(publish(&mut node, &room, settings(0), event("no")), Err(Unpublished::Unlogged));
    assert_eq!(publish(&mut node, &room, settings(0), end()), Err(Unpublished::Unlogged));
    node.advance_ms(200);
    let heard = node.heard(ann);
    assert_eq!(heard.len(), 1);
    assert!(heard[0].text().contains("\"ErrorCode\":500"), "{}", heard[0].text());
    assert!(node.heard(bob).is_empty() && texts(&noted).is_empty());
    *is_well.lock().unwrap() = true;
    publish(&mut node, &room, settings(0), end()).unwrap();
    node.advance_ms(200);
    assert_eq!(node.heard(bob).len(), 2, "the event, and a Close");
}

#[test]
fn a_message_under_review_is_noted_as_it_is_published_and_a_denied_one_is_not() {
    let (mut node, noted) = node_with_log(Arc::new(Mutex::new(true)));
    let room = room(1);
    let ann = join(&mut node, &room, "ann");
    let review = Some(ReviewSettings { handler: "arn".into(), fallback: Verdict::Allow });
    node.tell(
        0,
        Message::RoomChanged { room: room.clone(), settings: RoomSettings { review, ..logged(1, &[1]) } },
    );
    for content in ["denied", "changed"] {
        node.send_message(ann, content, "r");
    }
    assert!(texts(&noted).is_empty());
    let changed = Outcome::Changed { content: "by the handler".to_owned(), attributes: None };
    for outcome in [Outcome::Denied { reason: None }, changed] {
        let request = node.reviews.pop_front().unwrap();
        node.reviewed(&request, outcome);
    }
    let texts = texts(&noted);
    assert_eq!(texts.len(), 1);
    assert!(texts[0].contains("\"Content\":\"by the handler\""), "{texts:?}");
}
