//! Once a second: pings, the end of sessions, dead peers, slow readers, homes nobody needs.
//!
//! One walk over all sessions costs less than a timer for each, and an idle connection stays small.

use protocol::close::CloseCode;
use protocol::limit::edge::{
    DEAD_AFTER_SECONDS, LAG_BYTES_MAX, LAG_MS_MAX, PING_AFTER_SECONDS, PING_SPREAD_SECONDS, ROOM_LOADS_MAX,
    SESSION_END_GRACE_SECONDS,
};
use protocol::messaging::{SESSION_EXPIRED, session_end_reason};

use crate::audience::{Audience, blocked_since};
use crate::frame::{Opcode, encode, encode_close};
use crate::message::{Effect, Now};
use crate::session::{Phase, Session};
use crate::{Hub, SECOND_NANOS, slot};

/// What a session is due for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    Ping,
    DropDead,
    DropClosed,
    End,
    Close,
}

impl Hub {
    /// Does what is due; to be called about once a second.
    pub fn sweep(&mut self, now: Now) {
        let seconds = now.nanos / SECOND_NANOS;
        let due: Vec<(u32, Due)> = self
            .connection_indices()
            .map(|connection| (connection, due(connection, &self.sessions[slot(connection)], now, seconds)))
            .filter(|(_, due)| *due != Due::Nothing)
            .collect();
        for (connection, due) in due {
            self.do_due(now, connection, due);
        }
        let now_ms = blocked_since(now.nanos);
        let audiences = self.audiences.iter().filter(|(_, audience)| audience.blocked > 0);
        let slow: Vec<u32> = audiences.flat_map(|(_, audience)| slow_members(audience, now_ms)).collect();
        for connection in slow {
            self.fall_behind(now.nanos, connection);
        }
        self.join_paces.forget_idle(now.nanos);
        let effects = &mut self.effects;
        let mut loads_left = ROOM_LOADS_MAX;
        self.homes.retain(|room, home| {
            if home.is_unconfirmed() && loads_left > 0 {
                loads_left -= 1;
                effects.push_back(Effect::LoadRoom(room.clone()));
            }
            !home.is_idle(now.nanos)
        });
    }

    fn do_due(&mut self, now: Now, connection: u32, due: Due) {
        match due {
            Due::Nothing => {}
            Due::Ping => {
                if let Some(session) = self.sessions.get_mut(slot(connection)) {
                    session.pinged = true;
                }
                self.send_private(connection, encode(Opcode::Ping, &[]));
            }
            Due::DropDead => {
                self.counters.dead_peers_dropped += 1;
                self.remove(connection);
            }
            Due::DropClosed => self.remove(connection),
            Due::End => {
                let frame = self.error_frame("", &SESSION_EXPIRED);
                self.send_private(connection, frame);
                if let Some(session) = self.sessions.get_mut(slot(connection)) {
                    let close_at = now.nanos / SECOND_NANOS + SESSION_END_GRACE_SECONDS;
                    session.phase = Phase::Ended { close_at };
                }
            }
            Due::Close => {
                let frame = encode_close(CloseCode::Normal.as_u16(), &session_end_reason());
                self.close(now, connection, frame);
            }
        }
    }
}

fn due(connection: u32, session: &Session, now: Now, seconds: u64) -> Due {
    let silent = seconds.saturating_sub(session.heard_at);
    // A crowd that joined together is not pinged together: ten thousand pings at once would hold up all rooms.
    let ping_after = PING_AFTER_SECONDS - u64::from(connection) % PING_SPREAD_SECONDS;
    match session.phase {
        Phase::Closing { drop_at, .. } if seconds >= drop_at => Due::DropClosed,
        Phase::Closing { .. } => Due::Nothing,
        _ if silent >= DEAD_AFTER_SECONDS => Due::DropDead,
        Phase::Ended { close_at } if seconds >= close_at => Due::Close,
        Phase::Open if now.wall >= session.session_end => Due::End,
        _ if silent >= ping_after && !session.pinged => Due::Ping,
        _ => Due::Nothing,
    }
}

/// How long ago `since_ms` was. A sweep may have read the clock before the flush in which the member was blocked; then
/// the difference wraps, and is as good as nothing.
fn blocked_ms(now_ms: u32, since_ms: u32) -> u64 {
    let elapsed = now_ms.wrapping_sub(since_ms);
    if elapsed > u32::MAX / 2 { 0 } else { u64::from(elapsed) }
}

fn slow_members(audience: &Audience, now_ms: u32) -> Vec<u32> {
    let head = audience.log.head();
    let members = audience.members.iter().filter(|member| member.blocked_since_ms != 0);
    members
        .filter(|member| {
            head - member.cursor > LAG_BYTES_MAX || blocked_ms(now_ms, member.blocked_since_ms) > LAG_MS_MAX
        })
        .map(|member| member.connection)
        .collect()
}
