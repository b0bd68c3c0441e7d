"""kill -9 under concurrent writers, over and over: nothing that was acknowledged is lost, nothing is half there.

Four kills in five fall into a commit, by the hand of the disk: right before one of its writes to the log, right before
its sync, or right after it, when all is on disk and nobody has been told. The others fall anywhere.
"""

import random

import pytest

from disk import AFTER_SYNC, BEFORE_SYNC, BEFORE_WRITE, server_on_a_disk
from ledger import Fuse, LedgerBroken, Writer, check, check_store, rounds, write

ROUNDS = rounds(60)
PLANTED_ROUNDS_MAX = 40
# Long enough for an answer that should not have left to arrive.
PLANTED_KILL_DELAY_MS = 50
WRITERS = 8
SEED = 20260714


def kill_in_a_commit(disk, chance, **how):
    """The server will not live to see the end of one of its next commits."""
    when = chance.choice([BEFORE_WRITE, BEFORE_WRITE, BEFORE_SYNC, AFTER_SYNC])
    disk.kill(when, chance.randint(1, 100 if when == BEFORE_WRITE else 10), **how)


def restart(server, disk, chance):
    """Starts again; now and then only after a start that was killed while it recovered the log."""
    if chance.random() < 0.2:
        disk.kill(BEFORE_WRITE, chance.randint(1, 8), ending="grandstand.db")
        try:
            server.start()
        except AssertionError:
            assert disk.has_struck()
        else:
            server.kill9()
    disk.spare()
    server.start()


def run_rounds(server, disk, number, seed=SEED, **how):
    """Kills and restarts; returns how many kills fell into a commit."""
    chance = random.Random(seed)
    writers = [Writer(number, chance.random()) for number in range(WRITERS)]
    in_a_commit = 0
    for count in range(number):
        if count % 5 == 4:
            disk.spare()
            write(server, writers, fuse=Fuse(chance.randint(10, 80), server.process.kill))
        else:
            kill_in_a_commit(disk, chance, **how)
            write(server, writers)
            in_a_commit += disk.has_struck()
        server.process.wait()
        check_store(server)
        restart(server, disk, chance)
        check(server, writers)
    return in_a_commit


@pytest.mark.timeout(60 + 4 * ROUNDS)
@pytest.mark.covers("CreateRoom", "UpdateRoom", "DeleteRoom", "TagResource", "GetRoom", "ListRooms")
def test_no_kill_loses_what_was_acknowledged(server_and_disk):
    in_a_commit = run_rounds(*server_and_disk, ROUNDS)
    print(f"{ROUNDS} kills, {in_a_commit} of them in a commit")
    assert in_a_commit >= ROUNDS * 3 // 4, "most kills are to fall into a commit"


def test_a_server_that_acknowledges_before_its_commit_is_caught(disk_library, tmp_path):
    server, disk = server_on_a_disk(disk_library, tmp_path, GRANDSTAND_PLANT="acknowledge-before-commit")
    server.start()
    try:
        with pytest.raises(LedgerBroken):
            # A kill before a commit's last write, after its answers have arrived, is enough.
            run_rounds(server, disk, PLANTED_ROUNDS_MAX, delay_ms=PLANTED_KILL_DELAY_MS)
    finally:
        if server.is_running():
            server.kill9()


def test_the_store_survives_a_polite_stop_as_well(fresh_server):
    writers = [Writer(number, number) for number in range(2)]
    write(fresh_server, writers, fuse=Fuse(20, lambda: fresh_server.process.terminate()))
    assert fresh_server.process.wait(10) == 0
    fresh_server.restart()
    check(fresh_server, writers)
