"""Clients at work in threads while something happens to their server; none of them tries anything twice."""

import itertools
import threading

from edge import ChatSocket
from signing import Requester

SECONDS_MAX = 60


class Work:
    """Tasks that are done over and over, each in a thread of its own, until the first one fails."""

    def __init__(self, *tasks):
        self.done = [0] * len(tasks)
        self.failures = []
        self._progress = threading.Condition()
        self._is_over = False
        self.threads = [threading.Thread(target=self._run, args=pair, daemon=True) for pair in enumerate(tasks)]

    def _run(self, index, task):
        for number in itertools.count():
            if self._is_over:
                return
            try:
                task(number)
            except Exception as error:  # noqa: BLE001 (whatever it is, it is what the test looks for)
                self.failures.append(f"{task.__name__} {number}: {error!r}")
                self._is_over = True
            with self._progress:
                self.done[index] += 1
                self._progress.notify_all()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def go_on(self, count=3):
        """Returns when each client has done its work so many times more."""
        goal = [done + count for done in self.done]
        with self._progress:
            arrived = self._progress.wait_for(
                lambda: self.failures or all(done >= wanted for done, wanted in zip(self.done, goal)), SECONDS_MAX
            )
        assert arrived and not self.failures, self.failures

    def __exit__(self, *_):
        self._is_over = True
        for thread in self.threads:
            thread.join(SECONDS_MAX)
        assert not self.failures, self.failures


def api_client(server, rooms):
    """Makes rooms, each with a connection of its own."""
    requester = Requester(server)

    def make_a_room(number):
        answer = requester.call("CreateRoom", {"name": f"room-{number}"})
        assert answer.status == 200, answer
        rooms.append(answer.json["arn"])

    return make_a_room


def chat_client(server, room):
    """Joins the room with a new token, and leaves it, over and over; it reads the answer to its handshake only."""
    requester = Requester(server)

    def join(number):
        answer = requester.call("CreateChatToken", {"roomIdentifier": room, "userId": f"user-{number}"})
        assert answer.status == 200, answer
        ChatSocket(server.edge, answer.json["token"]).close()

    return join
