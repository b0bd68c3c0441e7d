"""The test's end of `disk.c`: a disk under the server that fails, waits, kills and keeps a journal, as it is told."""

import mmap
import struct
import subprocess
import time
from pathlib import Path

from server import Server

SOURCE = Path(__file__).with_name("disk.c")
DEADLINE_SECONDS = 30

FULL, READ_ONLY, SYNC_FAILS, SYNC_HELD = 1, 2, 4, 8
BEFORE_WRITE, BEFORE_SYNC, AFTER_SYNC = (ord(letter) for letter in "wsS")

# `struct control`: what is said to the disk, and what it says.
FAULTS, KILL_WHEN, KILL_COUNTDOWN, KILL_DELAY_MS, KILL_ENDING = 0, 4, 8, 12, 16
STRUCK, REFUSED, HELD = 32, 36, 40
CONTROL_BYTES = 44


def build(folder):
    """Compiles the disk; the path of the library."""
    library = Path(folder) / "disk.so"
    warnings = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run(["cc", *warnings, "-O1", "-shared", "-fPIC", "-o", library, SOURCE, "-pthread"], check=True)
    return library


class Disk:
    """The disk below one folder. It is well until it is told otherwise."""

    def __init__(self, library, root, *, journal=None):
        control = Path(f"{root}.disk")
        control.write_bytes(bytes(CONTROL_BYTES))
        with control.open("r+b") as file:
            self.control = mmap.mmap(file.fileno(), CONTROL_BYTES)
        self.environment = {"LD_PRELOAD": str(library), "DISK_ROOT": str(root), "DISK_CONTROL": str(control)}
        if journal:
            self.environment["DISK_JOURNAL"] = str(journal)

    def _read(self, place):
        return struct.unpack_from("=I", self.control, place)[0]

    def _write(self, place, value):
        struct.pack_into("=I", self.control, place, value)

    def fail(self, *faults):
        """From now on; without any, the disk is well."""
        self._write(FAULTS, sum(faults))

    def kill(self, when, count, *, ending="-wal", delay_ms=0):
        """The server is killed at the `count`-th write or sync, from now on, of a file whose name ends so."""
        self._write(STRUCK, 0)
        self._write(KILL_WHEN, 0)
        self._write(KILL_COUNTDOWN, count)
        self._write(KILL_DELAY_MS, delay_ms)
        struct.pack_into("=16s", self.control, KILL_ENDING, ending.encode())
        self._write(KILL_WHEN, when)

    def spare(self):
        """Nobody is killed."""
        self._write(KILL_WHEN, 0)

    def has_struck(self):
        """Whether the disk has killed the server."""
        return self._read(STRUCK) != 0

    def refused(self):
        """How many operations have failed because they were to."""
        return self._read(REFUSED)

    def wait_until_it_holds_a_sync(self):
        """Returns when a sync waits to be let go."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not self._read(HELD):
            assert time.monotonic() < deadline, "nothing has been synced"
            # A mapping cannot be waited for.
            time.sleep(0.001)


def server_on_a_disk(library, folder, *, journal=None, **environment):
    """A server, not started, whose data folder exists and is on a disk; and that disk."""
    root = (Path(folder) / "data").resolve()
    root.mkdir(mode=0o700)
    disk = Disk(library, root, journal=journal)
    return Server(root, environment=disk.environment | environment), disk
