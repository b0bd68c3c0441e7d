"""Emulators of AWS that really run Lambda functions, on the loopback interface: `ministack` those in Python and Node,
`cargo-lambda` ours in Rust.

They are installed apart from the other tools, since their dependencies are pinned to other versions.
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
CARGO_LAMBDA = ROOT / ".test-env" / "emulators" / "bin" / "cargo-lambda"
# A package, in which alone `cargo-lambda` runs, and what it is built into.
RUST_FUNCTION = ROOT / "conformance" / "lambda"
RUST_FUNCTION_BINARY = ROOT / ".test-env" / "lambda" / "debug" / "review"
# Of the emulator's functions.
ACCOUNT = "000000000000"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}
READY_SECONDS_MAX = 60


class Emulator:
    """A running emulator; `stop` ends it."""

    def __init__(self, folder):
        self.log = (folder / "emulator.log").open("wb")
        # It takes no free port by itself; should somebody else get this one meanwhile, the next one is tried.
        for _ in range(3):
            self.port = free_port()
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
        end(self.process)
        self.log.close()


class CargoLambda:
    """The function in Rust, under the name `review`, and the Invoke API before it; use it as a context manager."""

    def __init__(self, folder):
        self.log = (folder / "cargo-lambda.log").open("wb")
        self.processes = []

    def __enter__(self):
        # As above: it takes no free port by itself.
        for _ in range(3):
            port = free_port()
            self.url = f"http://127.0.0.1:{port}"
            words = ["lambda", "watch", "--only-lambda-apis", "--invoke-address", "127.0.0.1", "--invoke-port", str(port)]
            api = self._start([str(CARGO_LAMBDA), *words], {})
            if self._is_listening(api, port):
                break
        else:
            self.__exit__()
            raise AssertionError(f"cargo-lambda does not start; see {self.log.name}")
        function = {"NAME": "review", "VERSION": "1", "MEMORY_SIZE": "128"}
        variables = {f"AWS_LAMBDA_FUNCTION_{name}": value for name, value in function.items()}
        self._start([str(RUST_FUNCTION_BINARY)], variables | {"AWS_LAMBDA_RUNTIME_API": f"{self.url}/.rt/review"})
        return self

    def _start(self, command, variables):
        environment = os.environ | variables
        process = subprocess.Popen(command, env=environment, cwd=RUST_FUNCTION, stdout=self.log, stderr=self.log)
        self.processes.append(process)
        return process

    def _is_listening(self, process, port):
        deadline = time.monotonic() + READY_SECONDS_MAX
        while process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return True
            select.select([], [], [], 0.05)
        return False

    def __exit__(self, *_):
        for process in self.processes:
            end(process)
        self.log.close()


def free_port():
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def end(process):
    """Ends a process, if it has not ended."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
