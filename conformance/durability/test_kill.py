"""kill -9 under concurrent writers, over and over: nothing that was acknowledged is lost, nothing is half there."""

import random
import threading

import pytest

from ledger import Fuse, LedgerBroken, Line, Writer, check_list
from server import Server

ROUNDS = 60
ROUNDS_PER_STORE_CHECK = 10
PLANTED_ROUNDS_MAX = 200
WRITERS = 8
SEED = 20260714


def write_until(server, writers, acknowledgements, then):
    """Lets the writers write until so many acknowledgements have come and `then` has ended the server."""
    fuse = Fuse(acknowledgements, then)
    threads = [threading.Thread(target=writer.run, args=(server, fuse)) for writer in writers]
    for thread in threads:
        thread.start()
    fuse.wait()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def check(server, writers):
    """The whole ledger against the restarted server."""
    line = Line(server)
    try:
        for writer in writers:
            writer.check(line)
        check_list(line, writers)
    finally:
        line.close()


def check_store(server):
    """What the kill has left agrees with itself, as `grandstand check` sees it."""
    checked = server.command("check")
    assert checked.returncode == 0 and checked.stdout.endswith(": all is well\n"), checked


def run_rounds(server, rounds, seed=SEED):
    """Kills and restarts; returns in how many rounds a request was under way."""
    chance = random.Random(seed)
    writers = [Writer(number, chance.random()) for number in range(WRITERS)]
    interrupted = 0
    for number in range(1, rounds + 1):
        write_until(server, writers, chance.randint(10, 80), server.process.kill)
        server.process.wait()
        interrupted += any(writer.pending for writer in writers)
        # Not every time: the check recovers the log, which most rounds leave to the server's own start.
        if number % ROUNDS_PER_STORE_CHECK == 0:
            check_store(server)
        server.restart()
        check(server, writers)
    return interrupted


@pytest.mark.covers("CreateRoom", "UpdateRoom", "DeleteRoom", "TagResource", "GetRoom", "ListRooms")
def test_fifty_kills_lose_nothing_that_was_acknowledged(fresh_server):
    interrupted = run_rounds(fresh_server, ROUNDS)
    print(f"{ROUNDS} kills, {interrupted} with requests under way")
    assert interrupted >= ROUNDS * 3 // 4, "most kills are to fall into a commit"
    fresh_server.kill9()
    check_store(fresh_server)


@pytest.mark.timeout(400)
def test_a_server_that_acknowledges_before_its_commit_is_caught(tmp_path):
    server = Server(tmp_path / "data", environment={"GRANDSTAND_PLANT": "acknowledge-before-commit"}).start()
    try:
        with pytest.raises(LedgerBroken):
            # About one kill in twelve falls between such an acknowledgement and its commit; the first one is enough.
            run_rounds(server, PLANTED_ROUNDS_MAX)
    finally:
        if server.is_running():
            server.kill9()


def test_the_store_survives_a_polite_stop_as_well(fresh_server):
    writers = [Writer(number, number) for number in range(2)]
    write_until(fresh_server, writers, 20, lambda: fresh_server.process.terminate())
    assert fresh_server.process.wait(10) == 0
    fresh_server.restart()
    check(fresh_server, writers)
