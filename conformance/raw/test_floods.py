"""Clients that send frames without end: their connections are read more slowly, and nobody else notices."""

import contextlib
import re
import threading
import time

import pytest

import clients
from edge import CONTINUATION, PING, PONG, TEXT, ChatSocket, encode_frame
from server import Server, get

FRAMES_PER_SECOND = 1_000
PAUSES_SEEN = 20
SECONDS_MAX = 60


def pauses(server):
    """How often a connection was not read for a while, so far."""
    _, _, text = get(server.admin, "/metrics")
    return int(re.search(r"^grandstand_connection_pauses_total (\d+)$", text, re.MULTILINE)[1])


class Flood:
    """Sends the same frames without end, and reads what comes back, until it is closed."""

    def __init__(self, server, token, opening, frame):
        self.chat = ChatSocket(server.edge, token, timeout=None)
        self.answered_bytes = 0
        self.began_at = time.monotonic()
        self.chat.send_bytes(opening)
        self.threads = [threading.Thread(target=self._send, args=(frame * 1_000,)), threading.Thread(target=self._read)]
        for thread in self.threads:
            thread.start()

    def _send(self, frames):
        try:
            while True:
                self.chat.send_bytes(frames)
        except OSError:
            pass  # Closed.

    def _read(self):
        # Bytes are counted rather than frames, so that this thread leaves the processor to the server.
        try:
            while received := self.chat.socket.recv(65536):
                self.answered_bytes += len(received)
        except OSError:
            pass  # Closed.

    def frames_allowed(self):
        """How many frames may have been read by now."""
        return FRAMES_PER_SECOND * (1 + time.monotonic() - self.began_at) + 1

    def close(self):
        """Ends both threads."""
        self.chat.socket.shutdown(2)
        for thread in self.threads:
            thread.join()
        self.chat.close()


FLOODS = {
    "empty fragments": (encode_frame(TEXT, b"{", final=False), encode_frame(CONTINUATION, final=False)),
    "pongs": (b"", encode_frame(PONG)),
    "pings": (b"", encode_frame(PING)),
    "refused requests": (b"", encode_frame(TEXT, b"{}")),
}


@pytest.fixture(scope="module")
def one_shard(tmp_path_factory):
    """A server whose rooms all share one thread."""
    environment = {"GRANDSTAND_EDGE_SHARDS": "1"}
    server = Server(tmp_path_factory.mktemp("floods") / "data", environment=environment).start()
    yield server
    server.stop()


@pytest.fixture
def token_of(one_shard):
    """Makes tokens for a user of a room."""
    chat = clients.ivschat(one_shard)
    capabilities = ["SEND_MESSAGE"]
    return lambda room, user: chat.create_chat_token(roomIdentifier=room, userId=user, capabilities=capabilities)["token"]


@pytest.mark.covers("SEND_MESSAGE", "SendEvent", "frame:MESSAGE", "frame:EVENT")
@pytest.mark.parametrize("kind", FLOODS)
def test_two_floods_are_read_slowly_and_other_rooms_are_served(one_shard, token_of, kind):
    chat = clients.ivschat(one_shard)
    quiet, flooded = (chat.create_room()["arn"] for _ in range(2))
    with contextlib.ExitStack() as open_until_the_end:
        ann, bob = (open_until_the_end.enter_context(ChatSocket(one_shard.edge, token_of(quiet, user))) for user in "ab")
        before = pauses(one_shard)
        floods = [Flood(one_shard, token_of(flooded, user), *FLOODS[kind]) for user in ("eve", "mallory")]
        for flood in floods:
            open_until_the_end.callback(flood.close)
        for number in range(5):
            assert ann.act(Action="SEND_MESSAGE", Content=f"{number}")["Content"] == f"{number}"
            assert bob.receive_json()["Content"] == f"{number}"
        give_up_at = time.monotonic() + SECONDS_MAX
        while pauses(one_shard) < before + PAUSES_SEEN:
            assert time.monotonic() < give_up_at, f"{pauses(one_shard) - before} pauses in {SECONDS_MAX} s"
            sent = chat.send_event(roomIdentifier=quiet, eventName="undisturbed")["id"]
            assert [socket.receive_json()["Id"] for socket in (ann, bob)] == [sent, sent]
        if kind == "pings":
            for flood in floods:
                assert 0 < flood.answered_bytes <= len(encode_frame(PONG, mask=False)) * flood.frames_allowed()


@pytest.mark.covers("SEND_MESSAGE")
def test_a_message_in_more_fragments_than_are_read_in_a_second_arrives(one_shard, token_of):
    room = clients.ivschat(one_shard).create_room()["arn"]
    data = b'{"Action":"SEND_MESSAGE","Content":"whole","Padding":"' + b"x" * 2 * FRAMES_PER_SECOND + b'"}'
    with ChatSocket(one_shard.edge, token_of(room, "slow"), timeout=SECONDS_MAX) as socket:
        last = len(data) - 1
        for position in range(len(data)):
            opcode = TEXT if position == 0 else CONTINUATION
            socket.send_frame(opcode, data[position : position + 1], final=position == last)
        assert socket.receive_json()["Content"] == "whole"
