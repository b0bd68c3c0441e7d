"""A receiver of OTLP over HTTP that reads with the official classes, and a collector of somebody else's in front of it."""

import gzip
import http.client
import os
import select
import signal
import ssl
import subprocess
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path

import rotel
from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest, ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

from emulator import free_port
from posts import Posts

ROTEL = Path(rotel.__file__).parent / "rotel-agent"
DEADLINE_SECONDS = 30

KINDS = {
    "/v1/traces": (ExportTraceServiceRequest, ExportTraceServiceResponse),
    "/v1/metrics": (ExportMetricsServiceRequest, ExportMetricsServiceResponse),
}


@dataclass
class Export:
    """A request as it came: `taken` is whether it was answered with 200."""

    path: str
    headers: dict
    raw: bytes
    message: object
    when: float
    taken: bool = False


@dataclass
class Receiver:
    """The receiver; use it as a context manager. What it answers is next in `answers`: a status, or a pair of it and headers
    (with a body as long as `content-length` says), or `STUCK` to say nothing, or a message; when there is none it takes
    everything. `moods` are answers for good, by path.
    """

    exports: list = field(default_factory=list)
    answers: deque = field(default_factory=deque)
    moods: dict = field(default_factory=dict)
    port: int = 0
    # TLS: the files of a certificate and its key.
    certificate: tuple = ()
    released: threading.Event = field(default_factory=threading.Event)
    heard: threading.Condition = field(default_factory=threading.Condition)

    STUCK = "stuck"

    def __enter__(self):
        receiver = self

        class Answerer(Posts):
            def do_POST(self):
                raw = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver._answer(self, headers, raw)

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Answerer, bind_and_activate=False)
        self.server.allow_reuse_address = True
        self.server.server_bind()
        self.server.server_activate()
        self.port = self.server.server_address[1]
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()

    def _answer(self, request, headers, raw):
        path = request.path
        kind, answer_kind = KINDS[path]
        plain = gzip.decompress(raw) if headers.get("content-encoding") == "gzip" else raw
        message = kind.FromString(plain)
        export = Export(path, headers, plain, message, time.monotonic())
        with self.heard:
            mood = self.answers.popleft() if self.answers else self.moods.get(path, 200)
            status, extra = mood if isinstance(mood, tuple) else (mood, {})
            body = answer_kind().SerializeToString()
            if hasattr(status, "SerializeToString"):
                status, body = 200, status.SerializeToString()
            body = body.ljust(int(extra.get("content-length", 0)), b" ")
            export.taken = status == 200
            self.exports.append(export)
            self.heard.notify_all()
        if status == self.STUCK:
            self.released.wait()
            request.close_connection = True
            return
        request.send_response(status)
        for name, value in ({"content-type": "application/x-protobuf", "content-length": str(len(body))} | extra).items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    def wait(self, what, look, seconds=DEADLINE_SECONDS):
        """Waits until `look` finds something."""
        deadline = time.monotonic() + seconds
        with self.heard:
            while not (found := look()):
                left = deadline - time.monotonic()
                assert left > 0, f"no {what} within {seconds} s; exports: {[(e.path, e.taken) for e in self.exports]}"
                self.heard.wait(left)
            return found

    def of(self, path, taken=True):
        """The exports of one kind, those that were taken or all."""
        return [export for export in self.exports if export.path == path and (export.taken or not taken)]

    def spans(self, name=None):
        """All spans that were taken, perhaps only those with a name."""
        found = []
        for export in self.of("/v1/traces"):
            for resource in export.message.resource_spans:
                for scope in resource.scope_spans:
                    found += [span for span in scope.spans if name in (None, span.name)]
        return found

    def wait_for_spans(self, name, count=1, seconds=DEADLINE_SECONDS):
        """Waits until so many spans of a name were taken."""
        return self.wait(f"{count} spans {name}", lambda: len(found := self.spans(name)) >= count and found, seconds)

    def wait_for_metrics(self, after=0, seconds=DEADLINE_SECONDS):
        """Waits for an export of metrics behind so many others: its metrics by name."""
        taken = self.wait("metrics", lambda: len(found := self.of("/v1/metrics")) > after and found, seconds)
        return metrics_of(taken[after])

    @property
    def url(self):
        """Where it listens."""
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}"


def metrics_of(export):
    """The metrics of an export by name."""
    [resource] = export.message.resource_metrics
    [scope] = resource.scope_metrics
    names = [metric.name for metric in scope.metrics]
    assert len(names) == len(set(names)), names
    return {metric.name: metric for metric in scope.metrics}


def unknown_fields(message):
    """How many fields of a message, and of those in it, its definition does not know."""
    count = len(UnknownFieldSet(message))
    for definition, value in message.ListFields():
        if definition.message_type:
            is_list = not hasattr(value, "ListFields")
            count += sum(unknown_fields(inner) for inner in (value if is_list else [value]))
    return count


def value_of(any_value):
    """What an AnyValue holds."""
    return getattr(any_value, any_value.WhichOneof("value"))


def attributes_of(thing):
    """The attributes of a span, a point or a resource."""
    pairs = [(pair.key, value_of(pair.value)) for pair in thing.attributes]
    assert len(pairs) == len(dict(pairs)), pairs
    return dict(pairs)


class Collector:
    """Rotel, a collector of OpenTelemetry in Rust, which takes OTLP over HTTP and hands it on to a receiver."""

    def __init__(self, folder, receiver):
        self.receiver, self.folder = receiver, folder
        self.port = free_port()
        self.process = None

    def start(self):
        """Starts it, and waits until it listens."""
        environment = {
            "PATH": os.environ["PATH"],
            "ROTEL_OTLP_HTTP_ENDPOINT": f"127.0.0.1:{self.port}",
            "ROTEL_OTLP_GRPC_ENDPOINT": f"127.0.0.1:{free_port()}",
            "ROTEL_EXPORTER": "otlp",
            "ROTEL_OTLP_EXPORTER_ENDPOINT": self.receiver.url,
            "ROTEL_OTLP_EXPORTER_PROTOCOL": "http",
            "ROTEL_OTLP_EXPORTER_RETRY_INITIAL_BACKOFF": "100ms",
            "ROTEL_PID_FILE": str(self.folder / "rotel.pid"),
            "ROTEL_LOG_FILE": str(self.folder / "rotel.log"),
        }
        with (self.folder / "collector.log").open("ab") as log:
            self.process = subprocess.Popen([str(ROTEL), "start"], env=environment, cwd=self.folder, stdout=log, stderr=log)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                connection.request("POST", "/v1/traces", b"", {"content-type": "application/x-protobuf"})
                connection.getresponse().read()
                return self
            except OSError:
                select.select([], [], [], 0.05)
        raise AssertionError((self.folder / "collector.log").read_text()[-2000:])

    def kill(self):
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def freeze(self):
        """It is there and does nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        """It goes on."""
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()

    @property
    def url(self):
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"
