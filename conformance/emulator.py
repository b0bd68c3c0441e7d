"""An emulator of AWS that really runs Lambda functions (`ministack`), on the loopback interface.

It is installed apart from the other tools, since its dependencies are pinned to other versions.
"""

import http.client
import io
import os
import select
import socket
import subprocess
import time
import zipfile

import boto3

from server import REGION, ROOT

PYTHON = ROOT / ".test-env" / "emulators" / "bin" / "python"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}
READY_SECONDS_MAX = 60


class Emulator:
    """A running emulator; `stop` ends it."""

    def __init__(self, folder):
        self.log = (folder / "emulator.log").open("wb")
        # It takes no free port by itself; should somebody else get this one meanwhile, the next one is tried.
        for _ in range(3):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
            environment = os.environ | {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(self.port), "TMPDIR": str(folder)}
            self.process = subprocess.Popen(
                [str(PYTHON), "-m", "ministack"], env=environment, cwd=folder, stdout=self.log, stderr=self.log
            )
            if self._is_ready():
                return
        raise AssertionError(f"the emulator does not start; see {self.log.name}")

    def _is_ready(self):
        deadline = time.monotonic() + READY_SECONDS_MAX
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                connection.request("GET", "/_ministack/health")
                return connection.getresponse().status == 200
            except OSError:
                select.select([], [], [], 0.05)
        return False

    @property
    def url(self):
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, service):
        """A boto3 client of one of its services."""
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        return boto3.client(service, region_name=REGION, endpoint_url=self.url, **keys)

    def create_function(self, name, runtime, file, source, **settings):
        """A Lambda function made of one file; its ARN."""
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr(file, source)
        created = self.client("lambda").create_function(
            FunctionName=name, Runtime=runtime, Handler=f"{file.split('.')[0]}.handler", Code={"ZipFile": archive.getvalue()},
            Role="arn:aws:iam::000000000000:role/any", **settings,
        )  # fmt: skip
        return created["FunctionArn"]

    def stop(self):
        """Ends it."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
