"""Servers for the suites, and the record of what ran.

Each test's outcome goes to `.test-results/pytest.jsonl`; the matrix and the compatibility check read it there.
"""

import contextlib
import json
from pathlib import Path

import pytest
from websockets.sync.client import connect

import clients
from certificate import certify
from edge import ChatSocket, Dropped
from server import BINARY, ROOT, Server
from stage import chat, http, logging_configuration, room  # noqa: F401

RESULTS = ROOT / ".test-results" / "pytest.jsonl"
CLIENT_OF_FOLDER = {
    "boto3": "boto3",
    "cli": "AWS CLI",
    "model": "signed HTTP",
    "raw": "signed HTTP",
    "durability": "signed HTTP",
    "chatlog": "boto3",
    "postgres": "boto3",
    "scripts": "none",
}
CLIENT_OF_FILE = {
    "test_websocket": "raw WebSocket",
    "test_token_race": "raw WebSocket",
    "test_rfc6455": "raw WebSocket",
    "test_session_end": "raw WebSocket",
    "test_review": "raw WebSocket",
    "test_review_lambda": "raw WebSocket",
    "test_floods": "raw WebSocket",
    "test_hostile_handshakes": "raw WebSocket",
    "test_hostile_peers": "raw WebSocket",
    "test_account_quotas": "raw WebSocket",
    "test_audit": "boto3",
    "test_telemetry": "boto3",
    "test_autobahn": "kosoku",
    "test_tls": "Python websockets",
    "test_restart": "raw WebSocket",
    "test_proxies": "raw WebSocket",
    "test_python_websockets": "Python websockets",
}


def pytest_configure(config):
    if not config.option.collectonly and not BINARY.exists():
        raise pytest.UsageError(f"build the server first (cargo build), or set GRANDSTAND_BIN: no {BINARY}")


def pytest_collection_modifyitems(items):
    # What waits for the end of a session comes last: the minute passes while the other tests run.
    items.sort(key=lambda item: "minute_session" in item.fixturenames)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call" or report.outcome != "passed":
        _record(item, report)


def _record(item, report):
    path = Path(item.path)
    name = item.nodeid.split("/", 1)[-1] if item.nodeid.startswith("conformance/") else item.nodeid
    covers = [name for marker in item.iter_markers("covers") for name in marker.args]
    line = {
        "suite": "pytest",
        "test": name,
        "outcome": report.outcome,
        "client": CLIENT_OF_FILE.get(path.stem) or CLIENT_OF_FOLDER[path.parent.name],
        "covers": covers,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a") as file:
        file.write(json.dumps(line) + "\n")


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One server for all tests that only need rooms of their own."""
    server = Server(tmp_path_factory.mktemp("shared") / "data").start()
    yield server
    server.stop()


@pytest.fixture
def fresh_server(tmp_path):
    """A server with an empty store for one test, which may stop, kill and restart it."""
    server = Server(tmp_path / "data").start()
    yield server
    if server.is_running():
        server.stop()


@pytest.fixture(scope="module")
def strict_server(request, tmp_path_factory):
    """A server with AWS's quotas, but for those that the module sets in its `QUOTAS`."""
    environment = {"GRANDSTAND_LIMITS_PROFILE": "aws", **request.module.QUOTAS}
    server = Server(tmp_path_factory.mktemp("strict") / "data", environment=environment).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1: the paths of certificate and key."""
    return certify(tmp_path_factory.mktemp("tls"))


class MinuteSession:
    """A session of the shortest length, begun at the start of the run, and one that lasts."""

    def __init__(self, server):
        chat = clients.ivschat(server)
        self.room = chat.create_room()["arn"]

        def token(minutes):
            return chat.create_chat_token(roomIdentifier=self.room, userId="u", sessionDurationInMinutes=minutes)["token"]

        self.socket = ChatSocket(server.edge, token(1))
        self.watcher = ChatSocket(server.edge, token(1))
        # Answers pings by itself, as a client that lives; the silent one never says a word.
        self.open = contextlib.ExitStack()
        self.longer = self.open.enter_context(connect(server.edge, subprotocols=[token(10)], open_timeout=10))
        self.silent = ChatSocket(server.edge, token(10))
        self.unused_token = token(1)
        self.over = False

    def wait_for_the_end(self):
        """Returns when the server has ended the sessions of one minute."""
        if not self.over:
            self.watcher.socket.settimeout(80)
            try:
                self.watcher.receive_json()
            except Dropped:
                pass
            self.over = True

    def close(self):
        """Hangs up on all lines."""
        self.open.close()
        for socket in (self.socket, self.watcher, self.silent):
            socket.close()


@pytest.fixture(scope="session")
def minute_session(server):
    """See `MinuteSession`."""
    session = MinuteSession(server)
    yield session
    session.close()


@pytest.fixture(scope="session", autouse=True)
def start_minute_session(request):
    """Begins the minute with the run, when a test of this run is going to need it."""
    if any("minute_session" in item.fixturenames for item in request.session.items):
        request.getfixturevalue("minute_session")
