"""Connections of the control plane: half-closed, pipelined without end, and thousands that say nothing."""

import contextlib
import json
import resource
import socket
import time
from pathlib import Path

import pytest

import clients
from edge import ChatSocket
from server import Server, get, narrow_connection
from signing import Requester
from wire import Wire, answers_until_the_end

SECONDS_MAX = 60
# Far more than the kernel keeps of either direction.
PIPELINED_BYTES_MAX = 256 * 1024 * 1024
CONNECTIONS_MAX = 1_024
CONNECTIONS_PERCENT_OF_DESCRIPTORS = 20
# About as long as its answer, so that both directions are full after as few of them as can be.
HEALTH = b"GET /health/live HTTP/1.1\r\nHost: a\r\nX-Padding: " + b"x" * 350 + b"\r\n\r\n"


@pytest.mark.covers("CreateRoom")
def test_a_client_that_closes_its_side_gets_the_answers_to_all_it_asked(http):
    with Wire(http) as wire:
        bodies = [b'{"name":"first"}', b"nonsense", b'{"name":"last"}']
        wire.socket.sendall(b"".join(wire.request(body, "/CreateRoom") for body in bodies))
        wire.socket.shutdown(socket.SHUT_WR)
        answers = answers_until_the_end(wire.socket)
    assert [status for status, _, _ in answers] == [200, 400, 200]
    assert [json.loads(body).get("name") for _, _, body in answers] == ["first", None, "last"]


def test_a_client_that_closes_its_side_in_the_middle_is_told_if_its_request_had_begun(http):
    for cut, expected in ((-1, [(400, "MalformedHttpRequestException")]), (50, [])):
        with Wire(http) as wire:
            wire.socket.sendall(wire.request()[:cut])
            wire.socket.shutdown(socket.SHUT_WR)
            answers = answers_until_the_end(wire.socket)
        assert [(status, headers["x-amzn-errortype"]) for status, headers, _ in answers] == expected


def test_who_pipelines_without_reading_is_not_read_on_and_loses_nothing(http, chat):
    with narrow_connection(http.address) as connection:
        connection.setblocking(False)
        requests, sent, full_since = HEALTH * 100, 0, 0
        # Full for good, and not only because the server was slow: others have been served meanwhile.
        while full_since < 20:
            assert sent < PIPELINED_BYTES_MAX, "the server reads on and on"
            try:
                sent += connection.send(requests[sent % len(HEALTH) :])
                full_since = 0
            except BlockingIOError:
                chat.list_rooms(maxResults=1)
                full_since += 1
        connection.settimeout(10)
        connection.shutdown(socket.SHUT_WR)
        answers = answers_until_the_end(connection)
    # The last request may have been cut off.
    assert len(answers) == sent // len(HEALTH)
    assert {(status, body) for status, _, body in answers} == {(200, answers[0][2])}


def sockets_of(server):
    """How many sockets the server has open."""
    count = 0
    for link in Path(f"/proc/{server.process.pid}/fd").iterdir():
        # A descriptor may be closed while we look.
        with contextlib.suppress(FileNotFoundError):
            count += link.readlink().name.startswith("socket:")
    return count


@pytest.fixture
def many_descriptors():
    """As many files for this process as the system allows it."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture(params=[1_000, None], ids=["of 1,000 descriptors", "of all there are"])
def limited_server(request, tmp_path):
    """A server that may have so many descriptors, and how many connections of the control plane it takes at once."""
    wrapper = ("sh", "-c", f"ulimit -n {request.param} && exec \"$@\"", "sh") if request.param else ()
    server = Server(tmp_path / "data", wrapper=wrapper).start()
    descriptors, _ = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    yield server, min(CONNECTIONS_MAX, descriptors * CONNECTIONS_PERCENT_OF_DESCRIPTORS // 100)
    server.stop()


@pytest.mark.covers("ListRooms", "SEND_MESSAGE")
def test_thousands_of_idle_connections_take_their_share_and_keep_nobody_out(many_descriptors, limited_server):
    server, connections_max = limited_server
    http, chat = Requester(server), clients.ivschat(server)
    token = chat.create_chat_token(
        roomIdentifier=chat.create_room()["arn"], userId="u", capabilities=["SEND_MESSAGE"]
    )["token"]  # fmt: skip
    with contextlib.ExitStack() as idle, Wire(http) as early:
        early.socket.sendall(early.request())
        assert early.response()[0] == 200
        # Besides this connection and boto3's, which both stay.
        others = sockets_of(server) - 2
        for _ in range(2_000):
            idle.enter_context(socket.create_connection(http.address, timeout=10))
        give_up_at = time.monotonic() + SECONDS_MAX
        while sockets_of(server) < others + connections_max:
            assert time.monotonic() < give_up_at, f"{sockets_of(server)} sockets, {others} of them others"
        with Wire(http) as late:
            late.socket.sendall(late.request())
            assert late.response()[0] == 200, "who asks is let in"
            early.socket.sendall(early.request())
            assert early.response()[0] == 200, "who has asked before is not driven out by those who never do"
            assert get(server.admin, "/health/ready")[0] == 200
            with ChatSocket(server.edge, token) as socket_of_user:
                assert socket_of_user.act(Action="SEND_MESSAGE", Content="hi")["Content"] == "hi"
            assert sockets_of(server) <= others + connections_max + 2, "one may wait, and the user's may not be closed yet"
