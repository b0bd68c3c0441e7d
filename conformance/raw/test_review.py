"""Message review handlers are stored but not invoked yet: the fallback result decides, and the log says so."""

import pytest

from edge import ChatSocket

HANDLER = "arn:aws:lambda:us-west-2:123456789012:function:review"


@pytest.fixture
def join(server, chat):
    """Opens a connection to a room whose handler has this fallback result."""
    sockets = []

    def join(fallback):
        handler = {"uri": HANDLER} | ({"fallbackResult": fallback} if fallback else {})
        room = chat.create_room(messageReviewHandler=handler)
        token = chat.create_chat_token(roomIdentifier=room["arn"], userId="u", capabilities=["SEND_MESSAGE"])["token"]
        sockets.append(ChatSocket(server.edge, token))
        return room, sockets[-1]

    yield join
    for socket in sockets:
        socket.close()


@pytest.mark.covers("SEND_MESSAGE", "frame:MESSAGE")
@pytest.mark.parametrize("fallback", [None, "ALLOW"])
def test_fallback_allow_delivers_the_message(join, fallback):
    _, socket = join(fallback)
    assert socket.act(Action="SEND_MESSAGE", Content="as sent", Attributes={"a": "b"})["Content"] == "as sent"


@pytest.mark.covers("SEND_MESSAGE", "frame:ERROR", "UpdateRoom")
def test_fallback_deny_refuses_the_message_with_406(chat, join):
    room, socket = join("DENY")
    frame = socket.act(Action="SEND_MESSAGE", Content="x", RequestId="r")
    assert (frame["Type"], frame["ErrorCode"], frame["RequestId"]) == ("ERROR", 406, "r")
    chat.send_event(roomIdentifier=room["arn"], eventName="app:events-are-not-reviewed")
    assert socket.receive_json()["EventName"] == "app:events-are-not-reviewed"
    chat.update_room(identifier=room["arn"], messageReviewHandler={"uri": ""})
    assert socket.act(Action="SEND_MESSAGE", Content="free")["Content"] == "free"


def test_the_log_warns_that_the_handler_is_not_invoked(server, join):
    _, socket = join("ALLOW")
    assert socket.act(Action="SEND_MESSAGE", Content="x")["Type"] == "MESSAGE"
    warnings = [line for line in server.log_path.read_text(errors="replace").splitlines() if "WARN" in line]
    assert any("review" in line.lower() for line in warnings)
