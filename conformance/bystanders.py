"""Those who must not notice an attack: two users who chat in a room of their own, and a look at the server's figures."""

import re
import select
import time
from pathlib import Path

import clients
from edge import ChatSocket
from server import get

SECONDS_MAX = 60


class Bystanders:
    """Two users in a quiet room. Each talk is at once a sign that the server has served others since the one before."""

    def __init__(self, server):
        self.server = server
        self.chat = clients.ivschat(server)
        self.room = self.chat.create_room(maximumMessageRatePerSecond=100)["arn"]
        self.sockets = [ChatSocket(server.edge, self.token(user)) for user in ("ann", "bob")]

    def token(self, user, room=None):
        """A token of a user who may send."""
        room = room or self.room
        return self.chat.create_chat_token(roomIdentifier=room, userId=user, capabilities=["SEND_MESSAGE"])["token"]

    def talk(self, content="undisturbed"):
        """One says something, and both hear it."""
        ann, bob = self.sockets
        assert ann.act(Action="SEND_MESSAGE", Content=content)["Content"] == content
        assert bob.receive_json()["Content"] == content

    def close(self):
        """Hangs up."""
        for socket in self.sockets:
            socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def metric(server, *names):
    """A figure of `GET /metrics`, or several together; 0 when the server does not show it yet."""
    _, _, text = get(server.admin, "/metrics")
    found = (re.search(rf"^{re.escape(name)} (\d+)$", text, re.MULTILINE) for name in names)
    return sum(int(match[1]) for match in found if match)


def wait_for_metric(server, names, wanted):
    """Waits until a figure, or several together, is what it should become."""
    names = (names,) if isinstance(names, str) else names
    give_up_at = time.monotonic() + SECONDS_MAX
    while (value := metric(server, *names)) != wanted:
        assert time.monotonic() < give_up_at, f"{names} is {value}, not {wanted}"
        select.select([], [], [], 0.01)


def resident_bytes(server):
    """How much memory the server has."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)[1]) * 1024
