"""S3, CloudWatch Logs and Firehose, as strict as AWS says that they are where the emulators are not: limits of a call, order
of events, missing buckets, groups, streams; and faults as a test wants them. What a caller did wrong is kept in `offences`.
"""

import base64
import bisect
import contextlib
import gzip
import hashlib
import json
import socket
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Source: the API references of the three services.
LOG_EVENTS_MAX = 10_000
LOG_EVENTS_BYTES_MAX = 1_048_576
LOG_EVENT_OVERHEAD_BYTES = 26
FIREHOSE_RECORDS_MAX = 500
FIREHOSE_BYTES_MAX = 4 * 1024 * 1024
DAY_MS = 24 * 3600 * 1000
LOG_EVENT_AGE_MS_MAX = 14 * DAY_MS
LOG_EVENT_AHEAD_MS_MAX = 2 * 3600 * 1000
# What somebody in between says who takes no calls to AWS.
PORTAL = b"<html>Welcome to our network. Please log in.</html>"


class FakeAws:
    """The services, on one free port of the loopback interface."""

    def __init__(self):
        self.buckets = {"chat-logs": {}}
        self.groups = {"chat-logs": {}}
        self.streams = {"chat-logs": []}
        self.offences = []
        self.calls = defaultdict(int)
        # By operation: so many calls to come are answered with this (status, code).
        self.faults = defaultdict(list)
        # Every so many-th record of a batch is not taken; 0: all are.
        self.firehose_fails_every = 0
        # So many events to come are too old.
        self.too_old = 0
        # So many calls to come are answered by somebody else, with 200.
        self.strays = 0
        # Delivery streams that never answer, and how many calls wait for them; and streams that fail.
        self.holes = set()
        self.held = 0
        self.broken = set()
        # So many puts of objects to come are not answered, and those that have come so: they may be carried out much later.
        self.puts_to_delay = 0
        self.delayed = []
        self.changed = threading.Condition()
        handler = type("Handler", (Handler,), {"fake": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.address = self.server.server_address

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def hold(self, line):
        """A call is not answered; returns when its caller has given it up."""
        with self.changed:
            self.held += 1
            self.changed.notify_all()
        with contextlib.suppress(OSError):
            line.recv(1)
        with self.changed:
            self.held -= 1

    def carry_out_delayed(self):
        """What was not answered is carried out after all, behind what has come since."""
        with self.changed:
            for request in self.delayed:
                assert self.PutObject(request)[0] == 200
            self.delayed = []

    def wait_until(self, is_so, seconds=60):
        """Returns when it is so; it is looked at after each call."""
        with self.changed:
            assert self.changed.wait_for(is_so, seconds), (dict(self.calls), self.offences[:3])

    def fail(self, operation, times, status, code, message="as the test wants it"):
        """The next calls of an operation fail."""
        with self.changed:
            self.faults[operation] += [(status, code, message)] * times

    def events(self, room_id):
        """The lines of a room's log stream."""
        return self.groups["chat-logs"].get(f"aws/IVSChatLogs/1.0/room_{room_id}", [])

    def objects(self, room_id):
        """The lines of a room's objects, by key."""
        return {key: lines for key, lines in self.buckets["chat-logs"].items() if f"room_{room_id}" in key}

    def offend(self, what):
        """Notes what the caller did wrong, and answers that."""
        self.offences.append(what)
        return 400, {"__type": "InvalidParameterException", "message": what}

    def answer(self, operation, request):
        """Carries out a call; status and body."""
        with self.changed:
            self.calls[operation] += 1
            if self.strays:
                self.strays -= 1
                outcome = 200, None
            elif self.faults[operation]:
                status, code, message = self.faults[operation].pop(0)
                outcome = status, {"__type": code, "message": message}
            else:
                outcome = getattr(self, operation)(request)
            self.changed.notify_all()
            return outcome

    def PutObject(self, request):  # noqa: N802 (names are those of AWS)
        bucket, key, body, headers = request
        if bucket not in self.buckets:
            return 404, {"__type": "NoSuchBucket", "message": "The specified bucket does not exist"}
        if headers.get("x-amz-acl") != "bucket-owner-full-control":
            self.offend("the policy of a bucket for logs asks for x-amz-acl")
        self.buckets[bucket][key] = gzip.decompress(body).decode().splitlines()
        return 200, {}

    def CreateLogStream(self, request):  # noqa: N802
        group = self.groups.get(request["logGroupName"])
        if group is None:
            return 400, {"__type": "ResourceNotFoundException", "message": "The specified log group does not exist."}
        if request["logStreamName"] in group:
            return 400, {"__type": "ResourceAlreadyExistsException", "message": "it is there"}
        group[request["logStreamName"]] = []
        return 200, {}

    def PutLogEvents(self, request):  # noqa: N802
        stream = self.groups.get(request["logGroupName"], {}).get(request["logStreamName"])
        if stream is None:
            return 400, {"__type": "ResourceNotFoundException", "message": "The specified log stream does not exist."}
        events = request["logEvents"]
        times = [event["timestamp"] for event in events]
        size = sum(len(event["message"].encode()) + LOG_EVENT_OVERHEAD_BYTES for event in events)
        if not 1 <= len(events) <= LOG_EVENTS_MAX:
            return self.offend(f"{len(events)} events")
        if size > LOG_EVENTS_BYTES_MAX:
            return self.offend(f"{size} bytes of events")
        if times != sorted(times):
            return self.offend("events are not in chronological order")
        if times[-1] - times[0] > DAY_MS:
            return self.offend("events span more than a day")
        now_ms = int(time.time() * 1000)
        wanted = min(self.too_old, len(events))
        self.too_old -= wanted
        old = max(wanted, bisect.bisect_left(times, now_ms - LOG_EVENT_AGE_MS_MAX))
        new = max(old, bisect.bisect_right(times, now_ms + LOG_EVENT_AHEAD_MS_MAX))
        stream += [event["message"] for event in events[old:new]]
        info = {"tooOldLogEventEndIndex": old} if old else {}
        info |= {"tooNewLogEventStartIndex": new} if new < len(events) else {}
        return 200, {"rejectedLogEventsInfo": info} if info else {}

    def PutRecordBatch(self, request):  # noqa: N802
        if request["DeliveryStreamName"] in self.broken:
            return 500, {"__type": "InternalFailure", "message": "as the test wants it"}
        stream = self.streams.get(request["DeliveryStreamName"])
        if stream is None:
            return 400, {"__type": "ResourceNotFoundException", "message": "Firehose not found"}
        records = [base64.b64decode(record["Data"]).decode() for record in request["Records"]]
        if not 1 <= len(records) <= FIREHOSE_RECORDS_MAX:
            return self.offend(f"{len(records)} records")
        if sum(map(len, records)) > FIREHOSE_BYTES_MAX:
            return self.offend("more than 4 MiB")
        answers = []
        for number, record in enumerate(records, 1):
            if self.firehose_fails_every and number % self.firehose_fails_every == 0:
                answers.append({"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."})
            else:
                stream.append(record)
                answers.append({"RecordId": str(len(stream))})
        # The first try takes some, the next one more.
        failed = sum("ErrorCode" in answer for answer in answers)
        self.firehose_fails_every += 1 if failed else 0
        return 200, {"FailedPutCount": failed, "RequestResponses": answers}


class Handler(BaseHTTPRequestHandler):
    """HTTP around it."""

    protocol_version = "HTTP/1.1"

    def _body(self):
        return self.rfile.read(int(self.headers.get("content-length", "0")))

    def _send(self, status, members, headers=()):
        body = PORTAL if members is None else json.dumps(members).encode()
        self.send_response(status)
        for name, value in () if members is None else headers:
            self.send_header(name, value)
        self.send_header("content-type", "application/x-amz-json-1.1")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):  # noqa: N802
        """S3, addressed by path."""
        body = self._body()
        bucket, _, key = self.path.lstrip("/").partition("/")
        with self.fake.changed:
            is_delayed = self.fake.puts_to_delay > 0 and not self.fake.faults["PutObject"]
            if is_delayed:
                self.fake.puts_to_delay -= 1
                self.fake.delayed.append((bucket, key, body, self.headers))
        if is_delayed:
            self.close_connection = True
            self.fake.hold(self.connection)
            return
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        self._send(*self.fake.answer("PutObject", (bucket, key, body, self.headers)), [("etag", etag)])

    def do_POST(self):  # noqa: N802
        """The JSON services."""
        request = json.loads(self._body())
        if request.get("DeliveryStreamName") in self.fake.holes:
            self.close_connection = True
            self.fake.hold(self.connection)
            return
        assert "Authorization" in self.headers and "/aws4_request" in self.headers["Authorization"]
        self._send(*self.fake.answer(self.headers["x-amz-target"].rpartition(".")[2], request))

    def log_message(self, *_):
        """Nobody reads it."""


class Proxy:
    """A TCP line to an address. While it is down nothing gets through, and what was open is cut."""

    def __init__(self, target):
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.is_up = True
        self.lock = threading.Lock()
        self.open = set()
        self.cut_offs = 0

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.down()
        self.listener.close()

    def down(self):
        """Cuts everything, also in the middle of a call."""
        with self.lock:
            self.is_up = False
            for line in self.open:
                # Some have ended by themselves.
                with contextlib.suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)
            self.open.clear()

    def up(self):
        """From now on calls get through again."""
        with self.lock:
            self.is_up = True

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                if not self.is_up:
                    self.cut_offs += 1
                    near.close()
                    continue
                far = socket.create_connection(self.target)
                self.open |= {near, far}
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
