"""A disk that is full, read-only, or cannot sync: what cannot be kept is refused and not acknowledged, the rest goes
on, the log says what is wrong, and the server recovers by itself when the cause goes.
"""

import subprocess
import threading
import time

import pytest

from disk import DEADLINE_SECONDS, FULL, READ_ONLY, SYNC_FAILS, SYNC_HELD, server_on_a_disk
from edge import ChatSocket, Refused
from ledger import Fuse, LedgerBroken, Line, Writer, check, check_store, wait_until_it_writes, write
from server import BINARY, get

WRITERS = 4
# Longer than a handshake is held: only a broken server takes as long.
HELD_SECONDS_MAX = 90

faulty = pytest.mark.parametrize(
    "fault, cause",
    [
        pytest.param(FULL, "database or disk is full; make room on its disk", id="full"),
        pytest.param(READ_ONLY, "disk I/O error; look into the system's log", id="read-only"),
        pytest.param(SYNC_FAILS, "disk I/O error; look into the system's log", id="failing sync"),
    ],
)


def wait_for_log(server, text):
    """Returns once the server has said so."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while text not in server.log_path.read_text():
        assert time.monotonic() < deadline, f"the log does not say {text!r}\n{server.log_tail()}"
        # A file cannot be waited for.
        time.sleep(0.005)


def make_room(server):
    """The ARN of a new room."""
    line = Line(server)
    arn = line.call("CreateRoom", {"name": "chat"}).json["arn"]
    line.close()
    return arn


def make_token(server, room):
    """A chat token that may send messages."""
    line = Line(server)
    answer = line.call("CreateChatToken", {"roomIdentifier": room, "userId": "jo", "capabilities": ["SEND_MESSAGE"]})
    line.close()
    assert answer.status == 200, answer
    return answer.json["token"]


def refused(server, token):
    """With which status a used token is refused."""
    with pytest.raises(Refused) as refusal:
        ChatSocket(server.edge, token)
    return refusal.value.status


def write_until_refused(server, disk, writers, fault):
    """The disk fails under the writers; each of them is refused, in the model's terms."""
    write(server, writers, fuse=Fuse(40, lambda: disk.fail(fault)), may_be_refused=True)
    for writer in writers:
        assert (writer.refusal.status, writer.refusal.error_type) == (503, "ServiceUnavailable")
        assert writer.refusal.json == {"message": "The server cannot process requests at the moment"}


def reads_go_on(server, writers):
    """What was acknowledged is there; a write that was refused may have a room look as it was, or as it would be."""
    line = Line(server)
    for writer in writers:
        under_way = writer.pending.arn
        for arn, room in writer.rooms.items():
            answer = line.call("GetRoom", {"identifier": arn})
            assert arn == under_way or (answer.status, answer.json) == (200, room)
    assert line.call("ListRooms", {"maxResults": 5}).status == 200
    assert get(server.api, "/health/ready")[0] == 200
    line.close()


@faulty
@pytest.mark.covers("CreateRoom", "UpdateRoom", "DeleteRoom", "TagResource", "GetRoom", "ListRooms")
def test_nothing_is_acknowledged_that_is_not_kept_and_all_recovers(server_and_disk, fault, cause):
    server, disk = server_and_disk
    writers = [Writer(number, number) for number in range(WRITERS)]
    write_until_refused(server, disk, writers, fault)
    assert disk.refused() > 0
    reads_go_on(server, writers)
    said = [line for line in server.log_path.read_text().splitlines() if "the store cannot write" in line]
    # More than once on a full disk: what fits into the log that is there goes in between.
    assert said and all(cause in line and "grandstand.db" in line for line in said), said

    disk.fail()
    wait_until_it_writes(server)
    wait_for_log(server, "the store can write again")
    check(server, writers)

    write_until_refused(server, disk, writers, fault)
    server.kill9()
    disk.fail()
    check_store(server)
    server.start()
    check(server, writers)


def test_a_server_that_acknowledges_before_its_commit_is_caught_by_a_read_only_disk(disk_library, tmp_path):
    server, disk = server_on_a_disk(disk_library, tmp_path, GRANDSTAND_PLANT="acknowledge-before-commit")
    server.start()
    writers = [Writer(number, number) for number in range(WRITERS)]
    write_until_refused(server, disk, writers, READ_ONLY)
    disk.fail()
    wait_until_it_writes(server)
    with pytest.raises(LedgerBroken):
        check(server, writers)
    server.kill9()


@pytest.mark.parametrize("fault", [FULL, READ_ONLY], ids=["full", "read-only"])
@pytest.mark.covers("CreateChatToken", "SEND_MESSAGE")
def test_a_join_that_cannot_be_noted_is_held_until_it_can(server_and_disk, fault):
    server, disk = server_and_disk
    room = make_room(server)
    member = ChatSocket(server.edge, make_token(server, room))
    disk.fail(fault)
    token = make_token(server, room)
    joined = []
    guest = threading.Thread(target=lambda: joined.append(ChatSocket(server.edge, token, timeout=HELD_SECONDS_MAX)))
    guest.start()
    wait_for_log(server, "cannot write which chat tokens were used")
    # Who is there chats on, and nobody joins whose token could be used again.
    assert member.act(Action="SEND_MESSAGE", Content="is anybody there?")["Type"] == "MESSAGE"
    assert guest.is_alive() and not joined

    disk.fail()
    guest.join(HELD_SECONDS_MAX)
    assert joined[0].act(Action="SEND_MESSAGE", Content="I am")["Type"] == "MESSAGE"
    for socket in (member, *joined):
        socket.close()
    assert refused(server, token) == 403
    server.kill9()
    server.start()
    assert refused(server, token) == 403


@pytest.mark.covers("CreateChatToken")
def test_a_sync_that_fails_holds_up_nobody_who_joins(server_and_disk):
    server, disk = server_and_disk
    room = make_room(server)
    disk.fail(SYNC_FAILS)
    token = make_token(server, room)
    ChatSocket(server.edge, token).close()
    wait_for_log(server, "cannot sync used chat tokens: a power cut may forget some")
    server.kill9()
    disk.fail()
    server.start()
    assert refused(server, token) == 403


@pytest.mark.covers("CreateChatToken", "CreateRoom", "GetRoom", "ListRooms")
def test_only_writes_wait_for_a_slow_disk(server_and_disk):
    server, disk = server_and_disk
    room = make_room(server)
    disk.fail(SYNC_HELD)
    written = []
    writer = threading.Thread(target=lambda: written.append(make_room(server)))
    writer.start()
    disk.wait_until_it_holds_a_sync()
    line = Line(server)
    assert line.call("GetRoom", {"identifier": room}).status == 200
    listed = line.call("ListRooms", {}).json["rooms"]
    assert [room["arn"] for room in listed] == [room], "a write shows once it is on the disk"
    line.close()
    ChatSocket(server.edge, make_token(server, room)).close()
    assert writer.is_alive() and not written
    disk.fail()
    writer.join(DEADLINE_SECONDS)
    assert len(written) == 1


@faulty
def test_a_server_on_such_a_disk_stops_in_order_and_does_not_start(server_and_disk, fault, cause):
    server, disk = server_and_disk
    writers = [Writer(number, number) for number in range(WRITERS)]
    write_until_refused(server, disk, writers, fault)
    server.stop()
    with pytest.raises(AssertionError, match="exited with 1 before it was ready"):
        server.start()
    assert str(server.data_dir) in server.log_path.read_text().splitlines()[-1]
    disk.fail()
    server.start()
    check(server, writers)


def test_a_second_server_on_the_same_data_folder_is_refused(fresh_server):
    room = make_room(fresh_server)
    command = [BINARY, "serve", "--data-dir", fresh_server.data_dir]
    ports = ["--api-addr", "127.0.0.1:0", "--edge-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"]
    second = subprocess.run([*command, *ports], capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False)
    assert second.returncode == 1 and second.stdout == ""
    said = f"another server (process {fresh_server.process.pid}) uses the data folder {fresh_server.data_dir}"
    assert said in second.stderr
    line = Line(fresh_server)
    assert line.call("GetRoom", {"identifier": room}).status == 200
    line.close()
