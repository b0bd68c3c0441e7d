//! Pages of ListRooms that are asked for again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use protocol::operation::Operation;
use serde_json::{Value, json};

use super::Server;

fn names(page: &Value) -> Vec<String> {
    let rooms = page["rooms"].as_array().expect("rooms");
    rooms.iter().map(|room| room["name"].as_str().expect("a name").to_owned()).collect()
}

async fn create(server: &Server, name: &str) -> String {
    let room = server.done(Operation::CreateRoom, json!({"name": name})).await;
    room["arn"].as_str().expect("an ARN").to_owned()
}

#[tokio::test]
async fn a_page_that_is_asked_for_again_is_not_read_again() {
    let server = Server::start().await;
    for name in ["a", "b", "c"] {
        create(&server, name).await;
    }
    let ask = |members: Value| server.call(Operation::ListRooms, members);
    let first = ask(json!({"maxResults": 2})).await;
    let second = json!({"maxResults": 2, "nextToken": first.json()["nextToken"]});
    assert_eq!(names(&ask(second.clone()).await.json()), ["a"]);
    // What is asked for once is not kept.
    assert_eq!(ask(json!({"maxResults": 2})).await.body, first.body);
    assert_eq!(names(&ask(second.clone()).await.json()), ["a"]);
    let reads = server.store.counters().reads;
    assert_eq!(ask(json!({"maxResults": 2})).await.body, first.body);
    assert_eq!(names(&ask(second).await.json()), ["a"]);
    assert_eq!(server.store.counters().reads, reads);
    assert_eq!(names(&ask(json!({"maxResults": 1})).await.json()), ["c"]);
    assert_eq!(names(&ask(json!({"name": "b"})).await.json()), ["b"]);
    assert!(server.store.counters().reads > reads, "these are other pages");
}

#[tokio::test]
async fn whatever_is_written_is_in_the_page_at_once() {
    let server = Server::start().await;
    // Three times, so that it is kept, and given out again.
    let list = async || {
        let page = server.done(Operation::ListRooms, json!({})).await;
        for _ in 0..2 {
            assert_eq!(server.done(Operation::ListRooms, json!({})).await, page);
        }
        page
    };
    assert_eq!(list().await, json!({"rooms": []}));
    let room = create(&server, "a").await;
    assert_eq!(names(&list().await), ["a"]);
    server.done(Operation::UpdateRoom, json!({"identifier": room, "name": "b"})).await;
    assert_eq!(names(&list().await), ["b"]);
    let path = format!("/tags/{}", room.replace(':', "%3A").replace('/', "%2F"));
    let tagged =
        super::Call::new("POST", &path).body(json!({"tags": {"k": "v"}}).to_string()).send(&server).await;
    assert_eq!(tagged.status, 200, "{}", tagged.body);
    assert_eq!(list().await["rooms"][0]["tags"], json!({"k": "v"}));
    server.done(Operation::DeleteRoom, json!({"identifier": room})).await;
    assert_eq!(list().await, json!({"rooms": []}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_an_answer_finds_it_in_the_list_whoever_else_asks() {
    const WRITERS: usize = 4;
    const ROUNDS: usize = 25;
    let server = Arc::new(Server::start().await);
    let stop = Arc::new(AtomicBool::new(false));
    let asking = {
        let (server, stop) = (Arc::clone(&server), Arc::clone(&stop));
        tokio::spawn(async move {
            while !stop.load(Relaxed) {
                server.done(Operation::ListRooms, json!({})).await;
            }
        })
    };
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                for round in 0..ROUNDS {
                    let name = format!("{writer}-{round}");
                    let room = create(&server, &name).await;
                    let listed = async || names(&server.done(Operation::ListRooms, json!({})).await);
                    let found: BTreeSet<String> = listed().await.into_iter().collect();
                    assert!(found.contains(&name), "{name} was created, but there are {found:?}");
                    server.done(Operation::DeleteRoom, json!({"identifier": room})).await;
                    assert!(!listed().await.contains(&name), "{name} was deleted");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("no panic");
    }
    stop.store(true, Relaxed);
    asking.await.expect("no panic");
}
