"""kill -9 under concurrent writers, over and over: nothing that was acknowledged is lost, nothing is half there."""

import random
import threading

import pytest

from ledger import LedgerBroken, Line, Progress, Writer, check_list
from server import Server

ROUNDS = 52
WRITERS = 8
SEED = 20260714


def write_and_kill(server, writers, acknowledgements):
    """One round up to the kill; how many requests were under way when it came."""
    progress = Progress()
    threads = [threading.Thread(target=writer.run, args=(server, progress)) for writer in writers]
    for thread in threads:
        thread.start()
    progress.wait_for(acknowledgements)
    server.kill9()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return sum(writer.pending is not None for writer in writers)


def check(server, writers):
    """The whole ledger against the restarted server."""
    line = Line(server)
    try:
        for writer in writers:
            writer.check(line)
        check_list(line, writers)
    finally:
        line.close()


def run_rounds(server, rounds, seed=SEED):
    """Kills and restarts; returns in how many rounds a request was under way."""
    chance = random.Random(seed)
    writers = [Writer(number, chance.random()) for number in range(WRITERS)]
    interrupted = 0
    for _ in range(rounds):
        under_way = write_and_kill(server, writers, chance.randint(10, 80))
        interrupted += under_way > 0
        server.restart()
        check(server, writers)
    return interrupted


@pytest.mark.covers("CreateRoom", "UpdateRoom", "DeleteRoom", "TagResource", "GetRoom", "ListRooms")
def test_fifty_kills_lose_nothing_that_was_acknowledged(fresh_server):
    interrupted = run_rounds(fresh_server, ROUNDS)
    print(f"{ROUNDS} kills, {interrupted} with requests under way")
    assert interrupted >= ROUNDS * 3 // 4, "most kills are to fall into a commit"


def test_a_server_that_acknowledges_before_its_commit_is_caught(tmp_path):
    server = Server(tmp_path / "data", environment={"GRANDSTAND_PLANT": "acknowledge-before-commit"}).start()
    try:
        with pytest.raises(LedgerBroken):
            run_rounds(server, 30)
    finally:
        if server.is_running():
            server.kill9()


def test_the_store_survives_a_polite_stop_as_well(fresh_server):
    writers = [Writer(number, number) for number in range(2)]
    progress = Progress()
    threads = [threading.Thread(target=writer.run, args=(fresh_server, progress)) for writer in writers]
    for thread in threads:
        thread.start()
    progress.wait_for(20)
    fresh_server.stop()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    fresh_server.restart()
    check(fresh_server, writers)
