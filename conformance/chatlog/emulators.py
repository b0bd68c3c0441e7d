"""Emulators of AWS that nobody here wrote, each in a process of its own on a free port of the loopback interface.

They are installed apart from the clients (`requirements-emulators.txt`), since the two want different versions of botocore.
"""

import contextlib
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from server import ROOT

PROGRAMS = ROOT / ".test-env" / "emulators" / "bin"
READY_SECONDS_MAX = 60


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def _answers(url):
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@contextlib.contextmanager
def emulator(name, folder):
    """Runs `moto` or `ministack`; its URL."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder)}
    if name == "moto":
        command = [PROGRAMS / "moto_server", "-H", "127.0.0.1", "-p", str(port)]
    else:
        command = [PROGRAMS / "ministack"]
        # Else it would listen to everybody.
        environment |= {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port)}
    with (Path(folder) / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder)
    try:
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not _answers(url):
            assert process.poll() is None and time.monotonic() < deadline, (Path(folder) / f"{name}.log").read_text()[-2000:]
            # A port cannot be waited for.
            time.sleep(0.05)
        yield url
    finally:
        process.kill()
        process.wait()
