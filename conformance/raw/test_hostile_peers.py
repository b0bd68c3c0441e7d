"""Clients that were let in and do harm: floods of Close frames, halves of connections, JSON that is deep, viewers that read
nothing. Each meets its limit (`crates/protocol/src/limit.rs`), the server does not grow, and nobody else notices.
Floods of pings, pongs, fragments and requests are in `test_floods.py`; each single violation in `test_rfc6455.py`.
"""

import contextlib
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bystanders import Bystanders, metric, resident_bytes, wait_for_metric
from edge import CLOSE, PING, TEXT, ChatSocket, Dropped, encode_frame
from server import Server, address

CONNECTIONS = "grandstand_connections"
DROPPED = "grandstand_slow_readers_dropped_total"
# LAG_BYTES_MAX, and what the kernel may keep on its way to one client (SEND_BUFFER_BYTES, twice with its own share).
LAG_BYTES_MAX = 256 * 1024
KERNEL_BYTES_MAX = 2 * 256 * 1024 + 128 * 1024
MEMORY_PER_STALLED_BYTES_MAX = 64 * 1024
# What a log that many wait for, metrics and the allocator take besides, however many are stalled.
MEMORY_BESIDES_BYTES_MAX = 8 * 1024 * 1024
STALLED = 40
CHURN = 200
NORMAL = encode_frame(CLOSE, struct.pack("!H", 1000))


@pytest.fixture(scope="module")
def one_shard(tmp_path_factory):
    """A server whose rooms all share one thread, and wait for no further frames before they write."""
    environment = {"GRANDSTAND_EDGE_SHARDS": "1", "GRANDSTAND_EDGE_COALESCING_WINDOW_MS": "0"}
    server = Server(tmp_path_factory.mktemp("peers") / "data", environment=environment).start()
    yield server
    server.stop()


@pytest.fixture
def bystanders(one_shard):
    """See `Bystanders`; when they come, nobody else is there."""
    wait_for_metric(one_shard, CONNECTIONS, 0)
    with Bystanders(one_shard) as bystanders:
        yield bystanders


def opcodes_until_the_end(chat):
    """The opcodes of all frames until the server drops the connection."""
    # Out of a buffer that was full for long, and as small as before, the rest would come very slowly.
    chat.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LAG_BYTES_MAX)
    opcodes = []
    with contextlib.suppress(Dropped):
        while True:
            opcodes.append(chat.receive_frame().opcode)
    return opcodes


@pytest.mark.covers("SEND_MESSAGE")
def test_a_flood_of_closes_is_answered_once_and_dropped(one_shard, bystanders):
    with ChatSocket(one_shard.edge, bystanders.token("eve"), timeout=60) as eve:
        eve.send_bytes(NORMAL)
        assert eve.receive_frame().opcode == CLOSE
        with contextlib.suppress(OSError):
            eve.send_bytes((NORMAL + encode_frame(PING, b"still here?")) * 20_000)
        assert opcodes_until_the_end(eve) == []
        bystanders.talk()
    wait_for_metric(one_shard, CONNECTIONS, 2)


@pytest.mark.covers("SEND_MESSAGE")
def test_connections_that_come_and_go_leave_nothing_behind(one_shard, bystanders):
    tokens = [bystanders.token(f"{number}") for number in range(2 * CHURN)]
    ends = (
        lambda chat: chat.send_bytes(NORMAL),
        lambda chat: chat.socket.shutdown(socket.SHUT_WR),
        # A reset.
        lambda chat: chat.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)),
        lambda chat: chat.send_bytes(encode_frame(TEXT, b"{", final=False) + encode_frame(TEXT, b"x" * 9_000)[:5_000]),
    )

    def come_and_go(number):
        with ChatSocket(one_shard.edge, tokens[number], timeout=60) as chat:
            ends[number % len(ends)](chat)

    def descriptors():
        return len(list(Path(f"/proc/{one_shard.process.pid}/fd").iterdir()))

    figures = []
    with ThreadPoolExecutor(10) as threads:
        for half in (range(CHURN), range(CHURN, 2 * CHURN)):
            list(threads.map(come_and_go, half))
            bystanders.talk()
            wait_for_metric(one_shard, CONNECTIONS, 2)
            figures.append((resident_bytes(one_shard), descriptors()))
    (memory_before, descriptors_before), (memory, open_descriptors) = figures
    assert memory - memory_before < CHURN * 8 * 1024
    assert abs(open_descriptors - descriptors_before) < 10, "besides a few of the control plane"


def test_a_peer_that_closes_its_half_is_dropped(one_shard, bystanders):
    with ChatSocket(one_shard.edge, bystanders.token("eve"), timeout=60) as eve:
        eve.socket.shutdown(socket.SHUT_WR)
        assert CLOSE not in opcodes_until_the_end(eve)
    wait_for_metric(one_shard, CONNECTIONS, 2)
    bystanders.talk()


DEEP = 16 * 1024 // 2 - 100
DEEP_REQUESTS = {
    "arrays": "[" * DEEP + "]" * DEEP,
    "arrays without an end": "[" * 2 * DEEP,
    "an unknown member": '{"Action":"SEND_MESSAGE","Content":"x","Y":' + "[" * DEEP + "]" * DEEP + "}",
    "objects": '{"a":' * (DEEP // 3) + "1" + "}" * (DEEP // 3),
    "attributes": '{"Action":"SEND_MESSAGE","Content":"x","Attributes":' + '{"a":' * (DEEP // 3) + "1" + "}" * (DEEP // 3) + "}",
    "a request id": '{"Action":"SEND_MESSAGE","Content":"x","RequestId":' + "[" * DEEP + "]" * DEEP + "}",
}


@pytest.mark.covers("SEND_MESSAGE", "frame:ERROR")
def test_deep_json_is_refused_and_the_connection_lives_on(one_shard, bystanders):
    with ChatSocket(one_shard.edge, bystanders.token("eve")) as eve:
        for name, request in DEEP_REQUESTS.items():
            eve.send_frame(TEXT, request)
            frame = eve.receive_json()
            assert (frame["Type"], frame["ErrorCode"]) == ("ERROR", 400), name
        assert eve.act(Action="SEND_MESSAGE", Content="alive")["Content"] == "alive"
    assert [socket.receive_json()["Content"] for socket in bystanders.sockets] == ["alive", "alive"]


@pytest.mark.covers("frame:ERROR")
def test_messages_of_the_largest_size_in_all_the_time_are_not_kept(one_shard, bystanders):
    """Ten a second are looked at; all are read, and none is kept."""
    largest = encode_frame(TEXT, b'{"Action":"SEND_MESSAGE","Y":"' + b"\\n" * (8 * 1024 - 16) + b'"}')
    assert len(largest) <= 16 * 1024 + 8
    messages, memory = 1_000, resident_bytes(one_shard)
    with ChatSocket(one_shard.edge, bystanders.token("eve"), timeout=60) as eve, ThreadPoolExecutor(1) as threads:
        sent = threads.submit(eve.socket.sendall, largest * messages)
        codes = [eve.receive_json()["ErrorCode"] for _ in range(messages)]
        sent.result()
        bystanders.talk()
    assert codes[:10] == [400] * 10 and set(codes) == {400, 429}
    assert resident_bytes(one_shard) - memory < MEMORY_BESIDES_BYTES_MAX, f"{messages * len(largest)} bytes came"


class Crowd:
    """A room with viewers of whom one reads all, and the others nothing: their kernels take almost nothing in."""

    def __init__(self, bystanders, stalled):
        self.chat, server = bystanders.chat, bystanders.server
        self.room = self.chat.create_room(maximumMessageRatePerSecond=100)["arn"]
        self.reader = ChatSocket(server.edge, bystanders.token("reader", self.room), timeout=60)
        self.stalled = [
            ChatSocket(server.edge, bystanders.token(f"stalled-{number}", self.room), timeout=60, receive_buffer=4 * 1024)
            for number in range(stalled)
        ]

    def publish(self):
        """An event of about 4 KiB, which the reader hears; how many bytes it had."""
        sent = self.chat.send_event(roomIdentifier=self.room, eventName="big", attributes={"a": "x" * 4_000})["id"]
        text = self.reader.receive_text()
        assert sent.encode() in text
        return len(text)

    def close(self):
        """Hangs up."""
        for socket in (self.reader, *self.stalled):
            socket.close()


@pytest.fixture
def crowd_of(bystanders):
    """Makes crowds, and sends them home."""
    with contextlib.ExitStack() as open_until_the_end:

        def crowd_of(stalled):
            crowd = Crowd(bystanders, stalled)
            open_until_the_end.callback(crowd.close)
            return crowd

        yield crowd_of


@pytest.mark.covers("SendEvent", "frame:EVENT")
def test_viewers_that_read_nothing_are_dropped_by_bytes_without_a_close(one_shard, bystanders, crowd_of):
    crowd = crowd_of(STALLED)
    before, memory, published = metric(one_shard, DROPPED), resident_bytes(one_shard), 0
    while metric(one_shard, DROPPED) < before + STALLED:
        published += crowd.publish()
        assert published < LAG_BYTES_MAX + KERNEL_BYTES_MAX, f"{metric(one_shard, DROPPED) - before} of {STALLED}"
        growth = resident_bytes(one_shard) - memory
        assert growth < MEMORY_BESIDES_BYTES_MAX + STALLED * MEMORY_PER_STALLED_BYTES_MAX
    assert published > LAG_BYTES_MAX
    bystanders.talk()
    for viewer in crowd.stalled:
        opcodes = opcodes_until_the_end(viewer)
        assert TEXT in opcodes and CLOSE not in opcodes
    crowd.publish()
    assert metric(one_shard, DROPPED) == before + STALLED, "the reader is still there"


def unsent_bytes(server, client):
    """What the server's kernel has not got rid of on its way to a client's socket."""
    ports = [f"{port:04X}" for port in (address(server.edge)[1], client.socket.getsockname()[1])]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if [fields[1].split(":")[1], fields[2].split(":")[1]] == ports:
            return int(fields[4].split(":")[0], 16)
    raise AssertionError("there is no such connection")


@pytest.mark.covers("SendEvent", "frame:EVENT")
def test_a_viewer_that_reads_nothing_is_dropped_by_age_without_a_close(one_shard, bystanders, crowd_of):
    crowd = crowd_of(1)
    (viewer,) = crowd.stalled
    before, lag, unsent = metric(one_shard, DROPPED), 0, -1
    # Until its socket takes no more: then it lags by a few events, which is far from too many bytes.
    while lag < 40 * 1024:
        published = crowd.publish()
        taken = unsent_bytes(one_shard, viewer)
        lag, unsent = (lag + published if taken == unsent else 0), taken
    bystanders.talk()
    wait_for_metric(one_shard, DROPPED, before + 1)
    opcodes = opcodes_until_the_end(viewer)
    assert TEXT in opcodes and CLOSE not in opcodes
    crowd.publish()
    bystanders.talk()
