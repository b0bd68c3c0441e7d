"""Servers whose store is in one PostgreSQL database. Here, the fixtures of the other suites lead to such a server.

They are written again, since pytest keeps a session's fixture once it is made, whatever `server` it was made for.
"""

import pytest

import clients
from database import Database
from server import Server
from signing import Requester

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


@pytest.fixture(scope="session")
def chat(server):
    """A boto3 client of the shared server."""
    return clients.ivschat(server)


@pytest.fixture(scope="session")
def http(server):
    """A hand-signing requester of the shared server."""
    return Requester(server)


@pytest.fixture
def room(chat):
    """A room of the test's own."""
    return chat.create_room(maximumMessageRatePerSecond=100)


@pytest.fixture
def logging_configuration(chat):
    """A logging configuration of the test's own."""
    return chat.create_logging_configuration(destinationConfiguration={"s3": {"bucketName": "chat-logs"}})


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
