"""Clients that never get as far as the door, or should not: slow ones, floods of headers, guessed tokens, more than there are
descriptors. Each meets its limit (`crates/protocol/src/limit.rs`), the server does not grow, and nobody else notices.
"""

import base64
import contextlib
import os
import resource
import select
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from bystanders import SECONDS_MAX, Bystanders, metric, resident_bytes, wait_for_metric
from edge import ChatSocket, handshake_bytes, parse_head, refusal
from server import Server, address, narrow_connection

DESCRIPTORS = 400
# HANDSHAKES_PERCENT_OF_DESCRIPTORS
HANDSHAKES_MAX = DESCRIPTORS * 20 // 100
# HANDSHAKE_BYTES_MAX
HANDSHAKE_BYTES_MAX = 16 * 1024
# Less than is thrown away of a flood before the connection is closed (LINGER_BYTES_MAX), so that its end is in order.
FLOOD_BYTES = 900_000
FLOODS = 60
GUESSES = 300
GROWTH_BYTES_MAX = 16 * 1024 * 1024
CANNOT_ACCEPT = "cannot accept a connection"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server that may have so many descriptors."""
    wrapper = ("sh", "-c", f'ulimit -n {DESCRIPTORS} && exec "$@"', "sh")
    server = Server(tmp_path_factory.mktemp("guarded") / "data", wrapper=wrapper).start()
    assert resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)[0] == DESCRIPTORS
    yield server
    server.stop()


@pytest.fixture
def bystanders(guarded):
    """See `Bystanders`."""
    with Bystanders(guarded) as bystanders:
        yield bystanders


def is_closed_by_peer(connection):
    """Waits for the end of a connection on which nothing is to come."""
    connection.settimeout(SECONDS_MAX)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def read_answer(connection):
    """Status and text of an answer behind which the server hangs up."""
    answer = bytearray()
    while piece := connection.recv(65536):
        answer += piece
    head, _, text = bytes(answer).partition(b"\r\n\r\n")
    return parse_head(head)[0], text.decode()


SLOW = {
    "who says nothing": 0,
    "who stops in the middle": 60,
    "who stops at the last byte": -1,
}


@pytest.mark.parametrize("kind", SLOW)
def test_of_more_unfinished_handshakes_than_descriptors_the_oldest_give_way(guarded, bystanders, kind):
    request, _ = handshake_bytes("x", bystanders.token("slow"))
    begun, rest = request[: SLOW[kind]], request[SLOW[kind] :]
    with contextlib.ExitStack() as open_until_the_end:
        slow = []
        for _ in range(DESCRIPTORS + 50):
            slow.append(open_until_the_end.enter_context(socket.create_connection(address(guarded.edge), timeout=10)))
            with contextlib.suppress(ConnectionError):
                slow[-1].sendall(begun)
        assert all(is_closed_by_peer(connection) for connection in slow[:-HANDSHAKES_MAX])
        bystanders.talk()
        # Whoever comes takes the place of the oldest one, and of nobody else.
        with ChatSocket(guarded.edge, bystanders.token("new")):
            bystanders.talk()
        assert is_closed_by_peer(slow[-HANDSHAKES_MAX])
        assert not select.select(slow[-HANDSHAKES_MAX + 1 :], [], [], 0)[0], "the others were left alone"
        # One byte after the other is as good as any other way.
        for byte in rest:
            slow[-1].sendall(bytes([byte]))
        slow[-1].settimeout(10)
        assert parse_head(slow[-1].recv(65536).partition(b"\r\n\r\n")[0])[0] == 101


def test_waves_of_unfinished_handshakes_leave_nothing_behind(guarded, bystanders):
    begun = b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * (HANDSHAKE_BYTES_MAX - 1_000)
    grown_from = None
    for wave in range(12):
        with contextlib.ExitStack() as open_until_the_end:
            for _ in range(3 * HANDSHAKES_MAX):
                connection = socket.create_connection(address(guarded.edge), timeout=10)
                open_until_the_end.enter_context(connection)
                with contextlib.suppress(ConnectionError):
                    connection.sendall(begun)
            bystanders.talk()
        # The first ones fill what the allocator keeps.
        if wave == 2:
            grown_from = resident_bytes(guarded)
    assert resident_bytes(guarded) - grown_from < GROWTH_BYTES_MAX / 4, "each wave brought almost 4 MiB"


HEADERS = {
    "one header without end": (b"X: " + b"x" * FLOOD_BYTES, "the request's headers are too long"),
    "headers without end": (b"X: y\r\n" * (FLOOD_BYTES // 6), "the request has too many headers"),
    "a request line without end": (b"GET /" + b"x" * FLOOD_BYTES, "the request's headers are too long"),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_floods_of_headers_are_refused_and_not_kept(guarded, bystanders, kind):
    flood, reason = HEADERS[kind]
    opening = b"" if flood.startswith(b"GET") else b"GET / HTTP/1.1\r\nHost: x\r\n"
    refused = f'grandstand_handshakes_refused_total{{status="431",reason="{reason}"}}'
    before, memory = metric(guarded, refused), resident_bytes(guarded)

    def attack(_):
        with narrow_connection(address(guarded.edge)) as connection:
            connection.settimeout(SECONDS_MAX)
            connection.sendall(opening + flood)
            return read_answer(connection)

    with ThreadPoolExecutor(HANDSHAKES_MAX // 4) as threads:
        answers = [threads.submit(attack, number) for number in range(FLOODS)]
        for _ in range(3):
            bystanders.talk()
        assert {answer.result() for answer in answers} == {(431, f"{reason}\n")}
    wait_for_metric(guarded, refused, before + FLOODS)
    assert resident_bytes(guarded) - memory < GROWTH_BYTES_MAX, f"{FLOODS * FLOOD_BYTES} bytes came"
    bystanders.talk()


def guesses(token):
    """Texts that look like a token: changed ones, cut ones, longer ones, and bytes at random behind a true beginning."""
    for number in range(GUESSES):
        at = 1 + number * 7 % (len(token) - 2)
        other = "A" if token[at] != "A" else "B"
        kinds = (
            token[:at] + other + token[at + 1 :],
            token[:at],
            token + "A" * (1 + number * 13),
            token[:7] + base64.urlsafe_b64encode(os.urandom(300 + number)).decode().rstrip("="),
        )
        yield kinds[number % len(kinds)]


def test_guessed_tokens_are_all_refused_and_use_up_none(guarded, bystanders):
    token = bystanders.token("guessed at")
    reasons = ("the chat token is malformed", "the chat token is not valid here")
    refused = [f'grandstand_handshakes_refused_total{{status="403",reason="{reason}"}}' for reason in reasons]
    before, memory = metric(guarded, *refused), resident_bytes(guarded)
    for number, guess in enumerate(guesses(token)):
        status, reason = refusal(guarded.edge, guess)
        assert status == 403 and reason in reasons, guess
        if number % 100 == 0:
            bystanders.talk()
    wait_for_metric(guarded, refused, before + GUESSES)
    assert resident_bytes(guarded) - memory < GROWTH_BYTES_MAX / 4
    with ChatSocket(guarded.edge, token):
        bystanders.talk()


def test_without_descriptors_accepting_pauses_and_goes_on_and_who_is_connected_chats(guarded, bystanders):
    tokens = [bystanders.token(f"crowd-{number}") for number in range(DESCRIPTORS)]
    with contextlib.ExitStack() as open_until_the_end:
        connected = []

        def join(token):
            """A handshake; false when the server has run out of descriptors before it has answered."""
            connection = open_until_the_end.enter_context(socket.create_connection(address(guarded.edge), timeout=10))
            connection.sendall(handshake_bytes("x", token)[0])
            connected.append(connection)
            give_up_at = time.monotonic() + SECONDS_MAX
            while not select.select([connection], [], [], 0.02)[0]:
                if CANNOT_ACCEPT in guarded.log_path.read_text():
                    return False
                assert time.monotonic() < give_up_at, "neither let in nor out of descriptors"
            assert parse_head(connection.recv(65536).partition(b"\r\n\r\n")[0])[0] == 101
            return True

        assert not all(join(token) for token in tokens), "more connections than descriptors"
        assert CANNOT_ACCEPT in guarded.log_path.read_text()
        others = connected[:-1]
        # The last one may have been let in; nobody is from now on.
        waiting = open_until_the_end.enter_context(socket.create_connection(address(guarded.edge), timeout=10))
        waiting.sendall(handshake_bytes("x", bystanders.token("waiting"))[0])
        for _ in range(3):
            bystanders.talk()
        assert not select.select([waiting], [], [], 0)[0], "it is neither refused nor dropped"
        for connection in others[:20]:
            connection.close()
        waiting.settimeout(SECONDS_MAX)
        assert parse_head(waiting.recv(65536).partition(b"\r\n\r\n")[0])[0] == 101
        with ChatSocket(guarded.edge, bystanders.token("late")):
            bystanders.talk()
