"""The end of a session, and tokens that ran out. The shortest session lasts a minute, so it is started with the run
(`minute_session` in conftest.py) and these tests come last.
"""

import json

import pytest

from edge import PING, PONG, TEXT, ChatSocket, Refused


@pytest.mark.covers("frame:ERROR", "CreateChatToken")
def test_a_session_ends_with_error_401_then_close_1000_with_the_same_as_reason(minute_session):
    socket = minute_session.socket
    socket.socket.settimeout(80)
    frame = socket.receive_json()
    assert (frame["Type"], frame["ErrorCode"], frame["RequestId"]) == ("ERROR", 401, "")
    assert frame["ErrorMessage"]
    code, reason = socket.receive_close()
    assert code == 1000
    assert json.loads(reason)["ErrorCode"] == 401, "clients read the end of a session as JSON, a kick as plain text"


def test_a_token_that_ran_out_is_refused(server, minute_session):
    minute_session.wait_for_the_end()
    with pytest.raises(Refused) as caught:
        ChatSocket(server.edge, minute_session.unused_token)
    assert caught.value.status in (401, 403)


def test_a_longer_session_goes_on(server, chat, minute_session):
    minute_session.wait_for_the_end()
    socket = minute_session.longer_socket
    chat.send_event(roomIdentifier=minute_session.room, eventName="app:still-here")
    while (frame := socket.receive_frame()).opcode == PING:
        socket.send_frame(PONG, frame.payload)
    assert frame.opcode == TEXT and json.loads(frame.payload)["EventName"] == "app:still-here"
