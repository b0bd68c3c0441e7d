"""`grandstand migrate-store` that is killed, or whose disk takes no more: there is no new store, and it can be done again."""

import resource
import signal
import subprocess

import pytest

import clients
from disk import AFTER_SYNC, BEFORE_SYNC, BEFORE_WRITE, Disk
from ledger import Line
from server import BINARY, Server

ROOMS = 100


@pytest.fixture
def source(fresh_server):
    """A stopped server that has rooms."""
    line = Line(fresh_server)
    for number in range(ROOMS):
        assert line.call("CreateRoom", {"name": f"room-{number}", "tags": {"of": "x" * 200}}).status == 200
    line.close()
    fresh_server.stop()
    return fresh_server


def listed(server):
    """What ListRooms shows."""
    return clients.ivschat(server).list_rooms(maxResults=50)["rooms"]


def migrate(source, target, *, environment=None, before=None):
    """Runs the command to its end, however that comes."""
    command = [BINARY, "migrate-store", "--from", source.data_dir, "--to", target]
    return subprocess.run(
        command, env=environment, preexec_fn=before, capture_output=True, text=True, timeout=60, check=False
    )


def assert_none_there(target):
    """No store is there."""
    checked = Server(target).command("check")
    assert checked.returncode == 1 and "there is no store in" in checked.stderr, checked


def assert_moves(source, target):
    """A move that nothing prevents: the store is the same in both places."""
    moved = migrate(source, target)
    assert moved.returncode == 0 and moved.stdout.endswith(": all is well\n"), moved
    assert not (target / "grandstand.db.new").exists()
    servers = [source, Server(target)]
    rooms = [listed(server.start()) for server in servers]
    assert len(rooms[0]) == 50 and rooms[0] == rooms[1]
    for server in servers:
        server.stop()


def test_a_killed_move_leaves_no_store_and_is_done_again(source, disk_library, tmp_path):
    target = (tmp_path / "target").resolve()
    target.mkdir(mode=0o700)
    disk = Disk(disk_library, target)
    for when, count in ((BEFORE_WRITE, 1), (BEFORE_WRITE, 30), (BEFORE_SYNC, 1), (AFTER_SYNC, 1)):
        disk.kill(when, count, ending=".new")
        killed = migrate(source, target, environment=disk.environment)
        assert killed.returncode == -signal.SIGKILL and disk.has_struck(), killed
        assert_none_there(target)
    disk.spare()
    assert_moves(source, target)


def test_a_move_that_finds_no_room_says_so_and_leaves_no_store(source, tmp_path):
    target = tmp_path / "target"

    def take_no_large_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, 64 * 1024))

    refused = migrate(source, target, before=take_no_large_files)
    assert refused.returncode == 1 and refused.stdout == "", refused
    assert f"grandstand: cannot use {target}/grandstand.db: disk I/O error" in refused.stderr
    assert_none_there(target)
    assert not (target / "grandstand.db.new").exists(), "what was written of it does not take room either"
    assert_moves(source, target)
