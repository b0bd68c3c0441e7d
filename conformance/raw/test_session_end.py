"""The end of a session, and tokens that ran out. The shortest session lasts a minute, so it is started with the run
(`minute_session` in conftest.py) and these tests come last.
"""

import json

import pytest

from edge import CLOSE, PING, Dropped, refusal
from server import ID


@pytest.mark.covers("frame:ERROR", "CreateChatToken")
def test_a_session_ends_with_error_401_then_close_1000_with_the_same_as_reason(minute_session):
    socket = minute_session.socket
    socket.socket.settimeout(80)
    frame = socket.receive_json()
    assert ID.match(frame.pop("Id"))
    assert frame == {"Type": "ERROR", "RequestId": "", "ErrorCode": 401, "ErrorMessage": "The session has expired"}
    # Clients read the end of a session as JSON, and a kick as plain text.
    assert socket.receive_close() == (1000, '{"ErrorCode":401,"ErrorMessage":"The session has expired"}')


def test_a_token_that_ran_out_is_refused(server, minute_session):
    minute_session.wait_for_the_end()
    assert refusal(server.edge, minute_session.unused_token) == (403, "the chat token has expired")


def test_a_longer_session_goes_on(chat, minute_session):
    minute_session.wait_for_the_end()
    chat.send_event(roomIdentifier=minute_session.room, eventName="app:still-here")
    assert json.loads(minute_session.longer.recv(timeout=10))["EventName"] == "app:still-here"


def test_a_peer_that_answers_no_ping_is_dropped_without_a_close_frame(minute_session):
    silent = minute_session.silent
    silent.socket.settimeout(100)
    opcodes = []
    with pytest.raises(Dropped):
        while True:
            opcodes.append(silent.receive_frame().opcode)
    # A Close frame would tell official SDKs not to come back.
    assert PING in opcodes and CLOSE not in opcodes
