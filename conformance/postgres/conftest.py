"""Servers whose store is in one PostgreSQL database. Here, the fixtures of the other suites lead to such a server."""

import pytest

from database import Database
from server import Server
from stage import chat, http, logging_configuration, room  # noqa: F401

NODES = 3


@pytest.fixture(scope="session")
def database():
    """One database server for all tests that leave it running."""
    database = Database()
    yield database
    database.end()


@pytest.fixture
def own_database():
    """A database server that the test may stop and kill."""
    database = Database()
    yield database
    database.end()


@pytest.fixture(scope="session")
def server(database, tmp_path_factory):
    """One server for all tests that only need rooms of their own."""
    server = Server(tmp_path_factory.mktemp("postgres") / "data", environment=database.new_store()).start()
    yield server
    server.stop()


def run_nodes(database, folder):
    """Several servers on one empty store."""
    environment = database.new_store()
    nodes = [Server(folder / f"node-{number}", environment=dict(environment)).start() for number in range(NODES)]
    yield nodes
    for node in nodes:
        if node.is_running():
            node.stop()


@pytest.fixture
def nodes(database, tmp_path):
    """Several servers on one empty store of the test's own."""
    yield from run_nodes(database, tmp_path)


@pytest.fixture
def own_nodes(own_database, tmp_path):
    """The same on a database server that the test may stop and kill."""
    yield from run_nodes(own_database, tmp_path)
