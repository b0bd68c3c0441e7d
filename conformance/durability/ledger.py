"""Writers that keep a ledger of what the server acknowledged, and the check of the server against it.

Each writer owns its rooms and has at most one request under way, so after a crash a room is either as it was last
acknowledged or, if a request was under way, as that request would have left it. Anything else was lost or invented.
"""

import http.client
import json
import os
import random
import shutil
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from server import Server, address
from signing import Answer, sign


ROOMS_OF_A_WRITER_MAX = 12
WRITING_SECONDS_MAX = 60


def rounds(usual):
    """How often a test is to do what it does: GRANDSTAND_ROUNDS, for a long run."""
    return int(os.environ.get("GRANDSTAND_ROUNDS", usual))


class LedgerBroken(AssertionError):
    """The server does not hold what it acknowledged."""


class Gone(Exception):
    """The server went away before it answered, or said that it is about to."""


class Line:
    """A kept-alive connection to the control plane."""

    def __init__(self, server):
        self.host = urlsplit(server.api).netloc
        self.connection = http.client.HTTPConnection(*address(server.api), timeout=20)

    def send(self, method, target, members=None):
        """One signed request; raises `Gone` when there is no whole answer."""
        body = b"" if members is None else json.dumps(members).encode()
        headers = sign(method, target, self.host, body)
        try:
            self.connection.request(method, target, body, headers)
            response = self.connection.getresponse()
            return Answer(response.status, response.msg, response.read())
        except (OSError, http.client.HTTPException) as error:
            raise Gone from error

    def call(self, operation, members):
        """One operation of the POST kind."""
        return self.send("POST", f"/{operation}", members)

    def close(self):
        """Hangs up."""
        self.connection.close()


@dataclass
class Pending:
    """A request whose answer has not come: what it would do to a room."""

    kind: str
    arn: str | None = None
    change: dict = field(default_factory=dict)


class Fuse:
    """Calls `then` in the very thread that brings home the last of so many acknowledgements: what a server has
    acknowledged and not yet written is lost only to who strikes at once.
    """

    def __init__(self, acknowledgements, then):
        self.lock = threading.Lock()
        self.left = acknowledgements
        self.then = then

    def acknowledge(self):
        """One more."""
        with self.lock:
            self.left -= 1
            if self.left != 0:
                return
        self.then()


def repeat_until_gone(server, step):
    """Does something on a line of its own, again and again until the server goes away; what went wrong otherwise."""
    line = Line(server)
    try:
        while True:
            step(line)
    except Gone:
        return None
    except Exception as failure:
        return failure
    finally:
        line.close()


class Writer:
    """Creates, changes, tags and deletes rooms of its own for as long as the server is there."""

    def __init__(self, number, seed):
        self.number = number
        self.random = random.Random(seed)
        self.rooms = {}
        self.deleted = set()
        self.pending = None
        self.made = 0
        self.may_be_refused = False
        self.refusal = None
        self.failure = None

    def run(self, server, fuse=None):
        """Writes until the server goes away; keeps what went wrong otherwise."""

        def write_once(line):
            self._write(line)
            if fuse:
                fuse.acknowledge()

        self.failure = repeat_until_gone(server, write_once)

    def _write(self, line):
        chance = self.random.random()
        if len(self.rooms) < 3 or chance < 0.25 and len(self.rooms) < ROOMS_OF_A_WRITER_MAX:
            self._create(line)
        elif chance < 0.65:
            self._update(line)
        elif chance < 0.85 or len(self.rooms) < 6:
            self._tag(line)
        else:
            self._delete(line)

    def _accepted(self, answer, status=200):
        if answer.status == 503 and (self.may_be_refused or b"is stopping" in answer.body):
            self.refusal = answer
            raise Gone
        if answer.status != status:
            raise AssertionError(f"writer {self.number}: {answer.status} {answer.body!r} for {self.pending}")
        self.pending = None
        return answer.json

    def _create(self, line):
        self.made += 1
        change = {
            "name": f"w{self.number}-{self.made}",
            "maximumMessageLength": self.random.randint(1, 500),
            "maximumMessageRatePerSecond": self.random.randint(1, 100),
            "tags": {"writer": str(self.number)},
        }
        self.pending = Pending("create", None, change)
        room = self._accepted(line.call("CreateRoom", change))
        self.rooms[room["arn"]] = room

    def _update(self, line):
        arn = self.random.choice(list(self.rooms))
        change = {"maximumMessageLength": self.random.randint(1, 500)}
        if self.random.random() < 0.3:
            self.made += 1
            change["name"] = f"w{self.number}-{self.made}"
        self.pending = Pending("update", arn, change)
        self.rooms[arn] = self._accepted(line.call("UpdateRoom", {"identifier": arn, **change}))

    def _tag(self, line):
        arn = self.random.choice(list(self.rooms))
        tags = {f"k{self.random.randint(0, 9)}": str(self.random.random())}
        self.pending = Pending("tag", arn, tags)
        self._accepted(line.send("POST", "/tags/" + quote(arn, safe=""), {"tags": tags}))
        self.rooms[arn]["tags"] |= tags

    def _delete(self, line):
        arn = self.random.choice(list(self.rooms))
        self.pending = Pending("delete", arn)
        self._accepted(line.call("DeleteRoom", {"identifier": arn}), 204)
        del self.rooms[arn]
        self.deleted.add(arn)

    # --- after a restart ---

    def check(self, line):
        """Compares the server with the ledger, field by field, and settles what was under way."""
        pending, self.pending = self.pending, None
        if pending and pending.kind == "create":
            self._settle_creation(line, pending)
        for arn in list(self.rooms):
            answer = line.call("GetRoom", {"identifier": arn})
            if pending and pending.arn == arn:
                self._settle(arn, answer, pending)
            elif answer.status != 200 or answer.json != self.rooms[arn]:
                raise LedgerBroken(f"acknowledged {self.rooms[arn]}, found {answer.status} {answer.body!r}")
        for arn in self.deleted:
            if line.call("GetRoom", {"identifier": arn}).status != 404:
                raise LedgerBroken(f"the deletion of {arn} was acknowledged, and it is back")
        self.deleted.clear()

    def _settle_creation(self, line, pending):
        name = pending.change["name"]
        known = {room["arn"] for room in self.rooms.values()}
        found = [room for room in line.call("ListRooms", {"name": name}).json["rooms"] if room["arn"] not in known]
        if len(found) > 1:
            raise LedgerBroken(f"one CreateRoom of {name} made {found}")
        for summary in found:
            room = line.call("GetRoom", {"identifier": summary["arn"]}).json
            if any(room[name] != value for name, value in pending.change.items()):
                raise LedgerBroken(f"half a room: asked for {pending.change}, found {room}")
            self.rooms[room["arn"]] = room

    def _settle(self, arn, answer, pending):
        before = self.rooms[arn]
        if pending.kind == "delete":
            if answer.status == 404:
                del self.rooms[arn]
            elif answer.status != 200 or answer.json != before:
                raise LedgerBroken(f"a deletion was under way: was {before}, found {answer.status} {answer.body!r}")
            return
        if answer.status != 200:
            raise LedgerBroken(f"acknowledged {before}, found {answer.status} {answer.body!r}")
        room = answer.json
        change = {"tags": before["tags"] | pending.change} if pending.kind == "tag" else pending.change
        moved = {"updateTime": room["updateTime"]} if pending.kind == "update" else {}
        if room != before and room != before | change | moved:
            raise LedgerBroken(f"was {before}, {change} was under way, found {room}")
        self.rooms[arn] = room


def write(server, writers, *, fuse=None, may_be_refused=False):
    """Lets the writers write until the server goes away, or refuses each of them if it may."""
    for writer in writers:
        writer.may_be_refused, writer.refusal = may_be_refused, None
    threads = [threading.Thread(target=writer.run, args=(server, fuse)) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WRITING_SECONDS_MAX)
        assert not thread.is_alive(), "the server neither went away nor answers"
    for writer in writers:
        if writer.failure:
            raise writer.failure


def wait_until_it_writes(server):
    """Asks until a write is acknowledged; returns the refusals. The write is none that the ledger knows of."""
    deadline, line, refusals = time.monotonic() + WRITING_SECONDS_MAX, Line(server), []
    while True:
        answer = line.call("CreateLoggingConfiguration", {"destinationConfiguration": {"s3": {"bucketName": "logs"}}})
        if answer.status == 200:
            line.close()
            return refusals
        assert answer.status == 503 and time.monotonic() < deadline, answer
        refusals.append(answer)


def check(server, writers):
    """The whole ledger against the server."""
    line = Line(server)
    try:
        for writer in writers:
            writer.check(line)
        check_list(line, writers)
    finally:
        line.close()


def check_store(server):
    """What a server that is down has left agrees with itself, as `grandstand check` sees it: in a copy, since the check
    recovers the store, which is to be left to the server's own start.
    """
    copy = Server(server.data_dir.with_name("copy"))
    shutil.copytree(server.data_dir, copy.data_dir)
    checked = copy.command("check")
    shutil.rmtree(copy.data_dir)
    if checked.returncode != 0 or not checked.stdout.endswith(": all is well\n"):
        raise LedgerBroken(f"the store does not agree with itself: {checked}")


def check_list(line, writers):
    """ListRooms holds every acknowledged room exactly once, as acknowledged, newest first."""
    listed, token = [], None
    while True:
        page = line.call("ListRooms", {"nextToken": token} if token else {}).json
        listed += page["rooms"]
        token = page.get("nextToken")
        if not token:
            break
    times = [room["updateTime"] for room in listed]
    if times != sorted(times, reverse=True):
        raise LedgerBroken("ListRooms is out of order")
    hidden = ("maximumMessageLength", "maximumMessageRatePerSecond")
    expected = {
        arn: {name: value for name, value in room.items() if name not in hidden}
        for writer in writers
        for arn, room in writer.rooms.items()
    }
    if len(listed) != len(expected) or {room["arn"]: room for room in listed} != expected:
        raise LedgerBroken(f"ListRooms shows {len(listed)} rooms, {len(expected)} were acknowledged, or they differ")
