"""kill -9 says nothing about fsync, so the system calls are counted: each acknowledged write is covered by a sync
that came before its answer, and concurrent writes share one.
"""

import re
import shutil
import threading
from urllib.parse import quote

import pytest

from ledger import Line
from server import Server

WRITES = 20
WRITERS = 64
WRITES_OF_EACH = 8
SYNCED = re.compile(r"(fsync|fdatasync)(\(| resumed).*= 0( \(DELAYED\))?$")


class Traced:
    """A server under strace, which writes each sync to a file before the server goes on, and may make each last longer."""

    def __init__(self, folder, sync_delay_ms=0, **environment):
        assert shutil.which("strace"), "strace is needed"
        self.trace = folder / "trace"
        # -D keeps the server our own child, so that signals and exit codes are its own.
        wrapper = ["strace", "-D", "-f", "-qq", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-o", str(self.trace)]
        if sync_delay_ms:
            wrapper += ["-e", f"inject=fsync,fdatasync:delay_enter={sync_delay_ms * 1000}"]
        self.server = Server(folder / "data", wrapper=wrapper, environment=environment).start()

    def syncs(self):
        """How many syncs have succeeded so far."""
        return sum(bool(SYNCED.search(line)) for line in self.trace.read_text().splitlines())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.stop()


def uncovered_writes(traced):
    """How many of a series of writes, one after the other, were answered without a sync since the last."""
    line = Line(traced.server)
    room = line.call("CreateRoom", {}).json["arn"]
    tags = "/tags/" + quote(room, safe="")
    writes = [
        lambda number: line.call("CreateRoom", {"name": f"r{number}"}),
        lambda number: line.call("UpdateRoom", {"identifier": room, "name": f"r{number}"}),
        lambda number: line.send("POST", tags, {"tags": {"n": str(number)}}),
        lambda _: line.call("CreateLoggingConfiguration", {"destinationConfiguration": {"s3": {"bucketName": "logs"}}}),
    ]
    uncovered = 0
    for number in range(WRITES):
        before = traced.syncs()
        assert writes[number % len(writes)](number).status == 200
        uncovered += traced.syncs() == before
    line.close()
    return uncovered


@pytest.mark.covers("CreateRoom", "UpdateRoom", "TagResource", "CreateLoggingConfiguration")
def test_every_acknowledged_write_is_covered_by_a_sync(tmp_path):
    with Traced(tmp_path) as traced:
        assert uncovered_writes(traced) == 0


def test_a_server_that_skips_the_sync_is_caught(tmp_path):
    with Traced(tmp_path, GRANDSTAND_PLANT="skip-fsync") as traced:
        assert uncovered_writes(traced) > WRITES // 2


def test_reads_sync_nothing(tmp_path):
    with Traced(tmp_path) as traced:
        line = Line(traced.server)
        room = line.call("CreateRoom", {}).json["arn"]
        before = traced.syncs()
        for _ in range(10):
            assert line.call("GetRoom", {"identifier": room}).status == 200
            assert line.call("ListRooms", {}).status == 200
        assert traced.syncs() == before
        line.close()


@pytest.mark.covers("CreateRoom")
def test_concurrent_writes_share_a_sync(tmp_path):
    # A slow disk: on a fast one, a busy machine writes less than two rooms in the time of a sync.
    with Traced(tmp_path, sync_delay_ms=100) as traced:
        lines = [Line(traced.server) for _ in range(WRITERS)]
        for line in lines:
            assert line.call("ListRooms", {}).status == 200
        start = threading.Barrier(WRITERS)
        statuses = []

        def write(line):
            start.wait(30)
            for _ in range(WRITES_OF_EACH):
                statuses.append(line.call("CreateRoom", {}).status)

        before = traced.syncs()
        threads = [threading.Thread(target=write, args=(line,)) for line in lines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        syncs = traced.syncs() - before
        for line in lines:
            line.close()
    writes = WRITERS * WRITES_OF_EACH
    print(f"{writes} writes, {syncs} syncs")
    assert statuses == [200] * writes
    assert 0 < syncs < writes / 2, "writes that come together are to be committed together"
