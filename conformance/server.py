"""The real binary, started on free ports of the loopback interface.

Promises: `start` returns once the server has announced itself (the one line of JSON on stdout), `stop` asks politely
and insists on exit code 0 within ten seconds, `kill9` does not ask. Nothing here sleeps: every wait is for a line, an
exit or a deadline.
"""

import http.client
import json
import os
import queue
import re
import select
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from succession import Adopted, adopt_orphans, with_sockets

ROOT = Path(__file__).resolve().parent.parent
BINARY = Path(os.environ.get("GRANDSTAND_BIN", ROOT / "target" / "debug" / "grandstand"))

ACCOUNT = "123456789012"
REGION = "us-west-2"
ACCESS_KEY_ID = "AKIDCONFORMANCE00000"
SECRET_ACCESS_KEY = "conformance/secret+key0123456789abcdefgh"
ROOT_ENVIRONMENT = {
    "GRANDSTAND_ROOT_ACCESS_KEY_ID": ACCESS_KEY_ID,
    "GRANDSTAND_ROOT_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
}

READY_SECONDS_MAX = 20
STOP_SECONDS_MAX = 10


class Lines:
    """The lines of a process, read by a thread so that each can be waited for with a deadline. Everything is read to the
    end: a process that prints more than a test wants never blocks on a full pipe.
    """

    def __init__(self, stream):
        self.queue = queue.Queue()
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream):
        for line in stream:
            self.queue.put(line)
        self.queue.put(None)

    def next(self, seconds):
        """The next line, or `None` at the end; `queue.Empty` when the time is up."""
        return self.queue.get(timeout=max(0.0, seconds))


class Server:
    """One server process and its data folder; may be started again after it stopped or was killed."""

    def __init__(
        self, data_dir, *, environment=None, arguments=(), wrapper=(), with_root=True, binary=BINARY, sockets=None,
        passed=(),
    ):  # fmt: skip
        """`sockets` are listening sockets by name, which the server inherits as from systemd; `passed` are further
        descriptors that it inherits.
        """
        self.data_dir = Path(data_dir)
        self.binary = binary
        self.sockets = sockets or {}
        self.passed = passed
        self.environment = environment or {}
        if with_root:
            self.environment = ROOT_ENVIRONMENT | self.environment
        self.arguments = list(arguments)
        self.wrapper = list(wrapper)
        self.process = None
        self.lines = None
        self.ready = None
        self.first_line = None
        self.log_path = self.data_dir.parent / f"{self.data_dir.name}.log"

    def start(self):
        """Starts the binary and waits for the line that says where it listens."""
        self.launch()
        return self.wait_until_ready()

    def launch(self):
        """Starts the binary, and does not wait for it."""
        command = [
            *self.wrapper, str(self.binary), "serve",
            "--api-addr", "127.0.0.1:0", "--edge-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0",
            "--data-dir", str(self.data_dir), *self.arguments,
        ]  # fmt: skip
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("GRANDSTAND_", "AWS_", "OTEL_"))}
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                with_sockets(command, self.sockets), stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL,
                env=inherited | self.environment, pass_fds=[held.fileno() for held in self.sockets.values()] + list(self.passed),
            )  # fmt: skip
        self.lines = Lines(self.process.stdout)

    def wait_until_ready(self):
        """Waits for the line that says where the server listens."""
        try:
            self.first_line = self.lines.next(READY_SECONDS_MAX)
        except queue.Empty:
            self.kill9()
            raise AssertionError(f"not ready within {READY_SECONDS_MAX} s\n{self.log_tail()}") from None
        if self.first_line is None:
            raise AssertionError(f"exited with {self.process.wait()} before it was ready\n{self.log_tail()}")
        self.ready = json.loads(self.first_line)
        assert self.ready["event"] == "ready", self.ready
        return self

    def stop(self):
        """SIGTERM drains: exit code 0 within ten seconds."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.kill9()
            raise AssertionError(f"still running {STOP_SECONDS_MAX} s after SIGTERM\n{self.log_tail()}") from None
        assert code == 0, f"exit code {code} after SIGTERM\n{self.log_tail()}"

    def hand_over(self):
        """SIGUSR2: another process takes over. Returns when it is ready, and the one before has ended in order."""
        adopt_orphans()
        self.process.send_signal(signal.SIGUSR2)
        return self.wait_until_replaced()

    def wait_until_replaced(self):
        """Waits until another process has taken over, and the one before has ended in order."""
        before = self.process
        self.wait_until_ready()
        assert before.wait(STOP_SECONDS_MAX) == 0, self.log_tail()
        numbers = re.findall(r"another process has taken over process=(\d+)", self.log_path.read_text())
        self.process = Adopted(int(numbers[-1]))
        return self

    def wait_for_log(self, text, seconds=READY_SECONDS_MAX, times=1):
        """Waits until the server has logged something, so many times."""
        deadline = time.monotonic() + seconds
        while self.log_path.read_text(errors="replace").count(text) < times:
            assert time.monotonic() < deadline, f"not logged within {seconds} s: {text}\n{self.log_tail()}"
            select.select([], [], [], 0.01)

    def kill9(self):
        """SIGKILL, and waits until the process is gone."""
        self.process.kill()
        self.process.wait()

    def restart(self):
        """Starts again on the same data folder (on new ports)."""
        assert self.process.poll() is not None, "restart is for a server that is down"
        return self.start()

    def is_running(self):
        """Whether the process is alive."""
        return self.process is not None and self.process.poll() is None

    def command(self, *words, environment=None):
        """Runs another command of the binary on this server's data folder, to its end."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("GRANDSTAND_", "AWS_", "OTEL_"))}
        return subprocess.run(
            [str(BINARY), *words, "--data-dir", str(self.data_dir)],
            env=inherited | (environment or {}), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def log_tail(self, characters=4000):
        """The end of what the server wrote to stderr."""
        return self.log_path.read_text(errors="replace")[-characters:]

    @property
    def api(self):
        """URL of the control plane."""
        return self.ready["api"]

    @property
    def edge(self):
        """URL of the messaging edge (`ws://…`)."""
        return self.ready["edge"]

    @property
    def admin(self):
        """URL of the admin port."""
        return self.ready["admin"]


def address(url):
    """Host and port of a URL."""
    parts = urlsplit(url)
    return parts.hostname, parts.port


def narrow_connection(where):
    """A connection whose kernel takes little in advance, in either direction: who sends much waits until the server has
    read it, and hears of it when the server does not.
    """
    connection = socket.socket()
    for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        connection.setsockopt(socket.SOL_SOCKET, buffer, 16 * 1024)
    connection.settimeout(10)
    connection.connect(where)
    return connection


def get(url, path, timeout=10):
    """A plain unsigned GET: status, headers by lower-case name, text."""
    connection = http.client.HTTPConnection(*address(url), timeout=timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return response.status, headers, response.read().decode()
    finally:
        connection.close()


ID = re.compile(r"[a-zA-Z0-9]{12}\Z")
MILLIS_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
NANOS_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z\Z")


def room_arn(room_id, region=REGION, account=ACCOUNT):
    """The ARN of a room."""
    return f"arn:aws:ivschat:{region}:{account}:room/{room_id}"


def logging_configuration_arn(configuration_id, region=REGION, account=ACCOUNT):
    """The ARN of a logging configuration."""
    return f"arn:aws:ivschat:{region}:{account}:logging-configuration/{configuration_id}"
