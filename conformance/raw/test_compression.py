"""permessage-deflate: off unless the server is told otherwise, and then with PyPI `websockets`."""

import json

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import connect

import clients
from server import Server

DEADLINE_SECONDS = 10
AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


@pytest.fixture(scope="module")
def compressing(tmp_path_factory):
    """A server that compresses for whoever offers it."""
    environment = {"GRANDSTAND_EDGE_COMPRESSION": "true"}
    server = Server(tmp_path_factory.mktemp("compressing") / "data", environment=environment).start()
    yield server
    server.stop()


def join(server, chat, room, user, **offer):
    """A connection that offers compression."""
    token = chat.create_chat_token(roomIdentifier=room, userId=user, capabilities=["SEND_MESSAGE"])["token"]
    extensions = [ClientPerMessageDeflateFactory(**offer)]
    return connect(server.edge, subprotocols=[token], extensions=extensions, open_timeout=DEADLINE_SECONDS)


def test_it_is_off_by_default(server, chat, room):
    with join(server, chat, room["arn"], "alice") as alice:
        assert "Sec-WebSocket-Extensions" not in alice.response.headers


@pytest.mark.covers("SEND_MESSAGE", "frame:MESSAGE", "CreateChatToken")
def test_messages_of_all_lengths_arrive_whole(compressing):
    chat = clients.ivschat(compressing)
    room = chat.create_room(maximumMessageRatePerSecond=100)["arn"]
    with (
        join(compressing, chat, room, "alice", client_max_window_bits=True) as alice,
        join(compressing, chat, room, "bob", server_max_window_bits=12) as bob,
    ):
        assert alice.response.headers["Sec-WebSocket-Extensions"] == AGREED
        assert bob.response.headers["Sec-WebSocket-Extensions"] == f"{AGREED}; server_max_window_bits=12"
        contents = ["a", "é" * 100, "hello " * 80, "x" * 500]
        attributes = {"filler": "0123456789" * 40}
        for content in contents:
            alice.send(json.dumps({"Action": "SEND_MESSAGE", "Content": content, "Attributes": attributes}))
            for user in (alice, bob):
                frame = json.loads(user.recv(timeout=DEADLINE_SECONDS))
                assert (frame["Content"], frame["Attributes"]) == (content, attributes)
