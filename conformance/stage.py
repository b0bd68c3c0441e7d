"""Fixtures that need nothing but a `server`.

A `conftest.py` that has a `server` imports them: in each they are fixtures of its own, which lead to that server.
"""

import pytest

import clients
from signing import Requester


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
    """A room of the test's own, with the highest rate so that the room's limit stays out of the way."""
    return chat.create_room(maximumMessageRatePerSecond=100)


@pytest.fixture
def logging_configuration(chat):
    """A logging configuration of the test's own."""
    return chat.create_logging_configuration(destinationConfiguration={"s3": {"bucketName": "chat-logs"}})
