"""PyPI `websockets`, a client nobody here wrote: joins, chats, moderates, is refused and is disconnected."""

import json

import pytest
from websockets.exceptions import ConnectionClosedOK, InvalidStatus
from websockets.sync.client import connect

DEADLINE_SECONDS = 10


@pytest.fixture
def join(server, chat, room):
    """Opens a connection for a user who may do everything."""

    def join(user):
        token = chat.create_chat_token(
            roomIdentifier=room["arn"], userId=user, capabilities=["SEND_MESSAGE", "DELETE_MESSAGE", "DISCONNECT_USER"]
        )["token"]
        return connect(server.edge, subprotocols=[token], open_timeout=DEADLINE_SECONDS, close_timeout=DEADLINE_SECONDS)

    return join


def receive(socket):
    """The next frame as JSON."""
    return json.loads(socket.recv(timeout=DEADLINE_SECONDS))


@pytest.mark.covers(
    "SEND_MESSAGE", "DELETE_MESSAGE", "DISCONNECT_USER", "frame:MESSAGE", "frame:EVENT", "frame:ERROR", "CreateChatToken"
)
def test_a_chat_from_joining_to_being_disconnected(join):
    with join("alice") as alice, join("bob") as bob:
        alice.send(json.dumps({"Action": "SEND_MESSAGE", "Content": "Hello 🎉", "RequestId": "1"}))
        message = receive(bob)
        assert receive(alice) == message
        assert (message["Type"], message["Content"], message["RequestId"]) == ("MESSAGE", "Hello 🎉", "1")
        bob.send(json.dumps({"Action": "DELETE_MESSAGE", "Id": message["Id"], "Reason": "no", "RequestId": "2"}))
        event = receive(alice)
        assert receive(bob) == event
        assert event["EventName"] == "aws:DELETE_MESSAGE" and event["Attributes"]["MessageID"] == message["Id"]
        bob.send(json.dumps({"Action": "SEND_MESSAGE", "Content": "", "RequestId": "3"}))
        error = receive(bob)
        assert (error["Type"], error["ErrorCode"], error["RequestId"]) == ("ERROR", 400, "3")
        assert alice.ping().wait(DEADLINE_SECONDS)
        bob.send(json.dumps({"Action": "DISCONNECT_USER", "UserId": "alice", "Reason": "enough", "RequestId": "4"}))
        assert receive(bob)["EventName"] == receive(alice)["EventName"] == "aws:DISCONNECT_USER"
        with pytest.raises(ConnectionClosedOK) as caught:
            receive(alice)
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1000, "enough")


def test_a_bad_token_is_an_http_status(server):
    with pytest.raises(InvalidStatus) as caught:
        connect(server.edge, subprotocols=["garbage"], open_timeout=DEADLINE_SECONDS)
    response = caught.value.response
    assert (response.status_code, response.body) == (403, b"the chat token is malformed\n")
