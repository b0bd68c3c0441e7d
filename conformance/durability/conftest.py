"""The disk under the servers of these tests."""

import pytest

from disk import build, server_on_a_disk
from machine import Machine


@pytest.fixture(scope="session")
def disk_library(tmp_path_factory):
    """`disk.c`, compiled."""
    return build(tmp_path_factory.mktemp("disk"))


@pytest.fixture
def machine(disk_library, tmp_path):
    """A machine that has never run."""
    machine = Machine(disk_library, tmp_path)
    yield machine
    machine.off()


@pytest.fixture
def server_and_disk(disk_library, tmp_path):
    """A running server with an empty store, and the disk below it."""
    server, disk = server_on_a_disk(disk_library, tmp_path)
    server.start()
    yield server, disk
    disk.fail()
    disk.spare()
    if server.is_running():
        server.stop()
