"""The power is cut, over and over, under concurrent writers: whatever a disk makes of what was not synced, nothing that
was acknowledged is lost, the store opens and agrees with itself, and a chat token whose use had been synced stays used.

`disk.c` keeps a journal of what the server does to its files, and `power.py` makes of it what a disk would hold. The cut
falls into a commit, into a start, into a checkpoint, or anywhere; before it, in some rounds, the server was killed and
started again, or a sync failed.
"""

import random
import time

import pytest

from disk import AFTER_SYNC, BEFORE_SYNC, BEFORE_WRITE, DEADLINE_SECONDS, SYNC_FAILS
from edge import ChatSocket, Dropped, Refused
from ledger import Fuse, Gone, LedgerBroken, Line, Writer, check, check_store, repeat_until_gone, rounds, wait_until_it_writes, write
from machine import Machine
from power import PAGE, SECTOR, File, read_journal

ROUNDS = rounds(50)
PLANTED_ROUNDS_MAX = 10
WRITERS = 6
SEED = 20260715


class Guests:
    """Users of a room who come with chat tokens, also while the writers write."""

    def __init__(self):
        self.room = None
        self.failure = None
        # Tokens whose use was synced, and those whose use may have been.
        self.settled = []
        self.recent = []

    def one_joins(self, line, server):
        """Lets somebody in."""
        answer = line.call("CreateChatToken", {"roomIdentifier": self.room, "userId": "guest"})
        assert answer.status == 200, answer
        token = answer.json["token"]
        try:
            ChatSocket(server.edge, token).close()
        except (OSError, Dropped) as error:
            raise Gone from error
        return token

    def run(self, server, fuse=None):
        """Lets people in until the server goes away."""
        self.failure = repeat_until_gone(server, lambda line: self.recent.append(self.one_joins(line, server)))

    def settle_one(self, machine):
        """Lets somebody in, and waits until that is on the disk."""
        line = Line(machine.server)
        self.settled.append(self.one_joins(line, machine.server))
        line.close()
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not all_uses_are_synced(machine.journal):
            assert time.monotonic() < deadline, "used tokens are not synced"
            # A file cannot be waited for.
            time.sleep(0.005)

    def check(self, server):
        """What was settled stays used; what was not can be used once more at the most."""
        for token in self.settled[-20:]:
            with pytest.raises(Refused):
                ChatSocket(server.edge, token)
        for token in self.recent[-5:]:
            for joins_allowed in (True, False):
                try:
                    ChatSocket(server.edge, token).close()
                except Refused:
                    continue
                if not joins_allowed:
                    raise LedgerBroken("a chat token was used twice")
        self.recent.clear()


def all_uses_are_synced(journal):
    """Whether everything that was written to the files of used tokens was synced since, and these files' names."""
    # By name, the step at which it last changed: a sync covers what was there when it began, and nothing later.
    changed, begun = {}, {}
    for step, (what, name, number, _) in enumerate(read_journal(journal)):
        folder = name.rpartition("/")[0]
        if what in "wc" and folder == "redemptions":
            changed[name] = step
            if what == "c":
                changed[folder] = step
        elif what == "s":
            begun[number] = changed.get(name)
        elif what == "S" and changed.get(name) == begun.pop(number):
            changed.pop(name, None)
    return not changed


def write_until_killed(machine, writers, chance):
    """The writers write until the server is killed, in a commit or anywhere."""
    fuse = Fuse(chance.randint(10, 60), machine.server.process.kill)
    if chance.random() < 0.6:
        when = chance.choice([BEFORE_WRITE, BEFORE_SYNC, AFTER_SYNC])
        machine.disk.kill(when, chance.randint(1, 60 if when == BEFORE_WRITE else 10))
    write(machine.server, writers, fuse=fuse)
    machine.server.process.wait()
    machine.disk.spare()


def write_through_a_failing_sync(machine, writers, owner, chance):
    """A sync fails while the writers write; each is refused in the end, and the server recovers."""
    fuse = Fuse(chance.randint(1, 30), lambda: machine.disk.fail(SYNC_FAILS))
    write(machine.server, writers, fuse=fuse, may_be_refused=True)
    machine.disk.fail()
    wait_until_it_writes(machine.server)
    check(machine.server, [*writers, owner])


def run_rounds(machine, count, seed=SEED):
    """Cuts the power, starts again and checks; returns what each cut has taken, in sectors."""
    chance = random.Random(seed)
    writers = [Writer(number, chance.random()) for number in range(WRITERS)]
    # The owner of the guests' room writes nothing else.
    guests, owner = Guests(), Writer(WRITERS, 0)
    taken = []
    while len(taken) < count:
        machine.switch_on(f"{seed}-{len(taken)}")
        if chance.random() < 0.2:
            # The start writes what the log holds to the main file.
            machine.disk.kill(chance.choice([BEFORE_WRITE, BEFORE_SYNC]), chance.randint(1, 4), ending="grandstand.db")
        if machine.starts():
            machine.disk.spare()
            run_until_killed(machine, writers, guests, owner, chance)
        taken.append(machine.cut())
        check_store(machine.server)
    machine.server.start()
    check(machine.server, [*writers, owner])
    guests.check(machine.server)
    return taken


def run_until_killed(machine, writers, guests, owner, chance):
    """One life of a server, or two."""
    server = machine.server
    check(server, [*writers, owner])
    if not guests.room:
        line = Line(server)
        room = line.call("CreateRoom", {"name": "chat"}).json
        owner.rooms[room["arn"]], guests.room = room, room["arn"]
        line.close()
    guests.check(server)
    guests.settle_one(machine)
    before = chance.choice(["nothing", "nothing", "a kill", "a failed sync"])
    if before == "a kill":
        write_until_killed(machine, writers, chance)
        server.start()
        check(server, [*writers, owner])
    elif before == "a failed sync":
        write_through_a_failing_sync(machine, writers, owner, chance)
    write_until_killed(machine, [*writers, guests], chance)


def files_of(power):
    """What the journal makes of the folder, and what is in it; the index of the log is in neither."""
    told = {name: bytes(file.seen) for name, file in power.seen.items() if file}
    paths = [path for path in power.root.rglob("*") if path.is_file() and not path.name.endswith("-shm")]
    return told, {str(path.relative_to(power.root)): path.read_bytes() for path in paths}


def test_the_journal_has_all_that_a_server_does_to_its_files(machine):
    machine.switch_on(SEED)
    machine.server.start()
    writers, guests = [Writer(number, number) for number in range(WRITERS)], Guests()
    write(machine.server, writers, fuse=Fuse(60, machine.server.process.terminate))
    assert machine.server.process.wait(10) == 0
    machine.server.start()
    guests.room = next(iter(writers[0].rooms))
    guests.settle_one(machine)
    # Nothing is under way now, so nothing is recorded that is not done.
    machine.server.kill9()
    machine.power.follow(machine.journal)
    told, found = files_of(machine.power)
    assert told == found
    assert {"grandstand.db", "grandstand.db-wal"} < found.keys() and len(found) == 4, "a lock and a bucket, too"


def test_a_power_cut_tears_what_was_not_synced_and_nothing_else():
    old, new = b"o" * 4 * SECTOR, b"n" * 4 * SECTOR
    synced = File.on_disk(b"s" * SECTOR + old)
    synced.write(SECTOR, new)
    left = {bytes(synced.cut(random.Random(seed), 0.5)) for seed in range(200)}
    assert all(content.startswith(b"s" * SECTOR) for content in left)
    # Each of four sectors is old or new, whatever the others are.
    assert len(left) == 2**4
    synced.end_sync(synced.begin_sync())
    assert {bytes(synced.cut(random.Random(seed), 0)) for seed in range(200)} == {b"s" * SECTOR + new}


def test_two_syncs_of_a_file_may_be_under_way_at_once():
    file = File.on_disk(b"o" * SECTOR)
    file.write(0, b"a" * SECTOR)
    first = file.begin_sync()
    file.write(0, b"b" * 2 * SECTOR)
    second = file.begin_sync()
    file.write(0, b"c" * SECTOR)
    file.end_sync(second)
    file.end_sync(first)
    left = {bytes(file.cut(random.Random(seed), 0.5)) for seed in range(50)}
    assert left == {b"b" * 2 * SECTOR, b"c" * SECTOR + b"b" * SECTOR}


def test_a_sync_does_not_bring_back_what_one_that_failed_has_dropped():
    file = File.on_disk(b"old" + bytes(PAGE - 3))
    file.write(0, b"new")
    # Of old and new, this chance leaves the old one on the disk.
    file.end_sync(file.begin_sync(), random.Random(1))
    file.write(PAGE, b"another page")
    file.end_sync(file.begin_sync())
    assert bytes(file.cut(random.Random(0), 1))[:3] == b"old"
    file.write(100, b"the same page")
    file.end_sync(file.begin_sync())
    assert bytes(file.cut(random.Random(0), 0))[:3] == b"new"


@pytest.mark.timeout(60 + 5 * ROUNDS)
@pytest.mark.covers("CreateRoom", "UpdateRoom", "DeleteRoom", "TagResource", "GetRoom", "ListRooms", "CreateChatToken")
def test_no_power_cut_loses_what_was_acknowledged(machine):
    taken = run_rounds(machine, ROUNDS)
    print(f"{len(taken)} power cuts, {sum(sectors > 0 for sectors in taken)} of which took something: {sum(taken)} sectors")
    assert sum(sectors > 0 for sectors in taken) >= ROUNDS // 4, "a power cut is to take something"


def test_a_server_that_skips_the_sync_loses_it_to_a_power_cut(disk_library, tmp_path):
    machine = Machine(disk_library, tmp_path, GRANDSTAND_PLANT="skip-fsync")
    try:
        with pytest.raises(LedgerBroken):
            run_rounds(machine, PLANTED_ROUNDS_MAX)
    finally:
        machine.off()


def test_a_power_cut_during_the_first_start_leaves_a_folder_to_start_in(machine):
    cuts = 0
    while True:
        machine.switch_on(f"{SEED}-{cuts}")
        machine.disk.kill(BEFORE_SYNC, cuts + 1, ending="")
        if machine.starts():
            break
        cuts += 1
        machine.cut()
        machine.server.start()
        machine.server.kill9()
        for path in sorted(machine.server.data_dir.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    assert cuts >= 5, "a first start syncs the new file, its folder, the log and what is in it"


@pytest.mark.parametrize("checkpoint, when, count", [(1, BEFORE_WRITE, 10), (2, BEFORE_SYNC, 2)])
def test_a_power_cut_in_a_checkpoint_loses_nothing(machine, checkpoint, when, count):
    writers = [Writer(number, number) for number in range(16)]
    machine.switch_on(SEED)
    machine.server.start()
    machine.disk.kill(when, count, ending="grandstand.db")
    write(machine.server, writers)
    assert machine.disk.has_struck()
    # The log starts over behind a checkpoint, with a new head.
    steps = [(what, name, where) for what, name, where, _ in read_journal(machine.journal)]
    assert steps.count(("w", "grandstand.db-wal", 0)) == checkpoint
    machine.cut()
    check_store(machine.server)
    machine.server.start()
    check(machine.server, writers)
