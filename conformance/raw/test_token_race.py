"""A chat token opens one connection, ever: 200 tokens, 50 sockets each, on all shards, and across a kill -9."""

import asyncio
import itertools
from collections import Counter
from urllib.parse import urlsplit

import pytest

import clients
from edge import handshake_bytes, parse_head
from server import Server, address

TOKENS = 200
SOCKETS = 50
# 20 tokens at a time keep client and server far below the usual limits on open files.
TOKENS_AT_ONCE = 20
# In the race that is killed, which is one batch.
KILLED_TOKENS = 100
KILLED_SOCKETS = 10
ATTEMPT_SECONDS_MAX = 60
REDEMPTION_BYTES = 24


async def attempt(url, token, before_asking=lambda: None):
    """One handshake: its status, or `None` when the server went away under it, and the socket if it joined."""
    host, port = address(url)
    request, _ = handshake_bytes(urlsplit(url).netloc, token)
    try:
        reader, writer = await asyncio.open_connection(host, port)
        before_asking()
        writer.write(request)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), ATTEMPT_SECONDS_MAX)
    except (OSError, asyncio.IncompleteReadError):
        return None, None
    status, _ = parse_head(head[:-4])
    if status == 101:
        return status, writer
    writer.close()
    return status, None


def tally(tokens, results):
    """The statuses by token; hangs up on the way."""
    statuses = {token: Counter() for token in tokens}
    for token, (status, writer) in zip(tokens, results, strict=True):
        statuses[token][status] += 1
        if writer:
            writer.close()
    return statuses


async def race(url, tokens, sockets=SOCKETS):
    """Tries each token on many sockets at once; the statuses by token."""
    statuses = {}
    for start in range(0, len(tokens), TOKENS_AT_ONCE):
        batch = [token for token in tokens[start : start + TOKENS_AT_ONCE] for _ in range(sockets)]
        statuses |= tally(batch, await asyncio.gather(*(attempt(url, token) for token in batch)))
    return statuses


def make_tokens(chat, count=TOKENS):
    """Tokens for as many users of rooms that live on different shards."""
    rooms = [chat.create_room()["arn"] for _ in range(8)]
    return [
        chat.create_chat_token(roomIdentifier=rooms[number % len(rooms)], userId=f"user-{number}")["token"]
        for number in range(count)
    ]


@pytest.fixture
def sharded_server(tmp_path):
    """A server with several shards, however many cores the machine has."""
    server = Server(tmp_path / "data", environment={"GRANDSTAND_EDGE_SHARDS": "4"}).start()
    yield server
    server.stop()


@pytest.mark.covers("CreateChatToken")
def test_200_tokens_on_50_sockets_each_make_200_joins(sharded_server):
    tokens = make_tokens(clients.ivschat(sharded_server))
    statuses = asyncio.run(race(sharded_server.edge, tokens))
    assert len(statuses) == TOKENS
    assert all(counts == {101: 1, 403: SOCKETS - 1} for counts in statuses.values())


@pytest.mark.covers("CreateChatToken")
def test_200_tokens_on_50_sockets_each_make_200_joins_across_a_kill(sharded_server):
    tokens = make_tokens(clients.ivschat(sharded_server))
    before = asyncio.run(race(sharded_server.edge, tokens[: TOKENS // 2]))
    sharded_server.kill9()
    sharded_server.restart()
    after = asyncio.run(race(sharded_server.edge, tokens))
    joins = [before.get(token, Counter())[101] + after[token][101] for token in tokens]
    assert joins == [1] * TOKENS
    assert all(counts == {101: 1, 403: SOCKETS - 1} for counts in before.values())
    assert all(after[token] == {403: SOCKETS} for token in before)


def redemptions_on_disk(server):
    """How many tokens have been used, as the files have it."""
    return sum(path.stat().st_size // REDEMPTION_BYTES for path in (server.data_dir / "redemptions").iterdir())


async def killed_race(server, tokens):
    """A race on each token's sockets in turn, and a kill when half of them have asked."""
    batch = [token for _ in range(KILLED_SOCKETS) for token in tokens]
    asked = itertools.count(1)

    def kill_in_the_middle():
        if next(asked) == len(batch) // 2:
            server.process.kill()

    results = await asyncio.gather(*(attempt(server.edge, token, kill_in_the_middle) for token in batch))
    server.process.wait()
    return tally(batch, results)


@pytest.mark.covers("CreateChatToken")
def test_a_kill_in_the_middle_of_the_race_opens_no_token_twice(sharded_server):
    tokens = make_tokens(clients.ivschat(sharded_server), KILLED_TOKENS)
    interrupted = asyncio.run(killed_race(sharded_server, tokens))
    assert any(counts[None] for counts in interrupted.values()), "the kill came after the race"
    answered = sum(counts[101] for counts in interrupted.values())
    # Redeemed, and the answer was lost with the process: such a token is used up. It is never the reverse.
    lost = redemptions_on_disk(sharded_server) - answered
    sharded_server.restart()
    again = asyncio.run(race(sharded_server.edge, tokens, KILLED_SOCKETS))
    joins = Counter(interrupted[token][101] + again[token][101] for token in tokens)
    assert joins == Counter({1: KILLED_TOKENS - lost, 0: lost}), joins
