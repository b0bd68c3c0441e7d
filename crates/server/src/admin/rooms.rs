//! Rooms one by one, as JSON: those that publish most, and one by its id. Metrics have no label for rooms, since there may be
//! millions of them.

use bytes::Bytes;
use hub::inspect::{Asked, RoomFigures};
use protocol::arn::{Arn, ResourceKind};
use protocol::id::Id;
use serde_json::{Value, json};

use crate::bus::Bus;

/// How many are shown of those that publish most.
const BUSIEST: usize = 20;

/// The rooms that publish most, the busiest first.
pub(super) async fn busiest(bus: &Bus) -> Bytes {
    let mut figures = bus.inspect(Asked::Busiest(BUSIEST)).await;
    let rate = |figures: &RoomFigures| figures.home.map_or(0.0, |home| home.frames_per_second);
    figures.sort_by(|one, other| rate(other).total_cmp(&rate(one)));
    figures.truncate(BUSIEST);
    let rooms: Vec<Value> = figures.iter().map(home).collect();
    into_text(&json!({ "rooms": rooms }))
}

/// The room with this id, with what each shard has of it; `None` when it is not open here.
pub(super) async fn one(bus: &Bus, id: Id) -> Option<Bytes> {
    let figures = bus.inspect(Asked::Room(id)).await;
    let mut room = figures.iter().find(|figures| figures.home.is_some()).map(home)?;
    let shards: Vec<Value> = figures.iter().map(shard).collect();
    room["shards"] = json!(shards);
    Some(into_text(&room))
}

/// What the home of a room knows.
fn home(figures: &RoomFigures) -> Value {
    let arn = Arn::new((*figures.room.scope).clone(), ResourceKind::Room, figures.room.id);
    let Some(home) = figures.home else { return json!({ "arn": arn.to_string() }) };
    json!({
        "arn": arn.to_string(),
        "members": home.members,
        "frames_published": home.frames,
        "frames_per_second": home.frames_per_second,
        "message_rate_max": home.message_rate_max,
        "is_deleted": home.is_deleted,
    })
}

fn shard(figures: &RoomFigures) -> Value {
    json!({
        "shard": figures.shard,
        "is_home": figures.home.is_some(),
        "members": figures.members,
        "blocked_members": figures.blocked_members,
        "log_bytes": figures.log_bytes,
    })
}

fn into_text(value: &Value) -> Bytes {
    let mut text = value.to_string();
    text.push('\n');
    text.into()
}
