"""Chat logs on a disk that fails, under a server that is killed, and over power cuts: what a room has published is in its log."""

import random
import re
import threading

import pytest

import clients
from crowd import Folders, Hall, Speaker, check_folders, check_log, enter, id_of, ids, settle, talk_together
from disk import AFTER_SYNC, BEFORE_SYNC, BEFORE_WRITE, FULL, SYNC_FAILS, SYNC_HELD, server_on_a_disk
from ledger import Fuse, Line, rounds
from machine import Machine
from power import is_synced
from server import get

ROUNDS = rounds(10)
ROOMS = 4
SEED = 20260714
ENVIRONMENT = {"GRANDSTAND_LIMITS_PROFILE": "unlimited", "GRANDSTAND_CHATLOG_S3_INTERVAL_S": "1"}


def start(library, folder, **environment):
    """A server whose disk is in the test's hands."""
    server, disk = server_on_a_disk(library, folder, **ENVIRONMENT, **environment)
    server.start()
    return server, disk


def say(socket, content):
    """What a room answers to a message."""
    socket.send_json({"Action": "SEND_MESSAGE", "RequestId": "r", "Content": content})
    return socket.receive_json()


def lost(server):
    """How many records the server counts as lost."""
    found = re.findall(r"^grandstand_chatlog_records_lost_total\{.*\} (\d+)", get(server.admin, "/metrics")[2], re.M)
    return sum(map(int, found))


@pytest.mark.timeout(120 + 6 * ROUNDS)
def test_no_kill_loses_a_record_that_was_published(disk_library, tmp_path):
    server, disk = start(disk_library, tmp_path)
    hall = Hall(server, clients.ivschat(server), rooms=ROOMS)
    chance = random.Random(SEED)
    speakers = [Speaker(room) for room in hall.rooms]
    in_a_write = 0
    for number in range(ROUNDS):
        fuse = Fuse(-1, None)
        is_by_disk = number % 3 < 2
        if not is_by_disk:
            fuse = Fuse(chance.randint(20, 200), server.process.kill)
        else:
            # In the middle of a note, of a sync, or of what says how far all was shipped.
            when, ending = chance.choice([(BEFORE_WRITE, ".records"), (BEFORE_SYNC, ".records"), (BEFORE_WRITE, "json.new")])
            disk.kill(when, chance.randint(1, 300 if when == BEFORE_WRITE and ending == ".records" else 15), ending=ending)
        talk_together(server, speakers, times=None, acknowledge=fuse.acknowledge)
        server.process.wait()
        in_a_write += is_by_disk and disk.has_struck()
        disk.spare()
        server.restart()
    talk_together(server, speakers, times=10)
    settle(lambda: check_folders(Folders(server), hall, speakers))
    print(f"{ROUNDS} kills, {in_a_write} of them in a write or sync of a spool; {sum(len(s.published) for s in speakers)} records")
    server.stop()
    assert in_a_write >= ROUNDS // 2


def test_chat_goes_on_while_the_disk_is_full_and_what_is_lost_is_counted(disk_library, tmp_path):
    server, disk = start(disk_library, tmp_path)
    hall = Hall(server, clients.ivschat(server))
    with enter(server, hall.room) as socket:
        kept = [say(socket, "before")["Id"]]
        disk.fail(FULL)
        for number in range(20):
            assert say(socket, f"lost {number}")["Type"] == "MESSAGE"
        assert lost(server) == 60
        disk.fail()
        kept.append(say(socket, "after")["Id"])
    assert lost(server) == 60
    assert "records are lost in rooms with this logging configuration" in server.log_path.read_text()

    def only_what_is_not_lost():
        assert ids(Folders(server).stream("chat-logs", id_of(hall.room))) == kept

    settle(only_what_is_not_lost)
    server.stop()


def test_a_room_that_refuses_publishes_nothing_while_its_log_cannot_be_written(disk_library, tmp_path):
    server, disk = start(disk_library, tmp_path, GRANDSTAND_CHATLOG_ON_FAILURE="refuse")
    hall = Hall(server, clients.ivschat(server))
    unlogged = clients.ivschat(server).create_room()["arn"]
    line = Line(server)
    with enter(server, hall.room) as socket, enter(server, unlogged) as other:
        kept = [say(socket, "before")["Id"]]
        disk.fail(FULL)
        refused = say(socket, "refused")
        assert (refused["Type"], refused["ErrorCode"]) == ("ERROR", 500)
        answer = line.call("SendEvent", {"roomIdentifier": hall.room, "eventName": "refused"})
        assert answer.status == 503
        assert say(other, "a room without a log goes on")["Type"] == "MESSAGE"
        disk.fail()
        kept.append(say(socket, "after")["Id"])
    assert lost(server) == 0

    def only_what_was_not_refused():
        assert ids(Folders(server).stream("chat-logs", id_of(hall.room))) == kept

    settle(only_what_was_not_refused)
    server.stop()


def test_a_disk_that_syncs_slowly_or_not_at_all_holds_up_nobody(disk_library, tmp_path):
    server, disk = start(disk_library, tmp_path)
    hall = Hall(server, clients.ivschat(server), kinds=["firehose"])
    heard = []
    with enter(server, hall.room) as socket:
        disk.fail(SYNC_HELD)
        heard += [say(socket, str(number))["Id"] for number in range(3)]
        disk.wait_until_it_holds_a_sync()
        heard.append(say(socket, "while a sync is held")["Id"])
        disk.fail(SYNC_FAILS)
        heard.append(say(socket, "while syncs fail")["Id"])

        def a_failure():
            assert re.search(r"^grandstand_chatlog_sync_failures_total [1-9]", get(server.admin, "/metrics")[2], re.M)

        settle(a_failure)
        disk.fail()
        heard.append(say(socket, "after that")["Id"])
    assert lost(server) == 0
    settle(lambda: check_log(ids(Folders(server).firehose("chat-logs")), heard))
    server.stop()


def test_with_always_and_refuse_nothing_is_published_or_logged_while_syncs_fail(disk_library, tmp_path):
    server, disk = start(
        disk_library, tmp_path, GRANDSTAND_CHATLOG_FSYNC="always", GRANDSTAND_CHATLOG_ON_FAILURE="refuse"
    )
    hall = Hall(server, clients.ivschat(server))
    with enter(server, hall.room) as socket:
        kept = [say(socket, "before")["Id"]]
        disk.fail(SYNC_FAILS)
        for number in range(3):
            refused = say(socket, f"refused {number}" * 9)
            assert (refused["Type"], refused["ErrorCode"]) == ("ERROR", 500)
        disk.fail()
        kept.append(say(socket, "after")["Id"])

    def only_what_was_not_refused():
        assert ids(Folders(server).stream("chat-logs", id_of(hall.room))) == kept

    settle(only_what_was_not_refused)
    # Nor when another process reads what this one has left.
    server.kill9()
    server.restart()
    settle(only_what_was_not_refused)
    assert "grandstand_chatlog_damaged_bytes_total 0\n" in get(server.admin, "/metrics")[2]
    server.stop()


class Talk:
    """People who talk on a machine whose power is cut, and what must be in their logs by now."""

    def __init__(self, machine, chance):
        self.machine = machine
        self.chance = chance
        self.hall = Hall(machine.server, clients.ivschat(machine.server), rooms=ROOMS)
        self.speakers = [Speaker(room) for room in self.hall.rooms]
        for speaker in self.speakers:
            # What they heard and a power cut may have forgotten, by cut.
            speaker.doubtful = []

    def until_killed(self):
        """They talk until the server is killed: in a write or sync of a spool or of a destination, or anywhere."""
        server, disk, fuse = self.machine.server, self.machine.disk, Fuse(self.chance.randint(20, 100), lambda: None)
        if self.chance.random() < 0.3:
            fuse = Fuse(self.chance.randint(20, 100), server.process.kill)
        else:
            when = self.chance.choice([BEFORE_WRITE, BEFORE_SYNC, AFTER_SYNC])
            disk.kill(when, self.chance.randint(1, 20), ending=self.chance.choice([".records", ".records", "json.new", ".ndjson", ""]))
        talk_together(server, self.speakers, times=None, acknowledge=fuse.acknowledge)
        server.process.wait()
        disk.spare()

    def check(self):
        """All that they have heard is in all logs, in order."""
        settle(lambda: check_folders(Folders(self.machine.server), self.hall, self.speakers))


def cut_power(machine, chance, each_round):
    """Cuts the power, over and over; returns how many sectors each cut has taken."""
    machine.switch_on(SEED)
    machine.server.start()
    talk, taken = Talk(machine, chance), []
    for number in range(ROUNDS):
        each_round(talk)
        taken.append(machine.cut())
        machine.switch_on(f"{SEED}-{number}")
        machine.server.start()
    talk_together(machine.server, talk.speakers, times=10)
    return talk, taken


@pytest.mark.timeout(120 + 6 * ROUNDS)
def test_with_always_no_power_cut_loses_a_record_that_was_published(disk_library, tmp_path):
    machine = Machine(disk_library, tmp_path, **ENVIRONMENT, GRANDSTAND_CHATLOG_FSYNC="always")
    try:
        talk, taken = cut_power(machine, random.Random(SEED), Talk.until_killed)
        talk.check()
        print(f"{ROUNDS} power cuts, {sum(sectors > 0 for sectors in taken)} of which took something: {sum(taken)} sectors")
        assert any(taken), "a power cut is to take something"
    finally:
        machine.off()


@pytest.mark.timeout(120 + 6 * ROUNDS)
def test_a_power_cut_forgets_no_record_that_was_synced_and_changes_no_order(disk_library, tmp_path):
    machine = Machine(disk_library, tmp_path, **ENVIRONMENT)

    def one_round(talk):
        talk_together(machine.server, talk.speakers, times=10)

        def all_is_synced():
            assert is_synced(machine.journal, "chatlog/spool/")

        settle(all_is_synced)
        settled = [(list(speaker.published), list(speaker.acknowledged)) for speaker in talk.speakers]
        talk.until_killed()
        # Of what came since, a power cut may forget any.
        for speaker, (published, acknowledged) in zip(talk.speakers, settled):
            speaker.doubtful.append(speaker.published[len(published) :])
            speaker.published, speaker.acknowledged = published, acknowledged

    try:
        talk, taken = cut_power(machine, random.Random(SEED), one_round)
        talk.check()
        for speaker in talk.speakers:
            records = ids(Folders(machine.server).stream("chat-logs", id_of(speaker.room)))
            for doubtful in speaker.doubtful:
                check_log(records, [record for record in doubtful if record in set(records)])
        print(f"{ROUNDS} power cuts, {sum(sectors > 0 for sectors in taken)} of which took something: {sum(taken)} sectors")
    finally:
        machine.off()


def test_with_always_nothing_is_published_that_is_not_synced(disk_library, tmp_path):
    server, disk = start(disk_library, tmp_path, GRANDSTAND_CHATLOG_FSYNC="always")
    hall = Hall(server, clients.ivschat(server), kinds=["firehose"])
    heard = []
    with enter(server, hall.room) as socket:
        heard.append(say(socket, "before")["Id"])
        disk.fail(SYNC_HELD)
        socket.send_json({"Action": "SEND_MESSAGE", "RequestId": "r", "Content": "held"})
        disk.wait_until_it_holds_a_sync()
        reader = threading.Thread(target=lambda: heard.append(socket.receive_json()["Id"]))
        reader.start()
        reader.join(0.2)
        assert len(heard) == 1
        disk.fail()
        reader.join(30)
        assert len(heard) == 2
    server.stop()
