"""The power is cut, over and over, under concurrent writers: whatever a disk makes of what was not synced, nothing that
was acknowledged is lost, and the store opens and agrees with itself.

`disk.c` keeps a journal of what the server does to its files, and `power.py` makes of it what a disk would hold. The cut
falls into a commit, or anywhere; before it, in some rounds, the server was killed and started again, or a sync failed.
"""

import random

import pytest

from disk import AFTER_SYNC, BEFORE_SYNC, BEFORE_WRITE, SYNC_FAILS, server_on_a_disk
from ledger import Fuse, LedgerBroken, Writer, check, check_store, rounds, wait_until_it_writes, write
from power import PowerCut

ROUNDS = rounds(25)
PLANTED_ROUNDS_MAX = 10
WRITERS = 6
SEED = 20260715


class Machine:
    """A server on a disk whose power can be cut."""

    def __init__(self, library, folder, **environment):
        self.journal = folder / "journal"
        self.server, self.disk = server_on_a_disk(library, folder, journal=self.journal, **environment)

    def switch_on(self, seed):
        """All that is in the folder is on the disk."""
        self.journal.unlink(missing_ok=True)
        self.power = PowerCut(self.server.data_dir, seed)

    def cut(self):
        """The power is gone, and with it the process and what the disk does not hold."""
        self.server.kill9()
        self.disk.spare()
        self.power.follow(self.journal)
        self.power.cut()


@pytest.fixture
def machine(disk_library, tmp_path):
    """A machine that has never run."""
    machine = Machine(disk_library, tmp_path)
    yield machine
    if machine.server.is_running():
        machine.server.stop()


def write_until_killed(machine, writers, chance):
    """The writers write until the server is killed, in a commit or anywhere."""
    fuse = Fuse(chance.randint(10, 60), machine.server.process.kill)
    if chance.random() < 0.6:
        when = chance.choice([BEFORE_WRITE, BEFORE_SYNC, AFTER_SYNC])
        machine.disk.kill(when, chance.randint(1, 60 if when == BEFORE_WRITE else 10))
    write(machine.server, writers, fuse=fuse)
    machine.server.process.wait()
    machine.disk.spare()


def write_through_a_failing_sync(machine, writers, chance):
    """A sync fails while the writers write; each is refused in the end, and the server recovers."""
    fuse = Fuse(chance.randint(1, 30), lambda: machine.disk.fail(SYNC_FAILS))
    write(machine.server, writers, fuse=fuse, may_be_refused=True)
    machine.disk.fail()
    wait_until_it_writes(machine.server)
    check(machine.server, writers)


def run_rounds(machine, number, seed=SEED):
    """Cuts the power, starts again and checks; returns how often it went how."""
    chance = random.Random(seed)
    writers = [Writer(number, chance.random()) for number in range(WRITERS)]
    for count in range(number):
        machine.switch_on(f"{seed}-{count}")
        machine.server.start()
        check(machine.server, writers)
        before = chance.choice(["nothing", "nothing", "a kill", "a failed sync"])
        if before == "a kill":
            write_until_killed(machine, writers, chance)
            machine.server.start()
            check(machine.server, writers)
        elif before == "a failed sync":
            write_through_a_failing_sync(machine, writers, chance)
        write_until_killed(machine, writers, chance)
        machine.cut()
        check_store(machine.server)
    machine.server.start()
    check(machine.server, writers)


@pytest.mark.timeout(60 + 5 * ROUNDS)
@pytest.mark.covers("CreateRoom", "UpdateRoom", "DeleteRoom", "TagResource", "GetRoom", "ListRooms")
def test_no_power_cut_loses_what_was_acknowledged(machine):
    run_rounds(machine, ROUNDS)


def test_a_server_that_skips_the_sync_loses_it_to_a_power_cut(disk_library, tmp_path):
    machine = Machine(disk_library, tmp_path, GRANDSTAND_PLANT="skip-fsync")
    try:
        with pytest.raises(LedgerBroken):
            run_rounds(machine, PLANTED_ROUNDS_MAX)
    finally:
        if machine.server.is_running():
            machine.server.kill9()


def test_a_power_cut_during_the_first_start_leaves_a_folder_to_start_in(machine):
    cuts = 0
    while True:
        machine.switch_on(f"{SEED}-{cuts}")
        machine.disk.kill(BEFORE_SYNC, cuts + 1, ending="")
        try:
            machine.server.start()
        except AssertionError:
            assert machine.disk.has_struck()
        if not machine.disk.has_struck():
            break
        cuts += 1
        machine.cut()
        machine.server.start()
        machine.server.kill9()
        for path in sorted(machine.server.data_dir.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    print(f"{cuts} cuts before the first start was over")
    assert cuts > 0
