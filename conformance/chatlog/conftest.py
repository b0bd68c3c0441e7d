"""Rooms that are logged, and what takes their logs."""

import pytest

import clients
from crowd import Hall
from fake import FakeAws, Proxy
from server import Server

# Rates are for other tests; windows are short, so that objects come while one waits.
ENVIRONMENT = {"GRANDSTAND_LIMITS_PROFILE": "unlimited", "GRANDSTAND_CHATLOG_S3_INTERVAL_S": "1"}


@pytest.fixture
def start(tmp_path):
    """Starts servers with an environment; all are stopped in the end."""
    servers = []

    def start(**environment):
        server = Server(tmp_path / f"data{len(servers)}", environment=ENVIRONMENT | environment).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        if server.is_running():
            server.stop()


@pytest.fixture
def hall(start):
    """Logged rooms on a server whose destinations are folders."""
    server = start()
    return Hall(server, clients.ivschat(server))


@pytest.fixture
def fake():
    """S3, CloudWatch Logs and Firehose as strict as AWS says that they are, and in as bad a mood as a test wants."""
    with FakeAws() as fake:
        yield fake


@pytest.fixture
def proxy(fake):
    """The line to the fake, which a test may cut."""
    with Proxy(fake.address) as proxy:
        yield proxy
