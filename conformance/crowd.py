"""People who talk in logged rooms, what each room has published as they saw it, and the check of its logs against that.

Promises: `check_log` fails when a record is missing, when what a room published first comes later, or when something was
logged that nobody published in that room. What comes twice is no failure: logs are at least once.
"""

import gzip
import json
import threading
import time
from pathlib import Path

from edge import ChatSocket, Dropped, Refused
from ledger import Gone, Line

CAPABILITIES = ["SEND_MESSAGE", "DELETE_MESSAGE", "DISCONNECT_USER"]
DESTINATIONS = {
    "s3": lambda name: {"s3": {"bucketName": name}},
    "cloudwatch-logs": lambda name: {"cloudWatchLogs": {"logGroupName": name}},
    "firehose": lambda name: {"firehose": {"deliveryStreamName": name}},
}


class LogBroken(AssertionError):
    """A log does not hold what its room published."""


def check_log(records, published):
    """Each of `published` (ids, in the room's order) is in `records` (ids, in the log's), none before its time."""
    order = {}
    for number, record in enumerate(records):
        order.setdefault(record, number)
    missing = [record for record in published if record not in order]
    if missing:
        raise LogBroken(f"{len(missing)} of {len(published)} records are missing, the first of them {missing[0]}")
    numbers = [order[record] for record in published]
    if numbers != sorted(numbers):
        raise LogBroken("records are out of order")


def ids(lines):
    """The ids of lines of a log, each of which is a record as the service has it."""
    found = []
    for line in lines:
        record = json.loads(line)
        assert list(record) == ["event_timestamp", "type", "payload", "version"] and record["version"] == "1.0", record
        assert record["type"] == record["payload"]["Type"], record
        found.append(record["payload"]["Id"])
    return found


class Folders:
    """The folders that stand for destinations."""

    def __init__(self, server):
        self.root = Path(server.data_dir) / "destinations"

    def objects(self, bucket, room_id):
        """The lines of each object of a room, by key in order."""
        folder = self.root / "s3" / bucket
        paths = sorted(path for path in folder.rglob(f"*room_{room_id}*.log.gz") if not path.name.startswith("."))
        return {str(path.relative_to(folder)): gzip.decompress(path.read_bytes()).decode().splitlines() for path in paths}

    def stream(self, group, room_id):
        """The lines of a room's log stream."""
        path = self.root / "cloudwatch-logs" / group.strip("/") / f"aws/IVSChatLogs/1.0/room_{room_id}.ndjson"
        return path.read_text().splitlines() if path.exists() else []

    def firehose(self, stream, room_ids=None):
        """The lines of a delivery stream."""
        path = self.root / "firehose" / f"{stream}.ndjson"
        return path.read_text().splitlines() if path.exists() else []


class Hall:
    """A server whose rooms are logged to one destination of each kind."""

    def __init__(self, server, chat, *, rooms=1, kinds=tuple(DESTINATIONS)):
        self.server = server
        self.configurations = {
            kind: chat.create_logging_configuration(destinationConfiguration=DESTINATIONS[kind]("chat-logs"))["arn"]
            for kind in kinds
        }
        self.rooms = [self.make_room(chat) for _ in range(rooms)]

    def make_room(self, chat):
        """One more room."""
        return chat.create_room(loggingConfigurationIdentifiers=list(self.configurations.values()))["arn"]

    @property
    def room(self):
        """The first room."""
        return self.rooms[0]


def id_of(arn):
    """The id in an ARN."""
    return arn.rsplit("/", 1)[1]


def enter(server, room, user="ann"):
    """A connection to a room."""
    line = Line(server)
    answer = line.call("CreateChatToken", {"roomIdentifier": room, "userId": user, "capabilities": CAPABILITIES})
    line.close()
    assert answer.status == 200, answer
    return ChatSocket(server.edge, answer.json["token"])


class Speaker:
    """Talks in a room until the server goes away, or so many times: messages, and now and then an event by the API. It
    notes what the room has published as it hears it, and what the API has acknowledged.
    """

    def __init__(self, room):
        self.room = room
        self.published = []
        self.acknowledged = []
        self.failure = None

    def talk(self, server, times=None, acknowledge=lambda: None):
        """Returns when it is over."""
        try:
            self._talk(server, times, acknowledge)
        except (Dropped, Gone, Refused, OSError):
            pass
        except Exception as failure:  # noqa: BLE001 (whatever it is, it is what the test looks for)
            self.failure = failure

    def _talk(self, server, times, acknowledge):
        line = Line(server)
        with enter(server, self.room) as socket:
            number = 0
            while times is None or number < times:
                number += 1
                if number % 5 == 0:
                    members = {"roomIdentifier": self.room, "eventName": f"app:{number}"}
                    answer = line.call("SendEvent", members)
                    assert answer.status in (200, 503), answer
                    if answer.status == 503:
                        return
                    self.acknowledged.append(answer.json["id"])
                else:
                    socket.send_json({"Action": "SEND_MESSAGE", "RequestId": str(number), "Content": f"{number} \u2603 \"\\"})
                frame = socket.receive_json()
                assert frame["Type"] in ("MESSAGE", "EVENT"), frame
                self.published.append(frame["Id"])
                acknowledge()

    def check(self, records):
        """What it heard is in the log, in order, and so is what was acknowledged and not heard any more."""
        check_log(records, self.published)
        missing = set(self.acknowledged) - set(records)
        if missing:
            raise LogBroken(f"{len(missing)} acknowledged events are missing")


def talk_together(server, speakers, times=None, acknowledge=lambda: None):
    """All talk at once."""
    threads = [threading.Thread(target=speaker.talk, args=(server, times, acknowledge), daemon=True) for speaker in speakers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert all(speaker.failure is None for speaker in speakers), [speaker.failure for speaker in speakers]


def until(what, look, seconds=60):
    """What `look` finds, once it is something."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not in time: {what}"
        # Neither folders nor emulators tell anybody of what they get.
        time.sleep(0.02)
    return found


def settle(check, seconds=60):
    """Returns once a check of what has arrived passes; what is on its way may take its time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return check()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        # Destinations tell nobody of what they get.
        time.sleep(0.05)


def check_folders(folders, hall, speakers):
    """All three destinations hold what was published."""
    by_room = {id_of(speaker.room): speaker for speaker in speakers}
    for room_id, speaker in by_room.items():
        speaker.check(ids(folders.stream("chat-logs", room_id)))
        in_objects = [ids(lines) for lines in folders.objects("chat-logs", room_id).values()]
        together = {record for records in in_objects for record in records}
        missing = (set(speaker.published) | set(speaker.acknowledged)) - together
        assert not missing, f"{len(missing)} records are in no object"
        for records in in_objects:
            check_log(records, [record for record in speaker.published if record in set(records)])
    in_firehose = ids(folders.firehose("chat-logs"))
    for speaker in speakers:
        speaker.check(in_firehose)
